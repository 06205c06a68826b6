"""Integer GRUs: what trains, what runs and the C kernel are the same."""

import functools
import tempfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.dgru import DGRU
from speechbrain_dsn.nnet.fixed_point import EXACT, Quantiser, Rescale
from speechbrain_dsn.nnet.gru_scheme import (
    OPERATORS,
    make_scheme,
    uniform_widths,
)
from speechbrain_dsn.nnet.quantized import QuantizedGRU, calibrate
from speechbrain_dsn.nnet.time_gru import TimeGRU
from speechbrain_dsn.quantization.gru import IntegerGRU
from speechbrain_dsn.quantization.kernel import Kernel, compile_kernel
from speechbrain_dsn.quantization.packing import pack, scheme_bytes, unpack

BITS = st.integers(2, 16)


@functools.cache
def library():
    """The kernel, compiled once."""
    try:
        return compile_kernel(tempfile.mkdtemp())
    except InputError as error:
        if "no C compiler" in str(error):
            pytest.skip(str(error))
        raise


def grouped(groups, inputs, units):
    """A GRU of several groups, with weights that saturate its gates."""
    gru = TimeGRU(groups * units, groups * inputs, groups)
    with torch.no_grad():
        for weight in gru.parameters():
            weight.mul_(torch.rand(()) * 6)
    return gru


def quantized(gru, x, widths):
    return QuantizedGRU(gru, calibrate(gru, [x]), widths)


@st.composite
def cases(draw):
    """Sizes, a width for every operator, and a seed."""
    sizes = [draw(st.integers(1, n)) for n in (3, 9, 7)]
    widths = {name: draw(BITS) for name in OPERATORS}
    length, batch = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    return sizes, widths, length, batch, draw(st.integers(0, 999))


@given(cases())
def test_fake_integer_and_c_agree_bit_for_bit(case):
    (groups, inputs, units), widths, length, batch, seed = case
    torch.manual_seed(seed)
    gru = grouped(groups, inputs, units)
    shape = (batch, length, groups * inputs)
    fake = quantized(gru, 3 * torch.randn(batch, 9, shape[2]), widths)
    x = 5 * torch.randn(shape)  # beyond what was seen: clipped in all of them
    integer = IntegerGRU.of(fake)
    codes = integer.encode(x.numpy())
    assert (fake.scheme.quantisers["input"].encode(x).numpy() == codes).all()
    expected = integer.run(codes)
    learning = fake.run(torch.from_numpy(codes).double())
    with torch.no_grad():
        running = fake.run(torch.from_numpy(codes).double())
    for found in (learning.detach(), running):
        assert (found.numpy() == expected).all()
    assert (fake(x.double()).detach().numpy() == integer.decode(expected)).all()
    kernel = Kernel(library(), integer)
    for own, wanted in zip(codes, expected, strict=True):
        assert (kernel.run(own) == wanted).all()


@given(bits=st.sampled_from([2, 8, 16]), seed=st.integers(0, 99))
def test_wide_layers_stay_exact(bits, seed):
    """Sums of many large codes, in float64 as in int64 and C."""
    torch.manual_seed(seed)
    gru, x = nn.GRU(600, 3, batch_first=True), torch.ones(1, 3, 600)
    x[:, 1] *= -1
    with torch.no_grad():
        gru.weight_ih_l0.copy_(gru.weight_ih_l0.sign())
    fake = quantized(gru, x, uniform_widths(bits))
    integer = IntegerGRU.of(fake)
    codes = integer.encode(x.numpy())
    expected = integer.run(codes)
    found = fake.run(torch.from_numpy(codes).double()).detach()
    assert (found.numpy() == expected).all()
    assert (Kernel(library(), integer).run(codes[0]) == expected[0]).all()


