"""Enhancement of a signal while it arrives.

`StreamingEnhancement` has the outer interface of sherpa-onnx's
``OnlineSpeechDenoiser`` (``run``, ``flush``, ``reset``), and beside it contexts
and chunks in the manner of SpeechBrain's streaming ASR.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechbrain_dsn.dataio.audio import iter_blocks, probe
from speechbrain_dsn.dataio.resample import Resampler
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating.budget import BudgetController
from speechbrain_dsn.inference.onnx_session import OnnxSession, onnx_available
from speechbrain_dsn.inference.session import StreamInfo, TorchSession
from speechbrain_dsn.pretrained import load_model

__all__ = [
    "Stream",
    "StreamingContext",
    "StreamingEnhancement",
    "check_chunk",
    "make_controller",
    "open_session",
]

BACKENDS = ("auto", "onnx", "torch")
# Audio lies in -1..1. What is far beyond is a mistake, and could overflow in
# the network and stay in its state.
LOUDEST = 1000.0


class Stream:
    """One signal through a session, in chunks of any length.

    Arguments
    ---------
    session : OnnxSession or TorchSession
        What it runs on.
    bias : float
        Added to the logits.
    controller : BudgetController, optional
        Chooses the bias of every frame instead.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
    >>> config = ModelConfig("tiny", "dynamic_ftfnet")
    >>> session = TorchSession(LoadedModel(config.build(), config))
    >>> stream = Stream(session)
    >>> parts = [stream.run(np.zeros(300, np.float32)) for _ in range(4)]
    >>> [len(part) for part in [*parts, stream.flush()]]
    [0, 256, 256, 256, 432]
    """

    def __init__(
        self,
        session: OnnxSession | TorchSession,
        bias: float = 0.0,
        controller: BudgetController | None = None,
    ) -> None:
        self.info = session.info
        self._lane = session.make_lane()
        self._bias, self._controller = bias, controller
        self.reset()

    def reset(self) -> None:
        """Forget the signal; what has not come out yet is lost."""
        self._rest = np.zeros(0, np.float32)  # less than a hop
        self.restart()
        self._rate = 0
        self._before = self._after = _Resampler(1, 1)
        # Samples in and out at the signal's rate, and at the model's.
        self._taken = self._given = self._heard = self._said = 0
        self._ahead = self.info.delay  # output that precedes the signal
        self.frames = self.opened = 0

    def restart(self) -> None:
        """Forget the signal but not the time: what has not come out yet comes
        out as silence, and a new signal may go on where this one stopped.
        Signals at another rate than the model's cannot."""
        self._lane.reset()
        if self._controller is not None:
            self._controller.reset()
        self._rest = np.zeros_like(self._rest)

    @property
    def activation(self) -> float:
        """Share of open frames since the start; 1 for a static model."""
        return self.opened / self.frames if self.frames else 0.0

    @property
    def macs_per_second(self) -> float:
        """MACs per second of audio since the start."""
        return self.info.macs_per_second(self.activation)

    @property
    def latency_ms(self) -> float:
        """From a sample's arrival to its way out, computing not included:
        one STFT window, and what resampling looks ahead."""
        info = self.info
        seconds = (info.delay + info.hop) / info.sample_rate
        if self._rate not in (0, info.sample_rate):
            seconds += self._before.look_ahead / self._rate
            seconds += self._after.look_ahead / info.sample_rate
        return 1000 * seconds

    def run(self, samples: np.ndarray, rate: int | None = None) -> np.ndarray:
        """Takes the next samples, gives what is final by now.

        All that comes out, with `flush`, is as long as all that went in, and
        in time with it.

        Arguments
        ---------
        samples : np.ndarray
            ``[n]``, floats around -1..1, or int16, which is scaled; n may be
            0.
        rate : int, optional
            Their rate in Hz, the model's by default; the same for the whole
            signal.

        Returns
        -------
        np.ndarray
            float32 ``[m]``, at the same rate.

        Raises
        ------
        InputError
            If the chunk is not audio. Nothing has changed then: the stream
            goes on with the next chunk.
        """
        samples = check_chunk(samples)
        rate = self.info.sample_rate if rate is None else rate
        if self._rate and rate != self._rate:
            raise InputError(
                f"a chunk at {rate} Hz in a signal at {self._rate} Hz: "
                "expected one rate between resets"
            )
        if not self._rate:
            if not len(samples):
                return samples
            before = _Resampler(rate, self.info.sample_rate)
            self._after = _Resampler(self.info.sample_rate, rate)
            self._before, self._rate = before, rate
        self._taken += len(samples)
        wav = self._push(self._before.process(samples))
        return self._cut(self._after.process(wav))

    def flush(self) -> np.ndarray:
        """Gives what is left, and resets.

        Returns
        -------
        np.ndarray
            float32 ``[m]``, at the signal's rate.
        """
        wav = self._push(self._before.flush())
        silence = np.zeros(self.info.delay + self.info.hop - 1, np.float32)
        missing = self._heard - self._said
        wav = np.concatenate([wav, self._push(silence)[:missing]])
        out = [self._after.process(wav), self._after.flush()]
        out = self._cut(np.concatenate(out))
        self.reset()
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """All of the state by name, fit for ``numpy.savez``."""
        numbers = [getattr(self, name) for name in _COUNTERS]
        parts = {"lane": self._lane.arrays()}
        if self._controller is not None:
            parts["controller"] = self._controller.arrays()
        if self._rate:
            parts["before"] = self._before.arrays()
            parts["after"] = self._after.arrays()
        named = {
            f"{part}.{name}": array
            for part, arrays in parts.items()
            for name, array in arrays.items()
        }
        return named | {"numbers": np.array(numbers), "rest": self._rest.copy()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Goes on where a stream was when it gave `arrays`.

        Arguments
        ---------
        arrays : dict
            By name.

        Raises
        ------
        InputError
            If they are those of another model, backend or kind of budget.
        """
        parts: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            part, _, inner = name.partition(".")
            parts.setdefault(part, {})[inner] = array
        held = self._controller is not None
        expected = {"lane", "numbers", "rest"} | (
            {"controller"} if held else set()
        )
        if not expected <= parts.keys() <= expected | {"before", "after"}:
            raise InputError(
                f"state with {', '.join(sorted(parts)) or 'nothing'}: "
                f"expected {', '.join(sorted(expected))}"
            )
        self._lane.load(parts["lane"])
        if held:
            self._controller.load(parts["controller"])
        numbers = parts["numbers"][""].tolist()
        for name, value in zip(_COUNTERS, numbers, strict=True):
            setattr(self, name, value)
        self._rest = parts["rest"][""].copy()
        if self._rate:
            model = self.info.sample_rate
            self._before = _Resampler(self._rate, model)
            self._after = _Resampler(model, self._rate)
            self._before.load(parts["before"])
            self._after.load(parts["after"])

    def _push(self, wav: np.ndarray) -> np.ndarray:
        """Samples at the model's rate, in and out, without the delay."""
        hop = self.info.hop
        self._heard += len(wav)
        wav = np.concatenate([self._rest, wav])
        count = len(wav) // hop
        self._rest = wav[count * hop :]
        out = self._advance(wav[: count * hop], count)
        early = min(self._ahead, len(out))
        self._ahead -= early
        self._said += len(out) - early
        return out[early:]

    def _advance(self, wav: np.ndarray, count: int) -> np.ndarray:
        """Whole hops."""
        if not count:
            return wav
        controller, hop = self._controller, self.info.hop
        self.frames += count
        if controller is None:
            biases = np.full(count, self._bias, np.float32)
            out, logits = self._lane.advance(wav, biases)
            self.opened += int((logits + biases > 0).sum())
            return out
        parts = []
        for frame in wav.reshape(count, hop):
            bias = np.full(1, controller.bias, np.float32)
            out, logits = self._lane.advance(frame, bias)
            controller.update(float(logits[0]))
            self.opened += int(logits[0] + bias[0] > 0)
            parts.append(out)
        return np.concatenate(parts)

    def _cut(self, out: np.ndarray) -> np.ndarray:
        """Resampling there and back may end a sample or two late."""
        out = out[: self._taken - self._given]
        self._given += len(out)
        return out


_COUNTERS = (
    "_rate",
    "_taken",
    "_given",
    "_heard",
    "_said",
    "_ahead",
    "frames",
    "opened",
)


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


def open_session(
    source: str | os.PathLike, backend: str = "auto", threads: int = 1
) -> OnnxSession | TorchSession:
    """Loads a model for streaming.

    Arguments
    ---------
    source : str or path
        A name, a model folder, or an ONNX file.
    backend : str
        ``"auto"``, ``"onnx"`` or ``"torch"``.
    threads : int
        Of onnxruntime.

    Returns
    -------
    OnnxSession or TorchSession
        Ready to run.

    Raises
    ------
    InputError
        If there is no such model or backend.
    """
    if backend not in BACKENDS:
        raise InputError(
            f"backend {backend!r}: expected one of {', '.join(BACKENDS)}"
        )
    if Path(source).suffix == ".onnx":
        if backend == "torch":
            raise InputError(
                f"{source} cannot run on torch: expected a model folder"
            )
        return OnnxSession.from_file(source, threads)
    model = load_model(source)
    if backend == "torch":
        return TorchSession(model)
    if backend == "auto" and not onnx_available():
        warnings.warn(
            "onnx or onnxruntime is missing: streaming on PyTorch, ten times "
            "slower; pip install 'speechbrain-dsn[onnx]'",
            stacklevel=2,
        )
        return TorchSession(model)
    return OnnxSession.from_model(model, threads=threads)


def make_controller(
    info: StreamInfo, budget: float | None = None
) -> BudgetController:
    """What holds a budget for a stream of a model.

    Arguments
    ---------
    info : StreamInfo
        Of the model; a calibration helps, but is not needed.
    budget : float, optional
        Mean activation; the model's default without it.

    Returns
    -------
    BudgetController
        MACs per second over any 10 s within 5 % of those at the budget.

    Raises
    ------
    InputError
        If the model does not decide, or there is no budget.
    """
    if not info.dynamic:
        raise InputError(
            f"model {info.name} is static, all of it always runs: expected a "
            "dynamic model where a budget is to be held"
        )
    budget = info.default_budget if budget is None else budget
    if budget is None:
        raise InputError(
            f"model {info.name} has no default budget: expected one to hold"
        )
    bias = 0.0 if info.calibration is None else info.bias(budget)
    return BudgetController.for_cost(budget, info.frame_rate, info.cost, bias)


def check_chunk(samples: np.ndarray, where: str = "") -> np.ndarray:
    """Refuses what is not a chunk of audio.

    Arguments
    ---------
    samples : np.ndarray
        ``[n]``.
    where : str
        Begins the message.

    Returns
    -------
    np.ndarray
        float32 ``[n]``.

    Raises
    ------
    InputError
        Saying what was found.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise InputError(
            f"{where}chunk of shape {samples.shape}: expected one axis of "
            "samples"
        )
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / 32768
    if samples.dtype.kind != "f" and len(samples):
        raise InputError(
            f"{where}chunk of {samples.dtype}: expected floats or int16"
        )
    samples = samples.astype(np.float32)
    good = np.abs(samples) <= LOUDEST  # false for NaN
    if not good.all():
        place = int(np.argmin(good))
        raise InputError(
            f"{where}sample {place} of the chunk is {samples[place]}: expected "
            "finite samples around -1..1"
        )
    return samples


class _Resampler(Resampler):
    """A resampler that can be saved and restored, and costs nothing where
    the rates are equal."""

    def process(self, chunk: np.ndarray) -> np.ndarray:
        """As `Resampler.process`."""
        if self.source_rate == self.target_rate:
            return chunk
        return super().process(chunk)

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the state, by name."""
        tail = np.zeros((1, 0)) if self._tail is None else self._tail
        started = self._tail is not None
        numbers = np.array([started, self._consumed, self._produced])
        return {"numbers": numbers, "tail": tail.copy()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Goes on from a state that `arrays` gave."""
        started, self._consumed, self._produced = arrays["numbers"].tolist()
        self._tail = arrays["tail"].copy() if started else None
