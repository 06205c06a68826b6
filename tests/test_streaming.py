"""Streams: equal to offline for any chunks, and never poisoned."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import TINY_DEMUCS, tiny_router

from speechbrain_dsn.dataio.audio import resample
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.inference import backends
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.session import TorchSession
from speechbrain_dsn.inference.streaming import (
    Stream,
    StreamingEnhancement,
    make_controller,
)
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig

TINY = {"channels": [4, 4, 8], "groups": 2, "window": 9}
MODELS = {
    "ftfnet": ModelConfig("tiny", "ftfnet", TINY),
    "dynamic": ModelConfig(
        "tiny",
        "dynamic_ftfnet",
        {**TINY, "static_groups": 1},
        calibration=Calibration((0.0, 0.5, 1.0), (-1e4, 0.0, 1e4)),
    ),
    "overlapping": ModelConfig(
        "tiny",
        "dynamic_ftfnet",
        {**TINY, "static_groups": 1},
        front_end_arguments={"n_fft": 128, "hop": 32},
    ),
    "demucs": ModelConfig("tiny", "demucs", TINY_DEMUCS, front_end="waveform"),
    "routed": None,
}
BACKENDS = {"torch": TorchSession, "onnx": OnnxSession.from_model}
TOLERANCE = {"torch": 1e-5, "onnx": 1e-4}


@pytest.fixture(scope="module")
def models():
    """Random weights; the policy's gates change from frame to frame."""
    torch.manual_seed(0)
    made = {}
    for name, config in MODELS.items():
        if name == "routed":
            made[name] = tiny_router()
            continue
        enhancer = config.build()
        if name == "demucs":
            enhancer.lobe.decoders[-1].second.data.mul_(10)
            made[name] = LoadedModel(enhancer, config)
            continue
        for parameter in enhancer.parameters():
            torch.nn.init.normal_(parameter, parameter.mean().item(), 0.2)
        if enhancer.dynamic:
            enhancer.lobe.policy.head.weight.data.mul_(20)
            wav = signal(4000)[None]
            logits = enhancer(torch.from_numpy(wav))[1].logits
            # The threshold lies in a gap: no gate hangs on a rounding error.
            middle = logits.flatten().sort().values[8:-4]
            gap = middle.diff().argmax()
            cut = (middle[gap] + middle[gap + 1]) / 2
            enhancer.lobe.policy.head.bias.data -= cut.detach()
        made[name] = LoadedModel(enhancer, config)
    return made


@pytest.fixture(scope="module")
def sessions(models):
    return {
        (name, backend): make(model)
        for name, model in models.items()
        for backend, make in BACKENDS.items()
    }


def signal(samples, seed=0):
    noise = np.random.default_rng(seed).normal(0, 0.1, samples)
    loudness = 1 + np.sin(np.arange(samples) / 700)
    return (noise * loudness).astype(np.float32)


def offline(model, wav):
    """At the default budget, as a stream."""
    decide = model.decide()
    with torch.no_grad():
        out, _ = model.enhancer(torch.from_numpy(wav)[None], **decide)
    return out[0].numpy()


def in_chunks(stream, wav, sizes, rate=None):
    out, start = [], 0
    for size in sizes:
        out.append(stream.run(wav[start : start + size], rate))
        start += size
    out.append(stream.run(wav[start:], rate))
    return np.concatenate([*out, stream.flush()])


each_session = pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in MODELS for backend in BACKENDS],
)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


@each_session
@given(
    st.integers(1, 2000),
    st.lists(st.sampled_from([0, 1, 2, 31, 255, 256, 257, 1000]), max_size=8),
)
def test_any_chunks_give_what_offline_gives(
    models, sessions, name, backend, samples, sizes
):
    wav = signal(samples)
    stream = StreamingEnhancement(sessions[name, backend]).stream
    expected = offline(models[name], wav)
    for _ in range(2):  # a flushed stream is as a new one
        out = in_chunks(stream, wav, sizes)
        assert out.dtype == np.float32 and len(out) == samples
        np.testing.assert_allclose(out, expected, atol=TOLERANCE[backend])


