"""An integer GRU on disk, for a runtime in C or any other language.

``NAME.json`` holds all single numbers, ``NAME.npz`` all arrays.

JSON: ``format_version`` 1; ``groups``, ``inputs``, ``units``; ``one``, the
code of 1 at the update gate; ``widths``, bits by operator, and ``ranges``,
from which the scales were made; ``quantisers``, by operator ``bits``,
``scale``, ``low``, ``high`` (a real number is ``scale * code`` with codes
``low..high``); ``rescales``, by operator ``multipliers``, ``shift``, ``low``,
``high``, one multiplier per operand (``clip((sum + half) >> shift, low,
high)``, see :mod:`speechbrain_dsn.nnet.gru_scheme` for the operands);
``arrays``, by name ``bits`` and ``shape`` of what is packed; ``bytes``, the
sizes.

npz: per name a vector of bytes. Codes are stored as ``code - low``, row by
row in C order, ``bits`` each without gaps, least significant bit first.
``weight_ir [groups, units, inputs]`` and so on, ``bias_ir [groups, units]``
and so on, and ``table_r``, ``table_z``, ``table_n``, whose entry ``code -
low`` of the sum holds the code of the gate. ``gru.c`` reads these bytes.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from speechbrain_dsn.dataio.tables import write_bytes, write_text
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.gru_scheme import GATES, GRUScheme, make_scheme
from speechbrain_dsn.quantization.gru import IntegerGRU
from speechbrain_dsn.quantization.packing import pack, scheme_bytes, unpack

__all__ = ["FORMAT_VERSION", "load_gru", "save_gru"]

FORMAT_VERSION = 1


def save_gru(path: str | os.PathLike, gru: IntegerGRU) -> tuple[Path, Path]:
    """Writes both files, each under a temporary name first.

    Arguments
    ---------
    path : path
        Without an ending.
    gru : IntegerGRU
        What to write.

    Returns
    -------
    tuple of Path
        JSON and npz.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    arrays = gru.unsigned()
    values = _numbers(gru.scheme) | {
        "arrays": {
            name: {"bits": bits, "shape": list(codes.shape)}
            for name, (codes, bits) in arrays.items()
        },
        "bytes": scheme_bytes(gru.scheme),
    }
    packed = io.BytesIO()
    np.savez(packed, **{name: pack(*each) for name, each in arrays.items()})
    texts, numbers = _paths(path)
    try:
        write_bytes(numbers, packed.getvalue())
        write_text(texts, json.dumps(values, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    return texts, numbers


def load_gru(path: str | os.PathLike) -> IntegerGRU:
    """Reads both files.

    Arguments
    ---------
    path : path
        Without an ending.

    Returns
    -------
    IntegerGRU
        The one that was saved.

    Raises
    ------
    InputError
        If a file is missing or damaged, or its numbers do not fit together.
    """
    texts, numbers = _paths(path)
    try:
        values = json.loads(texts.read_text(encoding="utf-8"))
        scheme = _scheme(values)
        _check_sizes(numbers, scheme)
        with np.load(numbers, allow_pickle=False) as file:
            packed = {name: file[name] for name in values["arrays"]}
        arrays = {
            name: _array(name, data, values["arrays"][name])
            for name, data in packed.items()
        }
        return _assemble(scheme, arrays)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
        NotImplementedError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(
            f"{path} is no integer GRU ({type(error).__name__}: {error})"
        ) from None


def _paths(path: str | os.PathLike) -> tuple[Path, Path]:
    path = Path(path)
    return tuple(path.with_name(path.name + end) for end in (".json", ".npz"))


def _numbers(scheme: GRUScheme) -> dict[str, Any]:
    """What follows from sizes, widths and ranges, and these."""
    return {
        "format_version": FORMAT_VERSION,
        "groups": scheme.groups,
        "inputs": scheme.inputs,
        "units": scheme.units,
        "one": scheme.one,
        "widths": scheme.widths,
        "ranges": {name: list(pair) for name, pair in scheme.ranges.items()},
        "quantisers": {n: asdict(q) for n, q in scheme.quantisers.items()},
        "rescales": {
            n: asdict(r) | {"multipliers": list(r.multipliers)}
            for n, r in scheme.rescales.items()
        },
    }


def _scheme(values: dict[str, Any]) -> GRUScheme:
    if values["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"format_version is {values['format_version']!r}, this version "
            f"of speechbrain_dsn reads {FORMAT_VERSION}"
        )
    sizes = [values[name] for name in ("groups", "inputs", "units")]
    if not all(type(size) is int and 0 < size <= 65536 for size in sizes):
        raise InputError(f"sizes are {sizes}, expected three from 1 to 65536")
    scheme = make_scheme(*sizes, values["ranges"], values["widths"])
    for name, expected in _numbers(scheme).items():
        if values[name] != expected:
            raise InputError(f"{name} do not follow from widths and ranges")
    return scheme


def _check_sizes(numbers: Path, scheme: GRUScheme) -> None:
    """Refuses members that unpack to more than an integer GRU can have."""
    weights = 3 * scheme.groups * scheme.units
    weights *= scheme.inputs + scheme.units + 2
    most = 4 * weights + (1 << 20)  # bytes, at up to 32 bits; and the tables
    with zipfile.ZipFile(numbers) as file:
        found = sum(member.file_size for member in file.infolist())
    if found > most:
        raise InputError(f"{found} bytes of arrays, expected at most {most}")


def _array(name: str, data: np.ndarray, about: dict[str, Any]) -> np.ndarray:
    bits, shape = about["bits"], about["shape"]
    count = int(np.prod(shape))
    if data.dtype != np.uint8 or data.shape != (-(-count * bits // 8),):
        raise InputError(
            f"{name} has {data.shape} of {data.dtype}, expected "
            f"{count} codes of {bits} bits"
        )
    return unpack(data, bits, count).reshape(shape)


def _assemble(scheme: GRUScheme, arrays: dict[str, np.ndarray]) -> IntegerGRU:
    q, codes = scheme.quantisers, {}
    for gate in GATES:
        name, low = f"gate_{gate}", q[f"gate_{gate}"].low
        table = arrays.pop(f"table_{gate}") + low
        if len(table) != len(scheme.tables[gate]):
            raise InputError(
                f"table of {name} has {len(table)} entries, expected "
                f"{len(scheme.tables[gate])}"
            )
        scheme.tables[gate][:] = table
    sizes = {"i": scheme.inputs, "h": scheme.units}
    for name, array in arrays.items():
        kind, path = name.split("_")
        wanted = (scheme.groups, scheme.units)
        wanted += (sizes[path[0]],) if kind == "weight" else ()
        if array.shape != wanted:
            raise InputError(
                f"{name} is {list(array.shape)}, expected {list(wanted)}"
            )
        codes[name] = array + q[name].low
    expected = {n for n in q if n.startswith(("weight_", "bias_"))}
    if set(codes) != expected:
        raise InputError("arrays are missing, expected 12 and three tables")
    return IntegerGRU(scheme, codes)
