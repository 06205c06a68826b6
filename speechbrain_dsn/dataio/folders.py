"""Training data from a folder of speech and a folder of noise.

Nothing else is needed: files are found, split by speaker and by kind of
noise, and lists of fixed mixtures for valid and test are drawn. Who has
splits (`manifest.csv`) or fixed lists (`enhance_valid.csv`,
`enhance_test.csv`) beside the folders gets those.

Authors
 * The speechbrain_dsn developers 2026
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from speechbrain_dsn.dataio.audio import collect_audio, probe
from speechbrain_dsn.dataio.fixed import ENHANCEMENT, ListKind
from speechbrain_dsn.dataio.splits import (
    check_splits,
    keep_listed_apart,
    name_groups,
    select,
    split_by_group,
    split_by_manifest,
)
from speechbrain_dsn.dataio.tables import (
    fingerprint,
    is_done,
    mark_done,
    read_csv,
    read_done,
    write_csv,
)
from speechbrain_dsn.errors import InputError

FIELDS = ("path", "kind", "split", "speaker_or_class", "seconds")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedFolders:
    """What a recipe trains and measures on.

    Arguments
    ---------
    speech : list of (path, speaker)
        Train split.
    noise : list of (path, class)
        Train split.
    rirs : list of path
        Measured room responses, all for training.
    valid_list, test_list : Path
        Fixed mixtures; `valid()` and `test()` read them.
    data_folder : Path
        What the paths in the lists are relative to.
    bad : dict
        Path -> reason, for every file that was left out.
    form : ListKind
        Of the lists.
    """

    speech: list[tuple[str, str]]
    noise: list[tuple[str, str]]
    rirs: list[str]
    valid_list: Path
    test_list: Path
    data_folder: Path
    bad: dict[str, str]
    form: ListKind = ENHANCEMENT

    def valid(self) -> list[Any]:
        """The mixtures to choose by."""
        return self.form.load(self.valid_list, self.data_folder)

    def test(self) -> list[Any]:
        """The mixtures to report."""
        return self.form.load(self.test_list, self.data_folder)


def prepare_folders(
    speech_folder: os.PathLike,
    noise_folder: os.PathLike | None,
    out_folder: os.PathLike,
    rir_folder: os.PathLike | None = None,
    manifest: os.PathLike | None = None,
    valid_list: os.PathLike | None = None,
    test_list: os.PathLike | None = None,
    shares: tuple[float, float] = (0.1, 0.1),
    counts: tuple[int, int] = (60, 180),
    max_seconds: float = 20.0,
    seed: int = 0,
    form: ListKind = ENHANCEMENT,
    below: Sequence[str] = (),
    name_groups: Callable[
        [list[dict], dict[str, Path], Path], None
    ] = name_groups,
) -> PreparedFolders:
    """Splits two folders of audio and writes `files.csv`, `valid.csv` and
    `test.csv`; a second call with the same folders only reads them.

    Arguments
    ---------
    speech_folder : path
        Clean speech, one folder per speaker; where there are fewer than
        three folders, files are split instead.
    noise_folder : path, optional
        Noise, one folder per kind (or, again, just files).
    out_folder : path
        Where the lists are written.
    rir_folder : path, optional
        Measured room impulse responses, for training.
    manifest : path, optional
        CSV with the columns path (relative to it), kind (speech, noise,
        rir), split (train, valid, test) and speaker_or_class. By default
        `manifest.csv` beside the speech folder, where it exists. Files
        outside the folders given here are ignored.
    valid_list, test_list : path, optional
        Fixed mixtures with paths relative to the manifest's folder (to the
        folder round speech and noise if there is none). By default
        `enhance_valid.csv` and `enhance_test.csv` beside a manifest, where
        they exist (``separate_`` for lists of two speakers); else lists are
        drawn.
    shares : tuple of float
        Share of the speakers (and kinds of noise) for valid and test, at
        least one each; which ones, depends on a hash of their names.
    counts : tuple of int
        Mixtures drawn for valid and test, in turn at -5, 0, .. 20 dB SNR.
    max_seconds : float
        Longer speech is left out of drawn lists.
    seed : int
        Of the draw.
    form : ListKind
        Of the lists: `fixed.ENHANCEMENT` or `fixed_speakers.SEPARATION`.
    below : sequence of str
        Folders below the speech folder that are used; all of it by default.
    name_groups : callable
        Fills in `speaker_or_class` where there is no manifest, see
        `splits.name_groups`.

    Returns
    -------
    PreparedFolders
        Train files, lists, and what was left out.

    Raises
    ------
    InputError
        A folder or list is missing, or a split is left without files.

    Example
    -------
    >>> import numpy as np, soundfile, tempfile
    >>> root = tempfile.TemporaryDirectory()
    >>> rng = np.random.default_rng(0)
    >>> for kind in ("speech", "noise"):
    ...     for name in "abc":
    ...         path = Path(root.name, kind, name, "1.wav")
    ...         path.parent.mkdir(parents=True)
    ...         soundfile.write(path, rng.normal(size=16000) / 9, 16000)
    >>> data = prepare_folders(
    ...     root.name + "/speech",
    ...     root.name + "/noise",
    ...     root.name + "/lists",
    ...     counts=(2, 3),
    ... )
    >>> len(data.speech), len(data.valid()), len(data.test())
    (1, 2, 3)
    """
    given = {"speech": speech_folder, "noise": noise_folder, "rir": rir_folder}
    folders = {
        kind: Path(folder).expanduser().absolute()
        for kind, folder in given.items()
        if folder is not None
    }
    for kind, folder in folders.items():
        if not folder.is_dir():
            raise InputError(f"{kind}: expected a folder, found no {folder}")
    out = Path(out_folder)
    beside = folders["speech"].parent
    manifest = _given_or_found(manifest, beside / "manifest.csv")
    if manifest is not None:
        root = Path(manifest).absolute().parent
        valid_list = _given_or_found(
            valid_list, root / f"{form.task}_valid.csv"
        )
        test_list = _given_or_found(test_list, root / f"{form.task}_test.csv")
    else:
        root = Path(os.path.commonpath([beside, *folders.values()]))
    lists = {"valid": valid_list, "test": test_list}
    parts = {kind: [folder] for kind, folder in folders.items()}
    if below:
        parts["speech"] = [folders["speech"] / name for name in below]
    found = {
        kind: [str(path) for path in collect_audio(part)]
        for kind, part in parts.items()
    }
    files = sum(found.values(), []) + [manifest, *lists.values()]
    settings = [str(root), shares, counts, max_seconds, seed]
    key = fingerprint([file for file in files if file], settings)
    drawn = [f"{split}.csv" for split, path in lists.items() if path is None]
    if not is_done(out, key, ["files.csv", *drawn]):
        rows, bad = _scan(found, root)
        if manifest is None:
            name_groups(rows, folders, root)
            split_by_group(rows, lists, shares, form)
        else:
            rows = split_by_manifest(rows, Path(manifest))
            keep_listed_apart(rows, lists, form)
        check_splits(rows, lists, folders)
        write_csv(out / "files.csv", FIELDS, rows)
        for split, count in zip(lists, counts, strict=True):
            if lists[split] is None:
                voices = select(rows, "speech", split)
                noises = select(rows, "noise", split)
                mixtures = form.draw(
                    voices, noises, split, count, seed, max_seconds
                )
                write_csv(out / f"{split}.csv", form.columns, mixtures)
        mark_done(out, key, bad)
    return _read(out, root, lists, form)


def _given_or_found(
    given: os.PathLike | None, usual: Path
) -> os.PathLike | None:
    """What the user named (it must exist), else the usual file if any."""
    if given is None:
        return usual if usual.is_file() else None
    if not Path(given).is_file():
        raise InputError(f"{given}: no such file")
    return given


def _scan(
    found: dict[str, list[str]], root: Path
) -> tuple[list[dict], dict[str, str]]:
    """A row for every file that can be read; reports the others."""
    rows, bad = [], {}
    files = [(kind, path) for kind in found for path in found[kind]]
    for kind, path in tqdm(files, "scanning audio"):
        try:
            seconds = probe(path).seconds
        except InputError as error:
            bad[path] = str(error)
            logger.warning("left out: %s", error)
            continue
        place = os.path.relpath(path, root)
        rows.append({"path": place, "kind": kind, "split": "train"})
        rows[-1]["speaker_or_class"] = os.path.dirname(place)
        rows[-1]["seconds"] = round(seconds, 3)
    if bad:
        logger.warning("left out %d of %d files", len(bad), len(files))
    return rows, bad


def _read(
    out: Path,
    root: Path,
    lists: dict[str, os.PathLike | None],
    form: ListKind,
) -> PreparedFolders:
    """What `prepare_folders` has written."""
    rows = read_csv(out / "files.csv", FIELDS)

    def train(kind: str) -> list[tuple[str, str]]:
        return [
            (str(root / row["path"]), row["speaker_or_class"])
            for row in select(rows, kind, "train")
        ]

    return PreparedFolders(
        speech=train("speech"),
        noise=train("noise"),
        rirs=[path for path, _ in train("rir")],
        valid_list=Path(lists["valid"] or out / "valid.csv"),
        test_list=Path(lists["test"] or out / "test.csv"),
        data_folder=root,
        bad=read_done(out)["bad"],
        form=form,
    )
