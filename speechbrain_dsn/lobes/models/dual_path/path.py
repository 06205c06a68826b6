"""SpeechBrain's ``Dual_Path_Model`` run with its chunks in order.

The same weights and the same result, with two differences: what runs within
chunks is an argument, so that it may be told widths and give decisions back;
and channels come last throughout, ``[B, S, K, N]``, which spares four copies
of the signal per block.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount

if TYPE_CHECKING:
    from speechbrain.lobes.models.dual_path import Dual_Path_Model

__all__ = ["count_chunks", "path_costs", "run_dual_path"]


def count_chunks(steps: int, size: int) -> int:
    """Chunks that ``Dual_Path_Model`` cuts a signal into.

    Half a chunk of silence comes before the signal, and up to one and a half
    after it.

    Arguments
    ---------
    steps : int
        Length of the encoded signal.
    size : int
        Steps per chunk ``K``, an even number; half of them are the hop.

    Returns
    -------
    int
        ``S``.

    Example
    -------
    >>> count_chunks(1000, 100)
    22
    """
    hop = size // 2
    gap = size - (hop + steps % size) % size
    return (steps + gap) // hop + 1


def run_dual_path(
    net: Dual_Path_Model,
    x: Tensor,
    within: Callable[[int, Tensor], Tensor],
) -> Tensor:
    """Masks of an encoded mixture.

    Arguments
    ---------
    net : Dual_Path_Model
        With a group norm (``ln``), skip connections round its intra blocks
        and no linear layers behind them, as in SepFormer.
    x : Tensor
        ``[B, N, L]``.
    within : callable
        ``(layer, chunks [B, S, K, N]) -> [B, S, K, N]`` runs an intra block.

    Returns
    -------
    Tensor
        ``[speakers, B, N, L]``.
    """
    steps = x.size(2)
    x = net.conv1d(net.norm(x)).transpose(1, 2)
    x = _cut(x, net.K)
    for layer, block in enumerate(net.dual_mdl):
        x = x + _normalize(block.intra_norm, within(layer, x))
        across = block.inter_mdl(x.transpose(1, 2)).transpose(1, 2)
        x = x + _normalize(block.inter_norm, across.contiguous())
    x = F.linear(net.prelu(x), net.conv2d.weight.flatten(1), net.conv2d.bias)
    x = _join(x)[:, :steps].unflatten(-1, (net.num_spks, -1))
    x = x.permute(2, 0, 3, 1).flatten(0, 1)
    x = net.output(x) * net.output_gate(x)
    x = net.activation(net.end_conv1x1(x))
    return x.unflatten(0, (net.num_spks, -1))


def _cut(x: Tensor, size: int) -> Tensor:
    """``[B, L, N]`` to chunks ``[B, S, K, N]``, each half over the next."""
    hop = size // 2
    blocks = count_chunks(x.size(1), size) - 1
    silence = (hop, (blocks + 1) * hop - x.size(1))
    x = F.pad(x, (0, 0, *silence)).unflatten(1, (-1, hop))
    return torch.cat([x[:, :-1], x[:, 1:]], 2)


def _join(x: Tensor) -> Tensor:
    """Adds chunks ``[B, S, K, N]`` where they overlap, ``[B, L', N]``."""
    hop = x.size(2) // 2
    return (x[:, :-1, hop:] + x[:, 1:, :hop]).flatten(1, 2)


def _normalize(norm: nn.Module, x: Tensor) -> Tensor:
    """A group norm over channels that come last."""
    return norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def path_costs(net: Dual_Path_Model, chunks: int) -> dict[str, MacCount]:
    """Cost of one chunk, layer by layer; norms do not count.

    Arguments
    ---------
    net : Dual_Path_Model
        With slimmable blocks, those across chunks of one width.
    chunks : int
        How many there are: attention across them costs more the more.

    Returns
    -------
    dict of str to MacCount
        In the order of the signal path, each layer's widths at its own gates.
        What runs once per step counts for the steps by which chunks advance.
    """
    advance, speakers = net.K // 2, net.num_spks
    square = net.conv1d.weight[..., 0].numel()
    layers = {"project": MacCount(advance * square)}
    for number, block in enumerate(net.dual_mdl):
        if hasattr(block.intra_mdl, "policy"):
            layers[f"gate{number + 1}"] = block.intra_mdl.policy.macs()
        layers[f"intra{number + 1}"] = _in_group(
            block.intra_mdl.macs(net.K), number, len(net.dual_mdl)
        )
        across = block.inter_mdl.macs(chunks).open * net.K // chunks
        layers[f"inter{number + 1}"] = MacCount(across)
    layers["spread"] = MacCount(net.K * square * speakers)
    layers["masks"] = MacCount(advance * 3 * square * speakers)
    return layers


def _in_group(cost: MacCount, group: int, groups: int) -> MacCount:
    """The cost of one layer's choice, among those of all layers."""
    if not cost.one_hot:
        return cost
    widths = len(cost.gated)
    before, after = group * widths, (groups - 1 - group) * widths
    gated = (0,) * before + cost.gated + (0,) * after
    return MacCount(cost.fixed, gated, one_hot=True, groups=groups)
