"""What a stream runs on, and PyTorch as that.

A session has ``info``, a :class:`~speechbrain_dsn.inference.info.StreamInfo`,
and ``make_lane()``, the state of one stream: ``advance(samples, biases) ->
(enhanced, logits [n, K])`` over whole hops, ``arrays()`` and ``load(arrays)``
to save and restore it, ``reset()``. Besides :class:`TorchSession` there is
:class:`~speechbrain_dsn.inference.onnx_session.OnnxSession`.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.info import StreamInfo
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["TorchLane", "TorchSession", "check_arrays"]


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
