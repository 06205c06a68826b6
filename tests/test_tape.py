"""Decisions that travel by tape, and the loss that reads them."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from speechbrain.nnet.losses import mse_loss
from speechbrain.utils.metric_stats import MetricStats
from torch import nn

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.gating import Tape, find_tapes
from speechbrain_dsn.losses import (
    ComplexityRegularized,
    RoutingPrice,
    budget_hinge,
    budget_pull,
    gate_price,
)

RATE = 62.5


class Noting(nn.Module):
    """A block that opens a given share of its gates, and says so."""

    def __init__(self, share=1.0):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))
        self.tape = Tape()

    def forward(self, x):
        self.tape.note(Decision(self.share.expand(*x.shape[:2], 1), RATE))
        return x


def decision(value):
    return Decision(torch.full((1, 2, 1), float(value)), RATE)


@given(st.integers(1, 9), st.integers(0, 20))
def test_tape_keeps_the_newest_notes_and_is_empty_when_read(limit, count):
    tape = Tape(limit)
    for number in range(count):
        tape.note(decision(number))
    kept = [float(note.values[0, 0, 0]) for note in tape.read()]
    assert kept == [float(n) for n in range(count)][-limit:]
    assert len(tape) == 0 and tape.read() == []


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_are_empty_and_keep_the_limit(again):
    tape = Tape(2)
    # A tensor with a history, which deepcopy would refuse.
    gate = torch.ones(1, 2, 1, requires_grad=True) * 2
    tape.note(Decision(gate, RATE))
    other = again(tape)
    assert len(other) == 0 and len(tape) == 1
    for _ in range(3):
        other.note(decision(0))
    assert len(other) == 2 and len(tape) == 1


def test_a_module_with_a_full_tape_copies_and_saves():
    block = Noting()
    block(torch.zeros(1, 3))
    other = copy.deepcopy(block)
    assert [
        len(tape) for tape in find_tapes(nn.ModuleList([block, other]))
    ] == [
        1,
        0,
    ]
    assert list(block.state_dict()) == ["share"]


def test_limit_is_checked():
    with pytest.raises(ValueError, match="at least one"):
        Tape(0)


# -- the loss ---------------------------------------------------------------


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 5),
    st.sampled_from(["pull", "hinge"]),
)
def test_price_is_added_while_training(share, target, weight, price):
    block = Noting(share)
    cost = ComplexityRegularized(mse_loss, block, weight, target, price)
    x, y = torch.rand(2, 3, 4), torch.rand(2, 3, 4)
    got = cost(block(x), y)
    paid = {"pull": budget_pull, "hinge": budget_hinge}[price]
    paid = weight * paid(torch.tensor(share), target)
    assert torch.allclose(got, mse_loss(x, y) + paid, atol=1e-6)
    assert len(block.tape) == 0


def test_price_reaches_the_gates():
    block = Noting(0.9)
    cost = ComplexityRegularized(mse_loss, block, price="pull")
    cost(block(torch.rand(2, 3, 4)), torch.rand(2, 3, 4)).backward()
    assert block.share.grad > 0


def test_neutral_in_eval_and_for_statistics():
    """As SpeechBrain's spectral_mask calls it, in this order."""
    block = Noting()
    cost = ComplexityRegularized(mse_loss, block, target=0.0, price="pull")
    x, y, lens = torch.rand(2, 3, 4), torch.rand(2, 3, 4), torch.ones(2)
    plain = mse_loss(x, y, lens)
    assert cost(block(x), y, lens) > plain
    metric = MetricStats(metric=cost)
    block(x)
    metric.append(["a", "b"], x, y, lens, reduction="batch")
    want = mse_loss(x, y, lens, reduction="batch")
    assert metric.scores == pytest.approx(want.tolist())
    assert len(block.tape) == 1  # left for the loss
    block.eval()
    assert torch.equal(cost(x, y, lens), plain)


def test_frames_beyond_the_length_are_free():
    class Late(Noting):
        """Opens the second half only."""

        def forward(self, x):
            gate = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(x), 4)
            self.tape.note(Decision(gate.unsqueeze(-1), RATE))
            return x

    block = Late()
    x, y = torch.rand(1, 4, 3), torch.rand(1, 4, 3)
    for length, paid in ((1.0, 0.5), (0.5, 0.0)):
        lens = torch.tensor([length])
        cost = ComplexityRegularized(mse_loss, block, 1.0, 0.0, "hinge")
        extra = cost(block(x), y, lens) - mse_loss(x, y, lens)
        assert extra.item() == pytest.approx(paid)


def test_separation_contract_gives_one_value_per_item():
    """Chunks are items of the block; the price of two blocks is one."""

    def loss(targets, predictions):
        return (targets - predictions).square().mean((1, 2))

    chunks = 3
    blocks = nn.ModuleList([Noting(0.2), Noting(0.8)])
    cost = ComplexityRegularized(loss, blocks, 2.0, 0.0, "hinge")
    targets, predictions = torch.rand(2, 50, 2), torch.rand(2, 50, 2)
    for block in blocks:
        block(torch.zeros(2 * chunks, 5))
    got = cost(targets, predictions)
    assert got.shape == (2,)
    assert torch.allclose(got, loss(targets, predictions) + 2 * 0.5)


