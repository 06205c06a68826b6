"""Lobes as SpeechBrain's spectral-mask recipes call them.

``recipes/Voicebank/enhance/spectral_mask`` calls ``model(feats)``, or
``model(feats, lengths)`` for inference, and takes one tensor: the mask.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechbrain_dsn.gating import Tape, random_gate


class MaskLobe(nn.Module):
    """Features in, mask out; the decision goes to a tape.

    An unmodified ``train.py`` knows no stages of a training. So that the
    gated part of a net stays alive, some training batches run with random
    gates instead of the policy's. The policy's own have no Gumbel noise by
    default: noise that does not fade lets all logits settle on one side of
    zero, with the right mean while training and all or nothing in eval. Both
    are ours.

    Arguments
    ---------
    lobe : torch.nn.Module
        ``[B, T, F]`` to a mask, or, with a ``policy``, to ``(mask,
        Decision)`` given ``lengths``, ``gate`` and ``noise``.
    random_share : float
        Share of the training batches with random gates.
    noise : float
        Scale of the Gumbel noise while training.

    Example
    -------
    >>> from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet
    >>> model = MaskLobe(DynamicFTFNet())
    >>> model(torch.rand(2, 10, 257)).shape
    torch.Size([2, 10, 257])
    """

    def __init__(
        self, lobe: nn.Module, random_share: float = 0.25, noise: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= random_share < 1:
            raise ValueError(
                f"random_share lies in 0..1 without 1, got {random_share}"
            )
        self.lobe = lobe
        self.random_share, self.noise = random_share, noise
        self.tape = Tape()

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Computes everything and masks what is closed.

        Arguments
        ---------
        feats : Tensor
            Compressed magnitude ``[B, T, F]``.
        lengths : Tensor, optional
            Share of each item that is no padding ``[B]``, in 0..1.

        Returns
        -------
        Tensor
            Mask ``[B, T, F]``.
        """
        if not hasattr(self.lobe, "policy"):
            return self.lobe(feats)
        if self.training and torch.rand(()) < self.random_share:
            gate = random_gate(*feats.shape[:2]).to(feats.device)
            mask, decision = self.lobe(feats, gate=gate)
            # Nothing was decided, but DDP wants every parameter in the graph.
            return mask + 0 * decision.logits.mean()
        if lengths is not None:
            lengths = (lengths * feats.size(1)).ceil().long()
        mask, decision = self.lobe(feats, lengths=lengths, noise=self.noise)
        if self.training:
            self.tape.note(decision)
        return mask
