"""The kernels in C compute what PyTorch does, and are seen to do it."""

import itertools
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
from speechbrain_dsn.nnet.chain import run_blocks
from speechbrain_dsn.nnet.diagonal import DiagonalGRU
from speechbrain_dsn.nnet.gated import gated_linear
from speechbrain_dsn.nnet.slimmable import SlimmableDecoder, SlimmableEncoder
from speechbrain_dsn.nnet.strided import conv_steps

pytestmark = pytest.mark.skipif(
    not native.available() and not shutil.which("cc"),
    reason="no C compiler was there to build the kernels",
)
sizes = st.integers(1, 20)
sizes_of_a_block = st.tuples(st.integers(1, 20), st.integers(1, 20))
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def everything_is_large_enough(monkeypatch):
    """Kernels run small layers too, and gradients are off."""
    monkeypatch.setattr(native.calls, "FEWEST_ROWS", 1)
    with torch.no_grad():
        yield


def both_ways(kernel, function, *args):
    """What this kernel returns, and PyTorch."""
    with mock.patch.object(native.calls, "library", return_value=None):
        expected = function(*args)
    counter = FlopCounterMode(display=False, custom_mapping=native.FORMULAS)
    with counter:
        found = function(*args)
    seen = {
        str(op).split(".")[-1] for op in counter.get_flop_counts()["Global"]
    }
    assert kernel in seen, seen
    return found, expected


def flops(function, *args):
    counter = FlopCounterMode(display=False, custom_mapping=native.FORMULAS)
    with counter, torch.backends.mkldnn.flags(enabled=False):
        function(*args)
    return counter.get_total_flops()


def same_work(kernel, function, *args):
    """Both ways give the same, at the same number of operations."""
    found, expected = both_ways(kernel, function, *args)
    torch.testing.assert_close(found, expected, **CLOSE)
    with mock.patch.object(native.calls, "library", return_value=None):
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
    same_work("gated_linear", gated_linear, x, weight, bias)


@given(
    batch=st.integers(1, 3),
    rows=st.integers(2, 30),
    blocks=st.integers(1, 2),
    stride=st.integers(1, 4),
    inputs=sizes,
    outputs=sizes,
)
def test_convolutions(batch, rows, blocks, stride, inputs, outputs):
    """Windows that overlap, of several items."""
    x = torch.randn(batch, (rows + blocks) * stride, inputs)
    weight = torch.randn(outputs, blocks * stride, inputs)
    weight = weight / weight[0].numel() ** 0.5
    y = same_work("linear", conv_steps, x, weight, torch.randn(outputs), stride)
    assert y.shape == (batch, rows + 1, outputs)


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
    states = same_work("gru_steps", scan.gru_steps, drive, weight, bias, start)
    assert float(states.abs().max()) <= 1


@given(
    batch=st.integers(1, 3),
    steps=st.integers(1, 9),
    units=st.sampled_from([8, 24]),
    scale=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_diagonal_gru(batch, steps, units, scale):
    gru = DiagonalGRU(units, 5)
    torch.nn.init.normal_(gru.bias_hn)
    x = scale * torch.randn(batch, steps, 5)

    def run(x):
        context = gru.make_streaming_context(len(x))
        parts = [gru.forward_streaming(part, context) for part in (x[:, :1], x)]
        return torch.cat([*parts, context.hidden.unsqueeze(1)], 1)

    same_work("diagonal_gru", run, x)


@pytest.mark.parametrize(
    "kernel, kind", [("encode", SlimmableEncoder), ("decode", SlimmableDecoder)]
)
@given(data=st.data())
def test_blocks(kernel, kind, data):
    """Frames that change their width or keep it, of any number of rows, with
    what one chunk hands to the next, and with a sum or without one."""
    stride, decodes = data.draw(st.integers(1, 4)), kind is SlimmableDecoder
    blocks = 2 if decodes else data.draw(st.integers(1, 2))
    sizes = data.draw(sizes_of_a_block)
    block = kind(*sizes, blocks * stride, stride, (0.1, 0.5, 1.0))
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    batch, rows = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 70))
    steps = rows if decodes else rows * stride
    widths = data.draw(st.lists(st.integers(0, 2), min_size=2, max_size=8))
    level = torch.tensor(widths).repeat(batch, 1)
    level[0] = level[0].flip(0)
    x, skip = torch.randn(2, batch, len(widths), steps, sizes[1]) - 0.2
    beside = decodes and data.draw(st.booleans())

    def run(x, skip):
        context = block.make_streaming_context(batch)
        made = []
        for part in (slice(1), slice(1, None)):
            given = (skip[:, part],) if beside else ()
            chunk = x[:, part], context, level[:, part], *given
            made.append(block.forward_streaming(*chunk))
        return torch.cat(
            [*(y.flatten(1) for y in made), context.past.flatten(1)], 1
        )

    same_work(kernel, run, x, skip)


