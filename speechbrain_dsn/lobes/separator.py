"""From a mixture to one estimate per speaker around a lobe.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.lobes.enhancer import Enhancer

__all__ = ["Separator"]


class Separator(Enhancer):
    """Whole mixtures through a lobe; it does not stream.

    Arguments
    ---------
    lobe : torch.nn.Module
        Mixtures ``[B, samples]`` to estimates ``[B, samples, S]``, or to
        them and a Decision, with its ``num_spks`` and ``hop``, the samples
        between two decisions, and ``frames(samples)``, how many it takes.
    sample_rate : int
        Samples per second.
    """

    delay = 0

    def __init__(self, lobe: nn.Module, sample_rate: int = 8000) -> None:
        super().__init__(lobe, sample_rate)

    @property
    def lobe_arguments(self) -> dict[str, Any]:
        """The rate that reports refer to."""
        return {"sample_rate": self.sample_rate}

    @property
    def hop(self) -> int:
        """Samples between two decisions."""
        return self.lobe.hop

    @property
    def num_spks(self) -> int:
        """Estimates of each mixture."""
        return self.lobe.num_spks

    def frames(self, samples: int) -> int:
        """Decisions about a mixture, of each layer that decides.

        Arguments
        ---------
        samples : int
            Length of the mixture.

        Returns
        -------
        int
            Chunks that it is cut into; the first begins half a chunk early.
        """
        return self.lobe.frames(samples)

    def forward(
        self, wav: Tensor, lengths: Tensor | None = None, **decide
    ) -> tuple[Tensor, Decision | None]:
        """Separates whole mixtures, computing everything and masking.

        Arguments
        ---------
        wav : Tensor
            ``[B, samples]``.
        lengths : Tensor, optional
            Valid samples per item ``[B]``.
        **decide
            Passed to a lobe that decides: gate, bias, noise.

        Returns
        -------
        tuple
            Estimates ``[B, samples, S]``, and the :class:`Decision` or None
            for a static lobe.
        """
        return self.lobe(wav, lengths=lengths, **decide)

    def forward_skipping(
        self, wav: Tensor, **decide
    ) -> tuple[Tensor, Decision | None]:
        """Separates whole mixtures, each chunk at the width it chose.

        Arguments
        ---------
        wav : Tensor
            ``[B, samples]``.
        **decide
            Passed to a lobe that decides: gate, bias.

        Returns
        -------
        tuple
            As `forward`, to rounding.
        """
        return self.lobe.forward_skipping(wav, **decide)
