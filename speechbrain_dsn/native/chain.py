"""Blocks one behind the other, as the kernels read them.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from torch import Tensor

from speechbrain_dsn.native.calls import LANES, Layer, expect
from speechbrain_dsn.native.library import library

TILE = 64  # rows, as in layers.h
TURN = 64  # frames, as in blocks.c


class _Block(ctypes.Structure):
    _fields_ = [
        *((name, Layer) for name in ("first", "second")),
        ("widths", ctypes.POINTER(ctypes.c_int64)),
        *((n, ctypes.c_void_p) for n in ("state", "beside", "y")),
        *((n, ctypes.c_int64) for n in ("pitch", "rows", "stride")),
        ("rectified", ctypes.c_int64),
    ]


class _Chain(ctypes.Structure):
    _fields_ = [
        ("blocks", ctypes.POINTER(_Block)),
        *((n, ctypes.c_void_p) for n in ("level", "x", "buffer")),
        *((n, ctypes.c_int64) for n in ("count", "items", "frames")),
    ]


def in_groups(widths: Sequence[int], count: int) -> list[list[int]]:
    """The widths of each of so many blocks, of which all were given in one.

    Arguments
    ---------
    widths : sequence of int
        Of all levels of the first block, then of the next.
    count : int
        Blocks.

    Returns
    -------
    list of list of int
        Per block.

    Example
    -------
    >>> in_groups([1, 2, 4, 8], 2)
    [[1, 2], [4, 8]]
    """
    levels = len(widths) // count
    return [list(widths[levels * i :][:levels]) for i in range(count)]


class Chain:
    """Blocks that are added one by one, and then run.

    Arguments
    ---------
    x : Tensor
        Input of the first ``[B, T, steps, C]``.
    level : Tensor
        Index of the width of each frame ``[B, T]``.
    widths : list of int
        As for :func:`in_groups`.
    count : int
        Blocks.
    """

    def __init__(
        self, x: Tensor, level: Tensor, widths: list[int], count: int
    ) -> None:
        expect(level=(level.shape, x.shape[:2]))
        self.x, self.level = x.contiguous(), level.long().contiguous()
        self._ladders = in_groups(widths, count)
        least, most = (int(index) for index in level.aminmax())
        levels = len(self._ladders[0])
        if least < 0 or most >= levels:
            raise IndexError(
                f"levels {least} to {most}, expected 0 to {levels - 1}"
            )
        # That the layers have to have, at least.
        self.widths = [ladder[most] for ladder in self._ladders]
        self._blocks: list[_Block] = []
        self._alive: list[Tensor | None] = []
        self._buffer = 0

    def add(
        self,
        first: tuple[Tensor, Tensor],
        second: tuple[Tensor, Tensor],
        outputs: int,
        pitch: int,
        state: Tensor,
        y: Tensor,
        rows: int,
        stride: int,
        beside: Tensor | None = None,
        rectified: bool = False,
    ) -> None:
        """One more block, see ``block_t`` in blocks.c.

        Arguments
        ---------
        first, second : tuple of Tensor
            Both layers, as :func:`~speechbrain_dsn.native.calls.pack` packs
            them.
        outputs : int
            Of the second layer.
        pitch : int
            Channels between the layers.
        state : Tensor
            Of all items, changed in place.
        y : Tensor
            What it writes.
        rows : int
            Of a frame.
        stride : int
            Numbers that lead from one row to the next.
        beside : Tensor, optional
            Added to the input.
        rectified : bool
            Whether a ReLU follows.

        Raises
        ------
        ValueError
            If the layers are too narrow.
        """
        place = len(self._blocks)
        ladder, needed = self._ladders[place], self.widths[place]
        if pitch < needed:
            raise ValueError(f"width {pitch}, expected at least {needed}")
        array = (ctypes.c_int64 * len(ladder))(*ladder)
        extra = None if beside is None else beside.data_ptr()
        layers = Layer(*first, pitch), Layer(*second, outputs)
        addresses = state.data_ptr(), extra, y.data_ptr()
        sizes = pitch, rows, stride, rectified
        self._blocks.append(_Block(*layers, array, *addresses, *sizes))
        self._alive += [*first, *second, state, y, beside]
        needs = TILE * stride + (1 + TILE) * pitch + outputs + LANES
        self._buffer = max(self._buffer, needs)

    def run(self, name: str) -> None:
        """All of them.

        Arguments
        ---------
        name : str
            Of the kernel.
        """
        buffer, count = self.x.new_empty(self._buffer), len(self._blocks)
        blocks = (_Block * count)(*self._blocks)
        tensors = self.level, self.x, buffer
        addresses = (tensor.data_ptr() for tensor in tensors)
        chain = _Chain(blocks, *addresses, count, *self.x.shape[:2])
        getattr(library(), name)(ctypes.byref(chain))
