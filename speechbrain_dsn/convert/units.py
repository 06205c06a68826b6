"""Units that may be put in any order, and which of them matter.

A unit is a hidden channel, a head, a recurrent neuron or a group of channels.
The order of units within a layer is arbitrary: whoever permutes what writes
them and what reads them alike does not change what the layer computes. So the
important ones may come first, where narrow widths find them.

Importance (our choice, after the criteria of structured pruning): of a unit
without data, the norm of the weights that write it times the norm of those
that read it, which for ReLU does not depend on how the two share a scale; of
a head the Frobenius norm of the product of its value and output matrices,
which does not depend on its basis; of a group of FTF-Net, which many weights
write and read, the product of its shares of their norms. With data, the root
mean square of what the unit adds to the layer's output, taken alone.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechbrain_dsn.lobes.models.ftfnet import FTFNet
from speechbrain_dsn.nnet.blocks import FrequencyBlock, TimeBlock
from speechbrain_dsn.nnet.conv_pair import SlimmableConvPair
from speechbrain_dsn.nnet.feed_forward import Hidden
from speechbrain_dsn.nnet.heads import Heads
from speechbrain_dsn.nnet.slimmable import SlimmableDecoder, SlimmableEncoder
from speechbrain_dsn.nnet.slimmable_rnn import RNNS, SlimmableRNN

__all__ = ["Units", "find_units", "recurrent_units"]


@dataclass(frozen=True)
class Units:
    """The units of one layer.

    Arguments
    ---------
    importance : Tensor
        By magnitude ``[n]``.
    ties : tuple of Tensor
        Views of weights, the axis of the units first: all of them are
        permuted together.
    reader : Tensor, optional
        The weight that reads the units, where what it is given can be
        watched: ``[out, n * c]``.

    Example
    -------
    >>> x = torch.tensor([1.0, 3.0, 2.0])
    >>> Units(x.clone(), (x,)).sort()
    >>> x
    tensor([3., 2., 1.])
    """

    importance: Tensor
    ties: tuple[Tensor, ...]
    reader: Tensor | None = None

    def weighed(self, energy: Tensor) -> Tensor:
        """Importance where it is known what units send.

        Arguments
        ---------
        energy : Tensor
            Mean square of each channel that the reader is given
            ``[n * c]``.

        Returns
        -------
        Tensor
            ``[n]``.
        """
        added = energy * self.reader.detach().double().square().sum(0)
        return added.view(len(self.importance), -1).sum(1).sqrt()

    @torch.no_grad()
    def sort(self, importance: Tensor | None = None) -> None:
        """Puts the most important units first, in place.

        Arguments
        ---------
        importance : Tensor, optional
            ``[n]``, by magnitude by default. Equals keep their order.
        """
        importance = self.importance if importance is None else importance
        order = importance.argsort(descending=True, stable=True)
        for tie in self.ties:
            tie.copy_(tie[order.to(tie.device)])


def find_units(module: nn.Module) -> Iterator[Units]:
    """The units within a module, of all layers that have some.

    Recurrent blocks are left out: what reads them lies elsewhere, see
    `recurrent_units`.

    Arguments
    ---------
    module : torch.nn.Module
        Any; of `FTFNet` the groups of channels, and heads.

    Yields
    ------
    Units
        Views of its weights.
    """
    for part in module.modules():
        if isinstance(part, Heads):
            yield _heads(part)
        if isinstance(part, Hidden):
            yield _hidden(part.expand, part.contract, part.contract.weight)
        elif isinstance(part, SlimmableConvPair):
            reader = part.contract.weight.squeeze(-1)
            yield _hidden(part.expand, part.contract, reader)
        elif isinstance(part, SlimmableEncoder):
            writes = (part.first, part.first_bias)
            yield _units(writes, (part.second.t(),))
        elif isinstance(part, SlimmableDecoder):
            writes = (part.first.movedim(1, 0), part.first_bias.t())
            yield _units(writes, (part.second,))
        elif isinstance(part, FTFNet):
            yield from _ftfnet(part)


def _norm(parts: tuple[Tensor, ...]) -> Tensor:
    """Norm of each unit over several weights ``[n, ...]``."""
    squares = (p.detach().double().square().flatten(1).sum(1) for p in parts)
    return sum(squares).sqrt()


def _units(
    writes: tuple[Tensor, ...],
    reads: tuple[Tensor, ...],
    reader: Tensor | None = None,
) -> Units:
    """By what writes and what reads them, the units first."""
    writes = tuple(w.unsqueeze(1) if w.dim() == 1 else w for w in writes)
    return Units(_norm(writes) * _norm(reads), (*writes, *reads), reader)


def _hidden(expand: nn.Module, contract: nn.Module, reader: Tensor) -> Units:
    writes = (expand.weight,)
    if expand.bias is not None:
        writes += (expand.bias,)
    return _units(writes, (contract.weight.transpose(0, 1),), reader)


def _heads(layer: Heads) -> Units:
    heads, size = layer.heads[-1], layer.head_size
    weight = layer.in_proj_weight.view(3, heads, size, -1)
    bias = layer.in_proj_bias.view(3, heads, size)
    out = layer.out_proj.weight.view(-1, heads, size)
    values = torch.cat([weight[2], bias[2].unsqueeze(-1)], -1).detach()
    product = out.detach().transpose(0, 1) @ values
    ties = (weight.movedim(1, 0), bias.movedim(1, 0), out.movedim(1, 0))
    return Units(_norm((product,)), ties, layer.out_proj.weight)


def recurrent_units(layer: SlimmableRNN, consumer: Tensor) -> Iterator[Units]:
    """The units of each layer and direction of a recurrent block.

    Arguments
    ---------
    layer : SlimmableRNN
        The block.
    consumer : Tensor
        The weight that reads its output ``[out, directions * units]``.

    Yields
    ------
    Units
        Without a reader: what happens within ``torch.lstm`` is not seen.
    """
    rnn, gates, sides = layer.mdl.rnn, RNNS[layer.rnn_type][0], layer.directions
    names = ("", "_reverse")[:sides]
    for number in range(rnn.num_layers):
        for side, name in enumerate(names):
            suffix = f"l{number}{name}"
            into, back, *biases = (
                getattr(rnn, f"{part}_{suffix}").unflatten(0, (gates, -1))
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            readers = [consumer]
            if number + 1 < rnn.num_layers:
                readers = [
                    getattr(rnn, f"weight_ih_l{number + 1}{other}")
                    for other in names
                ]
            reads = tuple(
                reader.unflatten(1, (sides, -1))[:, side].t()
                for reader in readers
            )
            writes = tuple(x.transpose(0, 1) for x in (into, *biases))
            both = _norm(writes) * _norm((*reads, back.movedim(2, 0)))
            # The recurrence both writes and reads: permuted twice.
            again = (back.transpose(0, 1), back.movedim(2, 0))
            yield Units(both, (*writes, *reads, *again))


def _ftfnet(net: FTFNet) -> Iterator[Units]:
    """Groups of channels of the middle of the net, the same ones in all of
    its layers, and the heads of each attention."""
    groups, blocks = net.freq1.rnn.groups, (net.freq1, net.time, net.freq2)

    def split(weight: Tensor, axis: int) -> Tensor:
        return weight.unflatten(axis, (groups, -1)).movedim(axis, 0)

    ties = [
        split(net.conv3.weight, 0),
        split(net.conv3.bias, 0),
        split(net.norm.weight, 0),
        split(net.norm.bias, 0),
        split(net.skip2.weight, 0),
        split(net.skip2.bias, 0),
        split(net.deconv2.weight, 0),
    ]
    for block in blocks:
        ties += _group_ties(block, split)
    # Of each weight the share that a group has, multiplied: what one of them
    # takes away, others do not give back.
    sizes = [_norm((tie,)) for tie in ties]
    shares = [size / size.sum() for size in sizes if size.any()]
    importance = sum(share.clamp_min(1e-6).log() for share in shares)
    yield Units(importance, tuple(ties))
    for block in blocks:
        yield _grouped_heads(block.attention)


def _group_ties(block: FrequencyBlock | TimeBlock, split) -> list[Tensor]:
    rnn, attention = block.rnn, block.attention
    ties = [parameter.movedim(1, 0) for parameter in rnn.parameters()]
    ties += [
        split(block.linear.weight, 0),
        split(block.linear.weight, 1),
        split(block.linear.bias, 0),
        split(attention.weight, 2),
        split(attention.out.weight, 0),
        split(attention.out.bias, 0),
    ]
    for norm in (block.norm1, block.norm2):
        ties += [split(norm.weight, 0), split(norm.bias, 0)]
    return ties


def _grouped_heads(attention: nn.Module) -> Units:
    heads, size = attention.nhead, attention.head_size
    weight = attention.weight.unflatten(1, (heads, size)).movedim(1, 0)
    bias = attention.bias.unflatten(1, (heads, size)).movedim(1, 0)
    out = attention.out.weight.unflatten(1, (heads, size)).movedim(1, 0)
    product = out.detach() @ weight[:, 2].detach()
    return Units(_norm((product,)), (weight, bias, out))
