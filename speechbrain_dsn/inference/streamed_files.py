"""Files through a live stream: what a microphone would have got.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from speechbrain_dsn.cost import Decision, MacMeter
from speechbrain_dsn.dataio.audio import probe
from speechbrain_dsn.inference.files import FileReport, write_enhanced
from speechbrain_dsn.inference.info import StreamInfo
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.session import TorchSession
from speechbrain_dsn.inference.streaming import Stream, make_controller

__all__ = ["RecordedSession", "StreamedSignal", "stream_to_file"]


class RecordedSession:
    """A session that keeps the gates of its lanes.

    Arguments
    ---------
    session : OnnxSession or TorchSession
        What it runs on.
    """

    def __init__(self, session: OnnxSession | TorchSession) -> None:
        self.info, self._session = session.info, session
        self.lanes: list[_RecordedLane] = []

    def make_lane(self) -> _RecordedLane:
        """The state of one stream, at its start."""
        self.lanes.append(_RecordedLane(self._session.make_lane(), self.info))
        return self.lanes[-1]


class _RecordedLane:
    """The gates outlive a reset: a stream that ends resets itself."""

    def __init__(self, lane: Any, info: StreamInfo) -> None:
        self._lane, self._info = lane, info
        self.gates: list[np.ndarray] = []

    def advance(
        self, samples: np.ndarray, biases: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whole hops; notes which were open."""
        out, logits = self._lane.advance(samples, biases)
        self.gates.append(self._info.gates(logits, biases))
        return out, logits

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._lane.reset()


class StreamedSignal:
    """One live stream per channel, fed hop by hop.

    Arguments
    ---------
    session : OnnxSession or TorchSession
        What it runs on.
    sample_rate : int
        Of the signal, in Hz.
    channels : int
        Of the signal.
    budget : float, optional
        Wanted mean activation in 0..1; the model's default without it.
    hold : bool
        Whether to hold that mean over any 10 s.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
    >>> config = ModelConfig("tiny", "dynamic_ftfnet")
    >>> session = TorchSession(LoadedModel(config.build(), config))
    >>> signal = StreamedSignal(session, 8000, 2)
    >>> parts = [signal.push(np.zeros((1000, 2), np.float32))]
    >>> np.concatenate([*parts, signal.flush()]).shape
    (1000, 2)
    """

    def __init__(
        self,
        session: OnnxSession | TorchSession,
        sample_rate: int,
        channels: int,
        budget: float | None = None,
        hold: bool = False,
    ) -> None:
        info = session.info
        self._recorder, self._rate = RecordedSession(session), sample_rate
        self._hop = max(1, info.hop * sample_rate // info.sample_rate)
        self._streams = [
            Stream(self._recorder, controller=make_controller(info, budget))
            if hold
            else Stream(self._recorder, info.bias(budget))
            for _ in range(channels)
        ]

    def push(self, block: np.ndarray) -> np.ndarray:
        """Takes the next samples, gives what is final by now.

        Arguments
        ---------
        block : np.ndarray
            ``[n, C]``, float32.

        Returns
        -------
        np.ndarray
            ``[m, C]``, float32.
        """
        parts = [np.zeros((0, len(self._streams)), np.float32)]
        for begin in range(0, len(block), self._hop):
            hop = block[begin : begin + self._hop].T
            outputs = [
                stream.run(samples, self._rate)
                for stream, samples in zip(self._streams, hop, strict=True)
            ]
            parts.append(np.stack(outputs, 1))
        return np.concatenate(parts)

    def flush(self) -> np.ndarray:
        """Gives the rest.

        Returns
        -------
        np.ndarray
            ``[m, C]``, float32.
        """
        return np.stack([stream.flush() for stream in self._streams], 1)

    def decision(self) -> Decision:
        """Gates so far, one item per channel; open for a static model."""
        gates = [np.concatenate(lane.gates) for lane in self._recorder.lanes]
        values = torch.from_numpy(np.stack(gates)).float()
        return Decision(values, self._recorder.info.frame_rate)

    def meter(self) -> MacMeter:
        """MACs as executed so far, over all channels."""
        meter = MacMeter(self._recorder.info.cost)
        meter.update(self.decision())
        return meter


def stream_to_file(
    session: OnnxSession | TorchSession,
    path: str | os.PathLike,
    output: str | os.PathLike,
    budget: float | None = None,
    hold: bool = False,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda seconds: None,
) -> FileReport:
    """`speechbrain_dsn.inference.files.enhance_to_file`, but streaming.

    Arguments
    ---------
    session : OnnxSession or TorchSession
        What `speechbrain_dsn.inference.streaming.open_session` gives.
    path : str or path
        Any file that soundfile reads.
    output : str or path
        In a folder that is there.
    budget : float, optional
        Wanted mean activation in 0..1; the model's default without it.
    hold : bool
        Whether to hold that mean over any 10 s.
    overwrite : bool
        Whether an existing output may be replaced.
    progress : callable
        Told the seconds that each block advanced by.

    Returns
    -------
    FileReport
        What it took.

    Raises
    ------
    InputError
        If input, output or budget are not what is expected.
    """
    info = probe(path)
    signal = StreamedSignal(
        session, info.sample_rate, info.channels, budget, hold
    )
    return write_enhanced(info, signal, output, overwrite, progress)
