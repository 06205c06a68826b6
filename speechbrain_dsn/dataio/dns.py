"""The folders of the DNS challenge, found where its archives unpack to.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from speechbrain_dsn.dataio.audio import collect_audio
from speechbrain_dsn.errors import InputError


class Corpus(NamedTuple):
    """Where the kinds of audio lie; `rir` may be missing."""

    speech: Path
    noise: Path
    rir: Path | None


def find_corpus(root: str | os.PathLike) -> Corpus:
    """Finds the folders of a DNS challenge.

    Arguments
    ---------
    root : path
        What the archives were unpacked to: it, or ``datasets_fullband`` or
        ``datasets`` in it, holds ``clean_fullband`` or ``clean``,
        ``noise_fullband`` or ``noise``, and perhaps ``impulse_responses``.

    Returns
    -------
    Corpus
        The folders.

    Raises
    ------
    InputError
        Speech or noise is missing.
    """
    root = Path(root).expanduser().absolute()
    places = [root, root / "datasets_fullband", root / "datasets"]

    def find(*names: str) -> Path | None:
        folders = (place / name for place in places for name in names)
        return next((path for path in folders if path.is_dir()), None)

    speech = find("clean_fullband", "clean")
    noise = find("noise_fullband", "noise")
    for kind, folder in (("clean", speech), ("noise", noise)):
        if folder is None:
            raise InputError(
                f"{root}: expected a folder {kind}_fullband or {kind}, in it "
                "or in its datasets_fullband or datasets, found none"
            )
    return Corpus(speech, noise, find("impulse_responses"))


def name_speakers(
    rows: list[dict], folders: dict[str, Path], root: Path
) -> None:
    """The unit that is never split: of speech the reader that the name of
    the file tells (read_speech), else its folder, but a file that lies
    directly in the folder of a collection may be of anybody and stands
    alone. So does every noise.

    Example
    -------
    >>> names = ["read/book_1_reader_7_2.wav", "vctk/p1/a.wav", "ru/b.wav"]
    >>> rows = [{"path": "c/" + name, "kind": "speech"} for name in names]
    >>> name_speakers(rows, {"speech": Path("/c")}, Path("/"))
    >>> [row["speaker_or_class"] for row in rows]
    ['c/read/reader_7', 'c/vctk/p1', 'c/ru/b.wav']
    """
    for row in rows:
        path = Path(row["path"])
        row["speaker_or_class"] = row["path"]
        if row["kind"] != "speech":
            continue
        reader = re.search(r"(?:^|_)(reader_\d+)", path.name)
        depth = len((root / path).relative_to(folders["speech"]).parts)
        if reader:
            row["speaker_or_class"] = str(path.parent / reader[1])
        elif depth > 2:
            row["speaker_or_class"] = str(path.parent)


def synthetic_test(folder: str | os.PathLike) -> list[tuple[str, Path, Path]]:
    """The pairs of a challenge's synthetic test set.

    Arguments
    ---------
    folder : path
        With ``noisy/`` and ``clean/``, such as
        ``test_set/synthetic/no_reverb``; the number after ``fileid_`` tells
        what belongs together.

    Returns
    -------
    list of (name, noisy, clean)
        By number.

    Raises
    ------
    InputError
        A noisy file has no clean one.
    """

    def by_number(kind: str) -> dict[int, Path]:
        files = collect_audio([Path(folder) / kind])
        found = ((re.search(r"fileid_(\d+)", f.stem), f) for f in files)
        return {int(match[1]): path for match, path in found if match}

    noisy, clean = by_number("noisy"), by_number("clean")
    if not noisy or noisy.keys() - clean.keys():
        raise InputError(
            f"{folder}: expected noisy and clean files with equal numbers "
            f"after fileid_, found {len(noisy)} noisy and {len(clean)} clean"
        )
    return [
        (f"fileid_{number}", path, clean[number])
        for number, path in sorted(noisy.items())
    ]
