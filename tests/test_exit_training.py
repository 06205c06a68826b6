"""Exits learn: layer by layer, jointly, and by labels for the router."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_brain import SPECTRAL, brain_of, fit
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.dataio.mixing import Batch
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet
from speechbrain_dsn.lobes.models.nsnet2 import DynamicNsNet2
from speechbrain_dsn.losses import (
    CheapestLevel,
    MultiResolutionCompressedLoss,
    RoutingPrice,
    cheapest_within,
)
from speechbrain_dsn.training.brain import DynamicBrain


def tiny(**options):
    torch.manual_seed(0)
    sizes = {"bins": 17, "exits": (1, 2, 5), "units": (24, 20, 22, 26, 28)}
    lobe = DynamicNsNet2(**sizes, **options)
    return SpectralEnhancer(lobe, 16000, 32, 16)


def clips(count, size=2):
    batches = []
    for _ in range(count):
        clean = torch.randn(size, 400) * torch.rand(size, 1)
        noisy = clean + 0.3 * torch.randn(size, 400)
        batches.append(Batch(noisy, clean, torch.zeros(size)))
    return batches


@pytest.mark.parametrize("split", ["none", "parallel", "serial"])
def test_layerwise_only_what_an_exit_adds_learns(split):
    """With weight decay too: what waits or is done does not move at all."""
    enhancer = tiny(split=split)
    lobe, seen = enhancer.lobe, []
    parts = [lobe.joining(level) for level in range(3)]
    every = [id(p) for part in parts for p in part]
    rest = {id(p) for p in lobe.policy.parameters()}
    assert len(every) == len(set(every))
    assert set(every) | rest == {id(p) for p in lobe.parameters()}

    class Watched(DynamicBrain):
        def on_fit_batch_start(self, batch, should_step):
            super().on_fit_batch_start(batch, should_step)
            self.before = {n: p.clone() for n, p in lobe.named_parameters()}

        def on_fit_batch_end(self, *_):
            moved = {
                id(p)
                for n, p in lobe.named_parameters()
                if not torch.equal(p, self.before[n])
            }
            seen.append((self.level, moved))

    brain = brain_of(enhancer, {"layerwise": 1})
    brain.__class__ = Watched
    fit(brain, clips(6))
    assert [level for level, _ in seen] == [0, 0, 1, 1, 2, 2]
    for level, moved in seen:
        joining = {id(p) for p in parts[level]}
        assert moved <= joining and len(moved) > len(joining) / 2


def test_layerwise_needs_levels_that_add_up():
    lobe = DynamicFTFNet(channels=(4, 4, 4), groups=2, static_groups=1)
    with pytest.raises(InputError, match="levels add to each other"):
        fit(brain_of(SpectralEnhancer(lobe), {"layerwise": 1}), clips(1))


@pytest.mark.parametrize("weights", [None, [1, 2, 5]])
def test_joint_is_the_weighted_mean_over_exits(weights):
    enhancer, (batch,) = tiny(), clips(1)
    brain = brain_of(enhancer, {"joint": 1}, level_weights=weights)
    brain.modules.train()
    brain.on_stage_start(stage("TRAIN"), 1)
    brain.step = 1
    predicted = brain.compute_forward(batch, stage("TRAIN"))
    loss = brain.compute_objectives(predicted, batch, stage("TRAIN"))
    losses = []
    for exit in enhancer.lobe.exits:
        gate = enhancer.lobe.at_exit(exit, 2, enhancer.frames(400))
        estimate, _ = enhancer(batch.noisy, gate=gate)
        losses.append(SPECTRAL(estimate, batch.clean).mean())
    share = torch.tensor(weights or [1, 1, 1]).float()
    expected = torch.stack(losses) @ share / share.sum()
    torch.testing.assert_close(loss, expected)


def stage(name):
    import speechbrain as sb

    return getattr(sb.Stage, name)


@given(seed=st.integers(0, 99), epsilon=st.floats(0, 2))
def test_labels_are_the_cheapest_within_epsilon(seed, epsilon):
    torch.manual_seed(seed)
    errors = torch.rand(3, 7, 4) + 0.01
    labels = cheapest_within(errors, epsilon)
    best = errors.amin(-1)
    chosen = errors.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    assert bool((chosen <= (1 + epsilon) * best).all())
    for level in range(4):  # no cheaper one would have done
        cheaper = labels > level
        bad = errors[..., level] > (1 + epsilon) * best
        assert bool(bad[cheaper].all())


def test_frame_errors_add_up_to_the_loss():
    loss = CheapestLevel(hop=32, smooth=1)
    clean = torch.randn(2, 640)
    estimates = clean + torch.randn(3, 2, 640)
    errors = loss.errors(estimates, clean)
    assert errors.shape == (2, 21, 3)
    for level in range(3):
        whole = MultiResolutionCompressedLoss((64,))(estimates[level], clean)
        torch.testing.assert_close(errors[..., level].mean(1), whole)


def test_padding_and_price_of_labels():
    logits = torch.randn(2, 6, 3, requires_grad=True)
    lengths = torch.tensor([6, 2])
    values = F.one_hot(logits.argmax(-1), 3).float()
    decision = Decision(values, 62.5, lengths, logits)
    cost = MacCount(0, (1, 2, 4), one_hot=True)
    errors, target = torch.rand(2, 9, 3), torch.full((2,), 0.5)
    loss = CheapestLevel(weight=2.0)(decision, cost, target, errors)
    loss.backward()
    assert bool((logits.grad[1, 2:] == 0).all())
    labels = cheapest_within(errors[:, :6], 0.1)
    valid = F.cross_entropy(
        torch.cat([logits[0], logits[1, :2]]),
        torch.cat([labels[0], labels[1, :2]]),
    )
    torch.testing.assert_close(loss, 2 * valid)
    price = RoutingPrice()
    both = CheapestLevel(weight=2.0, price=price)
    more = both(decision, cost, target, errors) - loss
    torch.testing.assert_close(more, price(decision, cost, target))
    with pytest.raises(ValueError, match="smooth is odd"):
        CheapestLevel(smooth=4)


def test_a_router_learns_where_a_further_exit_pays():
    """Silent frames are as good at any exit; the others are not."""
    enhancer = tiny()
    for head in enhancer.lobe.heads.values():
        torch.nn.init.zeros_(head.weight)
    # The masks of the exits: closed, closed, open.
    for bias, head in zip(
        (-9.0, -9.0, 9.0), enhancer.lobe.heads.values(), strict=True
    ):
        torch.nn.init.constant_(head.bias, bias)
    loud = torch.zeros(4, 800)
    loud[:, :400] = 1
    batches = []
    for _ in range(40):
        clean = loud * torch.randn(4, 800)
        batches.append(Batch(clean, clean, torch.zeros(4)))
    brain = brain_of(
        enhancer,
        {"alone": 1},
        steps=40,
        gate_loss=CheapestLevel(weight=1.0, hop=16, smooth=1),
    )
    fit(brain, batches)
    with torch.no_grad():
        _, decision = enhancer.eval()(batches[0].noisy)
    use = decision.values.mean(0)
    assert float(use[2:24, 2].mean()) > 0.9  # the last exit where it is loud
    assert float(use[28:, 0].mean()) > 0.9  # and the first in silence
