"""VoiceBank+DEMAND (Valentini-Botinhao, 2017) as published, for enhancement.

Writes what SpeechBrain's own preparation writes, but needs neither the
transcripts nor the network, takes the 48 kHz originals too, and adds the
DNSMOS OVRL of every noisy file.

Authors
 * The speechbrain_dsn developers 2026
"""

import json
import logging
import math
import os
from functools import partial
from pathlib import Path

from tqdm import tqdm

from speechbrain_dsn.dataio.audio import collect_audio, probe, write_audio
from speechbrain_dsn.dataio.ovrl import Job, Scorer, dnsmos_ovrl, score_once
from speechbrain_dsn.dataio.store import read_mono
from speechbrain_dsn.dataio.tables import (
    fingerprint,
    is_done,
    mark_done,
    read_done,
    write_text,
)
from speechbrain_dsn.errors import InputError

RATE = 16000
SPLITS = ("train", "valid", "test")
# SpeechBrain validates on these two of the 28 speakers.
FIRST = ("p226", "p287")

logger = logging.getLogger(__name__)


def prepare_voicebank(
    data_folder: os.PathLike,
    save_folder: os.PathLike,
    valid_speaker_count: int = 2,
    ovrl: bool = True,
    workers: int = 1,
    train_set: str = "28spk",
    score: Scorer | None = None,
    skip_prep: bool = False,
) -> str:
    """Writes `train.json`, `valid.json` and `test.json`; a second call with
    the same data does nothing, an interrupted one goes on.

    Arguments
    ---------
    data_folder : path
        Holds `clean_trainset_28spk_wav`, `noisy_trainset_28spk_wav`,
        `clean_testset_wav` and `noisy_testset_wav`, as published or with
        `_16k` at the end. Files of another rate than 16 kHz are converted to
        `<save_folder>/voicebank_16k`.
    save_folder : path
        Where the JSON files are written.
    valid_speaker_count : int
        Speakers of the train set for valid: p226, p287, then in order.
    ovrl : bool
        Add `ovrl`, DNSMOS OVRL of the noisy file (about 0.2 s of one core
        for each of 12396 files; kept in `ovrl.csv`).
    workers : int
        Threads for that.
    train_set : str
        `28spk` or `56spk`.
    score : callable, optional
        In place of DNSMOS, see `speechbrain_dsn.dataio.ovrl.score_once`.
    skip_prep : bool
        Only read where the data was found by an earlier call.

    Returns
    -------
    str
        What `{data_root}` in the JSON files stands for:
        `DynamicItemDataset.from_json(replacements={"data_root": ...})`.
        Each entry has `noisy_wav`, `clean_wav`, `length` (seconds), `ovrl`.

    Raises
    ------
    InputError
        A folder is missing or empty, or a speaker for valid is.
    """
    save = Path(save_folder).expanduser().absolute()
    if skip_prep:
        return _data_root(save)
    folders = _find_folders(Path(data_folder).expanduser(), train_set)
    files = {key: collect_audio([path]) for key, path in folders.items()}
    settings = [valid_speaker_count, ovrl, train_set]
    key = fingerprint(sum(files.values(), []), settings)
    if is_done(save, key, [f"{split}.json" for split in SPLITS]):
        return _data_root(save)
    bad: dict[str, str] = {}
    if any(_rate(paths) != RATE for paths in files.values()):
        folders = _convert(folders, files, save / "voicebank_16k", bad)
    entries = {}
    for split in ("train", "test"):
        clean, noisy = folders["clean", split], folders["noisy", split]
        entries[split] = _pair(clean, noisy, bad)
    entries = _split_speakers(entries, valid_speaker_count)
    root = folders["clean", "train"].parent
    if ovrl:
        _add_ovrl(entries, root, save / "ovrl.csv", workers, score, bad)
    for path, reason in bad.items():
        logger.warning("left out %s: %s", path, reason)
    for split in SPLITS:
        text = json.dumps(entries[split], indent=2)
        write_text(save / f"{split}.json", text)
    mark_done(save, key, bad, data_root=str(root))
    return str(root)


def _data_root(save: Path) -> str:
    """Where an earlier call found (or put) the audio."""
    root = read_done(save).get("data_root")
    if root is None:
        raise InputError(f"{save}: expected prepared data, found no done.json")
    return root


