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

from speechbrain_dsn.cli.budget import add_budget_argument
from speechbrain_dsn.cli.output import complain, named
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.cli.plan import Job

__all__ = [
    "add_batch_arguments",
    "claim_outputs",
    "plot_path",
    "run_batch",
]

Report = TypeVar("Report")


def add_batch_arguments(parser: argparse.ArgumentParser, drawn: str) -> None:
    """Declare inputs, outputs, budget, plots, and what is done about outputs
    that exist.

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
    add_budget_argument(parser)
    parser.add_argument(
        "--plot",
        action="store_true",
        help=f"draw spectrograms and {drawn} beside each output",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs that exist",
    )
    existing.add_argument(
        "--resume",
        action="store_true",
        help="go on where a batch was stopped: leave out what is done",
    )


def run_batch(
    title: str,
    jobs: Sequence[Job],
    work: Callable[[Job, Callable[[float], None]], Report | None],
) -> tuple[list[Report], list[str]]:
    """One after the other; a bad one is reported, the rest goes on.

    Arguments
    ---------
    title : str
        Of the progress bar.
    jobs : sequence of Job
        What to do.
    work : callable
        Does one, and tells the seconds that it advanced by; None for one
        that was done before.

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
                report = work(job, bar.update)
            except InputError as error:
                problems.append(named(job.path, error))
                complain(problems[-1])
            else:
                if report is None:
                    bar.update(known.get(job, 0.0))
                else:
                    reports.append(report)
    return reports, problems


def plot_path(output: Path) -> Path:
    """Where the plot of an output goes."""
    return output.with_name(output.name + ".png")


def claim_outputs(
    job: Job, outputs: Sequence[Path], args: argparse.Namespace
) -> bool:
    """See that the input is there, then make the folder of its outputs.

    Arguments
    ---------
    job : Job
        About to be done.
    outputs : sequence of Path
        What it writes, plots left out.
    args : argparse.Namespace
        With ``plot``, ``overwrite`` and ``resume``.

    Returns
    -------
    bool
        Whether there is work left: not, with ``resume``, where all outputs
        are there, each of which appeared when it was complete.

    Raises
    ------
    InputError
        If the input cannot be read, an output exists, or its folder cannot
        be made.
    """
    from speechbrain_dsn.dataio.audio import probe

    wanted = [*outputs, *([plot_path(job.output)] if args.plot else [])]
    if args.resume and all(output.exists() for output in wanted):
        return False
    probe(job.path)
    for output in wanted:
        if output.exists() and not (args.overwrite or args.resume):
            raise InputError(
                f"{output} exists already: expected a new name, --overwrite, "
                "or --resume to go on"
            )
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make folder {job.output.parent}: {error.strerror}"
        ) from error
    return True