def test_items_pay_for_their_own_chunks():
    class Given(Noting):
        def forward(self, gate):
            self.tape.note(Decision(gate, RATE))

    block = Given()
    cost = ComplexityRegularized(
        lambda a, b: a.mean(1), block, 1.0, 0.0, "hinge"
    )
    gate = torch.zeros(4, 5, 1)
    gate[:2] = 1.0  # both chunks of the first item
    block(gate)
    got = cost(torch.zeros(2, 8), torch.zeros(2, 8))
    assert got.tolist() == [1.0, 0.0]


def test_module_is_not_registered_twice():
    block = Noting()
    cost = ComplexityRegularized(nn.L1Loss(), block)
    assert list(cost.parameters()) == [] and not cost.state_dict()


@pytest.mark.parametrize("target", [-0.1, 1.1])
def test_target_is_checked(target):
    with pytest.raises(ValueError, match="target lies in 0..1"):
        ComplexityRegularized(mse_loss, Noting(), target=target)


def test_a_module_that_notes_nothing_is_refused():
    with pytest.raises(ValueError, match="expected a block with a tape"):
        ComplexityRegularized(mse_loss, nn.Linear(2, 2))


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=8), st.floats(0, 1))
def test_price_by_rank_moves_logits_towards_the_target(logits, target):
    logits = torch.tensor(logits).reshape(1, -1, 1).requires_grad_()
    noted = Decision(torch.ones_like(logits), RATE, logits=logits)
    use = (logits > 0).float().mean().item()
    price = gate_price(noted, torch.tensor([target]))
    assert price.shape == (1,) and price.item() >= 0
    price.sum().backward()
    # All of them together; their spread has no part in the mean.
    moved = -logits.grad.mean().item()
    assert moved * (target - use) >= 0 or abs(moved) < 1e-6


def test_price_is_checked():
    with pytest.raises(ValueError, match="expected one of rank, pull, hinge"):
        ComplexityRegularized(mse_loss, Noting(), price="push")
    with pytest.raises(ValueError, match="expected one of"):
        gate_price(decision(1), torch.ones(1), "push")
    with pytest.raises(ValueError, match="holds no logits"):
        gate_price(decision(1), torch.ones(1), "rank")


# -- blocks whose chunks choose among widths ----------------------------------

WIDTHS = MacCount(0, (10, 40), one_hot=True)


class Choosing(nn.Module):
    """A block that takes the widest for a given share of its chunks."""

    def __init__(self, share, cost=WIDTHS):
        super().__init__()
        self.share, self.cost = nn.Parameter(torch.tensor(share)), cost
        self.tape = Tape()

    def forward(self, x):
        wide = self.share.expand(len(x), 1)
        values = torch.stack([1 - wide, wide], -1)
        self.tape.note(Decision(values, 1.0, None, values, self.cost))
        return x


def paid(blocks, batch=2, chunks=3, lengths=None, **options):
    """What a loss of 0 becomes."""
    cost = ComplexityRegularized(
        lambda a, b, *_: (a - b).sum(1) * 0, blocks, 1.0, **options
    )
    for block in blocks:
        block(torch.zeros(batch * chunks, 5))
    signal = torch.zeros(batch, 7)
    return cost(signal, signal, *([] if lengths is None else [lengths]))


@pytest.mark.parametrize("price,want", [("pull", 0.4375**2), ("hinge", 0.4375)])
def test_widths_are_paid_by_their_macs(price, want):
    """Half at 1/4 and half at 1, in one layer; all at 1/4 in the other."""
    blocks = nn.ModuleList([Choosing(0.5), Choosing(0.0)])
    got = paid(blocks, target=0.0, price=price)
    # (5/8 + 1/4) / 2 = 0.4375
    assert got.tolist() == [pytest.approx(want)] * 2
    got.sum().backward()
    assert all(block.share.grad > 0 for block in blocks)


def test_layers_of_other_costs_count_by_them():
    dear = MacCount(0, (100, 400), one_hot=True)
    blocks = nn.ModuleList([Choosing(1.0, dear), Choosing(0.0)])
    got = paid(blocks, target=0.0, price="hinge")
    assert got[0].item() == pytest.approx((400 + 10) / 440)


def test_routing_price_balances_each_layer():
    blocks = nn.ModuleList([Choosing(1.0), Choosing(0.0)])
    got = paid(blocks, target=1.0, price=RoutingPrice(0.0, 1.0))
    assert got.tolist() == [pytest.approx(1.0, abs=1e-4)] * 2


def test_chunks_beyond_the_length_are_not_paid():
    class Late(Choosing):
        def forward(self, x):
            values = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0]])
            self.tape.note(Decision(values.unsqueeze(1), 1.0, cost=self.cost))
            return x

    lengths = torch.tensor([0.5])
    for lens, want in ((None, 0.625), (lengths, 0.25)):
        blocks = nn.ModuleList([Late(0.0)])
        got = paid(blocks, 1, 4, lens, target=0.0, price="hinge")
        assert got.item() == pytest.approx(want)


def test_widths_have_no_rank():
    with pytest.raises(ValueError, match="expected gates, got widths"):
        paid(nn.ModuleList([Choosing(0.5)]), price="rank")
