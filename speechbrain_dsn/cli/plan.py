"""Which file is enhanced into which.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from speechbrain_dsn.dataio.audio import AUDIO_FORMATS, collect_audio
from speechbrain_dsn.errors import InputError

__all__ = ["Job", "plan_jobs"]


class Job(NamedTuple):
    """An input and its output."""

    path: Path
    output: Path


def plan_jobs(paths: Sequence[str], out: str) -> tuple[list[Job], list[str]]:
    """Say what goes where, before anything is done.

    The structure of a folder is kept below ``out``, that of a glob from its
    first wildcard on. What lies in ``out`` already is no input.

    Arguments
    ---------
    paths : sequence of str
        Files, folders and globs.
    out : str
        A folder; or an audio file, for a single input file.

    Returns
    -------
    jobs : list of Job
        Each output once, none of them an input.
    problems : list of str
        One line for everything that cannot be done.

    Raises
    ------
    InputError
        If ``out`` cannot be what is asked for.
    """
    target = Path(out)
    single = len(paths) == 1 and not _many(paths[0])
    if target.suffix.lower() in AUDIO_FORMATS and not target.is_dir():
        if not single:
            raise InputError(
                f"-o {out} names one file, the input may be many: expected a "
                "folder"
            )
        return [Job(Path(paths[0]), target)], []
    if target.exists() and not target.is_dir():
        raise InputError(
            f"-o {out} is a file: expected a folder or the name of an audio "
            "file"
        )
    inputs, problems = _collect(paths, target)
    jobs: dict[Path, Job] = {}
    resolved = {path.resolve() for path in inputs}
    for path, relative in inputs.items():
        output = target / relative
        key = output.resolve()
        if key in resolved:
            problems.append(
                f"{path}: its output {output} is an input: expected another "
                "folder after -o"
            )
        elif key in jobs:
            problems.append(
                f"{path}: its output {output} is that of {jobs[key].path} "
                "too: expected inputs of different names"
            )
        else:
            jobs[key] = Job(path, output)
    return list(jobs.values()), problems


def _many(path: str) -> bool:
    """Whether a path may stand for more than one file."""
    return Path(path).is_dir() or (
        not Path(path).exists() and glob.has_magic(path)
    )


def _collect(
    paths: Sequence[str], target: Path
) -> tuple[dict[Path, Path], list[str]]:
    """Every input once, with its place below the root it was found under."""
    inputs: dict[Path, Path] = {}
    problems: list[str] = []
    seen: set[Path] = set()
    for path in paths:
        if not _many(path):
            files, root = [Path(path)], Path(path).parent
        else:
            try:
                files, root = collect_audio([path]), _root(path)
            except InputError as error:
                problems.append(str(error))
                continue
        for file in files:
            key = file.resolve()
            if key not in seen and not (
                _many(path) and key.is_relative_to(target.resolve())
            ):
                seen.add(key)
                inputs[file] = file.relative_to(root)
    return inputs, problems


def _root(path: str) -> Path:
    """The folder itself, or what comes before the first wildcard."""
    if Path(path).is_dir():
        return Path(path)
    parts = Path(path).parts
    fixed = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:fixed])
