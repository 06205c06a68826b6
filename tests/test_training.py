"""Stages, schedules, clips and checkpoints of the training."""

import pytest
import speechbrain as sb
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from speechbrain_dsn.dataio.mixing import Batch
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet, FTFNet
from speechbrain_dsn.losses import MultiResolutionCompressedLoss, Term
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.checkpointer import SafeCheckpointer
from speechbrain_dsn.training.data import TrainingClips
from speechbrain_dsn.training.fit import load_teacher
from speechbrain_dsn.training.stages import Stage, StagePlan

counts = st.integers(0, 5)


@given(counts, counts, counts, st.integers(1, 9))
def test_plan_covers_each_epoch_once(first, second, third, steps):
    plan = StagePlan(first, second, third)
    gates = [plan.stage(e).gates for e in range(1, plan.epochs + 1)]
    wanted = ["open"] * first + ["random"] * second + ["policy"] * third
    assert gates == wanted
    with pytest.raises(ValueError, match=f"plan of {plan.epochs}"):
        plan.stage(plan.epochs + 1)
    for epoch in range(1, plan.epochs + 1):
        progress = [plan.progress(epoch, s, steps) for s in range(steps + 1)]
        assert progress == sorted(progress)
        assert 0 <= progress[0] and progress[-1] <= 1


@given(st.integers(1, 6), st.integers(0, 6), st.integers(1, 20))
def test_rate_warms_up_stays_and_falls(epochs, decay, steps):
    decay = min(decay, epochs)
    plan = StagePlan(open=epochs, decay_epochs=decay, warmup_steps=3)
    rates = [
        plan.rate(e, s, steps)
        for e in range(1, epochs + 1)
        for s in range(steps)
    ]
    assert rates[0] <= 1 / 3 + 1e-9
    assert all(0 < rate <= 1 for rate in rates)
    falling = rates[max(3, (epochs - decay) * steps) :]
    assert falling == sorted(falling, reverse=True)


def test_rate_of_a_run_that_starts_warm_warms_up_there():
    plan = StagePlan(open=4, decay_epochs=1, warmup_steps=10)
    assert plan.rate(3, 0, 100, first_epoch=3) == pytest.approx(0.1)
    assert plan.rate(3, 0, 100) == pytest.approx(1.0)


def test_stage_refuses_unknown_gates():
    with pytest.raises(ValueError, match="'shut'"):
        Stage("shut", 1)
    with pytest.raises(ValueError, match="-1"):
        Stage("open", -1)


class Numbers:
    """A sampler whose clips are their own numbers."""

    def batch(self, index, size):
        clips = torch.arange(index * size, (index + 1) * size)
        return Batch(clips, clips, clips)


class Counter:
    current = 1


def test_epochs_are_stretches_until_the_scored_clips_repeat():
    counter = Counter()
    clips = TrainingClips(
        counter,
        scored_from=3,
        scored_clips=4,
        ovrl=[1.0, float("nan"), 3.0, 2.0],
        sampler=Numbers(),
        batch_size=2,
        batches=3,
    )
    seen = {}
    for counter.current in (1, 2, 3):
        seen[counter.current] = [clips[i] for i in range(3)]
    first = [batch.noisy.tolist() for batch in seen[1] + seen[2]]
    assert first == [[2 * n, 2 * n + 1] for n in range(6)]
    assert all(batch.ovrl is None for batch in seen[1])
    assert [b.noisy.tolist() for b in seen[3]] == [[0, 1], [2, 3], [0, 1]]
    # A clip without a score counts as the mean one.
    assert seen[3][0].ovrl.tolist() == [1.0, 2.0]
    with pytest.raises(IndexError):
        clips[3]


def test_scored_clips_must_fill_a_batch():
    with pytest.raises(InputError, match="found 1"):
        TrainingClips(Counter(), None, 2, 1, scored_from=1, scored_clips=1)


def fill(checkpointer, layer, value):
    layer.weight.data.fill_(value)
    return checkpointer.save_checkpoint()


