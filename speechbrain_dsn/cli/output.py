"""What the commands share: the choice of a model, tables, JSON.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechbrain_dsn.errors import InputError

__all__ = [
    "DEFAULT_MODEL",
    "add_json_argument",
    "add_model_argument",
    "check_json_target",
    "check_target",
    "complain",
    "emit",
    "named",
    "table",
]

DEFAULT_MODEL = "mgt-dsn"


def add_model_argument(
    parser: argparse._ActionsContainer, default: str | None = DEFAULT_MODEL
) -> None:
    """Declare ``--model``.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Of the command, or a group of it.
    default : str, optional
        None where a command does without a model.
    """
    parser.add_argument(
        "--model",
        default=default,
        metavar="NAME|FOLDER",
        help="a model that ships with the package, or a model folder "
        "(default: %(default)s)",
    )


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument(
        "--json",
        metavar="FILE|-",
        help="write the results as JSON; - prints them, and nothing else, on "
        "stdout",
    )


def check_json_target(target: str | None) -> None:
    """Refuse, before long work starts, where no JSON can be written.

    Raises
    ------
    InputError
        If the folder is missing, or the name belongs to something else.
    """
    if target not in (None, "-"):
        check_target("--json", target, ".json")


def check_target(option: str, target: str, suffix: str) -> None:
    """Refuse, before long work starts, where no file can be written.

    Arguments
    ---------
    option : str
        That asked for the file.
    target : str
        Its name.
    suffix : str
        Of files that may be replaced.

    Raises
    ------
    InputError
        If the folder is missing, or the name belongs to something else.
    """
    path, kind = Path(target), suffix.lstrip(".").upper()
    if path.is_dir() or (path.exists() and path.suffix != suffix):
        raise InputError(
            f"{option} {path} is there and no {kind} file: expected a new name"
        )
    if not path.parent.is_dir():
        raise InputError(
            f"{option} {path}: {path.parent} is not an existing folder"
        )


def emit(values: Any, text: str, target: str | None) -> None:
    """Give the results: as text on stdout, or as JSON.

    Arguments
    ---------
    values : object
        What JSON can hold.
    text : str
        The same for people; left out where JSON goes to stdout.
    target : str, optional
        A file, or ``-`` for stdout.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    if target != "-":
        print(_encodable(text))
    if target is None:
        return
    line = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    line = _encodable(line)
    if target == "-":
        print(line)
        return
    from speechbrain_dsn.dataio.tables import write_text

    try:
        write_text(target, line + "\n")
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from error


def complain(message: object) -> None:
    """Report what is wrong with one of many, in one line on stderr."""
    from tqdm import tqdm

    line = " ".join(str(message).split())
    line = f"speechbrain-dsn: error: {_encodable(line)}"
    tqdm.write(line, file=sys.stderr)


def named(path: object, error: InputError) -> str:
    """What is wrong with a file, by its name.

    Arguments
    ---------
    path : path
        The file.
    error : InputError
        Which may know the file or not.

    Returns
    -------
    str
        A message that names it.

    Example
    -------
    >>> named("a.wav", InputError("too loud"))
    'a.wav: too loud'
    >>> named("a.wav", InputError("a.wav is a folder"))
    'a.wav is a folder'
    """
    line = str(error)
    return line if str(path) in line else f"{path}: {line}"


def _encodable(text: str) -> str:
    """With escapes for names of files that are no text; they are JSON's."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns for a terminal: the first to the left, numbers to the right.

    Arguments
    ---------
    head : sequence of str
        Titles.
    rows : sequence of sequence
        Cells.

    Returns
    -------
    str
        One line per row.

    Example
    -------
    >>> print(table(["file", "s"], [["a.wav", "1.0"], ["b.wav", "12.0"]]))
    file      s
    a.wav   1.0
    b.wav  12.0
    """
    cells = [list(map(str, row)) for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
