#!/usr/bin/env python3
"""Uniform 8 bits against mixed widths: size at equal accuracy.

One search per task of ``speechbrain-dsn quantize``, with the same budget. A
run that was stopped goes on where it was.

> python benchmarks/quantization.py --data_folder /path/to/data -o results

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

import torch

import speechbrain_dsn  # noqa: F401
from speechbrain_dsn.cli.output import check_json_target
from speechbrain_dsn.cli.quantize import TASKS
from speechbrain_dsn.dataio.tables import write_text
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.quantization.experiment import search_result
from speechbrain_dsn.quantization.search import SearchOptions, require_pymoo
from speechbrain_dsn.quantization.subject import Subject
from speechbrain_dsn.quantization.tasks import TaskOptions, make_task

HEAD = (
    "| task (model) | error on test | float, 32 bits | uniform 8 bits "
    "| mixed widths | bytes: uniform | mixed | smaller |\n"
    "|---|---|---|---|---|---|---|---|"
)


def build_parser() -> argparse.ArgumentParser:
    """The options of the script."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--data_folder", type=Path)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--population", type=int, default=24)
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("results"))
    parser.add_argument("--json", help="all numbers, to this file")
    return parser


def row(values: dict[str, Any]) -> str:
    """A line of the table.

    Arguments
    ---------
    values : dict
        See :func:`search_result`.

    Returns
    -------
    str
        Markdown.
    """
    uniform, mixed = values["uniform"], values["equal_accuracy"]
    errors = (
        f"{each['error_test']:.3f}"
        for each in (values["float"], uniform, mixed)
    )
    sizes = (f"{each['bytes']['total']:,}" for each in (uniform, mixed))
    cells = [
        f"{values['task']} ({values['model']})",
        values["measure"],
        *errors,
        *sizes,
        f"{100 * mixed['saving']:.0f} %",
    ]
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the searches and prints the table.

    Arguments
    ---------
    argv : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        Exit code.
    """
    args = build_parser().parse_args(argv)
    torch.set_num_threads(1)
    try:
        check_json_target(args.json)
        require_pymoo()
        options = SearchOptions(args.population, args.generations, args.seed)
        results = [_search(name, args, options) for name in args.tasks]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join([HEAD, *map(row, results)]))
    if args.json:
        write_text(args.json, json.dumps(results, indent=1) + "\n")
    return 0


def _search(
    name: str, args: argparse.Namespace, options: SearchOptions
) -> dict[str, Any]:
    folder = args.out / name
    task = make_task(
        name,
        TaskOptions(
            folder,
            data_folder=args.data_folder,
            steps=args.steps,
            items=args.items,
            seconds=args.seconds,
            seed=args.seed,
        ),
    )
    return search_result(Subject(task), options, folder)


if __name__ == "__main__":
    sys.exit(main())