def test_broken_checkpoint_is_passed_over_loudly(tmp_path, caplog):
    layer = torch.nn.Linear(2, 2)
    checkpointer = SafeCheckpointer(tmp_path, {"layer": layer})
    fill(checkpointer, layer, 1.0)
    broken = fill(checkpointer, layer, 2.0)
    file = broken.paramfiles["layer"]
    file.write_bytes(file.read_bytes()[:40])
    found = checkpointer.recover_if_possible()
    assert found.path != broken.path
    assert layer.weight.unique().tolist() == [1.0]
    assert "CANNOT BE LOADED" in caplog.text
    for checkpoint in checkpointer.list_checkpoints():
        checkpoint.paramfiles["layer"].write_bytes(b"")
    with pytest.raises(RuntimeError, match="none of the 2"):
        checkpointer.recover_if_possible()


def test_named_checkpoint_replaces_the_one_before(tmp_path):
    layer = torch.nn.Linear(2, 2)
    checkpointer = SafeCheckpointer(tmp_path, {"layer": layer})
    for value in (1.0, 2.0):
        layer.weight.data.fill_(value)
        checkpointer.save_checkpoint(name="best")
    assert len(checkpointer.list_checkpoints()) == 1
    layer.weight.data.zero_()
    checkpointer.recover_if_possible()
    assert layer.weight.unique().tolist() == [2.0]


def test_a_net_can_learn_from_its_open_self():
    """In-place distillation: no loss where its gates are open anyway."""
    torch.manual_seed(0)
    lobe = DynamicFTFNet()
    for parameter in lobe.parameters():
        nn.init.normal_(parameter, std=0.1)
    enhancer = SpectralEnhancer(lobe).eval()
    brain = DynamicBrain(
        modules={"enhancer": enhancer},
        hparams={
            "signal_losses": {
                "spectral": Term(MultiResolutionCompressedLoss())
            },
            "teacher_weight": 1.0,
        },
    )
    brain.hparams.teacher_net = brain.widest
    brain.epoch, brain.sums, brain.gates = 1, {}, "open"
    noisy, clean = torch.randn(2, 2, 4000).unbind()
    batch = Batch(noisy, clean, torch.zeros(2))
    losses = []
    for gate in (1.0, 0.0):
        gates = torch.full((2, enhancer.frames(4000)), gate)
        prediction = enhancer(noisy, gate=gates)
        losses.append(
            brain.compute_objectives(prediction, batch, sb.Stage.TRAIN)
        )
    assert losses[0] < 1e-5 < losses[1]
    losses[1].backward()
    assert all(
        p.grad.isfinite().all() for p in lobe.parameters() if p.grad is not None
    )


def test_a_static_net_cannot_teach_itself():
    enhancer = SpectralEnhancer(FTFNet(channels=(4, 4, 4), groups=2))
    with pytest.raises(InputError, match="nothing decides"):
        load_teacher({"teacher": "self", "enhancer": enhancer}, "enhancer")
    assert load_teacher({"teacher": None}, "enhancer") is None


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_teacher_sets_its_share_of_the_target(share):
    """Its own output is worth nothing more to a student that gives it."""
    torch.manual_seed(0)
    spectral = MultiResolutionCompressedLoss()
    enhancer = SpectralEnhancer(FTFNet(channels=(4, 4, 4), groups=2)).eval()
    brain = DynamicBrain(
        modules={"enhancer": enhancer},
        hparams={
            "signal_losses": {"spectral": Term(spectral)},
            "teacher_net": enhancer,
            "teacher_weight": share,
        },
    )
    brain.epoch, brain.sums = 1, {}
    noisy, clean = torch.randn(2, 2, 4000).unbind()
    batch = Batch(noisy, clean, torch.zeros(2))
    estimate, decision = enhancer(noisy)
    loss = brain.compute_objectives((estimate, decision), batch, sb.Stage.TRAIN)
    wanted = (1 - share) * spectral(estimate, clean).mean()
    torch.testing.assert_close(loss, wanted)
