"""Blocks, batches, files and pairs give what the whole signal gives."""

import json
import math

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import noise, save_tiny, tiny_model

from speechbrain_dsn.dataio.resample import resample
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.blocks import AlignedStream, SignalStream
from speechbrain_dsn.inference.enhancement import DynamicEnhancement
from speechbrain_dsn.inference.evaluation import (
    Pair,
    evaluate_pairs,
    folder_pairs,
)
from speechbrain_dsn.inference.files import enhance_to_file
from speechbrain_dsn.metrics import MetricTable, Score

MODEL = tiny_model()
STATIC = tiny_model(static=True)


@pytest.fixture(scope="module")
def enhancement(tmp_path_factory):
    folder = save_tiny(tmp_path_factory.mktemp("model") / "tiny")
    return DynamicEnhancement.from_pretrained(folder)


def whole(wav, model=MODEL):
    """The reference: everything at once, computed in full and masked."""
    with torch.no_grad():
        return model.enhancer(wav, **model.decide())


def signal_stream(rate, channels, model=MODEL):
    stream = AlignedStream(model.enhancer, channels, model.decide())
    return SignalStream(stream, rate)


@given(
    samples=st.integers(1, 5000),
    cuts=st.lists(st.integers(0, 5000), max_size=6),
    static=st.booleans(),
)
def test_blocks_of_any_length_give_the_whole(samples, cuts, static):
    model = STATIC if static else MODEL
    wav = torch.from_numpy(noise(samples, 2).T.copy())
    stream = AlignedStream(model.enhancer, 2, model.decide())
    edges = sorted({0, samples, *(min(cut, samples) for cut in cuts)})
    parts = [stream.push(wav[:, :0])]
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        parts.append(stream.push(wav[:, begin:end]))
        assert sum(part.size(1) for part in parts) <= end
    parts.append(stream.flush())
    estimate, decision = whole(wav, model)
    assert torch.allclose(torch.cat(parts, 1), estimate, atol=1e-4)
    if static:
        assert stream.meter().activation == 1
        cost = model.enhancer.report().macs_per_second(1)
        assert stream.meter().macs_per_second == pytest.approx(cost)
    else:
        assert torch.equal(stream.decision().values, decision.values)


def test_the_model_decides_both_ways():
    """Otherwise the tests of the skipping path would test little."""
    _, decision = whole(torch.from_numpy(noise(80_000).T))
    assert 0.1 < decision.usage() < 0.9


@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]),
    channels=st.integers(1, 3),
    samples=st.integers(1, 9000),
    block=st.integers(100, 9000),
)
def test_signals_of_any_rate_keep_their_length(rate, channels, samples, block):
    stream = signal_stream(rate, channels)
    signal = noise(samples, channels)
    parts = [
        stream.push(signal[begin : begin + block])
        for begin in range(0, samples, block)
    ]
    result = np.concatenate([*parts, stream.flush()])
    assert result.shape == signal.shape and np.isfinite(result).all()


def test_resampling_keeps_time_and_level():
    """A model that changes nothing: only resampling is left."""
    model = tiny_model(static=True)
    with torch.no_grad():
        model.enhancer.lobe.deconv4.weight.zero_()  # mask = bias = 1
    time = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 1000 * time, dtype=np.float32)[:, None]
    high = np.sin(2 * np.pi * 12_000 * time, dtype=np.float32)[:, None]
    stream = signal_stream(48_000, 1, model)
    result = np.concatenate([stream.push(tone + high), stream.flush()])
    inside = slice(4800, -4800)
    assert np.abs(result - tone)[inside].max() < 0.01


def test_channels_do_not_mix():
    signal = noise(6000, 2)
    alone = signal_stream(16_000, 1)
    left = np.concatenate([alone.push(signal[:, :1]), alone.flush()])
    both = signal_stream(16_000, 2)
    result = np.concatenate([both.push(signal), both.flush()])
    assert np.allclose(result[:, :1], left, atol=1e-5)


def test_batches_match_single_signals(enhancement):
    noisy = torch.from_numpy(noise(8000, 3).T.copy())
    lengths = torch.tensor([1.0, 0.5, 0.3])
    wav, decision = enhancement.enhance_batch(
        noisy, lengths, return_decision=True
    )
    assert wav.shape == noisy.shape
    for item, length in enumerate([8000, 4000, 2400]):
        alone, gates = whole(noisy[item : item + 1, :length])
        assert torch.allclose(wav[item, :length], alone[0], atol=1e-4)
        assert not wav[item, length:].any()
        usage = gates.usage()[0].float()
        assert torch.allclose(decision.usage()[item], usage)
    assert torch.equal(enhancement(noisy, lengths), wav)


