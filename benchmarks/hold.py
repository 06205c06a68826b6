"""How well a budget is held on noisy speech.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

import numpy as np
from candidates import noisy_speech

from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.streaming import make_controller
from speechbrain_dsn.pretrained import LoadedModel

BUDGETS = (0.25, 0.5, 0.75)
WINDOW = 10.0


def held_budgets(
    model: LoadedModel, data_folder: str, seconds: float
) -> dict[str, Any]:
    """Streams noisy speech with a held budget, and with a fixed bias.

    Arguments
    ---------
    model : LoadedModel
        That decides, with a calibration.
    data_folder : str
        With ``enhance_test.csv``.
    seconds : float
        Of noisy speech.

    Returns
    -------
    dict
        By budget: mean activation, and how far MACs per second over any 10 s
        lay from those of the budget, relative to these, at worst; the same
        without holding it.
    """
    session = OnnxSession.from_model(model)
    info = session.info
    noisy = noisy_speech(data_folder, info.sample_rate, seconds)
    hops = noisy[: len(noisy) // info.hop * info.hop].reshape(-1, info.hop)
    window = round(WINDOW * info.frame_rate)

    def worst(gates: np.ndarray, budget: float) -> float:
        total = np.cumsum(np.concatenate([[0.0], gates]))
        means = (total[window:] - total[:-window]) / window
        macs = np.array([info.macs_per_second(mean) for mean in means])
        return float(np.abs(macs / info.macs_per_second(budget) - 1).max())

    results = {}
    for budget in BUDGETS:
        controller = make_controller(info, budget)
        lane, gates, logits = session.make_lane(), [], []
        for hop in hops:
            bias = np.full(1, controller.bias, np.float32)
            _, logit = lane.advance(hop, bias)
            controller.update(logit[0])
            gates.append(info.gates(logit, bias))
            logits.append(logit)
        fixed = info.gates(np.concatenate(logits), info.bias(budget))
        gates, fixed = (
            opened @ info.shares for opened in (np.concatenate(gates), fixed)
        )
        results[f"{budget:g}"] = {
            "activation": float(np.mean(gates)),
            "worst_macs_deviation": worst(gates, budget),
            "without_hold": worst(fixed, budget),
        }
    return results
