"""One signal through a session, in chunks of any length.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np

from speechbrain_dsn.dataio.reader import LOUDEST
from speechbrain_dsn.dataio.resample import Resampler
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating.budget import BudgetController
from speechbrain_dsn.inference.info import Usage
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.session import TorchSession

__all__ = ["Stream", "check_chunk"]


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
        self._before = self._after = Resampler(1, 1)
        # Samples in and out at the signal's rate, and at the model's.
        self._taken = self._given = self._heard = self._said = 0
        self._ahead = self.info.delay  # output that precedes the signal
        self._usage = Usage(self.info.shares)

    def restart(self) -> None:
        """Forget the signal but not the time: what has not come out yet comes
        out as silence, and a new signal may go on where this one stopped.
        Signals at another rate than the model's cannot."""
        self._lane.reset()
        if self._controller is not None:
            self._controller.reset()
        self._rest = np.zeros_like(self._rest)

    @property
    def frames(self) -> int:
        """Frames since the start."""
        return self._usage.frames

    @property
    def opened(self) -> float:
        """Sum of their activations; of a gate, how many were open."""
        return self._usage.opened

    @property
    def activation(self) -> float:
        """Mean activation since the start; 1 for a static model."""
        return self._usage.activation

    @property
    def macs_per_second(self) -> float:
        """MACs per second of audio since the start."""
        return self.info.macs_per_second(self.activation)

    @property
    def latency_ms(self) -> float:
        """From a sample's arrival to its way out, computing not included:
        a hop, the model's delay, and what resampling looks ahead."""
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
            before = Resampler(rate, self.info.sample_rate)
            self._after = Resampler(self.info.sample_rate, rate)
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
        return named | {
            "numbers": np.array(numbers),
            "rest": self._rest.copy(),
            "counts": self._usage.arrays(),
        }

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
        expected = {"lane", "numbers", "rest", "counts"}
        expected |= {"controller"} if held else set()
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
        self._usage.load(parts["counts"][""])
        if self._rate:
            model = self.info.sample_rate
            self._before = Resampler(self._rate, model)
            self._after = Resampler(model, self._rate)
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
        if controller is None:
            biases = np.full(count, self._bias, np.float32)
            out, logits = self._lane.advance(wav, biases)
            self._usage.add(self.info.gates(logits, biases))
            return out
        parts = []
        for frame in wav.reshape(count, hop):
            bias = np.full(1, controller.bias, np.float32)
            out, logits = self._lane.advance(frame, bias)
            controller.update(logits[0])
            self._usage.add(self.info.gates(logits, bias))
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
)


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
