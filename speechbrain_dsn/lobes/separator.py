"""From a mixture to one estimate per speaker around a lobe.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from speechbrain_dsn.cost import Decision, macs_per_second
from speechbrain_dsn.lobes.enhancer import Enhancer

__all__ = ["Separator"]


class Separator(Enhancer):
    """Whole mixtures through a lobe; it does not stream.

    Arguments
    ---------
    lobe : torch.nn.Module
        Mixtures ``[B, samples]`` to ``(estimates [B, samples, S], Decision or
        None)``, such as `DualPathSeparator`.
    sample_rate : int
        Samples per second.

    Example
    -------
    >>> import torch
    >>> from speechbrain_dsn.lobes.models.dual_path import DualPathSeparator
    >>> separator = Separator(DualPathSeparator(num_layers=1)).eval()
    >>> estimates, decision = separator(torch.randn(2, 4000))
    >>> estimates.shape, decision.values.shape
    (torch.Size([2, 4000, 2]), torch.Size([2, 12, 4]))
    """

    delay = 0

    def __init__(self, lobe: nn.Module, sample_rate: int = 8000) -> None:
        super().__init__(lobe, sample_rate)

    @property
    def dynamic(self) -> bool:
        """Whether the lobe decides."""
        return self.lobe.dynamic

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
        """Separates whole mixtures; in eval each chunk runs at its width.

        Arguments
        ---------
        wav : Tensor
            ``[B, samples]``.
        lengths : Tensor, optional
            Valid samples per item ``[B]``.
        **decide
            Passed to the lobe: gate, bias, noise, level.

        Returns
        -------
        tuple
            Estimates ``[B, samples, S]``, and the :class:`Decision` or None
            for a static lobe.
        """
        return self.lobe(wav, lengths=lengths, **decide)

    def executed(self, decision: Decision | None, samples: int) -> float:
        """MACs that mixtures took, those for the silence round them too.

        Arguments
        ---------
        decision : Decision or None
            What `forward` gave, in eval.
        samples : int
            Length of the mixtures.

        Returns
        -------
        float
            Of all items together; of a static net, of one.
        """
        if decision is None:
            return self.frames(samples) * self.lobe.report(samples).cost.open
        rates = macs_per_second(decision, decision.cost)
        return float(rates.sum()) * self.frames(samples) / decision.frame_rate
