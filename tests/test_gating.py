"""Gates are what the logits say, and budgets are what the gates cost."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example as case
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import (
    Calibration,
    FramePolicy,
    random_gate,
    sample_gate,
    surrogate_gate,
    top_share_gate,
)


def test_policy_starts_at_its_bias():
    policy = FramePolicy(4, initial_bias=3.0)
    torch.nn.init.zeros_(policy.head.weight)
    assert (policy(torch.randn(2, 5, 7, 4)) == 3).all()


def test_policy_macs_by_hand():
    dense, head = (2 * 32 + 1) * 16, 16  # mean, deviation and level
    gru = 3 * 16 * (16 + 16)
    assert FramePolicy(32, 16).macs().open == dense + gru + head
    assert FramePolicy(32, 16, memory=False).macs().closed == dense + head


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1), st.floats(-10, 10))
def test_eval_takes_the_likelier_side(logits, bias):
    logits = torch.tensor(logits)
    gate = sample_gate(logits, training=False, bias=bias)
    assert torch.equal(gate, (logits + bias > 0).float())
    assert torch.equal(gate, sample_gate(logits, False, bias=bias))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16]
)
@pytest.mark.parametrize("training", [True, False])
def test_extreme_logits_step_and_learn(dtype, training):
    """DynCP's gates, by a surrogate gradient."""
    logits = torch.tensor([-1e4, -50.0, 0.5, 50.0, 1e4]).repeat(2, 100, 1)
    logits = logits.to(dtype).requires_grad_()
    gate = surrogate_gate(logits, training, slope=10.0, noise=1.0)
    assert gate.dtype == torch.float32
    assert bool(((gate == 0) | (gate == 1)).all())
    assert (gate[..., :2] == 0).all() and (gate[..., 3:] == 1).all()
    gate.sum().backward()
    assert bool(logits.grad.isfinite().all())
    assert bool((logits.grad[..., 2] > 0).all())


def test_low_temperature_is_argmax():
    logits = torch.randn(1000)
    for straight_through in (True, False):
        gate = sample_gate(logits, True, 1e-6, 0.0, straight_through)
        assert torch.equal(gate, sample_gate(logits, False))


@pytest.mark.parametrize("logit", [-2.0, -0.5, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("straight_through", [True, False])
def test_gates_open_as_often_as_the_sigmoid_says(logit, straight_through):
    n = 40_000
    gate = sample_gate(
        torch.full((n,), logit), True, 0.5, straight_through=straight_through
    )
    probability = torch.sigmoid(torch.tensor(logit)).item()
    opened = int((gate > 0.5).sum())
    deviation = math.sqrt(n * probability * (1 - probability))
    assert abs(opened - n * probability) < 4 * deviation


def test_bias_shifts_the_odds():
    logits, n = torch.zeros(20_000), 20_000
    opened = sample_gate(logits, True, bias=1.0).mean().item()
    expected = torch.sigmoid(torch.tensor(1.0)).item()
    assert abs(opened - expected) < 4 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16]
)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("straight_through", [True, False])
def test_extreme_logits_stay_gates(dtype, training, straight_through):
    logits = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4]).repeat(1000).to(dtype)
    logits.requires_grad_()
    gate = sample_gate(logits, training, 0.1, straight_through=straight_through)
    assert gate.dtype == torch.float32
    assert bool(((gate >= 0) & (gate <= 1)).all())
    assert (gate[::5] == 0).all() and (gate[4::5] == 1).all()
    if training:
        gate.sum().backward()
        assert bool(logits.grad.isfinite().all())


def test_straight_through_is_hard_forward_and_soft_backward():
    logits = (3 * torch.randn(1000)).requires_grad_()
    weight, gates, grads = torch.randn(1000), [], []
    for straight_through in (True, False):
        torch.manual_seed(1)
        gates.append(
            sample_gate(logits, True, 0.7, straight_through=straight_through)
        )
        grads.append(torch.autograd.grad((gates[-1] * weight).sum(), logits)[0])
    hard, soft = gates
    assert torch.equal(hard, (soft > 0.5).float())  # exactly 0 or 1
    assert torch.equal(*grads)
    expected = weight * soft * (1 - soft) / 0.7
    torch.testing.assert_close(grads[1], expected.detach())


def test_noise_follows_the_seed_and_can_be_left_out():
    logits = torch.randn(100)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(sample_gate(logits, True, straight_through=False))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    quiet = sample_gate(logits, True, 0.5, noise=0.0, straight_through=False)
    torch.testing.assert_close(quiet, torch.sigmoid(logits / 0.5))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be > 0"):
        sample_gate(torch.zeros(1), True, temperature)


