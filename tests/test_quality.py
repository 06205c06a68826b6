"""The quality predictor: sizes, binary maps, weights on a grid, padding."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_model import noise, save_tiny
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.profiling import profile_model
from speechbrain_dsn.inference.quality import (
    QualityPrediction,
    quality_measure,
)
from speechbrain_dsn.lobes.models.quality import (
    MODES,
    POOLINGS,
    TARGETS,
    QualityNet,
)
from speechbrain_dsn.lobes.predictor import QualityPredictor
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.nnet.binary import GridConv2d, GridLinear, on_grid
from speechbrain_dsn.nnet.surrogate import heaviside
from speechbrain_dsn.pretrained import (
    LoadedModel,
    ModelConfig,
    load_model,
    make_card,
    save_model,
)

RATE = 16_000
SMALL = {"channels": (4, 4, 4, 8), "hidden": 8, "bands": 16, "segment": 40}
BINARY = [mode for mode in MODES if MODES[mode].binary]
every_mode = pytest.mark.parametrize("mode", MODES)


def small(mode, **more):
    torch.manual_seed(0)
    return QualityNet(mode, **SMALL | more).eval()


def tiny_judge(**arguments):
    """A predictor with random weights whose scores differ."""
    torch.manual_seed(4)
    arguments = {"mode": "binary_8bit", "targets": list(TARGETS)} | arguments
    arguments |= {"channels": [4, 4, 4, 8], "hidden": 8}
    config = ModelConfig(
        "tiny-judge", "quality_net", arguments, "mel", kind="quality"
    )
    with torch.random.fork_rng():
        predictor = config.build()
    for parameter in predictor.parameters():
        parameter.data.add_(torch.randn_like(parameter) / 10)
    return LoadedModel(predictor, config)


# -- weights on a grid ------------------------------------------------------


@given(st.integers(0, 2**31), st.floats(1e-6, 1e6))
def test_eight_bits_are_the_nearest_grid_point(seed, size):
    generator = torch.Generator().manual_seed(seed)
    weight = size * torch.randn(5, 4, 3, generator=generator)
    points, scale = on_grid(weight, "8bit")
    assert torch.equal(points, points.round()) and points.abs().max() == 127
    error = (points * scale - weight).abs().max()
    assert error <= 0.5001 * scale
    again, same = on_grid(points * scale, "8bit")
    assert torch.equal(again, points) and torch.isclose(same, scale)


def test_silent_weights_stay_on_the_grid():
    points, scale = on_grid(torch.zeros(2, 3), "8bit")
    assert torch.equal(points * scale, torch.zeros(2, 3))


@pytest.mark.parametrize("kind", ["8bit", "1bit"])
def test_gradients_pass_the_grid(kind):
    weight = torch.tensor([[-0.02, 0.01, 0.04]], requires_grad=True)
    points, scale = on_grid(weight, kind)
    (points * scale).sum().backward()
    slope = (
        torch.ones(1, 3)
        if kind == "8bit"
        else 2 * (2 / 3) ** 0.5 / (weight.detach().abs() + 1).square()
    )
    torch.testing.assert_close(weight.grad, slope)


def test_one_bit_weights_are_minus_one_and_one():
    layer = GridConv2d(4, 8, 3, weights="1bit")
    assert layer.weight.abs().max() <= 0.05
    points, scale = on_grid(layer.weight, "1bit")
    assert set(points.unique().tolist()) == {-1.0, 1.0}
    assert scale == pytest.approx((2 / 36) ** 0.5)


@pytest.mark.parametrize("kind", ["8bit", "1bit"])
def test_products_with_binary_maps_are_exact_sums(kind):
    """What an integer machine would compute, bit for bit."""
    torch.manual_seed(1)
    layer = GridConv2d(32, 8, 3, padding=1, weights=kind)
    x = (torch.rand(2, 32, 9, 7) < 0.4).float()
    points, scale = on_grid(layer.weight, kind)
    taps = torch.nn.functional.unfold(x, 3, padding=1).numpy().astype(int)
    rows = points.detach().flatten(1).numpy().astype(int)
    sums = torch.from_numpy(rows @ taps).float().view(2, 8, 9, 7)
    wanted = torch.addcmul(layer.bias[:, None, None], sums, scale)
    assert torch.equal(layer(x), wanted)


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="expected float, 8bit, 1bit"):
        GridLinear(2, 3, weights="4bit")
    with pytest.raises(ValueError, match="expected float, 8bit, 1bit"):
        on_grid(torch.zeros(2, 3), "4bit")


# -- the net ----------------------------------------------------------------


@every_mode
def test_parameters_are_those_of_the_published_net(mode):
    net = QualityNet(mode)
    assert sum(p.numel() for p in net.parameters()) == 45_697
    several = QualityNet(mode, TARGETS)
    assert sum(p.numel() for p in several.parameters()) == 45_697 + 3 * 65


def test_modes_can_start_from_each_other():
    shapes = [
        {name: x.shape for name, x in QualityNet(mode).state_dict().items()}
        for mode in MODES
    ]
    assert all(each == shapes[0] for each in shapes)


@pytest.mark.parametrize("mode", BINARY)
def test_maps_are_zeros_and_ones(mode):
    net, seen = small(mode), []
    for conv in net.convs[1:]:
        conv.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net.dense[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    net(torch.randn(3, 40, 16))
    assert len(seen) == 4
    values = torch.cat([x.flatten() for x in seen])
    assert set(values.unique().tolist()) == {0.0, 1.0}


def test_the_mean_of_a_map_says_how_often_it_is_on():
    net, seen = small("binary", pooling="mean"), []
    net.dense[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    net(torch.randn(3, 40, 16))
    times_on = seen[0] * (40 // 8) * (16 // 8)
    torch.testing.assert_close(times_on, times_on.round())
    assert times_on.unique().numel() > 2


@every_mode
def test_every_parameter_learns(mode):
    net = small(mode).train()
    net(torch.randn(8, 40, 16)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_the_first_layer_learns_by_the_surrogate():
    """The slope is that of `heaviside`, not that of a step."""
    x = torch.linspace(-3, 3, 13, requires_grad=True)
    heaviside(x).sum().backward()
    torch.testing.assert_close(x.grad, (x.detach().abs() + 1) ** -2)


def test_a_binary_net_can_fit():
    torch.manual_seed(0)
    net = small("binary_8bit", dropout=0.0)
    mel = torch.randn(16, 40, 16) + torch.linspace(-1, 1, 16)[:, None, None]
    labels = torch.linspace(1, 4, 16)[:, None]
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(80):
        loss = (net(mel) - labels).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3 * labels.var()


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(list(MODES)),
    st.lists(st.integers(8, 45), min_size=1, max_size=4),
    st.sampled_from(POOLINGS),
)
def test_padding_has_no_effect(mode, lengths, pooling):
    net = small(mode, pooling=pooling)
    mel = torch.randn(len(lengths), max(lengths) + 7, 16)
    scores = net(mel, torch.tensor(lengths))
    for item, length in enumerate(lengths):
        alone = net(mel[item : item + 1, :length])
        torch.testing.assert_close(scores[item : item + 1], alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "ternary"}, "mode: expected full_precision"),
        ({"pooling": "median"}, "pooling: expected max or mean"),
        ({"targets": ["stoi"]}, "targets: expected some of pesq"),
        ({"targets": []}, "targets: expected some"),
        ({"targets": ["pesq", "pesq"]}, "each once"),
        ({"bands": 4}, "at least 8 bands"),
        ({"segment": 7}, "at least 8 bands and frames"),
    ],
)
def test_bad_nets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        QualityNet(**arguments)


def test_short_inputs_are_refused():
    net = small("binary")
    with pytest.raises(ValueError, match="at least 8 frames, got 7"):
        net(torch.randn(1, 7, 16))
    with pytest.raises(ValueError, match="got 5"):
        net(torch.randn(2, 20, 16), torch.tensor([20, 5]))


# -- cost and memory --------------------------------------------------------


def test_macs_are_those_executed():
    net = QualityNet("full_precision").eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.randn(1, 249, 120))
    report = net.report()
    assert 2 * report.cost.open == counter.get_total_flops()
    assert report.frame_rate == pytest.approx(50 / 249)
    assert 100e6 < report.cost.open < 106e6


def test_memory_is_a_count_by_hand():
    net, first = QualityNet(), 32 * 249 * 120
    weights = 9 * (32 + 2 * 32 * 32 + 32 * 64) + 2 * 64 * 64 + 64
    biases, layers = 3 * 32 + 3 * 64 + 1, 7
    assert weights + biases == 45_697
    full = 4 * (first + weights + biases)
    assert net.memory_bytes("full_precision") == full
    binary = first // 8 + weights + 4 * biases + 4 * layers
    assert net.memory_bytes("binary_8bit") == binary
    assert full / binary > 24
    convolutions = weights - 2 * 64 * 64 - 64
    single = binary - 4 * 4 - convolutions + convolutions // 8
    assert net.memory_bytes("binary_1bit") == single
    assert net.memory_bytes("binary") == full - 4 * first + first // 8
    maps = sum(x.maps for x in net.memory("full_precision").values()) // 4
    assert maps == 1_283_520 + 64 + 64 + 1


# -- signals ----------------------------------------------------------------


def test_features_of_a_segment():
    predictor = QualityPredictor(QualityNet()).eval()
    root = miniset_folder()
    mixtures = load_fixed_list(root / "enhance_test.csv", root)[:6]
    wavs = [torch.from_numpy(each.render()[0])[None] for each in mixtures]
    seen = torch.cat([predictor.features(wav) for wav in wavs], 1)
    assert seen.mean().abs() < 0.7 and 0.5 < seen.std() < 1.5
    wav = torch.from_numpy(noise(5 * RATE).T)
    features = predictor.features(wav)
    assert features.shape == (1, 249, 120)
    silence = predictor.features(torch.zeros(1, RATE))
    assert silence.isfinite().all() and silence.max() < features.min()
    later = predictor.features(wav[:, 320:])
    torch.testing.assert_close(later, features[:, 1:])


@settings(max_examples=10, deadline=None)
@given(st.integers(4000, 20_000), st.integers(0, 5000))
def test_padded_signals_score_the_same(samples, padding):
    predictor = tiny_judge().enhancer
    wav = torch.from_numpy(noise(samples + padding).T)
    lengths = torch.tensor([samples])
    padded = predictor(wav, lengths)
    torch.testing.assert_close(padded, predictor(wav[:, :samples]))


@given(st.integers(1, 500_000))
def test_segments_cover_a_signal(samples):
    predictor = QualityPredictor(torch.nn.Identity())
    wav = torch.arange(samples, dtype=torch.float32)
    parts = predictor.segments(wav)
    length = min(samples, predictor.segment)
    assert parts.shape == (-(-samples // predictor.segment), length)
    assert parts[0, 0] == 0 and parts[-1, -1] == samples - 1
    assert (parts[1:, 0] <= parts[:-1, -1] + 1).all()


def test_batches_are_scored_as_their_items_are():
    prediction = QualityPrediction(tiny_judge())
    assert prediction.targets == TARGETS
    wavs = torch.from_numpy(noise(RATE, 2).T.copy())
    scores = prediction.predict_batch(wavs, torch.tensor([1.0, 0.5]))
    alone = prediction(wavs[1:, : RATE // 2])
    torch.testing.assert_close(scores[1:], alone)
    for bad in (wavs[0], wavs[:, :3000], wavs * float("nan")):
        with pytest.raises(InputError):
            prediction.predict_batch(bad)


def test_a_predictor_is_a_metric_with_reasons():
    model = tiny_judge()
    measure = quality_measure(model)
    wav = noise(9 * RATE)[:, 0]
    scores = measure(None, wav, RATE)
    assert tuple(scores) == TARGETS
    parts = model.enhancer.segments(torch.from_numpy(wav))
    with torch.inference_mode():
        wanted = model.enhancer(parts).mean(0).tolist()
    assert [x.value for x in scores.values()] == pytest.approx(wanted)
    for bad, reason in (
        (wav[:3000], "too short"),
        (np.zeros(RATE), "silent"),
        (wav * np.nan, "NaN"),
    ):
        assert reason in measure(None, bad, RATE)["pesq"].reason
    with pytest.raises(InputError, match="defined at 16000 Hz"):
        measure(None, wav, 8000)


# -- model folders and commands ---------------------------------------------


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    model = tiny_judge()
    card = make_card(model.config, model.enhancer)
    place = tmp_path_factory.mktemp("model") / "tiny-judge"
    return save_model(place, model.enhancer, model.config, card)


def test_model_folders_keep_scores(judge):
    model, wav = load_model(judge), torch.from_numpy(noise(RATE).T)
    torch.testing.assert_close(
        model.enhancer(wav), tiny_judge().enhancer(wav), rtol=0, atol=0
    )
    assert not model.enhancer.training and model.decide() == {}
    names = load_file(judge / "model.safetensors")
    assert not any("filters" in name or "window" in name for name in names)
    card = (judge / "README.md").read_text("utf-8")
    assert "quality at 16000 Hz, pesq, dnsmos_ovrl" in card
    assert "`speechbrain-dsn quality speech.wav --model tiny-judge`" in card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lobe_arguments": {"mode": "ternary"}}, "mode is 'ternary'"),
        ({"lobe_arguments": {"targets": ["stoi"]}}, "targets is"),
        ({"lobe_arguments": {"targets": "pesq"}}, "targets is 'pesq'"),
        ({"kind": "enhancement"}, "quality_net is for quality"),
        ({"front_end": "spectral"}, "quality_net needs 'mel'"),
    ],
)
def test_configurations_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(tiny_judge().config, **change)


def test_what_cannot_be_built_is_named():
    config = tiny_judge().config
    front = {"segment_seconds": 0.25, "hop": 4096, "n_fft": 4096}
    with pytest.raises(InputError, match="quality_net cannot be built|mel"):
        dataclasses.replace(config, front_end_arguments=front).build()


def test_models_of_other_kinds_are_refused(judge, tmp_path, capsys):
    path, out = tmp_path / "a.wav", tmp_path / "out.wav"
    write_audio(path, noise(8000), RATE)
    other = save_tiny(tmp_path / "tiny")
    for command in (
        ["enhance", str(path), "-o", str(out), "--model", str(judge)],
        [
            "enhance",
            str(path),
            "-o",
            str(out),
            "--stream",
            "--model",
            str(judge),
        ],
        ["separate", str(path), "-o", str(out), "--model", str(judge)],
        ["export", "-o", str(tmp_path / "x.onnx"), "--model", str(judge)],
        ["quality", str(path), "--model", str(other)],
    ):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "expected one for" in error or "no ONNX graph" in error
    assert not out.exists()


def test_quality_goes_on_after_a_bad_file(judge, tmp_path, capsys):
    write_audio(tmp_path / "good.wav", noise(24_000, 2), 48_000)
    write_audio(tmp_path / "long.flac", noise(12 * RATE), RATE)
    write_audio(tmp_path / "short.wav", noise(800), RATE)
    write_audio(tmp_path / "silent.wav", np.zeros((RATE, 1), np.float32), RATE)
    (tmp_path / "text.wav").write_text("no audio")
    command = ["quality", str(tmp_path), "--model", str(judge), "--json", "-"]
    assert main(command) == 2
    done = capsys.readouterr()
    found = json.loads(done.out)
    names = ["good.wav", "long.flac"]
    assert list(found["files"]) == [str(tmp_path / name) for name in names]
    for scores in found["files"].values():
        assert tuple(scores) == TARGETS
    assert len(found["errors"]) == 3 == done.err.count("error: ")
    for word in ("too short", "silent", "text.wav"):
        assert word in done.err
    good = str(tmp_path / "good.wav")
    assert main(["quality", good, "--model", str(judge)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["file", *TARGETS]
    wanted = found["files"][good]["pesq"]
    assert float(lines[1].split()[1]) == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.wav"], "expected audio files"),
        (["a.wav", "--model", "nobody"], "no model 'nobody'"),
        (["a.wav", "--json", "nowhere/x.json"], "not an existing folder"),
        ([], "required"),
    ],
)
def test_bad_commands(judge, capsys, arguments, message):
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(judge)]
    assert main(["quality", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_profile_has_memory(judge, capsys):
    assert main(["profile", "--model", str(judge), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    net = load_model(judge).enhancer.lobe
    assert found["memory_bytes"] == {m: net.memory_bytes(m) for m in MODES}
    assert found["memory_conditions"]["mode"] == "binary_8bit"
    total = found["memory_layers"]["binary"]
    weights = sum(layer["weights"] for layer in total.values())
    maps = max(layer["maps"] for layer in total.values())
    assert maps + weights == found["memory_bytes"]["binary"]
    assert found["latency_ms"] is None and found["dynamic"] is False
    for name, macs in found["macs_per_second"].items():
        layers = [layer[name] for layer in found["layers"].values()]
        assert sum(layers) == pytest.approx(macs)
    assert main(["profile", "--model", str(judge)]) == 0
    text = capsys.readouterr().out
    assert "bytes of maps + weights for 5 s" in text and "largest" in text


def test_full_size_saves_24_fold():
    config = ModelConfig("full", "quality_net", {}, "mel", kind="quality")
    found = profile_model(LoadedModel(config.build(), config), [1.0])
    memory = found["memory_bytes"]
    assert memory["full_precision"] >= 24 * memory["binary_8bit"]
    assert found["parameters"] == 45_697
