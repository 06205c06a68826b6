"""Polyphase resampling between any two integer rates, whole or in a stream.

The filter is a Kaiser-windowed sinc [1] that passes 90 % of the lower Nyquist
band and is 90 dB down from that Nyquist frequency on, so nothing folds back.
It is symmetric, and its delay is taken out: sample ``m`` of the output lies at
the time of sample ``m * source / target`` of the input. A stream pays for
that with a look-ahead of half the filter (3.6 ms at 16 kHz).

[1] A. V. Oppenheim, R. W. Schafer, Discrete-Time Signal Processing, 3rd ed.,
    sections 4.6 (polyphase) and 7.5.3 (Kaiser window design).

Authors
 * The speechbrain_dsn developers 2026
"""

import math

import numpy as np

from speechbrain_dsn.errors import InputError

__all__ = ["Resampler", "resample"]

STOP_BAND_DB = 90.0
ROLL_OFF = 0.9  # pass band edge over the lower Nyquist frequency
BLOCK = 1024  # output samples per product: the gathered taps stay in cache
FEW_PHASES, TILE = 8, 32  # rates of small ratio go by tiles of outputs
MAX_TAPS = 1 << 24  # of all phases; 48001 to 16000 Hz has 6 million


class Resampler:
    """Streaming rational resampler with explicit state.

    Chunks may have any length, none included; what comes out, put together,
    equals `resample` of what went in, put together. The state is the last
    samples that a coming output still needs (bounded by the filter length)
    and two counters. Channels are resampled each on its own. The filter is
    finite, so NaN in one chunk is gone half a filter and a tile later.

    Arguments
    ---------
    source_rate : int
        Rate of the input in Hz.
    target_rate : int
        Rate of the output in Hz. If it equals ``source_rate``, samples pass
        unchanged and without delay.

    Raises
    ------
    InputError
        If a rate is no positive integer, or the two are so far from a simple
        ratio that their filter would not fit in memory.

    Example
    -------
    >>> resampler = Resampler(48000, 16000)
    >>> chunk = np.zeros((480, 2), dtype=np.float32)
    >>> parts = [resampler.process(chunk) for _ in range(3)]
    >>> parts.append(resampler.flush())
    >>> [len(part) for part in parts]
    [103, 160, 160, 57]
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        for name, rate in (("source", source_rate), ("target", target_rate)):
            if not isinstance(rate, int | np.integer) or rate < 1:
                raise InputError(
                    f"{name} rate {rate!r}: expected a positive integer in Hz"
                )
        common = math.gcd(source_rate, target_rate)
        self.source_rate = int(source_rate)
        self.target_rate = int(target_rate)
        self._up = int(target_rate // common)
        self._down = int(source_rate // common)
        self._filters = _polyphase_filters(self._up, self._down)
        self._half = self._filters.shape[1] // 2
        self._tile = None
        if self._up <= FEW_PHASES:
            self._tile = _tile_matrix(self._filters, self._up, self._down)
        self.reset()

    @property
    def look_ahead(self) -> int:
        """Input samples after its own time that an output sample needs."""
        return self._half

    def reset(self) -> None:
        """Forget the stream: the next chunk starts a new one."""
        self._consumed = 0  # input samples seen
        self._produced = 0  # output samples given
        self._tail: np.ndarray | None = None  # [C, n], ends at `_consumed`
        self._shape: tuple[int, ...] = ()  # () or (C,), as the chunks

    def process(self, chunk: np.ndarray) -> np.ndarray:
        """Take the next samples, give what can be computed by now.

        Arguments
        ---------
        chunk : np.ndarray
            Samples ``[T]`` or ``[T, C]``; T may be 0.

        Returns
        -------
        np.ndarray
            float32 ``[T']`` or ``[T', C]``, as the input.

        Raises
        ------
        InputError
            If the number of channels changes within a stream.
        """
        chunk = np.asarray(chunk, dtype=np.float32)
        if chunk.ndim not in (1, 2) or chunk.shape[1:] == (0,):
            raise InputError(
                f"chunk of shape {chunk.shape}: expected [T] or [T, C], C > 0"
            )
        samples = chunk.T if chunk.ndim == 2 else chunk[None]
        if self._tail is None:
            # Before the first sample lies silence, half a filter of it.
            self._tail = np.zeros((len(samples), self._half), np.float32)
            self._shape = chunk.shape[1:]
        elif chunk.shape[1:] != self._shape:
            raise InputError(
                f"chunk of shape {chunk.shape} in a stream of "
                f"{len(self._tail)} channel(s): expected the same layout"
            )
        if self.source_rate == self.target_rate:
            return chunk
        return self._advance(samples)

    def flush(self) -> np.ndarray:
        """End the stream: give the rest and reset.

        Returns
        -------
        np.ndarray
            The last samples. All of a stream's output together has
            ``ceil(T * target_rate / source_rate)`` samples.
        """
        if self._tail is None:
            return np.zeros(0, np.float32)
        silence = np.zeros((len(self._tail), self._half), np.float32)
        rest = self._advance(silence)
        self.reset()
        return rest

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the state by name, fit for ``numpy.savez``."""
        started = self._tail is not None
        tail = self._tail.copy() if started else np.zeros((1, 0), np.float32)
        numbers = [started, len(self._shape), self._consumed, self._produced]
        return {"numbers": np.array(numbers), "tail": tail}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from a state.

        Arguments
        ---------
        arrays : dict
            What `arrays` of a resampler between the same rates gave.
        """
        started, axes, self._consumed, self._produced = (
            int(number) for number in arrays["numbers"]
        )
        tail = arrays["tail"].copy()
        self._shape = (len(tail),) * axes
        self._tail = tail if started else None

    def _advance(self, samples: np.ndarray) -> np.ndarray:
        """Append ``samples [C, n]`` and compute every output they complete.

        Output m stands at input time ``m * down / up``, which is ``base`` plus
        ``phase / up``; it needs the samples ``base - half .. base + half``.
        """
        first = self._consumed - self._tail.shape[1]  # index of buffer[:, 0]
        buffer = np.concatenate((self._tail, samples), axis=1)
        self._consumed += samples.shape[1]
        ready = max(0, self._consumed - self._half)
        end = -(-ready * self._up // self._down)
        if end == self._produced:
            output = np.empty((0, len(buffer)), np.float32)
        elif self._tile is None:
            output = self._gathered(buffer, first, end)
        else:
            output = self._tiled(buffer, first, end)
        self._produced = end
        # A tile begins where an output falls on an input sample.
        oldest = end // self._up * self._down - self._half
        self._tail = buffer[:, oldest - first :].copy()
        return output.reshape(-1, *self._shape)

    def _gathered(self, buffer: np.ndarray, first: int, end: int) -> np.ndarray:
        """Each output from a copy of the samples that it needs."""
        output = np.empty((end - self._produced, len(buffer)), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(
            buffer, self._filters.shape[1], axis=1
        )
        for start in range(self._produced, end, BLOCK):
            index = np.arange(start, min(start + BLOCK, end))
            base, phase = np.divmod(index * self._down, self._up)
            output[index - self._produced] = np.einsum(
                "cnt,nt->nc",
                windows[:, base - self._half - first],
                self._filters[phase],
            )
        return output

    def _tiled(self, buffer: np.ndarray, first: int, end: int) -> np.ndarray:
        """Neighbouring outputs in one matrix product: of the samples that
        they need most are the same."""
        width, size = self._tile.shape
        turn = self._produced // self._up
        count = -(-(end - turn * self._up) // size)
        start = turn * self._down - self._half - first
        step = size // self._up * self._down
        missing = start + (count - 1) * step + width - buffer.shape[1]
        silence = np.zeros((len(buffer), max(0, missing)), np.float32)
        buffer = np.concatenate((buffer, silence), axis=1)
        channel, sample = buffer.strides
        tiles = np.ndarray(
            (len(buffer), count, width),
            np.float32,
            buffer,
            start * sample,
            (channel, step * sample, sample),
        )
        output = (tiles @ self._tile).reshape(len(buffer), -1)
        skip = self._produced - turn * self._up
        return output[:, skip : skip + end - self._produced].T


def resample(
    samples: np.ndarray, source_rate: int, target_rate: int
) -> np.ndarray:
    """Resample a whole signal; the offline form of `Resampler`.

    Arguments
    ---------
    samples : np.ndarray
        Signal ``[T]`` or ``[T, C]``.
    source_rate : int
        Its rate in Hz.
    target_rate : int
        The wanted rate in Hz.

    Returns
    -------
    np.ndarray
        float32 ``[T']`` or ``[T', C]``, ``T' = ceil(T * target / source)``.

    Example
    -------
    >>> resample(np.ones(441), 44100, 16000).shape
    (160,)
    """
    resampler = Resampler(source_rate, target_rate)
    return np.concatenate((resampler.process(samples), resampler.flush()))


def _polyphase_filters(up: int, down: int) -> np.ndarray:
    """One row of taps per output phase: ``[up, 2 * half + 1]``, float32."""
    if up == down:
        return np.ones((1, 1), np.float32)
    lower = min(1.0, up / down)  # lower Nyquist over the input's Nyquist
    cutoff = 0.5 * lower * (1 + ROLL_OFF) / 2  # cycles per input sample
    transition = 0.5 * lower * (1 - ROLL_OFF)
    half_width = (STOP_BAND_DB - 7.95) / (2.285 * 4 * np.pi * transition)
    beta = 0.1102 * (STOP_BAND_DB - 8.7)
    half = math.ceil(half_width)
    if up * (2 * half + 1) > MAX_TAPS:
        raise InputError(
            f"resampling by {up}/{down} takes {up} filters of {2 * half + 1} "
            f"taps, expected at most {MAX_TAPS} in all: use a usual rate, "
            "such as 48000 Hz"
        )
    offset = np.arange(up)[:, None] / up - np.arange(-half, half + 1)
    window = np.sqrt(np.maximum(0.0, 1 - (offset / half_width) ** 2))
    filters = np.sinc(2 * cutoff * offset) * np.i0(beta * window)
    # Where |offset| exceeds the width, i0(0) = 1 is left: cut it.
    filters[np.abs(offset) > half_width] = 0.0
    # Every phase passes DC exactly, so silence with an offset has no ripple.
    filters /= filters.sum(axis=1, keepdims=True)
    return filters.astype(np.float32)


def _tile_matrix(filters: np.ndarray, up: int, down: int) -> np.ndarray:
    """From the input samples around a tile to its outputs ``[inputs,
    outputs]``; the first output lies on the input sample ``half``."""
    size = up * -(-TILE // up)
    base, phase = np.divmod(np.arange(size) * down, up)
    taps = filters.shape[1]
    matrix = np.zeros((base[-1] + taps, size), np.float32)
    for output in range(size):
        begin = base[output]
        matrix[begin : begin + taps, output] = filters[phase[output]]
    return matrix
