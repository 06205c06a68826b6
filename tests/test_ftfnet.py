"""FTF-Net layer by layer, MGT-DSN by its costs, and both by the battery."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects_lobes import unseen
from torch.nn import functional as F

from speechbrain_dsn.cost import MacMeter
from speechbrain_dsn.lobes.models.ftfnet import (
    ChannelScale,
    DynamicFTFNet,
    FTFNet,
)
from speechbrain_dsn.testing import count_macs

SMALL = {"bins": 31, "channels": (4, 8, 8), "window": 4}


def spectra(bins):
    """Examples of compressed magnitudes ``[B, T, bins]``."""
    return lambda batch, time, dtype: torch.rand(batch, time, bins, dtype=dtype)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_channel_scale_is_a_depth_wise_convolution():
    scale, conv = ChannelScale(5), torch.nn.Conv2d(5, 5, 1, groups=5)
    with torch.no_grad():
        scale.weight.copy_(conv.weight.flatten())
        scale.bias.copy_(conv.bias)
    x = torch.randn(2, 4, 3, 5)
    expected = conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(scale(x), expected)


def paper(net, magnitude):
    """FTF-Net as its table puts it, in plain torch (static weights).

    Conv and deconv with one frame of zeros in front, three of the same
    shape each; LayerNorm; frequency, time, frequency block; skips through
    depth-wise 1x1 convolutions.
    """
    slope = 0.03

    def conv(layer, x):
        x = F.pad(x, (0, 0, 1, 0))
        return F.conv2d(x, layer.weight, layer.bias, (1, 2))

    def deconv(layer, x, padding):
        y = F.conv_transpose2d(
            F.pad(x, (0, 0, 1, 0)),
            layer.weight,
            layer.bias,
            (1, 2),
            output_padding=(0, padding),
        )
        return y[:, :, 1 : 1 + x.size(2)]

    def skip(layer, x):
        weight = layer.weight.view(-1, 1, 1, 1)
        return F.conv2d(x, weight, layer.bias, groups=len(weight))

    def block(layer, x, mask=None):
        """``[sequences, steps, channels]``."""
        parts = x.chunk(4, -1)
        grus = layer.rnn.slice_to(True)
        h = [gru(part)[0] for gru, part in zip(grus, parts, strict=True)]
        h = F.leaky_relu(torch.cat(h, -1), slope)
        x = layer.norm1.slice_to(True)(x + layer.linear.slice_to(True)(h))
        attention = layer.attention.slice_to(True)
        y, _ = attention(x, x, x, attn_mask=mask)
        return layer.norm2.slice_to(True)(x + y)

    def frequency_block(layer, x):
        return block(layer, x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def time_block(layer, x):
        time = torch.arange(x.size(1))
        age = time.unsqueeze(1) - time
        mask = (age < 0) | (age >= net.time.attention.window)
        x = x.transpose(1, 2)
        y = block(layer, x.flatten(0, 1), mask).unflatten(0, x.shape[:2])
        return y.transpose(1, 2)

    e1 = F.leaky_relu(conv(net.conv1, magnitude.unsqueeze(1)), slope)
    e2 = F.leaky_relu(conv(net.conv2, e1), slope)
    e3 = F.leaky_relu(conv(net.conv3, e2), slope)
    x = net.norm.slice_to(True)(e3.permute(0, 2, 3, 1))
    x = frequency_block(net.freq1, x)
    x = frequency_block(net.freq2, time_block(net.time, x))
    x = x.permute(0, 3, 1, 2)
    x = F.leaky_relu(deconv(net.deconv2, x + skip(net.skip2, e3), 0), slope)
    x = F.leaky_relu(deconv(net.deconv3, x + skip(net.skip3, e2), 1), slope)
    return F.relu(deconv(net.deconv4, x + skip(net.skip4, e1), 0)).squeeze(1)


@torch.no_grad()
def test_ftfnet_is_the_network_of_the_paper():
    net = FTFNet().double().eval()
    for parameter in net.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    x = spectra(257)(2, 70, torch.float64)  # longer than the window
    mask = net(x)
    assert mask.shape == x.shape and bool((mask >= 0).all())
    torch.testing.assert_close(mask, paper(net, x))


def test_parameters_are_those_of_the_paper():
    net = FTFNet()
    assert parameters(net) == 135_425
    assert [parameters(b) for b in (net.freq1, net.freq2, net.time)] == [
        38_208,
        38_208,
        27_584,
    ]
    dynamic = DynamicFTFNet()
    assert parameters(dynamic) == 135_425 + parameters(dynamic.policy)


def per_second(macs):
    """M MAC/s at 62.5 frames per second."""
    return macs * 62.5 / 1e6


def test_macs_are_those_of_the_table():
    net = FTFNet()
    report = net.report()
    assert report.cost.open == report.cost.closed == 4_794_400
    assert report.macs_per_second(1.0) == 299.65e6
    macs = {n: per_second(cost.open) for n, cost in report.layers.items()}
    skips = sum(macs.pop(name) for name in ("skip2", "skip3", "skip4"))
    assert skips == pytest.approx(0.38, abs=0.005)
    assert macs == pytest.approx(
        {
            "conv1": 0.77,
            "conv2": 12.10,
            "conv3": 23.81,
            "freq1": 79.12,
            "time": 67.71,
            "freq2": 79.12,
            "deconv2": 23.81,
            "deconv3": 12.10,
            "deconv4": 0.77,
        },
        abs=0.01,
    )


@pytest.mark.parametrize(
    "name, expected",
    [
        ("freq1", (23.81, 15.87, 23.81, 7.94, 7.69)),
        ("time", (11.90, 7.94, 23.81, 7.94, 16.12)),
    ],
)
def test_macs_of_a_block_are_those_of_the_table(name, expected):
    block = getattr(FTFNet(), name)
    bins = 31
    qkv, out = 3 * 64 * 64 * bins, block.attention.out.macs(bins).open
    parts = (
        block.rnn.macs(bins).open,
        block.linear.macs(bins).open,
        qkv,
        out,
        block.attention.macs(bins).open - qkv - out,
    )
    assert [per_second(p) for p in parts] == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("share, expected", [(0, 142), (0.5, 221), (1, 300)])
def test_activation_sets_the_cost_of_mgt_dsn(share, expected):
    """Declared, and counted while a stream runs frame by frame."""
    net, frames = DynamicFTFNet().eval(), 4
    declared = net.report().macs_per_second(share)
    assert int(declared / 1e6) == expected
    gate = (torch.arange(frames) < share * frames).float().unsqueeze(0)
    counted = count_stream(net, gate) / frames * 62.5
    assert counted == pytest.approx(declared, rel=0.01)
    assert counted + unseen(net) * 62.5 == pytest.approx(declared, rel=1e-9)


def count_stream(net, gate, chunk=1):
    """MACs of a stream with these gates."""
    x = spectra(net.bins[0])(*gate.shape, torch.float32)
    context = net.make_streaming_context(len(x))

    def run():
        parts = zip(x.split(chunk, 1), gate.split(chunk, 1), strict=True)
        for part, gates in parts:
            net.forward_streaming(part, context, gate=gates)

    return count_macs(run)


@settings(max_examples=5)
@given(seed=st.integers(0, 99), batch=st.integers(1, 3))
def test_the_meter_tells_what_a_stream_executed(seed, batch):
    generator = torch.Generator().manual_seed(seed)
    gate = (torch.rand(batch, 5, generator=generator) < 0.5).float()
    net = DynamicFTFNet(**SMALL).eval()
    meter = MacMeter(net.report().cost)
    decision = net(spectra(31)(batch, 5, torch.float32), gate=gate)[1]
    meter.update(decision)
    executed = count_stream(net, gate) + gate.numel() * unseen(net)
    metered = meter.macs_per_second * gate.numel() / decision.frame_rate
    assert executed == pytest.approx(metered, rel=1e-9)


def test_a_long_chunk_attends_a_little_beyond_its_window():
    """By convention attention counts its window; a block of queries shares
    its keys, which are one block more."""
    net, gate = DynamicFTFNet().eval(), torch.ones(1, 64)
    declared = gate.numel() * net.report().cost.open
    executed = count_stream(net, gate, chunk=64) + gate.numel() * unseen(net)
    assert declared < executed < 1.03 * declared


@torch.no_grad()
def test_an_open_dynamic_net_is_the_static_one():
    static, dynamic = FTFNet(**SMALL).eval(), DynamicFTFNet(**SMALL).eval()
    loaded = dynamic.load_state_dict(static.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert all(key.startswith("policy.") for key in loaded.missing_keys)
    x = spectra(31)(2, 9, torch.float32)
    mask, decision = dynamic(x, gate=torch.ones(2, 9))
    torch.testing.assert_close(mask, static(x))
    always, decision = dynamic(x, bias=1e9)
    assert bool((decision.values == 1).all())
    torch.testing.assert_close(always, mask)


def test_a_decision_carries_what_is_counted():
    net = DynamicFTFNet(**SMALL, frame_rate=50.0).eval()
    lengths = torch.tensor([4, 7])
    _, decision = net(spectra(31)(2, 7, torch.float32), lengths)
    assert decision.values.shape == decision.logits.shape == (2, 7, 1)
    assert decision.lengths is lengths and decision.frame_rate == 50
    assert torch.equal(decision.values, (decision.logits > 0).float())


@torch.no_grad()
def test_bias_opens_frame_after_frame():
    net, x = DynamicFTFNet(**SMALL).eval(), spectra(31)(4, 30, torch.float32)
    logits = net(x)[1].logits
    biases = -logits.flatten().sort(descending=True).values[::10]
    before = torch.zeros_like(logits)
    for bias in [-1e9, *biases.tolist(), 1e9]:
        values = net(x, bias=bias)[1].values
        assert bool((values >= before).all())
        before = values
    assert bool((before == 1).all())


@pytest.mark.parametrize("straight_through", [True, False])
def test_the_policy_learns_from_the_mask_and_from_the_usage(straight_through):
    net = DynamicFTFNet(**SMALL, straight_through=straight_through).train()
    x = spectra(31)(3, 20, torch.float32)
    mask, decision = net(x)
    hard = bool(((decision.values == 0) | (decision.values == 1)).all())
    assert hard == straight_through
    policy = list(net.policy.parameters())
    for loss in (mask.square().mean(), decision.usage().mean()):
        grads = torch.autograd.grad(loss, policy, retain_graph=True)
        assert all(bool((g != 0).any()) for g in grads)
        assert all(bool(g.isfinite().all()) for g in grads)


def test_too_few_bins_are_refused():
    with pytest.raises(ValueError, match="14 bins are too few"):
        FTFNet(bins=14)
    assert FTFNet(bins=15).bins[-1] == 1


@pytest.mark.parametrize("bins", [65, 129, 161, 200, 257])
def test_the_mask_has_the_bins_of_the_input(bins):
    assert FTFNet(bins=bins)(torch.rand(1, 2, bins)).shape == (1, 2, bins)
