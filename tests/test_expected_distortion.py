"""A router is taught by what every level would have given its frames."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_brain import brain_of, fit
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.dataio.mixing import Batch
from speechbrain_dsn.lobes.models.demucs import RoutedDemucs
from speechbrain_dsn.lobes.waveform import WaveformEnhancer
from speechbrain_dsn.losses import (
    ExpectedDistortion,
    RoutingPrice,
    negative_si_sdr,
)
from speechbrain_dsn.training.brain import DynamicBrain

COST = MacCount(0, (1, 2, 4), one_hot=True)
SMALL = {"hidden": 4, "depth": 3, "taps": 16, "groups": 2}  # hop 16
HOP = 16


def decision_of(logits, lengths=None):
    hard = F.one_hot(logits.argmax(-1), logits.size(-1)).float()
    return Decision(hard, 62.5, lengths, logits)


@given(
    seed=st.integers(0, 99),
    samples=st.integers(HOP, 10 * HOP),
    delay=st.integers(0, HOP),
)
def test_sure_choices_give_the_distortion_of_what_they_choose(
    seed, samples, delay
):
    """Estimates of two levels, put together frame by frame: what is expected
    is the SI-SDR of the result, where both have the same share of the clean
    signal in them."""
    torch.manual_seed(seed)
    clean = torch.randn(1, samples)
    clean = clean - clean.mean()
    error = torch.randn(2, 1, samples)
    share = (error * clean).sum(2, keepdim=True) / clean.square().sum()
    estimates = 0.5 * clean + error - share * clean
    loss = ExpectedDistortion(hop=HOP, delay=delay)
    errors = loss.errors(estimates, clean)
    frames = -(-(samples + delay) // HOP)
    assert errors.shape == (1, frames, 2)
    choice = torch.randint(2, (1, frames))
    logits = 1e4 * F.one_hot(choice, 2).float()
    expected = loss(decision_of(logits), COST, torch.ones(1), errors)
    place = (torch.arange(samples) + delay) // HOP
    mixed = torch.where(choice[:, place] == 0, estimates[0], estimates[1])
    # Of a mixture the share may move a little: its distortion is compared.
    distortion = (mixed - 0.5 * clean).square().sum()
    wanted = 10 * (distortion / (0.5 * clean).square().sum()).log10()
    torch.testing.assert_close(expected, wanted, atol=1e-3, rtol=1e-4)
    if len(set(choice[0].tolist())) == 1:
        (si_sdr,) = negative_si_sdr(mixed, clean - clean.mean())
        assert abs(si_sdr - expected) < 0.1 + 0.1 * abs(expected)


def test_padding_and_price():
    logits = torch.randn(2, 6, 3, requires_grad=True)
    decision = decision_of(logits, torch.tensor([6, 2]))
    errors, target = torch.rand(2, 9, 3), torch.full((2,), 0.5)
    loss = ExpectedDistortion(weight=2.0)(decision, COST, target, errors)
    loss.backward()
    assert bool((logits.grad[1, 2:] == 0).all())
    assert bool((logits.grad[0].abs().sum(-1) > 0).all())
    price = RoutingPrice(efficiency=3.0)
    both = ExpectedDistortion(2.0, price)
    more = both(decision, COST, target, errors) - loss
    torch.testing.assert_close(more, price(decision, COST, target))
    unseen = both(decision, COST, target)
    torch.testing.assert_close(unseen, price(decision, COST, target))
    assert float(ExpectedDistortion()(decision, COST, target)) == 0
    with pytest.raises(ValueError, match="hop at least 1"):
        ExpectedDistortion(hop=0)


@given(
    seed=st.integers(0, 99),
    frames=st.integers(1, 6),
    widths=st.lists(
        st.sampled_from([0.125, 0.25, 0.5, 0.75, 1.0]),
        min_size=2,
        max_size=4,
        unique=True,
    ).map(sorted),
)
@torch.no_grad()
def test_all_widths_at_once_are_one_after_the_other(seed, frames, widths):
    torch.manual_seed(seed)
    lobe = RoutedDemucs(utilizations=widths, router_stride=8, **SMALL)
    enhancer, wav = WaveformEnhancer(lobe), torch.randn(2, frames * HOP - 3)
    together, decision = enhancer(wav, every_level=True)
    together = together.view(len(widths), 2, -1)
    choices = torch.eye(len(widths))
    for level, estimate in enumerate(together):
        gate = choices[level].expand(2, enhancer.frames(wav.size(1)), -1)
        alone, decided = enhancer(wav, gate=gate)
        torch.testing.assert_close(estimate, alone)
        values = decision.values.view(len(widths), *gate.shape)
        torch.testing.assert_close(values[level], gate)
        torch.testing.assert_close(decision.logits[-2:], decided.logits)


@pytest.mark.parametrize("alone", [True, False])
def test_a_router_learns_where_width_pays(alone, monkeypatch):
    """The narrow width is right in silence, the wide one where it is loud.
    Only a router that learns alone is told so."""
    torch.manual_seed(0)
    lobe = RoutedDemucs(utilizations=(0.25, 1.0), router_stride=8, **SMALL)
    enhancer = WaveformEnhancer(lobe)
    loud = torch.zeros(4, 640)
    loud[:, :320] = 1
    compared = []

    def every_level(net, noisy):
        compared.append(len(noisy))
        return torch.cat([0 * noisy, noisy + 1 - loud]), None

    monkeypatch.setattr(DynamicBrain, "_at_every_level", every_level)
    stages = {"alone": 1} if alone else {"policy": 1}
    brain = brain_of(
        enhancer,
        stages,
        steps=60,
        signal_losses={},
        policy_lr=0.03,
        gate_loss=ExpectedDistortion(hop=HOP, delay=lobe.delay),
    )
    batches = []
    for _ in range(60):
        clean = loud * torch.randn(4, 640)
        batches.append(Batch(clean, clean, torch.zeros(4)))
    fit(brain, batches)
    assert len(compared) == (60 if alone else 0)
    if not alone:
        return
    with torch.no_grad():
        _, decision = enhancer.eval()(batches[0].noisy)
    use = decision.values.mean(0)
    assert float(use[2:20, 1].mean()) > 0.9
    assert float(use[25:40, 0].mean()) > 0.9
