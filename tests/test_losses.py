"""Losses are zero at the target, and rise on the right side of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.losses import (
    MultiResolutionCompressedLoss,
    PerceptualDisturbance,
    Term,
    budget_hinge,
    budget_pull,
    metric_target,
    negative_si_sdr,
    threshold_shift,
    unit_spread,
)
from speechbrain_dsn.metrics import METRICS, spearman
from speechbrain_dsn.miniset import miniset_folder

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


@given(seed=st.integers(0, 99))
def test_the_shift_moves_the_threshold_and_no_rank(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 9, generator=generator, requires_grad=True)
    target = torch.rand(3, generator=generator)
    lengths = torch.tensor([9, 5, 1])
    mask = (torch.arange(9) < lengths[:, None]).float()
    loss = threshold_shift(logits, target, mask)
    use = ((logits > 0) * mask).sum(1) / lengths
    torch.testing.assert_close(loss, (use - target).square())
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    # Every valid frame of an item is moved alike, padding not at all.
    expected = ((use - target) / lengths)[:, None] * mask
    torch.testing.assert_close(grad, expected)


@given(seed=st.integers(0, 99), scale=st.floats(0.1, 10))
def test_the_spread_is_held_at_one(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 9, generator=generator).double()
    mask = (torch.arange(9) < torch.tensor([[9], [5]])).double()
    count = mask.sum(1, keepdim=True)
    logits = logits - (logits * mask).sum(1, keepdim=True) / count
    spread = ((logits.square() * mask).sum(1, keepdim=True) / count).sqrt()
    logits = scale * logits / spread + 7.0
    expected = torch.full((2,), (scale - 1) ** 2).double()
    torch.testing.assert_close(
        unit_spread(logits, mask), expected, atol=1e-4, rtol=1e-3
    )
    padded = logits + 5 * (1 - mask)
    torch.testing.assert_close(
        unit_spread(padded, mask), unit_spread(logits, mask)
    )


def test_complexity_of_logits_is_differentiable():
    logits = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(2, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: unit_spread(x, mask), logits)
    flat = torch.zeros(1, 4, requires_grad=True)
    unit_spread(flat, torch.ones(1, 4)).sum().backward()
    assert bool(flat.grad.isfinite().all())


@given(level=st.floats(-40, 40), gain=st.floats(-20, 20))
def test_si_sdr_loss_is_the_ratio_whatever_the_scale(level, gain):
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 2, 400, generator=generator).double()
    clean = clean - clean.mean(1, keepdim=True)
    noise = noise - noise.mean(1, keepdim=True)
    parallel = (noise * clean).sum(1) / clean.square().sum(1)
    noise = noise - parallel.unsqueeze(1) * clean
    noise = (
        noise * (clean.square().sum(1) / noise.square().sum(1)).sqrt()[:, None]
    )
    estimate = 10 ** (gain / 20) * (clean + 10 ** (-level / 20) * noise) + 0.3
    expected = torch.full((2,), -level).double()
    if abs(gain) + abs(level) < 50:  # above the floor
        torch.testing.assert_close(
            negative_si_sdr(estimate, clean), expected, atol=0.05, rtol=0
        )


def test_si_sdr_loss_has_a_floor_and_a_gradient():
    clean = torch.randn(1, 300, dtype=torch.float64)
    estimate = clean + 0.5 * torch.randn_like(clean)
    estimate.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda e: negative_si_sdr(e, clean), estimate, fast_mode=True
    )
    for other in (clean, torch.zeros_like(clean)):
        for target in (clean, torch.zeros_like(clean)):
            e = other.clone().requires_grad_()
            loss = negative_si_sdr(e, target)
            loss.sum().backward()
            assert bool(loss.isfinite().all()) and bool(e.grad.isfinite().all())


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


def test_the_disturbance_ranks_mixtures_as_pesq_does():
    """The same voice in more and more noise, and the model that is mimicked."""
    loss, heard, wanted = PerceptualDisturbance(), [], []
    folder = miniset_folder()
    clips = load_fixed_list(folder / "enhance_test.csv", folder)
    for mixture in clips:
        noisy, clean = mixture.render()
        for share in (1.0, 0.5, 0.1):
            worse = clean + share * (noisy - clean)
            pair = torch.from_numpy(np.stack([worse, clean])).float()
            heard.append(loss(pair[:1], pair[1:]).item())
            wanted.append(METRICS["pesq"](clean, worse, 16000).value)
    assert spearman(heard, wanted).value < -0.9


@given(gain=st.floats(0.01, 10))
def test_the_disturbance_does_not_hear_a_gain(gain):
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 1, 8000, generator=generator)
    loss = PerceptualDisturbance()
    torch.testing.assert_close(
        loss(gain * (x + noise), x), loss(x + noise, x), rtol=1e-3, atol=1e-4
    )
    assert loss(gain * x, x).item() < 0.01


@pytest.mark.parametrize("level", [0.0, 1e-7, 1.0])
def test_the_disturbance_of_silence_has_a_gradient(level):
    estimate = (level * torch.randn(2, 4000)).requires_grad_()
    PerceptualDisturbance()(estimate, torch.zeros(2, 4000)).sum().backward()
    assert estimate.grad.isfinite().all()


def test_a_term_is_never_maximised():
    with pytest.raises(ValueError, match="-1"):
        Term(negative_si_sdr, weight=-1)
    assert not Term(negative_si_sdr, weight=0).joins(5)
