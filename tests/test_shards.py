"""Shards of the DNS challenge: written whatever happens, read exactly once."""

import json
import math
import os
import shutil
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_dns import make_corpus, make_shards
from torch.utils.data import DataLoader

from speechbrain_dsn.dataio import shards as format
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.dataio.dns import find_corpus
from speechbrain_dsn.dataio.dns_shards import prepare_dns
from speechbrain_dsn.dataio.shards import (
    Clip,
    ShardFolder,
    read_shard,
    write_shard,
)
from speechbrain_dsn.dataio.store import FileStore
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.training.shard_data import Deal, ShardBatches, ShardData


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("dns"))


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """Shards of a preparation that was left in peace."""
    out = tmp_path_factory.mktemp("shards") / "out"
    make_shards(corpus, out)
    return out


def content(out):
    """Name -> bytes of all that training reads."""
    files = sorted(out.glob("*_shards/*"))
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


# -- writing ----------------------------------------------------------------


def test_layout_is_that_of_speechbrain(whole):
    names = sorted(content(whole))
    assert "train_shards/shard-000002.tar" in names
    assert not [name for name in names if name.endswith(".part")]
    meta = json.loads((whole / "train_shards/meta.json").read_text())
    assert meta["num_data_samples"] == 9 and meta["clips"] == [3, 3, 3]
    with tarfile.open(whole / "train_shards/shard-000001.tar") as shard:
        members = shard.getnames()
        told = json.load(shard.extractfile("000000003.json"))
    assert members[:3] == [
        f"000000003.{kind}" for kind in ("clean.wav", "json", "noisy.wav")
    ]
    assert len(members) == 9 and 1 < told["ovrl"] < 5
    assert -5 <= told["snr_db"] <= 45
    scores = [json.loads(raw["json"])["ovrl"] for raw in shard_raw(whole, 1)]
    assert meta["ovrl"][1] == pytest.approx(np.mean(scores), abs=1e-3)


def shard_raw(out, number):
    return ShardFolder(out / "train_shards").read(number)


def test_killed_at_any_file_boundary(corpus, whole, tmp_path, monkeypatch):
    """What has its name stays, what has not is written again, equally."""
    replace, calls = os.replace, []

    def count(*names):
        calls.append(names)
        replace(*names)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", count)
        make_shards(corpus, tmp_path / "counted")
    assert len(calls) >= 3 * 2 + 2 * 2 + 3
    for last in range(len(calls)):
        out, left = tmp_path / str(last), [last]

        def stop(*names, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            replace(*names)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stop)
            with pytest.raises(KeyboardInterrupt):
                make_shards(corpus, out)
        there = {p: p.stat().st_mtime_ns for p in out.glob("*/shard-*.tar")}
        make_shards(corpus, out)
        assert content(out) == content(whole)
        assert all(p.stat().st_mtime_ns == time for p, time in there.items())
        shutil.rmtree(out)


@pytest.mark.trust
def test_processes_do_not_matter(corpus, whole, tmp_path):
    make_shards(corpus, tmp_path, workers=2)
    assert content(tmp_path) == content(whole)


def test_a_bad_file_is_named_and_the_rest_goes_on(corpus, tmp_path, caplog):
    meta = make_shards(corpus, tmp_path, hours=18 * 0.5 / 3600)
    named = " ".join(meta["train"]["bad"])
    assert "broken.wav" in named and "noise_fullband/m" in named
    assert meta["train"]["num_data_samples"] == 18
    assert all(path in caplog.text for path in meta["train"]["bad"])


