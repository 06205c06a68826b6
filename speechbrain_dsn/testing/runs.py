"""The ways to run a layer, whatever its methods are called with.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount

Run = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Runs:
    """What :class:`Subject` runs its layers by."""

    gated: bool
    choice: bool
    top: int
    skips: bool
    streams: bool
    run_dense: Callable[[nn.Module, Tensor], Tensor] | None

    def masked(
        self, layer: nn.Module, x: Tensor, gate: Tensor | None = None
    ) -> Tensor:
        """Runs ``forward``.

        Arguments
        ---------
        layer : torch.nn.Module
            The layer.
        x : Tensor
            ``[B, T, ..., C]``.
        gate : Tensor, optional
            A hard gate, or a soft one.

        Returns
        -------
        Tensor
            The output alone, without a decision.
        """
        if not self.gated or gate is None:
            return _first(layer(x))
        return _first(layer(x, gate=self.as_gate(gate).to(x.dtype)))

    def as_gate(self, gate: Tensor) -> Tensor:
        """What ``forward`` takes for a hard gate; a soft one stays.

        Arguments
        ---------
        gate : Tensor
            ``[B, T]``, or soft.

        Returns
        -------
        Tensor
            One-hot ``[B, T, J]`` for a choice among widths.
        """
        if self.choice and not gate.is_floating_point():
            return F.one_hot(gate, self.top + 1)
        return gate

    def skipping(self, layer: nn.Module, x: Tensor, is_open: Tensor) -> Tensor:
        """Runs ``forward_skipping``.

        Arguments
        ---------
        layer : torch.nn.Module
            The layer.
        x : Tensor
            ``[B, T, ..., C]``.
        is_open : Tensor
            A hard gate ``[B, T]``.

        Returns
        -------
        Tensor
            The output.
        """
        return _first(layer.forward_skipping(x, is_open))

    def context(self, layer: nn.Module, x: Tensor) -> Any:
        """The state at the start of streams like ``x``.

        Arguments
        ---------
        layer : torch.nn.Module
            The layer.
        x : Tensor
            ``[B, T, ..., C]``.

        Returns
        -------
        object
            The layer's context.
        """
        where = {"device": x.device, "dtype": x.dtype}
        if accepts(layer.make_streaming_context, "bins"):
            where["bins"] = _positions(x)
        return layer.make_streaming_context(len(x), **where)

    def step(
        self,
        layer: nn.Module,
        x: Tensor,
        context: Any,
        is_open: Tensor | None = None,
    ) -> Tensor:
        """Runs ``forward_streaming`` on one chunk.

        Arguments
        ---------
        layer : torch.nn.Module
            The layer.
        x : Tensor
            ``[B, T, ..., C]``.
        context : object
            Updated by the layer.
        is_open : Tensor, optional
            A hard gate ``[B, T]``.

        Returns
        -------
        Tensor
            The output.
        """
        run = layer.forward_streaming
        if not self.gated or is_open is None:
            return _first(run(x, context))
        if accepts(run, "is_open"):
            return _first(run(x, context, is_open=is_open))
        if accepts(run, "level"):
            return _first(run(x, context, level=is_open))
        gate = self.as_gate(is_open).to(x.dtype)
        return _first(run(x, context, gate=gate))

    def streaming(
        self,
        layer: nn.Module,
        x: Tensor,
        is_open: Tensor | None = None,
        chunks: int | list[int] | None = None,
    ) -> Tensor:
        """Runs whole streams, chunk by chunk.

        Arguments
        ---------
        layer : torch.nn.Module
            The layer.
        x : Tensor
            ``[B, T, ..., C]``.
        is_open : Tensor, optional
            A hard gate ``[B, T]``.
        chunks : int or list of int, optional
            Frames per chunk as in ``torch.split``, drawn by default.

        Returns
        -------
        Tensor
            The outputs, joined.
        """
        context = self.context(layer, x)
        parts = x.split(chunks or self.chunks(x.size(1)), 1)
        outputs, start = [], 0
        for part in parts:
            stop = start + part.size(1)
            gate = None if is_open is None else is_open[:, start:stop]
            outputs.append(self.step(layer, part, context, gate))
            start = stop
        return torch.cat(outputs, 1)

    def chunks(self, time: int) -> list[int]:
        """Draws lengths of chunks.

        Arguments
        ---------
        time : int
            Their sum.

        Returns
        -------
        list of int
            Each at least 1.
        """
        chunks = []
        while time:
            chunks.append(int(torch.randint(1, time + 1, ())))
            time -= chunks[-1]
        return chunks

    def paths(self, chunks: int | None = None) -> dict[str, Run]:
        """The ways to run a whole sequence with a hard gate.

        Arguments
        ---------
        chunks : int, optional
            Frames per chunk of a stream, drawn by default.

        Returns
        -------
        dict of str to callable
            ``(layer, x, is_open) -> y`` by name.
        """
        paths: dict[str, Run] = {"masked": self.masked}
        if self.skips:
            paths["skipping"] = self.skipping
        if self.streams:
            paths["streaming"] = partial(self.streaming, chunks=chunks)
        return paths

    def dense(self, layer: nn.Module, x: Tensor, level: int) -> Tensor:
        """Runs the slice of one branch.

        Arguments
        ---------
        layer : torch.nn.Module
            The layer.
        x : Tensor
            ``[B, T, ..., C]``.
        level : int
            Which branch.

        Returns
        -------
        Tensor
            The slice's output, often with fewer channels.
        """
        dense = self.slice(layer, level)
        return dense(x) if self.run_dense is None else self.run_dense(dense, x)

    def slice(self, layer: nn.Module, level: int) -> nn.Module:
        """One branch, cut out.

        Arguments
        ---------
        layer : torch.nn.Module
            The layer.
        level : int
            Which branch.

        Returns
        -------
        torch.nn.Module
            Its own copy of the weights.
        """
        return layer.slice_to(level if self.choice else bool(level))

    def cost(self, layer: nn.Module, x: Tensor) -> MacCount:
        """The declared cost of one frame.

        Arguments
        ---------
        layer : torch.nn.Module
            The layer.
        x : Tensor
            ``[B, T, ..., C]``.

        Returns
        -------
        MacCount
            MACs.
        """
        if not hasattr(layer, "macs"):
            return layer.report().cost
        if not inspect.signature(layer.macs).parameters:
            return layer.macs()
        return layer.macs(_positions(x))


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of this name.

    Arguments
    ---------
    function : callable
        Any function or method.
    name : str
        An argument.

    Returns
    -------
    bool
        Whether it is there.
    """
    return name in inspect.signature(function).parameters


def _positions(x: Tensor) -> int:
    return math.prod(x.shape[2:-1])


def _first(result: Any) -> Tensor:
    return result[0] if isinstance(result, tuple) else result
