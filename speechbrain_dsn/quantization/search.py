"""NSGA-II over widths: little error, few bytes.

The paper (arXiv 2402.12263) searches on accuracy and size with a genetic
algorithm. Ours: the settings, the first population, and how a search that was
stopped goes on. What has been evaluated is kept on disk; the search itself is
a function of its seed and begins anew each time, passing through what is
known without computing it. So it ends where it would have ended.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from speechbrain_dsn.dataio.tables import write_text
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.fixed_point import BITS
from speechbrain_dsn.optional import import_optional

__all__ = [
    "Evaluations",
    "Point",
    "SearchOptions",
    "first_population",
    "pareto_front",
    "require_pymoo",
    "search",
]

FORMAT_VERSION = 1
# What the size depends on; the other operators' widths are free of charge.
PRICED = ("weight_", "bias_", "sum_", "gate_", "state")
GENEROUS = 12


class Point(NamedTuple):
    """Widths that were tried.

    Arguments
    ---------
    genes : tuple of int
        A width per operator.
    error : float
        Of the subject at these widths.
    size : int
        In bytes.
    """

    genes: tuple[int, ...]
    error: float
    size: int


@dataclass(frozen=True)
class SearchOptions:
    """The budget of a search.

    Arguments
    ---------
    population : int
        Sets of widths per generation.
    generations : int
        The first one included.
    seed : int
        Of all that is drawn.

    Raises
    ------
    InputError
        If a number is too small.
    """

    population: int = 24
    generations: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks each number."""
        for name, least in (("population", 4), ("generations", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(
                    f"{name} is {getattr(self, name)}, expected at least "
                    f"{least}"
                )


def require_pymoo() -> None:
    """Checks, before long work starts, that a search can run.

    Raises
    ------
    InputError
        If pymoo is missing, with the extra that brings it.
    """
    import_optional(
        "pymoo", "a search needs it, pip install 'speechbrain-dsn[search]'"
    )


class Evaluations:
    """What is known of a subject, in memory and in a file.

    Arguments
    ---------
    path : path
        JSON; read if it is there.
    subject : str
        A name for model and data: the file must be about the same.
    evaluate : callable
        Genes to error and bytes.

    Raises
    ------
    InputError
        If the file is damaged or about something else.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        subject: str,
        evaluate: Callable[[tuple[int, ...]], tuple[float, int]],
    ) -> None:
        self.path, self.subject, self.evaluate = Path(path), subject, evaluate
        self.known: dict[tuple[int, ...], Point] = {}
        self.computed = 0
        if self.path.exists():
            self._read()

    def __call__(self, genes: Iterable[int]) -> Point:
        """Looks up, or computes."""
        genes = tuple(int(each) for each in genes)
        if genes not in self.known:
            error, size = self.evaluate(genes)
            self.known[genes] = Point(genes, float(error), int(size))
            self.computed += 1
        return self.known[genes]

    def save(self) -> None:
        """Writes all of it under a temporary name, then renames."""
        values = {
            "format_version": FORMAT_VERSION,
            "subject": self.subject,
            "evaluations": [list(point) for point in self.known.values()],
        }
        try:
            write_text(self.path, json.dumps(values) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}"
            ) from error

    def _read(self) -> None:
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            version, subject = values["format_version"], values["subject"]
            points = [
                Point(tuple(map(int, genes)), float(error), int(size))
                for genes, error, size in values["evaluations"]
            ]
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            RecursionError,
        ) as error:
            raise InputError(
                f"{self.path} is no search that can go on "
                f"({type(error).__name__}: {error}): delete it, or choose "
                "another folder"
            ) from None
        if (version, subject) != (FORMAT_VERSION, self.subject):
            raise InputError(
                f"{self.path} is a search on another model or other data: "
                "delete it, or choose another folder"
            )
        self.known = {point.genes: point for point in points}


def first_population(
    operators: Sequence[str], count: int, seed: int
) -> np.ndarray:
    """Where the search begins (ours).

    First uniform 8 bits, so that the front is never behind it; then sets
    where what is stored has 3, 4, .. bits and the rest, which costs nothing,
    12; then these with each width moved a little.

    Arguments
    ---------
    operators : sequence of str
        Their names.
    count : int
        Rows.
    seed : int
        Of what is drawn.

    Returns
    -------
    np.ndarray
        int ``[count, operators]``.

    Example
    -------
    >>> first_population(["input", "weight_ir"], 4, 0).tolist()
    [[8, 8], [12, 7], [12, 6], [12, 5]]
    """
    rng = np.random.default_rng(seed)
    stored = np.array([name.startswith(PRICED) for name in operators])
    rows = [np.full(len(operators), 8)]
    rows += [np.where(stored, bits, GENEROUS) for bits in (7, 6, 5, 4, 9, 3)]
    while len(rows) < count:
        base = np.where(stored, rng.integers(4, 9), GENEROUS)
        moved = base + np.rint(rng.normal(0, 1.2, len(operators)))
        rows.append(moved.astype(int))
    return np.stack(rows[:count]).clip(BITS[0], BITS[-1])


def search(
    operators: Sequence[str],
    evaluations: Evaluations,
    options: SearchOptions,
    progress: bool = True,
) -> list[Point]:
    """Runs NSGA-II; what it learns is saved after each generation, and when
    it is interrupted.

    Two-point crossover and polynomial mutation, rounded to whole widths.

    Arguments
    ---------
    operators : sequence of str
        What the genes are widths of.
    evaluations : Evaluations
        Known ones are not computed again.
    options : SearchOptions
        Budget and seed.
    progress : bool
        Whether to show a bar on stderr.

    Returns
    -------
    list of Point
        All that the search met, in order.

    Raises
    ------
    InputError
        If pymoo is missing or the state cannot be written.
    """
    algorithm = _nsga2(operators, options)
    met: dict[tuple[int, ...], Point] = {}
    total = options.population * options.generations
    bar = tqdm(total=total, desc="search", unit="set", disable=not progress)
    try:
        with bar:
            for generation in range(1, options.generations + 1):
                offspring = algorithm.ask()
                points = []
                for genes in offspring.get("X"):
                    points.append(evaluations(genes))
                    met[points[-1].genes] = points[-1]
                    bar.update()
                offspring.set("F", np.array([p[1:] for p in points], float))
                algorithm.tell(infills=offspring)
                evaluations.save()
                front = len(pareto_front(met.values()))
                bar.set_postfix(generation=generation, front=front)
    except KeyboardInterrupt:
        evaluations.save()
        raise
    return list(met.values())


def _nsga2(operators: Sequence[str], options: SearchOptions):
    require_pymoo()
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.pntx import TwoPointCrossover
    from pymoo.operators.mutation.pm import PolynomialMutation
    from pymoo.operators.repair.rounding import RoundingRepair

    count = len(operators)
    problem = Problem(n_var=count, n_obj=2, xl=BITS[0], xu=BITS[-1], vtype=int)
    first = first_population(operators, options.population, options.seed)
    algorithm = NSGA2(
        pop_size=options.population,
        sampling=first,
        crossover=TwoPointCrossover(),
        mutation=PolynomialMutation(
            prob_var=2 / count, eta=10, vtype=float, repair=RoundingRepair()
        ),
        eliminate_duplicates=True,
    )
    generations = ("n_gen", options.generations + 1)
    return algorithm.setup(
        problem, termination=generations, seed=options.seed, verbose=False
    )


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Those that no other beats in error and size.

    Arguments
    ---------
    points : iterable of Point
        Any number.

    Returns
    -------
    list of Point
        By ascending size; errors descend.

    Example
    -------
    >>> points = [Point((), 2.0, 10), Point((), 1.0, 20), Point((), 1.5, 30)]
    >>> [point.size for point in pareto_front(points)]
    [10, 20]
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.size, p.error, p.genes)):
        if not front or point.error < front[-1].error:
            front.append(point)
    return front
