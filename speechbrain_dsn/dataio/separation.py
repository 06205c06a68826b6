"""Separation corpora in their published layouts, as lists of SpeechBrain's.

The CSV files have the names and columns that SpeechBrain's recipes write and
read (``ID, duration, mix_wav, mix_wav_format, mix_wav_opts, s1_wav, ...``), so
either side trains on what the other prepared. Nothing is downloaded, and no
word of a path decides anything: the folders inside do.

Authors
 * The speechbrain_dsn developers 2026
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from speechbrain_dsn.dataio.reader import probe
from speechbrain_dsn.dataio.store import read_mono
from speechbrain_dsn.dataio.tables import (
    fingerprint,
    is_done,
    mark_done,
    read_csv,
    write_csv,
)
from speechbrain_dsn.errors import InputError

__all__ = [
    "SPLITS",
    "MixtureFiles",
    "prepare_librimix",
    "prepare_wham",
    "prepare_wsj0mix",
    "read_mixtures",
]

SPLITS = ("train", "valid", "test")
FILE_COLUMNS = ("{}_wav", "{}_wav_format", "{}_wav_opts")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MixtureFiles:
    """A mixture and its sources, in files.

    Arguments
    ---------
    name : str
        Its ``ID``.
    mixture : Path
        What is to be separated.
    sources : tuple of Path
        One per speaker.
    noise : Path, optional
        What else is in the mixture.
    """

    name: str
    mixture: Path
    sources: tuple[Path, ...]
    noise: Path | None = None

    def load(self, sample_rate: int = 8000) -> tuple[np.ndarray, np.ndarray]:
        """Reads all; what is longer than the shortest file is cut.

        Arguments
        ---------
        sample_rate : int
            The rate wanted, in Hz.

        Returns
        -------
        mixture : np.ndarray
            `[T]`, float32.
        sources : np.ndarray
            `[T, S]`, float32.

        Raises
        ------
        InputError
            A file cannot be read.
        """
        wavs = [
            read_mono(path, sample_rate)
            for path in (self.mixture, *self.sources)
        ]
        length = min(map(len, wavs))
        mixture, *sources = (wav[:length] for wav in wavs)
        return mixture, np.stack(sources, axis=1)


def read_mixtures(path: os.PathLike) -> list[MixtureFiles]:
    """Reads a list, ours or SpeechBrain's.

    Arguments
    ---------
    path : path
        CSV with ``ID``, ``mix_wav``, ``s1_wav``, ``s2_wav`` and perhaps
        ``s3_wav`` and ``noise_wav``.

    Returns
    -------
    list of MixtureFiles
        In its order.

    Raises
    ------
    InputError
        The list cannot be read, lacks a column, or has no row.
    """
    rows = read_csv(path, ("ID", "mix_wav", "s1_wav", "s2_wav"))
    if not rows:
        raise InputError(f"{path}: expected mixtures, found no row")
    names = [name for name in ("s1_wav", "s2_wav", "s3_wav") if name in rows[0]]
    return [
        MixtureFiles(
            row["ID"],
            Path(row["mix_wav"]),
            tuple(Path(row[name]) for name in names),
            Path(row["noise_wav"]) if row.get("noise_wav") else None,
        )
        for row in rows
    ]


def prepare_wsj0mix(
    data_folder: os.PathLike,
    save_folder: os.PathLike,
    num_spks: int = 2,
    sample_rate: int = 8000,
    version: str = "min",
) -> dict[str, Path]:
    """Lists of WSJ0-2mix or WSJ0-3mix (Hershey et al., arXiv 1508.04306), or
    of mixtures of one's own.

    Arguments
    ---------
    data_folder : path
        Holds ``wav8k/min/{tr,cv,tt}/{mix,s1,s2}``; or, of one's own,
        ``{train,valid,test}/{mixture,source1,source2}``.
    save_folder : path
        Where ``wsj_tr.csv`` (``custom_train.csv``) and so on are written.
    num_spks : int
        2 or 3.
    sample_rate : int
        8000 or 16000 Hz, which folder is read.
    version : str
        ``min`` or ``max``: how long mixtures are.

    Returns
    -------
    dict of str to Path
        The list of each of `SPLITS`.

    Raises
    ------
    InputError
        A folder is missing or holds no mixture with all of its sources.
    """
    root = _existing(data_folder)
    if (root / "train/mixture").is_dir():
        folders = {
            "mix": "mixture",
            **{f"s{n}": f"source{n}" for n in range(1, num_spks + 1)},
        }
        splits = {split: split for split in SPLITS}
        return _prepare(root, splits, folders, save_folder, "custom")
    folders = {"mix": "mix", **_sources(num_spks)}
    splits = dict(zip(SPLITS, ("tr", "cv", "tt"), strict=True))
    root = root / _rate_folder(sample_rate) / version
    return _prepare(root, splits, folders, save_folder, "wsj")


def prepare_wham(
    data_folder: os.PathLike,
    save_folder: os.PathLike,
    num_spks: int = 2,
    sample_rate: int = 8000,
    version: str = "min",
    reverb: bool = False,
) -> dict[str, Path]:
    """Lists of WHAM! (arXiv 1907.01160) or WHAMR! (arXiv 1910.10279).

    Targets of WHAMR! are without reverberation in every split: the task is to
    remove it, too. (SpeechBrain's lists name reverberant ones for valid and
    test.)

    Arguments
    ---------
    data_folder : path
        Holds ``wav8k/min/{tr,cv,tt}/{mix_both,s1,s2,noise}``; with
        ``reverb`` ``{mix_both_reverb,s1_anechoic,s2_anechoic,noise}``.
    save_folder : path
        Where ``whamorg_tr.csv`` (``whamr_tr.csv``) and so on are written.
    num_spks : int
        2.
    sample_rate : int
        8000 or 16000 Hz, which folder is read.
    version : str
        ``min`` or ``max``: how long mixtures are.
    reverb : bool
        WHAMR! instead of WHAM!.

    Returns
    -------
    dict of str to Path
        The list of each of `SPLITS`.

    Raises
    ------
    InputError
        A folder is missing or holds no mixture with all of its sources.
    """
    if num_spks != 2:
        raise InputError(f"num_spks: WHAM! has 2 speakers, got {num_spks}")
    kind = "_anechoic" if reverb else ""
    folders = {
        "mix": "mix_both_reverb" if reverb else "mix_both",
        **{name: name + kind for name in ("s1", "s2")},
        "noise": "noise",
    }
    splits = dict(zip(SPLITS, ("tr", "cv", "tt"), strict=True))
    root = _existing(data_folder) / _rate_folder(sample_rate) / version
    prefix = "whamr" if reverb else "whamorg"
    return _prepare(root, splits, folders, save_folder, prefix)


def prepare_librimix(
    data_folder: os.PathLike,
    save_folder: os.PathLike,
    num_spks: int = 2,
    sample_rate: int = 8000,
    version: str = "min",
    noise: bool = False,
    train_set: str = "train-360",
) -> dict[str, Path]:
    """Lists of Libri2Mix or Libri3Mix (arXiv 2005.11262).

    Arguments
    ---------
    data_folder : path
        Holds ``wav8k/min/{train-360,dev,test}/{mix_clean,s1,s2}``; with
        ``noise`` ``{mix_both,s1,s2,noise}``.
    save_folder : path
        Where ``libri2mix_train-360.csv`` and so on are written.
    num_spks : int
        2 or 3.
    sample_rate : int
        8000 or 16000 Hz, which folder is read.
    version : str
        ``min`` or ``max``: how long mixtures are.
    noise : bool
        The noisy mixtures instead of the clean ones.
    train_set : str
        ``train-360`` or ``train-100``.

    Returns
    -------
    dict of str to Path
        The list of each of `SPLITS`.

    Raises
    ------
    InputError
        A folder is missing or holds no mixture with all of its sources.
    """
    folders = {"mix": "mix_both" if noise else "mix_clean"}
    folders |= _sources(num_spks)
    if noise:
        folders["noise"] = "noise"
    splits = dict(zip(SPLITS, (train_set, "dev", "test"), strict=True))
    root = _existing(data_folder) / _rate_folder(sample_rate) / version
    return _prepare(root, splits, folders, save_folder, f"libri{num_spks}mix")


def _existing(folder: os.PathLike) -> Path:
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise InputError(f"data_folder: expected a folder, found no {folder}")
    return folder


def _rate_folder(sample_rate: int) -> str:
    if sample_rate not in (8000, 16000):
        raise InputError(
            f"sample_rate: expected 8000 or 16000, got {sample_rate}"
        )
    return f"wav{sample_rate // 1000}k"


def _sources(num_spks: int) -> dict[str, str]:
    if num_spks not in (2, 3):
        raise InputError(f"num_spks: expected 2 or 3, got {num_spks}")
    return {name: name for name in ("s1", "s2", "s3")[:num_spks]}


def _prepare(
    root: Path,
    splits: Mapping[str, str],
    folders: Mapping[str, str],
    save_folder: os.PathLike,
    prefix: str,
) -> dict[str, Path]:
    """Writes one list per split; a second call with the same files only
    names them."""
    out = Path(save_folder)
    found = {
        part: {
            role: _files(root / part / name) for role, name in folders.items()
        }
        for part in splits.values()
    }
    everything = [
        path
        for roles in found.values()
        for files in roles.values()
        for path in files.values()
    ]
    key = fingerprint(everything, [prefix, dict(folders)])
    lists = {
        split: out / f"{prefix}_{part}.csv" for split, part in splits.items()
    }
    if is_done(out, key, [path.name for path in lists.values()]):
        return lists
    bad: dict[str, str] = {}
    for split, part in splits.items():
        rows = _rows(found[part], bad, f"{prefix}_{part}")
        if not rows:
            raise InputError(
                f"{root / part}: expected mixtures with files of their name in "
                f"{', '.join(folders.values())}, found none"
            )
        write_csv(lists[split], _columns(list(folders)), rows)
    for line in bad.values():
        logger.warning("left out: %s", line)
    mark_done(out, key, bad)
    return lists


def _files(folder: Path) -> dict[str, Path]:
    """Files by name."""
    if not folder.is_dir():
        raise InputError(f"expected a folder {folder}, found none")
    return {path.name: path for path in sorted(folder.glob("*.wav"))}


def _columns(roles: Sequence[str]) -> list[str]:
    """SpeechBrain's."""
    named = [form.format(role) for role in roles for form in FILE_COLUMNS]
    return ["ID", "duration", *named]


def _rows(
    roles: Mapping[str, Mapping[str, Path]], bad: dict[str, str], title: str
) -> list[dict]:
    """One per mixture that has all of its sources and can be read."""
    rows = []
    for name, mixture in tqdm(roles["mix"].items(), title):
        missing = [role for role, files in roles.items() if name not in files]
        if missing:
            bad[str(mixture)] = f"{mixture}: no {', '.join(missing)}"
            continue
        try:
            seconds = probe(mixture).seconds
        except InputError as error:
            bad[str(mixture)] = str(error)
            continue
        row = {"ID": mixture.stem, "duration": round(seconds, 3)}
        for role, files in roles.items():
            wav, form, options = (form.format(role) for form in FILE_COLUMNS)
            row |= {wav: str(files[name]), form: "wav", options: ""}
        rows.append(row)
    return rows
