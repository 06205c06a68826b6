"""The ONNX step: equal to PyTorch, self-contained, refused if it is not."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from tiny_model import TINY_DEMUCS, TINY_ROUTED, save_tiny, tiny_router

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.export.onnx import build_step, export_onnx
from speechbrain_dsn.inference.onnx_session import OnnxSession, OnnxState
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig

SMALL = {"channels": [4, 6, 8], "groups": 4, "window": 7}
CONFIGS = {
    "mgt-dsn": ModelConfig("mgt-dsn", "dynamic_ftfnet"),
    "ftfnet": ModelConfig("ftfnet", "ftfnet"),
    "uneven": ModelConfig(
        "uneven",
        "dynamic_ftfnet",
        {**SMALL, "static_groups": 1, "policy_memory": False},
        front_end_arguments={"n_fft": 96, "hop": 24, "strength": 0.7},
    ),
    "no past": ModelConfig("no-past", "ftfnet", {**SMALL, "window": 1}),
}


def model_of(config):
    torch.manual_seed(0)
    enhancer = config.build()
    for parameter in enhancer.parameters():
        spread = 0.1 if parameter.dim() == 1 else 0.0
        parameter.data.add_(spread * torch.randn_like(parameter))
    return LoadedModel(enhancer, config)


@pytest.fixture(scope="module")
def models():
    return {name: model_of(config) for name, config in CONFIGS.items()}


def run_onnx(session, wav, gates):
    """``[B, n hop]`` with forced gates ``[B, n]``."""
    state, hop = OnnxState(session, len(wav)), session.info.hop
    out, logits = [], []
    for frame in range(gates.shape[1]):
        state.samples[...] = wav[:, frame * hop : (frame + 1) * hop]
        state.bias[...] = np.where(gates[:, frame : frame + 1], 1e9, -1e9)
        state.step()
        out.append(state.enhanced.copy())
        logits.append(state.logit.copy())
    return np.concatenate(out, 1), np.concatenate(logits, 1)


@torch.no_grad()
def run_torch(enhancer, wav, gates):
    decide = {}
    if enhancer.dynamic:
        decide["gate"] = torch.from_numpy(gates.astype(np.float32))
    context = enhancer.make_streaming_context(len(wav))
    out, decision = enhancer.forward_streaming(
        torch.from_numpy(wav), context, **decide
    )
    logits = None if decision is None else decision.logits[..., 0].numpy()
    return out.numpy(), logits


def noise_and_gates(hop, frames, streams=1):
    """Gates in runs of random length."""
    random = np.random.default_rng(0)
    wav = random.normal(0, 0.1, (streams, frames * hop)).astype(np.float32)
    flips = random.random((streams, frames)) < 0.3
    return wav, np.cumsum(flips, 1) % 2 == 1


@pytest.mark.parametrize("name", CONFIGS)
def test_equals_pytorch_over_changing_gates(models, name):
    model = models[name]
    frames = 500 if name == "mgt-dsn" else 150
    wav, gates = noise_and_gates(model.enhancer.hop, frames)
    out, logits = run_onnx(OnnxSession.from_model(model), wav, gates)
    expected, expected_logits = run_torch(model.enhancer, wav, gates)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(out, expected, atol=1e-4)
    if expected_logits is not None:
        np.testing.assert_allclose(logits, expected_logits, atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_batch_equals_pytorch(models, name):
    """Buckets of any size, the empty one included."""
    model = models[name]
    wav, gates = noise_and_gates(model.enhancer.hop, 40, streams=3)
    gates[:, 5], gates[:, 6] = True, False
    session = OnnxSession.from_model(model, batch=True)
    out, _ = run_onnx(session, wav, gates)
    expected, _ = run_torch(model.enhancer, wav, gates)
    np.testing.assert_allclose(out, expected, atol=1e-4)


DEMUCS = {
    "of five layers": {"depth": 5, "utilizations": [0.125, 0.25, 0.5, 1.0]},
    "without overlap": {"kernel_size": 4, "router_kernel": 16},
    "two widths": {"utilizations": [0.5, 1.0], "router_kernel": 64},
}


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("name", DEMUCS)
def test_widths_equal_pytorch(name, batch):
    """Over widths that change with the signal and with the knob."""
    model = tiny_router(**DEMUCS[name])
    frames, streams = (60, 3) if batch else (500, 1)
    hop = model.enhancer.hop
    wav, _ = noise_and_gates(hop, frames, streams)
    random = np.random.default_rng(1)
    biases = random.normal(0, 2, (streams, frames)).astype(np.float32)
    biases[:, 5], biases[:, 6] = 1e9, -1e9  # all in one bucket
    context = model.enhancer.make_streaming_context(streams)
    with torch.no_grad():
        expected, decision = model.enhancer.forward_streaming(
            torch.from_numpy(wav), context, bias=torch.from_numpy(biases)
        )
    session = OnnxSession.from_model(model, batch)
    state, out, gates = OnnxState(session, streams), [], []
    for frame in range(frames):
        state.samples[...] = wav[:, frame * hop : (frame + 1) * hop]
        state.bias[:, 0] = biases[:, frame]
        state.step()
        out.append(state.enhanced.copy())
        gates.append(session.info.gates(state.logit, state.bias))
    usage = decision.usage().mean(0)
    assert (usage > 0.02).sum() >= min(3, len(usage)) and usage.max() < 0.9
    np.testing.assert_array_equal(np.stack(gates, 1), decision.values)
    loudest = float(expected.abs().max())  # untrained nets are quiet
    assert loudest > 1e-3
    found = np.concatenate(out, 1) / loudest
    np.testing.assert_allclose(found, expected / loudest, atol=1e-4)


def test_a_frame_has_the_weights_of_its_width_only():
    model = tiny_router(utilizations=[0.25, 0.5, 0.75, 1.0])
    step = build_step(model)

    def leaves(graph):
        choices = [n for n in graph.node if n.op_type == "If"]
        if not choices:
            yield sum(
                numpy_helper.to_array(w).size
                for w in graph.initializer
                if len(w.dims) == 2 and w.data_type == onnx.TensorProto.FLOAT
            )
        for branch in (b for n in choices for b in n.attribute):
            yield from leaves(branch.g)

    found, net = sorted(leaves(step.graph)), model.enhancer.lobe
    expected = []
    for level in range(4):
        blocks = [b.slice_to(level) for b in (*net.encoders, *net.decoders)]
        expected.append(sum(b.first.numel() + b.second.numel() for b in blocks))
    assert found == expected
    # The memory, which all share, and the router lie outside.
    shared = {tuple(w.dims) for w in step.graph.initializer}
    memory = net.memory
    assert (memory.groups, memory.inputs, 3 * memory.hidden) in shared


def test_metadata_of_widths():
    model = tiny_router()
    found = {k: json.loads(v) for k, v in _metadata(build_step(model)).items()}
    cost = model.enhancer.report().cost
    assert found["one_hot"] and found["gates"] == 3
    assert found["levels"] == list(cost.levels)
    assert found["macs_levels"] == [cost.of_level(k) for k in range(3)]
    assert (found["hop"], found["delay"]) == (64, 16)
    assert OnnxSession.from_model(model).info.cost == cost
    # A static lobe has nothing to choose, whatever it could be cut to.
    arguments = {k: TINY_ROUTED[k] for k in (*TINY_DEMUCS, "utilizations")}
    config = ModelConfig("static", "demucs", arguments, front_end="waveform")
    info = OnnxSession.from_model(LoadedModel(config.build(), config)).info
    assert not info.dynamic
    expected = config.build().report().macs_per_second(1.0)
    assert info.macs_per_second(0.0) == info.macs_per_second(1.0) == expected


def test_the_policy_decides_in_the_graph(models):
    model = models["mgt-dsn"]
    wav, _ = noise_and_gates(256, 60)
    state = OnnxState(OnnxSession.from_model(model))
    with torch.no_grad():
        logits = model.enhancer.forward_streaming(
            torch.from_numpy(wav), model.enhancer.make_streaming_context(1)
        )[1].logits.flatten()
        cut = float(-logits.median() - 1e-3)
        expected, decision = model.enhancer.forward_streaming(
            torch.from_numpy(wav),
            model.enhancer.make_streaming_context(1),
            bias=cut,
        )
    assert 0.2 < decision.usage().item() < 0.8
    state.bias[...] = cut
    for frame in range(60):
        part = slice(frame * 256, (frame + 1) * 256)
        state.samples[0] = wav[0, part]
        state.step()
        np.testing.assert_allclose(state.enhanced, expected[:, part], atol=1e-4)


def test_one_if_round_all_that_is_gated(models):
    """And it is a file of standard parts: the checker knows the shapes."""
    step = build_step(models["mgt-dsn"])
    (choice,) = [n for n in step.graph.node if n.op_type == "If"]
    outside = {n.op_type for n in step.graph.node}
    assert "Attention" not in outside and "Softmax" not in outside
    sizes = {
        branch.name: sum(
            numpy_helper.to_array(w).size for w in branch.g.initializer
        )
        for branch in choice.attribute
    }
    assert sizes["else_branch"] < 0.6 * sizes["then_branch"]
    assert step.opset_import[0].version == 18
    shapes = {
        x.name: [d.dim_value for d in x.type.tensor_type.shape.dim]
        for x in [*step.graph.input, *step.graph.output]
    }
    assert shapes["samples"] == shapes["enhanced"] == [1, 256]
    assert shapes["bias"] == shapes["logit"] == [1, 1]
    for state in json.loads(_metadata(step)["states"]):
        assert shapes[state] == shapes[f"{state}_next"]
    static = build_step(models["ftfnet"])
    assert not [n for n in static.graph.node if n.op_type == "If"]


def _metadata(step):
    return {p.key: p.value for p in step.metadata_props}


def test_metadata(models):
    model = models["mgt-dsn"]
    found = {k: json.loads(v) for k, v in _metadata(build_step(model)).items()}
    cost = model.enhancer.report().cost
    assert found["sample_rate"] == 16000 and found["hop"] == 256
    assert found["gates"] == 1 and found["delay"] == 256
    assert [found["macs_fixed"], found["macs_gated"]] == [
        cost.fixed,
        list(cost.gated),
    ]
    assert OnnxSession.from_model(model).info.cost == cost


def test_states_need_not_share_memory(models):
    """Plain ``run`` with the outputs fed back, as another language would."""
    model = models["uneven"]
    session = OnnxSession.from_model(model)
    wav, gates = noise_and_gates(24, 30)
    expected, _ = run_onnx(session, wav, gates)
    feeds = {
        name: np.zeros(shape, dtype)
        for name, (shape, dtype) in session.states.items()
    }
    names = [x.name for x in session.session.get_outputs()]
    out = []
    for frame in range(30):
        feeds["samples"] = wav[:, frame * 24 : (frame + 1) * 24]
        feeds["bias"] = np.float32([[1e9 if gates[0, frame] else -1e9]])
        got = session.session.run(names, feeds)
        values = dict(zip(names, got, strict=True))
        out.append(values["enhanced"])
        feeds = {name: values[f"{name}_next"] for name in session.states}
    np.testing.assert_allclose(np.concatenate(out, 1), expected, atol=1e-6)


def test_written_whole_or_not_at_all(models, tmp_path, monkeypatch):
    path = export_onnx(models["uneven"], tmp_path / "a.onnx")
    before = path.read_bytes()
    assert OnnxSession.from_file(path).info.name == "uneven"

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match="No space left"):
        export_onnx(models["ftfnet"], path)
    assert path.read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("name", ["a.bin", "missing/a.onnx", "folder.onnx"])
def test_names_that_cannot_be_written(models, tmp_path, name):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        export_onnx(models["uneven"], tmp_path / name)


def _changed(step, change):
    copy = onnx.ModelProto()
    copy.CopyFrom(step)
    change(copy)
    return copy.SerializeToString()


def _external(model):
    branch = next(n for n in model.graph.node if n.op_type == "If")
    tensor = branch.attribute[0].g.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def _set(key, value):
    def change(model):
        for prop in model.metadata_props:
            if prop.key == key:
                prop.value = value

    return change


def _foreign(model):
    model.graph.node.append(
        helper.make_node("Run", ["samples"], ["y"], domain="evil")
    )


def _other_input(model):
    model.graph.input.append(
        helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_external, "another file"),
        (_foreign, "domain 'evil'"),
        (_other_input, "more"),
        (_set("step_version", "99"), "version 99.*export the model again"),
        (_set("step_version", "{"), "no metadata"),
        (_set("hop", '"x"'), "hop is 'x'"),
        (_set("macs_gated", "3"), "cannot be run"),
        (_set("macs_gated", "[3, 4]"), "gates is 1"),
        (lambda model: model.ClearField("metadata_props"), "no metadata"),
    ],
)
def test_files_that_are_refused(models, change, message):
    step = build_step(models["uneven"])
    with pytest.raises(InputError, match=message) as caught:
        OnnxSession(_changed(step, change), "a.onnx")
    assert str(caught.value).startswith("a.onnx: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_onnx_file(tmp_path):
    for data in (b"not onnx", b""):
        with pytest.raises(InputError, match="not an ONNX|no metadata"):
            OnnxSession(data)
    with pytest.raises(InputError, match="No such file"):
        OnnxSession.from_file(tmp_path / "missing.onnx")


def test_a_lobe_without_a_graph(models):
    config = models["ftfnet"].config
    enhancer = config.build()
    enhancer.lobe = torch.nn.Identity()
    with pytest.raises(InputError, match="no ONNX graph for lobe Identity"):
        build_step(LoadedModel(enhancer, config))


def test_without_onnx(models, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="speechbrain-dsn.onnx."):
        OnnxSession.from_model(models["uneven"])
    assert main(["export", "--model", "x", "-o", "y.onnx"]) == 2


@pytest.mark.parametrize("batch", [False, True])
def test_command(tmp_path, capsys, batch):
    folder = save_tiny(tmp_path / "tiny")
    path = tmp_path / "tiny.onnx"
    command = ["export", "--model", str(folder), "-o", str(path)]
    assert main(command + ["--batch"] * batch) == 0
    assert f"{path}: tiny" in capsys.readouterr().out
    assert OnnxSession.from_file(path).batch == batch
    assert main([*command[:3], "-o", str(tmp_path / "x.txt")]) == 2
    assert "cannot write" in capsys.readouterr().err
