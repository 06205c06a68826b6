"""SpeechBrain's own recipes train our lobes as they are."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_dsn.cli.hparams import find_fragment
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.gating import find_tapes
from speechbrain_dsn.lobes.models.ftfnet import (
    DynamicFTFNetMask,
    FTFNet,
    FTFNetMask,
)
from speechbrain_dsn.lobes.models.masks import MaskLobe
from speechbrain_dsn.losses import ComplexityRegularized
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.run import run_script

SCRIPT = Path(__file__).with_name("recipes") / "spectral_mask_train.py"
CHECKOUT = os.environ.get("SPEECHBRAIN_CHECKOUT")
SMALL = {"channels": (4, 8, 16)}

# The block of spectral_mask's train.yaml that a user replaces.
MODELS = """
models: !include:{fragment}
    N_fft: !ref <N_fft>
    model:
        channels: [4, 8, 16]
"""
COST = """
compute_cost: !name:speechbrain.nnet.losses.mse_loss
"""
HOST = """
seed: 1
__set_seed: !apply:speechbrain.utils.seed_everything [!ref <seed>]
output_folder: !PLACEHOLDER
train_annotation: !ref <output_folder>/train.json
valid_annotation: !ref <output_folder>/valid.json
N_fft: 512
number_of_epochs: 2
dataloader_options:
    batch_size: 4
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: !ref <number_of_epochs>
modules:
    model: !ref <models[model]>
opt_class: !name:torch.optim.Adam
    lr: 0.003
checkpointer: !new:speechbrain.utils.checkpoints.Checkpointer
    checkpoints_dir: !ref <output_folder>/save
    recoverables:
        model: !ref <models[model]>
        counter: !ref <epoch_counter>
compute_STFT: !new:speechbrain.processing.features.STFT
    sample_rate: 16000
    win_length: 32
    hop_length: 16
    n_fft: !ref <N_fft>
    window_fn: !name:torch.hamming_window
compute_ISTFT: !new:speechbrain.processing.features.ISTFT
    sample_rate: 16000
    win_length: 32
    hop_length: 16
    window_fn: !name:torch.hamming_window
resynth: !name:speechbrain.processing.signal_processing.resynthesize
    stft: !ref <compute_STFT>
    istft: !ref <compute_ISTFT>
    normalize_wavs: False
train_logger: !new:speechbrain.utils.train_logger.FileTrainLogger
    save_file: !ref <output_folder>/train_log.txt
    precision: 4
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two seconds of each bundled mixture, and annotations of the pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, count in (("train", 12), ("valid", 2)):
        name = {"train": "test", "valid": "valid"}[split]
        table = miniset_folder() / f"enhance_{name}.csv"
        entries = {}
        for mixture in load_fixed_list(table, miniset_folder())[:count]:
            entries[mixture.name] = {"length": 2.0}
            for kind, wav in zip(
                ("noisy", "clean"), mixture.render(), strict=True
            ):
                path = folder / f"{split}_{kind}_{mixture.name}.wav"
                write_audio(path, wav[:32000], 16000)
                entries[mixture.name][f"{kind}_wav"] = str(path)
        text = json.dumps(entries)
        (folder / f"{split}.json").write_text(text, "utf-8")
    return folder


@pytest.fixture
def recipe(pairs, tmp_path):
    """An output folder with annotations, as a preparation leaves it."""
    for split in ("train", "valid"):
        text = (pairs / f"{split}.json").read_text("utf-8")
        (tmp_path / f"{split}.json").write_text(text, "utf-8")
    return tmp_path


def replaced(text, fragment, dynamic):
    """A train.yaml with our model, and our loss if the model decides."""
    models = MODELS.format(fragment=find_fragment(fragment))
    text = re.sub(r"(?m)^models: .*\n(    .*\n)*", models, text)
    if dynamic:
        cost = find_fragment("complexity_loss").read_text("utf-8")
        text = re.sub(r"(?m)^compute_cost: .*\n", cost, text)
    return text


