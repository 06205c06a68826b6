"""Segments that are separated well pay, and only those."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.gating import sample_choice
from speechbrain_dsn.losses import (
    ComplexityRegularized,
    SignalDependentPrice,
    segmental_si_sdr,
)
from speechbrain_dsn.losses.segmental import in_best_order

HOP, CHUNKS = 100, 13
COST = MacCount(0, (1, 2, 4, 8) * 2, one_hot=True, groups=2)


def sources(seed=0, count=2):
    generator = torch.Generator().manual_seed(1000 + seed)
    size = (2, (CHUNKS - 1) * HOP, count)
    return torch.randn(size, generator=generator)


@given(st.integers(0, 20), st.integers(2, 3))
def test_order_of_estimates_does_not_matter(seed, count):
    targets = sources(seed, count)
    estimates = targets + 0.3 * torch.randn_like(targets)
    mixed = estimates[..., torch.randperm(count)]
    assert torch.equal(in_best_order(mixed, targets), estimates)
    torch.testing.assert_close(
        segmental_si_sdr(mixed, targets, CHUNKS, HOP),
        segmental_si_sdr(estimates, targets, CHUNKS, HOP),
    )


@given(st.floats(-10, 40))
def test_quality_is_that_of_the_noise(snr):
    targets = sources()
    noise = torch.randn_like(targets) * 10 ** (-snr / 20)
    quality = segmental_si_sdr(targets + noise, targets, CHUNKS, HOP)
    assert quality.mean().item() == pytest.approx(snr, abs=1.0)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_level_does_not_matter(factor):
    targets = sources()
    estimates = targets + 0.3 * torch.randn_like(targets)
    torch.testing.assert_close(
        segmental_si_sdr(factor * estimates, targets, CHUNKS, HOP),
        segmental_si_sdr(estimates, factor * targets, CHUNKS, HOP),
        rtol=1e-3,
        atol=1e-2,
    )


def test_error_counts_in_the_two_chunks_that_hold_it():
    targets = sources()
    estimates = targets.clone()
    estimates[:, 5 * HOP : 6 * HOP] += torch.randn(2, HOP, 2)
    bad = segmental_si_sdr(estimates, targets, CHUNKS, HOP) < 20
    # Chunk s is centred on s hops.
    assert bad.nonzero()[:, 1].tolist() == [5, 6, 5, 6]


def test_leaving_silence_silent_is_a_success_and_leaks_are_none():
    targets = sources()
    targets[:, 4 * HOP : 8 * HOP] = 0
    quiet = targets + 0.01 * torch.randn_like(targets)
    leaking = targets.clone()
    leaking[:, 4 * HOP : 8 * HOP] += torch.randn(2, 4 * HOP, 2)
    inside = slice(5, 8)
    good, bad = (
        segmental_si_sdr(estimates, targets, CHUNKS, HOP)[:, inside]
        for estimates in (quiet, leaking)
    )
    assert (good > 15).all() and (bad < 0).all()


@given(st.integers(1, 3), st.integers(1, 500), st.integers(1, 30))
def test_any_length_and_silence_are_finite(batch, samples, chunks):
    for targets in (torch.randn(batch, samples, 2), torch.zeros(1, samples, 2)):
        quality = segmental_si_sdr(0 * targets, targets, chunks)
        assert quality.shape == (len(targets), chunks)
        assert quality.isfinite().all()


def test_easy_segments_are_pushed_down_and_hard_ones_are_not():
    """Two speakers badly separated; then one alone, then none, well."""
    targets = sources()
    third = (CHUNKS - 1) // 3 * HOP
    targets[:, third:, 1] = 0
    targets[:, 2 * third :] = 0
    estimates = targets + 0.01 * torch.randn_like(targets)
    estimates[:, :third] += torch.randn(2, third, 2)
    logits = torch.zeros(2, CHUNKS, 8, requires_grad=True)
    price = SignalDependentPrice(hop=HOP)
    for _ in range(60):
        choice = sample_choice(
            logits.unflatten(-1, (2, 4)),
            COST.levels,
            True,
            1.0,
            0.0,
            straight_through=False,
        ).flatten(-2)
        decision = Decision(choice, 20.0)
        paid = price(decision, COST, torch.zeros(2), estimates, targets)
        (gradient,) = torch.autograd.grad(paid.sum(), logits)
        with torch.no_grad():
            logits -= 5.0 * gradient
    used = (choice @ choice.new_tensor(COST.shares)).detach().mean(0)
    hard, alone, none = used[1:4], used[6:8], used[10:]
    start = sum(COST.levels) / 4
    assert (hard - start).abs().max() < 0.02
    assert alone.max() < start - 0.1 and none.max() < start - 0.1


def test_estimates_are_not_paid_with():
    targets = sources()
    estimates = (targets + torch.randn_like(targets)).requires_grad_()
    values = torch.full((2, CHUNKS, 8), 0.25, requires_grad=True)
    price = SignalDependentPrice(balance=0.1)
    decision = Decision(values, 20.0)
    price(decision, COST, torch.zeros(2), estimates, targets).sum().backward()
    assert estimates.grad is None and (values.grad != 0).any()


@pytest.mark.parametrize("target,paid", [(0.4, False), (0.2, True)])
def test_nothing_is_paid_below_the_target(target, paid):
    targets = sources()
    values = torch.zeros(2, CHUNKS, 8)
    values[..., 1::4] = 1.0  # a quarter of the MACs
    target = torch.full((2,), target)
    price = SignalDependentPrice(hop=HOP)
    got = price(Decision(values, 20.0), COST, target, targets, targets)
    assert bool((got > 0).all()) == paid


def test_chunks_beyond_the_length_are_free():
    targets = sources()
    values = torch.zeros(2, CHUNKS, 8)
    values[..., ::4] = 1.0
    values[:, 6:] = 0.0
    values[:, 6:, 3::4] = 1.0
    price = SignalDependentPrice(hop=HOP)
    got = price(
        Decision(values, 20.0, torch.tensor([6, CHUNKS])),
        COST,
        torch.zeros(2),
        targets,
        targets,
    )
    assert got[0].item() == pytest.approx(0.125, abs=0.01)
    assert got[1] > 0.4


def test_softness_is_checked():
    with pytest.raises(ValueError, match="softness: expected dB above 0"):
        SignalDependentPrice(softness=0.0)


def test_wrapper_takes_targets_first():
    """And pays per item, in the order of SpeechBrain's separation loss."""
    from speechbrain_dsn.lobes.models.dual_path import (
        SlimmableTransformerBlock,
    )

    block = SlimmableTransformerBlock(1, 8, 2, 16, noise=0.0)
    targets = sources()
    predictions = targets.clone()
    predictions[1] += 3 * torch.randn_like(targets[1])
    loss = ComplexityRegularized(
        lambda t, p: 0 * (t - p).mean((1, 2)),
        block,
        weight=2.0,
        target=0.0,
        price=SignalDependentPrice(hop=HOP),
    )
    block(torch.randn(2 * CHUNKS, 10, 8))
    paid = loss(targets, predictions)
    assert paid.shape == (2,) and paid[0] > 0.2 and paid[1] < 0.1 * paid[0]
    block.eval()
    assert loss(targets, predictions).tolist() == [0.0, 0.0]
