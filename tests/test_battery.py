"""The battery passes a sound layer, and catches every way to break one."""

import random
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.gating import sample_gate
from speechbrain_dsn.nnet.masking import bucketed, mask_channels
from speechbrain_dsn.testing import CHECKS, Subject, check_dynamic_layer
from speechbrain_dsn.testing.battery import applicable
from speechbrain_dsn.testing.equality import check_skipping_is_masked

CHANNELS, HALF = 4, 2


@dataclass
class Memory:
    state: torch.Tensor


class Leaky(nn.Module):
    """What a third party could write: a leaky sum, half of it gated."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(CHANNELS, CHANNELS))
        self.bias = nn.Parameter(torch.empty(CHANNELS))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.uniform_(self.weight, -0.5, 0.5)
        nn.init.ones_(self.bias)

    def forward(self, x, gate=None):
        drive = F.linear(x, self.weight, self.bias)
        return leak(mask_channels(drive, gate, HALF))

    def branch(self, x, is_open):
        rows = CHANNELS if is_open else HALF
        return F.linear(x, self.weight[:rows], self.bias[:rows])

    def forward_skipping(self, x, is_open):
        return leak(bucketed(self.branch, x, is_open, CHANNELS))

    def make_streaming_context(self, batch_size, device=None, dtype=None):
        zeros = torch.zeros(batch_size, CHANNELS, device=device, dtype=dtype)
        return Memory(zeros)

    def forward_streaming(self, x, context, is_open=None):
        if is_open is None:
            is_open = x.new_ones(x.shape[:2], dtype=torch.bool)
        drive = bucketed(self.branch, x, is_open, CHANNELS)
        states = leak(drive, context.state)
        if states.size(1):
            context.state = states[:, -1].clone()
        return states

    def slice_to(self, is_open):
        rows = CHANNELS if is_open else HALF
        dense = nn.Linear(CHANNELS, rows).to(self.weight)
        with torch.no_grad():
            dense.weight.copy_(self.weight[:rows])
            dense.bias.copy_(self.bias[:rows])
        return dense

    def macs(self):
        return MacCount(HALF * CHANNELS, ((CHANNELS - HALF) * CHANNELS,))


class Deciding(Leaky):
    """The same with a policy of its own."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def reset_parameters(self):
        super().reset_parameters()
        if hasattr(self, "slope"):
            nn.init.ones_(self.slope)

    def decide(self, x, gate, bias):
        logits = self.slope * x.mean(-1)
        if gate is None:
            gate = sample_gate(logits, self.training, bias=bias)
        return Decision(gate[..., None], 10.0, None, logits[..., None])

    def forward(self, x, gate=None, bias=0.0):
        decision = self.decide(x, gate, bias)
        return super().forward(x, decision.values[..., 0]), decision

    def forward_streaming(self, x, context, gate=None, bias=0.0):
        decision = self.decide(x, gate, bias)
        is_open = decision.values[..., 0] > 0.5
        return super().forward_streaming(x, context, is_open), decision


def leak(drive, state=None):
    """Sums over frames ``[B, T, C]``, forgetting half of it in each."""
    state = torch.zeros_like(drive[:, 0]) if state is None else state
    states = []
    for frame in drive.unbind(1):
        state = state / 2 + frame
        states.append(state)
    return torch.stack(states, 1) if states else drive


def example(batch, time, dtype):
    return torch.randn(batch, time, CHANNELS, dtype=dtype)


def run_dense(dense, x):
    return leak(dense(x))


def run_battery(layer, **options):
    return check_dynamic_layer(layer, example, run_dense=run_dense, **options)


def test_a_sound_layer_passes():
    names = {check.__name__ for check in CHECKS}
    assert set(run_battery(Leaky)) == names - {"check_decides_alike"}
    assert set(run_battery(Deciding)) == names


def test_checks_follow_from_methods():
    def ran(layer, *shape):
        return check_dynamic_layer(
            layer, lambda b, t, d: torch.randn(b, t, *shape, dtype=d)
        )

    plain = ran(lambda: nn.Linear(4, 3), 4)
    assert "check_causality" in plain and "check_reset_parameters" in plain
    assert "check_skipping_is_masked" not in plain
    assert "check_macs_are_executed" not in plain
    assert "check_reset_parameters" not in ran(nn.Tanh, 2, 3)


