"""A trained model some of whose GRUs are to run on integers.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.dgru import DGRU
from speechbrain_dsn.nnet.gru_scheme import OPERATORS, make_scheme
from speechbrain_dsn.nnet.masking import mask_channels
from speechbrain_dsn.nnet.quantized import QuantizedGRU, calibrate, gru_weights
from speechbrain_dsn.nnet.time_gru import TimeGRU
from speechbrain_dsn.quantization.packing import scheme_bytes

__all__ = ["SPLITS", "Subject", "Task"]

SPLITS = ("calibration", "search", "valid", "test")
Widths = Mapping[str, Mapping[str, int]]  # of each GRU, by operator


@dataclass(frozen=True)
class Task:
    """A model, data, and how wrong the model is on it.

    Arguments
    ---------
    name : str
        Of the task.
    model : torch.nn.Module
        On real numbers, in eval mode.
    grus : sequence of str
        Paths of the modules that are quantised.
    measure : str
        What the error is, with its unit.
    batches : dict of str to list
        By split: ``calibration`` for ranges and ``search`` for fronts, both
        of data to train on; ``valid`` to choose by, ``test`` to report.
    output : callable
        ``(model, batch) -> Tensor``.
    score : callable
        ``(output, batch) -> Tensor [items]``, the errors of a batch.
    origin : str
        Where the model comes from.
    tolerance : float
        By how much an error may be larger and count as equal (ours).
    """

    name: str
    model: nn.Module
    grus: Sequence[str]
    measure: str
    batches: dict[str, list[Any]]
    output: Callable[[nn.Module, Any], Tensor]
    score: Callable[[Tensor, Any], Tensor]
    origin: str
    tolerance: float


class _Slot(nn.Module):
    """In place of a GRU: it, or whatever else runs there."""

    def __init__(self, gru: nn.Module) -> None:
        super().__init__()
        gru_weights(gru)  # is it one that can be quantised?
        self.gru = gru
        self.run: Callable | None = None
        self.watch: Callable | None = None

    def forward(self, x: Tensor, *others, gate: Tensor | None = None):
        """The arguments and results of the GRU."""
        if isinstance(self.gru, TimeGRU):
            gate = others[0] if others else gate
            x = mask_channels(x, gate, self.gru.static_groups * self.gru.inputs)
            rows, is_open = x.transpose(1, 2).flatten(0, 1), None
        else:
            rows, is_open = x, None if gate is None else gate > 0.5
        if self.watch is not None:
            self.watch(rows)
        if self.run is None:
            options = {"gate": gate} if isinstance(self.gru, DGRU) else {}
            return self.gru(x, **options)
        y = self.run(rows, is_open)
        if isinstance(self.gru, TimeGRU):
            return y.unflatten(0, (len(x), -1)).transpose(1, 2)
        return y, y[:, -1:].transpose(0, 1)


class Subject:
    """A task whose GRUs run at any widths.

    Arguments
    ---------
    task : Task
        Its model is copied.

    Raises
    ------
    InputError
        If a GRU cannot be quantised or calibrated.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.model = task, copy.deepcopy(task.model).eval()
        self.slots: dict[str, _Slot] = {}
        for path in task.grus:
            self.slots[path] = _Slot(self.model.get_submodule(path))
            owner, _, name = path.rpartition(".")
            setattr(self.model.get_submodule(owner), name, self.slots[path])
        self.ranges = self._calibrate()

    @property
    def operators(self) -> list[tuple[str, str]]:
        """Path of a GRU and operator: what a search chooses widths for."""
        return [(path, name) for path in self.slots for name in OPERATORS]

    def _calibrate(self) -> dict[str, dict]:
        seen: dict[str, list[Tensor]] = {path: [] for path in self.slots}
        for path, slot in self.slots.items():
            slot.watch = seen[path].append
        for _ in self._outputs("calibration", None):
            pass  # the slots watch
        for slot in self.slots.values():
            slot.watch = None
        ranges = {}
        for path, slot in self.slots.items():
            try:
                ranges[path] = calibrate(slot.gru, seen[path])
            except InputError as error:
                raise InputError(f"{self.task.name}, {path}: {error}") from None
        return ranges

    def quantise(self, widths: Widths) -> dict[str, QuantizedGRU]:
        """The GRUs at some widths.

        Arguments
        ---------
        widths : mapping
            By path and operator.

        Returns
        -------
        dict of str to QuantizedGRU
            By path.
        """
        return {
            path: QuantizedGRU(slot.gru, self.ranges[path], widths[path])
            for path, slot in self.slots.items()
        }

    def bytes(self, widths: Widths) -> dict[str, int]:
        """What all GRUs take together.

        Arguments
        ---------
        widths : mapping
            By path and operator.

        Returns
        -------
        dict of str to int
            See :func:`~speechbrain_dsn.quantization.packing.scheme_bytes`.
        """
        parts: dict[str, int] = {}
        for path, slot in self.slots.items():
            groups, rows, inputs = gru_weights(slot.gru)[0].shape
            sizes = (groups, inputs, rows // 3)
            scheme = make_scheme(*sizes, self.ranges[path], widths[path])
            for name, size in scheme_bytes(scheme).items():
                parts[name] = parts.get(name, 0) + size
        return parts

    def float_bytes(self) -> int:
        """Weights and biases of all GRUs in 32 bits."""
        grus = [gru_weights(slot.gru) for slot in self.slots.values()]
        return 4 * sum(x.numel() for weights in grus for x in weights)

    def _outputs(self, split: str, widths: Widths | None) -> Iterator[Tensor]:
        """What the model makes of each batch."""
        grus = {} if widths is None else self.quantise(widths)
        for path, slot in self.slots.items():
            slot.run = grus.get(path)
        batches = self.task.batches[split]
        if not batches:
            raise InputError(f"{self.task.name}: no data for {split}")
        with torch.no_grad():
            for batch in batches:
                yield self.task.output(self.model, batch)

    @cached_property
    def _exact(self) -> list[Tensor]:
        return list(self._outputs("search", None))

    def deviation(self, widths: Widths) -> float:
        """How far the output is from that of real numbers: what a search
        makes small.

        Ours. The error itself has a part of chance, by which a search on a
        few items lets itself be led; this has not, and it needs no labels.

        Arguments
        ---------
        widths : mapping
            By path and operator.

        Returns
        -------
        float
            Energy of the difference over that of the output, on the data of
            the search.
        """
        wanted, rest, exacts = 0.0, 0.0, self._exact
        outputs = self._outputs("search", widths)
        for found, exact in zip(outputs, exacts, strict=True):
            wanted += exact.double().square().sum().item()
            rest += (found.double() - exact).square().sum().item()
        return self._finite("deviation", rest / max(wanted, 1e-30))

    def error(self, split: str, widths: Widths | None = None) -> float:
        """How wrong the model is.

        Arguments
        ---------
        split : str
            One of `SPLITS`.
        widths : mapping, optional
            By path and operator; real numbers by default.

        Returns
        -------
        float
            Mean over the items.

        Raises
        ------
        InputError
            If that is no finite number, or there are no items.
        """
        outputs, batches = self._outputs(split, widths), self.task.batches
        pairs = zip(outputs, batches[split], strict=True)
        errors = torch.cat([self.task.score(*pair) for pair in pairs])
        return self._finite(f"error on {split}", errors.double().mean().item())

    def _finite(self, what: str, value: float) -> float:
        if not math.isfinite(value):
            raise InputError(
                f"{self.task.name}: {what} is {value}, expected a finite number"
            )
        return value
