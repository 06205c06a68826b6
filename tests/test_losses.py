"""Losses are zero at the target, and rise on the right side of it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.losses import (
    MultiResolutionCompressedLoss,
    budget_hinge,
    budget_pull,
    metric_target,
)

small = {"sizes": (16, 32), "weights": (1.0, 2.0)}


@given(usage=st.floats(0, 1), target=st.floats(0, 1))
def test_the_hinge_is_paid_above_the_target_only(usage, target):
    paid = budget_hinge(torch.tensor(usage), target).item()
    assert paid == pytest.approx(max(0.0, usage - target), abs=1e-6)


@given(usage=st.floats(0, 1), target=st.floats(0, 1))
def test_the_pull_is_paid_on_both_sides(usage, target):
    usage = torch.tensor(usage, dtype=torch.float64, requires_grad=True)
    paid = budget_pull(usage, target)
    assert paid.item() == pytest.approx((usage.item() - target) ** 2)
    paid.backward()  # descent goes towards the target
    assert usage.grad.item() * (usage.item() - target) >= 0


def test_at_the_target_nothing_is_paid():
    usage = torch.tensor([0.3, 0.6])
    assert budget_hinge(usage, usage).tolist() == [0, 0]
    assert budget_pull(usage, usage).tolist() == [0, 0]


@given(st.floats(1, 5), st.floats(1, 5), st.floats(0.1, 1))
def test_worse_input_may_use_more(one, other, scale):
    worse, better = sorted((one, other))
    target = metric_target(torch.tensor([worse, better]).double(), scale)
    assert 0 <= target[1] <= target[0] <= scale + 1e-9
    assert target[0].item() == pytest.approx(scale * (5 - worse) / 4)


def test_targets_stay_gates_whatever_the_score():
    scores = torch.tensor([-3.0, 0.0, 6.0])
    assert metric_target(scores, 1.0).tolist() == [1, 1, 0]


@given(seed=st.integers(0, 99))
def test_complexity_ignores_padding_and_order(seed):
    generator = torch.Generator().manual_seed(seed)
    gates = torch.rand(3, 8, 1, generator=generator)
    lengths = torch.randint(1, 9, (3,), generator=generator)
    quality = 1 + 4 * torch.rand(3, 1, generator=generator)

    def paid(gates, lengths, quality):
        usage = Decision(gates, 62.5, lengths).usage()
        target = metric_target(quality)
        return budget_hinge(usage, target) + budget_pull(usage, target)

    expected = paid(gates, lengths, quality)
    padded = torch.cat([gates, torch.ones(3, 5, 1)], 1)
    torch.testing.assert_close(paid(padded, lengths, quality), expected)
    order = torch.randperm(3, generator=generator)
    shuffled = paid(gates[order], lengths[order], quality[order])
    torch.testing.assert_close(shuffled, expected[order])


def test_spectral_loss_by_hand():
    """One frame of one sine per size, against numpy's FFT."""
    loss = MultiResolutionCompressedLoss((8,), (3.0,), 0.5, 0.25).double()
    x, y = torch.randn(2, 1, 12, dtype=torch.float64)
    scale = (y.square().mean() + 1e-8).sqrt()
    padded = torch.nn.functional.pad(torch.cat([x, y]) / scale, (4, 4))
    window = torch.hann_window(8, dtype=torch.float64).sqrt()
    spectra = torch.fft.rfft(padded.unfold(1, 8, 4) * window)
    # The window of the STFT is normalized for its overlap: at a half, it is
    # the square root of Hann's.
    magnitude = (spectra.abs().square() + 1e-7).sqrt()
    compressed = magnitude**0.5
    e, s = compressed * spectra / magnitude
    first = (compressed[0] - compressed[1]).square()
    second = (e - s).abs().square()
    frames, bins = 4, 5
    expected = 3 * (0.75 * first + 0.25 * second).sum() / (frames * bins)
    torch.testing.assert_close(
        loss(x, y)[0], expected, rtol=1e-6, atol=0, check_dtype=False
    )


def test_spectral_loss_is_zero_at_the_target_and_positive_beside():
    loss, x = MultiResolutionCompressedLoss(), 0.1 * torch.randn(2, 4000)
    assert loss(x, x).tolist() == [0, 0]
    errors = [loss(x + e * torch.randn_like(x), x) for e in (0.01, 0.1)]
    assert bool((0 < errors[0]).all()) and bool((errors[0] < errors[1]).all())
    assert bool((loss(-x, x) > 0).all())  # the phase counts
    estimate = (0.5 * x).requires_grad_()
    loss(estimate, x).sum().backward()
    # Descent makes the estimate louder.
    assert bool(((estimate.grad * x).sum(1) < 0).all())


@given(
    seed=st.integers(0, 99),
    lengths=st.lists(st.integers(20, 90), min_size=2, max_size=2),
)
def test_spectral_loss_of_an_item_does_not_see_its_padding(seed, lengths):
    generator = torch.Generator().manual_seed(seed)
    loss = MultiResolutionCompressedLoss(**small).double()
    x, y = torch.randn(2, 2, 90, generator=generator).double()
    batch = loss(x, y, torch.tensor(lengths))
    for item, length in enumerate(lengths):
        alone = loss(x[item : item + 1, :length], y[item : item + 1, :length])
        torch.testing.assert_close(batch[item], alone[0])


@given(level=st.floats(-60, 20))
def test_spectral_loss_does_not_see_the_level(level):
    loss = MultiResolutionCompressedLoss(**small).double()
    x, y = torch.randn(2, 2, 200, dtype=torch.float64)
    factor = 10 ** (level / 20)
    torch.testing.assert_close(
        loss(factor * x, factor * y), loss(x, y), rtol=0.01, atol=0
    )


def test_gradient_of_the_spectral_loss():
    loss = MultiResolutionCompressedLoss(**small).double()
    x, y = torch.randn(2, 2, 40, dtype=torch.float64)
    x.requires_grad_()
    lengths = torch.tensor([40, 25])
    assert torch.autograd.gradcheck(lambda x: loss(x, y, lengths), x)


@pytest.mark.parametrize("what", ["estimate", "target", "both"])
def test_silence_has_a_finite_loss_and_gradient(what):
    loss = MultiResolutionCompressedLoss()
    x, y = 0.1 * torch.randn(2, 1, 2000)
    if what != "target":
        x = torch.zeros_like(x)
    if what != "estimate":
        y = torch.zeros_like(y)
    x.requires_grad_()
    value = loss(x, y)
    value.sum().backward()
    assert bool(value.isfinite().all()) and bool(x.grad.isfinite().all())


def test_every_size_needs_its_weight():
    with pytest.raises(ValueError, match="2 sizes"):
        MultiResolutionCompressedLoss((16, 32), (1.0,))
