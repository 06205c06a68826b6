"""Many streams on one machine.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from speechbrain_dsn.dataio.reader import LOUDEST
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating.budget import BudgetController
from speechbrain_dsn.inference.backends import make_controller
from speechbrain_dsn.inference.info import Usage
from speechbrain_dsn.inference.onnx_session import OnnxSession, OnnxState
from speechbrain_dsn.pretrained import load_model

__all__ = ["MultiStreamEnhancement"]

# Streams per run of the graph. A matrix product gains little from more, and
# the state of so many still lies in the caches.
BLOCK = 16


class MultiStreamEnhancement:
    """Any number of streams that advance together, a hop per tick.

    In each tick, the frames that run at the same width run together: the case of a conferencing server, where all streams keep the
    same time. Streams join and leave between any two ticks. What comes out
    is what as many single streams give.

    Arguments
    ---------
    session : OnnxSession
        With a batch axis.
    budget : float, optional
        Wanted mean activation in 0..1; the model's default without it.
    hold : bool
        Whether to hold that mean over any 10 s of every stream.
    block : int
        Streams per run of the graph.

    Raises
    ------
    InputError
        If the session or the model cannot do it.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
    >>> config = ModelConfig("tiny", "dynamic_ftfnet")
    >>> model = LoadedModel(config.build(), config)
    >>> streams = MultiStreamEnhancement(OnnxSession.from_model(model, True))
    >>> first, second = streams.join(), streams.join()
    >>> streams.tick(np.zeros((2, 256), np.float32)).shape
    (2, 256)
    >>> streams.leave(first)
    >>> streams.streams == [second]
    True
    """

    def __init__(
        self,
        session: OnnxSession,
        budget: float | None = None,
        hold: bool = False,
        block: int = BLOCK,
    ) -> None:
        if not session.batch:
            raise InputError(
                f"model {session.info.name} is exported for one stream: "
                "expected `speechbrain-dsn export --batch`"
            )
        if block < 1:
            raise InputError(f"block {block}: expected at least one stream")
        self.session, self.info = session, session.info
        self._budget, self._hold, self._block = budget, hold, block
        self._bias = 0.0 if hold else self.info.bias(budget)
        if hold:
            make_controller(self.info, budget)  # complains now if ever
        # Stream k of all lies in row k % block of memory k // block.
        self._states: list[OnnxState] = []
        self._controllers: list[BudgetController] = []
        self._next = 0
        self.streams: list[int] = []
        self._usage = Usage(self.info.shares)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike,
        budget: float | None = None,
        hold: bool = False,
        block: int = BLOCK,
    ) -> MultiStreamEnhancement:
        """Loads a model by name, from a folder, or from an ONNX file.

        Arguments
        ---------
        source : str or path
            A name out of `speechbrain_dsn.pretrained.available`, a folder, or
            what ``speechbrain-dsn export --batch`` wrote.
        budget : float, optional
            Wanted mean activation.
        hold : bool
            Whether to hold it.
        block : int
            Streams per run of the graph.

        Returns
        -------
        MultiStreamEnhancement
            Without a stream.

        Raises
        ------
        InputError
            If there is no such model, or onnxruntime is missing.
        """
        if Path(source).suffix == ".onnx":
            session = OnnxSession.from_file(source)
        else:
            session = OnnxSession.from_model(load_model(source), batch=True)
        return cls(session, budget, hold, block)

    @property
    def activation(self) -> float:
        """Mean activation of all frames of all streams so far."""
        return self._usage.activation

    @property
    def frames(self) -> int:
        """Frames of all streams so far."""
        return self._usage.frames

    def join(self) -> int:
        """Adds a stream, from the next tick on.

        Returns
        -------
        int
            Its number; it is the last one of `streams`.
        """
        place = len(self.streams)
        if place % self._block == 0:
            self._states.append(OnnxState(self.session, self._block))
        for array in self._row(place).values():
            array.fill(0)
        if self._hold:
            controller = make_controller(self.info, self._budget)
            self._controllers.append(controller)
        self.streams.append(self._next)
        self._next += 1
        self._states[-1].use(place % self._block + 1)
        return self.streams[-1]

    def leave(self, stream: int) -> None:
        """Removes a stream; the last one of `streams` takes its place.

        Arguments
        ---------
        stream : int
            Its number.

        Raises
        ------
        InputError
            If there is none of this number.
        """
        if stream not in self.streams:
            raise InputError(f"no stream {stream}: expected one that joined")
        place, last = self.streams.index(stream), len(self.streams) - 1
        if place != last:
            source = self._row(last)
            for name, array in self._row(place).items():
                array[...] = source[name]
            self.streams[place] = self.streams[last]
            if self._hold:
                self._controllers[place] = self._controllers[last]
        del self.streams[last:], self._controllers[last:]
        if last % self._block:
            self._states[-1].use(last % self._block)
        else:
            self._states.pop()

    def tick(self, samples: np.ndarray) -> np.ndarray:
        """One hop of every stream.

        Arguments
        ---------
        samples : np.ndarray
            ``[N, hop]`` at the model's rate, in the order of `streams`;
            silence where a stream has nothing to say.

        Returns
        -------
        np.ndarray
            float32 ``[N, hop]``, late by ``info.delay`` samples.

        Raises
        ------
        InputError
            If the samples do not fit; nothing has changed then.
        """
        samples = np.asarray(samples, np.float32)
        expected = (len(self.streams), self.info.hop)
        if samples.shape != expected:
            raise InputError(
                f"samples of shape {samples.shape}: expected {expected}"
            )
        good = (np.abs(samples) <= LOUDEST).all(1)  # false for NaN
        if not good.all():
            stream = self.streams[int(np.argmin(good))]
            raise InputError(
                f"samples of stream {stream}: expected finite ones around -1..1"
            )
        out = np.empty_like(samples)
        for index, state in enumerate(self._states):
            part = slice(index * self._block, (index + 1) * self._block)
            self._step(state, samples[part], out[part], part)
        return out

    def _step(
        self,
        state: OnnxState,
        samples: np.ndarray,
        out: np.ndarray,
        part: slice,
    ) -> None:
        count, controllers = len(samples), self._controllers[part]
        state.samples[:count] = samples
        state.bias[:] = self._bias
        for row, controller in enumerate(controllers):
            state.bias[row] = controller.bias
        state.step()
        out[...] = state.enhanced[:count]
        logits = state.logit[:count]
        self._usage.add(self.info.gates(logits, state.bias[:count]))
        for row, controller in enumerate(controllers):
            controller.update(logits[row])

    def _row(self, place: int) -> dict[str, np.ndarray]:
        block, row = divmod(place, self._block)
        return self._states[block].row(row)
