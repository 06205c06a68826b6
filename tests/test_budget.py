"""The budget controller: what it promises holds for any logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating.budget import BudgetController

RATE = 62.5
WINDOW = 625
LOGITS = st.floats(-1e6, 1e6, width=32)


def drive(controller, logits):
    """The gates that a network would run."""
    gates = []
    for logit in logits:
        gates.append(np.float32(logit) + np.float32(controller.bias) > 0)
        controller.update(logit)
    return np.array(gates, np.float64)


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


@given(adversarial(), st.floats(0, 1), st.floats(-50, 50))
def test_mean_over_any_ten_seconds(logits, target, bias):
    controller = BudgetController(target, RATE, tolerance=0.05, bias=bias)
    means = window_means(drive(controller, logits))
    assert np.abs(means - target).max() <= 0.05 + 1e-9


@given(adversarial(), st.sampled_from([0.2, 0.5, 0.7]))
def test_peak_over_any_second_and_the_mean_with_it(logits, target):
    controller = BudgetController(target, RATE, peak=0.8, peak_window=1.0)
    gates = drive(controller, logits)
    frames = round(RATE)
    assert window_means(gates, frames).max() <= 0.8
    assert np.abs(window_means(gates) - target).max() <= 0.05 + 1e-9


@pytest.mark.parametrize("target", [0.1, 0.5, 0.9])
def test_macs_per_second_within_five_percent(target):
    cost = MacCount(1_426_000, (1_575_000,))
    logits = np.random.default_rng(0).normal(2, 1, 4 * WINDOW)
    controller = BudgetController.for_cost(target, RATE, cost)
    means = window_means(drive(controller, logits))
    ratios = [cost.at([mean]) / cost.at([target]) for mean in means]
    assert 0.95 <= min(ratios) and max(ratios) <= 1.05


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
