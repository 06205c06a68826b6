"""A folder of speech and a folder of noise become splits and fixed lists."""

import csv

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.dataio import fixed, folders, splits
from speechbrain_dsn.dataio.fixed import SNRS_DB, draw_fixed_list
from speechbrain_dsn.dataio.folders import prepare_folders
from speechbrain_dsn.dataio.mixing import MixtureSampler
from speechbrain_dsn.dataio.tables import append_row, read_csv, write_csv
from speechbrain_dsn.errors import InputError

RATE = 16000


def write_audio(path, seconds=0.5, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).standard_normal(round(RATE * seconds))
    soundfile.write(path, samples / 20, RATE)


@pytest.fixture
def data(tmp_path):
    """Six speakers with two files each, four noises; rooms; some rubbish."""
    for number in range(6):
        for take in range(2):
            write_audio(tmp_path / f"speech/spk{number}/x/{take}.wav", 0.5)
    for number in range(4):
        write_audio(tmp_path / f"noise/kind{number}/ü {number}.flac", 2)
    write_audio(tmp_path / "rir/hall.wav", 0.1)
    (tmp_path / "speech/spk0/notes.txt").write_text("no audio")
    return tmp_path


def prepare(data, **settings):
    settings = {"counts": (7, 13), **settings}
    return prepare_folders(
        data / "speech", data / "noise", data / "out", **settings
    )


def places(mixtures):
    return {m.speech for m in mixtures}, {m.noise for m in mixtures}


def test_splits_share_no_speaker_and_no_kind_of_noise(data):
    got = prepare(data, rir_folder=data / "rir")
    assert (len(got.valid()), len(got.test())) == (7, 13)
    voices = [{speaker for _, speaker in got.speech}]
    noises = [{kind for _, kind in got.noise}]
    for mixtures in (got.valid(), got.test()):
        speech, disturbers = places(mixtures)
        voices.append({path.parts[-3] for path in speech})
        noises.append({path.parts[-2] for path in disturbers})
    for groups, total in ((voices, 6), (noises, 4)):
        assert all(groups)
        assert sum(map(len, groups)) == len(set.union(*groups)) == total
    assert [path.endswith("hall.wav") for path in got.rirs] == [True]
    assert not got.bad