@given(data=st.data(), batch=st.integers(1, 2), frames=st.integers(1, 140))
def test_chains(data, batch, frames):
    """Blocks take turns, of 64 frames each; a U-Net of them is that of single
    ones, whatever the widths."""
    sizes, stride, widths = (1, 3, 9, 10), 2, (0.2, 0.6, 1.0)
    pairs = list(itertools.pairwise(sizes))
    encoders = [SlimmableEncoder(b, a, 4, stride, widths) for a, b in pairs]
    decoders = [SlimmableDecoder(a, b, 4, stride, widths) for a, b in pairs]
    for parameter in torch.nn.ModuleList([*encoders, *decoders]).parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    level = torch.randint(3, (batch, frames))
    cut = data.draw(st.integers(0, frames))
    x = torch.randn(batch, frames, stride**3, 1)

    def run(x):
        contexts = [
            block.make_streaming_context(batch)
            for block in (*encoders, *decoders[::-1])
        ]
        made = []
        for part in (slice(cut), slice(cut, None)):
            given = level[:, part]
            skips = run_blocks(encoders, x[:, part], contexts[:3], given)
            deep, states = torch.tanh(skips[-1]), contexts[3:]
            skips = [skip.tanh() for skip in skips[::-1]]
            y = run_blocks(decoders[::-1], deep, states, given, skips)[-1]
            made.append(y)
        made += [context.past for context in contexts]
        return torch.cat([y.flatten(1) for y in made], 1)

    same_work("decode", run, x)


@pytest.mark.parametrize("kind", [SlimmableEncoder, SlimmableDecoder])
def test_packed_weights_are_those_of_the_block(kind):
    """They are kept for a stream, until it gets wider or they change."""
    block = kind(8, 8, utilizations=(0.5, 1.0))
    x, level = torch.randn(3, 1, 2, 4, 8), torch.zeros(1, 2, dtype=torch.long)

    def run():
        context = block.make_streaming_context(1)
        seen = [block.forward_streaming(x[0], context, level)]
        kept = context.packed
        seen.append(block.forward_streaming(x[1], context, level))
        assert kept is None or context.packed is kept
        seen.append(block.forward_streaming(x[1], context, level + 1))
        block.second.mul_(-2)
        seen.append(block.forward_streaming(x[2], context, level))
        block.second.mul_(-0.5)
        return torch.cat(seen)

    found = run()
    with mock.patch.object(native.calls, "library", return_value=None):
        torch.testing.assert_close(found, run(), **CLOSE)


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


def test_no_kernel_reads_beyond_an_end():
    encoder, decoder = SlimmableEncoder(8, 2), SlimmableDecoder(2, 8)
    rows, level = torch.randn(1, 4, 8, 8), torch.zeros(1, 4, dtype=torch.long)
    signal, start = rows[..., :2], encoder.make_streaming_context
    encode, decode = encoder.forward_streaming, decoder.forward_streaming
    with pytest.raises(ValueError, match=r"x is \(0, 8\), expected \(0, 2\)"):
        encode(rows, start(1), level)
    with pytest.raises(ValueError, match="past is"):
        encode(signal, start(2), level)
    with pytest.raises(ValueError, match="level is"):
        encode(signal, start(1), level[:, :3])
    with pytest.raises(IndexError, match="levels 4 to 4, expected 0 to 3"):
        encode(signal, start(1), level + 4)
    with pytest.raises(TypeError, match="weights are torch.float64"):
        context = encoder.make_streaming_context(1)
        SlimmableEncoder(8, 2).double().forward_streaming(signal, context)
    with pytest.raises(TypeError, match="on meta, expected"):
        native.pack(None, torch.empty(1, 2, 3, device="meta"))
    with pytest.raises(IndexError, match="-1"):
        encode(signal, start(1), level - 1)
    with pytest.raises(ValueError, match="x is"):
        decode(signal, decoder.make_streaming_context(1), level)
    with pytest.raises(ValueError, match="skip is"):
        context = decoder.make_streaming_context(1)
        decode(rows, context, level, skip=rows[:, :3])
    with pytest.raises(ValueError, match="past is"):
        decode(rows, decoder.make_streaming_context(2), level)
    with pytest.raises(ValueError, match="x is"):
        conv_steps(rows[0], torch.zeros(3, 4, 2), None, 2)
    with pytest.raises(ValueError, match="start is"):
        gru = DiagonalGRU(8, 8)
        gru.forward_streaming(rows[0], gru.make_streaming_context(3))
    with pytest.raises(ValueError, match="start is"):
        drive, weight = torch.zeros(2, 1, 24, 1), torch.zeros(1, 24, 8)
        state = torch.zeros(1, 8, 2)
        native.gru_steps(drive, weight, torch.zeros(1, 24), state)


def test_what_they_do_not_know_is_left_to_torch():
    x, weight = torch.randn(300, 4), torch.randn(8, 4)
    fits = native.fits(x, 300, 16)
    assert fits
    assert not native.fits(x.double(), 300, 16)
    assert not native.fits(x.to("meta"), 300, 16)
    assert not native.fits(x, 300, 16, 2**20)
    with FakeTensorMode() as fakes:  # says that it is on a CPU
        assert not native.fits(fakes.from_tensor(x), 300, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert not native.fits(x, 300, 16)
    with torch.enable_grad():
        assert not native.fits(x, 300, 16)
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
