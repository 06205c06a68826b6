"""``speechbrain-dsn enhance``: clean noisy files, folders or globs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_dsn.cli.batch import (
    add_batch_arguments,
    claim_outputs,
    plot_path,
    run_batch,
)
from speechbrain_dsn.cli.budget import add_judge_argument, wanted_budget
from speechbrain_dsn.cli.output import (
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
    add_batch_arguments(parser, "gates")
    add_model_argument(parser)
    add_judge_argument(parser)
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

    def enhance(job: Job, progress: Any) -> FileReport | None:
        if not claim_outputs(job, [job.output], args):
            return None
        report = work(job.path, job.output, progress=progress)
        if args.plot:
            draw(report, plot_path(job.output))
        return report

    reports, failures = run_batch("enhance", jobs, enhance)
    problems += failures
    if reports or args.json:
        emit(_as_dict(args, reports, problems), _as_table(reports), args.json)
    return 2 if problems else 0


def _worker(args: argparse.Namespace) -> Any:
    """What enhances one file; a wrong model or budget shows up here."""
    if args.stream:
        if args.judge is not None:
            raise InputError("--judge: expected no --stream, it hears ahead")
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
            overwrite=args.overwrite or args.resume,
        )
    if args.hold:
        raise InputError("--hold: expected --stream with it")
    from speechbrain_dsn.inference.files import enhance_to_file
    from speechbrain_dsn.pretrained import load_model

    model = load_model(args.model)
    model.expect("enhancement")
    return partial(
        enhance_to_file,
        model,
        budget=wanted_budget(args, model),
        overwrite=args.overwrite or args.resume,
    )


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
        "judge": args.judge,
        "files": [report.as_dict() for report in reports],
        "errors": problems,
    }
