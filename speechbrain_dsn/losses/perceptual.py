"""A signal loss after the psychoacoustic model of PESQ.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechbrain_dsn.processing import STFT

POWER = 1e7  # aligned mean square of a signal between 300 and 3000 Hz
EXPONENT = 0.23  # of Zwicker's loudness
# Spectral scale, band density and receiving filter of P.862 in one factor.
CALIBRATION = 4e-3
DEAD_ZONE = 0.25  # of the smaller loudness: differences that mask


class PerceptualDisturbance(nn.Module):
    """Audible disturbance of a signal, by the model of ITU-T P.862.

    Both signals are brought to one level, their power spectra (32 ms, half
    overlap) summed over bands of half a Bark, the reference compensated for
    the mean spectral difference and the estimate for the gain of each frame,
    and both mapped to Zwicker's loudness. What differs by more than a dead
    zone is the symmetric disturbance; what was added, weighted by how much
    louder it made its band, the asymmetric one. The result is ``0.1 D +
    0.0309 A``, the drop of the raw score of P.862.

    It is a loss and not PESQ: there is no time alignment, and bands,
    hearing threshold and calibration are closed forms (ours). As a loss
    after Martin-Donas et al., "A deep learning loss function based on the
    perceptual evaluation of the speech quality", IEEE SPL 2018. Use it
    beside another loss, which keeps what P.862 does not hear. 16 kHz.

    Example
    -------
    >>> loss = PerceptualDisturbance()
    >>> x = torch.randn(2, 16000)
    >>> noisy = x + torch.randn(2, 16000)
    >>> bool((loss(x, x) < loss(noisy, x)).all())
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.stft = STFT(512, 256)
        hertz = torch.arange(self.stft.bins) * (8000 / (self.stft.bins - 1))
        bark = 7 * torch.asinh(hertz / 650)
        # Half a Bark each, but at least one bin; without the lowest, which
        # P.862 filters out, and the one at half the rate.
        index = torch.unique((2 * bark[3:-1]).long(), return_inverse=True)[1]
        bands = torch.zeros(int(index.max()) + 1, self.stft.bins)
        bands[index, torch.arange(3, self.stft.bins - 1)] = 1.0
        width = bands.sum(1)
        centre = (bands @ hertz) / width / 1000
        threshold = (
            3.64 * centre**-0.8
            - 6.5 * torch.exp(-0.6 * (centre - 3.3).square())
            + 1e-3 * centre**4
        )
        exponent = 6 / (7 * torch.asinh(centre / 0.65) + 2)
        buffers = {
            "bands": bands.T * CALIBRATION,
            "threshold": 10 ** (threshold / 10),
            "exponent": EXPONENT * exponent.clamp(1, 2) ** 0.15,
            "width": bands @ torch.diff(bark, append=bark[-1:]),
            "speech": ((hertz > 300) & (hertz < 3000)).float(),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The loss of each item.

        Arguments
        ---------
        estimate : Tensor
            ``[B, samples]``.
        target : Tensor
            ``[B, samples]``.

        Returns
        -------
        Tensor
            ``[B]``, 0 at the target and about 4 for a signal of MOS 1.
        """
        degraded, reference = self._bark(estimate), self._bark(target)
        symmetric, asymmetric = self._disturbance(degraded, reference)
        # Loud frames count a little less.
        audible = reference.sum(2)
        weight = ((audible + 1e5) / 1e7) ** -0.04
        pooled = [
            self._pool((d * weight).clamp(max=45.0))
            for d in (symmetric, asymmetric)
        ]
        return 0.1 * pooled[0] + 0.0309 * pooled[1]

    def _bark(self, signal: Tensor) -> Tensor:
        """Power per band at the aligned level ``[B, T, bands]``."""
        parts = torch.view_as_real(self.stft(signal))
        power = parts.square().sum(-1)
        level = (power * self.speech).sum(2).mean(1) + 1e-12
        # Mean square by Parseval, Hann window.
        level = level * 2 / (512**2 * 0.375)
        return (power * (POWER / level)[:, None, None]) @ self.bands

    def _disturbance(
        self, degraded: Tensor, reference: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Symmetric and asymmetric disturbance of each frame ``[B, T]``."""
        # Spectral colouring is forgiven up to 20 dB, by the mean spectrum of
        # frames with speech.
        speech = (reference.sum(2, keepdim=True) > 1e7 * 1e-2).float()
        means = [
            (x * speech).mean(1, keepdim=True) for x in (degraded, reference)
        ]
        colour = ((means[0] + 1e3) / (means[1] + 1e3)).clamp(0.01, 100.0)
        reference = reference * colour
        # And a gain that changes from frame to frame, up to 5.
        gain = (reference.sum(2) + 5e3) / (degraded.sum(2) + 5e3)
        before = torch.cat([gain[:, :1], gain[:, :-1]], dim=1)
        gain = (0.8 * gain + 0.2 * before).clamp(3e-4, 5.0)
        degraded = degraded * gain.unsqueeze(2)
        heard, wanted = self._loudness(degraded), self._loudness(reference)
        difference = heard - wanted
        zone = DEAD_ZONE * torch.minimum(heard, wanted)
        difference = torch.sign(difference) * (difference.abs() - zone).relu()
        added = ((degraded + 50) / (reference + 50)) ** 1.2
        added = torch.where(added < 3, 0.0, added.clamp(max=12.0))
        total = self.width.sum()
        symmetric = (difference.square() * self.width.square()).sum(2) + 1e-9
        asymmetric = (difference.abs() * added * self.width).sum(2)
        return (symmetric * total).sqrt(), asymmetric

    def _loudness(self, power: Tensor) -> Tensor:
        """Zwicker's loudness of each band."""
        ratio = (power / self.threshold).clamp(min=1.0)
        grown = (0.5 + 0.5 * ratio) ** self.exponent - 1
        return 0.1866 * (2 * self.threshold) ** self.exponent * grown

    @staticmethod
    def _pool(frames: Tensor) -> Tensor:
        """Loudest moments of 20 frames, then all of them, ``[B]``."""
        if frames.size(1) < 20:
            frames = nn.functional.pad(frames, (0, 20 - frames.size(1)))
        windows = frames.unfold(1, 20, 10)
        moments = (windows**6).mean(2).add(1e-9) ** (1 / 6)
        return (moments.square().mean(1) + 1e-9).sqrt()
