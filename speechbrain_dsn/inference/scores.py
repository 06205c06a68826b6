"""What an evaluation found: means of scores, and the cost.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from speechbrain_dsn.inference.file_scores import (
    FileScores,
    Scores,
    number,
    plain,
)
from speechbrain_dsn.metrics import (
    MetricTable,
    Score,
    Summary,
    spearman,
    summarize,
)

__all__ = ["CONDITION_TITLES", "Evaluation", "results_table"]

# What a file is like, see `Evaluation.conditions`, on an axis.
CONDITION_TITLES = {
    "snr_db": "input SNR (dB)",
    "dnsmos_ovrl": "input OVRL",
    "overlap": "overlap (share of the shorter utterance)",
}


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model, and what they cost.

    Arguments
    ---------
    model : str
        Its name.
    budget : float or None
        As it was asked for.
    activation : float
        Mean gate over all frames; 1 for a static model.
    macs_per_second : float
        As executed, over all frames.
    rtf : float
        Time of the network over duration of the signals.
    files : list of FileScores
        In the order of the pairs.
    """

    model: str
    budget: float | None
    activation: float
    macs_per_second: float
    rtf: float
    files: list[FileScores] = field(repr=False)

    @property
    def label(self) -> str:
        """Model and budget."""
        if self.budget is None:
            return self.model
        return f"{self.model} at {self.budget:g}"

    @property
    def series(self) -> str:
        """What rows of one system share, at all its budgets or widths.

        Widths end a name: ``slim 1/8`` and ``slim 1/4`` are ``slim``, and
        ``slim-0.5``, cut out of a net called ``slim``, is one of ``slim-*``.
        """
        width = re.fullmatch(r"(.+)([ -])\d[\d./]*", self.model)
        if self.budget is not None or not width:
            return self.model
        return width[1] if width[2] == " " else f"{width[1]}-*"

    @property
    def noisy(self) -> dict[str, Scores]:
        """Scores of the inputs, to be used again for the next model."""
        return {file.name: file.noisy for file in self.files}

    @property
    def metrics(self) -> list[str]:
        """Names of what was measured."""
        return list(self.files[0].enhanced) if self.files else []

    def pairs_of(self, metric: str) -> list[dict[str, Score]]:
        """Noisy and enhanced score of each file; both or none have a value,
        so that their means run over the same files.

        Arguments
        ---------
        metric : str
            Its name.

        Returns
        -------
        list of dict
            With ``noisy``, ``enhanced`` and ``difference``.
        """
        rows = []
        for file in self.files:
            noisy, enhanced = file.noisy[metric], file.enhanced[metric]
            if reason := enhanced.reason or noisy.reason:
                bad = Score(math.nan, reason)
                rows.append({k: bad for k in ("noisy", "enhanced")})
                rows[-1]["difference"] = bad
                continue
            gain = Score(enhanced.value - noisy.value)
            rows.append(
                {"noisy": noisy, "enhanced": enhanced, "difference": gain}
            )
        return rows

    @property
    def conditions(self) -> dict[str, list[float]]:
        """What the inputs are like, file by file, as far as that is known.

        Returns
        -------
        dict of str to list of float
            ``snr_db`` and ``dnsmos_ovrl`` of the input.
        """
        unknown = Score(math.nan)
        return self._known(
            {
                "snr_db": [number(file.snr_db) for file in self.files],
                "dnsmos_ovrl": [
                    file.noisy.get("dnsmos_ovrl", unknown).value
                    for file in self.files
                ],
            }
        )

    @staticmethod
    def _known(columns: dict[str, list[float]]) -> dict[str, list[float]]:
        return {
            name: values
            for name, values in columns.items()
            if not np.isnan(values).all()
        }

    def correlations(self) -> dict[str, Summary]:
        """Spearman's correlation of activation with the input.

        Returns
        -------
        dict of str to Summary
            For each of the `conditions`.
        """
        use = [file.activation for file in self.files]
        return {
            name: spearman(use, values)
            for name, values in self.conditions.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where there is no value."""
        metrics = {}
        for name in self.metrics:
            found = summarize(self.pairs_of(name))
            entry: dict[str, Any] = {}
            for side, summary in found.items():
                entry[side] = plain(summary.value)
                entry[f"{side}_interval"] = [
                    plain(summary.low),
                    plain(summary.high),
                ]
            summary = found["enhanced"]
            entry["n_valid"] = summary.n_valid
            entry["n_total"] = summary.n_total
            entry["reasons"] = summary.reasons
            metrics[name] = entry
        return {
            "model": self.model,
            "budget": self.budget,
            "metrics": metrics,
            "activation": plain(self.activation),
            "macs_per_second": plain(self.macs_per_second),
            "rtf": plain(self.rtf),
            "correlation_of_activation": {
                name: summary.as_dict()
                for name, summary in self.correlations().items()
            },
            "files": [file.as_dict() for file in self.files],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """What `as_dict` gave, again; means are made anew from the files."""
        return cls(**cls._fields(values, FileScores))

    @staticmethod
    def _fields(
        values: Mapping[str, Any], kind: type[FileScores]
    ) -> dict[str, Any]:
        """What `as_dict` of every kind of evaluation holds."""
        return {
            "model": str(values["model"]),
            "budget": None
            if values["budget"] is None
            else number(values["budget"]),
            "activation": number(values["activation"]),
            "macs_per_second": number(values["macs_per_second"]),
            "rtf": number(values["rtf"]),
            "files": [kind.from_dict(file) for file in values["files"]],
        }

    def point(self, metric: str) -> dict[str, str | float]:
        """Quality and cost, as `speechbrain_dsn.plots` draws them.

        Arguments
        ---------
        metric : str
            Its name.

        Returns
        -------
        dict
            ``label``, ``series``, ``macs_per_second``, ``value``, ``low``
            and ``high``.
        """
        found = summarize(self.pairs_of(metric))["enhanced"]
        return {
            "label": self.label,
            "series": self.series,
            "macs_per_second": self.macs_per_second,
            "value": found.value,
            "low": found.low,
            "high": found.high,
        }

    def add_to(self, table: MetricTable) -> None:
        """Adds a row: quality, then cost.

        Arguments
        ---------
        table : MetricTable
            With a row of the noisy signals perhaps, see `add_noisy_to`.
        """
        self._add_row(table, self.label, {})

    def _add_row(
        self, table: MetricTable, label: str, more: Mapping[str, str]
    ) -> None:
        """``more`` stands between cost and correlations."""
        extra: dict[str, str | float] = {
            "M MAC/s": f"{self.macs_per_second / 1e6:.1f}",
            "activation": f"{self.activation:.3f}",
            **more,
        }
        for name, summary in self.correlations().items():
            extra[f"rho({name})"] = f"{summary.value:.2f}"
        table.add(label, [file.enhanced for file in self.files], extra)

    def add_noisy_to(self, table: MetricTable) -> None:
        """Adds a row with the scores of the inputs.

        Arguments
        ---------
        table : MetricTable
            Any.
        """
        table.add("noisy", [file.noisy for file in self.files])


def results_table(rows: Sequence[Evaluation]) -> MetricTable:
    """A row for the inputs, and one or more for each evaluation.

    Arguments
    ---------
    rows : sequence of Evaluation
        At least one, all of the same files.

    Returns
    -------
    MetricTable
        Quality, then cost.
    """
    table = MetricTable()
    rows[0].add_noisy_to(table)
    for row in rows:
        row.add_to(table)
    return table
