"""Dual-path blocks of any width, and the separator made of them."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.lobes.models.dual_path import (
    Dual_Path_Model,
    SBRNNBlock,
    SBTransformerBlock,
)
from torch.nn import functional as F

from speechbrain_dsn.cost import activation, gates_at
from speechbrain_dsn.gating import find_tapes, random_gate
from speechbrain_dsn.lobes.models.dual_path import (
    DualPathSeparator,
    SlimmableRNNBlock,
    SlimmableTransformerBlock,
)
from speechbrain_dsn.lobes.models.dual_path.path import (
    count_chunks,
    run_dual_path,
)
from speechbrain_dsn.testing import count_macs
from speechbrain_dsn.testing.lifecycle import reset_all

CHANNELS, STEPS = 8, 6
TINY = {
    "channels": CHANNELS,
    "chunk_size": 10,
    "intra_layers": 1,
    "nhead": 2,
    "intra_ffn": 16,
    "inter_ffn": 8,
}


def transformer(**options):
    sizes = {"dropout": 0.0, "norm_before": True} | options
    return SlimmableTransformerBlock(1, CHANNELS, 4, 16, **sizes)


def rnn(**options):
    return SlimmableRNNBlock(CHANNELS, 5, 2, **options)


def separator(**options):
    """With weights that start at 0 or 1 moved, so that they show."""
    torch.manual_seed(0)
    net = DualPathSeparator(**TINY | options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return net.eval()


def drawn(net, mixture):
    """A one-hot choice that differs by layer and chunk."""
    chunks, layers = net.frames(mixture.size(1)), len(net.blocks)
    level = torch.randint(len(net.utilizations), (len(mixture), chunks, layers))
    return F.one_hot(level, len(net.utilizations)).flatten(2).float()


@pytest.mark.parametrize("norm_before", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_widest_is_speechbrains_block(norm_before, activation):
    """With its weights, by their names there."""
    options = {
        "d_ffn": 16,
        "use_positional_encoding": True,
        "norm_before": norm_before,
        "activation": activation,
    }
    host = SBTransformerBlock(2, CHANNELS, 4, **options).eval()
    block = SlimmableTransformerBlock(2, CHANNELS, 4, decide="fixed", **options)
    for parameter in host.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    block.eval().load_state_dict(host.state_dict())
    x = torch.randn(3, 7, CHANNELS)
    torch.testing.assert_close(block(x), host(x))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_widest_is_speechbrains_rnn(kind, bidirectional):
    options = {"rnn_type": kind, "bidirectional": bidirectional}
    host = SBRNNBlock(CHANNELS, 5, 2, **options)
    block = rnn(decide="fixed", **options)
    block.load_state_dict(host.state_dict())
    x = torch.randn(3, 7, CHANNELS)
    torch.testing.assert_close(block(x), host(x))


@pytest.mark.parametrize("make", [transformer, rnn])
def test_in_training_a_block_notes_what_it_decides(make):
    block, x = make(noise=0.0), torch.randn(6, STEPS, CHANNELS)
    y = block(x)
    (decision,) = block.tape.read()
    assert decision.values.shape == decision.logits.shape == (6, 1, 4)
    assert decision.cost == block.macs(STEPS)
    gate = decision.values.squeeze(1)
    torch.testing.assert_close(block(x, gate), y)
    block.tape.read()
    torch.testing.assert_close(block.eval()(x), y)  # no noise: as in eval
    assert len(block.tape) == 0


@pytest.mark.parametrize("make", [transformer, rnn])
@pytest.mark.parametrize("straight_through", [True, False])
def test_gradients_reach_the_gate(make, straight_through):
    """Through the signal alone, and through the price alone."""
    block = make(straight_through=straight_through)
    x = torch.randn(6, STEPS, CHANNELS)
    losses = (
        lambda: block(x).square().sum(),
        lambda: (block(x), activation(*noted(block)))[1].sum(),
    )
    for loss in losses:
        block.zero_grad()
        loss().backward()
        assert (block.policy.dense.weight.grad != 0).any()
        assert (block.policy.sharpness.grad != 0).all()
        block.tape.read()


def noted(block):
    """The last decision, and its cost."""
    decision = block.tape.read()[-1]
    return decision, decision.cost


@pytest.mark.parametrize("make", [transformer, rnn])
def test_fixed_and_random_widths(make):
    x = torch.randn(40, STEPS, CHANNELS)
    block = make(decide="fixed", width=0.25)
    narrow = block(x)
    level = torch.full((40,), 1)
    torch.testing.assert_close(narrow, block.forward_skipping(x, level))
    assert not find_tapes(block)
    drawing = make(decide="random", width=0.25)
    drawing.load_state_dict(block.state_dict())
    assert torch.equal(drawing.eval()(x), narrow)
    y = drawing.train()(x)
    at = [block.forward_skipping(x, level * 0 + k) for k in range(4)]
    used = {
        k
        for k in range(4)
        for row in range(40)
        if torch.allclose(y[row], at[k][row], atol=1e-5)
    }
    assert used == {0, 1, 2, 3}
    y.sum().backward()
    assert all(p.grad is not None for p in drawing.parameters())


@pytest.mark.parametrize("make", [transformer, rnn])
def test_knob_goes_from_the_narrowest_to_the_widest(make):
    block, x = make().eval(), torch.randn(9, STEPS, CHANNELS)
    used = [
        activation(block.decide(x, bias), block.macs(STEPS)).mean().item()
        for bias in (-1e4, -1.0, 0.0, 1.0, 1e4)
    ]
    levels = block.macs(STEPS).levels
    assert used == sorted(used)
    assert used[0] == pytest.approx(levels[0]) and used[-1] == 1.0


@pytest.mark.parametrize("make", [transformer, rnn])
def test_survives_being_copied_and_reset(make):
    """As Dual_Path_Model and the recipes do it."""
    block = make()
    block(torch.randn(6, STEPS, CHANNELS))
    net = Dual_Path_Model(
        CHANNELS,
        CHANNELS,
        block,
        copy.deepcopy(block),
        num_layers=2,
        K=STEPS,
        linear_layer_after_inter_intra=make is rnn,
    )
    tapes = find_tapes(net)
    assert len(tapes) == 4 and not any(map(len, tapes))
    reset_all(net)
    for layer in net.dual_mdl:
        gate = layer.intra_mdl.policy
        assert gate.sharpness.item() == 3 and (gate.dense.bias == 0).all()
    x = torch.rand(2, CHANNELS, 40)
    net(x).sum().backward()
    assert [len(tape) for tape in tapes] == [1] * 4
    assert all(p.grad is not None for p in net.parameters())
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize(
    "options,message",
    [
        ({"decide": "often"}, "decide: expected one of gate, random, fixed"),
        ({"width": 0.3}, r"width 0.3: expected one of \(0.125, 0.25"),
        ({"utilizations": [0.5, 0.25]}, "utilizations ascend"),
        ({"activation": "tanh"}, "activation: expected one of relu, gelu"),
        ({"kdim": 3}, "kdim: expected 8, got 3"),
        ({"attention_type": "hypermixing"}, "expected regularMHA"),
    ],
)
def test_what_a_block_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        transformer(**options)


@pytest.mark.parametrize("make", [transformer, rnn])
def test_one_width_needs_no_gate(make):
    block = make(utilizations=(0.5,))
    x = torch.randn(3, STEPS, CHANNELS)
    assert block.decides == "fixed" and not find_tapes(block)
    assert torch.equal(block(x), block.eval()(x))
    macs = make().macs(STEPS)
    assert block.macs(STEPS).open == macs.of_level(2)


def test_what_a_recurrent_block_cannot_be():
    with pytest.raises(ValueError, match="expected one of LSTM, GRU"):
        rnn(rnn_type="LiGRU")


# -- the separator ----------------------------------------------------------


@settings(max_examples=15)
@given(st.integers(1, 70), st.integers(1, 6).map(lambda n: 2 * n))
def test_path_is_speechbrains(steps, size):
    net = separator(chunk_size=size).masknet
    x = torch.rand(2, CHANNELS, steps)
    with torch.no_grad():
        masks = run_dual_path(
            net, x, lambda layer, x: net.dual_mdl[layer].intra_mdl(x)
        )
        torch.testing.assert_close(masks, net(x))
    cut, _ = net._Segmentation(x, size)
    assert cut.size(3) == count_chunks(steps, size)


def test_training_equals_eval_equals_slice():
    net, mixture = separator(), torch.randn(2, 700)
    with torch.no_grad():
        for level in range(4):
            bucketed, _ = net.eval()(mixture, level=level)
            masked, _ = net.train()(mixture, level=level)
            torch.testing.assert_close(masked, bucketed, atol=1e-5, rtol=1e-4)
            dense = net.eval().slice_to(level)
            sliced, decision = dense(mixture)
            assert decision is None and not dense.dynamic
            torch.testing.assert_close(sliced, bucketed, atol=1e-5, rtol=1e-4)
            assert dense.cost.open < net.report().cost.of_level(level)
        gate = drawn(net, mixture)
        bucketed, decision = net(mixture, gate=gate)
        masked, _ = net.train()(mixture, gate=gate)
    torch.testing.assert_close(masked, bucketed, atol=1e-5, rtol=1e-4)
    assert torch.equal(decision.values, gate)


def test_counted_are_executed():
    """Of what it decides itself, and of what it is told."""
    net, mixture = separator(), torch.randn(2, 723)
    for options in ({}, {"level": 0}, {"gate": drawn(net, mixture)}):
        _, decision = net(mixture, **options)
        report = net.report(723)
        assert decision.cost == report.cost
        # Once per chunk, or once per step.
        per_chunk, per_step = 0.0, 0
        for name, cost in report.layers.items():
            if name.startswith(("gate", "intra", "inter", "spread")):
                rows = decision.values.flatten(0, 1).tolist()
                per_chunk += sum(
                    cost.at(row) if cost.gated else cost.fixed for row in rows
                )
            else:
                per_step += cost.fixed
        steps = 2 * net.steps(723) / (net.masknet.K // 2)
        counted = count_macs(net, mixture, **options)
        assert counted == per_chunk + per_step * steps


def test_narrow_chunks_cost_less():
    net = separator()
    shares = [count_macs(net, torch.randn(1, 800), level=k) for k in range(4)]
    assert shares == sorted(set(shares))


@settings(max_examples=12)
@given(st.integers(0, 3), st.integers(0, 400))
def test_any_length_gives_that_length(batch, samples):
    net = separator()
    estimates, decision = net(torch.randn(batch + 1, samples))
    assert estimates.shape == (batch + 1, samples, 2)
    assert estimates.isfinite().all()
    assert decision.values.size(1) == net.frames(samples)
    choices = decision.values.unflatten(-1, (2, 4))
    assert (choices.sum(-1) == 1).all()


def test_silence_gives_silence_and_level_does_not_matter():
    net, mixture = separator(), torch.randn(1, 500)
    assert (net(torch.zeros(1, 500))[0] == 0).all()
    estimates, _ = net(mixture)
    for factor in (1e-6, 1e6):
        scaled, _ = net(factor * mixture)
        torch.testing.assert_close(scaled / factor, estimates)


def test_items_are_separate():
    net, mixture = separator(), torch.randn(2, 500)
    whole, _ = net(mixture)
    torch.testing.assert_close(net(mixture[1:])[0], whole[1:])


def test_lengths_become_chunks():
    net, mixture = separator(), torch.randn(3, 800)
    lengths = torch.tensor([800, 400, 3])
    _, decision = net(mixture, lengths=lengths)
    hop = net.masknet.K // 2
    expected = [-(-net.steps(n) // hop) + 1 for n in lengths.tolist()]
    assert decision.lengths.tolist() == expected
    assert max(expected) <= net.frames(800)


def test_gates_learn_beside_given_ones():
    """DDP asks for a gradient of every parameter; logits are always there."""
    net, mixture = separator().train(), torch.randn(2, 300)
    shape = (2, net.frames(300))
    cost = net.report().cost
    gate = gates_at(cost, random_gate(*shape, levels=cost.levels))
    estimates, decision = net(mixture, gate=gate)
    (estimates.square().sum() + 0 * decision.logits.sum()).backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("straight_through", [True, False])
def test_everything_learns(straight_through):
    net = separator(straight_through=straight_through).train()
    estimates, decision = net(torch.randn(2, 300))
    assert not any(map(len, find_tapes(net)))  # given back instead
    loss = (estimates * torch.randn_like(estimates)).sum()
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if ".policy." in name:
            assert (parameter.grad != 0).any(), name


def test_survives_reset_and_copies():
    net, mixture = separator(), torch.randn(1, 300)
    other = copy.deepcopy(net)
    assert torch.equal(other(mixture)[0], net(mixture)[0])
    other.reset_parameters()
    first, second = (
        layer.intra_mdl.layers[0].in_proj_weight
        for layer in other.masknet.dual_mdl
    )
    assert not torch.equal(first, second)  # no longer the copies they were
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(mixture)[0], net(mixture)[0])


def test_without_gates_it_runs_at_the_widest_or_as_told():
    net, mixture = separator(gated=False), torch.randn(1, 300)
    widest, decision = net(mixture)
    assert decision is None and not find_tapes(net)
    assert torch.equal(net(mixture, level=3)[0], widest)
    assert not torch.allclose(net(mixture, level=0)[0], widest)


def test_static_peers_are_as_wide_as_their_slices():
    for level, factor in enumerate((0.125, 0.25, 0.5, 1.0)):
        peer = separator(utilizations=(factor,), gated=False)
        dense = separator().slice_to(level)
        assert peer.state_dict().keys() == dense.state_dict().keys()
        assert peer.report() == dense.report()


@pytest.mark.parametrize(
    "options,message",
    [
        ({"kernel_size": 15}, "kernel_size 15: expected an even number"),
        ({"chunk_size": 7}, "chunk_size 7: expected an even number"),
        ({"nhead": 3}, "d_model 8: expected an even multiple of 3 heads"),
    ],
)
def test_what_a_separator_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        separator(**options)


def test_level_is_checked():
    with pytest.raises(ValueError, match=r"level 4: expected 0\.\.3"):
        separator()(torch.randn(1, 300), level=4)


# One process with the whole batch, or two with half of it each.
RANKS = """
import os, sys
import torch
from torch.nn.parallel import DistributedDataParallel
from speechbrain_dsn.lobes.models.dual_path import DualPathSeparator
from speechbrain_dsn.losses import SignalDependentPrice
from speechbrain_dsn.losses.permutation import upit_si_sdr

