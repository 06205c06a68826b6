"""Write audio files whole or not at all.

The samples go to a hidden temporary file in the target's folder, which is
flushed to the disk and renamed at the end, so nothing half-written ever
carries the final name.

Authors
 * The speechbrain_dsn developers 2026
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from speechbrain_dsn.dataio.reader import (
    AudioInfo,
    check_samples,
    native,
    one_line,
)
from speechbrain_dsn.errors import InputError

__all__ = ["AUDIO_FORMATS", "AtomicWriter", "write_audio"]

# What counts as audio in a folder, and the container that a name asks for.
AUDIO_FORMATS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".au": "AU",
    ".caf": "CAF",
    ".w64": "W64",
    ".rf64": "RF64",
    ".sph": "NIST",
}


class AtomicWriter:
    """Write an audio file block by block; it appears complete or not at all.

    Used as a context manager. The blocks go to a hidden file in the same
    folder; leaving the block without an error flushes it to the disk and
    renames it, leaving with one (Ctrl-C too) removes it.

    Arguments
    ---------
    path : str or Path
        The file to write; its extension names the container.
    sample_rate : int
        In Hz.
    channels : int
        Number of channels.
    subtype : str, optional
        Coding, such as ``"PCM_16"``. Without it that of ``like`` is kept
        where the container has it, else the container's usual one is taken.
    like : AudioInfo, optional
        Source whose container (if the extensions agree) and coding to keep.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If nothing can be written there, before anything is.

    Example
    -------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "out.wav"
    >>> with AtomicWriter(path, 16000, channels=1) as writer:
    ...     for _ in range(3):
    ...         writer.write(np.zeros(160))
    ...     path.exists()
    False
    >>> soundfile.info(path).frames
    480
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        subtype: str | None = None,
        like: AudioInfo | None = None,
        overwrite: bool = True,
    ) -> None:
        self.path = path = Path(path)
        if not path.parent.is_dir():
            raise InputError(
                f"cannot write {path}: {path.parent} is not an existing folder"
            )
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder")
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists already: expected a new name")
        self.sample_rate, self.channels = sample_rate, channels
        self.format, self.subtype = _choose_coding(path, subtype, like)

    def __enter__(self) -> "AtomicWriter":
        # A short name of its own: the final one may have no room to grow.
        self._part = self.path.with_name(f".{secrets.token_hex(8)}.part")
        with self._reported():
            self._file = soundfile.SoundFile(
                native(self._part),
                "w",
                self.sample_rate,
                self.channels,
                self.subtype,
                format=self.format,
            )
        self._written = 0
        return self

    def write(self, block: np.ndarray) -> None:
        """Append samples ``[T]`` or ``[T, C]``, floats in [-1, 1].

        What lies outside is clipped by integer codings.

        Raises
        ------
        InputError
            If the channels do not fit, a sample is NaN or Inf, or the disk
            is full.
        """
        block = np.asarray(block, dtype=np.float32)
        block = block[:, None] if block.ndim == 1 else block
        if block.ndim != 2 or block.shape[1] != self.channels:
            raise InputError(
                f"block of shape {block.shape} for {self.path}: expected "
                f"[T, {self.channels}]"
            )
        check_samples(block, self.path, self._written)
        with self._reported():
            self._file.write(block)
        self._written += len(block)

    def __exit__(self, error_type, error, traceback) -> None:
        try:
            with self._reported():
                self._file.close()
                if error_type is None:
                    _sync(self._part)
                    os.replace(self._part, self.path)
                    _sync(self.path.parent)
        finally:
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn what libsndfile and the system complain of into one line."""
        try:
            yield
        # soundfile asserts that all was written: false on a full disk.
        except (soundfile.SoundFileError, OSError, AssertionError) as error:
            self._part.unlink(missing_ok=True)
            reason = one_line(error) or "the disk may be full"
            raise InputError(
                f"cannot write {self.path} ({self.sample_rate} Hz, "
                f"{self.channels} channel(s), {self.subtype}): {reason}"
            ) from error


def write_audio(
    path: str | Path,
    data: np.ndarray,
    rate: int,
    subtype: str | None = None,
    like: AudioInfo | None = None,
    overwrite: bool = True,
) -> None:
    """Write a whole signal atomically; see `AtomicWriter` for the arguments.

    Arguments
    ---------
    path : str or Path
        The file to write.
    data : np.ndarray
        Samples ``[T]`` or ``[T, C]``, floats in [-1, 1].
    rate : int
        In Hz.
    subtype : str, optional
        Coding of the samples.
    like : AudioInfo, optional
        Source whose container and coding to keep.
    overwrite : bool
        Whether an existing file may be replaced.
    """
    data = np.asarray(data)
    channels = data.shape[1] if data.ndim == 2 else 1
    with AtomicWriter(path, rate, channels, subtype, like, overwrite) as file:
        file.write(data)


def _choose_coding(
    path: Path, subtype: str | None, like: AudioInfo | None
) -> tuple[str, str]:
    """Container and subtype for ``path``."""
    extension = path.suffix.lower()
    if like is not None and like.path.suffix.lower() == extension:
        container = like.format  # a .wav may be WAVEX, RF64 or NIST
    elif extension in AUDIO_FORMATS:
        container = AUDIO_FORMATS[extension]
    else:
        raise InputError(
            f"cannot write {path}: expected one of the extensions "
            f"{' '.join(AUDIO_FORMATS)}"
        )
    if subtype is None:
        subtype = like.subtype if like is not None else ""
        # libsndfile calls MP3 in other containers valid, and cannot write it.
        foreign = subtype.startswith("MPEG") and container != "MP3"
        if foreign or not soundfile.check_format(container, subtype or None):
            subtype = ""
        if not subtype:
            usual = soundfile.default_subtype(container)
            subtype = "OPUS" if extension == ".opus" else usual
    if not soundfile.check_format(container, subtype):
        known = " ".join(soundfile.available_subtypes(container))
        raise InputError(
            f"cannot write {path}: subtype {subtype!r} in a {container} file: "
            f"expected one of {known}"
        )
    return container, subtype


def _sync(path: Path) -> None:
    """Have the system put a file, or the names in a folder, on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no handle to a folder; its rename is enough
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
