"""Fixed lists of two-speaker mixtures that are the same for everybody.

Authors
 * The speechbrain_dsn developers 2026
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_dsn.dataio.fixed import ListKind, in_turn, loop, rms
from speechbrain_dsn.dataio.store import read_mono
from speechbrain_dsn.dataio.tables import read_csv
from speechbrain_dsn.errors import InputError

__all__ = [
    "SEPARATION",
    "SpeakerMixture",
    "draw_speaker_list",
    "load_speaker_list",
]

OVERLAPS = (100, 50, 25)  # percent, the tests of arXiv 2507.06179
COLUMNS = (
    "id",
    "s1",
    "s2",
    "overlap_percent",
    "s2_gain_db",
    "noise",
    "noise_offset",
    "noise_snr_db",
)


@dataclass(frozen=True)
class SpeakerMixture:
    """One row of a list of two-speaker mixtures.

    Arguments
    ---------
    name : str
        The row's `id`.
    s1, s2 : Path
        The speakers.
    overlap : float
        Share of the shorter utterance that both speak in, in 0..1: `s2`
        begins that long before `s1` ends.
    s2_gain_db : float
        RMS of `s2` over that of `s1`, each over its utterance.
    noise : Path, optional
        For the noisy condition.
    noise_offset : float
        Where in the noise the mixture starts, in seconds.
    noise_snr_db : float
        RMS of the louder speaker over that of the noise.
    """

    name: str
    s1: Path
    s2: Path
    overlap: float
    s2_gain_db: float
    noise: Path | None = None
    noise_offset: float = 0.0
    noise_snr_db: float = 0.0

    def render(
        self, sample_rate: int = 8000, noisy: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mixes; `s1` keeps the level of its file.

        Arguments
        ---------
        sample_rate : int
            In Hz; files of another rate are resampled.
        noisy : bool
            Whether the noise is there; one that is shorter is looped.

        Returns
        -------
        mixture : np.ndarray
            `[T]`, float32.
        sources : np.ndarray
            `[T, 2]`, float32, at the gains they have in the mixture.

        Raises
        ------
        InputError
            A file cannot be read, or is silent where it is used, or there is
            no noise where it is asked for.
        """
        voices = [self._read(path, sample_rate) for path in (self.s1, self.s2)]
        levels = [rms(voice) for voice in voices]
        gain = 10 ** (self.s2_gain_db / 20)
        voices[1] *= gain * levels[0] / levels[1]
        both = round(self.overlap * min(map(len, voices)))
        delay = len(voices[0]) - both
        sources = np.zeros((max(len(voices[0]), delay + len(voices[1])), 2))
        sources[: len(voices[0]), 0] = voices[0]
        sources[delay : delay + len(voices[1]), 1] = voices[1]
        mixture = sources.sum(1)
        if noisy:
            noise = self._noise(len(mixture), sample_rate)
            louder = levels[0] * max(1.0, gain)
            noise *= louder / rms(noise) * 10 ** (-self.noise_snr_db / 20)
            mixture = mixture + noise
        return mixture.astype(np.float32), sources.astype(np.float32)

    def _read(self, path: Path, sample_rate: int) -> np.ndarray:
        samples = read_mono(path, sample_rate).astype(np.float64)
        if rms(samples) == 0:
            raise InputError(f"{path}: expected sound, found silence")
        return samples

    def _noise(self, length: int, sample_rate: int) -> np.ndarray:
        if self.noise is None:
            raise InputError(f"{self.name}: expected a noise, its row has none")
        noise = self._read(self.noise, sample_rate)
        begin = round(self.noise_offset * sample_rate) % len(noise)
        noise = loop(noise, begin, length)
        if rms(noise) == 0:
            raise InputError(
                f"{self.noise}: expected sound from {self.noise_offset:g} s "
                "on, found silence"
            )
        return noise.copy()


def load_speaker_list(
    path: os.PathLike, data_folder: os.PathLike
) -> list[SpeakerMixture]:
    """Reads a list of two-speaker mixtures, such as `separate_test.csv`.

    Arguments
    ---------
    path : path
        CSV with the columns `id, s1, s2, overlap_percent, s2_gain_db, noise,
        noise_offset, noise_snr_db`; the last three may be empty.
    data_folder : path
        What the paths in the list are relative to.

    Returns
    -------
    list of SpeakerMixture
        In the order of the file.

    Raises
    ------
    InputError
        The list is missing, has no row, lacks a column, holds something
        that is no number where one belongs, or names a file that is missing.
    """
    rows = read_csv(path, COLUMNS)
    if not rows:
        raise InputError(f"{path}: expected fixed mixtures, found no row")
    folder = Path(data_folder)
    return [
        _mixture(row, folder, f"{path}, line {line}")
        for line, row in enumerate(rows, start=2)
    ]


