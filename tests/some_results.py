"""Results as an evaluation could have found them."""

import math

from speechbrain_dsn.inference.file_scores import FileScores
from speechbrain_dsn.inference.scores import Evaluation
from speechbrain_dsn.inference.separation_scores import (
    MixtureScores,
    SeparationEvaluation,
)
from speechbrain_dsn.metrics import Score

NAMES = [f"file{n}" for n in range(12)]


def evaluation(model, macs, gain, names=NAMES, reason=None):
    """Every file is better than its noisy one by the same gain."""
    files = []
    for number, name in enumerate(names):
        noisy = 1.0 + 0.1 * int(name.removeprefix("file"))
        score = Score(noisy + gain)
        if reason and number == 0:
            score = Score(math.nan, reason)
        files.append(
            FileScores(
                name,
                2.0,
                macs / 100,
                macs,
                {"pesq": Score(noisy)},
                {"pesq": score},
                snr_db=float(number),
            )
        )
    return Evaluation(model, None, macs / 100, macs, 0.1, files)


def separation(model, macs, gain, names=NAMES, reason=None):
    """Both speakers of every mixture come out better by the same gain."""
    files = []
    for number, name in enumerate(names):
        after = Score(1.0 + gain)
        if reason and number == 0:
            after = Score(math.nan, reason)
        measured = {
            "name": name,
            "seconds": 2.0,
            "sources": 2,
            "activation": macs / 100,
            "macs_per_second": macs,
            "overlap": 0.5 if number % 2 else 1.0,
            "widths": [1 - macs / 100, macs / 100],
            "by_speakers": {"1": [3, 0.25], "2": [5, 0.75]},
        }
        before = [{"si_sdr": Score(1.0)}, {"si_sdr": Score(-1.0)}]
        scores = [{"si_sdr": after}, {"si_sdr": Score(-1.0 + gain)}]
        files.append(MixtureScores.of(measured, before, scores, ["si_sdr"]))
    return SeparationEvaluation(
        model, 0.5, macs / 100, macs, 0.1, files, levels=(0.0, 1.0)
    )
