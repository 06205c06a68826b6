"""Signal losses on compressed spectra.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechbrain_dsn.processing import STFT


class MultiResolutionCompressedLoss(nn.Module):
    """Distance of compressed magnitudes and compressed complex spectra.

    ``L = (1 - mix) (|E|^c - |S|^c)^2 + mix | |E|^c e^{j arg E} - |S|^c
    e^{j arg S} |^2`` averaged over bins and frames and summed over STFT
    sizes: the loss of the MGT-DSN authors' group (arXiv 2608.30739: c = mix
    = 0.3, sizes 320, 512, 768 with half overlap). Both signals are divided
    by the level of the reference first, so that loud utterances do not
    outweigh quiet ones (ours).

    Arguments
    ---------
    sizes : sequence of int
        STFT lengths in samples.
    weights : sequence of float, optional
        Weight of each size, all 1 by default.
    compression : float
        Exponent ``c``.
    mix : float
        Share of the complex term.

    Example
    -------
    >>> loss = MultiResolutionCompressedLoss()
    >>> x = torch.randn(2, 8000)
    >>> loss(x, x).tolist()
    [0.0, 0.0]
    """

    def __init__(
        self,
        sizes: Sequence[int] = (320, 512, 768),
        weights: Sequence[float] | None = None,
        compression: float = 0.3,
        mix: float = 0.3,
    ) -> None:
        super().__init__()
        self.transforms = nn.ModuleList([STFT(n, n // 2) for n in sizes])
        self.weights = tuple(weights or [1.0] * len(sizes))
        if len(self.weights) != len(sizes):
            raise ValueError(f"{len(sizes)} sizes, weights {weights}")
        self.compression, self.mix = compression, mix

    def forward(
        self, estimate: Tensor, target: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """The loss of each item.

        Arguments
        ---------
        estimate : Tensor
            ``[B, samples]``.
        target : Tensor
            ``[B, samples]``.
        lengths : Tensor, optional
            Valid samples per item ``[B]``.

        Returns
        -------
        Tensor
            ``[B]``.
        """
        samples = estimate.new_full((len(target),), target.size(1))
        if lengths is not None:
            samples = lengths.to(samples)
            index = torch.arange(target.size(1), device=target.device)
            inside = index < samples.unsqueeze(1)
            estimate, target = estimate * inside, target * inside
        power = target.square().sum(1) / samples
        scale = (power + 1e-8).rsqrt().unsqueeze(1)
        estimate, target = estimate * scale, target * scale
        total = estimate.new_zeros(len(estimate))
        for weight, stft in zip(self.weights, self.transforms, strict=True):
            distance = self._distance(stft(estimate), stft(target)).sum(1)
            frames = (samples + stft.overlap) / stft.hop
            total = total + weight * distance / (frames * stft.bins)
        return total

    def by_frame(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The loss of each frame, at the first STFT size.

        Arguments
        ---------
        estimate : Tensor
            ``[B, samples]``.
        target : Tensor
            ``[B, samples]``.

        Returns
        -------
        Tensor
            ``[B, T]``, without the weight of the size.
        """
        stft = self.transforms[0]
        scale = (target.square().mean(1) + 1e-8).rsqrt().unsqueeze(1)
        pair = (stft(estimate * scale), stft(target * scale))
        return self._distance(*pair) / stft.bins

    def _distance(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Summed over bins, ``[B, T]``."""
        (e_magnitude, e), (t_magnitude, t) = map(
            self._compress, (estimate, target)
        )
        magnitude = (e_magnitude - t_magnitude).square().sum(2)
        spectrum = (e - t).square().sum((2, 3))
        return (1 - self.mix) * magnitude + self.mix * spectrum

    def _compress(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Compressed magnitude, and compressed real and imaginary part."""
        parts = torch.view_as_real(spectrum)
        power = parts.square().sum(-1) + 1e-7
        magnitude = power ** (self.compression / 2)
        return magnitude, parts * (magnitude * power.rsqrt()).unsqueeze(-1)
