"""``speechbrain-dsn convert``: a static model becomes slimmable or gated.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse

from speechbrain_dsn.cli.output import (
    add_json_argument,
    check_json_target,
    emit,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert``."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME|FOLDER",
        help="a static model of ftfnet, demucs or dual_path",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="FOLDER",
        help="model folder to write; a new one",
    )
    parser.add_argument(
        "--utilizations",
        type=float,
        nargs="+",
        default=[0.125, 0.25, 0.5, 1.0],
        metavar="SHARE",
        help="widths, ascending up to 1; of ftfnet the largest below 1 is "
        "the share that a closed frame runs (default: 0.125 0.25 0.5 1)",
    )
    parser.add_argument(
        "--gated",
        action="store_true",
        help="attach gates, to be trained; without a budget they choose full "
        "width",
    )
    parser.add_argument(
        "--name", help="of the new model (default: slim- and the old name)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a folder"
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write the folder, and say what was converted."""
    check_json_target(args.json)
    from speechbrain_dsn.convert.folder import CARD, convert_loaded
    from speechbrain_dsn.pretrained import load_model, make_card, save_model

    old = load_model(args.model)
    new, report = convert_loaded(old, args.utilizations, args.gated, args.name)
    card = make_card(
        new.config, new.enhancer, CARD.format(name=old.config.name)
    )
    folder = save_model(
        args.out, new.enhancer, new.config, card, args.overwrite
    )
    values = {
        "model": new.config.name,
        "folder": str(folder),
        "lobe": new.config.lobe,
        **report.values(),
    }
    text = f"{folder}: {new.config.name}, {new.config.lobe}\n{report}"
    emit(values, text, args.json)
    return 0
