"""Audio files in and out, and the resampler.

Authors
 * The speechbrain_dsn developers 2026
"""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_dsn.dataio.audio import (
    AtomicWriter,
    Resampler,
    collect_audio,
    iter_blocks,
    probe,
    read_audio,
    resample,
    write_audio,
)
from speechbrain_dsn.errors import InputError

RATES = st.sampled_from([8000, 11025, 16000, 16001, 22050, 44100, 48000])


def noise(*shape, seed=0):
    generator = np.random.default_rng(seed)
    return 0.1 * generator.standard_normal(shape).astype(np.float32)


def in_chunks(resampler, samples, cuts):
    bounds = [0, *sorted(cut % (len(samples) + 1) for cut in cuts)]
    pieces = [
        resampler.process(samples[start:end])
        for start, end in zip(bounds, [*bounds[1:], len(samples)], strict=True)
    ]
    return np.concatenate([*pieces, resampler.flush()])


# --------------------------------------------------------------- resampling


@settings(max_examples=60, deadline=None)
@given(
    source=RATES,
    target=RATES,
    length=st.integers(0, 2500),
    channels=st.sampled_from([None, 1, 3]),
    cuts=st.lists(st.integers(0, 2500), max_size=12),
)
def test_any_chunking_equals_offline(source, target, length, channels, cuts):
    shape = (length,) if channels is None else (length, channels)
    samples = noise(*shape)
    offline = resample(samples, source, target)
    assert offline.dtype == np.float32
    assert offline.shape == (-(-length * target // source), *shape[1:])
    streamed = in_chunks(Resampler(source, target), samples, cuts)
    assert streamed.shape == offline.shape
    np.testing.assert_allclose(streamed, offline, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("towards_16k", [True, False])
@pytest.mark.parametrize("band", [0.02, 0.5, 0.85])
def test_a_sine_keeps_its_time_and_level(rate, towards_16k, band):
    source, target = (rate, 16000) if towards_16k else (16000, rate)
    frequency = band * min(source, target) / 2
    sine = np.sin(2 * np.pi * frequency * np.arange(source) / source)
    found = resample(sine, source, target)
    wanted = np.sin(2 * np.pi * frequency * np.arange(target) / target)
    middle = slice(target // 10, -target // 10)
    error = found[middle] - wanted[middle]
    snr = 10 * np.log10(np.sum(wanted[middle] ** 2) / np.sum(error**2))
    assert snr > 85


@pytest.mark.parametrize("source", [22050, 44100, 48000])
@pytest.mark.parametrize("over", [1.01, 1.2, 1.9])
def test_what_would_fold_back_is_80_db_down(source, over):
    target = source // 2 if source == 22050 else 16000
    frequency = min(over * target / 2, 0.49 * source)
    sine = np.sin(2 * np.pi * frequency * np.arange(source) / source + 0.3)
    alias = resample(sine, source, target)[target // 10 : -target // 10]
    assert 10 * np.log10(2 * np.mean(alias.astype(float) ** 2)) < -80


@pytest.mark.parametrize("pair", [(48000, 16000), (16000, 44100), (7, 5)])
def test_look_ahead_is_kept_and_tight(pair):
    samples, at = noise(3000), 1500
    resampler = Resampler(*pair)
    early = resampler.process(samples[:at])
    changed = samples.copy()
    changed[at:] = 0
    whole = resample(changed, *pair)[: len(early)]
    # Equal but for the order of sums, which the length of a chunk decides.
    np.testing.assert_allclose(early, whole, atol=1e-6)
    # The next output lies within `look_ahead` of what has been seen.
    next_time = len(early) * pair[0] // pair[1]
    assert next_time + resampler.look_ahead >= at


def test_same_rate_is_the_identity_without_delay():
    samples = noise(100, 2)
    resampler = Resampler(16000, 16000)
    np.testing.assert_array_equal(resampler.process(samples), samples)
    assert resampler.look_ahead == 0
    assert len(resampler.flush()) == 0


@pytest.mark.parametrize("length", [0, 1])
def test_tiny_inputs(length):
    assert len(resample(np.ones(length), 16000, 48000)) == 3 * length
    assert len(resample(np.ones(length), 48000, 16000)) == length
    assert len(Resampler(8000, 16000).flush()) == 0


def test_constant_stays_constant_away_from_the_edges():
    for target in (8000, 44100):
        found = resample(np.full(4000, 0.25), 16000, target)[300:-400]
        np.testing.assert_allclose(found, 0.25, atol=1e-6)


def test_flush_and_reset_start_afresh():
    resampler, samples = Resampler(48000, 16000), noise(999)
    first = in_chunks(resampler, samples, [300])
    np.testing.assert_array_equal(first, in_chunks(resampler, samples, [300]))
    resampler.process(noise(50, 4))
    resampler.reset()
    np.testing.assert_array_equal(first, in_chunks(resampler, samples, [300]))


def test_nan_leaves_the_stream_again():
    resampler = Resampler(16000, 8000)
    resampler.process(np.full(10, np.nan))
    resampler.process(np.zeros(2 * resampler.look_ahead))
    assert np.isfinite(resampler.process(noise(500))).all()


def test_resampler_refuses_bad_input():
    for rates in ((0, 16000), (16000, -1), (16000.0, 8000)):
        with pytest.raises(InputError, match="positive integer"):
            Resampler(*rates)
    resampler = Resampler(16000, 8000)
    for shape in ((2, 2, 2), (5, 0), ()):
        with pytest.raises(InputError, match="expected"):
            resampler.process(np.zeros(shape))
    resampler.process(np.zeros((10, 2)))
    for shape in ((10, 3), (10,)):
        with pytest.raises(InputError, match="same layout"):
            resampler.process(np.zeros(shape))


# ------------------------------------------------------------------ reading


@pytest.mark.parametrize("name", ["a.wav", "b.flac", "grüße 音.ogg"])
def test_probe_and_read(tmp_path, name):
    path = tmp_path / name
    soundfile.write(path, noise(1000, 2), 44100)
    info = probe(path)
    assert (info.channels, info.frames, info.sample_rate) == (2, 1000, 44100)
    assert info.seconds == pytest.approx(1000 / 44100)
    samples, rate = read_audio(str(path))
    assert samples.dtype == np.float32
    assert samples.shape == (1000, 2) and rate == 44100
    mono, _ = read_audio(path, mono=True)
    np.testing.assert_allclose(mono[:, 0], samples.mean(1), atol=1e-7)
    fast, rate = read_audio(path, sample_rate=16000)
    np.testing.assert_array_equal(fast, resample(samples, 44100, 16000))
    assert rate == 16000


def test_integers_become_floats_in_unit_range(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([-(2**15), 2**14], "i2"), 8000)
    samples, _ = read_audio(tmp_path / "a.wav")
    assert samples[:, 0].tolist() == [-1.0, 0.5]


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 1200))
def test_blocks_are_the_file(tmp_path_factory, frames):
    path = tmp_path_factory.mktemp("blocks") / "a.wav"
    soundfile.write(path, noise(1000, 2), 16000, "FLOAT")
    blocks = list(iter_blocks(path, frames))
    assert all(len(block) == frames for block in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate(blocks), noise(1000, 2))


def bad_files(folder):
    """Write one file of each bad kind; return (path, expected message)."""
    text, empty, none = folder / "text.wav", folder / "0.wav", folder / "n.wav"
    nan, cut, raw = folder / "nan.wav", folder / "cut.flac", folder / "a.raw"
    text.write_text("not audio at all")
    empty.touch()
    raw.write_bytes(bytes(100))
    soundfile.write(none, np.zeros((0, 1)), 16000)
    samples = noise(100, 2)
    samples[7, 1] = np.nan
    soundfile.write(nan, samples, 16000, "FLOAT")
    soundfile.write(cut, noise(16000), 16000)
    cut.write_bytes(cut.read_bytes()[:-8000])
    return {
        folder / "missing.wav": "does not exist",
        folder: "is a folder",
        text: "cannot be read as audio",
        raw: "cannot be read as audio",
        empty: "0 bytes",
        none: "0 samples",
        nan: "sample 7 of channel 1 is nan",
        cut: "cut short|cannot be read as audio",
        folder / ("x" * 300): "cannot be read as audio|does not exist",
    }


def test_bad_files_are_one_clear_line(tmp_path):
    for path, message in bad_files(tmp_path).items():
        for attempt in (
            lambda path=path: read_audio(path),
            lambda path=path: list(iter_blocks(path, 64)),
        ):
            with pytest.raises(InputError, match=message) as error:
                attempt()
            assert "\n" not in str(error.value)
            assert str(path) in str(error.value)


def test_blocks_check_before_the_first_is_asked_for(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        iter_blocks(tmp_path / "missing.wav", 64)
    with pytest.raises(InputError, match="at least 1"):
        iter_blocks(tmp_path / "missing.wav", 0)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(InputError, match="not a regular file"):
        read_audio(tmp_path / "pipe.wav")


# ------------------------------------------------------------------ writing


@pytest.mark.parametrize(
    "name, subtype, kept",
    [("o.wav", "PCM_24", 1e-6), ("o.flac", None, 1e-4), ("o.wav", "FLOAT", 0)],
)
def test_write_and_read_again(tmp_path, name, subtype, kept):
    path, samples = tmp_path / name, noise(500, 2)
    write_audio(path, samples, 16000, subtype)
    found, rate = read_audio(path)
    np.testing.assert_allclose(found, samples, atol=kept)
    assert rate == 16000
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    "source, target, container, subtype",
    [
        (("a.wav", "WAVEX", "PCM_24"), "b.wav", "WAVEX", "PCM_24"),
        (("a.wav", "WAV", "FLOAT"), "b.wav", "WAV", "FLOAT"),
        (("a.wav", "WAV", "PCM_24"), "b.flac", "FLAC", "PCM_24"),
        (("a.wav", "WAV", "FLOAT"), "b.flac", "FLAC", "PCM_16"),
        (("a.ogg", "OGG", "VORBIS"), "b.wav", "WAV", "PCM_16"),
        (("a.WAV", "WAV", "PCM_U8"), "b.wav", "WAV", "PCM_U8"),
        (("a.wav", "WAV", "PCM_16"), "b.opus", "OGG", "OPUS"),
        (("a.mp3", "MP3", "MPEG_LAYER_III"), "b.wav", "WAV", "PCM_16"),
    ],
)
def test_coding_of_the_source_is_kept(
    tmp_path, source, target, container, subtype
):
    name, *coding = source
    soundfile.write(
        tmp_path / name, noise(99), 16000, coding[1], format=coding[0]
    )
    like = probe(tmp_path / name)
    write_audio(tmp_path / target, noise(99), 16000, like=like)
    found = probe(tmp_path / target)
    assert (found.format, found.subtype) == (container, subtype)


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, noise(10), 16000)
    before = path.read_bytes()
    for block in (np.full(5, np.inf), np.zeros((5, 2)), np.zeros((5, 1, 1))):
        with pytest.raises(InputError):
            with AtomicWriter(path, 16000, 1) as writer:
                writer.write(noise(7))
                writer.write(block)
    with pytest.raises(KeyboardInterrupt):
        with AtomicWriter(path, 16000, 1) as writer:
            raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_impossible_targets(tmp_path):
    file = tmp_path / "file.wav"
    write_audio(file, noise(10), 16000)
    (tmp_path / "folder.wav").mkdir()
    for path, options, message in [
        (tmp_path / "no" / "a.wav", {}, "not an existing folder"),
        (file / "a.wav", {}, "not an existing folder"),
        (tmp_path / "folder.wav", {}, "is a folder"),
        (tmp_path / "a.xyz", {}, "one of the extensions"),
        (tmp_path / "a.flac", {"subtype": "FLOAT"}, "expected one of PCM"),
        (file, {"overwrite": False}, "exists already"),
        (tmp_path / "a.flac", {"channels": 99}, "cannot write"),
    ]:
        options = {"channels": 1, **options}
        with pytest.raises(InputError, match=message) as error:
            with AtomicWriter(path, 16000, **options):
                pass
        assert "\n" not in str(error.value)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_reported(tmp_path):
    code = (
        "import numpy, resource, signal, sys\n"
        "from speechbrain_dsn.dataio.audio import write_audio\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "write_audio(sys.argv[1], numpy.zeros(100000), 16000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.wav"],
        capture_output=True,
        text=True,
    )
    assert "InputError: cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_kill_in_mid_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, noise(10), 16000)
    code = (
        "import numpy, sys, time\n"
        "from speechbrain_dsn.dataio.audio import AtomicWriter\n"
        "with AtomicWriter(sys.argv[1], 16000, 1) as writer:\n"
        "    writer.write(numpy.zeros(100000))\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"written\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert probe(path).frames == 10
    assert collect_audio([tmp_path]) == [path]


# --------------------------------------------------------------- collecting


def test_files_folders_and_globs(tmp_path):
    names = ["a.wav", "B.FLAC", "deep/er/c.ogg", "deep/.hidden.wav", "x.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    audio = sorted(tmp_path / name for name in names[:3])
    assert collect_audio([tmp_path]) == audio
    assert collect_audio([tmp_path, tmp_path / "a.wav"]) == audio
    assert collect_audio([tmp_path / "*.wav"]) == [tmp_path / "a.wav"]
    assert collect_audio([tmp_path / "**" / "*.ogg"]) == audio[-1:]
    assert collect_audio([tmp_path / "d*"]) == audio[-1:]
    assert collect_audio([tmp_path / "x.txt"]) == [tmp_path / "x.txt"]
    assert collect_audio([tmp_path], [".flac"]) == [tmp_path / "B.FLAC"]


def test_names_with_brackets_are_files(tmp_path):
    (tmp_path / "take[1].wav").touch()
    found = collect_audio([tmp_path / "take[1].wav"])
    assert found == [tmp_path / "take[1].wav"]


def test_a_missing_file_stays_in_a_batch_but_not_alone(tmp_path):
    (tmp_path / "a.wav").touch()
    both = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert collect_audio(both) == both
    for nothing in ([tmp_path / "b.wav"], [tmp_path / "*.mp3"], []):
        with pytest.raises(InputError, match="found none"):
            collect_audio(nothing)


@pytest.mark.parametrize("shape", [(900,), (900, 2)])
@pytest.mark.parametrize("rates", [(48000, 16000), (16000, 16000)])
def test_a_resampler_goes_on_from_a_saved_state(shape, rates):
    signal = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    one, other = Resampler(*rates), Resampler(*rates)
    other.load(one.arrays())  # before the first sample too
    before = one.process(signal[:500])
    other.load(one.arrays())
    rest = one.process(signal[500:]), one.flush()
    again = other.process(signal[500:]), other.flush()
    assert np.array_equal(np.concatenate(rest), np.concatenate(again))
    whole = np.concatenate([before, *rest])
    np.testing.assert_allclose(whole, resample(signal, *rates), atol=1e-6)
