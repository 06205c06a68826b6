"""Audio files: find them, look into them, read, write and resample them.

One door to the rooms behind: `speechbrain_dsn.dataio.reader`, `.writer` and
`.resample`.

Authors
 * The speechbrain_dsn developers 2026
"""

import glob
from collections.abc import Iterable
from pathlib import Path

from speechbrain_dsn.dataio.reader import (
    AudioInfo,
    iter_blocks,
    probe,
    read_audio,
)
from speechbrain_dsn.dataio.resample import Resampler, resample
from speechbrain_dsn.dataio.writer import (
    AUDIO_FORMATS,
    AtomicWriter,
    write_audio,
)
from speechbrain_dsn.errors import InputError

__all__ = [
    "AUDIO_FORMATS",
    "AtomicWriter",
    "AudioInfo",
    "Resampler",
    "collect_audio",
    "iter_blocks",
    "probe",
    "read_audio",
    "resample",
    "write_audio",
]


def collect_audio(
    paths: Iterable[str | Path], extensions: Iterable[str] = AUDIO_FORMATS
) -> list[Path]:
    """Expand files, folders and globs into a sorted list of files.

    Folders are searched to any depth for the extensions, in any case; hidden
    files are left out. A file that is named is taken whatever its extension,
    and even if it is missing, as long as something else is there: reading it
    reports it, while the rest of the batch goes on.

    Arguments
    ---------
    paths : Iterable[str or Path]
        What a user typed.
    extensions : Iterable[str]
        With the dot, in lower case.

    Returns
    -------
    list[Path]
        Sorted, each file once.

    Raises
    ------
    InputError
        If no file is found at all.
    """
    paths, extensions = [Path(path) for path in paths], tuple(extensions)
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            found.update(_audio_below(path, extensions))
        elif path.exists() or not glob.has_magic(str(path)):
            found.add(path)
        else:
            for match in map(Path, glob.iglob(str(path), recursive=True)):
                inside = match.is_dir()
                found.update(
                    _audio_below(match, extensions) if inside else [match]
                )
    if not any(path.exists() for path in found):
        named = ", ".join(map(str, paths)) or "no path"
        raise InputError(
            f"{named}: expected audio files, a pattern that matches some, or "
            f"folders with {' '.join(extensions)} files, found none"
        )
    return sorted(found)


def _audio_below(folder: Path, extensions: tuple[str, ...]) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in extensions
        and not path.name.startswith(".")
        and path.is_file()
    ]
