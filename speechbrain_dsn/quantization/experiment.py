"""From a task to numbers: uniform widths, and the front of a search.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from speechbrain_dsn.dataio.tables import write_text
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.gru_scheme import uniform_widths
from speechbrain_dsn.plots.front import plot_front
from speechbrain_dsn.quantization.gru import IntegerGRU
from speechbrain_dsn.quantization.search import (
    Evaluations,
    Point,
    SearchOptions,
    pareto_front,
    search,
)
from speechbrain_dsn.quantization.store import save_gru
from speechbrain_dsn.quantization.subject import Subject, Widths

__all__ = ["BASELINE", "search_result", "uniform_result"]

BASELINE = 8  # bits that mixed widths are compared with


def uniform_result(subject: Subject, bits: int, folder: Path) -> dict[str, Any]:
    """The same width everywhere.

    Arguments
    ---------
    subject : Subject
        Calibrated.
    bits : int
        2..16.
    folder : Path
        The integers are written to ``uniform<bits>`` in it, and what is
        returned to ``uniform<bits>.json``.

    Returns
    -------
    dict
        What JSON can hold: errors on valid and test, of real numbers too,
        and bytes.
    """
    widths = dict.fromkeys(subject.slots, uniform_widths(bits))
    values = _head(subject) | {
        "bits": bits,
        **_measured(subject, widths),
        "files": _export(subject, widths, folder / f"uniform{bits}"),
    }
    _write(folder / f"uniform{bits}.json", values)
    return values


def search_result(
    subject: Subject,
    options: SearchOptions,
    folder: Path,
    progress: bool = True,
) -> dict[str, Any]:
    """The front of a search, and uniform 8 bits beside it.

    The search sees data to train on only, and makes the deviation from real
    numbers small (:meth:`Subject.deviation`). Of its front the point is
    chosen by the error on valid; test is measured once, at the end.

    Arguments
    ---------
    subject : Subject
        Calibrated.
    options : SearchOptions
        Budget and seed.
    folder : Path
        ``search.json`` keeps the state; the integers of the smallest point
        that is as accurate as uniform 8 bits go to ``mixed``, what is
        returned to ``front.json``, and its picture to ``front.png``.
    progress : bool
        Whether to show a bar on stderr.

    Returns
    -------
    dict
        What JSON can hold: ``front`` by ascending size, ``uniform``, and
        ``equal_accuracy``: the smallest point whose error on valid is at
        most that of uniform 8 bits and the ``tolerance`` of the task, and
        how much of its size it saves; uniform 8 bits itself where there is
        none.
    """
    operators = subject.operators

    def evaluate(genes: tuple[int, ...]) -> tuple[float, int]:
        widths = _widths(subject, genes)
        deviation = subject.deviation(widths)
        return deviation, subject.bytes(widths)["total"]

    evaluations = Evaluations(
        folder / "search.json", subject_name(subject), evaluate
    )
    names = [name for _, name in operators]
    met = search(names, evaluations, options, progress)
    uniform = dict.fromkeys(subject.slots, uniform_widths(BASELINE))
    baseline = _measured(subject, uniform)
    baseline["deviation"] = evaluations([BASELINE] * len(operators)).error
    front = []
    for point in pareto_front(met):
        widths = _widths(subject, point.genes)
        row = {"widths": widths, "deviation": point.error}
        front.append(row | _measured(subject, widths))
    tolerance = subject.task.tolerance
    equal = next(
        row
        for row in [*front, {"widths": uniform, **baseline}]
        if row["error_valid"] <= baseline["error_valid"] + tolerance
    )
    total = baseline["bytes"]["total"]
    values = _head(subject) | {
        "population": options.population,
        "generations": options.generations,
        "seed": options.seed,
        "tried": len(met),
        "tolerance": tolerance,
        "uniform": {"bits": BASELINE, **baseline},
        "equal_accuracy": {
            **equal,
            "saving": 1 - equal["bytes"]["total"] / total,
            "files": _export(subject, equal["widths"], folder / "mixed"),
        },
        "front": front,
    }
    _write(folder / "front.json", values)
    _draw(values, met, folder / "front.png")
    return values


def subject_name(subject: Subject) -> str:
    """A name for a model and its data: it changes with any of their numbers.

    Arguments
    ---------
    subject : Subject
        Of a task.

    Returns
    -------
    str
        Hexadecimal.
    """
    digest = hashlib.sha256(subject.task.name.encode())
    tensors = list(subject.task.model.state_dict().values())
    for batches in subject.task.batches.values():
        tensors += [x for batch in batches for x in batch]
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _widths(subject: Subject, genes: tuple[int, ...]) -> dict[str, dict]:
    widths: dict[str, dict[str, int]] = {path: {} for path in subject.slots}
    for (path, name), bits in zip(subject.operators, genes, strict=True):
        widths[path][name] = bits
    return widths


def _head(subject: Subject) -> dict[str, Any]:
    task = subject.task
    return {
        "task": task.name,
        "model": task.origin,
        "measure": task.measure,
        "grus": list(task.grus),
        "float": {
            "error_valid": subject.error("valid"),
            "error_test": subject.error("test"),
            "bytes": subject.float_bytes(),
        },
    }


def _measured(subject: Subject, widths: Widths) -> dict[str, Any]:
    return {
        "error_valid": subject.error("valid", widths),
        "error_test": subject.error("test", widths),
        "bytes": subject.bytes(widths),
    }


def _write(path: Path, values: dict[str, Any]) -> None:
    try:
        write_text(path, json.dumps(values, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _draw(values: dict[str, Any], met: list[Point], path: Path) -> None:
    uniform, front = values["uniform"], values["front"]

    def place(row: dict[str, Any]) -> tuple[float, float]:
        return row["bytes"]["total"], row["deviation"]

    plot_front(
        [place(row) for row in front],
        [(point.size, point.error) for point in met],
        place(uniform),
        [row["error_test"] for row in front],
        (uniform["error_test"], values["float"]["error_test"]),
        path,
        f"{values['measure']} (test)",
        f"{values['task']}: {values['model']}",
    )


@torch.no_grad()
def _export(subject: Subject, widths: Widths, folder: Path) -> list[str]:
    files = []
    for path, gru in subject.quantise(widths).items():
        files += save_gru(folder / path, IntegerGRU.of(gru))
    return [file.relative_to(folder.parent).as_posix() for file in files]
