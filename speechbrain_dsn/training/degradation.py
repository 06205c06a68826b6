"""What happens to mixtures before they are judged: nothing, or an enhancer.

A judge of speech that met noise only has never heard what enhancers leave
behind. Each enhancer at each of its budgets is a degradation of its own.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.pretrained import LoadedModel, load_model
from speechbrain_dsn.pretrained.weights import dump_weights

__all__ = ["NOISY", "Degradations"]

NOISY = "noisy"


class Degradations:
    """Mixtures as they are, and through enhancers at several budgets.

    Arguments
    ---------
    enhancers : sequence of (str, float)
        Models by name or folder, each with a budget; null is the model's
        default, and the only one of a static model.
    noisy_share : float
        Share of the mixtures that stay as they are.
    seed : int
        Of the draw.
    sample_rate : int
        Of the mixtures, in Hz.

    Raises
    ------
    InputError
        If a model is missing, of another kind or rate, there twice with a
        budget, or has not such a one.

    Example
    -------
    >>> degradations = Degradations([("mgt-dsn", 0.25), ("mgt-dsn", None)])
    >>> degradations.kinds
    ('noisy', 'mgt-dsn@0.25', 'mgt-dsn')
    >>> degradations.draw("clip 7") == degradations.draw("clip 7")
    True
    """

    def __init__(
        self,
        enhancers: Sequence[tuple[str, float | None]],
        noisy_share: float = 0.5,
        seed: int = 0,
        sample_rate: int = 16000,
    ) -> None:
        if not 0 <= noisy_share <= 1:
            raise InputError(f"noisy_share is {noisy_share}, expected 0 to 1")
        self.noisy_share, self.seed = noisy_share, seed
        self._models: dict[str, tuple[LoadedModel, dict[str, Any]]] = {}
        self._keys = {NOISY: NOISY}
        models = {source: load_model(source) for source, _ in enhancers}
        for source, budget in enhancers:
            model = models[source]
            model.expect("enhancement")
            name, rate = model.config.name, model.config.sample_rate
            if rate != sample_rate:
                raise InputError(
                    f"model {name} works at {rate} Hz, expected {sample_rate}"
                )
            weights = dump_weights(model.enhancer.state_dict())
            content = model.config.to_json().encode() + weights
            digest = hashlib.sha256(content).hexdigest()[:16]
            kind = name if budget is None else f"{name}@{budget:g}"
            if kind in self._keys:
                raise InputError(f"{kind} is there twice, expected it once")
            self._models[kind] = model, model.decide(budget)
            self._keys[kind] = f"{kind} {digest}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of all degradations."""
        return tuple(self._keys)

    def draw(self, name: str, enhanced: bool = False) -> str:
        """A degradation that depends on seed and name alone.

        Arguments
        ---------
        name : str
            Of a mixture.
        enhanced : bool
            Whether it must go through an enhancer, if there is any.

        Returns
        -------
        str
            One of `kinds`.
        """
        rng = np.random.default_rng((self.seed, *name.encode()))
        stays = rng.random() < self.noisy_share and not enhanced
        if stays or not self._models:
            return NOISY
        return list(self._models)[rng.integers(len(self._models))]

    def key(self, kind: str) -> str:
        """A text that changes with what a degradation does."""
        return self._keys[kind]

    @torch.inference_mode()
    def apply(self, kind: str, noisy: np.ndarray) -> np.ndarray:
        """Degrades a mixture.

        Arguments
        ---------
        kind : str
            One of `kinds`.
        noisy : np.ndarray
            ``[T]``, float32.

        Returns
        -------
        np.ndarray
            ``[T]``, turned down as a whole where it exceeds full scale.
        """
        if kind != NOISY:
            model, decide = self._models[kind]
            wav = torch.from_numpy(noisy)[None]
            noisy = model.enhancer(wav, **decide)[0][0].numpy()
        return noisy / max(1.0, float(np.abs(noisy).max()))
