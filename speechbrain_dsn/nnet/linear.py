"""A dense layer with a static corner.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.masking import bucketed, mask_channels


class DynamicLinear(nn.Module):
    """``y = W x + b`` of which a closed frame runs the leading corner only.

    Open, it is a dense layer. Closed, only the rows ``W[:static_neurons,
    :static_inputs]`` run, and the other outputs are zero. MGT-DSN (arXiv
    2510.11395) prunes its dense layers per frame; which blocks of the matrix
    stay is our choice, documented in the lobe.

    Arguments
    ---------
    n_neurons : int
        Output channels.
    input_size : int
        Input channels.
    static_neurons : int, optional
        Leading outputs that a closed frame computes, all by default.
    static_inputs : int, optional
        Leading inputs that a closed frame reads, all by default.
    bias : bool
        Whether there is a bias.
    initial_bias : float, optional
        Where all biases start, instead of being drawn. The layer itself has
        to know: SpeechBrain resets every module after its parent.

    Example
    -------
    >>> layer = DynamicLinear(8, 6, static_neurons=4, static_inputs=3)
    >>> x, gate = torch.randn(2, 5, 6), torch.zeros(2, 5)
    >>> y = layer(x, gate)
    >>> y.shape, bool((y[..., 4:] == 0).all())
    (torch.Size([2, 5, 8]), True)
    >>> layer.macs()
    MacCount(fixed=12, gated=(36,))
    """

    def __init__(
        self,
        n_neurons: int,
        input_size: int,
        static_neurons: int | None = None,
        static_inputs: int | None = None,
        bias: bool = True,
        initial_bias: float | None = None,
    ) -> None:
        super().__init__()
        self.initial_bias = initial_bias
        self.static_neurons = _part(static_neurons, n_neurons, "neurons")
        self.static_inputs = _part(static_inputs, input_size, "inputs")
        self.weight = nn.Parameter(torch.empty(n_neurons, input_size))
        self.bias = nn.Parameter(torch.empty(n_neurons)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as ``torch.nn.Linear`` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight.size(1))
            reset_bias(self.bias, bound, self.initial_bias)

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes everything and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, ..., input_size]``.
        gate : Tensor, optional
            ``[B, T]`` in 0..1, soft or hard; open by default.

        Returns
        -------
        Tensor
            ``[B, T, ..., n_neurons]``.
        """
        y = F.linear(
            mask_channels(x, gate, self.static_inputs), self.weight, self.bias
        )
        return mask_channels(y, gate, self.static_neurons)

    def branch(self, x: Tensor, is_open: bool) -> Tensor:
        """Runs one branch: the dense layer, or its static corner.

        Arguments
        ---------
        x : Tensor
            ``[..., C]``; the closed branch reads leading channels only.
        is_open : bool
            Which branch.

        Returns
        -------
        Tensor
            ``[..., n_neurons]``, or ``[..., static_neurons]`` when closed.
        """
        if is_open:
            return F.linear(x, self.weight, self.bias)
        rows, columns = self.static_neurons, self.static_inputs
        bias = None if self.bias is None else self.bias[:rows]
        return F.linear(x[..., :columns], self.weight[:rows, :columns], bias)

    def forward_skipping(self, x: Tensor, is_open: Tensor) -> Tensor:
        """Runs each frame through its own branch.

        Arguments
        ---------
        x : Tensor
            ``[B, T, ..., input_size]``.
        is_open : Tensor
            Booleans ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T, ..., n_neurons]``, equal to ``forward`` for this gate.
        """
        return bucketed(self.branch, x, is_open, len(self.weight))

    def slice_to(self, is_open: bool) -> nn.Linear:
        """A plain dense layer that computes one branch, with its own copy.

        Arguments
        ---------
        is_open : bool
            Which branch.

        Returns
        -------
        torch.nn.Linear
            Reads and returns the channels of that branch.
        """
        rows, columns = self.weight.shape
        if not is_open:
            rows, columns = self.static_neurons, self.static_inputs
        dense = nn.Linear(columns, rows, self.bias is not None)
        dense.to(self.weight)
        with torch.no_grad():
            dense.weight.copy_(self.weight[:rows, :columns])
            if self.bias is not None:
                dense.bias.copy_(self.bias[:rows])
        return dense

    def macs(self, positions: int = 1) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        positions : int
            How often the layer runs per frame, e.g. frequency bins.

        Returns
        -------
        MacCount
            The corner is fixed, the rest of the matrix gated.
        """
        fixed = self.static_neurons * self.static_inputs
        return MacCount(fixed, (self.weight.numel() - fixed,)) * positions

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return (
            f"{self.weight.size(1)} -> {self.weight.size(0)}, static "
            f"{self.static_inputs} -> {self.static_neurons}"
        )


def reset_bias(
    bias: Tensor, bound: float, initial: float | None = None
) -> None:
    """Draws a bias, or sets it.

    Random numbers are drawn in both cases, so that under one seed all other
    layers of a network start alike.

    Arguments
    ---------
    bias : Tensor
        Filled in place.
    bound : float
        It is uniform in ``-bound .. bound``.
    initial : float, optional
        The one value that it gets instead.

    Example
    -------
    >>> bias = torch.empty(2)
    >>> reset_bias(bias, 0.1, initial=1.0)
    >>> bias
    tensor([1., 1.])
    """
    nn.init.uniform_(bias, -bound, bound)
    if initial is not None:
        nn.init.constant_(bias, initial)


def _part(static: int | None, whole: int, name: str) -> int:
    """Checks a static width against the full one."""
    static = whole if static is None else static
    if not 0 < static <= whole:
        raise ValueError(f"static {name} must be 1..{whole}, got {static}")
    return static
