"""Integers in place of real numbers: quantisers and changes of scale.

A tensor is ``scale * code`` with whole codes between two bounds that hold 0,
so that zero states and closed inputs are exact. All that is computed on codes
is a sum of products followed by a :class:`Rescale`: multiply by integers,
shift right with rounding, clip. No number ever needs more than 52 bits, so
that float64 computes the same integers as int64, whatever the order of the
sums: what trains and what runs on a device agree bit for bit.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_dsn.errors import InputError

__all__ = [
    "BITS",
    "Quantiser",
    "Rescale",
    "rounded",
    "stacked",
    "straight_through",
]

BITS = range(2, 17)  # widths that a code may have
MULTIPLIER = 1 << 16  # the largest: by it, a single step saturates 16 bits
MAX_SHIFT = 48
EXACT = 1 << 51  # what sums of scaled codes stay below
TINY = 1e-30  # a range that counts as none


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The first's values, exactly, with the second's gradient.

    Arguments
    ---------
    hard : Tensor
        What is passed on.
    soft : Tensor
        What is differentiated, finite.

    Returns
    -------
    Tensor
        Like ``hard``.

    Example
    -------
    >>> x = torch.tensor([0.3, 1.7], requires_grad=True)
    >>> y = straight_through(x.round(), 3 * x)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([0.0, 2.0], [3.0, 3.0])
    """
    if not soft.requires_grad:
        return hard
    return hard.detach() + (soft - soft.detach())


