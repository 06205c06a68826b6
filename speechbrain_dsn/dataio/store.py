"""Many audio files in memory, read once: 16-bit mono at one rate.

On-the-fly mixing touches a few random seconds of a file at a time; decoding
FLAC for that would cost more than the mixing. The whole corpus as 16-bit
samples is small (three hours of speech: 350 MB), so it is decoded once and,
with a cache file, mapped into memory by every process that trains on it.

Authors
 * The speechbrain_dsn developers 2026
"""

import json
import os
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from speechbrain_dsn.dataio.audio import read_audio
from speechbrain_dsn.dataio.tables import replacing, write_text
from speechbrain_dsn.errors import InputError


def read_mono(path: str | os.PathLike, sample_rate: int = 16000) -> np.ndarray:
    """Reads a file as one channel at one rate.

    Arguments
    ---------
    path : path
        Any file that soundfile reads.
    sample_rate : int
        The rate wanted, in Hz.

    Returns
    -------
    np.ndarray
        `[samples]`, float32; the mean of the channels.

    Raises
    ------
    InputError
        The file cannot be read, is empty, or holds NaN or infinity.
    """
    return read_audio(path, sample_rate, mono=True)[0][:, 0]


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples as 16 bit; a file that exceeds full scale is turned down
    as a whole, since clipping would change its sound.

    Arguments
    ---------
    samples : np.ndarray
        `[samples]`, full scale is 1.

    Returns
    -------
    np.ndarray
        `[samples]`, int16.

    Example
    -------
    >>> to_int16(np.array([0.5, -2.0], dtype=np.float32)).tolist()
    [8192, -32767]
    """
    peak = max(1.0, float(np.abs(samples).max()))
    return np.round(samples * (32767 / peak)).astype(np.int16)


class AudioStore:
    """Files as 16-bit mono arrays, keyed by path.

    Arguments
    ---------
    paths : iterable of path
        The files; a file named twice is read once. Files that cannot be read
        are left out and listed in `bad`.
    sample_rate : int
        Rate of the stored samples, in Hz.
    cache : path, optional
        File of raw little-endian 16-bit samples, with an index beside it
        (`<cache>.json`). It is used when it holds exactly these files in the
        same state (size, time of change), else written anew; several
        processes then share one copy in memory.
    progress : bool
        Show a progress bar on stderr while decoding.

    Example
    -------
    >>> import soundfile, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = folder.name + "/tone.wav"
    >>> soundfile.write(path, np.ones((800, 2)) / 2, 8000)
    >>> store = AudioStore([path])
    >>> store[path].shape, store[path].dtype.name, store.seconds(path)
    ((1600,), 'int16', 0.1)
    """

    def __init__(
        self,
        paths: Iterable[os.PathLike],
        sample_rate: int = 16000,
        cache: os.PathLike | None = None,
        progress: bool = False,
    ) -> None:
        self.sample_rate = sample_rate
        self.bad: dict[str, str] = {}
        names = sorted({os.fspath(path) for path in paths})
        if cache is None:
            decoded = self._decode(names, progress)
            self._clips = {name: to_int16(clip) for name, clip in decoded}
        else:
            self._clips = self._mapped(names, Path(cache), progress)

    def __getitem__(self, path: os.PathLike) -> np.ndarray:
        return self._clips[os.fspath(path)]

    def __contains__(self, path: os.PathLike) -> bool:
        return os.fspath(path) in self._clips

    def __len__(self) -> int:
        return len(self._clips)

    def seconds(self, path: os.PathLike) -> float:
        """Length of one file in seconds."""
        return len(self[path]) / self.sample_rate

    def _decode(
        self, names: Iterable[str], progress: bool
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Yields what can be read; notes what cannot."""
        for name in tqdm(names, "reading audio", disable=not progress):
            try:
                yield name, read_mono(name, self.sample_rate)
            except InputError as error:
                self.bad[name] = str(error)

    def _mapped(
        self, names: Iterable[str], cache: Path, progress: bool
    ) -> dict[str, np.ndarray]:
        """The clips as views of the cache file, written first if need be."""
        index = cache.with_name(cache.name + ".json")
        key = [self.sample_rate, [[name, *_state(name)] for name in names]]
        try:
            content = json.loads(index.read_text(encoding="utf-8"))
            fresh = content["key"] == key and cache.exists()
        except (OSError, ValueError, KeyError, TypeError):
            fresh = False
        if not fresh:
            content = self._write(names, cache, index, key, progress)
        self.bad = content["bad"]
        samples = np.zeros(0, np.int16)
        if cache.stat().st_size:
            samples = np.memmap(cache, dtype="<i2", mode="r")
        return {
            name: samples[start : start + length]
            for name, (start, length) in content["clips"].items()
        }

    def _write(
        self,
        names: Iterable[str],
        cache: Path,
        index: Path,
        key: list,
        progress: bool,
    ) -> dict:
        """Writes samples, then the index; a crash leaves no index behind."""
        cache.parent.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)
        clips, start = {}, 0
        with replacing(cache) as part, open(part, "wb") as out:
            for name, clip in self._decode(names, progress):
                out.write(to_int16(clip).astype("<i2").tobytes())
                clips[name] = (start, len(clip))
                start += len(clip)
        content = {"key": key, "clips": clips, "bad": self.bad}
        write_text(index, json.dumps(content))
        return content


