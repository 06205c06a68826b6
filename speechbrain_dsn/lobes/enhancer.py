"""From waveform to waveform around a lobe.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import CostReport, Decision, MacCount
from speechbrain_dsn.processing import STFT
from speechbrain_dsn.processing.stft import STFTContext


@dataclass
class EnhancerContext:
    """State of a batch of streams.

    Arguments
    ---------
    stft : STFTContext
        Analysis and synthesis.
    lobe : object
        The lobe's own context.
    """

    stft: STFTContext
    lobe: Any


class Enhancer(nn.Module):
    """What every enhancer has, beside ways to run: its lobe, and its times.

    Arguments
    ---------
    lobe : torch.nn.Module
        What is inside.
    sample_rate : int
        Samples per second.
    """

    hop: int
    delay: int

    def __init__(self, lobe: nn.Module, sample_rate: int) -> None:
        super().__init__()
        self.lobe, self.sample_rate = lobe, sample_rate

    @property
    def dynamic(self) -> bool:
        """Whether the lobe decides."""
        return hasattr(self.lobe, "policy")

    @property
    def cost(self) -> MacCount:
        """MACs of one frame as they are executed: a static lobe runs all
        that it has, whatever it could be cut to."""
        cost = self.report().cost
        return cost if self.dynamic else MacCount(cost.open)

    @property
    def lobe_arguments(self) -> dict[str, Any]:
        """What a lobe has to be told about its place in here."""
        raise NotImplementedError

    def frames(self, samples: int) -> int:
        """Frames that a signal takes, its delayed end included.

        Arguments
        ---------
        samples : int
            Length of the signal.

        Returns
        -------
        int
            Decisions about it.
        """
        return -(-(samples + self.delay) // self.hop) if samples else 0

    def _run_lobe(
        self, x: Tensor, lengths: Tensor | None, **decide
    ) -> tuple[Tensor, Decision | None]:
        """Whole signals; only a lobe that decides is told their lengths in
        samples, as frames."""
        if not self.dynamic:
            return self.lobe(x, **decide), None
        if lengths is not None:
            lengths = -(-(lengths + self.delay) // self.hop)
        return self.lobe(x, lengths=lengths, **decide)

    def _stream_lobe(
        self, x: Tensor, context: Any, **decide
    ) -> tuple[Tensor, Decision | None]:
        """Any number of frames."""
        out = self.lobe.forward_streaming(x, context, **decide)
        return out if self.dynamic else (out, None)

    def report(self) -> CostReport:
        """Cost of one frame, layer by layer; an STFT does not count.

        Returns
        -------
        CostReport
            The lobe's.
        """
        return self.lobe.report()


class SpectralEnhancer(Enhancer):
    """STFT, power compression, a mask lobe, and back.

    The mask acts on the compressed magnitude and the phase is the noisy
    one: ``S = (|X|^c M)^(1/c) e^{j arg X} = X M^(1/c)`` (FTF-Net, arXiv
    2505.21057: c = 0.3, STFT 512 / 256 at 16 kHz).

    Arguments
    ---------
    lobe : torch.nn.Module
        Compressed magnitude ``[B, T, bins]`` to mask, or to ``(mask,
        Decision)``.
    sample_rate : int
        Samples per second.
    n_fft : int
        STFT length in samples.
    hop : int
        STFT hop in samples.
    compression : float
        Exponent ``c``.
    strength : float
        Exponent on the whole mask: less than 1 suppresses less. A net that
        was trained on compressed magnitudes tends to suppress too much for
        other measures; the recipes choose this on valid (ours).

    Example
    -------
    >>> from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet
    >>> enhancer = SpectralEnhancer(DynamicFTFNet()).eval()
    >>> wav, decision = enhancer(torch.randn(2, 4000))
    >>> wav.shape, decision.values.shape
    (torch.Size([2, 4000]), torch.Size([2, 17, 1]))
    """

    def __init__(
        self,
        lobe: nn.Module,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop: int = 256,
        compression: float = 0.3,
        strength: float = 1.0,
    ) -> None:
        super().__init__(lobe, sample_rate)
        self.stft = STFT(n_fft, hop)
        self.compression, self.strength = compression, strength

    @property
    def lobe_arguments(self) -> dict[str, Any]:
        """Bins and frame rate."""
        rate = self.sample_rate / self.hop
        return {"bins": self.stft.bins, "frame_rate": rate}

    @property
    def hop(self) -> int:
        """Samples that a stream advances by."""
        return self.stft.hop

    @property
    def delay(self) -> int:
        """Samples by which the output of a stream lags behind its input.

        With the hop that has to be collected first, the latency is ``delay +
        hop`` samples: one STFT window.
        """
        return self.stft.overlap

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
        spectrum = self.stft(wav)
        magnitude = self.compress(spectrum)
        if every_level:
            mask, decision = self.lobe.every_level(magnitude)
            spectrum = spectrum.repeat(len(mask) // len(wav), 1, 1)
        else:
            mask, decision = self._run_lobe(magnitude, lengths, **decide)
        estimate = self.stft.inverse(self.apply(spectrum, mask), wav.size(1))
        return estimate, decision

    def compress(self, spectrum: Tensor) -> Tensor:
        """The lobe's input.

        Arguments
        ---------
        spectrum : Tensor
            Complex ``[B, T, bins]``.

        Returns
        -------
        Tensor
            ``|X|^c``.
        """
        return spectrum.abs() ** self.compression

    def apply(self, spectrum: Tensor, mask: Tensor) -> Tensor:
        """The masked spectrum.

        Arguments
        ---------
        spectrum : Tensor
            Complex ``[B, T, bins]``.
        mask : Tensor
            For the compressed magnitude ``[B, T, bins]``.

        Returns
        -------
        Tensor
            Complex ``[B, T, bins]``.
        """
        return spectrum * mask ** (self.strength / self.compression)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> EnhancerContext:
        """The state at the start of a stream.

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
        EnhancerContext
            Silence.
        """
        return EnhancerContext(
            self.stft.make_streaming_context(batch_size, device, dtype),
            self.lobe.make_streaming_context(batch_size, device, dtype),
        )

    def forward_streaming(
        self, wav: Tensor, context: EnhancerContext, **decide
    ) -> tuple[Tensor, Decision | None]:
        """Enhances whole hops, skipping what is closed.

        Arguments
        ---------
        wav : Tensor
            ``[B, n * hop]`` new samples.
        context : EnhancerContext
            Updated in place.
        **decide
            Passed to a lobe that decides: gate, bias.

        Returns
        -------
        tuple
            ``[B, n * hop]``, one STFT overlap behind the input, and the
            :class:`Decision` or None for a static lobe.
        """
        spectrum = self.stft.analyse_streaming(wav, context.stft)
        mask, decision = self._stream_lobe(
            self.compress(spectrum), context.lobe, **decide
        )
        wav = self.stft.synthesise_streaming(
            self.apply(spectrum, mask), context.stft
        )
        return wav, decision
