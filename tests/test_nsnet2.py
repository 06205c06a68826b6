"""nsNet2 with exits: the contract, the costs, and the state of what waits."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from speechbrain_dsn.cost import activation
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.export.onnx import build_step
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.inference.enhancement import DynamicEnhancement
from speechbrain_dsn.inference.onnx_session import OnnxSession, OnnxState
from speechbrain_dsn.inference.profiling import profile_model
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.lobes.models.nsnet2 import DynamicNsNet2, NsNet2
from speechbrain_dsn.pretrained import (
    LoadedModel,
    ModelConfig,
    load_model,
    make_card,
    save_model,
)
from speechbrain_dsn.testing import count_macs
from speechbrain_dsn.training.results import save_levels

SMALL = {"bins": 9, "units": (6, 5, 4, 7, 8)}
# MACs of each stage, and of a mask behind it, at the published size.
STAGES = (257 * 400, 960_000, 960_000, 400 * 600, 600 * 600)
MASKS = (400 * 257,) * 3 + (600 * 257,) * 2

splits = st.sampled_from(["none", "parallel", "serial"])
ladders = st.sets(st.integers(1, 5), min_size=2).map(sorted)
ratios = st.sampled_from([0.4, 1.0])


def rows(batch, time, dtype):
    return torch.rand(batch, time, 9, dtype=dtype)


def test_static_net_has_nothing_to_choose():
    net, x = NsNet2(**SMALL).double().eval(), rows(2, 10, torch.float64)
    gate = torch.rand(2, 10)  # nothing to choose
    torch.testing.assert_close(net(x, gate), net(x))
    torch.testing.assert_close(net.forward_skipping(x, gate), net(x))
    with pytest.raises(ValueError, match=r"choice \(2, 10\) among 2 exits"):
        NsNet2(**SMALL, exits=(2, 5))(x.float(), gate)


def literal(net, x):
    """The layers of nsNet2 one after the other, by torch's own."""
    x = F.linear(x, *net.stages[0].layer.parameters())
    for stage in net.stages[1:3]:
        x = stage.layer.rnn(x)[0]
    for stage in net.stages[3:]:
        x = F.linear(x, *stage.layer.parameters()).relu()
    return F.linear(x, *net.heads["5"].parameters()).sigmoid()


@torch.no_grad()
def test_it_is_nsnet2():
    net, x = NsNet2(**SMALL).double(), rows(2, 12, torch.float64)
    torch.testing.assert_close(net(x), literal(net, x))
    sizes = [list(p.shape) for p in NsNet2().parameters() if p.dim() == 2]
    assert [400, 257] in sizes and sizes.count([1200, 400]) == 4
    assert [600, 400] in sizes and [257, 600] in sizes


@given(exits=ladders, split=splits)
def test_cumulative_cost_of_each_exit(exits, split):
    """In closed form at the published size, without building it thrice."""
    net = NsNet2(exits=exits, split=split)
    twins = (400 * 400, 960_000, 960_000, 600 * 600, 600 * 600)
    cost = net.report().cost
    for level, exit in enumerate(exits):
        expected = sum(STAGES[:exit]) + MASKS[exit - 1]
        if split == "serial" and exit < 5:
            expected += twins[exit - 1]
        assert cost.of_level(level) == expected
    sums = [sum(STAGES[:k]) for k in range(1, 6)]
    assert sums == [102_800, 1_062_800, 2_022_800, 2_262_800, 2_622_800]
    assert NsNet2().report().macs_per_second(1.0) == 62.5 * 2_777_000


def test_counted_is_executed_at_the_published_size():
    net, x = DynamicNsNet2(update_ratio=0.25).eval(), torch.rand(1, 5, 257)
    level = torch.tensor([[0, 3, 1, 1, 2]])
    cost = net.report().cost
    declared = sum(map(cost.of_level, level[0].tolist()))
    assert count_macs(net.forward_skipping, x, level) == declared
    dense = DynamicNsNet2().report().cost
    assert dense.open - cost.open == 2 * (960_000 - 480_000)


def layers_at(net, level):
    """Names of the layers that a frame of this level runs."""
    exit, depth = net.exits[level], net.depths[level]
    names = {f"stage{k}" for k in range(1, depth + 1)}
    return names | ({f"branch{exit}"} & set(net.layers()))