# Each of these breaks one property; the name of the check that says so, and
# the layer.
BROKEN = {}


def caught_by(name):
    def register(layer):
        BROKEN[layer.__name__] = (layer, name)
        return layer

    return register


@caught_by("check_open_is_dense")
class LeavesAGap(Leaky):
    def forward(self, x, gate=None):
        return super().forward(x, None if gate is None else 0.99 * gate)


@caught_by("check_closed_is_static")
class CutsTheWrongHalf(Leaky):
    def slice_to(self, is_open):
        dense = super().slice_to(is_open)
        if not is_open:
            dense.weight.data.copy_(self.weight[HALF:])
        return dense


@caught_by("check_slices_are_copies")
class LendsItsWeights(Leaky):
    def slice_to(self, is_open):
        dense = super().slice_to(is_open)
        dense.weight = nn.Parameter(self.weight.data[: len(dense.weight)])
        return dense


@caught_by("check_skipping_is_masked")
class ForgetsWhenClosed(Leaky):
    def forward_skipping(self, x, is_open):
        return super().forward_skipping(x, is_open) * is_open.unsqueeze(-1)


@caught_by("check_streaming_is_masked")
class FreezesWhenClosed(Leaky):
    def forward_streaming(self, x, context, is_open=None):
        before = context.state
        y = super().forward_streaming(x, context, is_open)
        if is_open is not None and not is_open[:, -1].any():
            context.state = before
        return y


@caught_by("check_decides_alike")
class DecidesByChunk(Deciding):
    def forward_streaming(self, x, context, gate=None, bias=0.0):
        if gate is None:
            logits = self.slope * x.mean((1, 2), keepdim=True)[..., 0]
            gate = sample_gate(logits, False, bias=bias).expand(x.shape[:2])
        return super().forward_streaming(x, context, gate, bias)


@caught_by("check_running_changes_nothing")
class RemembersItsWidth(Leaky):
    def forward(self, x, gate=None):
        self.active = CHANNELS if gate is None or gate.any() else HALF
        return super().forward(x, gate)


@caught_by("check_running_changes_nothing")
class WritesOnItsInput(Leaky):
    def forward_skipping(self, x, is_open):
        x.clamp_(min=-1)
        return super().forward_skipping(x, is_open)


@caught_by("check_running_changes_nothing")
class DriftsByFrame(Leaky):
    """A view of the bias where a copy was meant, for one frame of one item."""

    def forward_streaming(self, x, context, is_open=None):
        bias = self.bias.expand(*x.shape[:2], -1).contiguous()
        bias += super().forward_streaming(x, context, is_open)
        return bias - self.bias


@caught_by("check_eval_is_deterministic")
class AlwaysDropsOut(Leaky):
    def forward(self, x, gate=None):
        return super().forward(F.dropout(x, 0.1, training=True), gate)


@caught_by("check_eval_is_deterministic")
class KeepsHistory(Leaky):
    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, gate=None):
        self.calls.append(len(x))
        return super().forward(x, gate) * (1 + 1e-3 * len(self.calls))


@caught_by("check_streams_are_separate")
class KeepsTheStateItself(Leaky):
    def __init__(self):
        super().__init__()
        self.kept = {}

    def forward_streaming(self, x, context, is_open=None):
        context.state = self.kept.get("state", context.state)[: len(x)]
        y = super().forward_streaming(x, context, is_open)
        self.kept["state"] = context.state
        return y


@caught_by("check_context_is_the_state")
class LendsItsState(Leaky):
    def forward_streaming(self, x, context, is_open=None):
        y = super().forward_streaming(x, context, is_open)
        context.state = y[:, -1]
        return y


@caught_by("check_context_is_the_state")
class CannotBeSaved(Leaky):
    def make_streaming_context(self, *where, **options):
        context = super().make_streaming_context(*where, **options)
        context.now = lambda: context.state
        return context


