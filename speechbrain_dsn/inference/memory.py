"""Memory that stays bounded over many files.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def trimmed(items: Iterable[T], every: int = 16) -> Iterator[T]:
    """Passes items on, and gives freed memory back now and then.

    Signals of many lengths leave holes in glibc's heap that the next ones do
    not fit: 5 MB per file of a few seconds. A trim takes milliseconds. Where
    the C library has none, nothing happens.

    Arguments
    ---------
    items : iterable
        Files to work on, say.
    every : int
        Items between two trims.

    Yields
    ------
    object
        The items.

    Example
    -------
    >>> list(trimmed("abc", every=2))
    ['a', 'b', 'c']
    """
    trim = _malloc_trim()
    for count, item in enumerate(items, start=1):
        yield item
        if trim is not None and count % every == 0:
            trim(0)


def _malloc_trim() -> ctypes._CFuncPtr | None:
    """Of glibc, or None."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