@given(
    share=st.floats(0, 1),
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    noise=st.sampled_from([0.0, 2.0]),
)
def test_a_share_opens_as_many_frames(share, lengths, noise):
    logits = torch.randn(len(lengths), 20)
    lengths = torch.tensor(lengths)
    shares = torch.full((len(lengths),), share)
    gate = top_share_gate(logits, shares, lengths, noise=noise)
    assert bool(((gate == 0) | (gate == 1)).all())
    assert torch.equal(gate.sum(1), (shares * lengths).round())
    for item, length in enumerate(lengths.tolist()):
        assert not gate[item, length:].any()
        opened, inside = gate[item, :length] == 1, logits[item, :length]
        if noise == 0 and opened.any() and not opened.all():
            assert inside[opened].min() > inside[~opened].max()


def test_a_share_learns_by_the_frames_around_its_threshold():
    logits = torch.tensor([[4.0, 0.5, 3.0, -0.5, -6.0, 9.0]]).requires_grad_()
    gate = top_share_gate(logits, torch.tensor([0.6]), torch.tensor([5]), 0.5)
    assert gate.tolist() == [[1, 1, 1, 0, 0, 0]]
    (grad,) = torch.autograd.grad(gate.sum(), logits)
    soft = torch.sigmoid(logits.detach() / 0.5)  # the threshold is at 0
    expected = soft * (1 - soft) / 0.5
    expected[0, 5] = 0  # beyond the length
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("mean_runs", [(12.0, 12.0), (1.0, 32.0)])
def test_random_gates_are_open_closed_and_runs(mean_runs):
    def draw():
        generator = torch.Generator().manual_seed(0)
        return random_gate(4000, 400, generator, mean_runs)

    gate = draw()
    assert gate.shape == (4000, 400) and torch.equal(gate, draw())
    assert bool(((gate == 0) | (gate == 1)).all())
    share = gate.mean(1)
    # Runs come out all open or all closed as well, but seldom: a share near
    # 0 or 1 was drawn.
    for constant in (share == 1, share == 0):
        assert 0.23 < constant.double().mean() < 0.30
    mixed = gate[(share > 0) & (share < 1)]
    assert abs(float(mixed.mean()) - 0.5) < 0.03
    # A gate turns over at a renewal that draws the other value. Shares are
    # uniform: E[2 s (1 - s)] = 1/3; half of the items are runs.
    low, high = mean_runs
    renewals = 1 / low
    if low < high:
        renewals = (1 / low - 1 / high) / math.log(high / low)
    flips = (gate[:, 1:] != gate[:, :-1]).double().mean().item()
    assert flips == pytest.approx(renewals / 3 / 2, rel=0.1)


numbers = st.lists(st.floats(-50, 50), min_size=1, max_size=300, unique=True)


@given(logits=numbers, budget=st.floats(0, 1), steps=st.integers(2, 200))
@case(logits=[-2.0, -1.0, 1.0, 2.0], budget=0.25, steps=2)
def test_a_budget_opens_its_share_of_frames(logits, budget, steps):
    bias = Calibration.from_logits(logits, steps).bias(budget)
    opened = np.mean(np.asarray(logits) + bias > 0)
    assert abs(opened - budget) <= 1 / steps + 1 / len(logits) + 1e-9


@given(logits=numbers, steps=st.integers(1, 50))
def test_a_larger_budget_never_closes_a_frame(logits, steps):
    calibration = Calibration.from_logits(logits, steps)
    budgets = np.linspace(0, 1, 33)
    biases = [calibration.bias(float(budget)) for budget in budgets]
    assert (np.diff(biases) >= 0).all()


@given(logits=numbers)
def test_the_ends_hold_for_every_input(logits):
    calibration = Calibration.from_logits(logits)
    others = np.linspace(-100, 100)
    assert (others + calibration.bias(0) <= 0).all()
    assert (others + calibration.bias(1) > 0).all()


def test_equal_logits_can_be_calibrated():
    calibration = Calibration.from_logits([3.0] * 10)
    assert calibration.bias(0.5) == -3


@pytest.mark.parametrize("logits", [[], [math.nan], [0.0, math.inf]])
def test_logits_that_tell_nothing_are_refused(logits):
    with pytest.raises(InputError, match="finite logits"):
        Calibration.from_logits(logits)


@pytest.mark.parametrize("budget", [-0.01, 1.01, math.nan, math.inf])
def test_a_budget_outside_0_1_is_refused(budget):
    calibration = Calibration((0.0, 1.0), (-1.0, 1.0))
    with pytest.raises(InputError, match="a budget lies in 0..1"):
        calibration.bias(budget)


@pytest.mark.parametrize(
    "budgets, biases",
    [
        ((), ()),
        ((0.0,), (0.0,)),
        ((0.0, 1.0), (0.0,)),
        ((0.0, 0.5), (0.0, 1.0)),
        ((0.1, 1.0), (0.0, 1.0)),
        ((0.0, 0.5, 0.5, 1.0), (0.0, 1.0, 2.0, 3.0)),
        ((0.0, 1.0), (1.0, 0.0)),
        ((0.0, 1.0), (0.0, math.nan)),
        ((0.0, math.inf), (0.0, 1.0)),
    ],
)
def test_a_broken_table_is_refused(budgets, biases):
    with pytest.raises(InputError, match="as many biases as budgets"):
        Calibration(budgets, biases)