@caught_by("check_empty_chunks")
class TripsOverNothing(Leaky):
    def forward_streaming(self, x, context, is_open=None):
        if not x.size(1):
            context.state = 0 * context.state
        return super().forward_streaming(x, context, is_open)


@caught_by("check_nan_leaves_no_trace")
class KeepsThePeak(Leaky):
    def __init__(self):
        super().__init__()
        self.peak = {}

    def forward(self, x, gate=None):
        peak = self.peak.get(x.dtype, x.new_zeros(()))
        self.peak[x.dtype] = torch.maximum(peak, x.detach().abs().max())
        return super().forward(x, gate) + 0 * self.peak[x.dtype]


@caught_by("check_causality")
class LooksAhead(Leaky):
    def forward(self, x, gate=None):
        future = F.pad(x[:, 1:], (0, 0, 0, 1))
        return super().forward(x + 1e-6 * future, gate)


@caught_by("check_causality")
class ReadsTheNextGate(Leaky):
    def forward(self, x, gate=None):
        if gate is not None:
            gate = torch.maximum(gate, F.pad(gate[:, 1:], (0, 1)))
        return super().forward(x, gate)


@caught_by("check_padding")
class SubtractsTheMean(Leaky):
    def forward(self, x, gate=None):
        return super().forward(x - x.mean(1, keepdim=True), gate)


@caught_by("check_items_are_separate")
class MixesItems(Leaky):
    def forward(self, x, gate=None):
        return super().forward(x, gate) + 0 * x.mean(0)


@caught_by("check_gradients")
class HidesAPath(Leaky):
    def forward(self, x, gate=None):
        return super().forward(x, gate) + 0.1 * x.detach()


@caught_by("check_every_parameter_learns")
class HasADeadWeight(Leaky):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))


@caught_by("check_training_repeats")
class DrawsElsewhere(Leaky):
    def forward(self, x, gate=None):
        noise = random.random() if self.training else 0
        return super().forward(x, gate) + noise


@caught_by("check_closed_is_untouched")
class ComputesAllAndMasks(Leaky):
    def forward_skipping(self, x, is_open):
        return self.forward(x, is_open.to(x))


@caught_by("check_closed_is_untouched")
class LeaksAGradient(Leaky):
    def forward(self, x, gate=None):
        y = super().forward(x, gate)
        return y + 1e-12 * self.weight[HALF:].sum()


@caught_by("check_macs_are_executed")
class TellsHalf(Leaky):
    def macs(self):
        cost = super().macs()
        return MacCount(cost.fixed // 2, cost.gated)


@caught_by("check_macs_are_linear_in_time")
class SumsByMatrix(Leaky):
    def forward_skipping(self, x, is_open):
        time = torch.arange(x.size(1))
        age = time.unsqueeze(1) - time
        decay = torch.where(age < 0, 0, 0.5 ** age.clamp(min=0)).to(x)
        return decay @ bucketed(self.branch, x, is_open, CHANNELS)


@caught_by("check_macs_are_monotone")
class SkipsNothing(ComputesAllAndMasks):
    """One product over all channels, whatever is open."""


@caught_by("check_reset_parameters")
class ResetsItsChild(Leaky):
    """SpeechBrain resets the child after its parent."""

    def __init__(self):
        self.child = None
        super().__init__()
        self.child = nn.Linear(CHANNELS, CHANNELS)
        self.reset_parameters()

    def reset_parameters(self):
        super().reset_parameters()
        if self.child is not None:
            self.child.reset_parameters()
            nn.init.constant_(self.child.bias, 3.0)

    def forward(self, x, gate=None):
        return super().forward(self.child(x), gate)


@caught_by("check_reset_parameters")
class ResetsItsBiasOnly(Leaky):
    def __init__(self):
        super().__init__()
        nn.init.uniform_(self.weight, -0.5, 0.5)

    def reset_parameters(self):
        nn.init.ones_(self.bias)


@caught_by("check_state_dict")
class HidesAWeight(Leaky):
    def __init__(self):
        super().__init__()
        self.gain = float(1 + torch.rand(()))

    def forward(self, x, gate=None):
        return self.gain * super().forward(x, gate)


@caught_by("check_wrong_weights_are_named")
class LoadsWhatFits(Leaky):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict=False)