@torch.no_grad()
@given(exits=ladders, split=splits, ratio=ratios, seed=st.integers(0, 99))
def test_what_a_frame_does_not_reach_keeps_its_state(exits, split, ratio, seed):
    """Bit for bit, and only that; whole = masked = stream."""
    torch.manual_seed(seed)
    net = NsNet2(**SMALL, exits=exits, split=split, update_ratio=ratio).eval()
    x = rows(1, 12, torch.float32)
    level = torch.randint(len(exits), (1, 12))
    context, masks = net.make_streaming_context(1), []
    for t in range(12):
        before = {
            name: state.hidden.clone()
            for name, state in context.stages.items()
            if state is not None
        }
        one = slice(t, t + 1)
        masks.append(net.forward_streaming(x[:, one], context, level[:, one]))
        for name, old in before.items():
            kept = torch.equal(context.stages[name].hidden, old)
            assert kept == (name not in layers_at(net, int(level[0, t])))
    gate = F.one_hot(level, len(exits)).float()
    streamed = torch.cat(masks, 1)
    torch.testing.assert_close(streamed, net(x, gate))
    torch.testing.assert_close(streamed, net.forward_skipping(x, level))


@torch.no_grad()
@given(exits=ladders, split=splits)
def test_a_fixed_exit_is_the_net_cut_there(exits, split):
    net, x = NsNet2(**SMALL, exits=exits, split=split), torch.rand(2, 6, 9)
    for level, exit in enumerate(exits):
        cut = net.slice_to(level)
        assert cut.exits == (exit,)
        assert cut.report().cost.open == net.report().cost.of_level(level)
        gate = net.at_exit(exit, 2, 6)
        torch.testing.assert_close(cut(x), net(x, gate))
    for bad in {1, 2, 3, 4, 5, 6} - set(exits):
        with pytest.raises(ValueError, match=f"exit {bad}: expected one of"):
            net.at_exit(bad, 1, 1)


@torch.no_grad()
@given(exits=ladders.filter(lambda exits: len(exits) > 1), split=splits)
def test_all_exits_at_once_are_one_after_the_other(exits, split):
    lobe = DynamicNsNet2(**SMALL, exits=exits, split=split)
    enhancer, wav = SpectralEnhancer(lobe, 16000, 16, 8), torch.randn(2, 60)
    together, decision = enhancer(wav, every_level=True)
    gates = [lobe.at_exit(e, 2, enhancer.frames(60)) for e in exits]
    torch.testing.assert_close(decision.values, torch.cat(gates))
    for level, gate in enumerate(gates):
        alone, decided = enhancer(wav, gate=gate)
        torch.testing.assert_close(together.view(-1, 2, 60)[level], alone)
    torch.testing.assert_close(decision.logits[-2:], decided.logits)


def test_gradients_reach_the_router():
    enhancer = SpectralEnhancer(DynamicNsNet2(**SMALL), 16000, 16, 8).train()
    estimate, decision = enhancer(torch.randn(2, 200))
    (estimate.square().mean() + decision.usage()[:, -1].mean()).backward()
    for name, parameter in enhancer.lobe.policy.named_parameters():
        assert bool((parameter.grad != 0).any()), name


@torch.no_grad()
def test_the_knob_moves_the_exits():
    torch.manual_seed(0)
    net, x = DynamicNsNet2(**SMALL).eval(), torch.rand(1, 200, 9)
    net.policy.head.weight.mul_(30)
    cost, used = net.report().cost, []
    for bias in (-1e9, -1.0, 0.0, 1.0, 1e9):
        usage = net(x, bias=bias)[1].usage()[0]
        used.append(float(usage @ torch.tensor(cost.levels)))
    assert used == sorted(used) and used[0] < used[2] < used[-1]
    assert used[0] == pytest.approx(cost.levels[0]) and used[-1] == 1
    again = net(x)[1].values
    assert torch.equal(again, net(x)[1].values)  # eval draws nothing


@pytest.mark.parametrize(
    "options, words",
    [
        ({"exits": ()}, r"exits ascend within 1..5, got \[\]"),
        ({"exits": (3, 2)}, "exits ascend"),
        ({"exits": (1, 6)}, "exits ascend"),
        ({"split": "both"}, "split is one of none, parallel, serial"),
        ({"update_ratio": 0.0}, "update_ratio lies in"),
    ],
)
def test_bad_arguments_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        NsNet2(**SMALL, **options)
    with pytest.raises(ValueError, match="at least two exits"):
        DynamicNsNet2(**SMALL, exits=(5,))


# -- model folder and graph -----------------------------------------------------


def model_of(lobe="dynamic_nsnet2", **options):
    """A small net in a model folder's shape, whose exits change."""
    torch.manual_seed(3)
    arguments = {"units": [24, 20, 22, 26, 28], "exits": [1, 2, 3, 5]}
    config = ModelConfig(
        "tiny",
        lobe,
        arguments | options,
        front_end_arguments={"n_fft": 32, "hop": 16},
    )
    enhancer = config.build()
    if config.dynamic:
        head = enhancer.lobe.policy.head
        with torch.no_grad():  # no exit is preferred on the whole
            head.weight.mul_(20)
            logits = enhancer(torch.randn(1, 4000) / 10)[1].logits
            head.bias.sub_(logits.mean((0, 1)))
    return LoadedModel(enhancer, config)