def test_batches_go_block_by_block(enhancement, monkeypatch):
    noisy = torch.from_numpy(noise(40_000).T.copy())
    one = enhancement.enhance_batch(noisy)
    calls = []
    stream = AlignedStream.push
    monkeypatch.setattr(
        AlignedStream,
        "push",
        lambda self, wav: calls.append(wav.size(1)) or stream(self, wav),
    )
    monkeypatch.setattr(
        "speechbrain_dsn.inference.enhancement.BLOCK_SECONDS", 1.0
    )
    many = enhancement.enhance_batch(noisy)
    assert calls[:3] == [16_000, 16_000, 8_000]
    assert torch.allclose(one, many, atol=1e-5)


def test_budget_moves_the_cost_monotonically(enhancement):
    noisy = torch.from_numpy(noise(80_000).T.copy())
    use = []
    for budget in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, decision = enhancement.enhance_batch(
            noisy, budget=budget, return_decision=True
        )
        use.append(float(decision.usage()))
    assert use == sorted(use) and use[0] == 0 and use[-1] == 1
    assert 0 < use[1] < use[3] < 1


@pytest.mark.parametrize(
    ("noisy", "kwargs", "words"),
    [
        (torch.zeros(100), {}, "B, T"),
        (torch.zeros(1, 0), {}, "at least one sample"),
        (torch.zeros(1, 9, dtype=torch.int16), {}, "int16"),
        (np.zeros((1, 9)), {}, "ndarray"),
        (torch.full((1, 9), math.nan), {}, "sample 0 of item 0 is nan"),
        (torch.zeros(2, 9), {"lengths": torch.ones(1)}, r"\(0, 1\]"),
        (torch.zeros(1, 9), {"lengths": torch.tensor([1.5])}, r"\(0, 1\]"),
        (torch.zeros(1, 9), {"budget": 1.5}, "0 to 1"),
    ],
)
def test_bad_batches_are_refused(enhancement, noisy, kwargs, words):
    with pytest.raises(InputError, match=words):
        enhancement.enhance_batch(noisy, **kwargs)


def test_garbage_beyond_the_length_does_no_harm(enhancement):
    noisy = torch.from_numpy(noise(2000).T.copy())
    noisy[0, 1000:] = math.nan
    wav = enhancement.enhance_batch(noisy, torch.tensor([0.5]))
    assert torch.isfinite(wav).all()


