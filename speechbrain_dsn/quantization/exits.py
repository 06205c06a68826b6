"""An exit policy on its own: from a waveform to a logit per exit.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.gating import SpectrumRouter
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["Chooser", "frame_classes", "train_chooser"]

# Bounds between classes of frames, in dB: ours.
SNRS_DB = (-5.0, 3.0, 11.0)


class Chooser(nn.Module):
    """A router of dynamic nsNet2 with the front end of an enhancer.

    Arguments
    ---------
    front_end : SpectralEnhancer
        For its STFT and compression; its lobe is not run.
    router : SpectrumRouter
        The policy.

    Example
    -------
    >>> Chooser.small()(torch.randn(2, 4000)).shape
    torch.Size([2, 17, 4])
    """

    def __init__(
        self, front_end: SpectralEnhancer, router: SpectrumRouter
    ) -> None:
        super().__init__()
        self.stft, self.router = front_end.stft, router
        self.compression = front_end.compression
        self.sample_rate = front_end.sample_rate

    @classmethod
    def small(cls) -> Chooser:
        """An untrained one, of the size that dynamic nsNet2 has.

        Returns
        -------
        Chooser
            Of four choices.
        """
        front_end = SpectralEnhancer(nn.Identity())
        return cls(front_end, SpectrumRouter(4, front_end.stft.bins))

    @classmethod
    def of(cls, model: LoadedModel) -> Chooser:
        """That of a dynamic nsNet2.

        Arguments
        ---------
        model : LoadedModel
            Trained.

        Returns
        -------
        Chooser
            With its weights.
        """
        return cls(model.enhancer, model.enhancer.lobe.policy)

    def forward(self, wav: Tensor) -> Tensor:
        """Logits.

        Arguments
        ---------
        wav : Tensor
            ``[B, samples]``.

        Returns
        -------
        Tensor
            ``[B, T, choices]``, the largest one wins.
        """
        return self.router(self.stft(wav).abs() ** self.compression)


def frame_classes(chooser: Chooser, noisy: Tensor, clean: Tensor) -> Tensor:
    """How easy each frame is, by its signal-to-noise ratio.

    The cleaner a frame is, the earlier it may end: which class is which exit
    is ours, and so are the bounds.

    Arguments
    ---------
    chooser : Chooser
        For its STFT.
    noisy, clean : Tensor
        ``[B, samples]``.

    Returns
    -------
    Tensor
        Classes ``[B, T]``, 0 for the cleanest frames.
    """
    wanted, rest = (
        chooser.stft(x).abs().square().sum(-1) for x in (clean, noisy - clean)
    )
    ratio = 10 * ((wanted + 1e-8) / (rest + 1e-8)).log10()
    return len(SNRS_DB) - torch.bucketize(ratio, torch.tensor(SNRS_DB))


def train_chooser(
    chooser: Chooser, clips: Iterable[tuple[Tensor, Tensor]]
) -> None:
    """Trains a policy to tell the classes of frames.

    Arguments
    ---------
    chooser : Chooser
        Changed in place.
    clips : iterable of tuple of Tensor
        Noisy and clean ``[B, samples]``, one pair per step.
    """
    optimiser = torch.optim.Adam(chooser.parameters(), 3e-3)
    for noisy, clean in clips:
        logits = chooser(noisy)
        classes = frame_classes(chooser, noisy, clean)
        loss = F.cross_entropy(logits.flatten(0, 1), classes.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