def _find_folders(data: Path, train_set: str) -> dict[tuple[str, str], Path]:
    """The four folders, by (clean or noisy, train or test)."""
    found = {}
    for split, name in (
        ("train", f"trainset_{train_set}"),
        ("test", "testset"),
    ):
        for kind in ("clean", "noisy"):
            published = data.absolute() / f"{kind}_{name}_wav"
            converted = published.with_name(published.name + "_16k")
            places = [p for p in (converted, published) if p.is_dir()]
            if not places:
                raise InputError(
                    f"{data}: expected the folder {published.name} or "
                    f"{converted.name} of VoiceBank+DEMAND, found neither"
                )
            found[kind, split] = places[0]
    return found


def _rate(paths: list[Path]) -> int:
    """Rate of the first file that can be read."""
    for path in paths[:-1]:
        try:
            return probe(path).sample_rate
        except InputError:
            continue
    return probe(paths[-1]).sample_rate


def _convert(
    folders: dict[tuple[str, str], Path],
    files: dict[tuple[str, str], list[Path]],
    root: Path,
    bad: dict[str, str],
) -> dict[tuple[str, str], Path]:
    """Writes all files at 16 kHz below `root`; what is there is kept."""
    targets = {
        key: root / f"{folder.name.removesuffix('_16k')}_16k"
        for key, folder in folders.items()
    }
    todo = [
        (path, targets[key] / path.name) for key in files for path in files[key]
    ]
    for target in targets.values():
        target.mkdir(parents=True, exist_ok=True)
    for source, target in tqdm(todo, "converting to 16 kHz"):
        if target.exists():
            continue
        try:
            write_audio(target, read_mono(source, RATE), RATE)
        except InputError as error:
            bad[str(source)] = str(error)
    return targets


def _pair(clean: Path, noisy: Path, bad: dict[str, str]) -> dict[str, dict]:
    """An entry for every pair of files with one name and one length."""
    entries = {}
    for path in tqdm(collect_audio([noisy]), noisy.name):
        partner = clean / path.relative_to(noisy)
        try:
            one, other = probe(path), probe(partner)
        except InputError as error:
            bad[str(path)] = str(error)
            continue
        here = (one.sample_rate, one.channels, one.frames)
        there = (other.sample_rate, other.channels, other.frames)
        if here != there or here[:2] != (RATE, 1):
            bad[str(path)] = (
                f"expected mono at {RATE} Hz and a clean file as long, found "
                f"(rate, channels, samples) {here} and {there}"
            )
            continue
        entries[path.stem] = {
            "noisy_wav": f"{{data_root}}/{noisy.name}/{path.name}",
            "clean_wav": f"{{data_root}}/{clean.name}/{path.name}",
            "length": one.seconds,
        }
    return entries


def _split_speakers(
    entries: dict[str, dict[str, dict]], valid_speaker_count: int
) -> dict[str, dict[str, dict]]:
    """Takes the speakers for valid out of the train set."""
    speakers = {name.split("_")[0] for name in entries["train"]}
    if not 1 <= valid_speaker_count < len(speakers):
        raise InputError(
            f"valid_speaker_count {valid_speaker_count}: expected at least 1 "
            f"and fewer than the {len(speakers)} speakers found in train"
        )
    ranked = sorted(speakers, key=lambda name: (name not in FIRST, name))
    chosen = ranked[:valid_speaker_count]
    halves: dict[str, dict] = {"train": {}, "valid": {}}
    for name, entry in entries["train"].items():
        half = "valid" if name.split("_")[0] in chosen else "train"
        halves[half][name] = entry
    return {**halves, "test": entries["test"]}


def _add_ovrl(
    entries: dict[str, dict[str, dict]],
    root: Path,
    table: Path,
    workers: int,
    score: Scorer | None,
    bad: dict[str, str],
) -> None:
    """Scores every noisy file; one without a score is left out."""

    def job(name: str, entry: dict) -> Job:
        path = Path(entry["noisy_wav"].format(data_root=root))
        size = str(path.stat().st_size)
        return Job(name, size, partial(read_mono, path, RATE))

    jobs = [job(*item) for split in SPLITS for item in entries[split].items()]
    scores = score_once(jobs, table, workers, score or dnsmos_ovrl(1), RATE)
    for split in SPLITS:
        for name in list(entries[split]):
            if math.isnan(scores[name]):
                bad[entries[split].pop(name)["noisy_wav"]] = "no OVRL"
            else:
                entries[split][name]["ovrl"] = round(scores[name], 4)