@given(
    operands=st.lists(
        st.tuples(
            st.floats(1e-12, 1e12), st.integers(1, 1 << 40), st.floats(-1, 1)
        ),
        min_size=1,
        max_size=2,
    ),
    bits=BITS,
    scale=st.floats(1e-9, 1e9),
)
def test_rescale_is_exact_and_close(operands, bits, scale):
    target = Quantiser.affine(bits, -scale, scale)
    rescale = Rescale.to(target, *((s, bound) for s, bound, _ in operands))
    values = [int(share * bound) for _, bound, share in operands]
    products = [
        abs(m * bound)
        for m, (_, bound, _) in zip(rescale.multipliers, operands, strict=True)
    ]
    assert sum(products) <= EXACT
    pairs = zip(rescale.factors, values, strict=True)
    real = np.floor(sum(f * float(v) for f, v in pairs) + 0.5)
    assert rescale.apply(*values) == np.clip(real, target.low, target.high)
    if len(values) == 1:  # nothing to cancel: as near as the multiplier is
        wanted = operands[0][0] * values[0] / target.scale
        slack = 0.51 + abs(wanted) * 2.0**-10
        found, low, high = rescale.apply(*values), target.low, target.high
        if operands[0][1] < 1 << 36 and wanted < 1 << 20:
            assert abs(found - np.clip(wanted, low, high)) <= slack


@given(bits=BITS, low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6))
def test_zero_is_exact_and_the_range_is_covered(bits, low, high):
    low, high = sorted((low, high))
    q = Quantiser.affine(bits, low, high)
    assert q.low <= 0 <= q.high and q.high - q.low == 2**bits - 1
    ends = torch.tensor([low, 0.0, high], dtype=torch.float64)
    again = q.decode(q.encode(ends))
    assert again[1] == 0
    assert ((again - ends).abs() <= 1.001 * q.scale).all()


@given(bits=BITS, codes=st.lists(st.integers(0, 65535), max_size=40))
def test_packing_loses_nothing_and_has_no_gaps(bits, codes):
    codes = np.array(codes, dtype=np.int64) % (1 << bits)
    data = pack(codes, bits)
    assert len(data) == -(-len(codes) * bits // 8)
    assert (unpack(data, bits, len(codes)) == codes).all()


def test_size_is_that_of_the_packed_arrays():
    torch.manual_seed(0)
    widths = {name: 2 + k % 15 for k, name in enumerate(OPERATORS)}
    gru = grouped(2, 3, 5)
    integer = IntegerGRU.of(quantized(gru, torch.randn(2, 9, 6), widths))
    sizes = scheme_bytes(integer.scheme)
    packed = {n: len(pack(*each)) for n, each in integer.unsigned().items()}

    def total(kind):
        return sum(size for name, size in packed.items() if kind in name)

    assert sizes["weights"] == total("weight")
    assert sizes["biases"] == total("bias")
    assert sizes["tables"] == total("table")
    assert sizes.pop("total") == sum(sizes.values())


def test_error_falls_with_the_bits():
    errors = {bits: [] for bits in (2, 4, 6, 8, 12, 16)}
    for seed in range(5):
        torch.manual_seed(seed)
        gru, x = nn.GRU(6, 8, batch_first=True), torch.randn(3, 20, 6)
        ranges = calibrate(gru, [x])
        for bits, found in errors.items():
            small = QuantizedGRU(gru, ranges, uniform_widths(bits))
            with torch.no_grad():
                found.append((small(x) - gru(x)[0]).square().mean().item())
    means = [np.mean(found) for found in errors.values()]
    assert means == sorted(means, reverse=True)
    assert means[-1] < 1e-8 < 1e-3 < means[0]


@pytest.mark.parametrize("make", [nn.GRU, DGRU, TimeGRU])
def test_every_kind_of_gru_keeps_its_function(make):
    x = torch.randn(2, 15, 6)
    if make is TimeGRU:
        gru = TimeGRU(8, 6, groups=2)
        expected = gru(x.unsqueeze(2)).squeeze(2)
    else:
        options = {"update_ratio": 1.0} if make is DGRU else {}
        gru = make(hidden_size=8, input_size=6, **options)
        if make is nn.GRU:
            gru.batch_first = True
        expected = gru(x)[0]
    found = quantized(gru, x, uniform_widths(14))(x)
    assert (found - expected).abs().max() < 2e-3


def test_closed_steps_keep_the_state():
    gru, x = nn.GRU(4, 8, batch_first=True), torch.randn(2, 9, 4)
    small = quantized(gru, x, uniform_widths(7))
    is_open = torch.ones(2, 9, dtype=torch.bool)
    is_open[:, 3:6] = False
    y = small(x, is_open)
    assert (y[:, 3:6] == y[:, 2:3]).all()
    rest = torch.cat([x[:, :3], x[:, 6:]], 1)
    assert (small(rest)[:, 3:] == y[:, 6:]).all()


def test_training_on_integers_learns():
    """Gradients reach every weight and the input, and lower the error that
    few bits made."""
    torch.manual_seed(0)
    gru, x = nn.GRU(4, 8, batch_first=True), torch.randn(8, 12, 4)
    wanted = gru(x)[0].detach()
    small = quantized(gru, x, uniform_widths(4))
    x.requires_grad_()
    optimiser = torch.optim.Adam(small.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = (small(x) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    for tensor in (x, *small.parameters()):
        assert tensor.grad.isfinite().all() and tensor.grad.abs().max() > 0
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    # After training too, it is the integer GRU.
    integer = IntegerGRU.of(small)
    codes = integer.encode(x.detach().numpy())
    found = small.run(torch.from_numpy(codes).double()).detach()
    assert (found.numpy() == integer.run(codes)).all()


def test_gradients_are_those_of_the_gru_where_bits_abound():
    torch.manual_seed(0)
    gru, x = nn.GRU(4, 6, batch_first=True).double(), torch.randn(3, 7, 4)
    x = x.double().requires_grad_()
    # Ranges with room: at its bounds a number has no gradient.
    small = quantized(gru, torch.cat([2 * x, x]).detach(), uniform_widths(16))
    weights = torch.randn(3, 7, 6, dtype=torch.float64)
    (small(x) * weights).sum().backward()
    found, x.grad = x.grad, None
    (gru(x)[0] * weights).sum().backward()
    assert (found - x.grad).abs().max() < 0.02 * x.grad.abs().max()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "calibration data is empty"),
        ([torch.zeros(0, 5, 4)], "calibration data is empty"),
        ([torch.zeros(2, 5, 4)], r"constant \(0\)"),
        ([torch.full((2, 5, 4), 3.5)], r"constant \(3.5\)"),
        ([torch.full((1, 1, 4), float("nan"))], "NaN or Inf"),
        ([torch.full((1, 1, 4), float("inf"))], "NaN or Inf"),
        ([torch.zeros(2, 5, 3)], r"\[2, 5, 3\], expected \[N, T, 4\]"),
    ],
)
def test_bad_calibration_data_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        calibrate(nn.GRU(4, 8), data)


