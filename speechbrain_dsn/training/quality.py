"""The quality recipe: make labels, train by the plan, measure.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.distributed import run_on_main
from torch import Tensor, nn

from speechbrain_dsn.dataio.tables import write_text
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.lobes.predictor import SPREAD
from speechbrain_dsn.metrics import METRICS, pearson
from speechbrain_dsn.pretrained import make_card, save_model
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.degradation import NOISY
from speechbrain_dsn.training.fit import (
    check_run_options,
    fit_network,
    load_teacher,
)
from speechbrain_dsn.training.labelled import LabelledSignals, QualityBatch
from speechbrain_dsn.training.results import run_info

__all__ = ["QualityBrain", "run_quality", "write_quality_results"]


class QualityBrain(DynamicBrain):
    """Trains a quality predictor, by a plan of one stage.

    ``modules.predictor`` maps features ``[B, T, bands]`` to scores ``[B,
    targets]``; ``signal_losses`` compare them with labels. With a teacher
    each batch comes a second time, spliced to signals that nobody labelled,
    and the teacher says what all of them are worth: the labels of a few
    thousand clips could be learnt by heart.
    """

    network = "predictor"

    def make_validation(self) -> QualityValidation:
        """Correlation in place of PESQ."""
        return QualityValidation(self.enhancer.lobe.targets)

    def compute_forward(
        self, batch: QualityBatch, stage: sb.Stage
    ) -> tuple[Tensor, Tensor]:
        """Scores of clips, and what they should be; outside of training, of
        one signal."""
        features, labels = (x.to(self.device) for x in batch)
        net = self.modules[self.network]
        if stage != sb.Stage.TRAIN:
            return net(features).mean(0, True), labels
        teacher = getattr(self.hparams, "teacher_net", None)
        if teacher is not None:
            features = torch.cat((features, spliced(features)))
            with torch.no_grad():
                labels = teacher(features)
        return net(features), labels

    def compute_objectives(
        self,
        predictions: tuple[Tensor, Tensor],
        batch: QualityBatch,
        stage: sb.Stage,
    ) -> Tensor:
        """The losses of scores against labels."""
        terms = self._signal_losses(*predictions)
        if stage != sb.Stage.TRAIN:
            self.validation.add(*predictions)
        else:
            for name, value in terms.items():
                self._note(name, value)
        return self._sum(terms)


def spliced(features: Tensor) -> Tensor:
    """New signals from the starts and the ends of others.

    Each is as loud as chance has it (within 6 dB either way) and of another
    colour (a tilt of up to 6 dB from the lowest to the highest band).

    Arguments
    ---------
    features : Tensor
        Log-mel features as of :class:`QualityPredictor` ``[B, T, bands]``.

    Returns
    -------
    Tensor
        ``[B, T, bands]``.

    Example
    -------
    >>> spliced(torch.randn(8, 249, 120)).shape
    torch.Size([8, 249, 120])
    """
    batch, frames, bands = features.shape
    cut = int(torch.randint(frames + 1, ()))
    other = features.roll(1, 0)
    signals = torch.cat((features[:, :cut], other[:, cut:]), 1)
    decibel = math.log(10) / 10 / SPREAD
    gain, tilt = torch.rand(2, batch, 1, 1).to(features) * 2 - 1
    slope = torch.linspace(-0.5, 0.5, bands).to(features)
    return signals + 6 * decibel * (gain + tilt * slope)


class QualityValidation:
    """Correlation of scores and labels over a list.

    Arguments
    ---------
    targets : sequence of str
        Columns of both.

    Example
    -------
    >>> validation = QualityValidation(["pesq"])
    >>> for score in (1.0, 2.0, 4.0):
    ...     validation.add(torch.tensor([[score]]), torch.tensor([[2 * score]]))
    >>> validation.summary()
    {'pcc_pesq': 1.0}
    """

    def __init__(self, targets: Sequence[str]) -> None:
        self.targets = targets
        self.pairs: list[Tensor] = []

    def add(self, scores: Tensor, labels: Tensor) -> None:
        """Notes signals, both ``[B, targets]``."""
        self.pairs.append(torch.stack((scores, labels)).detach().cpu())

    def summary(self) -> dict[str, float]:
        """Pearson's correlation of each target."""
        scores, labels = torch.cat(self.pairs, 1).numpy()
        return {
            f"pcc_{target}": pearson(scores[:, k], labels[:, k]).value
            for k, target in enumerate(self.targets)
        }


