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

# Arguments of the kernels: addresses, numbers.
_ARGUMENTS = {
    "dsn_gru_steps": "aaaaaannnn",
    "dsn_diagonal_gru": "aaaaannn",
    "dsn_linear": "aaa",
    "dsn_gated_linear": "aaa",
    "dsn_pack": "annnnnnan",
    "dsn_encode": "a",
    "dsn_decode": "a",
}
_TYPES = {"a": ctypes.c_void_p, "n": ctypes.c_int64}


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
    kernels = ctypes.CDLL(_kernels.__file__)
    for name, arguments in _ARGUMENTS.items():
        kernel = getattr(kernels, name)
        kernel.argtypes, kernel.restype = [_TYPES[a] for a in arguments], None
    return kernels


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
