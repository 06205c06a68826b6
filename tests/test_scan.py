"""The grouped recurrence is that of torch.nn.GRU, gradients included."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_dsn.nnet.scan import gru_scan, gru_steps

sizes = {
    "length": st.integers(1, 6),
    "groups": st.integers(1, 3),
    "inputs": st.integers(1, 4),
    "hidden": st.integers(1, 4),
    "rows": st.integers(1, 3),
}


def draw(length, groups, inputs, hidden, rows):
    """Arguments of `gru_scan`: x, weights, biases, h0."""
    shapes = (
        (length, groups, inputs, rows),
        (groups, 3 * hidden, inputs),
        (groups, 3 * hidden, hidden),
        (groups, 3 * hidden),
        (groups, 3 * hidden),
        (groups, hidden, rows),
    )
    return [torch.randn(shape, dtype=torch.float64) for shape in shapes]


def reference(x, w_ih, w_hh, b_ih, b_hh, h0):
    """One `torch.nn.GRU` per group."""
    states = []
    for group in range(x.size(1)):
        gru = torch.nn.GRU(w_ih.size(2), w_hh.size(2), dtype=x.dtype)
        with torch.no_grad():
            gru.weight_ih_l0.copy_(w_ih[group])
            gru.weight_hh_l0.copy_(w_hh[group])
            gru.bias_ih_l0.copy_(b_ih[group])
            gru.bias_hh_l0.copy_(b_hh[group])
        h = h0[group].t().contiguous().unsqueeze(0)
        states.append(gru(x[:, group].transpose(1, 2), h)[0].transpose(1, 2))
    return torch.stack(states, 1)


@given(**sizes)
def test_scan_is_grouped_gru(**shape):
    arguments = draw(**shape)
    expected = reference(*arguments)
    torch.testing.assert_close(gru_scan(*arguments), expected)
    x, *rest = arguments
    backwards = reference(x.flip(0), *rest).flip(0)
    torch.testing.assert_close(gru_scan(*arguments, reverse=True), backwards)


@given(**sizes)
def test_steps_are_the_scan_of_projected_input(**shape):
    x, w_ih, w_hh, b_ih, b_hh, h0 = draw(**shape)
    projected = torch.matmul(w_ih, x) + b_ih.unsqueeze(-1)
    torch.testing.assert_close(
        gru_steps(projected, w_hh, b_hh, h0),
        gru_scan(x, w_ih, w_hh, b_ih, b_hh, h0),
    )


def test_a_scan_starts_from_zero_by_default():
    *arguments, h0 = draw(3, 2, 2, 2, 2)
    start = torch.zeros_like(h0)
    assert torch.equal(gru_scan(*arguments), gru_scan(*arguments, start))


@pytest.mark.parametrize("reverse", [False, True])
def test_hand_written_gradient_is_the_derivative(reverse):
    arguments = [a.requires_grad_() for a in draw(4, 2, 3, 2, 2)]
    assert torch.autograd.gradcheck(
        lambda *a: gru_scan(*a, reverse=reverse), arguments
    )


@settings(max_examples=5)
@given(reverse=st.booleans(), **sizes)
def test_hand_written_gradient_in_every_shape(reverse, **shape):
    arguments = [a.requires_grad_() for a in draw(**shape)]
    assert torch.autograd.gradcheck(
        lambda *a: gru_scan(*a, reverse=reverse), arguments, fast_mode=True
    )


def test_views_need_not_be_contiguous():
    arguments = draw(4, 2, 3, 3, 3)
    strided = [
        a.transpose(-1, -2).contiguous().transpose(-1, -2) if a.dim() > 2 else a
        for a in arguments
    ]
    assert not strided[0].is_contiguous()
    grads = []
    for run in (arguments, strided):
        leaves = [a.detach().requires_grad_() for a in run]
        y = gru_scan(*leaves)
        grads.append(torch.autograd.grad(y.square().sum(), leaves))
    for dense, other in zip(*grads, strict=True):
        torch.testing.assert_close(dense, other)