torch.manual_seed(0)
net = DualPathSeparator(channels=8, chunk_size=10, intra_layers=1, nhead=2,
                        intra_ffn=16, inter_ffn=8)
targets = torch.randn(4, 400, 2)
optimizer = torch.optim.SGD(net.parameters(), 0.01)
rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
run = net
if world > 1:
    torch.distributed.init_process_group("gloo")
    run = DistributedDataParallel(net)
for part in (slice(0, 4), slice(0, 4)):
    mine = targets[part].chunk(world)[rank]
    estimates, decision = run(mine.sum(-1), noise=0.0)
    loss = upit_si_sdr(estimates, mine)
    loss = loss + 10 * SignalDependentPrice(enough=0.0)(
        decision, net.report().cost, torch.zeros(len(mine)), estimates, mine
    )
    optimizer.zero_grad()
    loss.mean().backward()
    grads = {name: p.grad.clone() for name, p in net.named_parameters()}
    optimizer.step()
state = {name: value for name, value in net.state_dict().items()}
torch.save({"grads": grads, "state": state}, f"{sys.argv[1]}/{world}-{rank}.pt")
"""


def test_two_ranks_train_as_one(tmp_path):
    """Equal weights on both, and the gradients of the doubled batch."""
    script = tmp_path / "train.py"
    script.write_text(RANKS, "utf-8")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env.pop("WORLD_SIZE", None)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node=2"]
    launch += ["--master_port=0", "--standalone"]
    for options in ([], launch):
        done = subprocess.run(
            [sys.executable, *options, str(script), str(tmp_path)],
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    one, first, second = (
        torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1")
    )
    for name, value in one["state"].items():
        assert torch.equal(first["state"][name], second["state"][name]), name
        torch.testing.assert_close(first["state"][name], value)
    for name, value in one["grads"].items():
        torch.testing.assert_close(
            first["grads"][name], value, rtol=1e-3, atol=1e-5
        )
