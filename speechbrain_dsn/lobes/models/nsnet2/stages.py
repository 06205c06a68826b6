"""The layers of nsNet2, each run for the frames that reach it.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.dgru import DGRU, DGRUContext
from speechbrain_dsn.nnet.linear import DynamicLinear


class DenseStage(nn.Module):
    """A dense layer, with or without ReLU. It remembers nothing.

    Arguments
    ---------
    units : int
        Output channels.
    input_size : int
        Input channels.
    relu : bool
        Whether the output is rectified.

    Example
    -------
    >>> import torch
    >>> stage = DenseStage(6, 5, relu=True)
    >>> reached = torch.tensor([[True, False]])
    >>> stage.forward_streaming(torch.randn(1, 2, 5), None, reached).shape
    torch.Size([1, 2, 6])
    """

    def __init__(self, units: int, input_size: int, relu: bool) -> None:
        super().__init__()
        self.layer, self.relu = DynamicLinear(units, input_size), relu

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes all frames.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        gate : Tensor, optional
            Not needed: who skips a frame does not read it here.

        Returns
        -------
        Tensor
            ``[B, T, units]``.
        """
        x = self.layer(x)
        return F.relu(x) if self.relu else x

    def make_streaming_context(self, *where) -> None:
        """Nothing."""

    def forward_streaming(
        self, x: Tensor, context: None, reached: Tensor
    ) -> Tensor:
        """Computes the frames that reach the stage.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        context : None
            Nothing.
        reached : Tensor
            Booleans ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T, units]``, zero elsewhere.
        """
        if bool(reached.all()):
            return self(x)
        y = x.new_zeros(*x.shape[:2], len(self.layer.weight))
        y[reached] = self(x[reached])
        return y

    def macs(self) -> int:
        """MACs of a frame that reaches the stage."""
        return self.layer.macs().open


class RecurrentStage(nn.Module):
    """A GRU, or a D-GRU, over the frames that reach it.

    In any other frame its state stays as it is, bit for bit, and is what it
    puts out.

    Arguments
    ---------
    units : int
        Units.
    input_size : int
        Input channels.
    update_ratio : float
        Share of the units that a frame updates.

    Example
    -------
    >>> import torch
    >>> stage = RecurrentStage(6, 5)
    >>> stage(torch.randn(1, 2, 5)).shape
    torch.Size([1, 2, 6])
    """

    def __init__(
        self, units: int, input_size: int, update_ratio: float = 1.0
    ) -> None:
        super().__init__()
        self.layer = DGRU(
            units, input_size=input_size, update_ratio=update_ratio
        )

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes all frames and masks.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        gate : Tensor, optional
            Whether frames reach the stage ``[B, T]``, soft or hard; all by
            default.

        Returns
        -------
        Tensor
            ``[B, T, units]``.
        """
        return self.layer(x, gate=gate)[0]

    def make_streaming_context(self, *where) -> DGRUContext:
        """The state at the start of a stream: batch size, device, type."""
        return self.layer.make_streaming_context(*where)

    def forward_streaming(
        self, x: Tensor, context: DGRUContext, reached: Tensor
    ) -> Tensor:
        """Computes the frames that reach the stage.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        context : DGRUContext
            Updated in place.
        reached : Tensor
            Booleans ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T, units]``.
        """
        return self.layer.forward_streaming(x, context, reached)

    def macs(self) -> int:
        """MACs of a frame that reaches the stage."""
        return self.layer.macs().open


Stage = DenseStage | RecurrentStage


def costs(levels: list[bool], macs: int) -> MacCount:
    """What a part costs that some choices run.

    Arguments
    ---------
    levels : list of bool
        Which of them do.
    macs : int
        Its MACs.

    Returns
    -------
    MacCount
        Fixed where all do.

    Example
    -------
    >>> costs([False, True], 5)
    MacCount(fixed=0, gated=(0, 5))
    """
    if all(levels):
        return MacCount(macs)
    return MacCount(0, tuple(macs * runs for runs in levels), one_hot=True)
