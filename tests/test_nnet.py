"""What single layers compute; the contract of all is in test_contract."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from subjects import frames
from subjects_layers import convolutions

from speechbrain_dsn.nnet import (
    DynamicConv2d,
    DynamicConvTranspose2d,
    DynamicLayerNorm,
    DynamicLinear,
    FrequencyAttention,
    FrequencyGRU,
    TimeAttention,
    TimeGRU,
)
from speechbrain_dsn.nnet.banded import banded_attention


@given(**convolutions, padding=st.integers(0, 1))
def test_convolutions_are_those_of_torch(
    outputs, inputs, kernel, stride, bins, padding
):
    x = torch.randn(2, 5, bins, inputs[0])
    torch_x = torch.nn.functional.pad(
        x.permute(0, 3, 1, 2), (0, 0, kernel[0] - 1, 0)
    )
    ours = DynamicConv2d(outputs[0], kernel, inputs[0], stride)
    theirs = torch.nn.Conv2d(inputs[0], outputs[0], kernel, (1, stride))
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), theirs(torch_x).permute(0, 2, 3, 1))
    assert ours(x).size(2) == ours.output_bins(bins)

    padding = min(padding, stride - 1)
    ours = DynamicConvTranspose2d(
        outputs[0], kernel, inputs[0], stride, output_padding=padding
    )
    theirs = torch.nn.ConvTranspose2d(
        inputs[0], outputs[0], kernel, (1, stride), output_padding=(0, padding)
    )
    theirs.load_state_dict(ours.state_dict())
    past = kernel[0] - 1
    expected = theirs(torch_x).permute(0, 2, 3, 1)[:, past : past + 5]
    torch.testing.assert_close(ours(x), expected)
    assert ours(x).size(2) == ours.output_bins(bins)


@given(
    past=st.integers(0, 9),
    time=st.integers(1, 12),
    window=st.integers(1, 10),
    block=st.integers(1, 12),
    gated=st.booleans(),
)
def test_banded_attention_is_masked_attention(past, time, window, block, gated):
    past = min(past, window - 1)
    keys = past + time
    # Positions with holes: closed frames leave no key.
    position = torch.arange(2 * keys)[torch.randperm(2 * keys)[:keys].sort()[0]]
    position = position.expand(2, -1)
    q = torch.randn(2, 3, time, 4, dtype=torch.float64)
    k, v = torch.randn(2, 2, 3, keys, 4, dtype=torch.float64)
    gate = torch.rand(2, keys, dtype=torch.float64).round(decimals=1)
    y = banded_attention(
        q,
        k,
        v,
        position[:, past:],
        position,
        window,
        gate if gated else None,
        block,
    )
    age = (position[:, past:].unsqueeze(2) - position.unsqueeze(1)).unsqueeze(1)
    weight = ((age >= 0) & (age < window)).to(q)
    if gated:
        weight = weight * torch.where(age == 0, 1.0, gate[:, None, None])
    scores = (q @ k.transpose(-1, -2) / 2).exp() * weight
    expected = scores / scores.sum(-1, keepdim=True) @ v
    torch.testing.assert_close(y, expected)


def test_banded_attention_refuses_more_past_than_it_can_see():
    x, t = torch.randn(1, 9, 4), torch.arange(9).expand(1, -1)
    with pytest.raises(ValueError, match="5 earlier keys"):
        banded_attention(x[:, 5:], x, x, t[:, 5:], t, window=5)


soft_layers = {
    "linear": (lambda: DynamicLinear(4, 4, 2, 2), (4,)),
    "norm": (lambda: DynamicLayerNorm(4, 2), (4,)),
    "conv": (lambda: DynamicConv2d(4, (2, 2), 4, 1, 2, 2), (3, 4)),
    "frequency GRU": (lambda: FrequencyGRU(4, 4, 2, 1), (3, 4)),
    "time GRU": (lambda: TimeGRU(4, 4, 2, 1), (3, 4)),
    "frequency attention": (lambda: FrequencyAttention(2, 4, 1), (3, 4)),
    "time attention": (lambda: TimeAttention(2, 4, 1, 3), (3, 4)),
}


@pytest.mark.parametrize("name", soft_layers)
def test_a_soft_gate_ends_where_the_hard_one_is(name):
    factory, shape = soft_layers[name]
    layer, x = factory().double(), frames(*shape)(2, 6, torch.float64)
    ones = torch.ones(2, 6, dtype=torch.float64)
    for almost, hard in ((1e-9, 0), (1 - 1e-9, 1)):
        torch.testing.assert_close(
            layer(x, almost * ones), layer(x, hard * ones), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("name", soft_layers)
def test_a_gate_of_another_length_is_refused(name):
    factory, shape = soft_layers[name]
    layer, x = factory(), frames(*shape)(2, 6, torch.float32)
    with pytest.raises(ValueError, match=r"gate \(2, 1\) does not match"):
        layer(x, torch.ones(2, 1))


@pytest.mark.parametrize(
    "factory, message",
    [
        (lambda: DynamicLinear(4, 4, 5), "static neurons must be 1..4"),
        (lambda: DynamicLinear(4, 4, 4, 0), "static inputs must be 1..4"),
        (lambda: DynamicLayerNorm(4, 5), "static_size must be 1..4"),
        (lambda: DynamicConv2d(4, (2, 3), 4, 1, 5), "static_channels 5 > 4"),
        (lambda: DynamicConv2d(4, (2, 3), 4, 1, 4, 5), "static_inputs 5 > 4"),
        (lambda: TimeGRU(4, 6, 4), "4 groups do not divide input 6"),
        (lambda: TimeGRU(4, 4, 4, 5), "static_groups must be 1..4"),
        (lambda: TimeAttention(4, 6), "4 heads do not divide width 6"),
        (lambda: TimeAttention(4, 4, 0), "static_heads must be 1..4"),
        (lambda: TimeAttention(4, 4, window=0), "at least 1 frame, got 0"),
    ],
)
def test_impossible_sizes_are_refused(factory, message):
    with pytest.raises(ValueError, match=message):
        factory()
