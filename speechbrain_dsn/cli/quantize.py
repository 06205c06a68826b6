"""``speechbrain-dsn quantize``: GRUs on integers, of uniform or mixed widths.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_dsn.cli.output import (
    add_json_argument,
    check_json_target,
    emit,
    table,
)
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.quantization.subject import Subject

TASKS = ("nsnet2", "ftfnet", "exits", "digits")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``quantize``."""
    parser.add_argument(
        "--model",
        metavar="NAME|FOLDER",
        help="a model with a GRU (default: that of the task)",
    )
    parser.add_argument(
        "--task",
        choices=TASKS,
        help="what the error is measured on: enhancement by nsNet2 or by "
        "FTF-Net, the exit policy of dynamic nsNet2, generated digits "
        "(default: by the model, or ftfnet)",
    )
    parser.add_argument(
        "--bits",
        type=int,
        metavar="2..16",
        help="one width for all operators (default: 8)",
    )
    search = parser.add_argument_group("search of a width per operator")
    search.add_argument(
        "--search", action="store_true", help="run NSGA-II on error and size"
    )
    for name, default, text in (
        ("population", 24, "sets of widths per generation"),
        ("generations", 20, "the first one included"),
        ("seed", 0, "of the search, and of data and training"),
    ):
        search.add_argument(
            f"--{name}",
            type=int,
            default=default,
            metavar="N",
            help=f"{text} (default: %(default)s)",
        )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data_folder",
        metavar="DIR",
        help="with speech/ and noise/ (default: the bundled mini set)",
    )
    data.add_argument(
        "--items",
        type=int,
        default=20,
        metavar="N",
        help="mixtures, or hundreds of digits, of each split "
        "(default: %(default)s)",
    )
    data.add_argument(
        "--seconds",
        type=float,
        default=4.0,
        metavar="S",
        help="longest part of a mixture (default: %(default)s)",
    )
    data.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="training steps of a model that does not ship",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FOLDER",
        help="for integers, plot, JSON, and what a stopped search goes on "
        "from (default: results/quantize/TASK)",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Quantise, or search."""
    check_json_target(args.json)
    if args.search and args.bits is not None:
        raise InputError(
            f"--bits {args.bits} and --search: expected one of them"
        )
    from speechbrain_dsn.nnet.gru_scheme import uniform_widths

    uniform_widths(8 if args.bits is None else args.bits)
    if args.search:
        from speechbrain_dsn.plots.figure import require_matplotlib
        from speechbrain_dsn.quantization.search import (
            SearchOptions,
            require_pymoo,
        )

        require_pymoo()
        require_matplotlib()
        options = SearchOptions(args.population, args.generations, args.seed)
    subject, folder = _subject(args)
    if args.search:
        values, text = _search(subject, options, folder), _front_text
    else:
        from speechbrain_dsn.quantization.experiment import uniform_result

        values = uniform_result(subject, args.bits or 8, folder)
        text = _uniform_text
    emit(values, f"{text(values)}\nwritten to {folder}", args.json)
    return 0


def _subject(args: argparse.Namespace) -> tuple[Subject, Path]:
    from speechbrain_dsn.quantization.subject import Subject
    from speechbrain_dsn.quantization.tasks import (
        TaskOptions,
        make_task,
        task_of_model,
    )

    name = args.task
    if name is None:
        name = "ftfnet" if args.model is None else task_of_model(args.model)
    folder = Path(args.out or f"results/quantize/{name}")
    options = TaskOptions(
        folder,
        args.model,
        Path(args.data_folder) if args.data_folder else None,
        args.steps,
        args.items,
        args.seconds,
        args.seed,
    )
    return Subject(make_task(name, options)), folder


def _search(subject: Subject, options: Any, folder: Path) -> dict[str, Any]:
    from speechbrain_dsn.quantization.experiment import search_result

    try:
        return search_result(subject, options, folder)
    except KeyboardInterrupt:
        print(
            f"{folder / 'search.json'} keeps what was tried, the same "
            "command goes on from there",
            file=sys.stderr,
        )
        raise


def _row(name: str, row: dict[str, Any]) -> list[str]:
    size = row["bytes"]
    size = size["total"] if isinstance(size, dict) else size
    errors = (f"{row[f'error_{split}']:.4f}" for split in ("valid", "test"))
    return [name, f"{size:,}", *errors]


HEAD = ["GRU", "bytes", "error valid", "error test"]


def _title(values: dict[str, Any]) -> str:
    return (
        f"{values['task']}: {values['model']}, {', '.join(values['grus'])}\n"
        f"error: {values['measure']}\n"
    )


def _uniform_text(values: dict[str, Any]) -> str:
    rows = [
        _row("real numbers, 32 bits", values["float"]),
        _row(f"integers, {values['bits']} bits", values),
    ]
    parts = [f"{n} {b:,}" for n, b in values["bytes"].items() if n != "total"]
    return f"{_title(values)}{table(HEAD, rows)}\nbytes: {', '.join(parts)}"


def _front_text(values: dict[str, Any]) -> str:
    equal = values["equal_accuracy"]
    rows = [
        _row("real numbers, 32 bits", values["float"]),
        _row("uniform 8 bits", values["uniform"]),
        *(_row("front", row) for row in values["front"]),
    ]
    return (
        f"{_title(values)}{table(HEAD, rows)}\n"
        f"{values['tried']} sets of widths tried, population "
        f"{values['population']}, {values['generations']} generations, seed "
        f"{values['seed']}\n"
        f"as accurate on valid as uniform 8 bits, within "
        f"{values['tolerance']:g}: {equal['bytes']['total']:,} bytes, "
        f"{100 * equal['saving']:.0f} % smaller; error on test "
        f"{equal['error_test']:.4f} against "
        f"{values['uniform']['error_test']:.4f}"
    )
