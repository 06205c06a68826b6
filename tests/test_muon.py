"""Muon: turned matrices, AdamW for the rest, states that resume."""

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from speechbrain_dsn.nnet.slimmable import SlimmableDecoder, SlimmableEncoder
from speechbrain_dsn.nnet.time_gru import TimeGRU
from speechbrain_dsn.training.muon import Muon, as_matrices, orthogonalize

sizes = st.integers(1, 24)


@given(sizes, sizes, st.integers(0, 99), st.floats(-6, 6))
def test_every_direction_moves_equally_far(rows, columns, seed, exponent):
    """Whatever the size of the gradient, all singular values end near one;
    where they lie far apart, five steps lift small ones less."""
    torch.manual_seed(seed)
    q = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns)))[0]
    spread = 1 + torch.rand(min(rows, columns))
    wide = (q * spread) @ torch.linalg.qr(
        torch.randn(len(spread), len(spread))
    )[0]
    matrix = wide if rows >= columns else wide.mT
    values = torch.linalg.svdvals(orthogonalize(matrix * 10**exponent))
    assert values.min() > 0.6 and values.max() < 1.3


def test_a_stack_is_its_matrices_one_by_one():
    """Groups do not see each other."""
    stack = torch.randn(4, 24, 8)
    alone = torch.stack([orthogonalize(matrix) for matrix in stack])
    torch.testing.assert_close(orthogonalize(stack), alone)


@pytest.mark.parametrize(
    ("layer", "name", "shape"),
    [
        (SlimmableEncoder(32, 16), "first", (32, 128)),
        (SlimmableEncoder(32, 16), "second", (64, 32)),
        (SlimmableDecoder(16, 32), "first", (2, 32, 32)),
        (SlimmableDecoder(16, 32), "second", (32, 128)),
        (TimeGRU(32, 32, 4), "weight_hh", (1, 4, 24, 8)),
        (nn.Conv2d(8, 16, 3), "weight", (16, 72)),
    ],
)
def test_weights_are_read_as_matrices_of_high_rank(layer, name, shape):
    """Kernels flattened, groups and halves of a GLU on their own."""
    assert as_matrices(layer.get_parameter(name)).shape == shape


def test_vectors_follow_adamw():
    """Biases and gains, without decay."""
    ours, theirs = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    rates = {"betas": (0.9, 0.99), "weight_decay": 0.0}
    muon = Muon([ours], lr=0.1, vector_lr=0.2)
    adamw = torch.optim.AdamW([theirs], lr=0.02, **rates)
    for _ in range(5):
        ours.grad = torch.randn(5)
        theirs.grad = ours.grad.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs)


def test_a_group_at_rest_keeps_its_weights_and_its_momentum():
    layer = torch.nn.Linear(4, 3)
    before = layer.weight.detach().clone()
    optimizer = Muon(layer.parameters(), lr=0.0, momentum=0.5)
    layer(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    assert torch.equal(layer.weight, before)
    average = optimizer.state[layer.weight]["average"]
    torch.testing.assert_close(average, layer.weight.grad / 2)


def test_a_stopped_run_goes_on_where_it_was():
    """The state travels with a checkpoint."""

    def steps(net, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            net(torch.ones(2, 6)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    whole = nn.Linear(6, 4)
    halves = nn.Linear(6, 4)
    halves.load_state_dict(whole.state_dict())
    steps(whole, Muon(whole.parameters()), 6)
    first = Muon(halves.parameters())
    steps(halves, first, 3)
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    second = Muon(halves.parameters())
    second.load_state_dict(torch.load(saved, weights_only=True))
    steps(halves, second, 3)
    torch.testing.assert_close(whole.weight, halves.weight, rtol=0, atol=0)
    torch.testing.assert_close(whole.bias, halves.bias, rtol=0, atol=0)


@pytest.mark.parametrize(
    "options", [{"lr": -1.0}, {"momentum": 1.0}, {"betas": (0.9, 1.5)}]
)
def test_impossible_rates_are_refused(options):
    """Before any step."""
    with pytest.raises(ValueError, match="expected"):
        Muon([nn.Parameter(torch.ones(2, 2))], **options)
