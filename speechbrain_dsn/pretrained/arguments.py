"""Which values an argument in a model folder may have.

A configuration comes from anywhere. Every argument has a type and a range,
so that none can ask for more memory than a real model needs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechbrain_dsn.errors import InputError

__all__ = [
    "Flag",
    "Number",
    "OneOf",
    "Whole",
    "check_arguments",
    "listed",
    "shown",
]


@dataclass(frozen=True)
class Whole:
    """An integer, or a list of some.

    Arguments
    ---------
    low : int
        Smallest value.
    high : int
        Largest value.
    count : int, optional
        Length of the list; a bare integer by default.
    most : int, optional
        Length of the longest list, in place of ``count``.

    Example
    -------
    >>> Whole(1, 256, count=3).accepts([16, 32, 64])
    True
    >>> Whole(1, 5, most=3).accepts([1, 5])
    True
    >>> Whole(1, 256).accepts(True)
    False
    """

    low: int
    high: int
    count: int | None = None
    most: int | None = None

    def accepts(self, value: Any) -> bool:
        """Whether a value is allowed."""
        if self.count is None and self.most is None:
            return type(value) is int and self.low <= value <= self.high
        one = Whole(self.low, self.high)
        return (
            isinstance(value, list | tuple)
            and (self.count or 1) <= len(value) <= (self.count or self.most)
            and all(map(one.accepts, value))
        )

    def __str__(self) -> str:
        what = "an integer" if self.count is None else f"{self.count} integers"
        what = what if self.most is None else f"up to {self.most} integers"
        return f"{what} from {self.low} to {self.high}"


@dataclass(frozen=True)
class Number:
    """A finite number, or a list of some.

    Arguments
    ---------
    low : float
        Smallest value.
    high : float
        Largest value.
    most : int, optional
        Length of the longest list; a bare number by default.

    Example
    -------
    >>> Number(0, 1, most=4).accepts([0.25, 1])
    True
    """

    low: float
    high: float
    most: int | None = None

    def accepts(self, value: Any) -> bool:
        """Whether a value is allowed."""
        if self.most is not None:
            one = Number(self.low, self.high)
            return (
                isinstance(value, list | tuple)
                and 0 < len(value) <= self.most
                and all(map(one.accepts, value))
            )
        return (
            type(value) in (int, float)
            and math.isfinite(value)
            and self.low <= value <= self.high
        )

    def __str__(self) -> str:
        bounds = f"from {self.low:g} to {self.high:g}"
        if self.most is not None:
            return f"up to {self.most} numbers {bounds}"
        return f"a number {bounds}"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def accepts(self, value: Any) -> bool:
        """Whether a value is allowed."""
        return type(value) is bool

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class OneOf:
    """One of some words, or a list of some.

    Arguments
    ---------
    words : tuple of str
        Which.
    most : int, optional
        Length of the longest list; a bare word by default.

    Example
    -------
    >>> OneOf(("serial", "parallel")).accepts("sideways")
    False
    >>> OneOf(("pesq", "stoi"), most=2).accepts(["stoi"])
    True
    """

    words: tuple[str, ...]
    most: int | None = None

    def accepts(self, value: Any) -> bool:
        """Whether a value is allowed."""
        if self.most is not None:
            one = OneOf(self.words)
            return (
                isinstance(value, list | tuple)
                and 0 < len(value) <= self.most
                and all(map(one.accepts, value))
            )
        return isinstance(value, str) and value in self.words

    def __str__(self) -> str:
        if self.most is not None:
            return f"up to {self.most} of {', '.join(self.words)}"
        return f"one of {', '.join(self.words)}"


def check_arguments(
    owner: str,
    arguments: Mapping[str, Any],
    allowed: Mapping[str, Whole | Number | Flag | OneOf],
) -> None:
    """Refuses unknown names and values out of range.

    Arguments
    ---------
    owner : str
        What they are arguments of, for the message.
    arguments : mapping
        Name to value; names may be left out.
    allowed : mapping
        Name to what it accepts.

    Raises
    ------
    InputError
        Naming what was found and what was expected.

    Example
    -------
    >>> check_arguments("lobe", {"groups": 99}, {"groups": Whole(1, 64)})
    Traceback (most recent call last):
        ...
    speechbrain_dsn.errors.InputError: lobe: groups is 99, expected an integer
    from 1 to 64
    """
    if not isinstance(arguments, Mapping):
        raise InputError(f"{owner}: expected names and values")
    if unknown := sorted(set(arguments) - set(allowed)):
        raise InputError(
            f"{owner}: unknown argument {listed(unknown)}, "
            "expected some of "
            f"{', '.join(allowed)}"
        )
    for name, value in arguments.items():
        if not allowed[name].accepts(value):
            raise InputError(
                f"{owner}: {name} is {shown(value)}, expected {allowed[name]}"
            )


def shown(value: Any) -> str:
    """A value as a message shows it: what is long is cut.

    Arguments
    ---------
    value : Any
        Out of somebody's file.

    Returns
    -------
    str
        At most 60 characters, all printable.

    Example
    -------
    >>> shown("a" * 1000)[-5:]
    'aa...'
    """
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def listed(names: Sequence[str]) -> str:
    """Names as a message shows them: the first five, without quotes where
    they are short and plain.

    Arguments
    ---------
    names : sequence of str
        Out of somebody's file.

    Returns
    -------
    str
        One line.

    Example
    -------
    >>> listed(["a", "b\\n"])
    "a, 'b\\\\n'"
    """
    plain = [
        x if x.isprintable() and len(x) <= 60 else shown(x) for x in names[:5]
    ]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(plain) + more
