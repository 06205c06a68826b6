"""Enhancement of a signal while it arrives.

`StreamingEnhancement` has the outer interface of sherpa-onnx's
``OnlineSpeechDenoiser`` (``run``, ``flush``, ``reset``), and beside it contexts
and chunks in the manner of SpeechBrain's streaming ASR.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speechbrain_dsn.dataio.audio import iter_blocks, probe
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.backends import make_controller, open_session
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.session import TorchSession
from speechbrain_dsn.inference.stream import Stream, check_chunk

__all__ = [
    "Stream",
    "StreamingContext",
    "StreamingEnhancement",
    "check_chunk",
    "make_controller",
    "open_session",
]


@dataclass
class StreamingContext:
    """State of a batch of streams.

    Arguments
    ---------
    streams : list of Stream
        One per item.
    """

    streams: list[Stream]

    def reset(self, item: int | None = None) -> None:
        """Starts anew.

        Arguments
        ---------
        item : int, optional
            The one whose signal has ended and is followed by another one, in
            time with the others; all of them by default.
        """
        if item is not None:
            self.streams[item].restart()
            return
        for stream in self.streams:
            stream.reset()


class StreamingEnhancement:
    """A model, and a stream through it.

    Arguments
    ---------
    session : OnnxSession or TorchSession
        What it runs on.
    budget : float, optional
        Wanted mean activation in 0..1; the model's default without it.
    hold : bool
        Whether to hold that mean over any 10 s of every signal, instead of
        using the bias that gave it on the calibration set.

    Raises
    ------
    InputError
        If the model cannot do it.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
    >>> config = ModelConfig("tiny", "dynamic_ftfnet")
    >>> model = LoadedModel(config.build(), config)
    >>> enhancement = StreamingEnhancement(TorchSession(model))
    >>> enhancement.sample_rate, enhancement.frame_shift_in_samples
    (16000, 256)
    >>> enhancement.latency_ms
    32.0
    >>> noisy = np.zeros(1000, np.float32)
    >>> out = [enhancement.run(noisy, 16000), enhancement.flush()]
    >>> len(np.concatenate(out))
    1000
    """

    def __init__(
        self,
        session: OnnxSession | TorchSession,
        budget: float | None = None,
        hold: bool = False,
    ) -> None:
        self.session, self.info = session, session.info
        self._budget, self._hold = budget, hold
        self.stream = self.make_stream()

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike,
        budget: float | None = None,
        hold: bool = False,
        backend: str = "auto",
        threads: int = 1,
    ) -> StreamingEnhancement:
        """Loads a model by name, from a model folder, or from an ONNX file.

        Arguments
        ---------
        source : str or path
            A name out of `speechbrain_dsn.pretrained.available`, a folder, or
            what ``speechbrain-dsn export`` wrote.
        budget : float, optional
            Wanted mean activation.
        hold : bool
            Whether to hold it.
        backend : str
            ``"onnx"``, ``"torch"``, or ``"auto"``: onnxruntime, and PyTorch
            with a notice where it is not installed.
        threads : int
            Of onnxruntime.

        Returns
        -------
        StreamingEnhancement
            At the start of a stream.

        Raises
        ------
        InputError
            If there is no such model or backend.
        """
        return cls(open_session(source, backend, threads), budget, hold)

    @property
    def sample_rate(self) -> int:
        """Of the model in Hz; signals may have another."""
        return self.info.sample_rate

    @property
    def frame_shift_in_samples(self) -> int:
        """Samples at the model's rate that it advances by."""
        return self.info.hop

    @property
    def latency_ms(self) -> float:
        """From a sample's arrival to its way out, computing not included."""
        return self.stream.latency_ms

    def make_stream(self) -> Stream:
        """A further, independent stream."""
        if self._hold:
            controller = make_controller(self.info, self._budget)
            return Stream(self.session, controller=controller)
        return Stream(self.session, self.info.bias(self._budget))

    def run(self, samples: np.ndarray, rate: int | None = None) -> np.ndarray:
        """`Stream.run` of the own stream."""
        return self.stream.run(samples, rate)

    def flush(self) -> np.ndarray:
        """`Stream.flush` of the own stream."""
        return self.stream.flush()

    def reset(self) -> None:
        """`Stream.reset` of the own stream."""
        self.stream.reset()

    def make_streaming_context(self, batch_size: int = 1) -> StreamingContext:
        """State for `enhance_chunk`.

        Arguments
        ---------
        batch_size : int
            Signals.

        Returns
        -------
        StreamingContext
            At the start of each signal.
        """
        return StreamingContext([self.make_stream() for _ in range(batch_size)])

    def enhance_chunk(
        self, context: StreamingContext, chunk: Tensor, last: bool = False
    ) -> Tensor:
        """Takes the next samples of a batch, gives what is final by now.

        Arguments
        ---------
        context : StreamingContext
            Updated in place.
        chunk : Tensor
            ``[B, n]`` at the model's rate, on the CPU; n may be 0.
        last : bool
            Whether the signals end here: gives all that is left, and resets
            the context.

        Returns
        -------
        Tensor
            float32 ``[B, m]``.

        Raises
        ------
        InputError
            If the chunk does not fit; nothing has changed then.
        """
        if chunk.dim() != 2 or len(chunk) != len(context.streams):
            raise InputError(
                f"chunk of shape {tuple(chunk.shape)}: expected "
                f"[{len(context.streams)}, n]"
            )
        rows = [
            check_chunk(row.numpy(), f"item {item}: ")
            for item, row in enumerate(chunk)
        ]
        parts = []
        for stream, row in zip(context.streams, rows, strict=True):
            out = [stream.run(row)]
            if last:
                out.append(stream.flush())
            parts.append(np.concatenate(out))
        return torch.from_numpy(np.stack(parts))

    def enhance_file_streaming(
        self, path: str | os.PathLike, chunk_seconds: float = 0.1
    ) -> Iterator[np.ndarray]:
        """Enhances a file piece by piece; each channel is a stream.

        Arguments
        ---------
        path : str or path
            Any audio file.
        chunk_seconds : float
            Length of a piece.

        Returns
        -------
        Iterator of np.ndarray
            float32 ``[m, C]`` at the file's rate, together as long as the
            file.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        info = probe(path)
        frames = max(1, round(chunk_seconds * info.sample_rate))
        blocks = iter_blocks(path, frames)
        streams = [self.make_stream() for _ in range(info.channels)]

        def pieces() -> Iterator[np.ndarray]:
            for block in blocks:
                channels = zip(streams, block.T, strict=True)
                parts = [s.run(x, info.sample_rate) for s, x in channels]
                yield np.stack(parts, 1)
            yield np.stack([stream.flush() for stream in streams], 1)

        return pieces()
