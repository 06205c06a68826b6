"""Fixed lists: noisy/clean pairs that are the same for everybody.

Valid and test sets are CSV files that say which speech meets which noise,
where, and at which level; the audio is mixed when it is needed.

Authors
 * The speechbrain_dsn developers 2026
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechbrain_dsn.dataio.store import read_mono
from speechbrain_dsn.dataio.tables import read_csv
from speechbrain_dsn.errors import InputError

SNRS_DB = (-5, 0, 5, 10, 15, 20)
COLUMNS = ("id", "speech", "noise", "noise_offset", "snr_db", "level_dbfs")


class ListKind(NamedTuple):
    """What the lists of a task look like.

    Arguments
    ---------
    task : str
        Begins the names of lists that lie beside a manifest.
    columns : tuple of str
        Of a list.
    named : mapping of str to tuple of str
        Kind of audio -> columns with files of it.
    load : callable
        List and folder to mixtures, as `load_fixed_list`.
    draw : callable
        Rows of a new list, as `draw_fixed_list`.
    speakers : int
        In a mixture.
    """

    task: str
    columns: tuple[str, ...]
    named: Mapping[str, tuple[str, ...]]
    load: Callable[[os.PathLike, os.PathLike], list[Any]]
    draw: Callable[..., list[dict]]
    speakers: int = 1


def rms(samples: np.ndarray) -> float:
    """Root mean square of a signal."""
    return float(np.sqrt(np.mean(np.square(samples), dtype=np.float64)))


def loop(samples: np.ndarray, begin: int, length: int) -> np.ndarray:
    """`length` samples from `begin` on, starting over at the end.

    Example
    -------
    >>> loop(np.arange(3), 2, 5).tolist()
    [2, 0, 1, 2, 0]
    """
    if begin + length <= len(samples):
        return samples[begin : begin + length]
    return samples.take(np.arange(begin, begin + length), mode="wrap")


@dataclass(frozen=True)
class FixedMixture:
    """One row of a fixed list: what to mix, and how.

    Arguments
    ---------
    name : str
        The row's `id`.
    speech, noise : Path
        The files.
    noise_offset : float
        Where in the noise the mixture starts, in seconds.
    snr_db : float
        Power of the speech over that of the noise, whole utterance.
    level_dbfs : float
        RMS of the mixture, in dB re full scale.
    """

    name: str
    speech: Path
    noise: Path
    noise_offset: float
    snr_db: float
    level_dbfs: float

    def render(self, sample_rate: int = 16000) -> tuple[np.ndarray, np.ndarray]:
        """Mixes; a noise shorter than the speech is looped.

        Arguments
        ---------
        sample_rate : int
            In Hz; files of another rate are resampled.

        Returns
        -------
        noisy : np.ndarray
            `[T]`, float32.
        clean : np.ndarray
            `[T]`, float32, at the gain it has in the mixture.

        Raises
        ------
        InputError
            A file cannot be read, or is silent where it is used.
        """
        clean = read_mono(self.speech, sample_rate).astype(np.float64)
        noise = read_mono(self.noise, sample_rate)
        begin = round(self.noise_offset * sample_rate) % len(noise)
        noise = loop(noise, begin, len(clean)).astype(np.float64)
        for path, samples in ((self.speech, clean), (self.noise, noise)):
            if rms(samples) == 0:
                raise InputError(f"{path}: expected sound, found silence")
        noise *= rms(clean) / rms(noise) * 10 ** (-self.snr_db / 20)
        noisy = clean + noise
        gain = 10 ** (self.level_dbfs / 20) / rms(noisy)
        return (
            (gain * noisy).astype(np.float32),
            (gain * clean).astype(np.float32),
        )


def load_fixed_list(
    path: os.PathLike, data_folder: os.PathLike
) -> list[FixedMixture]:
    """Reads a list of fixed mixtures.

    Arguments
    ---------
    path : path
        CSV with the columns `id, speech, noise, noise_offset, snr_db,
        level_dbfs`.
    data_folder : path
        What the paths in the list are relative to.

    Returns
    -------
    list of FixedMixture
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
    mixtures = []
    for line, row in enumerate(rows, start=2):
        try:
            numbers = [float(row[column]) for column in COLUMNS[3:]]
        except (TypeError, ValueError):
            raise InputError(
                f"{path}, line {line}: expected numbers in "
                f"{', '.join(COLUMNS[3:])}"
            ) from None
        files = [folder / row["speech"], folder / row["noise"]]
        for file in files:
            if not file.is_file():
                raise InputError(f"{path}, line {line}: no file {file}")
        mixtures.append(FixedMixture(row["id"], *files, *numbers))
    return mixtures


def draw_fixed_list(
    speech: Sequence[dict],
    noise: Sequence[dict],
    prefix: str,
    count: int,
    seed: int = 0,
    max_seconds: float = 20.0,
) -> list[dict]:
    """Draws the rows of a list: speakers and kinds of noise in turn, each in
    random order, SNRs from -5 to 20 dB in turn.

    Arguments
    ---------
    speech, noise : sequence of dict
        Rows with `path`, `speaker_or_class` and `seconds`.
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
        All speech is longer.

    Example
    -------
    >>> speech = [dict(path="s", speaker_or_class="x", seconds=3.0)]
    >>> noise = [dict(path="n", speaker_or_class="y", seconds=2.0)]
    >>> list(draw_fixed_list(speech, noise, "valid", 1)[0].values())[:5]
    ['valid_000', 's', 'n', 0.0, -5]
    """
    rng = np.random.default_rng((seed, *prefix.encode()))
    short = [row for row in speech if float(row["seconds"]) <= max_seconds]
    if not short:
        raise InputError(
            f"{prefix}: expected speech of {max_seconds:g} s or less, "
            f"found none in {len(speech)} files"
        )
    voices, noises = in_turn(rng, short), in_turn(rng, noise)
    mixtures = []
    for number in range(count):
        voice, disturber = next(voices), next(noises)
        spare = float(disturber["seconds"]) - float(voice["seconds"])
        values = (
            f"{prefix}_{number:03d}",
            voice["path"],
            disturber["path"],
            round(float(rng.uniform(0, max(0.0, spare))), 3),
            SNRS_DB[number % len(SNRS_DB)],
            round(float(rng.uniform(-32, -18)), 1),
        )
        mixtures.append(dict(zip(COLUMNS, values, strict=True)))
    return mixtures


def in_turn(rng: np.random.Generator, rows: Sequence[dict]) -> Iterator[dict]:
    """Endless rows: group after group in random order, a random file each;
    no file twice before the others of its group have been used."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["speaker_or_class"], []).append(row)
    waiting: dict[str, list[dict]] = {name: [] for name in groups}
    while True:
        for name in rng.permutation(sorted(groups)):
            if not waiting[name]:
                order = rng.permutation(len(groups[name]))
                waiting[name] = [groups[name][place] for place in order]
            yield waiting[name].pop()


ENHANCEMENT = ListKind(
    "enhance",
    COLUMNS,
    {"speech": ("speech",), "noise": ("noise",)},
    load_fixed_list,
    draw_fixed_list,
)
