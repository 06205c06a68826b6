"""``speechbrain-dsn enhance``: clean noisy files, folders or globs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_dsn.cli.report import (
    add_json_argument,
    add_model_argument,
    check_json_target,
    complain,
    emit,
    table,
)
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.cli.plan import Job
    from speechbrain_dsn.inference.files import FileReport

PLOT_SECONDS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``enhance``."""
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
    add_model_argument(parser)
    parser.add_argument(
        "--budget",
        type=float,
        metavar="0..1",
        help="mean share of what the gates can add, 0..1 (default: the model's)",
    )
    parser.add_argument(
        "--plot",
        action="store_true",
        help="draw spectrograms and gates beside each output",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs that exist",
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        help="frame by frame, as it would run live",
    )
    parser.add_argument(
        "--hold",
        action="store_true",
        help="with --stream: hold the budget over any 10 s of every file",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Enhance; 2 if any file could not be."""
    check_json_target(args.json)
    if args.plot:
        from speechbrain_dsn.plots import require_matplotlib

        require_matplotlib()
    from speechbrain_dsn.cli.plan import plan_jobs

    jobs, problems = plan_jobs(args.paths, args.out)
    work = _worker(args)
    for problem in problems:
        complain(problem)
    reports, failures = _enhance_all(jobs, work, args)
    problems += failures
    if reports or args.json:
        emit(_as_dict(args, reports, problems), _as_table(reports), args.json)
    return 2 if problems else 0


def _worker(args: argparse.Namespace) -> Any:
    """What enhances one file; a wrong model or budget shows up here."""
    if args.stream:
        from speechbrain_dsn.inference.streamed_files import stream_to_file
        from speechbrain_dsn.inference.streaming import (
            StreamingEnhancement,
            open_session,
        )

        session = open_session(args.model)
        StreamingEnhancement(session, args.budget, args.hold)
        return partial(
            stream_to_file,
            session,
            budget=args.budget,
            hold=args.hold,
            overwrite=args.overwrite,
        )
    if args.hold:
        raise InputError("--hold: expected --stream with it")
    from speechbrain_dsn.inference.files import enhance_to_file
    from speechbrain_dsn.pretrained import load_model

    model = load_model(args.model)
    model.decide(args.budget)
    return partial(
        enhance_to_file, model, budget=args.budget, overwrite=args.overwrite
    )


def _enhance_all(
    jobs: list[Job], work: Any, args: argparse.Namespace
) -> tuple[list[FileReport], list[str]]:
    """One after the other; a bad one is reported, the rest goes on."""
    from tqdm import tqdm

    from speechbrain_dsn.dataio.audio import probe
    from speechbrain_dsn.inference.memory import trimmed

    reports, problems, known = [], [], {}
    for job in jobs:
        with suppress(InputError):  # reported when its turn comes
            known[job] = probe(job.path).seconds
    with tqdm(
        desc="enhance",
        total=sum(known.values()),
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s of audio "
        "[{elapsed}<{remaining}]",
    ) as bar:
        for job in trimmed(jobs):
            try:
                _prepare(job, args)
                report = work(job.path, job.output, progress=bar.update)
                if args.plot:
                    draw(report, plot_path(job.output))
                reports.append(report)
            except InputError as error:
                problems.append(str(error))
                complain(error)
    return reports, problems


def plot_path(output: Path) -> Path:
    """Where the plot of an output goes."""
    return output.with_name(output.name + ".png")


def _prepare(job: Job, args: argparse.Namespace) -> None:
    """See that the input is there, then make the folder of its output."""
    from speechbrain_dsn.dataio.audio import probe

    probe(job.path)
    outputs = [job.output, plot_path(job.output)][: 1 + args.plot]
    for output in outputs:
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


def draw(report: FileReport, path: Path) -> None:
    """Draw the beginning of a file, first channel.

    Arguments
    ---------
    report : FileReport
        Of a file that was enhanced.
    path : Path
        PNG to write.
    """
    from speechbrain_dsn.dataio.audio import iter_blocks
    from speechbrain_dsn.plots import plot_gates

    samples = round(PLOT_SECONDS * report.sample_rate)
    noisy, enhanced = (
        next(iter_blocks(name, samples))[:, 0]
        for name in (report.path, report.output)
    )
    frames = round(PLOT_SECONDS * report.frame_rate)
    plot_gates(
        noisy,
        enhanced,
        report.gates[0, :frames],
        report.sample_rate,
        path,
        frame_rate=report.frame_rate,
        title=f"{Path(report.path).name}, {report.macs_per_second / 1e6:.0f} "
        f"M MAC/s, activation {report.activation:.2f}",
    )


def _as_table(reports: list[FileReport]) -> str:
    return table(
        ["file", "s", "Hz", "channels", "activation", "M MAC/s", "RTF"],
        [
            [
                report.output,
                f"{report.seconds:.1f}",
                report.sample_rate,
                report.channels,
                f"{report.activation:.3f}",
                f"{report.macs_per_second / 1e6:.1f}",
                f"{report.rtf:.3f}",
            ]
            for report in reports
        ],
    )


def _as_dict(
    args: argparse.Namespace, reports: list[FileReport], problems: list[str]
) -> dict[str, Any]:
    return {
        "model": args.model,
        "budget": args.budget,
        "files": [report.as_dict() for report in reports],
        "errors": problems,
    }
