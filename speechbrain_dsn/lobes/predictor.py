"""From waveform to scores around a lobe.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from speechbrain_dsn.lobes.enhancer import Enhancer
from speechbrain_dsn.metrics.dnsmos import slaney_mel_filters

__all__ = ["QualityPredictor"]

FLOOR = 1e-9  # under the power of every band
# Of log-mel power, so that the lobe sees about zero mean and unit variance.
CENTRE, SPREAD = -8.0, 4.0


class QualityPredictor(Enhancer):
    """Log-mel frames of a signal through a lobe that scores it.

    Windows of 640 samples at a hop of 320, not centred, 120 bands of power,
    ``log(. + 1e-9)``, segments of 5 s at 16 kHz: settings of the same group's
    code (see :mod:`speechbrain_dsn.lobes.models.quality`). Ours: the mel scale
    is Slaney's, and the logarithms are shifted and scaled by fixed numbers.

    Arguments
    ---------
    lobe : torch.nn.Module
        Frames ``[B, T, bands]`` to scores ``[B, targets]``, such as
        `QualityNet`.
    sample_rate : int
        Samples per second.
    n_fft : int
        Window in samples.
    hop : int
        In samples.
    bands : int
        Mel bands.
    segment_seconds : float
        Longer signals are scored in segments of this length.

    Example
    -------
    >>> from speechbrain_dsn.lobes.models.quality import QualityNet
    >>> predictor = QualityPredictor(QualityNet()).eval()
    >>> predictor(torch.randn(2, 16000)).shape
    torch.Size([2, 1])
    >>> predictor.segments(torch.randn(200_000)).shape
    torch.Size([3, 80000])
    """

    delay = 0

    def __init__(
        self,
        lobe: nn.Module,
        sample_rate: int = 16000,
        n_fft: int = 640,
        hop: int = 320,
        bands: int = 120,
        segment_seconds: float = 5.0,
    ) -> None:
        super().__init__(lobe, sample_rate)
        self.n_fft, self.hop, self.bands = n_fft, hop, bands
        self.segment = round(segment_seconds * sample_rate)
        if self.segment < n_fft:
            raise ValueError(
                f"segment_seconds: expected at least one window of {n_fft} "
                f"samples, got {self.segment}"
            )
        filters = slaney_mel_filters(sample_rate, n_fft, bands)
        self.register_buffer(
            "filters",
            torch.from_numpy(filters.T).float(),
            persistent=False,
        )
        self.register_buffer(
            "window", torch.hann_window(n_fft), persistent=False
        )

    @property
    def lobe_arguments(self) -> dict[str, Any]:
        """Bands, frame rate, and frames of a segment."""
        return {
            "bands": self.bands,
            "frame_rate": self.sample_rate / self.hop,
            "segment": self.frames(self.segment),
        }

    @property
    def min_seconds(self) -> float:
        """Shortest signal that the lobe takes; ours: a quarter of a second
        at least, as for PESQ and DNSMOS."""
        samples = self.n_fft + (self.lobe.min_frames - 1) * self.hop
        return max(0.25, samples / self.sample_rate)

    def frames(self, samples: int | Tensor) -> int | Tensor:
        """Frames that lie within a signal.

        Arguments
        ---------
        samples : int or Tensor
            Its length, at least one window.

        Returns
        -------
        int or Tensor
            Like ``samples``.
        """
        return (samples - self.n_fft) // self.hop + 1

    @property
    def feature_settings(self) -> tuple[float, ...]:
        """What features depend on."""
        numbers = self.sample_rate, self.n_fft, self.hop, self.bands
        return (*numbers, self.segment, FLOOR, CENTRE, SPREAD)

    def features(self, wav: Tensor) -> Tensor:
        """What the lobe sees.

        Arguments
        ---------
        wav : Tensor
            ``[B, samples]``, at least one window.

        Returns
        -------
        Tensor
            ``[B, T, bands]``.
        """
        frames = wav.unfold(-1, self.n_fft, self.hop) * self.window
        power = torch.fft.rfft(frames).abs().square()
        level = (power @ self.filters + FLOOR).log()
        return (level - CENTRE) / SPREAD

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores whole signals.

        Arguments
        ---------
        x : Tensor
            Signals ``[B, samples]``, or their features ``[B, T, bands]``.
        lengths : Tensor, optional
            Valid samples, or frames, per item ``[B]``; what comes after them
            has no effect.

        Returns
        -------
        Tensor
            ``[B, targets]``.
        """
        if x.dim() == 2:
            lengths = None if lengths is None else self.frames(lengths)
            x = self.features(x)
        return self.lobe(x, lengths)

    def segments(self, wav: Tensor) -> Tensor:
        """Cuts a long signal into overlapping parts, as few as cover it.

        Arguments
        ---------
        wav : Tensor
            ``[samples]``.

        Returns
        -------
        Tensor
            ``[S, segment]``, evenly spaced; of a signal no longer than that,
            the whole of it ``[1, samples]``.
        """
        if len(wav) <= self.segment:
            return wav[None]
        count = -(-len(wav) // self.segment)
        starts = torch.linspace(0, len(wav) - self.segment, count)
        return torch.stack(
            [wav[start : start + self.segment] for start in starts.int()]
        )