def run(monkeypatch, *arguments):
    """Runs the script as python would."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    run_script(str(SCRIPT), list(map(str, arguments)))


def logged(folder, key):
    """A column of the log."""
    text = (folder / "train_log.txt").read_text("utf-8")
    return [float(x) for x in re.findall(rf"{key}: ([-\d.e+]+)", text)]


@pytest.mark.parametrize("fragment", ["ftfnet_mask", "mgt_dsn_mask"])
def test_spectral_mask_contract(recipe, monkeypatch, fragment):
    """Trains, resumes, and the checkpoint holds what was trained."""
    dynamic = fragment == "mgt_dsn_mask"
    host = recipe / "train.yaml"
    text = "\nmodels: what the recipe has\n" + COST + HOST
    host.write_text(replaced(text, fragment, dynamic), "utf-8")
    place = ["--output_folder", recipe, "--device", "cpu", "--noprogressbar"]
    run(monkeypatch, host, *place)
    signal = logged(recipe, "train loss.*train signal")
    losses = logged(recipe, "valid signal")
    assert len(signal) == len(losses) == 2
    assert signal[1] < signal[0] and losses[1] < losses[0]
    # In eval the loss is the signal's alone.
    assert losses == logged(recipe, "valid loss")
    run(monkeypatch, host, *place, "--number_of_epochs", 3)
    assert len(logged(recipe, "valid signal")) == 3
    with open(host, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, {"output_folder": str(recipe)})
    model = hparams["models"]["model"].eval()
    feats = torch.rand(1, 7, 257)
    untrained = model(feats)
    checkpoint = hparams["checkpointer"].recover_if_possible(max_key="stoi")
    assert checkpoint.meta["stoi"] == max(
        c.meta["stoi"] for c in hparams["checkpointer"].list_checkpoints()
    )
    assert not torch.allclose(model(feats), untrained, atol=1e-3)
    stored = torch.load(checkpoint.path / "model.ckpt", weights_only=True)
    assert stored.keys() == model.state_dict().keys()


@pytest.mark.skipif(not CHECKOUT, reason="SPEECHBRAIN_CHECKOUT is not set")
@pytest.mark.parametrize("fragment", ["ftfnet_mask", "mgt_dsn_mask"])
def test_unmodified_spectral_mask(recipe, fragment):
    """SpeechBrain's own train.py, from a checkout of its repository."""
    folder = Path(CHECKOUT) / "recipes/Voicebank/enhance/spectral_mask"
    text = (folder / "hparams/train.yaml").read_text("utf-8")
    # Tensorboard may not be installed.
    text = re.sub(r"(?m)^tensorboard_.*\n(    .*\n)*", "", text)
    host = recipe / "train.yaml"
    host.write_text(replaced(text, fragment, fragment != "ftfnet_mask"))
    (recipe / "test.json").write_text((recipe / "valid.json").read_text())
    options = {
        "data_folder": recipe,
        "output_folder": recipe,
        "use_tensorboard": False,
        "skip_prep": True,
        "number_of_epochs": 2,
        "lr": 0.003,
        "device": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-m", "speechbrain_dsn.run", "train.py", host]
        + [f"--{key}={value}" for key, value in options.items()],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    losses = logged(recipe, "train loss")
    assert len(losses) == 2 and losses[1] < losses[0]
    assert len(list((recipe / "enhanced_wavs").glob("*.wav"))) == 2


# -- the mask lobe ----------------------------------------------------------


def reset_like_speechbrain(layer):
    """What its separation recipes do to every module before training."""
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()
    for child in layer.modules():
        if layer != child:
            reset_like_speechbrain(child)


@pytest.mark.parametrize("model", [FTFNetMask, DynamicFTFNetMask])
def test_survives_being_reset_and_copied(model):
    model = model(**SMALL)
    feats = torch.rand(3, 5, 257)
    model(feats)
    other = copy.deepcopy(model)
    reset_like_speechbrain(other)
    # A start that lets gradients through: the mask lies round 1.
    mask = other.eval()(feats)
    assert 0.5 < mask.mean() < 1.5 and (mask > 0).float().mean() > 0.9
    assert all(len(tape) == 0 for tape in find_tapes(other))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(feats), model.eval()(feats))


@pytest.mark.parametrize("model", [FTFNetMask, DynamicFTFNetMask])
def test_weights_are_those_of_the_enhancer(model):
    """What spectral_mask trains has the names that SpectralEnhancer reads."""
    model = model(**SMALL)
    names = model.lobe.state_dict()
    assert list(model.state_dict()) == [f"lobe.{name}" for name in names]


def test_static_mask_is_the_lobe():
    model, lobe = FTFNetMask(**SMALL), FTFNet(**SMALL)
    model.lobe.load_state_dict(lobe.state_dict())
    feats = torch.rand(2, 5, 257)
    lens = torch.tensor([1.0, 0.5])
    assert torch.equal(model(feats, lengths=lens), lobe(feats))
    assert len(model.tape) == 0


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_trains_with_the_same_share_in_every_item(share):
    """And every parameter is in the graph, which DDP asks for."""
    model = DynamicFTFNetMask(share=share, **SMALL)
    model(torch.rand(3, 8, 257)).sum().backward()
    (decision,) = model.tape.read()
    assert decision.usage().flatten().tolist() == [share] * 3
    assert all(p.grad is not None for p in model.parameters())


def test_eval_notes_nothing_and_decides_without_noise():
    model = DynamicFTFNetMask(**SMALL).eval()
    feats = torch.rand(1, 20, 257)
    assert torch.equal(model(feats), model(feats))
    assert len(model.tape) == 0


def test_relative_lengths_become_frames():
    model = DynamicFTFNetMask(**SMALL)
    model(torch.rand(2, 10, 257), lengths=torch.tensor([1.0, 0.35]))
    (decision,) = model.tape.read()
    assert decision.lengths.tolist() == [10, 4]


def test_share_is_checked():
    with pytest.raises(ValueError, match="share lies in 0..1, got 1.1"):
        MaskLobe(FTFNet(**SMALL), share=1.1)


@pytest.mark.parametrize("target", [0.2, 0.8])
def test_the_price_moves_the_gates_of_eval(target):
    """With a flat signal loss the policy ends where it is paid to."""
    model = DynamicFTFNetMask(share=target, **SMALL)
    cost = ComplexityRegularized(
        lambda x, _: 0 * x.mean(), model, target=target
    )
    optimizer = torch.optim.Adam(model.lobe.policy.parameters(), 0.02)
    feats = torch.rand(2, 12, 257) * torch.randn(2, 12, 1).exp()
    used = []
    for _ in range(50):
        optimizer.zero_grad()
        cost(model(feats), feats).backward()
        optimizer.step()
        _, decision = model.lobe.eval()(feats)
        used.append(decision.usage().mean().item())
        model.train()
    assert sum(used[30:]) / 20 == pytest.approx(target, abs=0.15)