def _mixture(row: dict, folder: Path, place: str) -> SpeakerMixture:
    """One row, checked."""
    try:
        overlap, gain = (
            float(row[column]) for column in ("overlap_percent", "s2_gain_db")
        )
        noise = [float(row[column] or 0) for column in COLUMNS[-2:]]
    except (TypeError, ValueError):
        raise InputError(
            f"{place}: expected numbers in overlap_percent, s2_gain_db, "
            f"{', '.join(COLUMNS[-2:])}"
        ) from None
    if not 0 <= overlap <= 100:
        raise InputError(
            f"{place}: overlap_percent: expected 0 to 100, found {overlap:g}"
        )
    names = [row[column] for column in ("s1", "s2", "noise")]
    files = [folder / name if name else None for name in names]
    for column, file in zip(("s1", "s2", "noise"), files, strict=True):
        if file is None and column != "noise":
            raise InputError(f"{place}: expected a file in {column}")
        if file is not None and not file.is_file():
            raise InputError(f"{place}: no file {file}")
    s1, s2, disturber = files
    return SpeakerMixture(
        row["id"], s1, s2, overlap / 100, gain, disturber, *noise
    )


def draw_speaker_list(
    speech: Sequence[dict],
    noise: Sequence[dict],
    prefix: str,
    count: int,
    seed: int = 0,
    max_seconds: float = 20.0,
) -> list[dict]:
    """Draws the rows of a list: two speakers in turn, each in random order;
    overlaps of 100, 50 and 25 % in turn.

    Arguments
    ---------
    speech, noise : sequence of dict
        Rows with `path`, `speaker_or_class` and `seconds`; the noise may be
        empty.
    prefix : str
        Of the names of the mixtures (also varies the draw).
    count : int
        How many to draw.
    seed : int
        Fixes the list.
    max_seconds : float
        Longer speech is left out.

    Returns
    -------
    list of dict
        By the columns of a list.

    Raises
    ------
    InputError
        There are no two speakers with shorter speech.

    Example
    -------
    >>> speech = [
    ...     dict(path=name, speaker_or_class=name, seconds=3.0) for name in "ab"
    ... ]
    >>> rows = draw_speaker_list(speech, [], "valid", 2)
    >>> [row["overlap_percent"] for row in rows]
    [100, 50]
    >>> all({row["s1"], row["s2"]} == {"a", "b"} for row in rows)
    True
    """
    rng = np.random.default_rng((seed, *prefix.encode()))
    short = [row for row in speech if float(row["seconds"]) <= max_seconds]
    if len({row["speaker_or_class"] for row in short}) < 2:
        raise InputError(
            f"{prefix}: expected two speakers with speech of {max_seconds:g} "
            f"s or less, found fewer in {len(speech)} files"
        )
    voices = in_turn(rng, short)
    noises = in_turn(rng, noise) if noise else None
    mixtures = []
    for number in range(count):
        one = other = next(voices)
        while other["speaker_or_class"] == one["speaker_or_class"]:
            other = next(voices)
        values = [
            f"{prefix}_{number:03d}",
            one["path"],
            other["path"],
            OVERLAPS[number % len(OVERLAPS)],
            round(float(rng.uniform(-5, 5)), 1),
            *_noise_of(rng, next(noises) if noises else None, one, other),
        ]
        mixtures.append(dict(zip(COLUMNS, values, strict=True)))
    return mixtures


def _noise_of(
    rng: np.random.Generator, noise: dict | None, one: dict, other: dict
) -> list[object]:
    """Which noise, from when on, and how loud."""
    if noise is None:
        return ["", "", ""]
    longest = float(one["seconds"]) + float(other["seconds"])
    spare = max(0.0, float(noise["seconds"]) - longest)
    offset = round(float(rng.uniform(0, spare)), 3)
    return [noise["path"], offset, round(float(rng.uniform(-3, 12)), 1)]


SEPARATION = ListKind(
    "separate",
    COLUMNS,
    {"speech": ("s1", "s2"), "noise": ("noise",)},
    load_speaker_list,
    draw_speaker_list,
    speakers=2,
)
