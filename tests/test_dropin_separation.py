"""SpeechBrain's own separation recipes train our blocks as they are."""

import csv
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.inference.separation import SepformerSeparation

from speechbrain_dsn.cli.hparams import find_fragment
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.gating import find_tapes
from speechbrain_dsn.run import run_script

SCRIPT = Path(__file__).with_name("recipes") / "separation_train.py"
CHECKOUT = os.environ.get("SPEECHBRAIN_CHECKOUT")
RATE, SECONDS, CLIPS = 8000, 1.0, {"tr": 8, "cv": 2, "tt": 2}
SETS = {"train": "tr", "valid": "cv", "test": "tt"}

# What a YAML of SpeechBrain's recipes has, with smaller sizes.
HOST = """
seed: 1
__set_seed: !apply:speechbrain.utils.seed_everything [!ref <seed>]
data_folder: !PLACEHOLDER
output_folder: !PLACEHOLDER
save_folder: !ref <output_folder>/save
train_data: !ref <save_folder>/wsj_tr.csv
valid_data: !ref <save_folder>/wsj_cv.csv
test_data: !ref <save_folder>/wsj_tt.csv
num_spks: 2
N_epochs: 2
lr: 0.003
clip_grad_norm: 5
loss_upper_lim: 999999
threshold: -30
N_encoder_out: 32
out_channels: 32
kernel_size: 16
kernel_stride: 8
dataloader_opts:
    batch_size: 2
    num_workers: 0
Encoder: !new:speechbrain.lobes.models.dual_path.Encoder
    kernel_size: !ref <kernel_size>
    out_channels: !ref <N_encoder_out>
{blocks}
MaskNet: !new:speechbrain.lobes.models.dual_path.Dual_Path_Model
    num_spks: !ref <num_spks>
    in_channels: !ref <N_encoder_out>
    out_channels: !ref <out_channels>
    num_layers: 2
    K: 50
    intra_model: !ref <{intra}>
    inter_model: !ref <{inter}>
    norm: ln
    linear_layer_after_inter_intra: {linear}
    skip_around_intra: True
Decoder: !new:speechbrain.lobes.models.dual_path.Decoder
    in_channels: !ref <N_encoder_out>
    out_channels: 1
    kernel_size: !ref <kernel_size>
    stride: !ref <kernel_stride>
    bias: False
optimizer: !name:torch.optim.Adam
    lr: !ref <lr>
    weight_decay: 0
loss: !name:speechbrain.nnet.losses.get_si_snr_with_pitwrapper
lr_scheduler: !new:speechbrain.nnet.schedulers.ReduceLROnPlateau
    factor: 0.5
    patience: 2
    dont_halve_until_epoch: 85
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: !ref <N_epochs>
modules:
    encoder: !ref <Encoder>
    decoder: !ref <Decoder>
    masknet: !ref <MaskNet>
checkpointer: !new:speechbrain.utils.checkpoints.Checkpointer
    checkpoints_dir: !ref <save_folder>
    recoverables:
        encoder: !ref <Encoder>
        decoder: !ref <Decoder>
        masknet: !ref <MaskNet>
        counter: !ref <epoch_counter>
        lr_scheduler: !ref <lr_scheduler>
train_logger: !new:speechbrain.utils.train_logger.FileTrainLogger
    save_file: !ref <output_folder>/train_log.txt
    precision: 4
"""
SEPFORMER = """
SBtf{0}: !new:speechbrain.lobes.models.dual_path.SBTransformerBlock
    num_layers: 1
    d_model: !ref <out_channels>
    nhead: 8
    d_ffn: 64
    dropout: 0
    use_positional_encoding: True
    norm_before: True
"""
DPRNN = """
{0}: !new:speechbrain.lobes.models.dual_path.SBRNNBlock
    num_layers: 1
    input_size: !ref <out_channels>
    hidden_channels: !ref <out_channels>
    dropout: 0
    bidirectional: True
"""
KINDS = {"sepformer": ("SBtf", SEPFORMER), "dprnn": ("", DPRNN)}
# SepformerSeparation's own YAML.
FOLDER = """
sample_rate: 8000
num_spks: 2
{parts}
modules:
    encoder: !ref <Encoder>
    decoder: !ref <Decoder>
    masknet: !ref <MaskNet>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        encoder: !ref <Encoder>
        decoder: !ref <Decoder>
        masknet: !ref <MaskNet>
"""


