"""What the commands that read results share.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.inference.scores import Evaluation

__all__ = ["add_results_argument", "check_labels", "read_results"]


def add_results_argument(
    parser: argparse.ArgumentParser, more: str = ""
) -> None:
    """Declare the files with results.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Of the command.
    more : str
        What the command does with them, at the end of the help line.
    """
    parser.add_argument(
        "results",
        nargs="+",
        metavar="[LABEL=]FILE",
        help="JSON of `evaluate`, or results.json of a recipe" + more,
    )


def read_results(names: Sequence[str]) -> list[Evaluation]:
    """The evaluations in all files.

    Arguments
    ---------
    names : sequence of str
        Files; ``LABEL=FILE`` gives the only evaluation in it another name.

    Returns
    -------
    list of Evaluation
        In that order.

    Raises
    ------
    InputError
        If a file holds something else, or a label stands for several rows.
    """
    return [row for name in names for row in _read(name)]


def _read(name: str) -> list[Evaluation]:
    from speechbrain_dsn.inference.comparison import read_evaluations

    label, given, path = name.partition("=")
    if not given or Path(name).exists():
        return read_evaluations(name)
    rows = read_evaluations(path)
    if len(rows) > 1:
        raise InputError(
            f"{path} holds {len(rows)} evaluations: expected one for a label"
        )
    return [replace(row, model=label, budget=None) for row in rows]


def check_labels(rows: Sequence[Evaluation]) -> None:
    """Refuse rows that could not be told apart.

    Arguments
    ---------
    rows : sequence of Evaluation
        All that are shown together.

    Raises
    ------
    InputError
        If two have the same label.
    """
    labels = [row.label for row in rows]
    if len(set(labels)) < len(labels):
        raise InputError(
            f"several results are called the same ({', '.join(labels)}): "
            "expected LABEL=FILE"
        )