@each_backend
def test_every_width_ran_and_is_counted(models, sessions, backend):
    stream = StreamingEnhancement(sessions["routed", backend]).stream
    wav = signal(6400)
    stream.run(wav)
    model = models["routed"]
    with torch.no_grad():
        _, decision = model.enhancer(
            torch.from_numpy(wav)[None], **model.decide()
        )
    usage = decision.values[0, : stream.frames].mean(0)
    assert stream.frames == 100 and usage.min() > 0.1
    cost = model.enhancer.report().cost
    assert stream.activation == pytest.approx(usage @ torch.tensor(cost.levels))
    rate = model.enhancer.report().frame_rate
    assert stream.macs_per_second == pytest.approx(
        cost.at(usage.tolist()) * rate
    )


def test_both_branches_ran(models, sessions):
    stream = Stream(sessions["dynamic", "onnx"])
    stream.run(signal(16000))
    decision = models["dynamic"].enhancer(
        torch.from_numpy(signal(16000))[None]
    )[1]
    assert 0.1 < stream.activation < 0.9
    frames = stream.frames
    assert stream.opened == decision.values[0, :frames].sum()
    cost = models["dynamic"].enhancer.report().cost
    rate = models["dynamic"].enhancer.report().frame_rate
    expected = (cost.fixed + stream.activation * cost.gated[0]) * rate
    assert stream.macs_per_second == pytest.approx(expected)


