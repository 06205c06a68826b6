"""``speechbrain-dsn separate``: one file per speaker of each mixture.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from speechbrain_dsn.cli.batch import (
    add_batch_arguments,
    claim_outputs,
    plot_path,
    run_batch,
)
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
    from pathlib import Path

    from speechbrain_dsn.cli.plan import Job
    from speechbrain_dsn.inference.separated_files import SeparationReport

DEFAULT_SEPARATOR = "slim-sepformer-mini"
PLOT_SECONDS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``separate``."""
    add_batch_arguments(parser, "widths of each chunk")
    add_model_argument(parser, DEFAULT_SEPARATOR)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Separate; 2 if any file could not be."""
    check_json_target(args.json)
    if args.plot:
        from speechbrain_dsn.plots import require_matplotlib

        require_matplotlib()
    from speechbrain_dsn.cli.plan import plan_jobs
    from speechbrain_dsn.inference.separated_files import (
        separate_to_files,
        source_paths,
    )
    from speechbrain_dsn.pretrained import load_model

    jobs, problems = plan_jobs(args.paths, args.out)
    model = load_model(args.model)
    model.expect("separation")
    model.decide(args.budget)
    for problem in problems:
        complain(problem)
    inputs = {job.path.resolve() for job in jobs}

    def outputs(job: Job) -> list[Path]:
        found = source_paths(job.output, model.enhancer.num_spks)
        for path in found:
            if path.resolve() in inputs:
                raise InputError(
                    f"{job.path}: its output {path} is an input: expected "
                    "another folder after -o"
                )
        return found

    def work(job: Job, progress: Any) -> SeparationReport | None:
        if not claim_outputs(job, outputs(job), args):
            return None
        report = separate_to_files(
            model,
            job.path,
            job.output,
            args.budget,
            args.overwrite or args.resume,
            progress=progress,
        )
        if args.plot:
            draw(report, model, plot_path(job.output))
        return report

    reports, failures = run_batch("separate", jobs, work)
    problems += failures
    if reports or args.json:
        emit(_as_dict(args, reports, problems), _as_table(reports), args.json)
    return 2 if problems else 0


def draw(report: SeparationReport, model: Any, path: Path) -> None:
    """Draw the beginning of a mixture; who speaks is told from the outputs.

    Arguments
    ---------
    report : SeparationReport
        Of a file that was separated.
    model : LoadedModel
        That did it.
    path : Path
        PNG to write.
    """
    import numpy as np

    from speechbrain_dsn.dataio.activity import speaker_activity
    from speechbrain_dsn.dataio.audio import iter_blocks
    from speechbrain_dsn.plots import plot_widths

    separator, rate = model.enhancer, report.sample_rate
    samples = round(PLOT_SECONDS * rate)
    mixture, *sources = (
        next(iter_blocks(name, samples)).mean(1)
        for name in (report.path, *report.outputs)
    )
    shown = report.times <= len(mixture) / rate
    groups = separator.cost.groups
    gates = report.gates[shown]
    window = 2 * separator.hop / separator.sample_rate
    plot_widths(
        mixture,
        report.times[shown],
        gates.reshape(len(gates), groups, -1).argmax(-1),
        separator.lobe.utilizations,
        speaker_activity(
            np.stack(sources, 1), rate, report.times[shown], window
        ),
        rate,
        path,
        title=f"{report.macs_per_second / 1e6:.0f} M MAC/s, activation "
        f"{report.activation:.2f}",
    )


def _as_table(reports: list[SeparationReport]) -> str:
    return table(
        ["file", "s", "Hz", "dB", "activation", "M MAC/s", "RTF"],
        [
            [
                output,
                f"{report.seconds:.1f}",
                report.sample_rate,
                f"{level:.1f}",
                f"{report.activation:.3f}",
                f"{report.macs_per_second / 1e6:.1f}",
                f"{report.rtf:.3f}",
            ]
            for report in reports
            for output, level in zip(
                report.outputs, report.levels_db, strict=True
            )
        ],
    )


def _as_dict(
    args: argparse.Namespace,
    reports: list[SeparationReport],
    problems: list[str],
) -> dict[str, Any]:
    return {
        "model": args.model,
        "budget": args.budget,
        "files": [report.as_dict() for report in reports],
        "errors": problems,
    }
