"""The YAML fragments load, and what they hold computes and learns."""

import re
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_dsn import gating
from speechbrain_dsn.cli.hparams import find_fragment, hparams_folder
from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.losses import gate_price, negative_si_sdr
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
    "slim_demucs",
    "demucs",
    "slim_dual_path",
    "dual_path",
    "frame_policy",
    "waveform_router",
    "spectrum_router",
    "chunk_gate",
    "channel_gate",
    "signal_losses",
    "pit_loss",
    "budget_price",
    "ratio_price",
    "routing_price",
    "signal_price",
    "cheapest_level",
    "distilled_loss",
    "convert_sepformer",
}
# Those that a static lobe and its slimmable one share.
STATIC_WIDTH = ("demucs", "dual_path")
DECIDE = ("mgt_dsn", "dyncp", "dynamic_nsnet2", "slim_demucs")
ENHANCERS = ("ftfnet", "conv_fsenet", "nsnet2", "demucs", *DECIDE)
SEPARATORS = ("dual_path", "slim_dual_path")
# What each policy looks at, and the logits that it gives.
POLICIES = {
    "frame_policy": ((2, 5, 7, 32), (2, 5)),
    "waveform_router": ((2, 5, 256), (2, 5, 4)),
    "spectrum_router": ((2, 5, 257), (2, 5, 4)),
    "chunk_gate": ((2, 5, 7, 64), (2, 5, 4)),
    "channel_gate": ((2, 5, 128), (2, 5, 128)),
}
PRICES = (
    "budget_price",
    "ratio_price",
    "routing_price",
    "signal_price",
    "cheapest_level",
)


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


@pytest.mark.parametrize("name", ENHANCERS + SEPARATORS)
def test_defaults_of_the_fragment_are_those_of_the_lobe(name):
    lobe = load_hyperpyyaml(text(name))["lobe"]
    static = {"utilizations": (1.0,)} if name in STATIC_WIDTH else {}
    if name == "dual_path":
        static["gated"] = False
    usual = type(lobe)(**static)
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


@pytest.mark.parametrize("name", SEPARATORS)
def test_separators_run_and_learn(tmp_path, name):
    host = (
        f"models: !include:{hparams_folder()}/{name}.yaml\n"
        "separator: !ref <models[separator]>\n"
    )
    separator = load(tmp_path, host)["separator"]
    wav = torch.randn(2, 1600)
    estimate, decision = separator(wav)
    assert estimate.shape == (2, 1600, 2)
    loss = negative_si_sdr(estimate[..., 0], wav).mean()
    loss = loss + negative_si_sdr(estimate[..., 1], wav).mean()
    if name == "slim_dual_path":
        loss = loss + decision.usage().mean()
    loss.backward()
    assert all_learn(separator)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_policies_decide_and_learn(name):
    seen, given = POLICIES[name]
    policy = load_hyperpyyaml(text(name))["policy"]
    logits = policy(torch.randn(seen))
    assert logits.shape == given
    function = re.search(r"dsn\.gating\.(\w+_\w+)", text(name))[1]
    more = [(0.25, 0.5, 0.75, 1.0)] if "choice" in function else []
    gate = getattr(gating, function)(logits, *more, training=True)
    assert gate.shape == given
    (gate * torch.randn(given)).sum().backward()
    assert all_learn(policy)


@pytest.mark.parametrize("name", ["signal_losses", "pit_loss"])
def test_signal_losses_pull_an_estimate_to_its_target(name):
    target = (
        torch.randn(2, 8000)
        if name == "signal_losses"
        else (torch.randn(2, 8000, 2))
    )
    for term in load_hyperpyyaml(text(name))["signal_losses"].values():
        near, far = (target + x * torch.randn_like(target) for x in (0.1, 1))
        near.requires_grad_()
        loss = term.loss(near, target)
        assert loss.shape == (2,) and (loss < term.loss(far, target)).all()
        loss.sum().backward()
        assert near.grad.abs().sum() > 0


@pytest.mark.parametrize("name", PRICES)
def test_prices_close_what_is_open(name):
    """More open gates pay more, and pull at the logits."""
    hparams = load_hyperpyyaml(text(name))
    price, target = hparams["gate_loss"], hparams["gate_target"]
    frame = name in ("budget_price", "ratio_price")
    cost = MacCount(0, (5, 5) if name == "ratio_price" else (5,))
    if not frame:
        cost = MacCount(0, (1, 2, 4), one_hot=True)
    paid, target = [], torch.full((2,), target)
    for level in (-3.0, 3.0):
        logits = level * torch.linspace(0.5, 1, len(cost.gated))
        logits = logits.expand(2, 6, -1).clone().requires_grad_()
        values = logits.sigmoid() if frame else logits.softmax(-1)
        decision = Decision(values, 20.0, None, logits, cost)
        if name == "budget_price":
            loss = gate_price(decision, target, price)
        elif name == "signal_price":
            sources = torch.randn(2, 2400, 2)  # and almost perfect estimates
            signals = sources + 0.01 * torch.randn_like(sources), sources
            price = hparams["complexities"][hparams["gate_loss"]]
            loss = price(decision, cost, target, *signals)
        elif name == "cheapest_level":
            clean = torch.randn(2, 1280)
            errors = price.errors(torch.stack([clean] * 3), clean)
            loss = price(decision, cost, target, errors)
        else:
            loss = price(decision, cost, target)
        loss.mean().backward()
        paid.append(float(loss.mean().detach()))
    assert paid[1] > paid[0]
    assert logits.grad.abs().sum() > 0


def test_a_teacher_adds_its_distance_while_training(tmp_path):
    host = masks("ftfnet_mask") + (
        f"teachers: !include:{hparams_folder()}/ftfnet_mask.yaml\n"
        "    N_fft: 256\nTeacher: !ref <teachers[model]>\n"
    )
    hparams = load(tmp_path, host, "distilled_loss")
    model, cost = hparams["modules"]["model"], hparams["compute_cost"]
    x, target = torch.rand(2, 6, 129), torch.rand(2, 6, 129)
    mask = model(x)
    with_teacher, alone = cost(mask, target), cost(mask, target)
    assert with_teacher > alone  # read once
    distance = (mask - hparams["Teacher"](x)).square().sum((1, 2))
    energy = hparams["Teacher"](x).square().sum((1, 2))
    torch.testing.assert_close(with_teacher - alone, (distance / energy).mean())
    with_teacher.backward()
    assert all_learn(model)
    assert all(p.grad is None for p in hparams["Teacher"].parameters())
    assert not list(cost.parameters())
    assert cost(model.eval()(x), target) == cost.base_loss(model(x), target)


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
