"""What was converted, what was left alone, and why.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from speechbrain_dsn.cost import MacCount

__all__ = ["Converted", "Left", "Report"]


@dataclass(frozen=True)
class Converted:
    """A module that has widths, or a gate, now.

    Arguments
    ---------
    name : str
        Where it is in the model; empty for the model itself.
    kind : str
        By which pattern.
    importance : str
        What its units were sorted by, ``magnitude`` or ``activation``.
    widths : tuple of float
        Shares; ``(0, 1)`` of a gate.
    macs : tuple of int
        At each width: of one chunk or item of `steps` steps, or of one frame
        where there are no steps. What decides is included.
    steps : int, optional
        Steps of such a chunk.
    """

    name: str
    kind: str
    importance: str
    widths: tuple[float, ...]
    macs: tuple[int, ...]
    steps: int | None = None


@dataclass(frozen=True)
class Left:
    """A module that was left as it is.

    Arguments
    ---------
    name : str
        Where it is in the model.
    module : str
        Its class.
    reason : str
        Why.
    """

    name: str
    module: str
    reason: str


@dataclass
class Report:
    """What a conversion did.

    Arguments
    ---------
    converted : list of Converted
        In the order of the model.
    left : list of Left
        Modules with weights of their own that were not converted.

    Example
    -------
    >>> report = Report()
    >>> report.add("ffn", "linear", "magnitude", (0.5, 1.0),
    ...     MacCount(0, (50, 100), one_hot=True), 10)
    >>> report.left.append(Left("out", "Linear", "matches no pattern"))
    >>> print(report)
    converted  kind    sorted by  steps  width: M MAC
    ffn        linear  magnitude     10  0.5: 5e-05, 1: 0.0001
    left alone: 1
      Linear, matches no pattern: out
    """

    converted: list[Converted] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def add(
        self,
        name: str,
        kind: str,
        importance: str,
        widths: tuple[float, ...],
        cost: MacCount,
        steps: int | None = None,
    ) -> None:
        """Adds what was converted.

        Arguments
        ---------
        name, kind, importance, widths, steps
            See :class:`Converted`.
        cost : MacCount
            Of one chunk or frame, a choice or a gate.
        """
        levels = range(len(widths)) if cost.one_hot else (False, True)
        macs = tuple(cost.of_level(level) for level in levels)
        self.converted.append(
            Converted(name, kind, importance, widths, macs, steps)
        )

    def values(self) -> dict[str, Any]:
        """The same for JSON.

        Returns
        -------
        dict
            Lists of dictionaries.
        """
        return {
            "converted": [vars(each) for each in self.converted],
            "left": [vars(each) for each in self.left],
        }

    def __str__(self) -> str:
        rows = [("converted", "kind", "sorted by", "steps", "width: M MAC")]
        for each in self.converted:
            macs = ", ".join(
                f"{width:g}: {count / 1e6:.3g}"
                for width, count in zip(each.widths, each.macs, strict=True)
            )
            steps = "frame" if each.steps is None else str(each.steps)
            rows.append(
                (
                    each.name or "(model)",
                    each.kind,
                    each.importance,
                    steps,
                    macs,
                )
            )
        sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{a:<{sizes[0]}}  {b:<{sizes[1]}}  {c:<{sizes[2]}}  "
            f"{d:>{sizes[3]}}  {e}"
            for a, b, c, d, e in rows
        ]
        lines.append(f"left alone: {len(self.left)}")
        # What many have in common is said once.
        alike = Counter((each.module, each.reason) for each in self.left)
        for module, reason in alike:
            names = [
                each.name or "(model)"
                for each in self.left
                if (each.module, each.reason) == (module, reason)
            ]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            where = ", ".join(names[:3]) + more
            lines.append(f"  {module}, {reason}: {where}")
        return "\n".join(lines)
