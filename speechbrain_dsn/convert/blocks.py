"""Drop-ins for parts of nets that are not dual-path: each item of a batch
decides about its width.

Same inputs and outputs as the modules that they replace, so the decision goes
to a tape, as with the dual-path blocks.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechbrain_dsn.lobes.models.dual_path.blocks import SelfDeciding
from speechbrain_dsn.nnet.conv_pair import SlimmableConvPair
from speechbrain_dsn.nnet.feed_forward import SlimmableFeedForward
from speechbrain_dsn.nnet.heads import SlimmableAttention

__all__ = ["AttentionBlock", "ConvPairBlock", "FeedForwardBlock"]


class FeedForwardBlock(SelfDeciding, SlimmableFeedForward):
    """A drop-in for two dense layers: ``PositionalwiseFeedForward``, or a
    run of a ``Sequential``.

    Arguments
    ---------
    input_size, d_ffn, out_channels, activation, dropout, utilizations, bias
        As for :class:`~speechbrain_dsn.nnet.feed_forward.SlimmableFeedForward`.
    decide, width, temperature, noise, straight_through
        As for
        :class:`~speechbrain_dsn.lobes.models.dual_path.SlimmableTransformerBlock`.

    Example
    -------
    >>> block = FeedForwardBlock(16, 32).eval()
    >>> block(torch.randn(3, 10, 16)).shape, block(torch.randn(3, 16)).shape
    (torch.Size([3, 10, 16]), torch.Size([3, 16]))
    """

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Runs items at the widths that they choose.

        Arguments
        ---------
        x : Tensor
            ``[B, L, N]``, ``[B, S, L, N]``, or rows ``[B, N]`` that are items
            of one step.
        gate : Tensor, optional
            A choice ``[B, J]`` or ``[B, S, J]`` in place of the block's own.

        Returns
        -------
        Tensor
            As ``x``, in the channels of the second layer.
        """
        if x.dim() == 2:
            return super().forward(x.unsqueeze(1), gate).squeeze(1)
        return super().forward(x, gate)


class ConvPairBlock(SelfDeciding, SlimmableConvPair):
    """A drop-in for Conv1d, activation, 1x1 and GLU of a ``Sequential``.

    Arguments
    ---------
    first, second, activation, glu, utilizations
        As for :class:`~speechbrain_dsn.nnet.conv_pair.SlimmableConvPair`.
    decide, width, temperature, noise, straight_through
        As for
        :class:`~speechbrain_dsn.lobes.models.dual_path.SlimmableTransformerBlock`.

    Example
    -------
    >>> from torch import nn
    >>> block = ConvPairBlock(nn.Conv1d(1, 16, 8, 4), nn.Conv1d(16, 32, 1))
    >>> block(torch.randn(2, 1, 64)).shape  # channels first, as in torch
    torch.Size([2, 16, 15])
    """

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Runs items at the widths that they choose.

        Arguments
        ---------
        x : Tensor
            ``[B, C, L]``.
        gate : Tensor, optional
            A choice ``[B, J]`` in place of the block's own.

        Returns
        -------
        Tensor
            ``[B, C', L']``.
        """
        return super().forward(x.transpose(1, 2), gate).transpose(1, 2)


class AttentionBlock(SelfDeciding, SlimmableAttention):
    """A drop-in for SpeechBrain's ``MultiheadAttention`` over one sequence.

    Weights of the attention are not given back: in their place is None.

    Arguments
    ---------
    nhead, d_model, dropout, utilizations
        As for :class:`~speechbrain_dsn.nnet.heads.SlimmableAttention`.
    decide, width, temperature, noise, straight_through
        As for
        :class:`~speechbrain_dsn.lobes.models.dual_path.SlimmableTransformerBlock`.

    Example
    -------
    >>> block, x = AttentionBlock(4, 16).eval(), torch.randn(3, 10, 16)
    >>> output, weights = block(x, x, x)
    >>> output.shape
    torch.Size([3, 10, 16])
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        return_attn_weights: bool = True,
        pos_embs: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, None]:
        """Runs items at the widths that they choose.

        Arguments
        ---------
        query : Tensor
            ``[B, L, N]``.
        key, value : Tensor, optional
            The same tensor.
        attn_mask : Tensor, optional
            ``[L, L]``: booleans that are True where there is no attention,
            or what is added.
        key_padding_mask : Tensor, optional
            The same for the keys of each item ``[B, L]``.
        return_attn_weights : bool
            Whether a second value is given back.
        pos_embs : Tensor, optional
            ``[L, L]``, added as the mask is.
        gate : Tensor, optional
            A choice ``[B, J]`` in place of the block's own.

        Returns
        -------
        Tensor, or tuple of Tensor and None
            ``[B, L, N]``.

        Raises
        ------
        ValueError
            For keys of another sequence, or a mask per head.
        """
        if any(x is not None and x is not query for x in (key, value)):
            raise ValueError("expected attention of one sequence to itself")
        masks = [
            _added(m, query) for m in (attn_mask, pos_embs) if m is not None
        ]
        if any(mask.dim() != 2 for mask in masks):
            raise ValueError("expected one mask [L, L] for all heads")
        masks = [mask[None, None] for mask in masks]
        if key_padding_mask is not None:
            masks.append(_added(key_padding_mask, query)[:, None, None])
        mask = sum(masks[1:], masks[0]) if masks else None
        if mask is not None:
            mask = mask.expand(-1, -1, query.size(1), -1)
        y = super().forward(query, gate, mask=mask)
        return (y, None) if return_attn_weights else y


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as it is added to what is in the softmax."""
    if mask.is_floating_point():
        return mask.to(like.dtype)
    added = torch.zeros(mask.shape, dtype=like.dtype, device=mask.device)
    return added.masked_fill(mask.bool(), float("-inf"))
