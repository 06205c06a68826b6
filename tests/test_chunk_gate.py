"""The gate of a chunk: what it sees, what it says, what it costs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.gating import ChunkGate, sample_choice
from speechbrain_dsn.testing import count_macs
from speechbrain_dsn.testing.lifecycle import reset_all

LEVELS = (0.125, 0.25, 0.5, 1.0)


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=2),
    st.integers(1, 9),
    st.integers(1, 8),
    st.integers(1, 5),
)
def test_one_logit_per_width_and_chunk(lead, steps, channels, widths):
    gate = ChunkGate(channels, widths)
    x = torch.randn(*lead, steps, channels)
    logits = gate(x)
    assert logits.shape == (*lead, widths) and logits.isfinite().all()
    rows = gate(x.flatten(0, -3)).view_as(logits)
    torch.testing.assert_close(rows, logits)


def test_sees_no_order_of_steps():
    gate, x = ChunkGate(8, 4), torch.randn(3, 20, 8)
    torch.testing.assert_close(gate(x[:, torch.randperm(20)]), gate(x))


def test_level_and_deviation_tell_chunks_apart():
    gate, x = ChunkGate(8, 4), torch.randn(1, 50, 8)
    for other in (10 * x, x + 1, x.abs()):
        assert (gate(other) - gate(x)).abs().max() > 0.05


@pytest.mark.parametrize("straight_through", [True, False])
def test_gradients_reach_the_gate_and_what_it_sees(straight_through):
    gate = ChunkGate(8, 4)
    x = torch.randn(6, 20, 8, requires_grad=True)
    choice = sample_choice(
        gate(x), LEVELS, True, straight_through=straight_through
    )
    (choice @ torch.tensor(LEVELS)).sum().backward()
    for name, parameter in gate.named_parameters():
        assert (parameter.grad != 0).any(), name
    assert (x.grad != 0).any()
    one_hot = ((choice == 0) | (choice == 1)).all()
    assert bool(one_hot) == straight_through


def test_logits_are_float32_under_autocast():
    gate, x = ChunkGate(8, 4), torch.randn(2, 20, 8)
    with torch.autocast("cpu", torch.bfloat16):
        logits = gate(x)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, gate(x))


def test_reset_starts_undecided():
    gate = ChunkGate(8, 4)
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.fill_(7.0)
    reset_all(gate)
    assert gate.sharpness.item() == 3.0
    assert (gate.dense.bias == 0).all() and (gate.norm.weight == 1).all()
    assert gate.dense.weight.std() > 0


def test_counted_are_executed():
    gate, x = ChunkGate(8, 4), torch.randn(2, 5, 20, 8)
    assert count_macs(gate, x) == 10 * gate.macs().fixed


def test_silence_gives_finite_logits_and_gradients():
    gate, x = ChunkGate(8, 4), torch.zeros(1, 20, 8, requires_grad=True)
    gate(x).sum().backward()
    assert x.grad.isfinite().all()