@pytest.mark.parametrize("name", ["été 噪音.flac", "b.wav"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_keep_rate_length_channels_and_coding(
    enhancement, tmp_path, name, channels
):
    source, target = tmp_path / name, tmp_path / f"out_{name}"
    soundfile.write(source, noise(44_100, channels), 44_100, "PCM_24")
    report = enhancement.enhance_to_file(source, target)
    before, after = soundfile.info(source), soundfile.info(target)
    for key in ("samplerate", "frames", "channels", "format", "subtype"):
        assert getattr(before, key) == getattr(after, key)
    wav = enhancement.enhance_file(source)
    assert wav.shape == ((44_100,) if channels == 1 else (2, 44_100))
    written = soundfile.read(target, dtype="float32", always_2d=True)[0]
    expected = wav.numpy().reshape(channels, -1).T.clip(-1, 1)
    assert np.allclose(written, expected, atol=1e-6)
    assert report.gates.shape == (channels, 64, 1)
    assert report.activation == pytest.approx(report.gates.mean())
    json.dumps(report.as_dict(), allow_nan=False)


def test_files_equal_the_whole_signal(tmp_path, monkeypatch):
    monkeypatch.setattr("speechbrain_dsn.inference.files.BLOCK_SECONDS", 1.0)
    signal = noise(50_000)
    path, output = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(path, signal, 16_000, "FLOAT")
    done = []
    report = enhance_to_file(MODEL, path, output, progress=done.append)
    assert done == [1.0, 1.0, 1.0, 0.125]
    estimate, decision = whole(torch.from_numpy(signal.T.copy()))
    written = soundfile.read(output, dtype="float32")[0]
    assert np.allclose(written, estimate[0].numpy(), atol=1e-4)
    assert report.activation == pytest.approx(float(decision.usage()))
    cost = MODEL.enhancer.report().macs_per_second(report.activation)
    assert report.macs_per_second == pytest.approx(cost)
    assert report.rtf > 0


def test_short_silent_and_clipped_files_work(enhancement, tmp_path):
    soundfile.write(tmp_path / "ten.wav", noise(10), 16_000)
    assert enhancement.enhance_file(tmp_path / "ten.wav").shape == (10,)
    soundfile.write(tmp_path / "still.wav", np.zeros(9000), 8000)
    assert not enhancement.enhance_file(tmp_path / "still.wav").any()
    soundfile.write(tmp_path / "clip.wav", 99 * noise(9000), 8000)
    target = tmp_path / "clipped.wav"
    wav = enhancement.enhance_file(tmp_path / "clip.wav", target)
    assert torch.isfinite(wav).all() and soundfile.info(target).frames == 9000


def test_nothing_half_written(enhancement, tmp_path):
    bad = noise(40_000)
    bad[39_000] = math.nan
    soundfile.write(tmp_path / "bad.wav", bad, 16_000, "FLOAT")
    with pytest.raises(InputError, match="39000"):
        enhancement.enhance_to_file(tmp_path / "bad.wav", tmp_path / "o.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.wav"]


def test_outputs_are_guarded(enhancement, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1000), 16_000)
    before = path.read_bytes()
    (tmp_path / "link.wav").symlink_to(path)
    for target in (path, tmp_path / "link.wav"):
        for method in (enhancement.enhance_file, enhancement.enhance_to_file):
            with pytest.raises(InputError, match="the input itself"):
                method(path, target, overwrite=True)
    soundfile.write(tmp_path / "there.wav", noise(10), 16_000)
    with pytest.raises(InputError, match="exists already"):
        enhancement.enhance_file(path, tmp_path / "there.wav")
    assert path.read_bytes() == before


def test_from_hparams_loads_model_folders_only(tmp_path):
    folder = save_tiny(tmp_path / "tiny")
    enhancement = DynamicEnhancement.from_hparams(
        source=str(folder), savedir=str(tmp_path), run_opts={"device": "cpu"}
    )
    assert enhancement.enhance_batch(torch.zeros(1, 100)).shape == (1, 100)
    with pytest.raises(InputError, match="hparams_file"):
        DynamicEnhancement.from_hparams(folder, hparams_file="x.yaml")
    canary = tmp_path / "canary"
    yaml = tmp_path / "yaml"
    yaml.mkdir()
    (yaml / "hyperparams.yaml").write_text(
        f"a: !apply:builtins.open ['{canary}', 'w']\n"
    )
    with pytest.raises(InputError, match="YAML"):
        DynamicEnhancement.from_hparams(yaml)
    assert not canary.exists()


def test_static_models_take_no_budget(tmp_path):
    folder = save_tiny(tmp_path / "still", static=True)
    enhancement = DynamicEnhancement.from_pretrained(folder)
    with pytest.raises(InputError, match="static"):
        enhancement.enhance_batch(torch.zeros(1, 100), budget=0.5)
    _, decision = enhancement.enhance_batch(
        torch.zeros(1, 100), return_decision=True
    )
    assert decision.usage() == 1


def make_pairs(count=3):
    def load(number):
        clean = noise(8000, seed=number)[:, 0]
        return lambda rate: (clean + 0.1 * noise(8000, seed=99)[:, 0], clean)

    return [Pair(f"{n}", load(n), float(5 * n)) for n in range(count)]


def test_evaluation_scores_quality_and_cost(monkeypatch):
    evaluation = evaluate_pairs(
        MODEL, make_pairs(), ["si_sdr", "pesq"], progress=False
    )
    found = evaluation.as_dict()
    assert list(found["metrics"]) == ["si_sdr", "pesq"]
    entry = found["metrics"]["si_sdr"]
    values = [file["metrics"]["si_sdr"]["noisy"] for file in found["files"]]
    assert entry["noisy"] == pytest.approx(np.mean(values))
    assert entry["difference"] == pytest.approx(
        entry["enhanced"] - entry["noisy"]
    )
    assert (entry["n_valid"], entry["n_total"]) == (3, 3)
    point = evaluation.point("si_sdr")
    assert point["value"] == pytest.approx(entry["enhanced"])
    assert [point["low"], point["high"]] == entry["enhanced_interval"]
    low, high = entry["noisy_interval"]
    assert low < entry["noisy"] < high
    use = [file["activation"] for file in found["files"]]
    assert found["activation"] == pytest.approx(np.mean(use))
    cost = MODEL.enhancer.report().macs_per_second(np.mean(use))
    assert found["macs_per_second"] == pytest.approx(cost)
    assert "snr_db" in found["correlation_of_activation"]
    json.dumps(found, allow_nan=False)
    table = MetricTable()
    evaluation.add_noisy_to(table)
    evaluation.add_to(table)
    assert "| tiny |" in table.markdown() and "| noisy |" in table.markdown()


def test_evaluation_goes_on_past_bad_files():
    def broken(rate):
        raise InputError("bad.wav does not exist")

    short = Pair("short", lambda rate: (np.zeros(9), np.zeros(8)))
    pairs = [*make_pairs(2), Pair("bad", broken), short]
    evaluation = evaluate_pairs(MODEL, pairs, ["si_sdr"], progress=False)
    entry = evaluation.as_dict()["metrics"]["si_sdr"]
    assert (entry["n_valid"], entry["n_total"]) == (2, 4)
    assert sum(entry["reasons"].values()) == 2
    assert "does not exist" in evaluation.files[2].error
    assert "9 samples" in evaluation.files[3].error
    assert math.isfinite(evaluation.activation)


def test_means_run_over_files_that_both_have():
    """A silent input has no SI-SDR: its output must not enter either."""
    clean = noise(8000)[:, 0]
    pairs = [
        *make_pairs(1),
        Pair("silent", lambda rate: (np.zeros_like(clean), clean)),
    ]
    evaluation = evaluate_pairs(STATIC, pairs, ["si_sdr"], progress=False)
    entry = evaluation.as_dict()["metrics"]["si_sdr"]
    assert (entry["n_valid"], entry["n_total"]) == (1, 2)
    assert evaluation.activation == 1


def test_noisy_scores_can_be_reused():
    first = evaluate_pairs(MODEL, make_pairs(), ["si_sdr"], progress=False)
    known = {
        name: {"si_sdr": Score(7.0 + number)}
        for number, name in enumerate(first.noisy)
    }
    again = evaluate_pairs(
        MODEL, make_pairs(), ["si_sdr"], 0.0, noisy=known, progress=False
    )
    assert again.files[1].noisy["si_sdr"].value == 8.0
    assert again.files[1].enhanced["si_sdr"].value != 8.0
    assert again.label == "tiny at 0" and again.activation == 0


def test_nothing_loud_is_lost():
    """Out of full scale DNSMOS is undefined: the triple is scaled down."""
    clean = 3 * noise(16_000)[:, 0]
    pair = Pair("loud", lambda rate: (8 * clean + noise(16_000)[:, 0], clean))
    evaluation = evaluate_pairs(MODEL, [pair], ["dnsmos_p808"], progress=False)
    assert evaluation.files[0].noisy["dnsmos_p808"].reason is None


def test_folder_pairs_match_by_name(tmp_path):
    for folder in ("clean/sub", "noisy/sub"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("clean/a.wav", "clean/sub/b.wav", "clean/lonely.wav"):
        soundfile.write(tmp_path / name, noise(8000), 8000)
    for name in ("noisy/a.flac", "noisy/sub/b.wav", "noisy/extra.wav"):
        soundfile.write(tmp_path / name, noise(8000, 2), 8000)
    pairs, unpaired = folder_pairs(tmp_path / "clean", tmp_path / "noisy")
    assert [pair.name for pair in pairs] == ["a", "sub/b"]
    assert len(unpaired) == 2
    assert "extra.wav" in unpaired[1] + unpaired[0]
    noisy, clean = pairs[0].load(16_000)
    assert noisy.shape == clean.shape == (16_000,)
    expected = resample(noise(8000, 2).mean(1, keepdims=True), 8000, 16_000)
    assert np.allclose(noisy, expected[:, 0], atol=1e-3)
    soundfile.write(tmp_path / "clean/a.flac", noise(80), 8000)
    with pytest.raises(InputError, match="one file of that name"):
        folder_pairs(tmp_path / "clean", tmp_path / "noisy")
    with pytest.raises(InputError, match="pairs of equal name"):
        folder_pairs(tmp_path / "clean/sub", tmp_path / "noisy")
    with pytest.raises(InputError, match="expected a folder"):
        folder_pairs(tmp_path / "nowhere", tmp_path / "noisy")
