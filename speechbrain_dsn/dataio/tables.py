"""Lists on disk: whole files appear at once, growing tables lose at most
their last line, and prepared folders know what they were prepared from.

Authors
 * The speechbrain_dsn developers 2026
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from speechbrain_dsn.errors import InputError


def write_text(path: os.PathLike, text: str) -> None:
    """Writes under a temporary name, then renames: a crash leaves the old
    file or none.

    Arguments
    ---------
    path : path
        Its folder is made if need be.
    text : str
        Written as UTF-8.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: os.PathLike, content: bytes) -> None:
    """The same for bytes.

    Arguments
    ---------
    path : path
        Its folder is made if need be.
    content : bytes
        The file.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def replacing(path: os.PathLike) -> Iterator[Path]:
    """A temporary name to write a file under: it gets its own name at the
    end, and is removed on an error, such as a full disk.

    Arguments
    ---------
    path : path
        In a folder that is there.

    Returns
    -------
    context manager
        Gives the temporary name.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_csv(
    path: os.PathLike, fields: Sequence[str], rows: Iterable[Mapping]
) -> None:
    """Writes a table with a header, at once.

    Arguments
    ---------
    path : path
        Its folder is made if need be.
    fields : sequence of str
        The columns.
    rows : iterable of mapping
        One value per column.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: os.PathLike, fields: Sequence[str]) -> list[dict]:
    """Reads a table.

    Arguments
    ---------
    path : path
        CSV with a header, UTF-8.
    fields : sequence of str
        Columns that it must have.

    Returns
    -------
    list of dict
        One per row, columns beyond `fields` included.

    Raises
    ------
    InputError
        The file is missing or no text, or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            found = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: no readable table ({error})") from None
    absent = [field for field in fields if field not in found]
    if absent:
        raise InputError(f"{path}: lacks column {', '.join(absent)}")
    return rows


def append_row(path: os.PathLike, values: Sequence[object]) -> None:
    """Adds a row and waits until it is on disk.

    Arguments
    ---------
    path : path
        The table, with its header; a line cut short by a crash is ended
        first.
    values : sequence
        One per column.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(text.getvalue().encode())
        file.flush()
        os.fsync(file.fileno())


def fingerprint(files: Iterable[os.PathLike], settings: object) -> str:
    """A name for some files and settings: it changes when a file comes, goes
    or changes its size, and with the settings.

    Arguments
    ---------
    files : iterable of path
        They must exist.
    settings : object
        Anything whose `repr` tells it apart.

    Returns
    -------
    str
        Hexadecimal.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for path in files:
        digest.update(f"{path}\0{os.stat(path).st_size}\n".encode())
    return digest.hexdigest()


def mark_done(
    folder: os.PathLike, key: str, bad: Mapping[str, str], **more: object
) -> None:
    """Notes in `done.json` that a folder is prepared.

    Arguments
    ---------
    folder : path
        The folder.
    key : str
        What it was prepared from, see `fingerprint`.
    bad : mapping
        File -> reason why it was left out.
    **more : object
        Other things to keep.
    """
    text = json.dumps({"key": key, "bad": dict(bad), **more}, indent=2)
    write_text(Path(folder) / "done.json", text)


def read_done(folder: os.PathLike) -> dict:
    """What `mark_done` wrote; empty if there is nothing (readable)."""
    try:
        text = (Path(folder) / "done.json").read_text("utf-8")
        return dict(json.loads(text))
    except (OSError, ValueError, TypeError):
        return {}


def is_done(folder: os.PathLike, key: str, names: Iterable[str]) -> bool:
    """Whether a folder was prepared from exactly this and is complete.

    Arguments
    ---------
    folder : path
        The folder.
    key : str
        See `fingerprint`.
    names : iterable of str
        Files that must be there.

    Returns
    -------
    bool
        Whether the work can be skipped.
    """
    here = all((Path(folder) / name).is_file() for name in names)
    return here and read_done(folder).get("key") == key