def test_more_hours_add_to_what_is_there(corpus, whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    make_shards(corpus, out, hours=12 * 0.5 / 3600)
    for name, there in content(whole).items():
        assert name.endswith("meta.json") or content(out)[name] == there
    assert len(ShardFolder(out / "train_shards").clips) == 4


def test_other_settings_are_not_mixed_in(corpus, whole):
    with pytest.raises(InputError, match="plan.json"):
        make_shards(corpus, whole, seed=5)


def test_speakers_are_kept_apart(corpus, whole):
    lines = (whole / "lists/files.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines]
    speech = {row[3]: row[2] for row in rows if row[1] == "speech"}
    assert sorted(name.split("/")[-1] for name in speech) == [
        "p225",
        *(f"reader_0{reader}" for reader in range(5)),
    ]
    assert set(speech.values()) == {"train", "valid", "test"}


def test_only_the_speech_that_is_asked_for(corpus, tmp_path):
    make_shards(corpus, tmp_path, speech=["read_speech"])
    assert "p225" not in (tmp_path / "lists/files.csv").read_text()


def test_the_synthetic_test_set_of_the_challenge(corpus, tmp_path):
    signal = np.random.default_rng(1).normal(size=8000).astype("f4") / 9
    for number in (2, 10):
        for kind in ("clean", "noisy"):
            path = tmp_path / f"set/{kind}/x_snr7_fileid_{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, signal * (1 + (kind == "noisy")), 16000)
    make_shards(corpus, tmp_path / "out", test_set=tmp_path / "set")
    data = ShardData(tmp_path / "out", batch_size=1, seed=0)
    data.prepare()
    pairs = data.test()
    assert [pair.name for pair in pairs] == ["fileid_2", "fileid_10"]
    assert pairs[0].snr_db == 7
    noisy, clean = pairs[0].load(16000)
    np.testing.assert_allclose(noisy, 2 * clean, atol=1e-3)
    (tmp_path / "set/clean/x_snr7_fileid_2.wav").unlink()
    with pytest.raises(InputError, match="fileid_"):
        make_shards(corpus, tmp_path / "other", test_set=tmp_path / "set")


def test_signals_survive(tmp_path):
    """To 16 bit; what is too loud is turned down, both signals alike."""
    rng = np.random.default_rng(0)
    noisy, clean = rng.normal(size=(2, 800)).astype("f4")
    clips = [
        Clip("a.1", noisy / 9, clean / 9, 3.0, 2.5),
        Clip("b", noisy, clean, math.nan),
    ]
    write_shard(tmp_path / "shard-000000.tar", clips, 16000)
    format.write_meta(tmp_path, 1, 16000, {})
    shards = ShardFolder(tmp_path)
    a, b = map(shards.decode, shards.all())
    np.testing.assert_allclose(a.noisy, noisy / 9, atol=2e-5)
    assert a.name == "a_1" and a.snr_db == 3 and a.ovrl == 2.5
    assert math.isnan(b.ovrl) and math.isnan(b.snr_db)
    gain = 0.99 / max(abs(noisy).max(), abs(clean).max())
    np.testing.assert_allclose(b.clean, gain * clean, atol=2e-5)


def test_files_of_a_large_corpus_come_and_go(corpus):
    """Some stay in memory; the first microphone of an array is heard."""
    folder = corpus / "datasets_fullband"
    paths = sorted(map(str, folder.glob("noise_fullband/n*.wav")))
    room = str(folder / "impulse_responses/SLR28/room.wav")
    broken = str(folder / "clean_fullband/read_speech/broken.wav")
    seconds = dict.fromkeys([*paths, room, broken], 1.0)
    store = FileStore(seconds, first_channel=[room], kept=2)
    assert len(store) == 10 and "other" not in store
    first = store[paths[0]]
    assert store[paths[1]] is not first and store[paths[0]] is first
    assert store[paths[2]] is not None and store[paths[0]] is first
    for path in paths[3:5]:
        store[path]
    again = store[paths[0]]
    assert again is not first and np.array_equal(again, first)
    left, _ = soundfile.read(room, dtype="int16")
    np.testing.assert_allclose(store[room], left[:, 0], atol=1)
    with pytest.raises(InputError, match="broken.wav"):
        store[broken]
    assert list(store.bad) == [broken]


# -- what is wrong is said before any work starts ---------------------------


def test_missing_folders(corpus, tmp_path):
    with pytest.raises(InputError, match="clean_fullband"):
        find_corpus(tmp_path)
    (tmp_path / "clean").mkdir()
    with pytest.raises(InputError, match="noise_fullband"):
        prepare_dns(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="hours: expected > 0"):
        make_shards(corpus, tmp_path / "out", hours=0)


def test_without_webdataset(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "webdataset", None)
    with pytest.raises(InputError, match=r"speechbrain-dsn\[shards\]"):
        make_shards(corpus, tmp_path)


def test_bad_shards_are_named(whole, tmp_path):
    out = tmp_path / "train_shards"
    with pytest.raises(InputError, match="interrupted"):
        ShardFolder(out)
    shutil.copytree(whole / "train_shards", out)
    with pytest.raises(InputError, match="8000 Hz, found 16000"):
        ShardFolder(out, 8000)
    second = out / "shard-000001.tar"
    shards, good = ShardFolder(out), second.read_bytes()
    second.write_bytes(good[:20000])
    with pytest.raises(InputError, match="shard-000001.tar"):
        shards.read(1)
    second.write_bytes(b"")
    with pytest.raises(InputError, match="shard-000001.tar"):
        shards.read(1)
    second.write_bytes(good)
    raw = dict(shards.read(1)[0])
    for broken in (
        {"json": b"{}"},
        {"json": b"[1]"},
        {"noisy.wav": b"RIFF"},
        {"clean.wav": raw["clean.wav"][:-4000]},
    ):
        with pytest.raises(InputError, match="clip 000000003"):
            shards.decode(raw | broken)
    second.unlink()
    with pytest.raises(InputError, match="found no shard-000001.tar"):
        ShardFolder(out)


def test_too_few_clips_for_the_ranks(whole):
    shards = ShardFolder(whole / "train_shards")
    with pytest.raises(InputError, match="each of 10 rank"):
        ShardBatches(shards, None, 2, 0, ranks=10)
    shards.clips[0] = 2
    with pytest.raises(InputError, match="equally full"):
        ShardBatches(shards, None, 2, 0)


# -- reading ----------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 9),
    st.integers(1, 17),
    st.integers(1, 6),
)
def test_all_is_dealt_once_and_nobody_waits(clips, ranks, size, lanes):
    clips = max(clips, ranks)
    deal = Deal(clips, ranks, size, lanes)
    batches = [
        deal.batch(step, rank)
        for step in range(deal.steps)
        for rank in range(ranks)
    ]
    assert sorted(x for batch in batches for x in batch) == list(range(clips))
    most = size if size > 1 or clips % ranks == 0 else 2
    assert all(1 <= len(batch) <= most for batch in batches)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 60))
