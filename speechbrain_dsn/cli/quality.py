"""``speechbrain-dsn quality``: predict how good files sound.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse

from speechbrain_dsn.cli.output import (
    add_json_argument,
    add_model_argument,
    check_json_target,
    complain,
    emit,
    named,
    table,
)
from speechbrain_dsn.errors import InputError

DEFAULT_JUDGE = "quality-bam"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``quality``."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="audio file of any rate and channel count, folder, or glob",
    )
    add_model_argument(parser, DEFAULT_JUDGE)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the scores; 2 if any file has none."""
    check_json_target(args.json)
    from speechbrain_dsn.dataio.audio import collect_audio
    from speechbrain_dsn.inference.quality import QualityPrediction

    prediction = QualityPrediction.from_pretrained(args.model)
    scores, problems = {}, []
    for path in collect_audio(args.paths):
        try:
            scores[str(path)] = prediction.predict_file(path)
        except InputError as error:
            problems.append(named(path, error))
            complain(problems[-1])
    if scores or args.json:
        rows = [
            [path, *(f"{value:.2f}" for value in found.values())]
            for path, found in scores.items()
        ]
        emit(
            {"model": args.model, "files": scores, "errors": problems},
            table(["file", *prediction.targets], rows),
            args.json,
        )
    return 2 if problems else 0
