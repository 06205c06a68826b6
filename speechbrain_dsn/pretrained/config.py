"""What a model is, as data: ``config.json`` of a model folder.

Nothing in it is executed. Networks come from the one table of names in
`.table`, their arguments from its ranges, and whatever it does not know is
refused.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import nn

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.pretrained.arguments import (
    Number,
    Whole,
    check_arguments,
    shown,
)
from speechbrain_dsn.pretrained.size import check_size, limited_size
from speechbrain_dsn.pretrained.table import FRONT_ENDS, LOBES

__all__ = ["FORMAT_VERSION", "ModelConfig"]

FORMAT_VERSION = 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
KINDS = ("enhancement", "separation", "quality")
SAMPLE_RATE = Whole(8000, 48000)


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a model, except its weights.

    Arguments
    ---------
    name : str
        Lower case letters, digits, ``.``, ``_`` and ``-``.
    lobe : str
        A key of `table.LOBES`.
    lobe_arguments : mapping
        Its keyword arguments; what is left out has the default.
    front_end : str
        A key of `table.FRONT_ENDS`.
    front_end_arguments : mapping
        Its keyword arguments.
    sample_rate : int
        In Hz.
    calibration : Calibration, optional
        From budgets to biases, for a lobe that decides.
    default_budget : float, optional
        Used where none is asked for; without it the policy decides with a
        bias of 0.
    license : str
        Of the weights.
    info : mapping of str to str or number
        Anything else: data, steps, scores, command.
    kind : str
        What the model is for.
    format_version : int
        Of the folder.

    Raises
    ------
    InputError
        If a value is not one that a model could have.

    Example
    -------
    >>> config = ModelConfig("tiny", "ftfnet", {"channels": [8, 8, 16]})
    >>> sum(p.numel() for p in config.build().parameters()) < 20_000
    True
    >>> ModelConfig("tiny", "os.system")
    Traceback (most recent call last):
        ...
    speechbrain_dsn.errors.InputError: unknown lobe 'os.system', expected one
    of ftfnet, dynamic_ftfnet, demucs, slim_demucs, nsnet2, dynamic_nsnet2,
    conv_fsenet, dyncp, dual_path, slim_dual_path, quality_net
    """

    name: str
    lobe: str
    lobe_arguments: Mapping[str, Any] = field(default_factory=dict)
    front_end: str = "spectral"
    front_end_arguments: Mapping[str, Any] = field(default_factory=dict)
    sample_rate: int = 16000
    calibration: Calibration | None = None
    default_budget: float | None = None
    license: str = "Apache-2.0"
    info: Mapping[str, str | int | float] = field(default_factory=dict)
    kind: str = "enhancement"
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Checks each value."""
        if self.format_version != FORMAT_VERSION:
            raise InputError(
                f"format_version is {shown(self.format_version)}, this version of "
                f"speechbrain_dsn reads {FORMAT_VERSION}"
            )
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise InputError(
                f"name is {shown(self.name)}, expected lower case letters, digits, "
                "'.', '_' and '-', at most 64"
            )
        _choose("kind", self.kind, KINDS)
        _choose("lobe", self.lobe, LOBES)
        _choose("front_end", self.front_end, FRONT_ENDS)
        for owner, entry, arguments in (
            (self.lobe, LOBES[self.lobe], self.lobe_arguments),
            (
                self.front_end,
                FRONT_ENDS[self.front_end],
                self.front_end_arguments,
            ),
        ):
            check_arguments(owner, arguments, entry.arguments)
        if self.front_end != (wanted := LOBES[self.lobe].front_end):
            raise InputError(
                f"front_end is {self.front_end!r}, {self.lobe} needs {wanted!r}"
            )
        if self.kind != (wanted := LOBES[self.lobe].kind):
            raise InputError(
                f"kind is {self.kind!r}, {self.lobe} is for {wanted}"
            )
        if not SAMPLE_RATE.accepts(self.sample_rate):
            raise InputError(
                f"sample_rate is {shown(self.sample_rate)}, expected "
                f"{SAMPLE_RATE}"
            )
        if not _line(self.license) or not self.license:
            raise InputError(
                f"license is {shown(self.license)}, expected a line of text"
            )
        self._check_gates()
        _check_info(self.info)

    def _check_gates(self) -> None:
        if self.calibration is not None and not self.dynamic:
            raise InputError(
                f"calibration belongs to a lobe that decides, {self.lobe} is "
                "static"
            )
        if self.default_budget is None:
            return
        if not Number(0, 1).accepts(self.default_budget):
            raise InputError(
                f"default_budget is {shown(self.default_budget)}, expected a "
                "number from 0 to 1, or null"
            )
        if self.calibration is None:
            raise InputError("default_budget needs a calibration, found null")

    @property
    def dynamic(self) -> bool:
        """Whether the lobe decides."""
        return LOBES[self.lobe].decides

    def build(self) -> nn.Module:
        """The network with random weights, in eval mode.

        The state of torch's generator is left as it was.

        Returns
        -------
        torch.nn.Module
            The front end around the lobe.

        Raises
        ------
        InputError
            If the arguments do not go together, or the network would have
            more than `size.MAX_PARAMETERS`.
        """
        front_end = FRONT_ENDS[self.front_end].build
        try:
            with torch.random.fork_rng(devices=[]), limited_size():
                # The front end tells what the lobe sees.
                frame = front_end(
                    nn.Identity(), self.sample_rate, **self.front_end_arguments
                )
                frame.lobe = LOBES[self.lobe].build(
                    **frame.lobe_arguments, **self.lobe_arguments
                )
            # Layers that were copied from others, as a dual path's, have
            # registered nothing.
            check_size(sum(p.numel() for p in frame.parameters()))
        except (ValueError, ArithmeticError, RuntimeError) as error:
            line = " ".join(str(error).split())
            raise InputError(
                f"{self.lobe} cannot be built from {dict(self.lobe_arguments)} "
                f"and {dict(self.front_end_arguments)}: {line[:300]}"
            ) from error
        return frame.eval()

    def to_json(self) -> str:
        """The text of ``config.json``."""
        values = {
            "format_version": self.format_version,
            "kind": self.kind,
            **asdict(self),
        }
        return json.dumps(values, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Reads the text of ``config.json``.

        Arguments
        ---------
        text : str
            A JSON object with every field of this class, and no other.

        Returns
        -------
        ModelConfig
            What it says.

        Raises
        ------
        InputError
            If it is no JSON, a key is unknown, missing or there twice, or a
            value is not allowed.
        """
        try:
            values = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"no readable JSON ({error})") from None
        if not isinstance(values, dict):
            raise InputError("expected a JSON object")
        _check_keys("", values, {each.name for each in fields(cls)})
        table = values.pop("calibration")
        if table is not None:
            table = _calibration(table)
        return cls(calibration=table, **values)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, each key once: what is checked is what is used."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise InputError("a key is there twice, expected each key once")
    return values