@pytest.mark.parametrize("bits", [1, 0, -3, 17, 7.5, "8", None, True])
def test_impossible_widths_are_refused(bits):
    gru, x = nn.GRU(4, 8), torch.randn(2, 5, 4)
    widths = uniform_widths(8) | {"sum_n": bits}
    with pytest.raises(InputError, match="width of sum_n is .*from 2 to 16"):
        quantized(gru, x, widths)


def test_other_bad_input_is_refused():
    gru, x = nn.GRU(4, 8), torch.randn(2, 5, 4)
    ranges = calibrate(gru, [x])
    few = {name: 8 for name in OPERATORS if name != "state"}
    with pytest.raises(InputError, match="no width for operator state"):
        make_scheme(1, 4, 8, ranges, few)
    with pytest.raises(InputError, match="unknown operator sum"):
        make_scheme(1, 4, 8, ranges, uniform_widths(8) | {"sum": 8})
    del ranges["sum_r"]
    with pytest.raises(InputError, match="range of sum_r"):
        make_scheme(1, 4, 8, ranges, uniform_widths(8))
    for module, message in (
        (nn.GRU(4, 8, 2), "2 layers"),
        (nn.GRU(4, 8, bidirectional=True), "2 directions"),
        (nn.LSTM(4, 8), "LSTM cannot"),
        (DGRU(8, input_size=4), "updates 0.25"),
    ):
        with pytest.raises(InputError, match=message):
            calibrate(module, [x])
    with torch.no_grad():
        gru.weight_hh_l0[0, 0] = float("nan")
    with pytest.raises(InputError, match="weight of hr holds NaN"):
        calibrate(gru, [x])
    small = IntegerGRU.of(quantized(nn.GRU(4, 8), x, uniform_widths(8)))
    with pytest.raises(InputError, match="input holds NaN"):
        small.encode(np.full((1, 1, 4), np.nan))


def test_nan_has_no_integer():
    gru = nn.GRU(4, 8)
    net = quantized(gru, torch.randn(2, 5, 4), uniform_widths(8))
    with pytest.raises(ValueError, match="found NaN in the input"):
        net(torch.full((1, 3, 4), float("nan")))


def test_a_missing_compiler_is_named(tmp_path):
    with pytest.raises(InputError, match="no C compiler 'no-such-cc'"):
        compile_kernel(tmp_path, "no-such-cc")