def test_result_trains_and_renders(data):
    got = prepare(data, rir_folder=data / "rir")
    sampler = MixtureSampler(got.speech, got.noise, got.rirs, clip_seconds=1.0)
    assert sampler.batch(0, 2).noisy.shape == (2, RATE)
    noisy, clean = got.test()[0].render()
    ratio = np.sum(clean**2) / np.sum((noisy - clean) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(SNRS_DB[0], abs=0.01)


def test_second_call_only_reads_and_changes_are_noticed(data, monkeypatch):
    first = prepare(data)
    drawn = first.valid()
    with monkeypatch.context() as patch:
        patch.setattr(folders, "probe", None)  # scanning would fail
        assert prepare(data) == first
    assert prepare(data, seed=1).valid() != drawn
    write_audio(data / "speech/spk9/new.wav")
    assert prepare(data) != first
    (data / "out/valid.csv").unlink()
    assert prepare(data).valid()


def test_bad_files_are_reported_skipped_and_counted(data, caplog):
    (data / "speech/spk1/broken.wav").write_text("no audio")
    (data / "noise/kind1/empty.wav").touch()
    got = prepare(data)
    assert sorted(path[-10:] for path in got.bad) == [
        "/empty.wav",
        "broken.wav",
    ]
    assert "left out 2 of 18 files" in caplog.text
    assert prepare(data).bad == got.bad


def test_flat_folders_are_split_by_file(tmp_path, caplog):
    for number in range(3):
        write_audio(tmp_path / f"speech/{number}.wav")
        write_audio(tmp_path / f"noise/only/{number}.wav")
    got = prepare(tmp_path)
    assert len(got.speech) == len(got.noise) == 1
    assert "files are split instead" in caplog.text
    (tmp_path / "noise/only/0.wav").unlink()
    with pytest.raises(InputError, match="noise: expected 3 files or more"):
        prepare(tmp_path)


def write_manifest(data, skip=()):
    rows = []
    for kind in ("speech", "noise"):
        for path in sorted((data / kind).rglob("*.*")):
            place = path.relative_to(data)
            split = {"0": "valid", "1": "test"}.get(place.parts[1][-1], "train")
            if place.parts[1] not in skip:
                row = {"path": place.as_posix(), "kind": kind, "split": split}
                rows.append({**row, "speaker_or_class": place.parts[1]})
    write_csv(data / "manifest.csv", folders.FIELDS[:4], rows)


def test_manifest_beside_the_folders_decides(data):
    write_manifest(data, skip=["spk5"])
    got = prepare(data)
    assert {speaker for _, speaker in got.speech} == {"spk2", "spk3", "spk4"}
    assert {kind for _, kind in got.noise} == {"kind2", "kind3"}
    assert {m.speech.parts[-3] for m in got.valid()} == {"spk0"}
    assert {m.noise.parts[-2] for m in got.test()} == {"kind1"}


@pytest.mark.parametrize("with_manifest", [True, False])
def test_given_list_is_used_and_kept_out_of_training(data, with_manifest):
    if with_manifest:
        write_manifest(data)
    values = ("a", "speech/spk3/x/0.wav", "noise/kind2/ü 2.flac", 0, 5, -25)
    rows = [dict(zip(fixed.COLUMNS, values, strict=True))]
    write_csv(data / "enhance_valid.csv", fixed.COLUMNS, rows)
    given = {} if with_manifest else {"valid_list": data / "enhance_valid.csv"}
    got = prepare(data, **given)
    assert [mixture.name for mixture in got.valid()] == ["a"]
    assert len(got.test()) == 13
    assert "spk3" not in {speaker for _, speaker in got.speech}
    assert "kind2" not in {kind for _, kind in got.noise}
    assert "spk3" not in {m.speech.parts[-3] for m in got.test()}


def test_bad_input_is_named(data):
    def refused(match, **settings):
        with pytest.raises(InputError, match=match):
            prepare(data, **settings)

    refused("rir: expected a folder, found no .*rooms", rir_folder="rooms")
    refused("none.csv: no such file", manifest=data / "none.csv")
    refused("valid.*of 0.1 s or less", max_seconds=0.1)
    (data / "manifest.csv").write_text("path,kind\n")
    refused("lacks column split, speaker_or_class")
    write_manifest(data, skip=["kind1"])
    refused("noise: expected files of split test, found none")
    text = (data / "manifest.csv").read_text("utf-8")
    text = text.replace("train", "dev")
    (data / "manifest.csv").write_text(text, "utf-8")
    refused("expected split train, valid or test, found 'dev'")
    (data / "empty").mkdir()
    with pytest.raises(InputError, match="expected audio files"):
        prepare_folders(data / "speech", data / "empty", data / "out")


@given(
    names=st.sets(st.text(min_size=1), min_size=3, max_size=40),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_no_split_is_ever_empty(names, shares):
    shares = dict(zip(("valid", "test"), shares, strict=True))
    assigned = splits.assign_splits(names, shares)
    assert set(assigned) == names
    assert set(assigned.values()) == {"train", "valid", "test"}
    assert assigned == splits.assign_splits(sorted(names), shares)


def test_drawn_list_is_balanced():
    def row(group, number):
        name = f"{group}{number}"
        return {"path": name, "speaker_or_class": group, "seconds": "2.0"}

    speech = [row(group, number) for group in "ab" for number in range(30)]
    speech.append({**row("a", 99), "seconds": "99"})
    noise = [row("x", 0), *(row("y", number) for number in range(5))]
    drawn = draw_fixed_list(speech, noise, "test", 60, seed=1)
    count = [sum(r["snr_db"] == snr for r in drawn) for snr in SNRS_DB]
    assert count == [10] * 6
    assert len({r["speech"] for r in drawn}) == 60  # none twice, none too long
    assert sum(r["noise"] == "x0" for r in drawn) == 30
    assert drawn == draw_fixed_list(speech, noise, "test", 60, seed=1)
    assert drawn != draw_fixed_list(speech, noise, "valid", 60, seed=1)


def test_table_survives_a_line_cut_short(tmp_path):
    path = tmp_path / "sub/table.csv"
    write_csv(path, ["id", "ovrl"], [{"id": "a", "ovrl": 1}])
    path.write_text(path.read_text() + "b,2.")
    append_row(path, ["ç, d", 3.5])
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines == [["id", "ovrl"], ["a", "1"], ["b", "2."], ["ç, d", "3.5"]]
    with pytest.raises(InputError, match="lacks column snr"):
        read_csv(path, ["id", "snr"])
