"""Which signals a model is tried on: two folders, or a list.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.inference.evaluation import Pair
    from speechbrain_dsn.inference.mixtures import Mixture

__all__ = ["add_signal_arguments", "read_mixtures", "read_pairs"]

LISTED = {"list", "data_folder"}
NAMES = {"clean", "noisy", "mixtures", "sources", "with_noise", *LISTED}


def add_signal_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where pairs, or mixtures and sources, come from."""
    pairs = parser.add_argument_group("pairs of equal name, in two folders")
    pairs.add_argument("--clean", metavar="DIR")
    pairs.add_argument("--noisy", metavar="DIR")
    speakers = parser.add_argument_group(
        "or, for a separator, mixtures and sources of equal name"
    )
    speakers.add_argument("--mixtures", metavar="DIR")
    speakers.add_argument("--sources", nargs="+", metavar="DIR")
    mixed = parser.add_argument_group("or a list of fixed mixtures")
    mixed.add_argument(
        "--list",
        metavar="CSV",
        help="id, speech, noise, noise_offset, snr_db, level_dbfs; for a "
        "separator id, s1, s2, overlap_percent, s2_gain_db, noise, "
        "noise_offset, noise_snr_db",
    )
    mixed.add_argument(
        "--with_noise",
        action="store_true",
        help="for a separator: with the noise of the list",
    )
    mixed.add_argument(
        "--data_folder",
        metavar="DIR",
        help="what the files in the list are relative to",
    )


def read_pairs(args: argparse.Namespace) -> tuple[list[Pair], list[str]]:
    """The pairs that an enhancer is tried on.

    Arguments
    ---------
    args : argparse.Namespace
        With `add_signal_arguments` and ``model``.

    Returns
    -------
    found : list of Pair
        To evaluate or to hear.
    unpaired : list of str
        One line for each file without counterpart.

    Raises
    ------
    InputError
        If they are given in another way, or there are none.
    """
    from speechbrain_dsn.inference.evaluation import folder_pairs, list_pairs

    given = _given(args)
    if given == {"clean", "noisy"}:
        return folder_pairs(args.clean, args.noisy)
    if given == LISTED:
        return list_pairs(args.list, args.data_folder), []
    raise InputError(
        f"model {args.model} is for enhancement: expected either --clean DIR "
        "and --noisy DIR, or --list CSV and --data_folder DIR"
    )


def read_mixtures(
    args: argparse.Namespace,
) -> tuple[list[Mixture], list[str]]:
    """The mixtures that a separator is tried on.

    Arguments
    ---------
    args : argparse.Namespace
        With `add_signal_arguments` and ``model``.

    Returns
    -------
    found : list of Mixture
        To evaluate or to hear.
    unpaired : list of str
        One line for each file without counterpart.

    Raises
    ------
    InputError
        If they are given in another way, or there are none.
    """
    from speechbrain_dsn.inference.mixtures import (
        folder_mixtures,
        list_mixtures,
    )

    given = _given(args)
    if given == {"mixtures", "sources"}:
        return folder_mixtures(args.mixtures, args.sources)
    if given - {"with_noise"} == LISTED:
        mixed = args.list, args.data_folder, args.with_noise
        return list_mixtures(*mixed), []
    raise InputError(
        f"model {args.model} is for separation: expected either --mixtures "
        "DIR and --sources DIR DIR, or --list CSV and --data_folder DIR"
    )


def _given(args: argparse.Namespace) -> set[str]:
    """Which of the arguments that name signals are there."""
    return {name for name in NAMES if getattr(args, name)}
