"""From waveform to waveform around a lobe that works on samples.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.lobes.enhancer import Enhancer


class WaveformEnhancer(Enhancer):
    """Frames of samples through a lobe, in time with the input again.

    Arguments
    ---------
    lobe : torch.nn.Module
        Frames ``[B, T, hop]`` to frames, or to ``(frames, Decision)``, with
        its ``hop`` and ``delay`` in samples.
    sample_rate : int
        Samples per second.

    Example
    -------
    >>> import torch
    >>> from speechbrain_dsn.lobes.models.demucs import RoutedDemucs
    >>> enhancer = WaveformEnhancer(RoutedDemucs(hidden=8)).eval()
    >>> wav, decision = enhancer(torch.randn(2, 4000))
    >>> wav.shape, decision.values.shape
    (torch.Size([2, 4000]), torch.Size([2, 16, 4]))
    """

    def __init__(self, lobe: nn.Module, sample_rate: int = 16000) -> None:
        super().__init__(lobe, sample_rate)

    @property
    def lobe_arguments(self) -> dict[str, Any]:
        """The rate that reports refer to."""
        return {"sample_rate": self.sample_rate}

    @property
    def hop(self) -> int:
        """Samples that a stream advances by."""
        return self.lobe.hop

    @property
    def delay(self) -> int:
        """Samples by which the output of a stream lags behind its input.

        With the hop that has to be collected first, the latency is ``delay +
        hop`` samples.
        """
        return self.lobe.delay

    def forward(
        self,
        wav: Tensor,
        lengths: Tensor | None = None,
        every_level: bool = False,
        **decide,
    ) -> tuple[Tensor, Decision | None]:
        """Enhances whole signals, computing everything and masking.

        Arguments
        ---------
        wav : Tensor
            ``[B, samples]``.
        lengths : Tensor, optional
            Valid samples per item ``[B]``.
        every_level : bool
            Whether to return ``J B`` estimates, at the cheapest level first,
            of a lobe that makes them together.
        **decide
            Passed to a lobe that decides: gate, bias, noise.

        Returns
        -------
        tuple
            Estimate ``[B, samples]``, and the :class:`Decision` or None for
            a static lobe.
        """
        samples = wav.size(1)
        missing = self.frames(samples) * self.hop - samples
        frames = F.pad(wav, (0, missing)).unflatten(1, (-1, self.hop))
        if every_level:
            frames, decision = self.lobe.every_level(frames)
        else:
            frames, decision = self._run_lobe(frames, lengths, **decide)
        estimate = frames.flatten(1)[:, self.delay : self.delay + samples]
        return estimate, decision

    def make_streaming_context(self, batch_size: int, device=None, dtype=None):
        """The lobe's state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        object
            Silence.
        """
        return self.lobe.make_streaming_context(batch_size, device, dtype)

    def forward_streaming(
        self, wav: Tensor, context: Any, **decide
    ) -> tuple[Tensor, Decision | None]:
        """Enhances whole hops, each at the width that was chosen.

        Arguments
        ---------
        wav : Tensor
            ``[B, n * hop]`` new samples.
        context : object
            Updated in place.
        **decide
            Passed to a lobe that decides: gate, bias.

        Returns
        -------
        tuple
            ``[B, n * hop]``, late by the delay, and the :class:`Decision` or
            None for a static lobe.
        """
        hops = -(-wav.size(1) // self.hop)
        frames = wav.unflatten(1, (hops, self.hop))
        frames, decision = self._stream_lobe(frames, context, **decide)
        return frames.flatten(1), decision