OPTIONS = [
    {},
    {"split": "parallel", "update_ratio": 0.25},
    {"split": "serial", "exits": [2, 4]},
]


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_graph_equals_pytorch(options, batch):
    """Over exits that change with the signal and with the knob."""
    model, frames, streams = model_of(**options), 80, 3 if batch else 1
    wav = torch.randn(streams, frames * 16) * torch.rand(streams, 1) / 5
    biases = 3 * torch.randn(streams, frames)
    biases[:, 5], biases[:, 6] = 1e9, -1e9  # all in one bucket
    context = model.enhancer.make_streaming_context(streams)
    with torch.no_grad():
        expected, decision = model.enhancer.forward_streaming(
            wav, context, bias=biases
        )
    assert float(decision.usage().mean(0).min()) > 0.02
    session = OnnxSession.from_model(model, batch)
    state = OnnxState(session, streams)
    for t in range(frames):
        part = slice(16 * t, 16 * t + 16)
        state.samples[...] = wav[:, part]
        state.bias[:, 0] = biases[:, t]
        state.step()
        torch.testing.assert_close(
            torch.tensor(state.enhanced), expected[:, part], atol=1e-4, rtol=0
        )
        gates = session.info.gates(state.logit, state.bias)
        assert gates.tolist() == decision.values[:, t].tolist()


def stored(graph):
    """Values of all matrices, in branches too."""
    inside = (b.g for node in graph.node for b in node.attribute)
    own = [w.dims[0] * w.dims[1] for w in graph.initializer if len(w.dims) == 2]
    return sum(own) + sum(map(stored, inside))


def test_one_if_per_exit_and_each_weight_once():
    model = model_of(split="parallel")
    step = build_step(model)

    def nested(graph):
        for node in graph.node:
            if node.op_type == "If":
                yield node
                for branch in node.attribute:
                    yield from nested(branch.g)

    assert len(list(nested(step.graph))) == 3
    lobe, many = model.enhancer.lobe, build_step(model, batch=True)
    layers = sum(p.numel() for p in lobe.parameters() if p.dim() == 2)
    for graph in (step.graph, many.graph):
        # Beside them: what the Fourier transform has.
        assert layers < stored(graph) < 1.6 * layers
    static = model_of("nsnet2", exits=[5])
    assert not list(nested(build_step(static).graph))
    assert OnnxSession.from_model(static).info.dynamic is False


def test_a_budget_and_a_fixed_exit_in_model_folders(tmp_path):
    model, wav = model_of(), torch.randn(1, 3200) / 10
    with torch.no_grad():
        logits = model.enhancer(wav)[1].logits.flatten(0, 1).numpy()
    cost = model.enhancer.report().cost
    table = Calibration.from_logits(logits, levels=cost.levels)
    config = replace(model.config, calibration=table, default_budget=0.5)
    card = make_card(config, model.enhancer)
    assert "by 4 exits" in card
    folder = save_model(tmp_path / "tiny", model.enhancer, config, card)
    enhancement, used = DynamicEnhancement(load_model(folder)), []
    for budget in (0.0, 0.5, 1.0):
        _, decision = enhancement.enhance_batch(
            wav, budget=budget, return_decision=True
        )
        used.append(float(activation(decision, cost)))
    assert used[0] < used[1] < used[2] == 1
    places = save_levels(load_model(folder), folder)
    assert [place.name for place in places] == [
        f"tiny-{exit}" for exit in (1, 2, 3, 5)
    ]
    for place, exit in zip(places, (1, 2, 3, 5), strict=True):
        cut, frames = load_model(place), model.enhancer.frames(3200)
        gate = model.enhancer.lobe.at_exit(exit, 1, frames)
        same, _ = model.enhancer(wav, gate=gate)
        torch.testing.assert_close(cut.enhancer(wav)[0], same)


def test_a_profile_shows_the_exits():
    values = profile_model(model_of(split="serial", exits=[1, 2, 5]))
    assert len(values["macs_per_second"]) == 3
    for level, rate in values["macs_per_second"].items():
        total = sum(layer[level] for layer in values["layers"].values())
        assert total == pytest.approx(rate)


def test_bad_folders_are_refused():
    for options, words in (
        ({"exits": [1, 9]}, "up to 5 integers from 1 to 5"),
        ({"exits": []}, "up to 5 integers"),
        ({"split": "both"}, "one of none, parallel, serial"),
        ({"update_ratio": 2}, "update_ratio is 2"),
        ({"exits": [5]}, "at least two exits"),
        # A twin of the second GRU would cost more than all that is left.
        ({"split": "serial"}, "ascending order of cost"),
    ):
        with pytest.raises(InputError, match=words):
            model_of(**options)
