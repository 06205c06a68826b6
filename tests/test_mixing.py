"""On-the-fly mixing: what every clip must hold, whatever is drawn."""

import csv

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_dsn.dataio import fixed, mixing, rooms, sources
from speechbrain_dsn.dataio.store import AudioStore, read_mono
from speechbrain_dsn.errors import InputError

RATE = 16000


def db(ratio):
    return 20 * np.log10(ratio)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two speakers of modulated noise, two noise folders, one room."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    files = {"speech": [], "noise": [], "rir": []}

    def write(kind, name, samples, rate=RATE):
        path = folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate)
        files[kind].append(str(path))

    for number in range(6):
        time = np.arange(RATE * (1 + number)) / RATE
        voice = np.sin(2 * np.pi * 3 * time).clip(0)
        voice = voice * rng.standard_normal(len(time)) / 20
        write("speech", f"s{number % 2}/{number}.wav", voice)
        noise = rng.standard_normal(RATE * (1 + number)) / 30
        write("noise", f"n{number % 2}/{number}.wav", noise)
    decay = np.exp(-rooms.DECAY * np.arange(2 * RATE) / RATE / 1.5)
    write("rir", "hall.wav", decay * rng.standard_normal(2 * RATE) / 5)
    return files


@pytest.fixture(scope="module")
def store(corpus):
    return AudioStore(sum(corpus.values(), []))


def sampler(corpus, store, **settings):
    settings = {"clip_seconds": 1.5, "seed": 3, **settings}
    return mixing.MixtureSampler(
        corpus["speech"],
        corpus["noise"],
        corpus["rir"],
        store=store,
        **settings,
    )


def test_clip_depends_on_seed_and_number_only(corpus, store):
    first, again = sampler(corpus, store), sampler(corpus, store)
    first.batch(0, 3)  # another history
    batch, single = first.batch(2, 4), again.batch(9, 1)
    assert torch.equal(batch.noisy[1], single.noisy[0])
    assert torch.equal(batch.clean[1], single.clean[0])
    other = sampler(corpus, store, seed=4).batch(2, 4)
    assert not torch.equal(batch.noisy, other.noisy)
    assert not torch.equal(batch.noisy[0], batch.noisy[1])


def test_clip_does_not_depend_on_the_order_of_the_files(corpus, store):
    backwards = {kind: files[::-1] for kind, files in corpus.items()}
    one = sampler(corpus, store).batch(0, 2)
    two = sampler(backwards, store).batch(0, 2)
    assert torch.equal(one.noisy, two.noisy)


@settings(max_examples=25, deadline=None)
@given(
    number=st.integers(0, 10**9),
    seconds=st.floats(0.1, 3.0),
    reverb=st.sampled_from([0.0, 1.0]),
)
def test_clip_is_sound(corpus, store, number, seconds, reverb):
    drawn = sampler(
        corpus, store, clip_seconds=seconds, reverb_probability=reverb
    )
    noisy, clean, snr_db = drawn.clip(number)
    assert noisy.shape == clean.shape == (round(seconds * RATE),)
    assert noisy.dtype == clean.dtype == np.float32
    assert np.isfinite(noisy).all() and np.isfinite(clean).all()
    assert np.abs(noisy).max() <= 1 and np.abs(clean).max() <= 1
    assert mixing.rms(clean) > 0
    assert -6 <= snr_db <= 45


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 10**6))
def test_snr_and_level_are_as_asked(corpus, store, number):
    drawn = sampler(
        corpus, store, reverb_probability=0.0, clipping_probability=0.0
    )
    noisy, clean, snr_db = drawn.clip(number)
    level = mixing.active_rms(clean, RATE)
    assert db(level / mixing.rms(noisy - clean)) == pytest.approx(
        snr_db, abs=0.05
    )
    assert db(mixing.rms(noisy)) <= -18 + 1e-3
    peak = np.abs(noisy).max()
    assert db(mixing.rms(noisy)) >= -38 - 1e-3 or peak > 0.98


