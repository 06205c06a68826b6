"""A policy learns, and does not collapse."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from speechbrain_dsn.dataio.folders import prepare_folders
from speechbrain_dsn.dataio.mixing import MixtureSampler
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet
from speechbrain_dsn.losses import (
    MultiResolutionCompressedLoss,
    Term,
    metric_target,
    threshold_shift,
    unit_spread,
)
from speechbrain_dsn.metrics import spearman
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.pretrained import load_model
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.data import TrainingClips
from speechbrain_dsn.training.results import calibrate
from speechbrain_dsn.training.stages import StagePlan

STEPS = 30
SIZE = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = miniset_folder()
    return prepare_folders(
        root / "speech", root / "noise", tmp_path_factory.mktemp("lists")
    )


def quality(snr_db):
    """A stand-in for OVRL that needs no network."""
    return 1 + 3.2 * (torch.as_tensor(snr_db) + 6) / 28


def train(data, **gates):
    """The policy stage on the mini set; gives the enhancer in eval mode."""
    torch.manual_seed(0)
    sampler = MixtureSampler(
        data.speech, data.noise, seed=0, clip_seconds=1.2, reverb_probability=0
    )
    clips = [sampler.batch(i, SIZE) for i in range(40)]
    scores = torch.cat([quality(batch.snr_db) for batch in clips])
    lobe = DynamicFTFNet(channels=(8, 8, 8), groups=2, static_groups=1)
    enhancer = SpectralEnhancer(lobe)
    counter = SimpleNamespace(current=1)
    brain = DynamicBrain(
        modules={"enhancer": enhancer},
        opt_class=lambda p: torch.optim.AdamW(p, lr=1e-3),
        hparams={
            "plan": StagePlan(policy=1, warmup_steps=10, final=0.1),
            "first_epoch": 1,
            "signal_losses": {
                "spectral": Term(MultiResolutionCompressedLoss())
            },
            "batches_per_epoch": STEPS,
            "lr": 1e-3,
            "policy_lr": 1e-2,
            "gate_weight": 1.0,
            "gate_noise": (0.2, 0.0),
            "metric_scale": 0.9,
            "seed": 0,
            **gates,
        },
    )
    batches = TrainingClips(
        counter,
        scored_from=1,
        scored_clips=len(scores),
        ovrl=scores,
        sampler=sampler,
        batch_size=SIZE,
        batches=STEPS,
    )
    brain.fit(
        [1],
        batches,
        progressbar=False,
        train_loader_kwargs={"batch_size": None},
    )
    return enhancer.eval()


@torch.inference_mode()
def use(enhancer, data):
    """Deterministic activation and SNR of each mixture of valid."""
    result = []
    for mixture in data.valid():
        noisy, _ = mixture.render()
        _, decision = enhancer(torch.from_numpy(noisy)[None])
        result.append((float(decision.usage()), mixture.snr_db))
    return np.array(result).T


def learn(lobe, clips, wanted, steps=300):
    """The policy alone, on features of a stem that stays as it is."""
    enhancer = SpectralEnhancer(lobe)
    with torch.no_grad():
        features = [
            lobe.stem(enhancer.compress(enhancer.stft(batch.noisy)))[1]
            for batch in clips
        ]
    optimizer = torch.optim.AdamW(lobe.policy.parameters(), lr=5e-3)
    for step in range(steps):
        place = step % len(clips)
        logits = lobe.policy(features[place])
        mask = torch.ones_like(logits)
        loss = threshold_shift(logits, wanted[place], mask)
        loss = (loss + 0.1 * unit_spread(logits, mask)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return enhancer.eval()


def test_usage_follows_a_target_that_falls_with_quality(data):
    torch.manual_seed(0)
    sampler = MixtureSampler(
        data.speech, data.noise, seed=0, clip_seconds=2, reverb_probability=0
    )
    clips = [sampler.batch(i, 8) for i in range(40)]
    wanted = [metric_target(quality(batch.snr_db), 0.9) for batch in clips]
    enhancer = learn(DynamicFTFNet(channels=(8, 16, 16)), clips, wanted)
    activation, snr = use(enhancer, data)
    assert spearman(activation, snr).value <= -0.5
    assert (
        abs(activation.mean() - metric_target(quality(snr), 0.9).mean()) < 0.2
    )
    # It decides within files too, not only between them.
    assert ((activation > 0.02) & (activation < 0.98)).mean() > 0.5


@pytest.fixture(scope="module")
def guided(data):
    return train(data, gate_target="metric", gate_loss="rank")


def test_calibration_holds_budgets_on_its_own_files(guided, data):
    from speechbrain_dsn.training.data import FixedMixtures

    valid = FixedMixtures(data.valid())
    calibration = calibrate(guided, valid)
    means = []
    for budget in (0.0, 0.25, 0.5, 0.75, 1.0):
        frames = []
        for i in range(len(valid)):
            bias = calibration.bias(budget)
            with torch.inference_mode():
                _, decision = guided(valid[i].noisy, bias=bias)
            frames.append(decision.values.flatten())
        means.append(float(torch.cat(frames).mean()))
    assert means == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.02)


@pytest.mark.parametrize("gate_loss", ["pull", "hinge"])
def test_published_losses_train_too(data, gate_loss):
    enhancer = train(data, gate_target=0.5, gate_loss=gate_loss)
    parameters = torch.cat([p.flatten() for p in enhancer.parameters()])
    assert torch.isfinite(parameters).all()


@torch.inference_mode()
def test_shipped_policy_opens_less_where_its_input_is_better(data):
    model = load_model("mgt-dsn")
    activation, snr = [], []
    for mixture in data.valid() + data.test():
        noisy, _ = mixture.render()
        wav = torch.from_numpy(noisy)[None]
        _, decision = model.enhancer(wav, **model.decide())
        activation.append(float(decision.usage()))
        snr.append(mixture.snr_db)
    assert spearman(activation, snr).value <= -0.4
    assert 0.2 < np.mean(activation) < 0.6
