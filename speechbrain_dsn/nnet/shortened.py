"""A GRU over the frames that are open.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def shortened(
    rnn: nn.GRU, x: Tensor, is_open: Tensor, hx: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs a GRU on each item's open frames as if there were no others.

    A closed frame puts out the state that was, backwards the one that is to
    come; its input is not read.

    Arguments
    ---------
    rnn : torch.nn.GRU
        With ``batch_first``.
    x : Tensor
        ``[B, T, C]``.
    is_open : Tensor
        Booleans ``[B, T]``.
    hx : Tensor
        State before the first frame ``[layers * directions, B, H]``.

    Returns
    -------
    tuple of Tensor
        Outputs ``[B, T, H * directions]`` and the last states.

    Example
    -------
    >>> rnn, x = nn.GRU(4, 3, batch_first=True), torch.randn(1, 3, 4)
    >>> is_open = torch.tensor([[True, False, True]])
    >>> y, _ = shortened(rnn, x, is_open, torch.zeros(1, 1, 3))
    >>> torch.equal(y[:, 0], y[:, 1])
    True
    >>> torch.allclose(y[:, [0, 2]], rnn(x[:, [0, 2]])[0])
    True
    """
    if x.size(1) and bool(is_open.all()):
        return rnn(x, hx)
    directions = 2 if rnn.bidirectional else 1
    counts = is_open.sum(1)
    some, longest = counts > 0, int(counts.max()) if is_open.numel() else 0
    # What an item puts out in its open frames; behind that, where it starts.
    y = x.new_zeros(len(x), longest + 1, rnn.hidden_size * directions)
    state = hx.clone()
    if longest:
        order = (~is_open[some]).byte().argsort(dim=1, stable=True)[:, :longest]
        index = order.unsqueeze(-1).expand(-1, -1, x.size(-1))
        packed = pack_padded_sequence(
            x[some].gather(1, index),
            counts[some].cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        out, state[:, some] = rnn(packed, hx[:, some].contiguous())
        y[some, :longest] = pad_packed_sequence(out, batch_first=True)[0]
    start = hx[-directions:].transpose(0, 1).flatten(1)
    y[torch.arange(len(x), device=x.device), counts] = start
    seen = is_open.cumsum(1)
    sides = []
    for backwards, half in enumerate(y.chunk(directions, -1)):
        index = seen - is_open.long() if backwards else seen - 1
        index = torch.where(index < 0, counts[:, None], index).unsqueeze(-1)
        sides.append(half.gather(1, index.expand(-1, -1, half.size(-1))))
    return torch.cat(sides, -1), state