def run_quality(hparams: dict[str, Any], run_opts: Any) -> None:
    """Runs the recipe from data to results.

    Arguments
    ---------
    hparams : dict
        A loaded YAML, such as ``recipes/Folders/quality/hparams/quality.yaml``.
    run_opts : RunOptions
        From SpeechBrain's command line.
    """
    check_run_options(run_opts)
    teacher = load_teacher(hparams, QualityBrain.network)
    if teacher is not None:
        _check_teacher(teacher, hparams[QualityBrain.network])
    data = hparams["data"]
    data.prepare()
    brain, _ = fit_network(QualityBrain, hparams, run_opts, teacher)
    run_on_main(
        write_quality_results, args=[brain.enhancer, hparams, data.test()]
    )


def _check_teacher(teacher: nn.Module, student: nn.Module) -> None:
    """It sees what the student sees, and scores the same."""
    for what, wanted, found in (
        ("targets", student.lobe.targets, teacher.lobe.targets),
        ("features", student.feature_settings, teacher.feature_settings),
    ):
        if found != wanted:
            raise InputError(
                f"teacher: expected the student's {what} {wanted}, found "
                f"{found}"
            )


def write_quality_results(
    predictor: nn.Module, hparams: dict[str, Any], test: LabelledSignals
) -> list[dict[str, Any]]:
    """Measures on test, and saves the model folder.

    Arguments
    ---------
    predictor : torch.nn.Module
        Trained.
    hparams : dict
        With ``output_folder``, ``model_config``, ``model_folder``, ``plan``,
        ``batches_per_epoch`` and ``seed``.
    test : LabelledSignals
        What to report.

    Returns
    -------
    list of dict
        One for each target, on mixtures and on enhanced ones.
    """
    predictor = predictor.cpu().eval()
    rows, net = measure(predictor, test), predictor.lobe
    memory = net.memory_bytes(net.mode)
    config = run_info(hparams["model_config"], hparams)
    info = {
        f"correlation with {METRICS[row['target']].title}, test, "
        f"{row['signals']}": row["text"]
        for row in rows
    }
    info = {"mode": net.mode, "memory, bytes for a segment": memory} | info
    config = replace(config, info={**config.info, **info})
    save_model(
        hparams["model_folder"],
        predictor,
        config,
        make_card(config, predictor),
        overwrite=True,
    )
    out = Path(hparams["output_folder"])
    text = _table(config.name, net.mode, memory, rows)
    print(text)
    write_text(out / "results.md", text + "\n")
    values = {"model": config.name, "mode": net.mode, "memory_bytes": memory}
    values["rows"] = rows
    write_text(out / "results.json", json.dumps(values, indent=1) + "\n")
    return rows


@torch.inference_mode()
def measure(
    predictor: nn.Module, test: LabelledSignals
) -> list[dict[str, Any]]:
    """Correlation and error of each target.

    Arguments
    ---------
    predictor : torch.nn.Module
        In eval mode.
    test : LabelledSignals
        What to score.

    Returns
    -------
    list of dict
        On mixtures first, then on what enhancers made of them.
    """
    pairs = []
    for place in range(len(test)):
        features, labels = test[place]
        pairs.append(torch.stack((predictor(features).mean(0), labels[0])))
    scores, labels = torch.stack(pairs, 1).double().numpy()
    noisy = np.array([example.kind == NOISY for example in test.examples])
    rows = []
    for signals, kept in (("mixtures", noisy), ("enhanced", ~noisy)):
        for column, target in enumerate(test.targets if kept.any() else ()):
            x, y = scores[kept, column], labels[kept, column]
            found = pearson(x, y)
            rows.append(
                {
                    "target": target,
                    "signals": signals,
                    "text": str(found),
                    "pearson": found.as_dict(),
                    "rmse": float(np.sqrt(np.mean((x - y) ** 2))),
                }
            )
    return rows


def _table(
    name: str, mode: str, memory: int, rows: Sequence[dict[str, Any]]
) -> str:
    """Markdown: a line per kind of signals, a column per target."""
    targets = list(dict.fromkeys(row["target"] for row in rows))
    head = [f"{METRICS[target].title}, r" for target in targets]
    lines = [["model", "mode", "bytes", "signals", *head]]
    lines.append(["---"] * len(lines[0]))
    for signals in dict.fromkeys(row["signals"] for row in rows):
        cells = [row["text"] for row in rows if row["signals"] == signals]
        lines.append([name, mode, f"{memory:,}", signals, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
