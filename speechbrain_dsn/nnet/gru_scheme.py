"""Which integers a GRU computes: widths, ranges, scales, tables.

The GRU is PyTorch's. Each of its operators has a width of its own (the idea
of arXiv 2402.12263), 36 in all; `_` stands for the gates ``r``, ``z``, ``n``,
``i`` for the input and ``h`` for the state::

    product_i_ = weight_i_ input        product_h_ = weight_h_ state
    biased_i_ = product_i_ + bias_i_    biased_h_ = product_h_ + bias_h_
    sum_r = biased_ir + biased_hr       gate_r = sigmoid(sum_r)
    sum_z = biased_iz + biased_hz       gate_z = sigmoid(sum_z)
    reset = gate_r * biased_hn          sum_n = biased_in + reset
    gate_n = tanh(sum_n)                complement = 1 - gate_z
    fresh = complement * gate_n         kept = gate_z * state
    state = fresh + kept

Ours, where no source says how: weights and biases are symmetric, gates cover
0..1 or -1..1 whatever the data, all else is affine between the minimum and
the maximum of calibration data; activations are tables with an entry per code
of their sum; each operator ends in one :class:`Rescale`.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.fixed_point import BITS, Quantiser, Rescale

__all__ = [
    "OPERATORS",
    "PATHS",
    "GRUScheme",
    "check_widths",
    "make_scheme",
    "uniform_widths",
]

GATES = ("r", "z", "n")
PATHS = tuple(f"{side}{gate}" for side in "ih" for gate in GATES)
SUMS = tuple(f"sum_{gate}" for gate in GATES)
OPERATORS = (
    "input",
    *(f"{kind}_{path}" for kind in ("weight", "bias") for path in PATHS),
    *(f"{kind}_{path}" for kind in ("product", "biased") for path in PATHS),
    *SUMS,
    *(f"gate_{gate}" for gate in GATES),
    *("reset", "complement", "fresh", "kept", "state"),
)
FIXED = ("gate_r", "gate_z", "gate_n", "complement")  # ranges known beforehand
# Minimum and maximum of each operator whose range is measured.
Ranges = Mapping[str, tuple[float, float]]


def uniform_widths(bits: int) -> dict[str, int]:
    """The same width for every operator.

    Arguments
    ---------
    bits : int
        2..16.

    Returns
    -------
    dict of str to int
        By operator.

    Raises
    ------
    InputError
        If no code can have that width.

    Example
    -------
    >>> widths = uniform_widths(8)
    >>> len(widths), set(widths.values())
    (36, {8})
    >>> uniform_widths(1)
    Traceback (most recent call last):
        ...
    speechbrain_dsn.errors.InputError: width of input is 1, expected a whole
    number from 2 to 16
    """
    return check_widths(dict.fromkeys(OPERATORS, bits))


def check_widths(widths: Mapping[str, Any]) -> dict[str, int]:
    """Refuses what is no set of widths.

    Arguments
    ---------
    widths : mapping of str to int
        By operator.

    Returns
    -------
    dict of str to int
        In the order of `OPERATORS`.

    Raises
    ------
    InputError
        If an operator is missing, unknown, or of an impossible width.
    """
    for what, names in (
        ("no width for", set(OPERATORS) - set(widths)),
        ("a width for the unknown", set(widths) - set(OPERATORS)),
    ):
        if names:
            raise InputError(
                f"{what} operator {', '.join(sorted(map(str, names))[:5])}: "
                f"expected one for each of the {len(OPERATORS)}"
            )
    for name in OPERATORS:
        bits = widths[name]
        whole = isinstance(bits, (int, np.integer)) and type(bits) is not bool
        if not whole or bits not in BITS:
            raise InputError(
                f"width of {name} is {bits!r}, expected a whole number from "
                f"{BITS[0]} to {BITS[-1]}"
            )
    return {name: int(widths[name]) for name in OPERATORS}


@dataclass(frozen=True)
class GRUScheme:
    """All numbers of an integer GRU that are no weights.

    Arguments
    ---------
    groups, inputs, units : int
        GRUs of equal size that share scales, and the size of each.
    widths : dict of str to int
        By operator.
    ranges : dict of str to tuple
        What the scales were made from.
    quantisers : dict of str to Quantiser
        By operator.
    rescales : dict of str to Rescale
        Of each operator that computes, except the tables.
    tables : dict of str to np.ndarray
        Of each gate: int64 ``[2^bits of its sum]``, codes of the gate by
        ``code - low`` of the sum.
    """

    groups: int
    inputs: int
    units: int
    widths: dict[str, int]
    ranges: dict[str, tuple[float, float]]
    quantisers: dict[str, Quantiser]
    rescales: dict[str, Rescale]
    tables: dict[str, np.ndarray]

    @property
    def one(self) -> int:
        """The code of 1 at the scale of the update gate."""
        return self.quantisers["gate_z"].high


def make_scheme(
    groups: int,
    inputs: int,
    units: int,
    ranges: Ranges,
    widths: Mapping[str, int],
) -> GRUScheme:
    """From ranges and widths to integers.

    Arguments
    ---------
    groups, inputs, units : int
        Sizes.
    ranges : mapping of str to tuple of float
        Minimum and maximum of each operator whose range is not fixed.
    widths : mapping of str to int
        By operator.

    Returns
    -------
    GRUScheme
        A function of these alone.

    Raises
    ------
    InputError
        If a width is impossible or a range is missing or not finite.
    """
    widths = check_widths(widths)
    ranges = _check_ranges(ranges)
    q = {name: _quantiser(name, widths[name], ranges) for name in OPERATORS}
    rescales: dict[str, Rescale] = {}

    def combine(name: str, *operands: tuple[float, int]) -> None:
        rescales[name] = Rescale.to(q[name], *operands)

    def plain(name: str) -> tuple[float, int]:
        return q[name].scale, q[name].bound

    def times(first: str, second: str, terms: int = 1) -> tuple[float, int]:
        a, b = q[first], q[second]
        return a.scale * b.scale, a.bound * b.bound * terms

    for path in PATHS:
        source, terms = (
            ("input", inputs) if path[0] == "i" else ("state", units)
        )
        combine(f"product_{path}", times(f"weight_{path}", source, terms))
        combine(
            f"biased_{path}", plain(f"product_{path}"), plain(f"bias_{path}")
        )
    for gate in "rz":
        combine(
            f"sum_{gate}", plain(f"biased_i{gate}"), plain(f"biased_h{gate}")
        )
    combine("reset", times("gate_r", "biased_hn"))
    combine("sum_n", plain("biased_in"), plain("reset"))
    combine("complement", plain("gate_z"))
    combine("fresh", times("complement", "gate_n"))
    combine("kept", times("gate_z", "state"))
    combine("state", plain("fresh"), plain("kept"))
    tables = {gate: _table(gate, q) for gate in GATES}
    sizes = (groups, inputs, units)
    return GRUScheme(*sizes, widths, ranges, q, rescales, tables)


def merged(ranges: Iterable[Ranges]) -> dict[str, tuple[float, float]]:
    """Ranges of several batches together.

    Arguments
    ---------
    ranges : iterable of mapping
        At least one.

    Returns
    -------
    dict of str to tuple of float
        The widest.
    """
    first, *others = ranges
    result = dict(first)
    for other in others:
        for name, (low, high) in other.items():
            mine = result[name]
            result[name] = (min(mine[0], low), max(mine[1], high))
    return result


def _check_ranges(ranges: Ranges) -> dict[str, tuple[float, float]]:
    wanted = [name for name in OPERATORS if name not in FIXED]
    checked = {}
    for name in wanted:
        pair = ranges.get(name, (np.nan, np.nan))
        low, high = map(float, pair)
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise InputError(
                f"range of {name} is {low:g}..{high:g}, expected finite "
                "numbers in ascending order"
            )
        checked[name] = (low, high)
    return checked


def _quantiser(name: str, bits: int, ranges: Ranges) -> Quantiser:
    if name == "gate_n":
        return Quantiser.symmetric(bits, 1.0)
    if name in FIXED:
        return Quantiser.affine(bits, 0.0, 1.0)
    low, high = ranges[name]
    if name.startswith(("weight", "bias_")):
        return Quantiser.symmetric(bits, max(-low, high))
    return Quantiser.affine(bits, low, high)


def _table(gate: str, quantisers: Mapping[str, Quantiser]) -> np.ndarray:
    """Dequantised, computed, quantised, for each code of the sum."""
    source, target = quantisers[f"sum_{gate}"], quantisers[f"gate_{gate}"]
    x = np.arange(source.low, source.high + 1) * source.scale
    # A sigmoid by tanh does not overflow.
    y = np.tanh(x) if gate == "n" else (np.tanh(x / 2) + 1) / 2
    codes = np.floor(y / target.scale + 0.5).astype(np.int64)
    return codes.clip(target.low, target.high)
