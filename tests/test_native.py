"""The kernels in C compute what PyTorch does, and are seen to do it."""

import os
import shutil
import subprocess
import sys
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_dsn import native
from speechbrain_dsn.nnet import scan
from speechbrain_dsn.nnet.gated import gated_linear
from speechbrain_dsn.nnet.strided import conv_steps, conv_transpose_steps

pytestmark = pytest.mark.skipif(
    not native.available() and not shutil.which("cc"),
    reason="no C compiler was there to build the kernels",
)
sizes = st.integers(1, 20)
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def everything_is_large_enough(monkeypatch):
    """Kernels run small layers too, and gradients are off."""
    monkeypatch.setattr(native.operators, "FEWEST_ROWS", 1)
    with torch.no_grad():
        yield


def both_ways(function, *args):
    """What the kernels return, and PyTorch; and that each was asked."""
    with mock.patch.object(native.operators, "library", return_value=None):
        expected = function(*args)
    names = {"gru_steps", "gated_linear", "linear", "linear_overlap"}
    counter = FlopCounterMode(display=False, custom_mapping=native.FORMULAS)
    with counter:
        found = function(*args)
    seen = {
        str(op).split(".")[-1] for op in counter.get_flop_counts()["Global"]
    }
    assert seen & names, seen
    return found, expected


def flops(function, *args):
    counter = FlopCounterMode(display=False, custom_mapping=native.FORMULAS)
    with counter, torch.backends.mkldnn.flags(enabled=False):
        function(*args)
    return counter.get_total_flops()


def same_work(function, *args):
    """Both ways give the same, at the same number of operations."""
    found, expected = both_ways(function, *args)
    torch.testing.assert_close(found, expected, **CLOSE)
    with mock.patch.object(native.operators, "library", return_value=None):
        declared = flops(function, *args)
    assert flops(function, *args) == declared
    return found


def test_they_were_built():
    assert native.available()


@given(
    lead=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    inputs=sizes,
    outputs=sizes,
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    biased=st.booleans(),
)
def test_gated_linear(lead, inputs, outputs, scale, biased):
    x = scale * torch.randn(*lead, inputs)
    weight = torch.randn(2 * outputs, inputs) / inputs
    bias = torch.randn(2 * outputs) if biased else None
    same_work(gated_linear, x, weight, bias)


@given(
    batch=st.integers(1, 3),
    rows=st.integers(2, 30),
    blocks=st.integers(1, 2),
    stride=st.integers(1, 4),
    inputs=sizes,
    outputs=sizes,
)
def test_convolutions(batch, rows, blocks, stride, inputs, outputs):
    """Windows that overlap, of several items; and the way back."""
    x = torch.randn(batch, (rows + blocks) * stride, inputs)
    weight = torch.randn(outputs, blocks * stride, inputs)
    y = same_work(conv_steps, x, weight, torch.randn(outputs), stride)
    assert y.shape == (batch, rows + 1, outputs)
    weight = torch.randn(outputs, 2 * stride, inputs)
    bias = torch.randn(inputs)
    same_work(conv_transpose_steps, y, weight, bias, stride)


@given(
    steps=st.integers(1, 20),
    groups=st.integers(1, 3),
    units=st.sampled_from([8, 16, 40]),
    sequences=st.integers(1, scan.FEW),
    scale=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_gru_steps(steps, groups, units, sequences, scale):
    drive = scale * torch.randn(steps, groups, 3 * units, sequences)
    weight = torch.randn(groups, 3 * units, units) / units**0.5
    bias = torch.randn(groups, 3 * units)
    start = torch.tanh(torch.randn(groups, units, sequences))
    states = same_work(scan.gru_steps, drive, weight, bias, start)
    assert float(states.abs().max()) <= 1


def test_extreme_inputs():
    """No overflow becomes a NaN, and a NaN stays one."""
    x = torch.tensor([0.0, 1e-30, 88.0, -88.0, 1e4, -1e4, 3e38, -3e38])
    weight = torch.tensor([[0.0], [1.0]])  # the gate is x
    bias = torch.tensor([1.0, 0.0])
    y = gated_linear(x.unsqueeze(1), weight, bias).squeeze(1)
    torch.testing.assert_close(y, x.sigmoid(), atol=1e-7, rtol=1e-6)
    x = torch.full((9, 1), torch.nan)
    assert bool(gated_linear(x, weight + 1, bias).isnan().all())
    drive = torch.full((2, 1, 24, 1), torch.nan)
    state = torch.zeros(1, 8, 1)
    weight, bias = torch.zeros(1, 24, 8), torch.zeros(1, 24)
    assert bool(scan.gru_steps(drive, weight, bias, state).isnan().all())


@pytest.mark.parametrize("value", [-0.7, -1e-3, 0.0, 1e-6, 0.62, 0.63, 9.0])
def test_tanh_has_all_its_digits(value):
    """Reset and update gates shut: the state is the tanh of the input."""
    drive = torch.cat([torch.full((16,), -100.0), torch.full((8,), value)])
    zeros = torch.zeros(1, 24, 8), torch.zeros(1, 24), torch.zeros(1, 8, 1)
    state = scan.gru_steps(drive.view(1, 1, 24, 1), *zeros)
    expected = torch.tensor(value).tanh().expand(1, 1, 8, 1)
    torch.testing.assert_close(state, expected, atol=1e-9, rtol=4e-7)


def test_what_they_do_not_know_is_left_to_torch():
    x, weight = torch.randn(300, 4), torch.randn(8, 4)
    fits = native.fits(x, 300, 4, 4)
    assert fits
    assert not native.fits(x.double(), 300, 4, 4)
    assert not native.fits(x.to("meta"), 300, 4, 4)
    assert not native.fits(x, 300, 4, 2**20)
    with FakeTensorMode() as fakes:  # says that it is on a CPU
        assert not native.fits(fakes.from_tensor(x), 300, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert not native.fits(x, 300, 4, 4)
    with torch.enable_grad():
        assert not native.fits(x, 300, 4, 4)
        y = gated_linear(x, weight.requires_grad_(), None)
        assert y.requires_grad
    double = gated_linear(x.double(), weight.detach().double(), None)
    torch.testing.assert_close(double.float(), y.detach(), **CLOSE)


def test_the_environment_switches_them_off():
    code = "from speechbrain_dsn import native; print(native.available())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SPEECHBRAIN_DSN_NATIVE": "0"},
    )
    assert done.stdout.strip() == "False"