class FileStore:
    """The same for a corpus that is too large to be decoded as a whole: a
    file is read when it is asked for, and the last ones are kept.

    Arguments
    ---------
    seconds : mapping of str to float
        Path -> length of the file.
    sample_rate : int
        Rate wanted, in Hz.
    first_channel : collection of str
        Files of which the first channel is taken, not the mean: recordings by
        an array, such as impulse responses, cancel themselves in the mean.
    kept : int
        How many files stay in memory.

    Example
    -------
    >>> import soundfile, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = folder.name + "/tone.wav"
    >>> soundfile.write(path, np.ones((800, 2)) / 2, 8000)
    >>> store = FileStore({path: 0.1})
    >>> store[path].shape, store[path].dtype.name, store.seconds(path)
    ((1600,), 'int16', 0.1)
    """

    def __init__(
        self,
        seconds: Mapping[str, float],
        sample_rate: int = 16000,
        first_channel: Collection[str] = (),
        kept: int = 32,
    ) -> None:
        self.sample_rate, self.kept = sample_rate, kept
        self.bad: dict[str, str] = {}
        self._seconds = seconds
        self._first_channel = frozenset(first_channel)
        self._clips: OrderedDict[str, np.ndarray] = OrderedDict()

    def __contains__(self, path: os.PathLike) -> bool:
        return os.fspath(path) in self._seconds

    def __len__(self) -> int:
        return len(self._seconds)

    def seconds(self, path: os.PathLike) -> float:
        """Length of one file in seconds, as given."""
        return self._seconds[os.fspath(path)]

    def __getitem__(self, path: os.PathLike) -> np.ndarray:
        """Raises `InputError` for a file that cannot be read, and lists it in
        `bad`."""
        name = os.fspath(path)
        if name not in self._clips:
            self._clips[name] = self._read(name)
            if len(self._clips) > self.kept:
                self._clips.popitem(last=False)
        self._clips.move_to_end(name)
        return self._clips[name]

    def _read(self, name: str) -> np.ndarray:
        mono = name not in self._first_channel
        try:
            samples, _ = read_audio(name, self.sample_rate, mono)
        except InputError as error:
            self.bad[name] = str(error)
            raise
        return to_int16(samples[:, 0])


def _state(name: str) -> tuple[int, int]:
    """Size and time of change of a file: what a cache entry depends on."""
    try:
        stat = os.stat(name)
    except OSError:
        return (-1, -1)
    return (stat.st_size, stat.st_mtime_ns)
