"""The budget controller: what it promises holds for any logits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import decided
from speechbrain_dsn.gating.budget import (
    BudgetController,
    chosen_levels,
    open_gates,
)

RATE = 62.5
WINDOW = 625
LOGITS = st.floats(-1e6, 1e6, width=32)
GATE, WIDTHS = (0.0, 1.0), (0.125, 0.25, 0.5, 1.0)


def drive(controller, logits):
    """The activations that a network would run."""
    levels = []
    for logit in logits:
        row = np.reshape(logit, (1, -1))
        levels += chosen_levels(
            row, controller.levels, controller.bias
        ).tolist()
        controller.update(logit)
    return np.array(controller.levels)[levels]


def rows_of(logits, levels):
    """A logit for each of several levels, as wild as those of a gate."""
    if levels == GATE:
        return logits
    noise = np.random.default_rng(0).normal(size=(len(logits), len(levels)))
    return logits[:, None] * noise


def window_means(gates, window=WINDOW):
    total = np.cumsum(np.concatenate([[0.0], gates]))
    return (total[window:] - total[:-window]) / window


@st.composite
def adversarial(draw):
    """Constants, switches, drifts and noise of any size, 20 s and more."""
    parts = draw(
        st.lists(
            st.tuples(st.integers(1, 800), LOGITS, LOGITS, st.booleans()),
            min_size=1,
            max_size=6,
        )
    )
    seed = draw(st.integers(0, 2**32 - 1))
    noise = np.random.default_rng(seed)
    pieces = [
        np.linspace(first, last, count)
        + (noise.normal(0, abs(first) + 1, count) if noisy else 0)
        for count, first, last, noisy in parts
    ]
    whole = np.concatenate(pieces)
    return np.resize(whole, max(len(whole), 2 * WINDOW))


@pytest.mark.parametrize("levels", [GATE, WIDTHS])
@given(adversarial(), st.floats(0, 1), st.floats(-50, 50))
def test_mean_over_any_ten_seconds(levels, logits, target, bias):
    controller = BudgetController(
        target, RATE, tolerance=0.05, bias=bias, levels=levels
    )
    means = window_means(drive(controller, rows_of(logits, levels)))
    # No frame costs less than the cheapest.
    assert np.abs(means - max(target, levels[0])).max() <= 0.05 + 1e-9


@pytest.mark.parametrize("levels", [GATE, WIDTHS])
@given(adversarial(), st.sampled_from([0.2, 0.5, 0.7]))
def test_peak_over_any_second_and_the_mean_with_it(levels, logits, target):
    controller = BudgetController(
        target, RATE, peak=0.8, peak_window=1.0, levels=levels
    )
    gates = drive(controller, rows_of(logits, levels))
    frames = round(RATE)
    assert window_means(gates, frames).max() <= 0.8 + 1e-9
    assert np.abs(window_means(gates) - target).max() <= 0.05 + 1e-9


@pytest.mark.parametrize("target", [0.125, 0.5, 0.9])
@pytest.mark.parametrize(
    "cost",
    [
        MacCount(1_426_000, (1_575_000,)),
        MacCount(300_000, (200_000, 400_000, 800_000, 1_600_000), one_hot=True),
    ],
)
def test_macs_per_second_within_five_percent(target, cost):
    shape = (4 * WINDOW, len(cost.gated))
    logits = np.random.default_rng(0).normal(2, 1, shape)
    controller = BudgetController.for_cost(target, RATE, cost)
    means = window_means(drive(controller, logits))
    wanted = cost.at_activation(target)
    ratios = [cost.at_activation(mean) / wanted for mean in means]
    assert 0.95 <= min(ratios) and max(ratios) <= 1.05


@given(st.integers(0, 99), st.sampled_from([GATE, WIDTHS]), st.floats(-10, 10))
def test_levels_are_those_that_the_network_decides(seed, levels, bias):
    gates = tuple(round(1000 * level) for level in levels if level)
    cost = MacCount(0, gates, one_hot=levels == WIDTHS)
    logits = np.random.default_rng(seed).normal(0, 3, (50, len(gates)))
    values = decided(torch.from_numpy(logits)[None], cost, bias)[0].numpy()
    found = chosen_levels(logits, cost.levels, bias)
    assert np.allclose(np.array(levels)[found], values @ cost.shares)


@given(
    st.integers(0, 99),
    st.sampled_from([0.1, 0.25, 0.5, 0.9]),
    st.floats(-50, 50),
    st.lists(st.integers(1, 9), min_size=2, max_size=40),
)
def test_many_gates_in_a_frame(seed, target, bias, gated):
    """What holds for one gate holds for the mean of many, whatever each of
    them costs."""
    cost = MacCount(100, tuple(gated))
    random = np.random.default_rng(seed)
    drift = np.cumsum(random.normal(size=(2 * WINDOW, 1)), 0)
    logits = drift + random.normal(size=(2 * WINDOW, len(gated)))
    controller = BudgetController.for_cost(target, RATE, cost, bias)
    activations = []
    for row in logits:
        opened = open_gates(row[None], cost, controller.bias)
        controller.update(row)
        activations.append(float(opened[0] @ np.array(cost.shares)))
    means = window_means(np.array(activations))
    assert np.abs(means - target).max() <= 0.05 + 1e-9


def test_many_gates_need_not_be_forced():
    """Of logits of one kind every frame gets its share, as calibrated."""
    logits = np.random.default_rng(0).normal(-3, 2, (4 * WINDOW, 200))
    cost = MacCount(0, (1,) * 200)
    cut = -float(np.quantile(logits, 0.7))
    controller = BudgetController.for_cost(0.3, RATE, cost, cut)
    for row in logits:
        assert abs(controller.bias - cut) < 0.5
        controller.update(row)


@given(st.integers(0, 99), st.booleans(), st.floats(-10, 10))
def test_open_gates_are_those_that_the_network_decides(seed, one_hot, bias):
    cost = MacCount(0, (10, 20, 40), one_hot=one_hot)
    logits = np.random.default_rng(seed).normal(0, 3, (50, 3))
    values = decided(torch.from_numpy(logits)[None], cost, bias)[0].numpy()
    assert np.array_equal(open_gates(logits, cost, bias), values)


def test_a_choice_gets_what_it_wants_most():
    """Where frames differ in how much they want the widest, those that want
    it more get it."""
    levels, random = (0.25, 1.0), np.random.default_rng(0)
    wish = random.normal(-3, 2, 40 * WINDOW)
    logits = np.stack([np.zeros_like(wish), 0.75 * wish], 1)
    controller = BudgetController(0.475, RATE, levels=levels)
    wide = (drive(controller, logits) == 1)[5 * WINDOW :]
    wish = wish[5 * WINDOW :]
    assert np.mean(wide == (wish > np.quantile(wish, 0.7))) > 0.9


def test_opens_the_frames_that_the_policy_wants():
    """With logits of one kind the cut lies at their quantile: hardly a frame
    below it is open, hardly one above is not."""
    logits = np.random.default_rng(0).normal(-3, 2, 40 * WINDOW)
    gates = drive(BudgetController(0.3, RATE), logits)[5 * WINDOW :]
    logits = logits[5 * WINDOW :]
    best = logits > np.quantile(logits, 0.7)
    assert np.mean(gates == best) > 0.9


def test_without_a_shift_it_is_the_calibrated_bias():
    """Where the calibration fits, the controller leaves it nearly alone."""
    logits = np.random.default_rng(1).normal(0, 1, 20 * WINDOW)
    cut = -float(np.quantile(logits, 0.5))
    gates = drive(BudgetController(0.5, RATE, bias=cut), logits)
    assert np.mean(gates == (logits + cut > 0)) > 0.9


def test_one_frame_of_nan_does_no_harm():
    controller = BudgetController(0.5, RATE)
    controller.update(float("nan"))
    means = window_means(drive(controller, np.linspace(-1, 1, 2 * WINDOW)))
    assert np.abs(means - 0.5).max() <= 0.06
    assert np.isfinite(controller.bias)


def test_restored_in_mid_stream():
    logits = np.random.default_rng(2).normal(0, 3, 1000)
    whole = BudgetController(0.4, RATE, peak=0.9)
    expected = drive(whole, logits)
    first, second = (BudgetController(0.4, RATE, peak=0.9) for _ in range(2))
    drive(first, logits[:500])
    second.load(first.arrays())
    assert np.array_equal(drive(second, logits[500:]), expected[500:])
    whole.reset()
    assert np.array_equal(drive(whole, logits), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 1.5}, "budget 1.5"),
        ({"target": float("nan")}, "budget nan"),
        ({"target": 0.5, "tolerance": 1e-4}, "tolerance 0.0001"),
        ({"target": 0.5, "peak": 0.5}, "peak 0.5"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        BudgetController(frame_rate=RATE, **arguments)