@each_session
def test_latency_is_tight(sessions, name, backend):
    """A sample is out once `latency_ms` of signal have come after its begin,
    and not before."""
    session = sessions[name, backend]
    enhancement = StreamingEnhancement(session)
    shift = enhancement.frame_shift_in_samples
    latency = round(enhancement.latency_ms * enhancement.sample_rate / 1000)
    got = 0
    for sample in range(1, 2 * latency + 1):
        got += len(enhancement.run(signal(1)))
        assert got == max(0, (sample // shift) * shift + shift - latency)


@each_backend
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_another_rate_is_resampled_both_ways(models, sessions, backend, rate):
    wav = resample(signal(2500), 16000, rate)[:, None][:, 0]
    stream = Stream(sessions["dynamic", backend])
    out = in_chunks(stream, wav, [1, 700, 0, 333], rate)
    middle = offline(models["dynamic"], resample(wav, rate, 16000))
    expected = resample(middle, 16000, rate)[: len(wav)]
    assert len(out) == len(wav)
    np.testing.assert_allclose(out[: len(expected)], expected, atol=1e-4)


@each_backend
@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("name", ["dynamic", "routed"])
def test_saved_and_restored_in_mid_stream(sessions, name, backend, rate, hold):
    session = sessions[name, backend]
    enhancement = StreamingEnhancement(session, 0.5, hold)
    wav = signal(6000)
    whole = in_chunks(enhancement.make_stream(), wav, [2100], rate)
    first, second = enhancement.make_stream(), enhancement.make_stream()
    second.run(signal(900, seed=1), rate)  # anything
    out = [first.run(wav[:2100], rate)]
    second.load(first.arrays())
    first.run(signal(3000, seed=2), rate)  # goes its own way
    out += [second.run(wav[2100:], rate), second.flush()]
    assert np.array_equal(np.concatenate(out), whole)
    # Flushed: both have forgotten the signal, and what it took.
    assert first.frames > second.frames == 0


def test_a_state_of_something_else_is_refused(sessions):
    stream = Stream(sessions["dynamic", "onnx"])
    for other in (
        Stream(sessions["ftfnet", "onnx"]),
        Stream(sessions["dynamic", "torch"]),
        StreamingEnhancement(sessions["dynamic", "onnx"], 0.5, True).stream,
    ):
        with pytest.raises(InputError, match="state"):
            stream.load(other.arrays())
    with pytest.raises(InputError, match="nothing"):
        stream.load({})


@each_backend
def test_streams_do_not_meet(sessions, backend):
    enhancement = StreamingEnhancement(sessions["dynamic", backend])
    wavs = [signal(1500, seed) for seed in range(3)]
    alone = [in_chunks(enhancement.make_stream(), x, []) for x in wavs]
    streams = [enhancement.make_stream() for _ in wavs]
    parts = [[] for _ in wavs]
    for start in range(0, 1500, 100):
        for stream, wav, part in zip(streams, wavs, parts, strict=True):
            part.append(stream.run(wav[start : start + 100]))
    for stream, part, expected in zip(streams, parts, alone, strict=True):
        part.append(stream.flush())
        np.testing.assert_allclose(np.concatenate(part), expected, atol=1e-5)


@each_backend
def test_contexts_in_the_manner_of_speechbrain(models, sessions, backend):
    enhancement = StreamingEnhancement(sessions["dynamic", backend])
    context = enhancement.make_streaming_context(batch_size=2)
    wav = torch.from_numpy(np.stack([signal(1000, 1), signal(1000, 2)]))
    out = [
        enhancement.enhance_chunk(context, chunk, last=chunk.size(1) < 300)
        for chunk in wav.split(300, 1)
    ]
    expected = np.stack([offline(models["dynamic"], x.numpy()) for x in wav])
    np.testing.assert_allclose(torch.cat(out, 1), expected, atol=1e-4)
    with pytest.raises(InputError, match="expected .2, n."):
        enhancement.enhance_chunk(context, wav[:1])


@each_backend
def test_one_item_of_a_context_starts_anew(models, sessions, backend):
    """In time with the others: a sample comes out where it went in."""
    enhancement = StreamingEnhancement(sessions["dynamic", backend])
    context = enhancement.make_streaming_context(batch_size=2)
    wav = torch.from_numpy(np.stack([signal(1700, 1), signal(1700, 2)]))
    out = [enhancement.enhance_chunk(context, wav[:, :700])]
    context.reset(1)
    out.append(enhancement.enhance_chunk(context, wav[:, 700:], last=True))
    out = torch.cat(out, 1).numpy()
    expected = offline(models["dynamic"], wav[0].numpy())
    np.testing.assert_allclose(out[0], expected, atol=1e-4)
    # The hop in which it starts begins with silence.
    begin = 700 // 256 * 256
    tail = np.concatenate([np.zeros(700 - begin), wav[1, 700:]])
    expected = offline(models["dynamic"], tail.astype(np.float32))
    np.testing.assert_allclose(out[1, begin:], expected, atol=1e-4)


def test_file_piece_by_piece(models, sessions, tmp_path):
    wav = np.stack([signal(2000, 1), signal(2000, 2)], 1)
    path = Path(tmp_path) / "noisy.wav"
    soundfile.write(path, wav, 16000, subtype="FLOAT")
    enhancement = StreamingEnhancement(sessions["dynamic", "onnx"])
    pieces = list(enhancement.enhance_file_streaming(path))
    assert len(pieces) == 3  # 0.1 s, the rest, the tail
    expected = np.stack([offline(models["dynamic"], x) for x in wav.T], 1)
    np.testing.assert_allclose(np.concatenate(pieces), expected, atol=1e-4)
    with pytest.raises(InputError, match="does not exist"):
        enhancement.enhance_file_streaming(tmp_path / "nothing.wav")


def test_int16_is_scaled(sessions):
    coded = (signal(2000) * 32767).astype(np.int16)
    stream = Stream(sessions["dynamic", "onnx"])
    expected = in_chunks(stream, coded.astype(np.float32) / 32768, [])
    assert np.array_equal(in_chunks(stream, coded, [700]), expected)


BAD = {
    "nan": np.array([0.1, np.nan], np.float32),
    "inf": np.array([np.inf], np.float32),
    "loud": np.array([32000.0]),
    "rank": np.zeros((2, 100), np.float32),
    "scalar": np.float32(0.5),
    "integers": np.arange(10),
    "complex": np.zeros(10, np.complex64),
    "text": np.array(["a"]),
}


@each_backend
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_chunk_leaves_the_stream_as_it_was(sessions, backend, kind):
    wav = signal(2000)
    expected = in_chunks(Stream(sessions["dynamic", backend]), wav, [700])
    stream = Stream(sessions["dynamic", backend])
    out = [stream.run(wav[:700])]
    with pytest.raises(InputError) as caught:
        stream.run(BAD[kind])
    assert "\n" not in str(caught.value)
    out += [stream.run(wav[700:]), stream.flush()]
    assert np.array_equal(np.concatenate(out), expected)


@each_backend
def test_rates_are_checked(sessions, backend):
    stream = Stream(sessions["dynamic", backend])
    for rate in (0, -8000, 16000.0, "16000"):
        with pytest.raises(InputError, match="rate"):
            stream.run(signal(100), rate)
    stream.run(signal(100), 48000)
    with pytest.raises(InputError, match="one rate"):
        stream.run(signal(100), 16000)
    stream.flush()
    stream.run(signal(100), 16000)


@each_backend
def test_loudest_allowed_input_stays_finite(sessions, backend):
    stream = Stream(sessions["dynamic", backend])
    loud = np.where(np.arange(3000) % 3, 1e3, -1e3)
    assert np.isfinite(stream.run(loud)).all()
    assert np.isfinite(stream.run(signal(3000))).all()


@each_backend
@pytest.mark.parametrize("name", ["dynamic", "routed"])
def test_held_budget(sessions, name, backend):
    session = sessions[name, backend]
    stream = StreamingEnhancement(session, 0.4, hold=True).stream
    seconds = 10 if (name, backend) == ("dynamic", "onnx") else 2
    stream.run(signal(16000 * seconds))
    limit = make_controller(session.info, 0.4).limit
    assert 0 < stream.opened < stream.frames
    assert abs(stream.opened - 0.4 * stream.frames) <= limit


@each_backend
@pytest.mark.parametrize("name", ["dynamic", "routed"])
def test_budget_by_calibration(sessions, name, backend):
    session = sessions[name, backend]
    lowest = session.info.cost.levels[0]
    for budget in (0.0, 1.0):
        stream = StreamingEnhancement(session, budget).stream
        stream.run(signal(3000))
        assert stream.activation == max(budget, lowest)


@pytest.mark.parametrize(
    ("name", "budget", "hold", "message"),
    [
        ("ftfnet", 0.5, False, "static"),
        ("ftfnet", 0.5, True, "static"),
        ("demucs", 0.5, False, "static"),
        ("dynamic", 1.5, False, "budget 1.5"),
        ("dynamic", 1.5, True, "budget 1.5"),
        ("dynamic", None, True, "no default budget"),
        ("overlapping", 0.5, False, "no calibration"),
    ],
)
def test_budgets_that_cannot_be(sessions, name, budget, hold, message):
    with pytest.raises(InputError, match=message):
        StreamingEnhancement(sessions[name, "onnx"], budget, hold)


def test_from_pretrained(models, tmp_path, monkeypatch):
    from speechbrain_dsn.export.onnx import export_onnx
    from speechbrain_dsn.pretrained import save_model

    model = models["dynamic"]
    folder = tmp_path / "tiny"
    save_model(folder, model.enhancer, model.config, "card")
    file = export_onnx(model, tmp_path / "tiny.onnx")
    wav = signal(2000)
    expected = offline(model, wav)
    load = StreamingEnhancement.from_pretrained
    for source, backend, runs_on in (
        (folder, "auto", "onnx"),
        (folder, "torch", "torch"),
        (str(file), "auto", "onnx"),
    ):
        enhancement = load(source, backend=backend)
        assert enhancement.session.backend == runs_on
        out = in_chunks(enhancement, wav, [500])
        np.testing.assert_allclose(out, expected, atol=1e-4)
    with pytest.raises(InputError, match="backend 'tf'"):
        load(folder, backend="tf")
    with pytest.raises(InputError, match="torch"):
        load(file, backend="torch")
    monkeypatch.setattr(backends, "onnx_available", lambda: False)
    with pytest.warns(UserWarning, match="onnxruntime is missing"):
        assert load(folder).session.backend == "torch"
