"""Finds the compiled kernels.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform

import torch

VARIABLE = "SPEECHBRAIN_DSN_NATIVE"


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels, or None where they were not built or would not run.

    Returns
    -------
    ctypes.CDLL or None
        Loaded once.
    """
    if os.environ.get(VARIABLE) == "0":
        return None
    # On x86 they are compiled for AVX2.
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if x86 and not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return None
    try:
        from speechbrain_dsn.native import _kernels
    except ImportError:
        return None
    return ctypes.CDLL(_kernels.__file__)


def available() -> bool:
    """Whether the kernels run here.

    Returns
    -------
    bool
        If not, PyTorch computes the same.

    Example
    -------
    >>> available() in (True, False)
    True
    """
    return library() is not None
