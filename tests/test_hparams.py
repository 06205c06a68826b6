"""The YAML fragments load, and what they hold computes and learns."""

import re
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_dsn.cli.hparams import find_fragment, hparams_folder
from speechbrain_dsn.cost import Decision
from speechbrain_dsn.training.checkpointer import SafeCheckpointer

FRAGMENTS = {
    "ftfnet",
    "mgt_dsn",
    "ftfnet_mask",
    "mgt_dsn_mask",
    "conv_fsenet",
    "dyncp",
    "dynamic_nsnet2",
    "nsnet2",
    "complexity_loss",
    "safe_checkpointer",
    "sepformer_intra",
    "dprnn_intra",
    "separation_loss",
}
DECIDE = ("mgt_dsn", "dyncp", "dynamic_nsnet2")
ENHANCERS = ("ftfnet", "conv_fsenet", "nsnet2", *DECIDE)


def text(name):
    return find_fragment(name).read_text("utf-8")


def load(folder, host, *copied):
    """A recipe that includes and copies fragments, as their headers say."""
    path = Path(folder) / "train.yaml"
    path.write_text("\n".join([host, *map(text, copied)]), "utf-8")
    with open(path, encoding="utf-8") as file:
        return load_hyperpyyaml(file)


def masks(name):
    return (
        f"models: !include:{hparams_folder()}/{name}.yaml\n    N_fft: 256\n"
        "modules:\n    model: !ref <models[model]>\n"
    )


def all_learn(module):
    return all(p.grad is not None for p in module.parameters())


def test_the_fragments_are_these():
    found = {path.stem for path in hparams_folder().glob("*.yaml")}
    assert found >= FRAGMENTS


@pytest.mark.parametrize("name", sorted(FRAGMENTS))
def test_header_says_where_it_goes_and_what_it_replaces(name):
    header = re.match(r"(#.*\n)+", text(name))[0]
    for part in ("# Goes into: ", "# Replaces: ", "# Authors"):
        assert part in header
    assert max(map(len, text(name).splitlines())) <= 80


@pytest.mark.parametrize("name", ENHANCERS)
def test_defaults_of_the_fragment_are_those_of_the_lobe(name):
    lobe = load_hyperpyyaml(text(name))["lobe"]
    usual = type(lobe)()
    shapes = [
        {key: value.shape for key, value in net.state_dict().items()}
        for net in (lobe, usual)
    ]
    assert shapes[0] == shapes[1]
    assert lobe.report() == usual.report()


@pytest.mark.parametrize("name", ENHANCERS)
def test_enhancers_run_and_learn(tmp_path, name):
    host = (
        f"models: !include:{hparams_folder()}/{name}.yaml\n"
        "enhancer: !ref <models[enhancer]>\n"
    )
    enhancer = load(tmp_path, host)["enhancer"]
    wav = torch.randn(2, 3000)
    estimate, decision = enhancer(wav)
    assert estimate.shape == wav.shape
    assert isinstance(decision, Decision) == (name in DECIDE)
    loss = estimate.square().mean()
    if decision is not None:
        loss = loss + decision.usage().mean()
    loss.backward()
    assert all_learn(enhancer)
    assert enhancer.report().frame_rate == 62.5


def test_static_mask_runs_and_learns(tmp_path):
    model = load(tmp_path, masks("ftfnet_mask"))["modules"]["model"]
    model(torch.rand(2, 6, 129)).sum().backward()
    assert all_learn(model)


def test_gated_mask_runs_and_learns_with_the_complexity_loss(tmp_path):
    hparams = load(tmp_path, masks("mgt_dsn_mask"), "complexity_loss")
    model, cost = hparams["modules"]["model"], hparams["compute_cost"]
    assert model is hparams["models"]["model"]
    assert cost.target == model.share
    feats, target = torch.rand(2, 6, 129), torch.rand(2, 6, 129)
    lens = torch.tensor([1.0, 0.5])
    loss = cost(model(feats) * feats, target, lens)
    loss.backward()
    assert loss.dim() == 0 and all_learn(model)


def test_checkpointer_keeps_model_counter_and_random_state(tmp_path):
    host = masks("ftfnet_mask") + (
        f"save_folder: {tmp_path}/save\n"
        "epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter\n"
        "    limit: 3\n"
    )
    hparams = load(tmp_path, host, "safe_checkpointer")
    checkpointer = hparams["checkpointer"]
    assert isinstance(checkpointer, SafeCheckpointer)
    model, counter = hparams["models"]["model"], hparams["epoch_counter"]
    next(iter(counter))
    checkpointer.save_checkpoint()
    drawn, kept = torch.rand(1), model.lobe.conv1.weight.clone()
    torch.nn.init.zeros_(model.lobe.conv1.weight)
    counter.current = 0
    checkpointer.recover_if_possible()
    assert torch.equal(model.lobe.conv1.weight, kept)
    assert counter.current == 1 and torch.equal(torch.rand(1), drawn)
