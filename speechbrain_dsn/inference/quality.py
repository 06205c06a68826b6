"""Scores of signals and files by a network of our own, without a reference.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from speechbrain_dsn.dataio.audio import read_audio
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.interface import (
    ModelInterface,
    check_batch,
    check_finite,
    valid_samples,
)
from speechbrain_dsn.metrics import Measure
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["QualityPrediction", "quality_measure"]

SEGMENTS = 16  # at once


class QualityPrediction(ModelInterface):
    """A quality predictor in the manner of SpeechBrain's interfaces.

    Arguments
    ---------
    model : LoadedModel
        Of kind ``quality``.
    run_opts : dict, optional
        SpeechBrain's run options.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import ModelConfig
    >>> config = ModelConfig(
    ...     "tiny", "quality_net", front_end="mel", kind="quality"
    ... )
    >>> prediction = QualityPrediction(LoadedModel(config.build(), config))
    >>> prediction.predict_batch(torch.randn(2, 16000)).shape
    torch.Size([2, 1])
    """

    MODULES_NEEDED = ["predictor"]
    kind = "quality"

    @property
    def targets(self) -> tuple[str, ...]:
        """What the columns of a result are."""
        return self.mods.predictor.lobe.targets

    def forward(self, wavs: Tensor) -> Tensor:
        """`predict_batch`, as SpeechBrain has it."""
        return self.predict_batch(wavs)

    @torch.inference_mode()
    def predict_batch(
        self, wavs: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """Scores signals at the model's rate, each as a whole.

        Arguments
        ---------
        wavs : Tensor
            ``[B, T]``, floats, at least `min_seconds` of the predictor.
        lengths : Tensor, optional
            Valid share of each signal ``[B]`` in (0, 1].

        Returns
        -------
        Tensor
            ``[B, targets]``.

        Raises
        ------
        InputError
            If signals or lengths are not what is expected.
        """
        check_batch(wavs)
        check_finite(wavs)
        whole = torch.full((len(wavs),), wavs.size(1))
        samples = whole if lengths is None else valid_samples(lengths, wavs)
        predictor = self.mods.predictor
        least = round(predictor.min_seconds * predictor.sample_rate)
        if samples.min() < least:
            raise InputError(
                f"found {int(samples.min())} samples: expected at least {least}"
            )
        wavs = wavs.to(self.device, torch.float32)
        return predictor(wavs, samples)

    def predict_file(self, path: str | os.PathLike) -> dict[str, float]:
        """Scores a file of any rate and length; channels are averaged.

        Arguments
        ---------
        path : str or path
            Any file that soundfile reads.

        Returns
        -------
        dict of str to float
            By target, mean over segments.

        Raises
        ------
        InputError
            If it cannot be read or judged.
        """
        rate = self.model.config.sample_rate
        samples = read_audio(path, rate, mono=True)[0][:, 0]
        scores = quality_measure(self.model)(None, samples, rate)
        for score in scores.values():
            if score.reason is not None:
                raise InputError(f"{path}: {score.reason}")
        return {name: score.value for name, score in scores.items()}


def quality_measure(model: LoadedModel) -> Measure:
    """A predictor as a metric, with a reason for signals it cannot judge.

    Arguments
    ---------
    model : LoadedModel
        Of kind ``quality``.

    Returns
    -------
    Measure
        Needs no reference; gives each target, mean over segments.

    Raises
    ------
    InputError
        If the model is of another kind.
    """
    model.expect("quality")
    predictor = model.enhancer

    @torch.inference_mode()
    def compute(
        reference: np.ndarray | None, estimate: np.ndarray, sample_rate: int
    ) -> list[float]:
        device = next(predictor.parameters()).device
        parts = predictor.segments(torch.from_numpy(estimate).float())
        scores = [
            predictor(part.to(device)).double()
            for part in parts.split(SEGMENTS)
        ]
        return torch.cat(scores).mean(0).tolist()

    return Measure(
        predictor.lobe.targets,
        compute,
        needs_reference=False,
        sample_rates=(model.config.sample_rate,),
        min_seconds=predictor.min_seconds,
    )
