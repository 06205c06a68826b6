"""The memory of streams on onnxruntime.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.session import check_arrays

if TYPE_CHECKING:
    from speechbrain_dsn.inference.onnx_session import OnnxSession

__all__ = ["OnnxLane", "OnnxState"]


class OnnxState:
    """Memory of up to ``capacity`` streams, and what a step reads and writes.

    There are two copies of each state, one to read and one to write, which
    change places; the rings of keys and values, the bulk of the state, are
    written in place.

    Arguments
    ---------
    session : OnnxSession
        Whose.
    capacity : int
        Streams; more than one needs a session with a batch axis.
    """

    def __init__(self, session: OnnxSession, capacity: int = 1) -> None:
        self._session = session
        hop = session.info.hop
        self.samples = np.zeros((capacity, hop), np.float32)
        self.bias = np.zeros((capacity, 1), np.float32)
        self.enhanced = np.zeros((capacity, hop), np.float32)
        self.logit = np.ones((capacity, session.info.logits), np.float32)
        first, second = (
            {
                name: np.zeros((shape[0] * capacity, *shape[1:]), dtype)
                for name, (shape, dtype) in session.states.items()
            }
            for _ in range(2)
        )
        second |= {name: first[name] for name in session.in_place}
        self._memory, self._turn = (first, second), 0
        self.use(capacity)

    def use(self, streams: int) -> None:
        """Steps from now on are steps of the first so many streams.

        Arguments
        ---------
        streams : int
            1 to ``capacity``.
        """
        if streams < 1:
            raise ValueError("a step needs a stream")
        pairs = {"samples": self.samples}, {"enhanced": self.enhanced}
        if self._session.info.dynamic:
            pairs[0]["bias"], pairs[1]["logit"] = self.bias, self.logit
        self._bindings = []
        for turn in range(2):
            ins = pairs[0] | self._memory[turn]
            after = self._memory[1 - turn]
            outs = pairs[1] | {f"{name}_next": after[name] for name in after}
            binding = self._session.session.io_binding()
            for bind, arrays in (
                (binding.bind_ortvalue_input, ins),
                (binding.bind_ortvalue_output, outs),
            ):
                for name, array in arrays.items():
                    rows = len(array) // len(self.samples) * streams
                    bind(name, _shared(array[:rows]))
            self._bindings.append(binding)

    def step(self) -> None:
        """Reads ``samples`` and ``bias``, writes ``enhanced`` and
        ``logit``."""
        try:
            self._session.session.run_with_iobinding(self._bindings[self._turn])
        except Exception as error:  # onnxruntime's own types are not public
            line = " ".join(str(error).split())[:300]
            raise InputError(
                f"{self._session.info.name}: the graph failed ({line}): "
                "expected one that `speechbrain-dsn export` wrote"
            ) from error
        self._turn = 1 - self._turn

    def row(self, stream: int) -> dict[str, np.ndarray]:
        """Views of the state of one stream, by name.

        Arguments
        ---------
        stream : int
            Its place.

        Returns
        -------
        dict
            What is written there is what the next step reads.
        """
        views = {}
        for name, array in self._memory[self._turn].items():
            size = len(array) // len(self.samples)
            views[name] = array[stream * size : (stream + 1) * size]
        return views


class OnnxLane:
    """One stream through an :class:`OnnxSession`.

    Arguments
    ---------
    session : OnnxSession
        Whose.
    """

    def __init__(self, session: OnnxSession) -> None:
        self._hop = session.info.hop
        self._state = OnnxState(session)

    def reset(self) -> None:
        """Back to the start of a stream."""
        for array in self._state.row(0).values():
            array.fill(0)

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
        state, hop = self._state, self._hop
        out = np.empty(len(samples), np.float32)
        logits = np.empty((len(biases), state.logit.shape[1]), np.float32)
        for frame, bias in enumerate(biases):
            part = slice(frame * hop, (frame + 1) * hop)
            state.samples[0] = samples[part]
            state.bias[0] = bias
            state.step()
            out[part] = state.enhanced[0]
            logits[frame] = state.logit[0]
        return out, logits

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the state, by name."""
        return {name: x.copy() for name, x in self._state.row(0).items()}

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
        here = self._state.row(0)
        check_arrays(arrays, here)
        for name, array in here.items():
            array[...] = arrays[name]


def _shared(array: np.ndarray) -> Any:
    """An OrtValue on the memory of an array."""
    from onnxruntime import OrtValue

    value = OrtValue.ortvalue_from_numpy(array)
    if value.data_ptr() != array.ctypes.data:
        raise InputError(
            "this onnxruntime copies arrays that are bound: expected 1.14 or "
            "later"
        )
    return value
