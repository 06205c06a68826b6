"""Streams per core at real time, together and apart.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from clock import measure

from speechbrain_dsn.inference.multi import MultiStreamEnhancement
from speechbrain_dsn.inference.onnx_session import OnnxSession, OnnxState
from speechbrain_dsn.pretrained import LoadedModel

STEPS = 1000  # hops of streams, per count and turn, that are worth it


def many_streams(
    model: LoadedModel, noisy: np.ndarray, counts: Sequence[int], turns: int
) -> dict[str, Any]:
    """Time per stream and hop, for so many streams as the model decides.

    Arguments
    ---------
    model : LoadedModel
        That decides.
    noisy : np.ndarray
        What the streams hear, each from another place on.
    counts : sequence of int
        Numbers of streams.
    turns : int
        Of the clock, fewer for many streams.

    Returns
    -------
    dict
        By number of streams: microseconds per stream and hop, and how many
        streams one core could run, for `MultiStreamEnhancement` and for as
        many single streams.
    """
    batch = OnnxSession.from_model(model, batch=True)
    single = OnnxSession.from_model(model)
    results = {}
    for count in counts:
        together = _Together(batch, noisy, count)
        apart = _Apart(single, noisy, count)
        rounds = int(np.clip(STEPS // count, 3, turns))
        steps = {"together": together, "apart": apart}
        times = measure(steps, rounds, 1 + 8 // count, warm=1)
        each = {name: t.median / count for name, t in times.items()}
        hop = 1e6 * single.info.hop / single.info.sample_rate
        results[str(count)] = {
            "us_per_stream": each["together"],
            "streams_per_core": hop / each["together"],
            "separate_us_per_stream": each["apart"],
            "separate_streams_per_core": hop / each["apart"],
            "activation": together.streams.activation,
        }
    return results


class _Heard:
    """The next hop of each stream."""

    def __init__(self, noisy: np.ndarray, hop: int, count: int) -> None:
        length = len(noisy) // hop
        self._hops = noisy[: length * hop].reshape(length, hop)
        self._place = np.random.default_rng(0).integers(0, length, count)

    def next(self) -> np.ndarray:
        self._place = (self._place + 1) % len(self._hops)
        return self._hops[self._place]


class _Together:
    def __init__(
        self, session: OnnxSession, noisy: np.ndarray, count: int
    ) -> None:
        self._heard = _Heard(noisy, session.info.hop, count)
        self.streams = MultiStreamEnhancement(session)
        for _ in range(count):
            self.streams.join()

    def __call__(self) -> None:
        self.streams.tick(self._heard.next())


class _Apart:
    def __init__(
        self, session: OnnxSession, noisy: np.ndarray, count: int
    ) -> None:
        self._heard = _Heard(noisy, session.info.hop, count)
        self._states = [OnnxState(session) for _ in range(count)]
        for state in self._states:
            state.bias[:] = session.info.bias()

    def __call__(self) -> None:
        for state, hop in zip(self._states, self._heard.next(), strict=True):
            state.samples[0] = hop
            state.step()
