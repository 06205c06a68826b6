"""What a model is, as data: ``config.json`` of a model folder.

Nothing in it is executed. Networks come from one table of names, their
arguments from ranges, and whatever the table does not know is refused.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.lobes.models.conv_fsenet import (
    ConvFSENet,
    DynamicConvFSENet,
)
from speechbrain_dsn.lobes.models.demucs import RoutedDemucs, SlimmableDemucs
from speechbrain_dsn.lobes.models.dual_path import DualPathSeparator
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet, FTFNet
from speechbrain_dsn.lobes.models.nsnet2 import DynamicNsNet2, NsNet2
from speechbrain_dsn.lobes.models.quality import MODES, TARGETS, QualityNet
from speechbrain_dsn.lobes.predictor import QualityPredictor
from speechbrain_dsn.lobes.separator import Separator
from speechbrain_dsn.lobes.waveform import WaveformEnhancer
from speechbrain_dsn.pretrained.arguments import (
    Flag,
    Number,
    OneOf,
    Whole,
    check_arguments,
    shown,
)

__all__ = ["FORMAT_VERSION", "FRONT_ENDS", "LOBES", "ModelConfig"]

FORMAT_VERSION = 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
KINDS = ("enhancement", "separation", "quality")
SAMPLE_RATE = Whole(8000, 48000)
# Values in range may together still be a network that no machine holds.
MAX_PARAMETERS = 100_000_000


class Entry(NamedTuple):
    """A network that a model folder may name.

    Arguments
    ---------
    build : callable
        The class.
    arguments : mapping
        Its keyword arguments and what they accept.
    front_end : str
        What a lobe works in.
    decides : bool
        Whether a lobe chooses its gates.
    static : str, optional
        The lobe that one of its choices is, cut out.
    choices : str
        What it chooses among.
    kind : str
        What it is for.
    """

    build: Callable[..., nn.Module]
    arguments: Mapping[str, Whole | Number | Flag | OneOf]
    front_end: str = "spectral"
    decides: bool = False
    static: str | None = None
    choices: str = "widths"
    kind: str = "enhancement"


_RATIO = Number(0.001, 1)  # of a D-GRU
_FTFNET = {
    "channels": Whole(1, 256, count=3),
    "groups": Whole(1, 64),
    "window": Whole(1, 1024),
    "update_ratio": _RATIO,
}
_DEMUCS = {
    "hidden": Whole(1, 256),
    "depth": Whole(1, 8),
    "kernel_size": Whole(2, 32),
    "stride": Whole(2, 16),
    "resample": Whole(2, 8),
    "taps": Whole(16, 512),
    "groups": Whole(1, 64),
    "utilizations": Number(0.01, 1, most=16),
}
_CONV_FSENET = {
    "channels": Whole(1, 512),
    "inner_channels": Whole(1, 1024),
    "kernel_size": Whole(1, 15),
    "stacks": Whole(1, 4),
    "blocks": Whole(1, 6),
    "group": Whole(1, 512),
}
_NSNET2 = {
    "exits": Whole(1, 5, most=5),
    "split": OneOf(("none", "parallel", "serial")),
    "units": Whole(1, 4096, count=5),
    "update_ratio": _RATIO,
}
_DUAL_PATH = {
    "num_spks": Whole(2, 5),
    "channels": Whole(2, 1024),
    "kernel_size": Whole(2, 64),
    "chunk_size": Whole(2, 2500),
    "num_layers": Whole(1, 16),
    "intra_layers": Whole(1, 16),
    "inter_layers": Whole(1, 16),
    "nhead": Whole(1, 64),
    "inter_nhead": Whole(1, 64),
    "intra_ffn": Whole(1, 8192),
    "inter_ffn": Whole(1, 8192),
    "utilizations": Number(0.01, 1, most=16),
    "slim_attention": Flag(),
}
_CHOICE = {"temperature": Number(0.01, 100), "straight_through": Flag()}
# The whole table: a name that is not here cannot be loaded. Bins and frame
# rate of a lobe are not arguments, they follow from the front end.
LOBES = MappingProxyType(
    {
        "ftfnet": Entry(FTFNet, _FTFNET),
        "dynamic_ftfnet": Entry(
            DynamicFTFNet,
            {
                **_FTFNET,
                "static_groups": Whole(0, 64),
                "policy_hidden": Whole(1, 1024),
                "policy_memory": Flag(),
                **_CHOICE,
            },
            decides=True,
        ),
        "demucs": Entry(SlimmableDemucs, _DEMUCS, "waveform"),
        "slim_demucs": Entry(
            RoutedDemucs,
            {
                **_DEMUCS,
                "router_channels": Whole(1, 1024),
                "router_kernel": Whole(1, 4096),
                "router_stride": Whole(1, 2048),
                **_CHOICE,
            },
            "waveform",
            decides=True,
            static="demucs",
        ),
        "nsnet2": Entry(NsNet2, _NSNET2),
        "dynamic_nsnet2": Entry(
            DynamicNsNet2,
            {**_NSNET2, "router_hidden": Whole(1, 1024), **_CHOICE},
            decides=True,
            static="nsnet2",
            choices="exits",
        ),
        "conv_fsenet": Entry(ConvFSENet, _CONV_FSENET),
        "dyncp": Entry(
            DynamicConvFSENet,
            {
                **_CONV_FSENET,
                "policy_hidden": Whole(1, 1024),
                "policy_window": Whole(1, 64),
                "slope": Number(0.01, 1000),
            },
            decides=True,
        ),
        "dual_path": Entry(
            partial(DualPathSeparator, gated=False),
            _DUAL_PATH,
            "mixture",
            kind="separation",
        ),
        "slim_dual_path": Entry(
            DualPathSeparator,
            {**_DUAL_PATH, **_CHOICE},
            "mixture",
            decides=True,
            static="dual_path",
            kind="separation",
        ),
        "quality_net": Entry(
            QualityNet,
            {
                "mode": OneOf(tuple(MODES)),
                "targets": OneOf(TARGETS, most=len(TARGETS)),
                "channels": Whole(1, 512, count=4),
                "hidden": Whole(1, 1024),
                "dropout": Number(0, 0.9),
            },
            "mel",
            kind="quality",
        ),
    }
)
FRONT_ENDS = MappingProxyType(
    {
        "spectral": Entry(
            SpectralEnhancer,
            {
                "n_fft": Whole(16, 2048),
                "hop": Whole(8, 2048),
                "compression": Number(0.1, 1),
                "strength": Number(0.1, 4),
            },
        ),
        "waveform": Entry(WaveformEnhancer, {}, "waveform"),
        "mixture": Entry(Separator, {}, "mixture", kind="separation"),
        "mel": Entry(
            QualityPredictor,
            {
                "n_fft": Whole(64, 4096),
                "hop": Whole(16, 4096),
                "bands": Whole(8, 256),
                "segment_seconds": Number(0.25, 60),
            },
            "mel",
            kind="quality",
        ),
    }
)


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a model, except its weights.

    Arguments
    ---------
    name : str
        Lower case letters, digits, ``.``, ``_`` and ``-``.
    lobe : str
        A key of `LOBES`.
    lobe_arguments : mapping
        Its keyword arguments; what is left out has the default.
    front_end : str
        A key of `FRONT_ENDS`.
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
            more than `MAX_PARAMETERS`.
        """
        front_end = FRONT_ENDS[self.front_end].build
        try:
            with torch.random.fork_rng(devices=[]), _limited():
                # The front end tells what the lobe sees.
                frame = front_end(
                    nn.Identity(), self.sample_rate, **self.front_end_arguments
                )
                frame.lobe = LOBES[self.lobe].build(
                    **frame.lobe_arguments, **self.lobe_arguments
                )
            # Layers that were copied from others, as a dual path's, have
            # registered nothing.
            _check_size(sum(p.numel() for p in frame.parameters()))
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


def _check_size(parameters: int) -> None:
    if parameters > MAX_PARAMETERS:
        raise InputError(
            f"more than {MAX_PARAMETERS} parameters, expected a network "
            "that fits in memory"
        )


@contextmanager
def _limited() -> Iterator[None]:
    """Ends the making of a network once it is too large."""
    total, thread = 0, threading.get_ident()

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        nonlocal total
        if parameter is None or threading.get_ident() != thread:
            return
        total += parameter.numel()
        _check_size(total)

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
