"""DynCP: channels pruned frame by frame hold the contract and its costs."""

import pytest
import torch

from speechbrain_dsn.gating import ChannelGate
from speechbrain_dsn.lobes.models.conv_fsenet import (
    ConvFSENet,
    DynamicConvFSENet,
    FSENetBlock,
)
from speechbrain_dsn.nnet.dilated import DilatedConv
from speechbrain_dsn.nnet.pruning import PrunedLinear
from speechbrain_dsn.testing import check_dynamic_layer, count_macs

# Rows of 64 bytes: a matrix product rounds by where its rows begin, and the
# battery wants the same bits of frames that lie elsewhere.
SMALL = {"bins": 8, "channels": 6, "inner_channels": 8}
SMALL |= {"stacks": 1, "blocks": 2}


def frames(channels):
    return lambda batch, time, dtype: torch.randn(
        batch, time, channels, dtype=dtype
    )


@pytest.mark.parametrize("group", [1, 3])
def test_pruned_products_hold_the_contract(group):
    ran = check_dynamic_layer(lambda: PrunedLinear(6, 5, group), frames(5))
    assert {"check_closed_is_untouched", "check_macs_are_executed"} <= set(ran)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dilation", [1, 2])
def test_convolutions_and_gates_hold_the_contract(causal, dilation):
    look_ahead = 0 if causal else dilation
    ran = check_dynamic_layer(
        lambda: DilatedConv(8, 3, dilation, causal),
        frames(8),
        look_ahead=look_ahead,
    )
    assert ("check_streaming_is_masked" in ran) == causal
    check_dynamic_layer(
        lambda: ChannelGate(6, 8, 4, 2 * dilation + 1, causal),
        frames(8),
        look_ahead=look_ahead,
    )


@pytest.mark.parametrize("causal", [True, False])
def test_blocks_hold_the_contract(causal):
    ran = check_dynamic_layer(
        lambda: FSENetBlock(6, 8, dilation=2, group=2, causal=causal),
        frames(6),
        look_ahead=0 if causal else 2,
    )
    assert {"check_macs_are_monotone", "check_skipping_is_masked"} <= set(ran)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("net", [ConvFSENet, DynamicConvFSENet])
def test_nets_hold_the_contract(net, causal):
    ran = check_dynamic_layer(
        lambda: net(**SMALL, causal=causal),
        lambda batch, time, dtype: torch.rand(batch, time, 8, dtype=dtype),
        look_ahead=0 if causal else 3,
    )
    assert ("check_streaming_is_masked" in ran) == causal
    decides = net is DynamicConvFSENet
    assert ("check_decides_alike" in ran) == (decides and causal)
    assert ("check_closed_is_untouched" in ran) == decides
