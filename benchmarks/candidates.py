"""The models that are timed, and the signal that they hear.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.inference.onnx_session import OnnxLane
from speechbrain_dsn.inference.session import TorchLane
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig, load_model

FORCE = 1e9  # a bias that decides alone
RUN = 16  # frames of a period of forced gates
RANDOM = {"mgt-dsn": "dynamic_ftfnet", "ftfnet": "ftfnet"}


def load_or_draw(source: str) -> tuple[LoadedModel, bool]:
    """A model, with random weights where the one of that name is missing.

    Times do not depend on weights; decisions do, and the result says so.

    Arguments
    ---------
    source : str
        Name or folder.

    Returns
    -------
    tuple
        The model, and whether its weights are trained.
    """
    try:
        return load_model(source), True
    except InputError as error:
        if source not in RANDOM:
            raise
        print(f"random weights for {source}: {error}", file=sys.stderr)
    torch.manual_seed(0)
    config = ModelConfig(source, RANDOM[source])
    return LoadedModel(config.build(), config), False


def noisy_speech(
    folder: str | Path, rate: int, seconds: float, each: float = 5.0
) -> np.ndarray:
    """Mixtures of a test list, one after the other.

    Arguments
    ---------
    folder : str or path
        With ``enhance_test.csv``.
    rate : int
        In Hz.
    seconds : float
        Duration of all.
    each : float
        Longest part of one mixture, from its start.

    Returns
    -------
    np.ndarray
        float32 ``[n]``.
    """
    mixtures = load_fixed_list(Path(folder) / "enhance_test.csv", folder)
    # Spread over the list, so that SNRs and noises are mixed.
    wanted = max(1, round(seconds / each))
    parts, have = [], 0
    for place in np.linspace(0, len(mixtures) - 1, wanted).astype(int):
        noisy, _ = mixtures[place].render(rate)
        parts.append(noisy[: round(each * rate)])
        have += len(parts[-1])
    return np.resize(np.concatenate(parts), round(seconds * rate))


def calibrated(model: LoadedModel, noisy: np.ndarray) -> LoadedModel:
    """The model with a calibration on this very signal, for random weights:
    half of the frames open by default."""
    with torch.no_grad():
        wav = torch.from_numpy(noisy[None, : 10 * model.config.sample_rate])
        _, decision = model.enhancer(wav)
    table = Calibration.from_logits(decision.logits.flatten().numpy())
    config = replace(model.config, calibration=table, default_budget=0.5)
    return LoadedModel(model.enhancer, config)


class Replay:
    """A lane that hears the signal over and over, a hop per step.

    Arguments
    ---------
    lane : OnnxLane or TorchLane
        What is timed.
    noisy : np.ndarray
        The signal.
    hop : int
        Samples per step.
    biases : callable
        Number of the step to the bias.
    """

    def __init__(
        self,
        lane: OnnxLane | TorchLane,
        noisy: np.ndarray,
        hop: int,
        biases: Callable[[int], float],
    ) -> None:
        self._lane = lane
        count = len(noisy) // hop
        self._hops = noisy[: count * hop].reshape(count, hop)
        self._biases = [np.full(1, biases(k), np.float32) for k in range(count)]
        self.steps = self.opened = 0

    def __call__(self) -> None:
        """One hop."""
        place = self.steps % len(self._hops)
        bias = self._biases[place]
        _, logits = self._lane.advance(self._hops[place], bias)
        self.opened += bool(logits[0, 0] + bias[0] > 0)
        self.steps += 1

    @property
    def activation(self) -> float:
        """Share of open frames so far."""
        return self.opened / max(1, self.steps)


def forced(share: float) -> Callable[[int], float]:
    """Biases that open so many of each ``RUN`` frames, in one run.

    Arguments
    ---------
    share : float
        In 0..1.

    Returns
    -------
    callable
        Number of the frame to its bias.
    """
    return lambda k: FORCE if k % RUN < round(share * RUN) else -FORCE
