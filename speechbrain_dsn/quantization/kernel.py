"""The C kernel, compiled and called.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from ctypes import POINTER, Structure, c_int32, c_uint8
from pathlib import Path

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.fixed_point import Rescale
from speechbrain_dsn.nnet.gru_scheme import GATES, PATHS
from speechbrain_dsn.quantization.gru import IntegerGRU
from speechbrain_dsn.quantization.packing import pack

__all__ = ["Kernel", "compile_kernel", "kernel_source"]


class _Rescale(Structure):
    _fields_ = [
        ("multiplier", c_int32 * 2),
        ("shift", c_int32),
        ("low", c_int32),
        ("high", c_int32),
    ]


class _Packed(Structure):
    _fields_ = [
        ("data", POINTER(c_uint8)),
        ("bits", c_int32),
        ("low", c_int32),
    ]


class _GRU(Structure):
    _fields_ = [
        *((name, c_int32) for name in ("groups", "inputs", "units", "one")),
        ("weight", _Packed * 6),
        ("bias", _Packed * 6),
        ("table", _Packed * 3),
        ("table_start", c_int32 * 3),
        ("product", _Rescale * 6),
        ("biased", _Rescale * 6),
        ("sum", _Rescale * 3),
        *(
            (name, _Rescale)
            for name in ("reset", "complement", "fresh", "kept", "state")
        ),
        ("state_bits", c_int32),
    ]


def kernel_source() -> Path:
    """Where ``gru.c`` is.

    Returns
    -------
    Path
        In the package.

    Example
    -------
    >>> kernel_source().name
    'gru.c'
    """
    return Path(__file__).with_name("gru.c")


def compile_kernel(
    folder: str | os.PathLike, compiler: str = "cc"
) -> ctypes.CDLL:
    """Compiles the kernel as a shared library, and loads it.

    Arguments
    ---------
    folder : path
        Where the library is written.
    compiler : str
        A C compiler.

    Returns
    -------
    ctypes.CDLL
        With ``gru_step``.

    Raises
    ------
    InputError
        If there is no such compiler, or it refuses.
    """
    if shutil.which(compiler) is None:
        raise InputError(f"no C compiler {compiler!r}, expected one in PATH")
    path = Path(folder) / "gru.so"
    done = subprocess.run(
        [
            *(compiler, "-std=c99", "-O2", "-Wall", "-Wextra", "-shared"),
            *("-fPIC", "-o", str(path), str(kernel_source())),
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise InputError(f"{compiler} failed: {done.stderr.strip()}")
    return ctypes.CDLL(str(path))


class Kernel:
    """An integer GRU as the C kernel runs it.

    Arguments
    ---------
    library : ctypes.CDLL
        From :func:`compile_kernel`.
    gru : IntegerGRU
        What to run.
    """

    def __init__(self, library: ctypes.CDLL, gru: IntegerGRU) -> None:
        self.step = library.gru_step
        self.step.restype = None
        self.gru, self.kept = gru, []  # what the pointers point at
        scheme, q = gru.scheme, gru.scheme.quantisers
        packed = gru.unsigned()

        def rescales(kind: str, names) -> list[_Rescale]:
            return [_rescale(scheme.rescales[f"{kind}_{n}"]) for n in names]

        struct = self.struct = _GRU()
        struct.groups, struct.inputs = scheme.groups, scheme.inputs
        struct.units, struct.one = scheme.units, scheme.one
        for kind in ("weight", "bias"):
            for place, path in enumerate(PATHS):
                name = f"{kind}_{path}"
                low = q[name].low
                getattr(struct, kind)[place] = self._pack(*packed[name], low)
        for place, gate in enumerate(GATES):
            low = q[f"gate_{gate}"].low
            struct.table[place] = self._pack(*packed[f"table_{gate}"], low)
            struct.table_start[place] = q[f"sum_{gate}"].low
        struct.product[:] = rescales("product", PATHS)
        struct.biased[:] = rescales("biased", PATHS)
        struct.sum[:] = rescales("sum", GATES)
        for name in ("reset", "complement", "fresh", "kept", "state"):
            setattr(struct, name, _rescale(scheme.rescales[name]))
        struct.state_bits = q["state"].bits

    def _pack(self, codes: np.ndarray, bits: int, low: int) -> _Packed:
        data = pack(codes, bits)
        self.kept.append(data)
        return _Packed(data.ctypes.data_as(POINTER(c_uint8)), bits, low)

    def run(self, codes: np.ndarray) -> np.ndarray:
        """One sequence, from a state of zeros.

        Arguments
        ---------
        codes : np.ndarray
            Whole numbers ``[T, G I]``.

        Returns
        -------
        np.ndarray
            int64 ``[T, G H]``.
        """
        state = self.gru.scheme.quantisers["state"]
        rows = self.gru.scheme.groups * self.gru.scheme.units
        old = pack(np.full(rows, -state.low), state.bits)
        new = np.zeros_like(old)
        x = np.ascontiguousarray(codes, dtype=np.int32)
        y = np.zeros((len(x), rows), np.int32)
        for step in range(len(x)):
            pointers = (each.ctypes.data for each in (x[step], old, new))
            self.step(
                ctypes.byref(self.struct),
                *map(ctypes.c_void_p, pointers),
                ctypes.c_void_p(y[step].ctypes.data),
            )
            old, new = new, old
        return y.astype(np.int64)


def _rescale(rescale: Rescale) -> _Rescale:
    multipliers = (*rescale.multipliers, 0)[:2]
    return _Rescale(multipliers, rescale.shift, rescale.low, rescale.high)