def talker(rng, samples):
    """A tone of changing pitch, with pauses."""
    pitch = rng.uniform(80, 160) * np.cumprod(
        np.repeat(rng.uniform(0.9, 1.1, samples // 400 + 1), 400)[:samples]
        ** (1 / 400)
    )
    voice = sum(
        np.sin(k * np.cumsum(2 * np.pi * pitch / RATE)) / k for k in (1, 2, 3)
    )
    said = np.repeat(rng.uniform(0, 1, samples // 800 + 1) > 0.3, 800)
    return (0.05 * voice * said[:samples]).astype(np.float32)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """wsj0-2mix as its scripts write it, with generated talkers."""
    top = tmp_path_factory.mktemp("wsj0-mix") / "2speakers"
    rng, samples = np.random.default_rng(0), int(RATE * SECONDS)
    for part, count in CLIPS.items():
        for number in range(count):
            sources = [talker(rng, samples) for _ in range(2)]
            wavs = {"mix": sum(sources), "s1": sources[0], "s2": sources[1]}
            for name, wav in wavs.items():
                path = top / f"wav8k/min/{part}/{name}/{number}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_audio(path, wav[:, None], RATE)
    return top


def list_mixtures(tree, folder):
    """The CSV files that a preparation leaves."""
    folder.mkdir(parents=True)
    columns = ["ID", "duration", "mix_wav", "s1_wav", "s2_wav"]
    for part, count in CLIPS.items():
        with open(folder / f"wsj_{part}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for number in range(count):
                paths = [
                    f"$data_root/wav8k/min/{part}/{name}/{number}.wav"
                    for name in ("mix", "s1", "s2")
                ]
                writer.writerow([number, SECONDS, *paths])


def host(kind):
    """A YAML as SpeechBrain has it."""
    prefix, block = KINDS[kind]
    return HOST.format(
        blocks=block.format("intra") + block.format("inter"),
        intra=f"{prefix}intra",
        inter=f"{prefix}inter",
        linear=kind == "dprnn",
    )


def replaced(text, kind, sizes=""):
    """The same with our intra block and our loss."""
    intra = find_fragment(f"{kind}_intra").read_text("utf-8")
    if sizes:
        intra = re.sub("num_layers: 8", "num_layers: 1", intra)
        intra = re.sub("d_ffn: 1024", "d_ffn: 64", intra)
    loss = find_fragment("separation_loss").read_text("utf-8")
    for name, fragment in (
        (f"{KINDS[kind][0]}intra", intra),
        ("loss", loss),
    ):
        text, count = re.subn(
            rf"(?m)^{name}: .*\n(    .*\n)*", lambda _, f=fragment: f, text
        )
        assert count == 1
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


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_separation_contract(tree, tmp_path, monkeypatch, kind):
    """Trains, validates, evaluates; the checkpoint is a SepFormer's."""
    yaml = tmp_path / "hparams.yaml"
    yaml.write_text(replaced(host(kind), kind, "small"), "utf-8")
    out = tmp_path / "out"
    list_mixtures(tree, out / "save")
    options = ["--data_folder", tree, "--output_folder", out]
    run(monkeypatch, yaml, *options, "--device", "cpu", "--noprogressbar")
    train, valid = (logged(out, f"{k} si-snr") for k in ("train", "valid"))
    assert len(train) == len(valid) == 2 and valid[1] < valid[0]
    with open(out / "test_results.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    improvements = [float(row["si-snr_i"]) for row in rows]
    assert improvements and np.isfinite(improvements).all()
    # A model folder out of it.
    overrides = {"data_folder": str(tree), "output_folder": str(out)}
    with open(yaml, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    checkpoint = hparams["checkpointer"].recover_if_possible(min_key="si-snr")
    text = yaml.read_text("utf-8")
    start, stop = text.index("Encoder:"), text.index("optimizer:")
    sizes = re.findall(r"(?m)^(?:out_channels|N_enc|kernel_).*", text)
    folder = tmp_path / "folder"
    folder.mkdir()
    parts = "\n".join([*sizes, text[start:stop]])
    (folder / "hyperparams.yaml").write_text(FOLDER.format(parts=parts))
    for name in ("encoder", "masknet", "decoder"):
        (folder / f"{name}.ckpt").write_bytes(
            (checkpoint.path / f"{name}.ckpt").read_bytes()
        )
    model = SepformerSeparation.from_hparams(str(folder), savedir=None)
    mixture = torch.randn(1, 4000)
    estimates = model.separate_batch(mixture)
    assert estimates.shape == (1, 4000, 2)
    for name, part in hparams["modules"].items():
        model.mods[name].load_state_dict(part.state_dict())
        part.eval()
    assert torch.equal(model.separate_batch(mixture), estimates)
    tapes = find_tapes(hparams["MaskNet"])
    assert len(tapes) == 2 and not any(map(len, tapes))


def test_converted_while_the_recipe_runs(tree, tmp_path, monkeypatch, caplog):
    """A trained SepFormer, its heads sorted, learns from what it was."""
    text = host("sepformer")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        places = {"data_folder": f"{tree}", "output_folder": f"{tmp_path}"}
        trained = load_hyperpyyaml(text, places)["modules"]
    folder = tmp_path / "pretrained"
    folder.mkdir()
    for name, part in trained.items():
        torch.save(part.state_dict(), folder / f"{name}.ckpt")
    fragment = find_fragment("convert_sepformer").read_text("utf-8")
    text, count = re.subn(r"(?m)^loss: .*\n", "", text)
    assert count == 1
    text = text.replace("MaskNet: !new", "Original: !new")
    before, after = text.split("optimizer:")
    text = "\n".join([before, fragment, f"optimizer:{after}"])
    yaml, out = tmp_path / "hparams.yaml", tmp_path / "out"
    yaml.write_text(text.replace("lr: 0.003", "lr: 0.0001"), "utf-8")
    list_mixtures(tree, out / "save")
    options = ["--data_folder", tree, "--output_folder", out]
    options += ["--pretrained_folder", folder, "--N_epochs", 1]
    with caplog.at_level("INFO", "speechbrain_dsn.convert"):
        run(monkeypatch, yaml, *options, "--device", "cpu", "--noprogressbar")
    assert "dual_mdl.1.intra_mdl" in caplog.text
    assert np.isfinite(logged(out, "train si-snr")).all()
    # It went on from the weights it was given, in another order.
    (saved,) = (out / "save").glob("CKPT*/masknet.ckpt")
    state = torch.load(saved, weights_only=True)
    old = trained["masknet"].state_dict()
    for name in ("conv2d.weight", "dual_mdl.0.inter_mdl.mdl.norm.norm.weight"):
        torch.testing.assert_close(state[name], old[name], atol=0.01, rtol=0)
    ours = state["dual_mdl.0.intra_mdl.layers.0.expand.weight"]
    theirs = old["dual_mdl.0.intra_mdl.mdl.layers.0.pos_ffn.ffn.0.weight"]
    assert (ours - theirs).abs().max() > 0.05
    nearest = torch.cdist(ours, theirs).argmin(1)
    assert sorted(nearest.tolist()) == list(range(len(theirs)))


@pytest.mark.skipif(not CHECKOUT, reason="SPEECHBRAIN_CHECKOUT is not set")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_unmodified_separation(tree, tmp_path, kind):
    """SpeechBrain's own train.py, from a checkout of its repository."""
    folder = Path(CHECKOUT) / "recipes/WSJ0Mix/separation"
    text = (folder / f"hparams/{kind}.yaml").read_text("utf-8")
    text = replaced(text, kind)
    # Sizes, which are not among the keys.
    for key, value in {"K": 50, "num_layers": 1, "d_ffn": 64}.items():
        text = re.sub(rf"(?m)^    {key}: .*", f"    {key}: {value}", text)
    yaml = tmp_path / "hparams.yaml"
    yaml.write_text(text, "utf-8")
    out = tmp_path / "out"
    options = {
        "data_folder": tree,
        "output_folder": out,
        "N_encoder_out": 32,
        "out_channels": 32,
        "N_epochs": 1,
        "lr": 0.003,
        "use_speedperturb": True,
        "save_audio": False,
        "precision": "fp32",
        "device": "cpu",
        "dataloader_opts": "{batch_size: 1, num_workers: 0}",
    }
    (out / "save").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "speechbrain_dsn.run", "train.py", yaml]
        + [f"--{key}={value}" for key, value in options.items()],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if importlib.util.find_spec("mir_eval"):
        assert done.returncode == 0, done.stderr[-2000:]
    else:  # needed by its very last step
        said = (out / "log.txt").read_text("utf-8")
        assert "No module named 'mir_eval'" in said, done.stderr[-2000:]
    for part in ("train", "valid", "test"):
        assert len(logged(out, f"{part} si-snr")) == 1
