"""``model.safetensors``: numbers, and nothing that runs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.pretrained.arguments import listed

__all__ = ["check_finite", "dump_weights", "read_weights"]

MAX_HEADER = 1 << 20  # bytes; that of FTF-Net has 13 k


def dump_weights(tensors: Mapping[str, Tensor]) -> bytes:
    """Weights as the content of a safetensors file.

    Arguments
    ---------
    tensors : mapping of str to Tensor
        A state dict.

    Returns
    -------
    bytes
        The file.
    """
    return save(
        {name: x.detach().cpu().contiguous() for name, x in tensors.items()},
        metadata={"format": "pt"},
    )


def read_weights(
    path: Path,
    expected: Mapping[str, Tensor],
    optional: Collection[str] = (),
) -> dict[str, Tensor]:
    """Reads a file that must fit a network exactly.

    Arguments
    ---------
    path : Path
        A safetensors file.
    expected : mapping of str to Tensor
        State dict of the network: names, shapes and types. No more than
        these tensors is ever held in memory. Numbers that were halved for
        storage come back in the type of the network.
    optional : collection of str
        Names out of these that may be missing.

    Returns
    -------
    dict of str to Tensor
        The weights, on the CPU.

    Raises
    ------
    InputError
        If it is no safetensors file, or a tensor is missing, unknown,
        misshaped, of another type, or not finite.
    """
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            found = set(file.keys())
            absent = set(optional) - found
            _check_names(path, found, set(expected) - absent)
            tensors = {}
            for name, wanted in expected.items():
                if name in absent:
                    continue
                shape = tuple(file.get_slice(name).get_shape())
                if shape != tuple(wanted.shape):
                    raise InputError(
                        f"{path}: tensor {name} has shape {list(shape)}, "
                        f"expected {list(wanted.shape)}"
                    )
                tensors[name] = file.get_tensor(name)
    # RuntimeError: a file that is too large to be mapped into memory.
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as safetensors ({error})"
        ) from None
    for name, tensor in tensors.items():
        wanted = expected[name].dtype
        half = tensor.dtype == torch.float16 and wanted == torch.float32
        if tensor.dtype != wanted and not half:
            raise InputError(
                f"{path}: tensor {name} holds {tensor.dtype}, expected {wanted}"
            )
    check_finite(path, tensors)
    return {n: x.to(expected[n].dtype) for n, x in tensors.items()}


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Half the bytes: real numbers with 11 significant bits, not 24.

    Arguments
    ---------
    tensors : mapping of str to Tensor
        A state dict.

    Returns
    -------
    dict of str to Tensor
        In float16 what was float32.

    Example
    -------
    >>> halved({"w": torch.ones(1), "n": torch.ones(1, dtype=torch.long)})
    {'w': tensor([1.], dtype=torch.float16), 'n': tensor([1])}
    """
    return {
        name: x.half() if x.dtype == torch.float32 else x
        for name, x in tensors.items()
    }


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuses NaN and infinity.

    Arguments
    ---------
    path : Path
        For the message.
    tensors : mapping of str to Tensor
        A state dict.

    Raises
    ------
    InputError
        Naming the tensors.
    """
    bad = [n for n, x in tensors.items() if not torch.isfinite(x).all()]
    if bad:
        raise InputError(
            f"{path}: NaN or Inf in tensor {listed(bad)}, expected finite "
            "weights"
        )


def _check_header(path: Path) -> None:
    """The first eight bytes promise the length of the header."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            first = file.read(8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    header = struct.unpack("<Q", first)[0] if len(first) == 8 else None
    if header is None or header > min(MAX_HEADER, size - 8):
        raise InputError(
            f"{path} is no safetensors file of a model: expected a header of "
            f"at most {MAX_HEADER} bytes within its {size} bytes"
        )


def _check_names(path: Path, found: set[str], expected: set[str]) -> None:
    for what, names in (
        ("missing", expected - found),
        ("unknown", found - expected),
    ):
        if names:
            raise InputError(
                f"{path}: {what} tensor {listed(sorted(names))}, expected "
                f"exactly the {len(expected)} tensors of the network"
            )
