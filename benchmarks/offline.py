"""Real-time factors of whole files in PyTorch, skipping what is closed.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from candidates import RUN
from clock import measure

from speechbrain_dsn.inference.blocks import AlignedStream
from speechbrain_dsn.pretrained import LoadedModel

SECONDS, TURNS = 10.0, 7


def offline_factors(
    model: LoadedModel,
    static: LoadedModel,
    noisy: np.ndarray,
    shares: Sequence[float],
) -> dict[str, Any]:
    """One block of up to `SECONDS`, at forced shares of open frames and as decided.

    Arguments
    ---------
    model : LoadedModel
        That decides.
    static : LoadedModel
        That does not.
    noisy : np.ndarray
        What they hear.
    shares : sequence of float
        Of open frames.

    Returns
    -------
    dict
        Real-time factor and ratio to the static net, by candidate.
    """
    enhancer = model.enhancer
    hop, rate = enhancer.hop, model.config.sample_rate
    frames = min(round(SECONDS * rate), len(noisy)) // hop
    wav = torch.from_numpy(noisy[None, : frames * hop])
    place = torch.arange(frames) % RUN
    steps = {"ftfnet": _step(static, {}, wav)}
    steps["mgt-dsn"] = _step(model, model.decide(), wav)
    for share in shares:
        gate = (place < round(share * RUN)).float()[None]
        steps[f"mgt-dsn {share:g}"] = _step(model, {"gate": gate}, wav)
    times = measure(steps, TURNS, 1, warm=0)
    base = times["ftfnet"]
    return {
        name: {
            "rtf": timing.median / 1e6 / (wav.size(1) / rate),
            "p10": timing.p10 / 1e6 / (wav.size(1) / rate),
            "p90": timing.p90 / 1e6 / (wav.size(1) / rate),
            "ratio": timing.over(base),
        }
        for name, timing in times.items()
    }


def _step(model: LoadedModel, decide: dict[str, Any], wav: torch.Tensor) -> Any:
    return lambda: AlignedStream(model.enhancer, 1, decide).push(wav)