def test_processes_that_divide_the_lanes_share_no_stretch(factor, steps):
    """The batches of each process are few runs of the rank's stretch."""
    deal = Deal(clips=2 * steps, ranks=1, batch_size=2, lanes=4 * factor)
    for loader in range(4):
        mine = [deal.batch(t, 0)[0] for t in range(loader, deal.steps, 4)]
        jumps = np.diff(sorted(mine)) != 2
        assert jumps.sum() < factor


def hashes(batch):
    return [hash(row.numpy().tobytes()) for row in batch.noisy]


def seen(dataset, loader_workers=0, of=None):
    loader = DataLoader(
        torch.utils.data.Subset(
            dataset, range(len(dataset))[of or slice(None)]
        ),
        batch_size=None,
        num_workers=loader_workers,
    )
    return [hashes(batch) for batch in loader]


def epoch_of(whole, epoch, **options):
    options = {"batch_size": 2, "seed": 1, "lanes": 2} | options
    counter = SimpleNamespace(current=epoch)
    return ShardBatches(ShardFolder(whole / "train_shards"), counter, **options)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_clip_once_in_an_order_of_the_epoch(whole, ranks):
    orders = []
    for epoch in (1, 2, 1):
        dataset = epoch_of(whole, epoch, ranks=ranks)
        found = [
            seen(dataset, of=slice(rank, None, ranks)) for rank in range(ranks)
        ]
        assert len({len(batches) for batches in found}) == 1
        orders.append(found)
        flat = [x for batches in found for batch in batches for x in batch]
        assert len(flat) == len(set(flat)) == 9
    assert orders[0] == orders[2] != orders[1]


def test_loaders_that_read_ahead_change_nothing(whole):
    dataset = epoch_of(whole, 3)
    assert seen(dataset, 2) == seen(dataset) == seen(dataset, 3)


def test_going_on_in_mid_epoch_reads_what_is_left(whole, monkeypatch):
    """And none of the shards that are over."""
    read, numbers = ShardFolder.read, []

    def note(self, number):
        numbers.append(number)
        return read(self, number)

    monkeypatch.setattr(ShardFolder, "read", note)
    options = {"lanes": 1, "batch_size": 3}
    all_batches = seen(epoch_of(whole, 1, **options))
    assert sorted(numbers) == [0, 1, 2]
    order, numbers[:] = list(numbers), []
    assert (
        seen(epoch_of(whole, 1, **options), of=slice(1, None))
        == (all_batches[1:])
    )
    assert numbers == order[1:]


def test_data_of_a_recipe(whole):
    data = ShardData(whole, batch_size=2, seed=0)
    data.prepare()
    assert data.batches_per_epoch == 5
    assert data.train_ovrl().shape == (3,) and (data.train_ovrl() > 1).all()
    batch = data.train(SimpleNamespace(current=1))[0]
    assert batch.noisy.shape == batch.clean.shape == (len(batch.ovrl), 8000)
    valid = data.valid()
    assert len(valid) == 2 and valid[1].noisy.shape[0] == 1
    assert valid[0].ovrl.shape == valid[0].snr_db.shape == (1,)
    with pytest.raises(IndexError):
        data.train(SimpleNamespace(current=1))[5]
    assert len(read_shard(whole / "valid_shards/shard-000000.tar")) == 2


def test_a_list_of_which_nothing_can_be_made_is_refused(corpus, tmp_path):
    """As where a test set was cut short in the copying."""
    nothing = tmp_path / "set"
    for kind in ("clean", "noisy"):
        (nothing / kind).mkdir(parents=True)
        (nothing / kind / "a_fileid_0.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="test: expected mixtures"):
        make_shards(corpus, tmp_path / "out", test_set=nothing)
