"""Memory that is used again, and stays bounded over many files.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# Of glibc's malloc.h. Blocks from this size on are mapped each by itself, and
# so much free memory at the end of the heap is given back.
OPTIONS = {-3: 1 << 25, -1: 1 << 30}


def keep_freed_memory() -> bool:
    """Has this process use freed memory again instead of giving it back.

    A feature map of a block of seconds takes tens of MB. glibc gives that much
    back as soon as it is free, and the kernel clears the next one page by
    page: 5 to 15 % of the time of FTF-Net, a quarter of that of a slim DEMUCS.

    Returns
    -------
    bool
        Whether there is a C library that knows how.

    Example
    -------
    >>> type(keep_freed_memory())  # no glibc, no such option
    <class 'bool'>
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([mallopt(*option) for option in OPTIONS.items()])


def trimmed(items: Iterable[T], every: int = 16) -> Iterator[T]:
    """Passes items on, and gives freed memory back now and then.

    Signals of many lengths, and blocks with as many open frames as they happen
    to have, leave holes in glibc's heap that the next ones do not fit: 5 MB
    per file of a few seconds. A trim takes milliseconds. Where the C library
    has none, nothing happens.

    Arguments
    ---------
    items : iterable
        Files or blocks to work on, say.
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
