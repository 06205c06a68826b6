"""Budgets that follow the quality of a signal, as a judge hears it.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_dsn.cost import Decision, MacCount, MacMeter
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.blocks import AlignedStream
from speechbrain_dsn.inference.quality import QualityPrediction
from speechbrain_dsn.pretrained import LoadedModel, load_model

__all__ = ["Judge", "JudgedBudget", "JudgedStream", "open_stream"]

# DNSMOS OVRL of speech at about 5 dB SNR: where the budget is what was asked.
TYPICAL = 2.0


class Judge:
    """A quality predictor in the place of DNSMOS OVRL.

    Arguments
    ---------
    model : LoadedModel
        Of kind ``quality``. It predicts OVRL, or if it cannot, its first
        target.

    Raises
    ------
    InputError
        If the model is of another kind.

    Example
    -------
    >>> judge = Judge.from_pretrained("quality-bam")
    >>> judge(torch.randn(2, 16000)).shape
    torch.Size([2])
    """

    def __init__(self, model: LoadedModel) -> None:
        model.expect("quality")
        self.prediction = QualityPrediction(model)
        targets, ovrl = self.prediction.targets, "dnsmos_ovrl"
        self.column = targets.index(ovrl) if ovrl in targets else 0

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike) -> Judge:
        """By the name of a model that ships with the package, or a folder."""
        return cls(load_model(source))

    @property
    def predictor(self) -> torch.nn.Module:
        """The network with its features."""
        return self.prediction.mods.predictor

    def __call__(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores of signals ``[B, T]``, of which shares ``[B]`` are valid:
        ``[B]``, in 1..5."""
        scores = self.prediction.predict_batch(wav, lengths)
        return scores[:, self.column].clamp(1, 5)


@dataclass(frozen=True)
class JudgedBudget:
    """A budget for speech of OVRL 2; more for worse, less for better.

    The wanted activation is that of metric-guided training (arXiv 2510.11395),
    proportional to ``(5 - OVRL) / 4``, asked of any gated network by its
    calibration: ``mean (5 - OVRL) / (5 - 2)``, at most 1. Ours: the scale, and
    to do so at run time, segment by segment.

    Arguments
    ---------
    judge : Judge
        Who hears the signal.
    mean : float
        Wanted activation at OVRL 2, in 0..1.

    Example
    -------
    >>> budget = JudgedBudget(Judge.from_pretrained("quality-bam"), 0.5)
    >>> [round(x, 2) for x in budget.at(torch.tensor([1.0, 2.0, 3.5]))]
    [0.67, 0.5, 0.25]
    """

    judge: Judge
    mean: float

    @classmethod
    def for_model(
        cls,
        model: LoadedModel,
        judge: str | os.PathLike,
        mean: float | None = None,
    ) -> JudgedBudget:
        """With a judge by name or folder, checked.

        Arguments
        ---------
        model : LoadedModel
            Whose budget it sets.
        judge : str or path
            See `Judge.from_pretrained`.
        mean : float, optional
            The model's default budget, or a half, without it.

        Returns
        -------
        JudgedBudget
            For this model.

        Raises
        ------
        InputError
            As `check`.
        """
        if mean is None:
            default = model.config.default_budget
            mean = 0.5 if default is None else default
        budget = cls(Judge.from_pretrained(judge), mean)
        budget.check(model)
        return budget

    def check(self, model: LoadedModel) -> None:
        """Refuses a model without gates, or of another rate.

        Arguments
        ---------
        model : LoadedModel
            Of kind ``enhancement``.

        Raises
        ------
        InputError
            Naming what was found and what was expected.
        """
        model.expect("enhancement")
        model.decide(self.mean)
        rate, heard = model.config.sample_rate, self.judge.predictor.sample_rate
        if rate != heard:
            raise InputError(
                f"{model.config.name} is for {rate} Hz: expected {heard} Hz, "
                "the rate of the judge"
            )

    def at(self, scores: Tensor) -> list[float]:
        """Budgets of signals that have these scores ``[B]``."""
        wanted = self.mean * (5 - scores) / (5 - TYPICAL)
        return wanted.clamp(0, 1).tolist()


