"""Lobes as SpeechBrain's spectral-mask recipes call them.

``recipes/Voicebank/enhance/spectral_mask`` calls ``model(feats)``, or
``model(feats, lengths)`` for inference, and takes one tensor: the mask.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor, nn

from speechbrain_dsn.gating import Tape


class MaskLobe(nn.Module):
    """Features in, mask out; the decision goes to a tape.

    While training, the same share of each item's frames is open, those of
    highest logit: an unmodified ``train.py`` knows no stages in which both
    paths of the net are trained first, and no calibration of a policy that
    ends with all its logits on one side of zero. The loss
    (:class:`speechbrain_dsn.losses.ComplexityRegularized`) brings the
    threshold to zero, where eval cuts. Ours.

    Arguments
    ---------
    lobe : torch.nn.Module
        ``[B, T, F]`` to a mask, or, with a ``policy``, to ``(mask,
        Decision)`` given ``lengths``, ``share`` and ``noise``.
    share : float
        Share of open frames while training, in 0..1.
    noise : float
        Scale of the noise on the ranks while training.

    Example
    -------
    >>> import torch
    >>> from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet
    >>> model = MaskLobe(DynamicFTFNet())
    >>> model(torch.rand(2, 10, 257)).shape
    torch.Size([2, 10, 257])
    """

    def __init__(
        self, lobe: nn.Module, share: float = 0.5, noise: float = 0.1
    ) -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise ValueError(f"share lies in 0..1, got {share}")
        self.lobe = lobe
        self.share, self.noise = share, noise
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
        if lengths is not None:
            lengths = (lengths * feats.size(1)).ceil().long()
        share = feats.new_full((len(feats),), self.share)
        mask, decision = self.lobe(
            feats, lengths=lengths, share=share, noise=self.noise
        )
        if self.training:
            self.tape.note(decision)
        return mask
