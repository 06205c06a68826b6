"""Who is trained on, who is heard in valid and test: whole speakers and whole
kinds of noise, never parts of them.

The rows here are dicts with `path`, `kind` (speech, noise, rir), `split`,
`speaker_or_class` and `seconds`.

Authors
 * The speechbrain_dsn developers 2026
"""

import hashlib
import logging
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from speechbrain_dsn.dataio.fixed import ListKind
from speechbrain_dsn.dataio.tables import read_csv
from speechbrain_dsn.errors import InputError

SPLITS = ("train", "valid", "test")

logger = logging.getLogger(__name__)


def grouped(kinds: Iterable[str]) -> list[str]:
    """Those kinds of audio that are split; room responses are not."""
    return [kind for kind in kinds if kind != "rir"]


def name_groups(rows: list[dict], folders: dict[str, Path], root: Path) -> None:
    """The unit that is never split: the folder below its kind's folder, or,
    where these are too few, the file."""
    for kind in grouped(folders):
        mine = [row for row in rows if row["kind"] == kind]
        for row in mine:
            inside = (root / row["path"]).relative_to(folders[kind])
            row["speaker_or_class"] = inside.parts[0]
        folder_count = len({row["speaker_or_class"] for row in mine})
        if folder_count < len(SPLITS):
            logger.warning(
                "%s: %d folder(s), too few to split; files are split instead",
                kind,
                folder_count,
            )
            for row in mine:
                row["speaker_or_class"] = row["path"]


def split_by_group(
    rows: list[dict],
    lists: dict[str, os.PathLike | None],
    shares: Sequence[float],
    form: ListKind,
) -> None:
    """Assigns whole groups; a split that has a list needs no others."""
    heard = keep_listed_apart(rows, lists, form)
    wanted = {
        split: share
        for (split, path), share in zip(lists.items(), shares, strict=True)
        if path is None
    }
    for kind in grouped({row["kind"]: None for row in rows}):
        mine = [row for row in rows if row["kind"] == kind]
        names = {row["speaker_or_class"] for row in mine} - heard[kind]
        least = form.speakers if kind == "speech" else 1
        if len(names) < (needed := least * (len(wanted) + 1)):
            raise InputError(
                f"{kind}: expected {needed} files or more for "
                f"{', '.join(['train', *wanted])}, found {len(names)}"
            )
        splits = assign_splits(names, wanted, least)
        for row in mine:
            row["split"] = splits.get(row["speaker_or_class"], row["split"])


def assign_splits(
    names: Collection[str], shares: dict[str, float], least: int = 1
) -> dict[str, str]:
    """Gives every name a split; a hash of the name decides, so that a new
    speaker moves few others.

    Arguments
    ---------
    names : collection of str
        Enough for all splits.
    shares : dict
        Split -> share of the names. The rest is for training.
    least : int
        Names that each split has at least, training too.

    Returns
    -------
    dict
        Name -> split.

    Example
    -------
    >>> splits = assign_splits("abcdefghij", {"valid": 0.2, "test": 0.3})
    >>> [list(splits.values()).count(s) for s in ("train", "valid", "test")]
    [5, 2, 3]
    """
    ranked = sorted(
        names, key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    most = (len(ranked) - least) // max(1, len(shares))
    splits = []
    for split, share in shares.items():
        splits += [split] * min(
            most, max(least, math.floor(share * len(ranked)))
        )
    splits += ["train"] * (len(ranked) - len(splits))
    return dict(zip(ranked, splits, strict=True))


def split_by_manifest(rows: list[dict], manifest: Path) -> list[dict]:
    """Rows that the manifest names, with its splits and speakers."""
    needed = ("path", "kind", "split", "speaker_or_class")
    lines = read_csv(manifest, needed)
    named = {os.path.normpath(line["path"]): line for line in lines}
    kept = []
    for row in rows:
        line = named.get(row["path"])
        if line is None:
            continue
        if line["split"] not in SPLITS:
            raise InputError(
                f"{manifest}: expected split train, valid or test, found "
                f"{line['split']!r} for {row['path']}"
            )
        kept.append({**row, **{field: line[field] for field in needed}})
    if len(kept) < len(rows):
        logger.info(
            "%s does not name %d files", manifest, len(rows) - len(kept)
        )
    return kept


def keep_listed_apart(
    rows: list[dict],
    lists: dict[str, os.PathLike | None],
    form: ListKind,
) -> dict[str, set[str]]:
    """Who is heard in a list that was given is not trained on. Returns these
    groups for each kind."""
    heard: dict[str, set[str]] = {kind: set() for kind in form.named}
    for split, path in lists.items():
        mixtures = [] if path is None else read_csv(path, form.columns)
        for kind, columns in form.named.items():
            mine = [row for row in rows if row["kind"] == kind]
            files = {
                os.path.normpath(line[column])
                for line in mixtures
                for column in columns
            }
            groups = {
                row["speaker_or_class"] for row in mine if row["path"] in files
            }
            for row in mine:
                if row["speaker_or_class"] in groups:
                    row["split"] = split
            heard[kind] |= groups
    return heard


def check_splits(
    rows: Sequence[dict],
    lists: dict[str, os.PathLike | None],
    folders: Mapping[str, Path],
) -> None:
    """Speech and noise to train on, and to draw each missing list from."""
    needed = ["train"] + [split for split, path in lists.items() if not path]
    for kind in grouped(folders):
        for split in needed:
            if not select(rows, kind, split):
                raise InputError(
                    f"{kind}: expected files of split {split}, found none"
                )


def select(rows: Sequence[dict], kind: str, split: str) -> list[dict]:
    return [r for r in rows if r["kind"] == kind and r["split"] == split]
