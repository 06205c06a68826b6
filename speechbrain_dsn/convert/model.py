"""From a trained static model to one whose parts have widths.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from speechbrain_dsn.convert.activity import mean_squares
from speechbrain_dsn.convert.replacement import Options
from speechbrain_dsn.convert.report import Report
from speechbrain_dsn.convert.units import Units, find_units
from speechbrain_dsn.convert.walk import Found, Walk
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.lobes.models.dual_path.blocks import (
    UTILIZATIONS,
    SelfDeciding,
)
from speechbrain_dsn.nnet.widths import check_utilizations

__all__ = ["at_width", "convert"]


def convert(
    model: nn.Module,
    patterns: str | Sequence[str] = "auto",
    utilizations: Sequence[float] = UTILIZATIONS,
    gated: bool = False,
    calibration: Iterable[Any] | None = None,
    steps: int = 100,
) -> tuple[nn.Module, Report]:
    """Makes a copy of a model whose parts run at several widths.

    The units of each part are sorted by importance
    (:mod:`speechbrain_dsn.convert.units`), so that narrow widths keep the
    best ones; at full width the copy computes what the model computes.
    Narrow widths have to be trained: without gates, blocks draw a width for
    each chunk while training and run the widest in eval; with gates, chunks
    choose.

    Arguments
    ---------
    model : torch.nn.Module
        Trained, and left as it is: it may teach the copy.
    patterns : str or sequence of str
        ``auto``, kinds (``transformer``, ``attention``, ``feed_forward``,
        ``linear``, ``conv_glu``, ``rnn``, ``ftfnet``, ``demucs``), or names of
        modules such as ``dual_mdl.*.inter_mdl``.
    utilizations : sequence of float
        Widths, ascending up to 1. FTF-Net has a gate instead, and the largest
        share below 1 of its groups stays when it is closed.
    gated : bool
        Whether gates are attached.
    calibration : iterable, optional
        Inputs of the model, as tensors or tuples of arguments: units are
        sorted by what they do on these. Recurrent units, FTF-Net and decoders
        of DEMUCS are sorted by magnitude in any case.
    steps : int
        Steps of a chunk or item in the report, where the model does not say.

    Returns
    -------
    tuple
        The copy, and a :class:`Report`.

    Raises
    ------
    InputError
        If there is nothing to convert, what was asked for by name cannot be
        converted, or the widths do not end with 1.

    Example
    -------
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> slim, report = convert(model, utilizations=(0.25, 1.0), steps=1)
    >>> print(report)
    converted  kind    sorted by  steps  width: M MAC
    0          linear  magnitude      1  0.25: 3.2e-05, 1: 0.000128
    left alone: 0
    >>> x = torch.randn(3, 4)
    >>> torch.allclose(slim.eval()(x), model(x), atol=1e-6)
    True
    """
    options = Options(_check(utilizations), gated)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise InputError("patterns: expected auto, kinds or names, got none")
    walk = Walk(options, patterns, steps)
    new = walk.through(copy.deepcopy(model))
    known = _sort(new, walk.found, calibration)
    report = Report(left=walk.left)
    for found in walk.found:
        module = found.new.module
        whole = not hasattr(module, "macs")
        cost = module.report().cost if whole else module.macs(found.steps)
        if not whole and gated:
            cost = cost + module.policy.macs()
        widths = getattr(module, "utilizations", (0.0, 1.0))
        report.add(
            found.name,
            found.kind,
            known[found.name],
            widths,
            cost,
            None if whole else found.steps,
        )
    return new, report


def _check(utilizations: Sequence[float]) -> tuple[float, ...]:
    try:
        ladder = check_utilizations(utilizations)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    if len(ladder) < 2 or ladder[-1] != 1:
        raise InputError(
            f"utilizations are {list(ladder)}: expected at least two that end "
            "with 1, the width that the model has"
        )
    return ladder


def _sort(
    model: nn.Module, found: list[Found], data: Iterable[Any] | None
) -> dict[str, str]:
    """Sorts all units, and says by which measure."""
    watched = [units for each in found for units in _watched(each.new.units)]
    squares = [None] * len(watched)
    if data is not None and watched:
        # The same layers of a copy that decides nothing.
        fixed = _fixed(model, 1.0)
        twin = dict(zip(model.modules(), fixed.modules(), strict=True))
        readers = [
            units.reader
            for each in found
            for units in _watched(find_units(twin[each.new.module]))
        ]
        squares = mean_squares(fixed, readers, data)
    energies = {
        id(units): energy
        for units, energy in zip(watched, squares, strict=True)
        if energy is not None
    }
    measures = {}
    for each in found:
        known = {id(units) in energies for units in each.new.units}
        for units in each.new.units:
            energy = energies.get(id(units))
            units.sort(None if energy is None else units.weighed(energy))
        measures[each.name] = "activation" if all(known) else "magnitude"
    return measures


def _watched(units: Iterable[Units]) -> list[Units]:
    """Those of which it can be seen what they send."""
    return [each for each in units if each.reader is not None]


def _fixed(model: nn.Module, width: float) -> nn.Module:
    """A copy in eval mode that decides nothing."""
    model = copy.deepcopy(model).eval()
    for block in model.modules():
        if isinstance(block, SelfDeciding):
            if width not in block.utilizations:
                raise InputError(
                    f"width {width:g}: expected one of {block.utilizations}"
                )
            block.decides = "fixed"
            block.level = block.utilizations.index(width)
    return model


def at_width(model: nn.Module, width: float) -> nn.Module:
    """A copy of a converted model whose blocks all run one width.

    Arguments
    ---------
    model : torch.nn.Module
        With blocks that decide.
    width : float
        One of their utilizations.

    Returns
    -------
    torch.nn.Module
        In eval mode. Its parameters are its own.

    Raises
    ------
    InputError
        If there is no such block, or one without this width.

    Example
    -------
    >>> model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> slim, _ = convert(model, gated=True)
    >>> narrow = at_width(slim, 0.125)
    """
    if not any(isinstance(part, SelfDeciding) for part in model.modules()):
        raise InputError(f"{type(model).__name__} has no blocks with widths")
    return _fixed(model, width)