@caught_by("check_copies")
class KeepsAGraph(Leaky):
    def __init__(self):
        super().__init__()
        self.last = []

    def forward(self, x, gate=None):
        self.last[:] = [super().forward(x, gate)]
        return self.last[0]


@caught_by("check_bfloat16")
class InsistsOnDouble(Leaky):
    def forward(self, x, gate=None):
        return super().forward(x, gate).double()


@caught_by("check_extremes")
class DividesByTheLevel(Leaky):
    def forward(self, x, gate=None):
        return super().forward(x / x.abs().amax(-1, keepdim=True), gate)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_layer_is_caught(name):
    layer, check = BROKEN[name]
    with pytest.raises(AssertionError) as caught:
        run_battery(layer)
    lines = str(caught.value).splitlines()
    assert any(line.startswith(f"{check}: {name}: ") for line in lines), lines


def test_every_check_has_something_to_catch():
    assert {check for _, check in BROKEN.values()} == {
        check.__name__ for check in CHECKS
    }


def test_look_ahead_must_be_tight():
    with pytest.raises(AssertionError, match="look-ahead 2 is tight"):
        run_battery(Leaky, look_ahead=2)


class Early(nn.Module):
    """Looks ahead."""

    def __init__(self, frames):
        super().__init__()
        self.frames = frames

    def forward(self, x):
        return F.pad(x[:, self.frames :], (0, 0, 0, self.frames))


@pytest.mark.parametrize("frames", [0, 2, 5])
def test_declared_look_ahead_is_allowed(frames):
    assert check_dynamic_layer(
        lambda: Early(frames), example, look_ahead=frames
    )


def test_five_frames_are_enough():
    assert run_battery(Deciding, time=5)


def test_examples_must_be_longer_than_the_look_ahead():
    with pytest.raises(ValueError, match="at least look_ahead . 5 = 12 frames"):
        check_dynamic_layer(lambda: Early(7), example, look_ahead=7)


def test_what_is_known_to_fail_is_named_with_its_reason():
    reasons = {
        "check_gradients": "a path is hidden on purpose",
        "check_open_is_dense": "the slice lacks that path",
        "check_closed_is_static": "the slice lacks that path",
        "check_skipping_is_masked": "only forward has it",
        "check_streaming_is_masked": "only forward has it",
        "check_closed_is_untouched": "only forward has it",
    }
    assert "check_gradients" in run_battery(
        HidesAPath, expected_failures=reasons
    )
    with pytest.raises(AssertionError, match="passes, but: a path is hidden"):
        run_battery(Leaky, expected_failures=reasons)
    with pytest.raises(ValueError, match="'check_none'.* do not run for Leaky"):
        run_battery(Leaky, expected_failures={"check_none": "never ran"})


def test_errors_are_reported_in_the_layers_name():
    class Raises(Leaky):
        def forward_skipping(self, x, is_open):
            raise KeyError("no such branch")

    with pytest.raises(AssertionError, match="Raises: KeyError: .no such") as e:
        run_battery(Raises)
    assert "check_skipping_is_masked" in str(e.value)


def test_a_gate_that_streams_ignore_is_reported():
    class Deaf(Leaky):
        def forward_streaming(self, x, context):
            return super().forward_streaming(x, context)

    with pytest.raises(AssertionError, match="check_streaming_is_masked: Deaf"):
        run_battery(Deaf)


def test_a_check_can_be_run_alone():
    check_skipping_is_masked(Subject(Leaky, example))
    with pytest.raises(AssertionError, match="skipping = masked: error"):
        check_skipping_is_masked(Subject(ForgetsWhenClosed, example))
    assert check_skipping_is_masked in applicable(Subject(Leaky, example))


def test_the_battery_is_repeatable_and_leaves_the_generator_alone():
    messages = []
    for seed in (0, 0, 1):
        torch.manual_seed(7)
        before = torch.get_rng_state()
        with pytest.raises(AssertionError) as caught:
            run_battery(LooksAhead, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] != messages[2]
