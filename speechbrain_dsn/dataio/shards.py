"""Shards: a few hundred clips in one tar file, as webdataset reads and writes
them, so that a corpus of any size is streamed and nothing indexes it.

    train_shards/shard-000000.tar    <key>.noisy.wav, <key>.clean.wav (16 bit),
                                     <key>.json (snr_db, ovrl)
    train_shards/shard-000000.json   what is in the shard, on average
    train_shards/meta.json           the same for all; written last

The layout is that of SpeechBrain's recipes/DNS (folders, names of shards,
``num_data_samples`` in ``meta.json``), but for two things: signals are wav
files, since a pickled tensor may execute code when it is read, and
``meta.json`` lists no clips.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import soundfile

from speechbrain_dsn.dataio.tables import write_text
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.optional import import_optional

META = "meta.json"
LOUDEST = 0.99  # of 16 bit

Raw = Mapping[str, Any]


class Clip(NamedTuple):
    """A noisy and a clean signal `[T]`, full scale at 1, the SNR in dB, and
    DNSMOS OVRL of the noisy one (NaN where they are not known)."""

    name: str
    noisy: np.ndarray
    clean: np.ndarray
    snr_db: float
    ovrl: float = math.nan


def import_webdataset() -> ModuleType:
    """Import webdataset, of the extra ``shards``.

    Raises
    ------
    InputError
        It is not installed.
    """
    hint = "shards need it, pip install 'speechbrain-dsn[shards]'"
    return import_optional("webdataset", hint)


def shard_name(number: int) -> str:
    """As SpeechBrain names them.

    Example
    -------
    >>> shard_name(12)
    'shard-000012.tar'
    """
    return f"shard-{number:06d}.tar"


def write_shard(
    path: Path,
    clips: Iterable[Clip],
    sample_rate: int,
    bad: Mapping[str, str] | None = None,
) -> None:
    """Writes a shard and what is in it; equal clips give equal bytes.

    The shard gets its name last: where it is, it is complete, and so is the
    description beside it.

    Arguments
    ---------
    path : Path
        Ends in ``.tar``. Its folder exists.
    clips : iterable of Clip
        Written as they come.
    sample_rate : int
        In Hz.
    bad : mapping of str to str, optional
        File -> reason why it could not be used. It is read at the end, and
        may grow with the clips.
    """
    part = path.with_name(path.name + ".part")
    scores = []
    with open(part, "wb") as file:
        writer = import_webdataset().TarWriter(file, encoder=False, mtime=0)
        for clip in clips:
            writer.write(_encode(clip, sample_rate))
            scores.append(clip.ovrl)
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    found = [score for score in scores if not math.isnan(score)]
    content = {
        "clips": len(scores),
        "ovrl": _told(float(np.mean(found)) if found else math.nan),
        "bad": dict(bad or {}),
    }
    write_text(path.with_suffix(".json"), json.dumps(content))
    os.replace(part, path)


def _encode(clip: Clip, sample_rate: int) -> dict[str, Any]:
    """The members of a clip; both signals are turned down alike where 16 bit
    cannot hold them."""
    peak = max(np.abs(clip.noisy).max(), np.abs(clip.clean).max())
    gain = np.float32(32768 * min(1.0, LOUDEST / max(peak, 1e-8)))
    # What follows the first dot of a member's name tells what it holds.
    members: dict[str, Any] = {"__key__": clip.name.replace(".", "_")}
    for kind, signal in (("noisy", clip.noisy), ("clean", clip.clean)):
        file = io.BytesIO()
        samples = np.round(signal * gain).astype(np.int16)
        soundfile.write(file, samples, sample_rate, "PCM_16", format="WAV")
        members[f"{kind}.wav"] = file.getvalue()
    told = {"snr_db": _told(clip.snr_db), "ovrl": _told(clip.ovrl)}
    members["json"] = json.dumps(told).encode()
    return members


def read_shard(path: Path) -> list[Raw]:
    """The clips of a shard, read in one go and not decoded.

    Arguments
    ---------
    path : Path
        A shard.

    Returns
    -------
    list of mapping
        For `decode`.

    Raises
    ------
    InputError
        It cannot be read as a whole.
    """
    # An absolute path, since webdataset takes others for addresses.
    source = [{"url": str(Path(path).absolute())}]
    try:
        return list(
            import_webdataset().tariterators.tarfile_samples(iter(source))
        )
    except InputError:
        raise
    except Exception as error:  # of tarfile, webdataset and the disk
        raise InputError(
            f"{path}: expected a shard, found a file that cannot be read "
            f"({type(error).__name__})"
        ) from None


def decode(raw: Raw, sample_rate: int) -> Clip:
    """A clip of a shard.

    Arguments
    ---------
    raw : mapping
        Of `read_shard`.
    sample_rate : int
        That the clip must have, in Hz.

    Returns
    -------
    Clip
        Signals in float32.

    Raises
    ------
    InputError
        Something is missing, broken, or of another rate.
    """
    try:
        told = json.loads(raw["json"])
        snr_db, ovrl = _number(told["snr_db"]), _number(told["ovrl"])
        signals = []
        for kind in ("noisy", "clean"):
            file = io.BytesIO(raw[f"{kind}.wav"])
            samples, rate = soundfile.read(file, dtype="float32")
            if rate != sample_rate or samples.ndim != 1 or not len(samples):
                raise ValueError(f"{rate} Hz, shape {samples.shape}")
            signals.append(samples)
        if len(signals[0]) != len(signals[1]):
            raise ValueError("noisy and clean differ in length")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{raw['__url__']}, clip {raw['__key__']}: expected mono wav at "
            f"{sample_rate} Hz with snr_db and ovrl ({error})"
        ) from None
    return Clip(raw["__key__"], *signals, snr_db, ovrl)


def write_meta(
    folder: Path, shards: int, sample_rate: int, bad: Mapping[str, str]
) -> dict[str, Any]:
    """Writes `meta.json`: the set is complete.

    Arguments
    ---------
    folder : Path
        With all its shards.
    shards : int
        How many.
    sample_rate : int
        In Hz.
    bad : mapping of str to str
        Source file -> reason why it was left out before.

    Returns
    -------
    dict
        What was written: ``num_data_samples``, ``sample_rate``, and per shard
        the ``clips`` and their mean ``ovrl``; ``bad``.
    """
    told = [
        json.loads(
            (folder / shard_name(number)).with_suffix(".json").read_text()
        )
        for number in range(shards)
    ]
    content = {
        "num_data_samples": sum(shard["clips"] for shard in told),
        "sample_rate": sample_rate,
        "clips": [shard["clips"] for shard in told],
        "ovrl": [shard["ovrl"] for shard in told],
        "bad": dict(bad),
    }
    for shard in told:
        content["bad"].update(shard["bad"])
    write_text(folder / META, json.dumps(content, indent=1))
    return content


class ShardFolder:
    """A folder of shards that is complete.

    Arguments
    ---------
    folder : path
        With `meta.json`.
    sample_rate : int
        That its clips must have, in Hz.

    Raises
    ------
    InputError
        It is not complete, or of another rate.
    """

    def __init__(self, folder: str | Path, sample_rate: int = 16000) -> None:
        self.folder, self.sample_rate = Path(folder), sample_rate
        try:
            meta = json.loads((self.folder / META).read_text("utf-8"))
            self.clips = [int(count) for count in meta["clips"]]
            self.ovrl = [_number(score) for score in meta["ovrl"]]
            rate = int(meta["sample_rate"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder}: expected shards and {META} "
                f"({type(error).__name__}: {error}); an interrupted "
                "preparation goes on where it was"
            ) from None
        if rate != sample_rate:
            raise InputError(
                f"{self.folder}: expected shards at {sample_rate} Hz, found "
                f"{rate}"
            )
        self._check_names()

    def _check_names(self) -> None:
        found = {path.name for path in self.folder.glob("shard-*.tar")}
        wanted = {shard_name(number) for number in range(len(self.clips))}
        if absent := sorted(wanted - found):
            raise InputError(
                f"{self.folder}: expected {len(wanted)} shards, found no "
                f"{', '.join(absent[:3])}"
            )

    def read(self, number: int) -> list[Raw]:
        """The clips of one shard, not decoded.

        Arguments
        ---------
        number : int
            Of the shard.

        Returns
        -------
        list of mapping
            For `decode`.

        Raises
        ------
        InputError
            The shard is broken, or holds another number of clips.
        """
        path = self.folder / shard_name(number)
        raw = read_shard(path)
        if len(raw) != self.clips[number]:
            raise InputError(
                f"{path}: expected {self.clips[number]} clips, found {len(raw)}"
            )
        return raw

    def decode(self, raw: Raw) -> Clip:
        """A clip of it."""
        return decode(raw, self.sample_rate)

    def all(self) -> Sequence[Raw]:
        """Every clip, not decoded; for sets that are small."""
        return [
            raw
            for number in range(len(self.clips))
            for raw in self.read(number)
        ]


def _told(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else round(float(value), 4)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
