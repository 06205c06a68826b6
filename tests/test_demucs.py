"""Slimmable DEMUCS: blocks, resamplers, router and net hold the contract."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.lobes.models.demucs import RoutedDemucs, SlimmableDemucs
from speechbrain_dsn.nnet.resampling import Downsampler, Upsampler
from speechbrain_dsn.nnet.slimmable import SlimmableEncoder
from speechbrain_dsn.testing import count_macs

SMALL = {"hidden": 4, "depth": 3, "taps": 16, "groups": 2}  # hop 16


def closed_form(utilization, hidden=32, depth=5, kernel=8, stride=4, up=4):
    """MACs per sample of what is slimmed (papers agree on this sum)."""
    total, channels = 0.0, 1
    for layer in range(1, depth + 1):
        wider = 2 ** (layer - 1) * hidden
        macs = 2 * (channels * wider * kernel + 2 * wider**2)
        total += up / stride**layer * macs
        channels = wider
    return utilization * total


@pytest.mark.parametrize("net", [SlimmableDemucs, RoutedDemucs])
def test_the_published_law_of_costs(net):
    """2,224 + 53,760 v MACs per sample: what is slimmed is exact, the whole
    within 2 % at every utilization factor."""
    cost, levels = net().report().cost, (0.125, 0.25, 0.5, 1.0)
    assert cost.levels == levels
    published = (8944, 15664, 29104, 55985)
    for gated, level, macs in zip(cost.gated, levels, published, strict=True):
        assert gated == 256 * closed_form(level) == 256 * 53760 * level
        assert (cost.fixed + gated) / 256 == pytest.approx(macs, rel=0.02)


def test_counted_is_executed_at_the_published_size():
    net, x = SlimmableDemucs().eval(), torch.randn(1, 3, 256)
    level = torch.tensor([[0, 2, 3]])
    declared = sum(map(net.report().cost.of_level, (0, 2, 3)))
    assert count_macs(net.forward_skipping, x, level) == declared


@given(seed=st.integers(0, 99), taps=st.sampled_from([16, 32, 48]))
def test_there_and_back_is_a_delay(seed, taps):
    """Below the transition band the resamplers only delay."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(1024).double() / 16000
    hertz = 100 + 8000 * (0.9 - 4 / taps) * torch.rand(
        3, 1, generator=generator
    )
    x = torch.sin(2 * torch.pi * hertz.double() * time).view(3, 4, 256, 1)
    up, down = Upsampler(4, taps).double(), Downsampler(4, taps).double()
    y = down(up(x)).flatten(1)[:, 2 * taps :]
    expected = x.flatten(1)[:, taps : 1024 - taps]
    torch.testing.assert_close(y, expected, atol=0.02, rtol=0)


@torch.no_grad()
def test_weights_start_between_their_fan_in_and_a_tenth():
    """And outputs neither fade away nor blow up."""
    torch.manual_seed(0)
    net, x = SlimmableDemucs(hidden=16), torch.randn(1, 20, 256)
    for block in (*net.encoders, *net.decoders):
        for weight in (block.first, block.second):
            assert 0.02 < float(weight.std()) < 0.25
    assert 1e-3 < float(net(x).std() / x.std()) < 10


@torch.no_grad()
def test_the_level_of_a_signal_does_not_matter():
    """Except before the first frame, and near the floor of the follower."""
    net, x = SlimmableDemucs(**SMALL).double(), torch.randn(2, 30, 16).double()
    x = x * torch.rand(2, 30, 1)
    quiet, loud = net(0.1 * x)[:, 1:], net(x)[:, 1:]
    torch.testing.assert_close(10 * quiet, loud, atol=1e-3, rtol=1e-3)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="at least two widths"):
        RoutedDemucs(**SMALL, utilizations=(0.5,))
    with pytest.raises(ValueError, match="ascend within"):
        SlimmableDemucs(**SMALL, utilizations=(0.5, 0.25))
    with pytest.raises(ValueError, match="one or two strides"):
        SlimmableEncoder(4, 4, kernel_size=6, stride=4)
    with pytest.raises(ValueError, match="at most a frame of 16 samples"):
        SlimmableDemucs(**SMALL | {"taps": 32})
    with pytest.raises(ValueError, match="do not fit a resampling"):
        SlimmableDemucs(depth=1, resample=8)
