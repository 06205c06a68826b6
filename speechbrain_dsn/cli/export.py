"""``speechbrain-dsn export``: write a model as ONNX.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse

from speechbrain_dsn.cli.output import add_model_argument
from speechbrain_dsn.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``export``."""
    add_model_argument(parser)
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="FILE.onnx",
        help="file to write; one that exists is replaced",
    )
    parser.add_argument(
        "--batch",
        action="store_true",
        help="for any number of streams at once, bucketed by decision; the "
        "default is one stream, which is faster for one",
    )


def run(args: argparse.Namespace) -> int:
    """Write the file, read it back, and say what it holds."""
    from speechbrain_dsn.inference.onnx_session import (
        OnnxSession,
        require_onnx,
    )
    from speechbrain_dsn.pretrained import load_model

    require_onnx()
    from speechbrain_dsn.export.onnx import export_onnx

    model = load_model(args.model)
    if model.config.kind == "separation":
        raise InputError(
            f"model {args.model} is for separation: ONNX files are streams "
            "of enhancement, a separator hears the whole mixture"
        )
    path = export_onnx(model, args.out, args.batch)
    session = OnnxSession.from_file(path)
    info = session.info
    ends = (info.cost.levels[0], 1.0)
    rates = [info.macs_per_second(share) / 1e6 for share in ends]
    print(
        f"{path}: {info.name}, {path.stat().st_size / 1e6:.1f} MB, "
        f"{'any number of streams' if session.batch else 'one stream'}, "
        f"{info.hop} samples at {info.sample_rate} Hz in and out, "
        f"latency {1000 * (info.delay + info.hop) / info.sample_rate:g} ms, "
        f"{rates[0]:.1f} to {rates[1]:.1f} M MAC/s"
    )
    return 0
