"""What commands share that turn many files into others.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from speechbrain_dsn.cli.output import complain, named
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.cli.plan import Job

__all__ = [
    "add_batch_arguments",
    "plot_path",
    "refuse_existing",
    "run_batch",
]

Report = TypeVar("Report")


def add_batch_arguments(parser: argparse.ArgumentParser, drawn: str) -> None:
    """Declare inputs, outputs, budget, plots and ``--overwrite``.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Of the command.
    drawn : str
        What plots show beside spectrograms.
    """
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="audio file of any rate and channel count, folder, or glob",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="OUT",
        help="folder, or an audio file for a single input",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="0..1",
        help="mean share of what the gates can add, 0..1 (default: the model's)",
    )
    parser.add_argument(
        "--plot",
        action="store_true",
        help=f"draw spectrograms and {drawn} beside each output",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs that exist",
    )


def run_batch(
    title: str,
    jobs: Sequence[Job],
    work: Callable[[Job, Callable[[float], None]], Report],
) -> tuple[list[Report], list[str]]:
    """One after the other; a bad one is reported, the rest goes on.

    Arguments
    ---------
    title : str
        Of the progress bar.
    jobs : sequence of Job
        What to do.
    work : callable
        Does one, and tells the seconds that it advanced by.

    Returns
    -------
    reports : list
        What ``work`` gave.
    problems : list of str
        One line for each job that failed.
    """
    from tqdm import tqdm

    from speechbrain_dsn.dataio.audio import probe
    from speechbrain_dsn.inference.memory import trimmed

    reports, problems, known = [], [], {}
    for job in jobs:
        with suppress(InputError):  # reported when its turn comes
            known[job] = probe(job.path).seconds
    with tqdm(
        desc=title,
        total=sum(known.values()),
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s of audio "
        "[{elapsed}<{remaining}]",
    ) as bar:
        for job in trimmed(jobs):
            try:
                reports.append(work(job, bar.update))
            except InputError as error:
                problems.append(named(job.path, error))
                complain(problems[-1])
    return reports, problems


def plot_path(output: Path) -> Path:
    """Where the plot of an output goes."""
    return output.with_name(output.name + ".png")


def refuse_existing(
    job: Job, outputs: Sequence[Path], args: argparse.Namespace
) -> None:
    """See that the input is there, then make the folder of its outputs.

    Arguments
    ---------
    job : Job
        About to be done.
    outputs : sequence of Path
        What it writes, plots left out.
    args : argparse.Namespace
        With ``plot`` and ``overwrite``.

    Raises
    ------
    InputError
        If the input cannot be read, an output exists, or its folder cannot
        be made.
    """
    from speechbrain_dsn.dataio.audio import probe

    probe(job.path)
    plots = [plot_path(job.output)] if args.plot else []
    for output in [*outputs, *plots]:
        if output.exists() and not args.overwrite:
            raise InputError(
                f"{output} exists already: expected a new name, or --overwrite"
            )
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make folder {job.output.parent}: {error.strerror}"
        ) from error
