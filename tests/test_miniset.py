"""The bundled mini set is complete, small and fit to train on."""

import csv
import os

import numpy as np
import pytest
import soundfile

from speechbrain_dsn.dataio.fixed import SNRS_DB, load_fixed_list, rms
from speechbrain_dsn.dataio.folders import prepare_folders
from speechbrain_dsn.dataio.mixing import MixtureSampler, active_rms
from speechbrain_dsn.miniset import demo_clips, miniset_folder

FOLDER = miniset_folder()


@pytest.fixture(scope="module")
def rows():
    with open(FOLDER / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_manifest_names_every_file_and_its_length(rows):
    found = {
        path.relative_to(FOLDER).as_posix()
        for kind in ("speech", "noise")
        for path in (FOLDER / kind).rglob("*.flac")
    }
    assert {row["path"] for row in rows} == found and len(rows) == len(found)
    for row in rows:
        info = soundfile.info(FOLDER / row["path"])
        assert (info.samplerate, info.channels) == (16000, 1)
        assert info.duration == pytest.approx(float(row["seconds"]), abs=1e-3)


def test_files_are_small():
    files = [path for path in FOLDER.rglob("*") if path.suffix != ".pyc"]
    sizes = [os.path.getsize(path) for path in files if path.is_file()]
    assert sum(sizes) <= 4_000_000 and max(sizes) < 250_000


def test_splits_share_nothing(rows):
    for kind, least in (("speech", 12), ("noise", 15)):
        groups = {
            split: {
                row["speaker_or_class"]
                for row in rows
                if (row["kind"], row["split"]) == (kind, split)
            }
            for split in ("train", "valid", "test")
        }
        union = set.union(*groups.values())
        assert len(union) == sum(map(len, groups.values())) >= least
        assert all(groups.values())


def test_audio_is_sound_and_no_two_files_are_alike(rows):
    seen = set()
    for row in rows:
        samples, rate = soundfile.read(FOLDER / row["path"], dtype="int16")
        assert 10 < np.abs(samples).max() < 32767
        if row["kind"] == "speech":
            assert 2.5 <= len(samples) / rate <= 5
            level = 20 * np.log10(active_rms(samples / 32768, rate))
            assert level == pytest.approx(-49, abs=0.5)
        seen.add(samples.tobytes())
    assert len(seen) == len(rows)


@pytest.mark.parametrize("split, count", [("valid", 12), ("test", 18)])
def test_fixed_mixtures_are_of_their_split(rows, split, count):
    splits = {row["path"]: row["split"] for row in rows}
    mixtures = load_fixed_list(FOLDER / f"enhance_{split}.csv", FOLDER)
    assert len(mixtures) == count
    assert {mixture.snr_db for mixture in mixtures} == set(SNRS_DB)
    for mixture in mixtures:
        for path in (mixture.speech, mixture.noise):
            assert splits[path.relative_to(FOLDER).as_posix()] == split
        noisy, clean = mixture.render()
        ratio = 20 * np.log10(rms(clean) / rms(noisy - clean))
        assert ratio == pytest.approx(mixture.snr_db, abs=0.01)


def test_recipes_can_train_on_it(tmp_path):
    data = prepare_folders(FOLDER / "speech", FOLDER / "noise", tmp_path)
    assert (len(data.speech), len(data.noise)) == (30, 10)
    assert (len(data.valid()), len(data.test())) == (12, 18)
    assert not data.bad
    batch = MixtureSampler(data.speech, data.noise, data.rirs).batch(0, 2)
    assert batch.noisy.shape == (2, 64000)


def test_demo_clips_are_pairs():
    shapes = []
    for noisy, clean in demo_clips():
        one, other = soundfile.info(noisy), soundfile.info(clean)
        assert one.frames == other.frames and one.channels == other.channels
        assert one.samplerate == other.samplerate
        shapes.append((one.samplerate, one.channels))
        mixed, speech = soundfile.read(noisy)[0], soundfile.read(clean)[0]
        assert 0 < rms(mixed - speech) and np.abs(mixed).max() < 1
    assert sorted(shapes) == [(8000, 1), *[(16000, 1)] * 3, (48000, 2)]
