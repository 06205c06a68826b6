"""What an evaluation of a separator found.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from speechbrain_dsn.inference.file_scores import (
    FileScores,
    Scores,
    number,
    plain,
    scores_of,
)
from speechbrain_dsn.inference.scores import Evaluation
from speechbrain_dsn.metrics import MetricTable, Score, Summary

__all__ = ["MixtureScores", "SeparationEvaluation"]

GAIN = "si_sdri"


@dataclass(frozen=True)
class MixtureScores(FileScores):
    """One mixture: its scores are means over its sources.

    ``noisy`` are those of the mixture itself, ``enhanced`` those of the
    estimates.

    Arguments
    ---------
    before : list of Scores
        Of the mixture, against each source.
    after : list of Scores
        Of the estimates.
    overlap : float, optional
        Share of the shorter utterance in which both speak.
    widths : list of float
        How often each width ran; of a static model, 1.
    by_speakers : dict
        Number of speakers -> chunks, and their mean activation.
    """

    before: list[Scores] = field(default_factory=list)
    after: list[Scores] = field(default_factory=list)
    overlap: float | None = None
    widths: list[float] = field(default_factory=list)
    by_speakers: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        measured: Mapping[str, Any],
        before: list[Scores],
        after: list[Scores],
        metrics: Sequence[str],
    ) -> MixtureScores:
        """From the scores of the sources.

        Arguments
        ---------
        measured : mapping
            The other fields, with the number of ``sources``.
        before, after : list of Scores
            Of mixture and estimates, for each source.
        metrics : sequence of str
            Their names.

        Returns
        -------
        MixtureScores
            With the improvement of the SI-SDR, where that was measured.
        """
        if "si_sdr" in metrics:
            # Not in place: what came in may be used again.
            after = [
                {GAIN: _gain(one["si_sdr"], two["si_sdr"]), **two}
                for one, two in zip(before, after, strict=True)
            ]
            metrics = [GAIN, *metrics]
        noisy, enhanced = (
            {
                name: _mean([s.get(name, Score(0.0)) for s in scores])
                for name in metrics
            }
            for scores in (before, after)
        )
        rest = {k: v for k, v in measured.items() if k != "sources"}
        return cls(
            noisy=noisy, enhanced=enhanced, before=before, after=after, **rest
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where there is no value."""
        values = super().as_dict()
        del values["snr_db"]
        none = Score(0.0)  # a mixture has no gain over itself
        sources = [
            {
                name: {
                    "mixture": plain(one.get(name, none).value),
                    "estimate": plain(score.value),
                    "reason": score.reason or one.get(name, none).reason,
                }
                for name, score in two.items()
            }
            for one, two in zip(self.before, self.after, strict=True)
        ]
        return {
            **values,
            "overlap": self.overlap,
            "sources": sources,
            "widths": self.widths,
            "by_speakers": self.by_speakers,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MixtureScores:
        """What `as_dict` gave, again."""
        before, after = (
            [scores_of(source, side) for source in values["sources"]]
            for side in ("mixture", "estimate")
        )
        for scores in before:
            scores.pop(GAIN, None)
        return cls(
            **cls._fields(values),
            before=before,
            after=after,
            overlap=values["overlap"],
            widths=values["widths"],
            by_speakers=values["by_speakers"],
        )


def _gain(before: Score, after: Score) -> Score:
    reason = after.reason or before.reason
    return Score(after.value - before.value, reason)


def _mean(scores: list[Score]) -> Score:
    """Over the sources; all of them or none."""
    for score in scores:
        if score.reason:
            return score
    return Score(sum(score.value for score in scores) / len(scores))


@dataclass(frozen=True)
class SeparationEvaluation(Evaluation):
    """Scores of a separator, and what they cost.

    Arguments
    ---------
    levels : tuple of float
        Activations of its widths.
    """

    levels: tuple[float, ...] = ()

    @property
    def known(self) -> dict[str, list[Scores]]:
        """Scores of the mixtures, to be used again for the next model."""
        return {file.name: file.before for file in self.files if not file.error}

    @property
    def widths(self) -> list[float]:
        """How often each width ran, over all chunks of all layers."""
        good = [file for file in self.files if file.widths]
        if not good:
            return []
        seconds = np.array([file.seconds for file in good])
        shares = np.array([file.widths for file in good])
        return (seconds @ shares / seconds.sum()).tolist()

    @property
    def by_speakers(self) -> dict[str, float]:
        """Mean activation of chunks in which nobody, one, two speak."""
        sums: dict[str, list[float]] = {}
        for file in self.files:
            for count, (chunks, use) in file.by_speakers.items():
                total = sums.setdefault(count, [0.0, 0.0])
                total[0] += chunks
                total[1] += chunks * use
        return {k: use / n for k, (n, use) in sorted(sums.items())}

    @property
    def overlaps(self) -> list[float]:
        """Those of the mixtures, the largest first."""
        known = {file.overlap for file in self.files}
        return sorted(known - {None}, reverse=True)

    def at_overlap(self, overlap: float) -> SeparationEvaluation:
        """The same of the mixtures with this overlap.

        Arguments
        ---------
        overlap : float
            One of `overlaps`.

        Returns
        -------
        SeparationEvaluation
            Its cost is the mean over these mixtures by their length.
        """
        files = [file for file in self.files if file.overlap == overlap]
        good = [file for file in files if not file.error]
        seconds = sum(file.seconds for file in good)

        def mean(name: str) -> float:
            total = sum(file.seconds * getattr(file, name) for file in good)
            return total / seconds if seconds else math.nan

        return type(self)(
            self.model,
            self.budget,
            mean("activation"),
            mean("macs_per_second"),
            math.nan,
            files,
            self.levels,
        )

    @property
    def conditions(self) -> dict[str, list[float]]:
        """How much the speakers overlap, where that is known."""
        return self._known(
            {"overlap": [number(file.overlap) for file in self.files]}
        )

    def correlations(self) -> dict[str, Summary]:
        """Spearman's correlation of activation with the overlap, of a model
        that decides."""
        decided = len({file.activation for file in self.files}) > 1
        return super().correlations() if self._overlapping and decided else {}

    @property
    def _overlapping(self) -> bool:
        """Whether there are several overlaps, so that they can be compared."""
        return len(self.overlaps) > 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where there is no value."""
        values = super().as_dict()
        values["levels"], values["widths"] = self.levels, self.widths
        values["activation_by_speakers"] = self.by_speakers
        if self._overlapping:
            values["by_overlap"] = {
                f"{overlap:g}": {
                    name: value
                    for name, value in self.at_overlap(overlap)
                    .as_dict()
                    .items()
                    if name in ("metrics", "activation", "macs_per_second")
                    or name in ("widths", "activation_by_speakers")
                }
                for overlap in self.overlaps
            }
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SeparationEvaluation:
        """What `as_dict` gave, again; means are made anew from the files."""
        fields = cls._fields(values, MixtureScores)
        return cls(**fields, levels=tuple(values["levels"]))

    def add_to(self, table: MetricTable) -> None:
        """Adds a row, and one for each overlap where there are several.

        Arguments
        ---------
        table : MetricTable
            With a row of the mixtures perhaps, see `add_noisy_to`.
        """
        self._add_row(table, self.label, self._speaking())
        if self._overlapping:
            for overlap in self.overlaps:
                part = self.at_overlap(overlap)
                label = f"{self.label}, overlap {100 * overlap:g} %"
                part._add_row(table, label, part._speaking())

    def _speaking(self) -> dict[str, str]:
        """Columns of mean activations, see `by_speakers`."""
        return {
            f"{count} speaking": f"{use:.3f}"
            for count, use in self.by_speakers.items()
        }

    def add_noisy_to(self, table: MetricTable) -> None:
        """Adds a row with the scores of the mixtures.

        Arguments
        ---------
        table : MetricTable
            Any.
        """
        table.add("mixture", [file.noisy for file in self.files])
