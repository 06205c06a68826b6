"""Fixed lists: noisy/clean pairs that are the same for everybody.

Valid and test sets are CSV files that say which speech meets which noise,
where, and at which level; the audio is mixed when it is needed.

Authors
 * The speechbrain_dsn developers 2026
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_dsn.dataio.store import read_mono
from speechbrain_dsn.errors import InputError

COLUMNS = ("id", "speech", "noise", "noise_offset", "snr_db", "level_dbfs")


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
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(
            f"{path}: no readable list ({error.strerror})"
        ) from None
    if not rows:
        raise InputError(f"{path}: expected fixed mixtures, found no row")
    absent = [column for column in COLUMNS if column not in rows[0]]
    if absent:
        raise InputError(f"{path}: lacks column {', '.join(absent)}")
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