def _check_keys(owner: str, found: Mapping, expected: set[str]) -> None:
    unknown = sorted(found.keys() - expected)
    missing = sorted(expected - found.keys())
    for what, names in (("unknown", unknown), ("missing", missing)):
        if names:
            names = ", ".join(map(shown, names[:5]))
            raise InputError(
                f"{owner}{what} key {names}, expected exactly "
                f"{', '.join(sorted(expected))}"
            )


def _calibration(table: Any) -> Calibration:
    if not isinstance(table, dict):
        raise InputError("calibration is no object, expected one or null")
    _check_keys("calibration: ", table, {"budgets", "biases"})
    for name, values in table.items():
        number = Number(-1e9, 1e9)
        if not isinstance(values, list) or not all(map(number.accepts, values)):
            raise InputError(f"calibration: {name}: expected finite numbers")
    return Calibration(tuple(table["budgets"]), tuple(table["biases"]))


def _choose(what: str, value: Any, known: Any) -> None:
    if not isinstance(value, str) or value not in known:
        raise InputError(
            f"unknown {what} {shown(value)}, expected one of {', '.join(known)}"
        )


def _check_info(info: Any) -> None:
    good = isinstance(info, Mapping) and all(
        _line(key)
        and (
            _line(value)
            or (type(value) in (int, float) and math.isfinite(value))
        )
        for key, value in info.items()
    )
    if not good:
        raise InputError(
            "info: expected names with lines of text or finite numbers"
        )


def _line(value: Any) -> bool:
    """Whether it is text that a terminal shows as it is."""
    return isinstance(value, str) and value.isprintable()
