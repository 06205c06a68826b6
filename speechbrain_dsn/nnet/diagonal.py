"""A GRU whose units do not see each other.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn import native
from speechbrain_dsn.cost import MacCount


@dataclass
class DiagonalGRUContext:
    """The state of a :class:`DiagonalGRU`.

    Arguments
    ---------
    hidden : Tensor
        ``[B, hidden_size]``, zeros at the start of a stream.
    """

    hidden: Tensor


class DiagonalGRU(nn.Module):
    """A GRU with diagonal recurrent matrices: the memory of the router.

    ``r, z = sigmoid(W x + u h + b)``, ``n = tanh(W_n x + b_n + r (u_n h +
    c_n))``, ``h' = (1 - z) n + z h``: the equations of ``torch.nn.GRU`` with
    a vector ``u`` in place of each recurrent matrix. Slimmable DEMUCS (arXiv
    2507.04879) has one in its router; that the input matrices are dense is
    our reading.

    Arguments
    ---------
    hidden_size : int
        Units.
    input_size : int
        Input channels.

    Example
    -------
    >>> gru = DiagonalGRU(64, 32)
    >>> gru(torch.randn(2, 10, 32)).shape
    torch.Size([2, 10, 64])
    >>> gru.macs()
    MacCount(fixed=6336, gated=())
    """

    def __init__(self, hidden_size: int, input_size: int) -> None:
        super().__init__()
        self.hidden_size, self.input_size = hidden_size, input_size
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hn = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as ``torch.nn.GRU`` would for these fan-ins."""
        for parameter in (self.weight_ih, self.bias_ih):
            bound = self.input_size**-0.5
            nn.init.uniform_(parameter, -bound, bound)
        nn.init.uniform_(self.weight_hh, -1.0, 1.0)
        nn.init.zeros_(self.bias_hn)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequences.

        Arguments
        ---------
        x : Tensor
            ``[B, T, input_size]``.

        Returns
        -------
        Tensor
            ``[B, T, hidden_size]``.
        """
        context = self.make_streaming_context(len(x), x.device, x.dtype)
        return self.forward_streaming(x, context)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> DiagonalGRUContext:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        DiagonalGRUContext
            Zeros.
        """
        shape = (batch_size, self.hidden_size)
        zeros = torch.zeros(shape, device=device, dtype=dtype)
        return DiagonalGRUContext(zeros)

    def forward_streaming(
        self, x: Tensor, context: DiagonalGRUContext
    ) -> Tensor:
        """Any number of steps.

        Arguments
        ---------
        x : Tensor
            ``[B, T, input_size]``.
        context : DiagonalGRUContext
            Updated in place.

        Returns
        -------
        Tensor
            ``[B, T, hidden_size]``.
        """
        size = self.hidden_size
        u_rz, u_n = self.weight_hh[:2], self.weight_hh[2]
        h, states = context.hidden, []
        # A copy: how a product is rounded depends on where its input lies.
        projected = F.linear(x.clone(), self.weight_ih, self.bias_ih)
        if size % native.LANES == 0 and native.runs(projected, h):
            weights = self.weight_hh, self.bias_hn
            y = native.diagonal_gru(projected, *weights, h)
            context.hidden = y[:, -1].clone() if y.size(1) else h
            return y
        for drive, new in zip(
            projected[..., : 2 * size].unflatten(-1, (2, size)).unbind(1),
            projected[..., 2 * size :].unbind(1),
            strict=True,
        ):
            gates = torch.addcmul(drive, u_rz, h.unsqueeze(1)).sigmoid()
            r, z = gates.unbind(1)
            n = torch.addcmul(new, r, torch.addcmul(self.bias_hn, u_n, h))
            h = torch.lerp(n.tanh(), h, z)
            states.append(h)
        context.hidden = h
        return (
            torch.stack(states, 1)
            if states
            else x.new_zeros(*x.shape[:2], size)
        )

    def macs(self) -> MacCount:
        """Cost of one step.

        Returns
        -------
        MacCount
            The input matrices, and three products per unit.
        """
        return MacCount(self.weight_ih.numel() + self.weight_hh.numel())
