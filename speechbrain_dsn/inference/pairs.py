"""Pairs of a noisy signal and its clean reference.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from speechbrain_dsn.dataio.audio import collect_audio
from speechbrain_dsn.dataio.fixed import FixedMixture, load_fixed_list
from speechbrain_dsn.dataio.store import read_mono
from speechbrain_dsn.errors import InputError

__all__ = ["Pair", "folder_pairs", "list_pairs", "mixture_pairs"]


@dataclass(frozen=True)
class Pair:
    """A noisy signal and its clean reference.

    Arguments
    ---------
    name : str
        In tables and JSON.
    load : callable
        Sampling rate to ``(noisy [T], clean [T])``, float32; raises
        `InputError` where that is not possible.
    snr_db : float, optional
        Of the noisy signal, where it is known.
    """

    name: str
    load: Callable[[int], tuple[np.ndarray, np.ndarray]]
    snr_db: float | None = None


def folder_pairs(
    clean: str | os.PathLike, noisy: str | os.PathLike
) -> tuple[list[Pair], list[str]]:
    """Pairs of equal name in two folders; extensions may differ.

    Arguments
    ---------
    clean : path
        Folder of references, searched to any depth.
    noisy : path
        Folder of noisy signals.

    Returns
    -------
    pairs : list of Pair
        Sorted by name.
    unpaired : list of str
        One line for each file without counterpart.

    Raises
    ------
    InputError
        If a folder is missing or holds no audio, two files share a name, or
        no name is in both.
    """
    found = [files_by_name(Path(folder)) for folder in (clean, noisy)]
    names = sorted(found[0].keys() & found[1].keys())
    if not names:
        raise InputError(
            f"no file of {noisy} has the name of a file of {clean}: expected "
            "pairs of equal name"
        )
    unpaired = [
        f"{path} has no counterpart in {other}: expected a file of that name"
        for mine, other in ((0, noisy), (1, clean))
        for name, path in found[mine].items()
        if name not in found[1 - mine]
    ]
    pairs = [
        Pair(name, partial(_read_pair, found[1][name], found[0][name]))
        for name in names
    ]
    return pairs, unpaired


def list_pairs(
    path: str | os.PathLike, data_folder: str | os.PathLike
) -> list[Pair]:
    """Pairs of a list of fixed mixtures, mixed when they are needed.

    Arguments
    ---------
    path : path
        See `speechbrain_dsn.dataio.fixed.load_fixed_list`.
    data_folder : path
        What the paths in the list are relative to.

    Returns
    -------
    list of Pair
        In the order of the list.
    """
    return mixture_pairs(load_fixed_list(path, data_folder))


def mixture_pairs(mixtures: Iterable[FixedMixture]) -> list[Pair]:
    """Pairs of fixed mixtures, mixed when they are needed.

    Arguments
    ---------
    mixtures : iterable of FixedMixture
        A list of valid or test.

    Returns
    -------
    list of Pair
        In their order.
    """
    return [Pair(each.name, each.render, each.snr_db) for each in mixtures]


def files_by_name(folder: Path) -> dict[str, Path]:
    """Audio files by their path within the folder, without extension."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with audio files")
    files: dict[str, Path] = {}
    for path in collect_audio([folder]):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise InputError(
                f"{path} and {files[name]}: expected one file of that name"
            )
        files[name] = path
    return files


def _read_pair(noisy: Path, clean: Path, rate: int) -> tuple:
    return read_mono(noisy, rate), read_mono(clean, rate)
