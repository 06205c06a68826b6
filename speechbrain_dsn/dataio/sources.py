"""Where clips of speech and noise come from: files drawn at random, joined
or looped to the length wanted, resampled and equalized.

Authors
 * The speechbrain_dsn developers 2026
"""

import os
from collections.abc import Collection, Sequence

import numpy as np
from scipy import fft

from speechbrain_dsn.dataio.fixed import loop, rms
from speechbrain_dsn.dataio.store import AudioStore
from speechbrain_dsn.errors import InputError

Source = str | os.PathLike | tuple[str | os.PathLike, str]

FULL_SCALE = np.float32(32768)
ATTEMPTS = 8


def labelled(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """Sorted (path, group) pairs; the folder where no group is given.

    Example
    -------
    >>> labelled(["b/2.wav", ("a/1.wav", "anna")])
    [('a/1.wav', 'anna'), ('b/2.wav', 'b')]
    """
    pairs = []
    for source in sources:
        path, group = source if isinstance(source, tuple) else (source, None)
        path = os.fspath(path)
        pairs.append((path, group or os.path.dirname(path)))
    return sorted(pairs)


class Pool:
    """Files of one kind, drawn by group, then by length within the group.

    Arguments
    ---------
    sources : sequence of (path, group)
        The files; those that the store lacks are left out.
    store : AudioStore
        Knows how long they are.
    kind : str
        What they are, for the message when none is left.
    power : float
        A group is drawn in proportion to its total length to this power.

    Raises
    ------
    InputError
        None of the files is in the store.
    """

    def __init__(
        self,
        sources: Sequence[tuple[str, str]],
        store: AudioStore,
        kind: str,
        power: float,
    ) -> None:
        groups: dict[str, list[str]] = {}
        for path, group in sources:
            if path in store:
                groups.setdefault(group, []).append(path)
        if not groups:
            raise InputError(
                f"{kind}: expected at least one readable audio file, "
                f"found none among {len(sources)}"
            )
        self._group_of = {p: g for g, paths in groups.items() for p in paths}
        self._groups = groups
        self._names = list(groups)
        seconds = {g: [store.seconds(p) for p in groups[g]] for g in groups}
        self._within = {g: _cumulative(seconds[g]) for g in groups}
        self._among = _cumulative([sum(seconds[g]) ** power for g in groups])
        self._seconds = seconds

    def lengths(self) -> list[list[float]]:
        """Seconds of the files of every group, in the order of the draw."""
        return list(self._seconds.values())

    def __len__(self) -> int:
        """Groups."""
        return len(self._groups)

    def group_of(self, path: str) -> str:
        """The group that a file belongs to."""
        return self._group_of[path]

    def draw(
        self, rng: np.random.Generator, other_than: str | None = None
    ) -> str:
        """A file of any group, or of any other than the one named."""
        name = self._names[_pick(rng, self._among)]
        while name == other_than:
            name = self._names[_pick(rng, self._among)]
        return self._draw_of(rng, name)

    def draw_same(self, rng: np.random.Generator, path: str) -> str:
        """A file of the group that this file belongs to."""
        return self._draw_of(rng, self._group_of[path])

    def _draw_of(self, rng: np.random.Generator, group: str) -> str:
        return self._groups[group][_pick(rng, self._within[group])]


def _cumulative(weights: Sequence[float]) -> np.ndarray:
    return np.cumsum(weights) / np.sum(weights)


def _pick(rng: np.random.Generator, cumulative: np.ndarray) -> int:
    place = np.searchsorted(cumulative, rng.random(), side="right")
    return int(min(place, len(cumulative) - 1))


def reshape(
    rng: np.random.Generator,
    samples: np.ndarray,
    length: int,
    sample_rate: int,
    equalizer_db: float,
) -> np.ndarray:
    """Resamples a buffer to a length and equalizes it by a random low and a
    random high shelf, both in one pass through the spectrum.

    Arguments
    ---------
    rng : np.random.Generator
        Draws gains and corner frequencies of the shelves.
    samples : np.ndarray
        `[any length]`, float32; its 2 ms at either end are faded in place.
    length : int
        Samples wanted: the resampling factor is the ratio of the lengths.
    sample_rate : int
        In Hz.
    equalizer_db : float
        Largest gain of a shelf, up or down.

    Returns
    -------
    np.ndarray
        `[length]`, float32.
    """
    fade = np.linspace(0, 1, sample_rate // 500, dtype=np.float32)
    samples[: len(fade)] *= fade
    samples[-len(fade) :] *= fade[::-1]
    spectrum = fft.rfft(samples)[: length // 2 + 1]
    top = sample_rate / 2 * (len(spectrum) - 1) / (length // 2)
    bins = np.linspace(0, top, len(spectrum), dtype=np.float32)
    low_gain, high_gain = rng.uniform(-1, 1, size=2) * equalizer_db
    low = np.square(bins / np.float32(rng.uniform(150, 600)))
    high = np.square(bins / np.float32(rng.uniform(1500, 5000)))
    gain_db = low_gain / (1 + low) + high_gain * high / (1 + high)
    spectrum *= np.exp(np.float32(np.log(10) / 20) * gain_db)
    return fft.irfft(spectrum, length) * np.float32(length / len(samples))


class SpeechSource:
    """Clips of one speaker: utterances joined by pauses.

    Arguments
    ---------
    sources : sequence of path or (path, speaker)
        Drawn in proportion to their length; the speaker is the folder where
        it is not given.
    store : AudioStore
        Holds the samples.
    length : int
        Samples in a clip.
    speeds : sequence of float
        Resampling factors (they change pitch too), one for a clip.
    gap_probability : float
        Chance that a pause is long: 0.5 to 1.5 s, not 0.02 to 0.4 s.
    equalizer_db : float
        See `reshape`.
    lead_probability : float
        Share of clips that begin with a pause.
    many_voices : collection of str
        Groups whose files may be of anybody: none is joined with another.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        store: AudioStore,
        length: int,
        speeds: Sequence[float],
        gap_probability: float,
        equalizer_db: float,
        lead_probability: float = 0.5,
        many_voices: Collection[str] = (),
    ) -> None:
        self.pool = Pool(labelled(sources), store, "speech", power=1.0)
        self.store = store
        self.length = length
        self.speeds = tuple(speeds)
        self.gap_probability = gap_probability
        self.equalizer_db = equalizer_db
        self.lead_probability = lead_probability
        self.many_voices = frozenset(many_voices)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One clip, `[length]` in float32.

        Raises
        ------
        InputError
            All attempts met silence.
        """
        return self.draw_voice(rng, self.length)[0]

    def draw_voice(
        self,
        rng: np.random.Generator,
        length: int,
        other_than: str | None = None,
    ) -> tuple[np.ndarray, str]:
        """A stretch of one speaker, and who it is.

        Arguments
        ---------
        rng : np.random.Generator
            Draws everything.
        length : int
            Samples in the stretch.
        other_than : str, optional
            Who it must not be; there has to be somebody else.

        Returns
        -------
        samples : np.ndarray
            `[length]`, float32.
        group : str
            The speaker.

        Raises
        ------
        InputError
            All attempts met silence.
        """
        speed = rng.choice(self.speeds)
        needed = fft.next_fast_len(round(length * speed), real=True)
        rate = self.store.sample_rate
        for _ in range(ATTEMPTS):
            path = self.pool.draw(rng, other_than)
            dry = self._join_utterances(rng, path, needed)
            if np.abs(dry).max() > 1e-3:
                dry = reshape(rng, dry, length, rate, self.equalizer_db)
                return dry, self.pool.group_of(path)
        raise InputError(
            f"speech: expected sound, found silence in {ATTEMPTS} random clips"
        )

    def _join_utterances(
        self, rng: np.random.Generator, path: str, length: int
    ) -> np.ndarray:
        """A buffer at the rate of the file, filled to the end."""
        dry = np.zeros(length, np.float32)
        alone = self.pool.group_of(path) in self.many_voices
        lead = rng.random() < self.lead_probability
        start = self._pause(rng) if lead else 0
        while start < length:
            samples = self.store[path]
            spare = len(samples) - (length - start)
            begin = rng.integers(0, spare + 1) if spare > 0 else 0
            piece = samples[begin : begin + length - start]
            dry[start : start + len(piece)] = piece
            start += len(piece) + self._pause(rng)
            path = path if alone else self.pool.draw_same(rng, path)
        return dry / FULL_SCALE

    def _pause(self, rng: np.random.Generator) -> int:
        """Samples between two utterances: few, at times many."""
        long = rng.random() < self.gap_probability
        seconds = rng.uniform(*((0.5, 1.5) if long else (0.02, 0.4)))
        return int(seconds * self.store.sample_rate)


class NoiseSource:
    """Clips of noise at RMS 1, one or two noises in each.

    Arguments
    ---------
    sources : sequence of path or (path, class)
        A class (the folder where it is not given) is drawn in proportion to
        the square root of its length: long recordings do not crowd out
        short ones.
    store : AudioStore
        Holds the samples.
    length : int
        Samples in a clip.
    speeds : tuple of float
        Range of the resampling factor, drawn evenly on a log scale.
    second_probability : float
        Chance of a second noise, 0 to 12 dB below the first.
    motion_probability : float
        Chance that the level wanders by up to 20 dB, or that it pauses.
    equalizer_db : float
        See `reshape`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        store: AudioStore,
        length: int,
        speeds: tuple[float, float],
        second_probability: float,
        motion_probability: float,
        equalizer_db: float,
    ) -> None:
        self.pool = Pool(labelled(sources), store, "noise", power=0.5)
        self.store = store
        self.length = length
        self.speeds = speeds
        self.second_probability = second_probability
        self.motion_probability = motion_probability
        self.equalizer_db = equalizer_db

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One clip, `[length]` in float32.

        Raises
        ------
        InputError
            All attempts met silence.
        """
        noise = self._draw_one(rng)
        if rng.random() < self.second_probability:
            gain = np.float32(10 ** (-rng.uniform(0, 12) / 20))
            noise += gain * self._draw_one(rng)
        if rng.random() < self.motion_probability:
            noise *= self._motion(rng)
        return noise / np.float32(max(rms(noise), 1e-8))

    def _draw_one(self, rng: np.random.Generator) -> np.ndarray:
        """A stretch of one noise at RMS 1, looped where it is shorter."""
        low, high = np.log(self.speeds)
        speed = np.exp(rng.uniform(low, high))
        length = fft.next_fast_len(round(self.length * speed), real=True)
        rate = self.store.sample_rate
        for _ in range(ATTEMPTS):
            samples = self.store[self.pool.draw(rng)]
            begin = rng.integers(0, max(1, len(samples) - length + 1))
            if len(samples) < length:
                begin = rng.integers(0, len(samples))
            noise = loop(samples, begin, length).astype(np.float32)
            noise /= FULL_SCALE
            if rms(noise) > 1e-4:
                noise = reshape(
                    rng, noise, self.length, rate, self.equalizer_db
                )
                return noise / np.float32(rms(noise))
        raise InputError(
            f"noise: expected sound, found silence in {ATTEMPTS} random clips"
        )

    def _motion(self, rng: np.random.Generator) -> np.ndarray:
        """A gain over the clip: `[length]`."""
        time = np.arange(self.length, dtype=np.float32) / self.length
        if rng.random() < 0.5:
            knots = np.sort(rng.random(rng.integers(2, 6)))
            gain_db = rng.uniform(-15, 5, size=len(knots))
        else:
            on, off = np.sort(rng.random(2))
            knots = np.array([on, on + 0.005, off, off + 0.005])
            gain_db = rng.uniform(-60, -10) * np.array([0, 1, 1, 0])
            gain_db = gain_db if rng.random() < 0.5 else gain_db[[1, 0, 0, 1]]
        gain = 10 ** (np.interp(time, knots, gain_db) / 20)
        return gain.astype(np.float32)
