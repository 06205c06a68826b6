"""Every dynamic layer holds the contract, in every width."""

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import example as case
from hypothesis import strategies as st

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
from speechbrain_dsn.nnet.blocks import FrequencyBlock, TimeBlock
from speechbrain_dsn.testing import check_dynamic_layer

# A failure names its layer and property; a smaller one would say no more.
few = settings(max_examples=4, phases=[Phase.explicit, Phase.generate])


def frames(*shape):
    """Examples ``[B, T, *shape]``."""
    return lambda batch, time, dtype: torch.randn(
        batch, time, *shape, dtype=dtype
    )


def leading(attribute):
    """Runs a slice on as many leading channels as it reads."""

    def run(dense, x):
        channels = getattr(dense, attribute)
        if isinstance(channels, tuple):
            (channels,) = channels
        return dense(x[..., :channels])

    return run


def whole_and_part(whole):
    """A width, and how much of it is static."""
    return whole.flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


width = whole_and_part(st.integers(2, 6))
groups = whole_and_part(st.integers(1, 4))


@few
@given(outputs=width, inputs=width, bias=st.booleans())
@case(outputs=(3, 3), inputs=(2, 2), bias=True)
def test_linear(outputs, inputs, bias):
    check_dynamic_layer(
        lambda: DynamicLinear(
            outputs[0], inputs[0], outputs[1], inputs[1], bias
        ),
        frames(3, inputs[0]),
        run_dense=leading("in_features"),
    )


@few
@given(size=width)
@case(size=(4, 4))
@case(size=(4, 1))
def test_layer_norm(size):
    check_dynamic_layer(
        lambda: DynamicLayerNorm(*size),
        frames(3, size[0]),
        run_dense=leading("normalized_shape"),
    )


convolutions = {
    "outputs": width,
    "inputs": width,
    "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "stride": st.integers(1, 2),
    "bins": st.integers(3, 6),
}


@few
@given(**convolutions)
@case(outputs=(2, 2), inputs=(2, 2), kernel=(1, 1), stride=1, bins=3)
def test_conv(outputs, inputs, kernel, stride, bins):
    check_dynamic_layer(
        lambda: DynamicConv2d(
            outputs[0], kernel, inputs[0], stride, outputs[1], inputs[1]
        ),
        frames(bins, inputs[0]),
        run_dense=leading("in_channels"),
    )


@few
@given(**convolutions)
@case(outputs=(2, 2), inputs=(2, 2), kernel=(1, 1), stride=1, bins=3)
def test_conv_transpose(outputs, inputs, kernel, stride, bins):
    check_dynamic_layer(
        lambda: DynamicConvTranspose2d(
            outputs[0],
            kernel,
            inputs[0],
            stride,
            outputs[1],
            inputs[1],
            output_padding=stride - 1,
        ),
        frames(bins, inputs[0]),
        run_dense=leading("in_channels"),
    )


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


def run_grus(dense, x):
    """Slices of a frequency GRU, each on its part of the channels."""
    n = dense[0].input_size
    outputs = [
        gru(x[..., k * n : (k + 1) * n].flatten(0, 1))[0]
        for k, gru in enumerate(dense)
    ]
    return torch.cat(outputs, -1).unflatten(0, x.shape[:2])


def run_grus_over_time(dense, x):
    return run_grus(dense, x.transpose(1, 2)).transpose(1, 2)


@few
@given(groups=groups, inputs=st.integers(1, 3), hidden=st.integers(1, 3))
@case(groups=(1, 1), inputs=2, hidden=3)
@case(groups=(3, 3), inputs=2, hidden=1)
def test_frequency_gru(groups, inputs, hidden):
    number, static = groups
    check_dynamic_layer(
        lambda: FrequencyGRU(number * hidden, number * inputs, number, static),
        frames(4, number * inputs),
        run_dense=run_grus,
    )


@few
@given(
    groups=groups,
    inputs=st.integers(1, 3),
    hidden=st.integers(1, 3),
    bins=st.integers(1, 3),
)
@case(groups=(1, 1), inputs=2, hidden=3, bins=1)
@case(groups=(3, 3), inputs=2, hidden=1, bins=2)
def test_time_gru(groups, inputs, hidden, bins):
    number, static = groups
    check_dynamic_layer(
        lambda: TimeGRU(number * hidden, number * inputs, number, static),
        frames(bins, number * inputs),
        run_dense=run_grus_over_time,
    )


def run_heads(dense, x, mask=None):
    """A slice of an attention over the last axis but one."""
    q = x[..., : dense.embed_dim].flatten(0, 1)
    y, _ = dense(q, q, q, attn_mask=mask)
    return y.unflatten(0, x.shape[:2])


def run_heads_over_time(window):
    def run(dense, x):
        time = torch.arange(x.size(1))
        age = time.unsqueeze(1) - time
        mask = (age < 0) | (age >= window)
        return run_heads(dense, x.transpose(1, 2), mask).transpose(1, 2)

    return run


@few
@given(heads=groups, size=st.integers(1, 3))
@case(heads=(1, 1), size=3)
def test_frequency_attention(heads, size):
    number, static = heads
    check_dynamic_layer(
        lambda: FrequencyAttention(number, number * size, static),
        frames(4, number * size),
        run_dense=run_heads,
    )


@few
@given(
    heads=groups,
    size=st.integers(1, 3),
    window=st.integers(1, 12),
    bins=st.integers(1, 2),
)
@case(heads=(3, 1), size=2, window=1, bins=1)
@case(heads=(2, 1), size=2, window=4, bins=2)
def test_time_attention(heads, size, window, bins):
    number, static = heads
    check_dynamic_layer(
        lambda: TimeAttention(number, number * size, static, window),
        frames(bins, number * size),
        run_dense=run_heads_over_time(window),
        warm_up=window,
    )


@few
@given(groups=groups, size=st.integers(2, 3))
def test_frequency_block(groups, size):
    number, static = groups
    check_dynamic_layer(
        lambda: FrequencyBlock(number * size, number, static),
        frames(4, number * size),
    )


@few
@given(groups=groups, size=st.integers(2, 3), window=st.integers(1, 6))
def test_time_block(groups, size, window):
    number, static = groups
    check_dynamic_layer(
        lambda: TimeBlock(number * size, number, static, window),
        frames(2, number * size),
        warm_up=window,
    )


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
