"""DynCP: channels pruned frame by frame hold the contract and its costs."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.cost import MacMeter
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.export.onnx import build_step
from speechbrain_dsn.gating import ChannelGate
from speechbrain_dsn.inference.enhancement import DynamicEnhancement
from speechbrain_dsn.inference.onnx_session import OnnxSession, OnnxState
from speechbrain_dsn.inference.session import TorchSession
from speechbrain_dsn.inference.streaming import StreamingEnhancement
from speechbrain_dsn.lobes.models.conv_fsenet import (
    ConvFSENet,
    DynamicConvFSENet,
)
from speechbrain_dsn.nnet.dilated import DilatedConv
from speechbrain_dsn.nnet.pruning import PrunedLinear
from speechbrain_dsn.nnet.surrogate import heaviside
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
from speechbrain_dsn.testing import check_dynamic_layer, count_macs
from speechbrain_dsn.training.results import calibrate

# Rows of 64 bytes: a matrix product rounds by where its rows begin, and the
# battery wants the same bits of frames that lie elsewhere.
SMALL = {"bins": 8, "channels": 6, "inner_channels": 8}
SMALL |= {"stacks": 1, "blocks": 2}


def frames(channels):
    return lambda batch, time, dtype: torch.randn(
        batch, time, channels, dtype=dtype
    )


class SkipsFramesOnly(PrunedLinear):
    """All channels of every frame that opens one, then masked."""

    def forward_skipping(self, x, is_open):
        some = is_open.any(-1)
        y = x.new_zeros(*x.shape[:2], len(self.weight))
        y[some] = torch.nn.functional.linear(x[some], self.weight)
        return y * is_open


def test_the_battery_looks_at_single_channels():
    with pytest.raises(AssertionError) as caught:
        check_dynamic_layer(lambda: SkipsFramesOnly(6, 5), frames(5))
    names = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert names == ["check_macs_are_executed"]


# -- costs ------------------------------------------------------------------


def closed_form(share, group=1, channels=128, inner=256, hidden=11):
    """MACs of a frame of DynCP with that share of the channels open."""
    ends = 2 * 257 * channels
    gate = channels * hidden + hidden * channels // group
    fixed = channels * inner + 3 * inner + gate
    return ends + 9 * (fixed + share * channels * inner)


def test_a_quarter_of_the_channels_saves_29_percent():
    """Of the static net's 662,528 MACs, with the gates' own cost."""
    static = ConvFSENet().report().cost
    assert static.open == static.fixed == 662_528
    assert static.open == closed_form(1) - 9 * 2 * 128 * 11
    for group in (1, 32):
        cost = DynamicConvFSENet(group=group).report().cost
        assert len(cost.gated) == 9 * 128 // group
        for share in (0, 0.25, 0.5, 1):
            assert cost.at_activation(share) == closed_form(share, group)
        assert 1 - cost.at_activation(0.25) / static.open >= 0.29


@torch.no_grad()
@given(seed=st.integers(0, 99), group=st.sampled_from([1, 16]))
def test_counted_is_executed_as_decided(seed, group):
    """By its own gates, frame by frame, at every share that they open."""
    torch.manual_seed(seed)
    net = DynamicConvFSENet(stacks=1, group=group).eval()
    x, bias = torch.rand(1, 3, 257), -1 + torch.randn(()).item() / 10
    _, decision = net.forward_skipping(x, bias=bias)
    meter = MacMeter(net.report().cost)
    meter.update(decision)
    declared = meter.macs_per_second / net.frame_rate * 3
    counted = count_macs(net.forward_skipping, x, bias=bias)
    assert counted == pytest.approx(declared, abs=0.5)


# -- gates ------------------------------------------------------------------


@given(st.lists(st.floats(-50, 50), min_size=1), st.floats(0.1, 10))
def test_the_surrogate_is_a_step_that_learns(values, slope):
    x = torch.tensor(values, requires_grad=True)
    y = heaviside(x, slope)
    y.sum().backward()
    assert torch.equal(y, (x > 0).float())
    torch.testing.assert_close(x.grad, (slope * x.abs() + 1) ** -2)


@torch.no_grad()
def test_gates_of_a_frame_apply_to_all_its_channels():
    net, x = DynamicConvFSENet(**SMALL).eval(), torch.rand(2, 5, 8)
    gate = (torch.rand(2, 5) < 0.5).float()
    one, decision = net(x, gate=gate)
    assert torch.equal(decision.values, gate[..., None].expand(2, 5, 12))
    each, _ = net(x, gate=decision.values)
    assert torch.equal(one, each)


@torch.no_grad()
def test_open_gates_are_the_static_net():
    static, net = ConvFSENet(**SMALL), DynamicConvFSENet(**SMALL)
    missing, unknown = net.load_state_dict(static.state_dict(), strict=False)
    assert not unknown and all(name.startswith("policy.") for name in missing)
    x = torch.rand(2, 5, 8)
    mask, decision = net(x)  # as they start
    assert decision.values.mean() == 1
    assert torch.equal(mask, static(x))


@torch.no_grad()
def test_more_bias_never_closes_the_first_block():
    """Later blocks look at what earlier gates left: only the first is sure."""
    net, x = DynamicConvFSENet(**SMALL).eval(), torch.rand(2, 9, 8)
    values = [net(x, bias=b)[1].values[..., :6] for b in (-2.0, -1.0, 0.0)]
    assert bool((values[0] <= values[1]).all())
    assert bool((values[1] <= values[2]).all())


# -- models -----------------------------------------------------------------

TINY = {"channels": 16, "inner_channels": 24, "stacks": 2, "blocks": 2}


def tiny(lobe="dyncp", seed=3, **arguments):
    """A model whose channels close now and then."""
    torch.manual_seed(seed)
    config = ModelConfig(f"tiny-{lobe}", lobe, TINY | arguments)
    enhancer = config.build()
    for name, parameter in enhancer.named_parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
        if ".policy." in name and "expand.weight" in name:
            parameter.data.mul_(5)
    return LoadedModel(enhancer, config)


def noise(frames, streams=1, seed=0):
    random = np.random.default_rng(seed)
    level = np.repeat(random.uniform(0, 0.3, (streams, frames)), 256, 1)
    return (level * random.normal(size=level.shape)).astype(np.float32)


@pytest.mark.parametrize(
    "lobe, arguments",
    [
        ("conv_fsenet", {}),
        ("dyncp", {}),
        ("dyncp", {"group": 4, "policy_window": 1, "kernel_size": 1}),
    ],
)
def test_onnx_equals_pytorch(lobe, arguments):
    model = tiny(lobe, **arguments)
    wav = noise(60)[0]
    biases = np.random.default_rng(1).normal(0, 1, 60).astype(np.float32)
    biases[5], biases[6] = 1e9, -1e9
    lanes = [
        session(model).make_lane()
        for session in (TorchSession, OnnxSession.from_model)
    ]
    (expected, logits), (out, found) = (
        lane.advance(wav, biases) for lane in lanes
    )
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(out, expected, atol=1e-4)
    np.testing.assert_allclose(found, logits, atol=1e-4)
    if lobe == "dyncp":
        opened = logits + biases[:, None] > 0
        assert 0.1 < opened.mean() < 0.9


def test_onnx_of_many_streams_equals_pytorch():
    model, wav = tiny(), noise(30, streams=3)
    with torch.no_grad():
        context = model.enhancer.make_streaming_context(3)
        expected, decision = model.enhancer.forward_streaming(
            torch.from_numpy(wav), context, bias=0.1
        )
    state = OnnxState(OnnxSession.from_model(model, batch=True), 3)
    state.bias[...] = 0.1
    for frame, hop in enumerate(np.split(wav, 30, 1)):
        state.samples[...] = hop
        state.step()
        part = slice(frame * 256, (frame + 1) * 256)
        np.testing.assert_allclose(state.enhanced, expected[:, part], atol=1e-4)
        np.testing.assert_allclose(
            state.logit, decision.logits[:, frame], atol=1e-4
        )


def test_the_graph_counts_what_it_runs():
    """It masks: whatever is open, all of it is computed, and so it says."""
    model = tiny()
    info = OnnxSession.from_model(model).info
    cost = model.enhancer.report().cost
    assert info.cost.closed == info.cost.open == cost.open
    assert info.logits == len(cost.gated) == 64
    assert not [n for n in build_step(model).graph.node if n.op_type == "If"]


class Valid:
    """Batches as `calibrate` reads them."""

    def __init__(self, count):
        self.items = [torch.from_numpy(noise(40, seed=k)) for k in range(count)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        @dataclasses.dataclass
        class Batch:
            noisy: torch.Tensor

        return Batch(self.items[index])


@pytest.fixture(scope="module")
def calibrated():
    model = tiny()
    table = calibrate(model.enhancer, Valid(3))
    config = dataclasses.replace(
        model.config, calibration=table, default_budget=0.25
    )
    return LoadedModel(model.enhancer, config)


@pytest.mark.parametrize("budget", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_budgets_are_met(calibrated, budget):
    """On what it was calibrated with, though gates depend on gates."""
    enhancement = DynamicEnhancement(calibrated)
    meter = MacMeter(calibrated.enhancer.cost)
    for wav in Valid(3).items:
        _, decision = enhancement.enhance_batch(
            wav, budget=budget, return_decision=True
        )
        meter.update(decision)
    assert meter.activation == pytest.approx(budget, abs=0.05)


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("backend", [TorchSession, OnnxSession.from_model])
def test_streams_use_what_files_use(calibrated, backend, hold):
    stream = StreamingEnhancement(backend(calibrated), 0.25, hold)
    wav = noise(200)[0]
    stream.run(wav)
    assert stream.stream.frames == 200
    assert stream.stream.activation == pytest.approx(0.25, abs=0.06)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_own_decisions_reach_no_further_than_declared(causal):
    """Of the net with its gates: their averages look further than its
    convolutions."""
    net = DynamicConvFSENet(**SMALL, causal=causal, policy_window=5).double()
    assert net.look_ahead == (0 if causal else 4)
    x, frame = torch.rand(1, 20, 8).double(), 12
    changed = x.clone()
    changed[:, frame] += 1
    (_, before), (_, after) = (net(wav) for wav in (x, changed))
    moved = (after.logits - before.logits).abs().sum((0, 2))
    # The last gate decides before the last convolution.
    first = int(moved.nonzero()[0])
    assert frame - net.look_ahead <= first <= frame
    assert causal == (first == frame)


def test_what_is_not_causal_does_not_stream():
    net = ConvFSENet(**SMALL, causal=False)
    with pytest.raises(ValueError, match="not causal"):
        net.make_streaming_context(1)
    with pytest.raises(InputError, match="unknown argument causal"):
        ModelConfig("x", "conv_fsenet", {"causal": False})


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="groups of 4 do not divide 6"):
        PrunedLinear(6, 5, 4)
    with pytest.raises(ValueError, match="expected an odd one"):
        DilatedConv(8, 4, causal=False)
    with pytest.raises(ValueError, match="odd number without causality"):
        ChannelGate(8, 8, window=4, causal=False)
    with pytest.raises(ValueError, match="read 12282 frames"):
        ConvFSENet(stacks=3, blocks=11, kernel_size=3)
    with pytest.raises(ValueError, match="slope must be > 0"):
        heaviside(torch.zeros(1), 0.0)
