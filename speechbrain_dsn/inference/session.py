"""What a stream runs on: the facts of a model, and PyTorch as a runtime.

A session has ``info``, a :class:`StreamInfo`, and ``make_lane()``, the state
of one stream: ``advance(samples, biases) -> (enhanced, logits [n, K])`` over
whole hops, ``arrays()`` and ``load(arrays)`` to save and restore it, ``reset()``.
Besides :class:`TorchSession` there is
:class:`~speechbrain_dsn.inference.onnx_session.OnnxSession`.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration, budget_bias
from speechbrain_dsn.gating.budget import chosen_levels
from speechbrain_dsn.pretrained import LoadedModel

__all__ = [
    "StreamInfo",
    "TorchLane",
    "TorchSession",
    "Usage",
    "check_arrays",
]


@dataclass(frozen=True)
class StreamInfo:
    """What a stream has to know of its model.

    Arguments
    ---------
    name : str
        Of the model.
    sample_rate : int
        In Hz.
    hop : int
        Samples that a stream advances by.
    delay : int
        Samples by which the output of a hop lags behind its input.
    frame_rate : float
        Hops per second.
    dynamic : bool
        Whether the model decides.
    cost : MacCount
        MACs of one frame.
    calibration : Calibration, optional
        From budgets to biases.
    default_budget : float, optional
        Used where none is asked for.
    """

    name: str
    sample_rate: int
    hop: int
    delay: int
    frame_rate: float
    dynamic: bool
    cost: MacCount
    calibration: Calibration | None = None
    default_budget: float | None = None

    @classmethod
    def of(cls, model: LoadedModel) -> StreamInfo:
        """The facts of a loaded model.

        Arguments
        ---------
        model : LoadedModel
            Any.

        Returns
        -------
        StreamInfo
            Its own.
        """
        config, enhancer = model.config, model.enhancer
        return cls(
            config.name,
            config.sample_rate,
            enhancer.hop,
            enhancer.delay,
            enhancer.report().frame_rate,
            enhancer.dynamic,
            enhancer.cost,
            config.calibration,
            config.default_budget,
        )

    def bias(self, budget: float | None = None) -> float:
        """What is added to the logits.

        Arguments
        ---------
        budget : float, optional
            Wanted mean activation in 0..1; the model's default without it.

        Returns
        -------
        float
            0 for a model that does not decide or has no default.

        Raises
        ------
        InputError
            If the budget is out of range, or the model has none.
        """
        return budget_bias(
            self.name,
            self.dynamic,
            self.calibration,
            self.default_budget,
            budget,
        )

    @property
    def logits(self) -> int:
        """Logits per frame: one of a gate, and of a static model."""
        return max(1, len(self.cost.gated))

    def levels(
        self, logits: np.ndarray, biases: np.ndarray | float
    ) -> np.ndarray:
        """At which of ``cost.levels`` frames ran.

        Arguments
        ---------
        logits : np.ndarray
            Of a lane ``[n, K]``.
        biases : np.ndarray or float
            That it was given ``[n]``.

        Returns
        -------
        np.ndarray
            Indices ``[n]``.
        """
        return chosen_levels(logits, self.cost.levels, biases)

    def gates(self, levels: np.ndarray) -> np.ndarray:
        """The gates of frames that ran at these levels.

        Arguments
        ---------
        levels : np.ndarray
            Indices ``[n]``.

        Returns
        -------
        np.ndarray
            Booleans ``[n, K]``.
        """
        if self.cost.one_hot:
            return levels[:, None] == np.arange(len(self.cost.levels))
        return levels[:, None] > 0

    def macs_per_second(self, activation: float) -> float:
        """MACs per second of audio at a mean activation."""
        return self.cost.at_activation(activation) * self.frame_rate


class Usage:
    """How many frames ran at each level.

    Arguments
    ---------
    levels : sequence of float
        Their activations.

    Example
    -------
    >>> usage = Usage((0.25, 0.5, 1.0))
    >>> usage.add(np.array([0, 2, 1, 1]))
    >>> usage.frames, usage.opened, usage.activation
    (4, 2.25, 0.5625)
    """

    def __init__(self, levels: Sequence[float]) -> None:
        self._levels = np.asarray(levels, np.float64)
        self.counts = np.zeros(len(levels), np.int64)

    def add(self, levels: np.ndarray) -> None:
        """Adds frames.

        Arguments
        ---------
        levels : np.ndarray
            Index of the level of each.
        """
        self.counts += np.bincount(levels, minlength=len(self.counts))

    @property
    def frames(self) -> int:
        """All frames so far."""
        return int(self.counts.sum())

    @property
    def opened(self) -> float:
        """Sum of their activations; of a gate, how many were open."""
        return float(self.counts @ self._levels)

    @property
    def activation(self) -> float:
        """Mean activation of all frames so far."""
        return self.opened / self.frames if self.frames else 0.0


class TorchSession:
    """A model in eager PyTorch, where onnxruntime is not to be had.

    Arguments
    ---------
    model : LoadedModel
        What to run.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import ModelConfig
    >>> config = ModelConfig("tiny", "dynamic_ftfnet")
    >>> session = TorchSession(LoadedModel(config.build(), config))
    >>> lane = session.make_lane()
    >>> out, logits = lane.advance(np.zeros(512, np.float32), np.zeros(2))
    >>> out.shape, logits.shape
    ((512,), (2, 1))
    """

    backend = "torch"

    def __init__(self, model: LoadedModel) -> None:
        self.enhancer = model.enhancer
        self.info = StreamInfo.of(model)

    def make_lane(self) -> TorchLane:
        """The state of one stream, at its start."""
        return TorchLane(self)


class TorchLane:
    """One stream through a :class:`TorchSession`.

    Arguments
    ---------
    session : TorchSession
        Whose.
    """

    def __init__(self, session: TorchSession) -> None:
        self._enhancer = session.enhancer
        self._hop, self._dynamic = session.info.hop, session.info.dynamic
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._context = self._enhancer.make_streaming_context(1)

    @torch.inference_mode()
    def advance(
        self, samples: np.ndarray, biases: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whole hops.

        Arguments
        ---------
        samples : np.ndarray
            float32 ``[n * hop]``.
        biases : np.ndarray
            The compute knob of each hop ``[n]``.

        Returns
        -------
        tuple of np.ndarray
            Enhanced samples ``[n * hop]``, late by the delay, and logits
            ``[n, K]`` (1 throughout where nothing is decided).
        """
        wav = torch.from_numpy(samples)[None]
        if not self._dynamic:
            out, _ = self._enhancer.forward_streaming(wav, self._context)
            return out[0].numpy(), np.ones((len(biases), 1), np.float32)
        bias = torch.from_numpy(np.asarray(biases, np.float32))[None]
        out, decision = self._enhancer.forward_streaming(
            wav, self._context, bias=bias
        )
        return out[0].numpy(), decision.logits[0].numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the state, by name."""
        leaves = _leaves(self._context, "")
        return {name: x.numpy().copy() for name, x, _ in leaves}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Goes on from a state that `arrays` gave.

        Arguments
        ---------
        arrays : dict
            By name.

        Raises
        ------
        InputError
            If it is the state of another model.
        """
        check_arrays(arrays, self.arrays())
        for name, x, put in _leaves(self._context, ""):
            put(torch.from_numpy(arrays[name].copy()).to(x.dtype))


def check_arrays(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> None:
    """Refuses a state that is not of the expected names and shapes.

    Arguments
    ---------
    found : dict
        What was given.
    expected : dict
        What it has to look like.

    Raises
    ------
    InputError
        Naming the first difference.
    """
    for name in sorted(found.keys() | expected.keys()):
        one = np.shape(found[name]) if name in found else "nothing"
        other = np.shape(expected[name]) if name in expected else "nothing"
        if one != other:
            raise InputError(
                f"state {name!r}: found {one}, expected {other}; a state goes "
                "with the model and the backend that it was saved from"
            )


def _leaves(context: Any, prefix: str) -> Iterator[tuple[str, Tensor, Any]]:
    """Tensors of nested dataclasses: name, value, and how to replace it."""
    for field in fields(context):
        value, name = getattr(context, field.name), prefix + field.name
        if is_dataclass(value):
            yield from _leaves(value, f"{name}.")
        elif isinstance(value, tuple):  # of layers
            for number, part in enumerate(value):
                yield from _leaves(part, f"{name}.{number}.")
        elif value is not None:

            def put(x: Tensor, name: str = field.name) -> None:
                setattr(context, name, x)

            yield name, value, put