def rounded(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """The nearest whole numbers, halves upwards, clipped.

    Backward, inside of the bounds, as if nothing were rounded.

    Arguments
    ---------
    x : Tensor
        Any shape.
    low, high : number or Tensor
        Bounds.

    Returns
    -------
    Tensor
        Like ``x``.

    Example
    -------
    >>> rounded(torch.tensor([-2.5, -0.5, 0.5, 9.0]), -2, 3).tolist()
    [-2.0, 0.0, 1.0, 3.0]
    """
    return straight_through(torch.floor(x + 0.5), x).clamp(low, high)


@dataclass(frozen=True)
class Quantiser:
    """Real numbers ``scale * code``.

    Arguments
    ---------
    bits : int
        Width of a code.
    scale : float
        Of one step.
    low, high : int
        The least and the largest code, around 0. What is stored is ``code -
        low``, an unsigned number of that many bits.

    Example
    -------
    >>> levels = Quantiser.affine(3, -1.0, 2.5)
    >>> levels
    Quantiser(bits=3, scale=0.5, low=-2, high=5)
    >>> levels.encode(torch.tensor([-9.0, 0.2, 0.3])).tolist()
    [-2.0, 0.0, 1.0]
    """

    bits: int
    scale: float
    low: int
    high: int

    @classmethod
    def affine(cls, bits: int, minimum: float, maximum: float) -> Quantiser:
        """All codes over a range, which is widened to hold 0.

        Arguments
        ---------
        bits : int
            2..16.
        minimum, maximum : float
            Of the data. Where both are 0, so is every code.

        Returns
        -------
        Quantiser
            ``scale = (max - min) / (2^bits - 1)``.
        """
        minimum, maximum = min(minimum, 0.0), max(maximum, 0.0)
        last = (1 << bits) - 1
        span = maximum - minimum
        scale = span / last if span > TINY else 1.0
        low = -min(last, int(-minimum / scale + 0.5))
        return cls(bits, scale, low, last + low)

    @classmethod
    def symmetric(cls, bits: int, largest: float) -> Quantiser:
        """As many codes below 0 as above; two bits are -1, 0 and 1.

        Arguments
        ---------
        bits : int
            2..16.
        largest : float
            Magnitude.

        Returns
        -------
        Quantiser
            ``scale = largest / (2^(bits-1) - 1)``.
        """
        last = (1 << (bits - 1)) - 1
        scale = largest / last if largest > TINY else 1.0
        return cls(bits, scale, -last, last)

    @property
    def bound(self) -> int:
        """The largest magnitude of a code."""
        return max(-self.low, self.high)

    def encode(self, x: Tensor) -> Tensor:
        """Codes, as whole numbers in float64, with a straight-through
        gradient.

        Arguments
        ---------
        x : Tensor
            Real numbers, any shape.

        Returns
        -------
        Tensor
            float64.
        """
        return rounded(x.double() / self.scale, self.low, self.high)

    def decode(self, codes: Tensor) -> Tensor:
        """Real numbers.

        Arguments
        ---------
        codes : Tensor
            Whole numbers, any shape.

        Returns
        -------
        Tensor
            float64.
        """
        return codes.double() * self.scale


@dataclass(frozen=True)
class Rescale:
    """``clip((sum_i multiplier_i * a_i + 2^(shift-1)) >> shift, low, high)``.

    The shift rounds towards minus infinity; with a shift of 0 nothing is
    added. An integer multiplier with a shift is how integer runtimes
    approximate a ratio of scales; to choose it so that float64 is exact is
    ours.

    Arguments
    ---------
    multipliers : tuple of int
        0..65536, one per operand.
    shift : int
        0..48.
    low, high : int
        Codes of the result.

    Example
    -------
    >>> target = Quantiser.affine(8, -1.0, 1.0)
    >>> half = Rescale.to(target, (target.scale / 2, 127))
    >>> half
    Rescale(multipliers=(32768,), shift=16, low=-128, high=127)
    >>> half.apply(100), half.apply(-3)
    (50, -1)
    """

    multipliers: tuple[int, ...]
    shift: int
    low: int
    high: int

    @classmethod
    def to(cls, target: Quantiser, *operands: tuple[float, int]) -> Rescale:
        """From operands of known scales.

        Arguments
        ---------
        target : Quantiser
            Of the result.
        *operands : tuple
            Scale of each, and the largest magnitude that it takes.

        Returns
        -------
        Rescale
            As precise as 17 bits of multiplier, and 52 in all, permit.

        Raises
        ------
        InputError
            If an operand may be so large that no multiplier fits.
        """
        bounds = [bound for _, bound in operands]
        room = EXACT // max(1, sum(bounds))
        if room < 1 << 8:
            raise InputError(
                f"sums up to {sum(bounds)} leave no room for a multiplier: "
                "expected fewer inputs or smaller widths"
            )
        most = min(MULTIPLIER, room)
        ratios = [scale / target.scale for scale, _ in operands]
        largest = max(ratios)
        shift = MAX_SHIFT
        while shift and largest * 2.0**shift + 0.5 > most:
            shift -= 1
        multipliers = [int(min(r * 2.0**shift + 0.5, most)) for r in ratios]
        return cls(tuple(multipliers), shift, target.low, target.high)

    @property
    def factors(self) -> tuple[float, ...]:
        """What float64 multiplies by, exactly."""
        return tuple(m * 2.0**-self.shift for m in self.multipliers)

    def apply(self, *operands):
        """The integers.

        Arguments
        ---------
        *operands : int or np.ndarray
            int64, one per multiplier.

        Returns
        -------
        int or np.ndarray
            Codes.
        """
        pairs = zip(self.multipliers, operands, strict=True)
        total = sum(m * each for m, each in pairs)
        total = (total + ((1 << self.shift) >> 1)) >> self.shift
        if isinstance(total, int):
            return min(max(total, self.low), self.high)
        return total.clip(self.low, self.high)


def stacked(rescales: Sequence[Rescale]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Constants of several at once, for float64.

    Arguments
    ---------
    rescales : sequence of Rescale
        With as many operands each.

    Returns
    -------
    tuple
        Factors of each operand, lower and upper bounds, ``[n, 1]`` each.
    """

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).unsqueeze(1)

    factors = zip(*(each.factors for each in rescales), strict=True)
    low, high = ([getattr(r, n) for r in rescales] for n in ("low", "high"))
    return [column(each) for each in factors], column(low), column(high)