def test_target_in_a_room_is_aligned_and_lacks_the_late_part(corpus, store):
    drawn = sampler(
        corpus, store, reverb_probability=1.0, clean_probability=0.0
    )
    rng = np.random.default_rng(5)
    for _ in range(8):
        dry = rng.standard_normal(RATE).astype(np.float32)
        dry[RATE // 4 :] = 0
        early, wet = drawn._in_room(rng, dry)
        lags = np.correlate(wet[:8000], early[:4000], "valid")
        assert np.argmax(lags) == 0
        late = slice(RATE // 4 + RATE // 16, None)
        assert np.abs(early[late]).max() < 1e-4
        assert np.abs(wet[late]).max() > 1e-3
        onset = np.argmax(np.abs(early) > 0.1 * np.abs(early).max())
        assert onset <= RATE // 500


def test_ranges_of_snr_hold_over_many_clips(corpus, store):
    drawn = sampler(corpus, store, clip_seconds=0.2, clean_probability=0.25)
    snr_db = drawn.batch(0, 200).snr_db
    inside = snr_db <= 22
    assert 0.6 < inside.float().mean() < 0.9
    assert snr_db[inside].min() < -3 and snr_db[inside].max() > 19
    assert snr_db[~inside].min() >= 25


def test_noise_folders_are_drawn_by_the_root_of_their_length():
    class Lengths(dict):
        def seconds(self, path):
            return self[path]

    lengths = Lengths({"a/1": 1.0, "b/1": 50.0, "b/2": 50.0})
    pool = sources.Pool(
        [(path, path[0]) for path in lengths], lengths, "noise", power=0.5
    )
    rng = np.random.default_rng(0)
    drawn = [pool.draw(rng) for _ in range(4000)]
    assert drawn.count("a/1") / 4000 == pytest.approx(1 / 11, abs=0.02)
    assert {pool.draw_same(rng, "b/1") for _ in range(50)} == {"b/1", "b/2"}


@pytest.mark.parametrize("target", [0.1, 0.3, 0.6])
def test_shorten_meets_the_reverberation_time(target):
    rng = np.random.default_rng(1)
    time = np.arange(2 * RATE) / RATE
    hall = rng.standard_normal(len(time)) * np.exp(-rooms.DECAY * time / 1.5)
    hall = np.r_[np.zeros(500), 4, hall]
    room = rooms.shorten(hall, RATE, target)
    assert rooms.reverberation_time(room, RATE) == pytest.approx(
        target, rel=0.2
    )
    assert np.argmax(np.abs(room)) == RATE // 1000


def test_silent_material_is_named(tmp_path):
    soundfile.write(tmp_path / "zero.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "noise.wav", np.ones(RATE) / 9, RATE)
    zero, noise = [tmp_path / "zero.wav"], [tmp_path / "noise.wav"]
    with pytest.raises(InputError, match="speech: .*silence"):
        mixing.MixtureSampler(zero, noise).clip(0)
    with pytest.raises(InputError, match="noise: .*silence"):
        mixing.MixtureSampler(noise, zero).clip(0)
    with pytest.raises(InputError, match="speech: expected at least one"):
        mixing.MixtureSampler([tmp_path / "none.wav"], noise)


# The store


def test_store_converts_rate_and_channels_and_notes_bad_files(tmp_path):
    tone = np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000) / 2
    soundfile.write(tmp_path / "é.wav", np.stack([tone, tone], 1), 48000)
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    soundfile.write(
        tmp_path / "nan.wav", np.full(9, np.nan), RATE, subtype="FLOAT"
    )
    store = AudioStore(tmp_path.iterdir())
    assert len(store) == 1 and len(store.bad) == 3
    assert all(name in reason for name, reason in store.bad.items())
    want = 16384 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)
    error = store[tmp_path / "é.wav"][200:-200] - want[200:-200]
    assert np.abs(error).max() < 60


def test_cache_is_used_only_while_it_is_true(tmp_path):
    path, cache = tmp_path / "a.wav", tmp_path / "cache" / "pcm"
    soundfile.write(path, np.ones(100) / 2, RATE)
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    AudioStore([path, bad], cache=cache)
    written = cache.stat().st_mtime_ns
    again = AudioStore([bad, path, path], cache=cache)
    assert cache.stat().st_mtime_ns == written and str(bad) in again.bad
    assert isinstance(again[path], np.memmap)
    np.testing.assert_array_equal(again[path], AudioStore([path])[path])
    soundfile.write(path, np.ones(200) / 4, RATE)
    assert len(AudioStore([path, bad], cache=cache)[path]) == 200
    (cache.parent / "pcm.json").write_text("{")
    assert len(AudioStore([path, bad], cache=cache)[path]) == 200
    assert sorted(p.name for p in cache.parent.iterdir()) == [
        "pcm",
        "pcm.json",
    ]


def test_too_loud_file_is_turned_down_not_clipped(tmp_path):
    wave = np.linspace(-3, 3, 101).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    stored = AudioStore([tmp_path / "a.wav"])[tmp_path / "a.wav"]
    np.testing.assert_allclose(stored / 32767 * 3, wave, atol=1e-4)


# Fixed lists


def write_list(path, **change):
    row = {
        "id": "x",
        "speech": "s.wav",
        "noise": "n.wav",
        "noise_offset": "0.5",
        "snr_db": "-5",
        "level_dbfs": "-27.5",
    }
    row = {key: value for key, value in {**row, **change}.items() if value}
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    return path


@pytest.fixture
def pair(tmp_path):
    rng = np.random.default_rng(2)
    soundfile.write(tmp_path / "s.wav", rng.standard_normal(RATE) / 30, RATE)
    soundfile.write(tmp_path / "n.wav", rng.standard_normal(9000) / 90, RATE)
    return tmp_path


def test_fixed_mixture_is_rendered_as_defined(pair):
    (mixture,) = mixing.load_fixed_list(write_list(pair / "list.csv"), pair)
    noisy, clean = mixture.render()
    speech, noise = read_mono(pair / "s.wav"), read_mono(pair / "n.wav")
    looped = np.concatenate([noise, noise, noise])[8000 : 8000 + RATE]
    added = noisy - clean
    assert db(mixing.rms(noisy)) == pytest.approx(-27.5, abs=1e-3)
    assert db(mixing.rms(clean) / mixing.rms(added)) == pytest.approx(
        -5, abs=1e-3
    )
    assert np.corrcoef(added, looped)[0, 1] > 0.9999
    assert np.corrcoef(clean, speech)[0, 1] > 0.9999


@pytest.mark.parametrize(
    "change, message",
    [
        ({"snr_db": "loud"}, "line 2: expected numbers"),
        ({"snr_db": None}, "lacks column snr_db"),
        ({"noise": "none.wav"}, "line 2: no file"),
    ],
)
def test_bad_list_is_named(pair, change, message):
    path = write_list(pair / "list.csv", **change)
    with pytest.raises(InputError, match=message):
        mixing.load_fixed_list(path, pair)


def test_missing_or_empty_list_is_named(pair):
    with pytest.raises(InputError, match="no readable table"):
        mixing.load_fixed_list(pair / "none.csv", pair)
    header = ",".join(fixed.COLUMNS)
    (pair / "empty.csv").write_text(header)
    with pytest.raises(InputError, match="found no row"):
        mixing.load_fixed_list(pair / "empty.csv", pair)