class JudgedStream:
    """Hears each segment of a signal before it runs, and sets its budget.

    Segments lie on the judge's grid from the start of the signal on, so that
    the result does not depend on how the signal comes in. A rest that is too
    short to be judged keeps the budget before it. The judge's MACs count.

    Arguments
    ---------
    model : LoadedModel
        With gates, at the judge's rate.
    batch_size : int
        Signals that advance together, each with a budget of its own.
    budget : JudgedBudget
        What to spend.
    device : torch.device, optional
        Where the model is.
    samples : Tensor, optional
        Valid samples of each signal ``[B]``: the judge hears no padding.

    Raises
    ------
    InputError
        If the model has no gates, or judge and model differ in rate.
    """

    def __init__(
        self,
        model: LoadedModel,
        batch_size: int,
        budget: JudgedBudget,
        device: torch.device | str | None = None,
        samples: Tensor | None = None,
    ) -> None:
        budget.check(model)
        self._model, self._budget = model, budget
        self._biases = [model.decide(budget.mean)["bias"]] * batch_size
        # Still to come of each signal.
        self._left = [math.inf] * batch_size
        if samples is not None:
            self._left = samples.tolist()
        self._stream = AlignedStream(model.enhancer, batch_size, {}, device)
        self.sample_rate = self._stream.sample_rate
        self._unheard = torch.zeros(batch_size, 0, device=device)

    @property
    def cost(self) -> MacCount:
        """Of one frame, with the judge's share."""
        judge = self._budget.judge.predictor.report().macs_per_second(1)
        frame_rate = self._model.enhancer.report().frame_rate
        return self._stream.cost + MacCount(round(judge / frame_rate))

    def push(self, wav: Tensor) -> Tensor:
        """See `AlignedStream.push`; waits for full segments."""
        wav = torch.cat([self._unheard, wav.to(self._unheard)], 1)
        segment = self._budget.judge.predictor.segment
        whole = wav.size(1) - wav.size(1) % segment
        self._unheard = wav[:, whole:]
        parts = wav[:, :whole].split(segment, 1)
        return torch.cat([wav[:, :0], *map(self._run, parts)], 1)

    def flush(self) -> Tensor:
        """See `AlignedStream.flush`."""
        last = self._run(self._unheard)
        self._unheard = self._unheard[:, :0]
        return torch.cat([last, self._stream.flush()], 1)

    def _run(self, part: Tensor) -> Tensor:
        """Up to a segment."""
        self._hear(part)
        # One bias per signal, for all of its frames.
        biases = part.new_tensor(self._biases)[:, None]
        self._stream.decide = {"bias": biases}
        return self._stream.push(part)

    def _hear(self, part: Tensor) -> None:
        """New biases of the signals that are long enough."""
        length = part.size(1)
        valid = [min(left, length) for left in self._left]
        self._left = [max(left - length, 0) for left in self._left]
        predictor = self._budget.judge.predictor
        least = math.ceil(predictor.min_seconds * self.sample_rate)
        heard = [item for item, count in enumerate(valid) if count >= least]
        if not heard:
            return
        shares = torch.tensor([valid[item] / length for item in heard])
        budgets = self._budget.at(self._budget.judge(part[heard], shares))
        for item, budget in zip(heard, budgets, strict=True):
            self._biases[item] = self._model.decide(budget)["bias"]

    def decision(self, lengths: Tensor | None = None) -> Decision:
        """See `AlignedStream.decision`."""
        return self._stream.decision(lengths)

    def meter(self) -> MacMeter:
        """MACs as executed so far."""
        meter = MacMeter(self.cost)
        meter.update(self.decision())
        return meter


def open_stream(
    model: LoadedModel,
    batch_size: int,
    budget: float | JudgedBudget | None = None,
    device: torch.device | str | None = None,
    samples: Tensor | None = None,
) -> AlignedStream | JudgedStream:
    """A stream through an enhancer, with the budget that is asked for.

    Arguments
    ---------
    model : LoadedModel
        Of kind ``enhancement``.
    batch_size : int
        Signals that advance together.
    budget : float or JudgedBudget, optional
        Wanted mean activation in 0..1, or what sets it; the model's default
        without it.
    device : torch.device, optional
        Where the model is.
    samples : Tensor, optional
        Valid samples of each signal ``[B]``, all by default.

    Returns
    -------
    AlignedStream or JudgedStream
        At the start of the signals.

    Raises
    ------
    InputError
        If the model cannot have that budget.
    """
    if isinstance(budget, JudgedBudget):
        return JudgedStream(model, batch_size, budget, device, samples)
    decide = model.decide(budget)
    return AlignedStream(model.enhancer, batch_size, decide, device)
