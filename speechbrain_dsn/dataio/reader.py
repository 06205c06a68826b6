"""Read audio files that somebody else made, and say what is wrong with them.

Everything that soundfile reads is read, as float32 ``[T, C]`` in [-1, 1]. A
file that cannot be used is an `InputError` of one line: what was found, what
was expected.

Authors
 * The speechbrain_dsn developers 2026
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from speechbrain_dsn.dataio.resample import resample
from speechbrain_dsn.errors import InputError

__all__ = [
    "LOUDEST",
    "RATES",
    "AudioInfo",
    "check_samples",
    "iter_blocks",
    "native",
    "one_line",
    "probe",
    "read_audio",
]

# Audio lies in -1..1. What is far beyond is a mistake, and could overflow in
# a network and stay in its state.
LOUDEST = 1000.0
RATES = (1000, 768_000)  # Hz; what lies outside is a header that lies
CHUNK = 1 << 22  # samples read at once: a header may promise any number
UNKNOWN = (1 << 63) - 1  # libsndfile's length of a FLAC that was a stream


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Arguments
    ---------
    path : Path
        The file.
    sample_rate : int
        In Hz.
    channels : int
        Number of channels, at least 1.
    frames : int
        Samples per channel, at least 1.
    format : str
        Container, as soundfile names it: ``"WAV"``, ``"FLAC"``, ...
    subtype : str
        Coding of the samples: ``"PCM_16"``, ``"FLOAT"``, ...
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.frames / self.sample_rate


def probe(path: str | Path) -> AudioInfo:
    """Read the header of an audio file and check that it can be used.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    AudioInfo
        Rate, channels, frames, container, coding.

    Raises
    ------
    InputError
        If the file is missing, a folder, empty, not audio, or holds no
        samples or no channels.
    """
    with _open(path) as file:
        return _info(file, Path(path))


def read_audio(
    path: str | Path, sample_rate: int | None = None, mono: bool = False
) -> tuple[np.ndarray, int]:
    """Read a whole file.

    Arguments
    ---------
    path : str or Path
        The file.
    sample_rate : int, optional
        Rate wanted, in Hz; the file is resampled if its own differs.
    mono : bool
        Average the channels into one.

    Returns
    -------
    samples : np.ndarray
        float32 ``[T, C]``.
    sample_rate : int
        Rate of ``samples`` in Hz.

    Raises
    ------
    InputError
        As `probe`, and if the file is cut short or holds NaN, Inf or
        samples beyond `LOUDEST`.

    Example
    -------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "tone.flac"
    >>> soundfile.write(path, np.full((800, 2), 0.5), 8000)
    >>> samples, rate = read_audio(path, sample_rate=16000, mono=True)
    >>> samples.shape, rate
    ((1600, 1), 16000)
    """
    with _open(path) as file:
        rate = file.samplerate
        blocks = list(_blocks(file, path, max(1, CHUNK // file.channels)))
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if mono:
        samples = samples.mean(axis=1, keepdims=True)
    if sample_rate is not None and sample_rate != rate:
        samples, rate = resample(samples, rate, sample_rate), sample_rate
    return samples, rate


def iter_blocks(path: str | Path, frames: int) -> Iterator[np.ndarray]:
    """Read a file block by block: memory does not grow with its length.

    Arguments
    ---------
    path : str or Path
        The file; its header is checked at the call, not at the first block.
    frames : int
        Samples per channel in a block; the last block may be shorter.

    Returns
    -------
    Iterator[np.ndarray]
        Blocks ``[n, C]``, float32.

    Raises
    ------
    InputError
        As `read_audio`; bad samples and a cut file show up at their block.
    """
    if frames < 1:
        raise InputError(f"{frames} frames per block: expected at least 1")
    probe(path)

    def blocks() -> Iterator[np.ndarray]:
        with _open(path) as file:
            yield from _blocks(file, path, frames)

    return blocks()


def _blocks(
    file: soundfile.SoundFile, path: str | Path, frames: int
) -> Iterator[np.ndarray]:
    """Checked blocks of an open file; at least one."""
    seen = 0
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        check_samples(block, path, seen, LOUDEST)
        seen += len(block)
        yield block
    if seen < file.frames:
        raise InputError(
            f"{path} is cut short: its header promises {file.frames} samples "
            f"per channel, {seen} can be read"
        )


def check_samples(
    samples: np.ndarray,
    path: str | Path,
    at: int = 0,
    loudest: float = float(np.finfo(np.float32).max),
) -> None:
    """Refuse NaN and Inf, and what is too loud.

    Arguments
    ---------
    samples : np.ndarray
        Samples ``[T, C]``.
    path : str or Path
        Where they come from or go to, for the message.
    at : int
        Number of the first of them in that file.
    loudest : float
        Largest absolute value.

    Raises
    ------
    InputError
        Naming the first bad sample.
    """
    good = np.abs(samples) <= loudest  # false for NaN
    if not good.all():
        frame, channel = np.argwhere(~good)[0]
        raise InputError(
            f"{path}: sample {at + frame} of channel {channel} is "
            f"{samples[frame, channel]}: expected finite samples around -1..1"
        )


def native(path: Path) -> Path | bytes:
    """A path as libsndfile takes it: names that are no text are bytes."""
    return path if os.name == "nt" else os.fsencode(path)


def one_line(error: BaseException) -> str:
    """Get the message of an error without its line breaks."""
    return " ".join(str(error).split())


@contextmanager
def _open(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open for reading; every way in which that fails is an `InputError`."""
    path = Path(path)
    try:
        _check_kind(path)
        with soundfile.SoundFile(native(path)) as file:
            _check_header(file, path)
            yield file
    # TypeError: soundfile wants to be told the rate of headerless files.
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read as audio ({one_line(error)}): expected a "
            "file that libsndfile decodes, such as WAV or FLAC"
        ) from error


def _check_kind(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist: expected an audio file")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise InputError(f"{path} is {kind}: expected an audio file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): expected an audio file")


def _check_header(file: soundfile.SoundFile, path: Path) -> None:
    if file.frames < 1:
        raise InputError(f"{path} holds 0 samples: expected at least 1")
    if file.frames == UNKNOWN:
        raise InputError(
            f"{path} does not say how long it is: expected the number of "
            "samples in its header, as after encoding it again"
        )
    low, high = RATES
    if file.channels < 1 or not low <= file.samplerate <= high:
        raise InputError(
            f"{path} has {file.channels} channels at {file.samplerate} Hz: "
            f"expected at least 1 channel at {low} to {high} Hz"
        )


def _info(file: soundfile.SoundFile, path: Path) -> AudioInfo:
    return AudioInfo(
        path,
        file.samplerate,
        file.channels,
        file.frames,
        file.format,
        file.subtype,
    )
