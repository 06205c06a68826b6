"""Mixtures of speakers and their sources, to separate and to score.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from speechbrain_dsn.dataio.fixed_speakers import (
    SpeakerMixture,
    load_speaker_list,
)
from speechbrain_dsn.dataio.separation import MixtureFiles
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.pairs import files_by_name

__all__ = [
    "Mixture",
    "fixed_mixtures",
    "folder_mixtures",
    "list_mixtures",
    "prepared_mixtures",
]


@dataclass(frozen=True)
class Mixture:
    """A mixture and its sources.

    Arguments
    ---------
    name : str
        In tables and JSON.
    load : callable
        Sampling rate to ``(mixture [T], sources [T, S])``, float32; raises
        `InputError` where that is not possible.
    overlap : float, optional
        Share of the shorter utterance in which both speak, where it is known.
    """

    name: str
    load: Callable[[int], tuple[np.ndarray, np.ndarray]]
    overlap: float | None = None


def fixed_mixtures(
    rows: Iterable[SpeakerMixture], noisy: bool = False
) -> list[Mixture]:
    """Rows of a fixed list, mixed when they are needed.

    Arguments
    ---------
    rows : iterable of SpeakerMixture
        A list of valid or test.
    noisy : bool
        Whether their noise is added.

    Returns
    -------
    list of Mixture
        In their order.
    """
    return [
        Mixture(row.name, partial(row.render, noisy=noisy), row.overlap)
        for row in rows
    ]


def list_mixtures(
    path: str | os.PathLike, data_folder: str | os.PathLike, noisy: bool = False
) -> list[Mixture]:
    """Mixtures of a fixed list such as ``separate_test.csv``.

    Arguments
    ---------
    path : path
        See `speechbrain_dsn.dataio.fixed_speakers.load_speaker_list`.
    data_folder : path
        What the paths in the list are relative to.
    noisy : bool
        Whether their noise is added.

    Returns
    -------
    list of Mixture
        In the order of the list.
    """
    return fixed_mixtures(load_speaker_list(path, data_folder), noisy)


def prepared_mixtures(files: Iterable[MixtureFiles]) -> list[Mixture]:
    """Mixtures that are files, read when they are needed.

    Arguments
    ---------
    files : iterable of MixtureFiles
        Of a corpus.

    Returns
    -------
    list of Mixture
        In their order.
    """
    return [Mixture(each.name, each.load) for each in files]


def folder_mixtures(
    mixtures: str | os.PathLike, sources: Sequence[str | os.PathLike]
) -> tuple[list[Mixture], list[str]]:
    """Files of equal name in a folder of mixtures and one per source.

    Arguments
    ---------
    mixtures : path
        Folder, searched to any depth.
    sources : sequence of path
        Folders of the sources, in any order.

    Returns
    -------
    found : list of Mixture
        Sorted by name.
    unpaired : list of str
        One line for each mixture without all of its sources.

    Raises
    ------
    InputError
        If a folder is missing or holds no audio, or no mixture has all of its
        sources.
    """
    mixed, *voices = (files_by_name(Path(x)) for x in (mixtures, *sources))
    found, unpaired = [], []
    for name in sorted(mixed):
        parts = [voice.get(name) for voice in voices]
        if None in parts:
            unpaired.append(
                f"{mixed[name]} has no counterpart in "
                f"{sources[parts.index(None)]}: expected a file of that name"
            )
        else:
            found.append(MixtureFiles(name, mixed[name], tuple(parts)))
    if not found:
        raise InputError(
            f"no file of {mixtures} has its name in all of "
            f"{', '.join(map(str, sources))}: expected files of equal name"
        )
    return prepared_mixtures(found), unpaired
