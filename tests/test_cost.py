"""Costs add up, and only frames that exist count."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.cost import (
    CostReport,
    Decision,
    MacCount,
    MacMeter,
    macs_per_second,
    total,
)
from speechbrain_dsn.testing import count_macs

counts = st.builds(
    MacCount,
    st.integers(0, 10**7),
    st.lists(st.integers(0, 10**7), max_size=3).map(tuple),
)
gates = st.lists(st.floats(0, 1), min_size=3, max_size=3)


@given(a=counts, b=counts, gate=gates, times=st.integers(0, 50))
def test_costs_are_linear(a, b, gate, times):
    def at(cost):
        return cost.at(gate[: len(cost.gated)])

    assert at(a + b) == pytest.approx(at(a) + at(b))
    assert at(a * times) == at(times * a) == pytest.approx(times * at(a))
    assert a + b == b + a and total([a, b, a]) == a * 2 + b
    assert a.closed <= at(a) <= a.open + 1e-6 * a.open
    assert at(MacCount(5)) == 5 == total([MacCount(5)]).open


@pytest.mark.parametrize("bad", [(-1, ()), (1.5, ()), (1, (2, -2))])
def test_macs_are_natural_numbers(bad):
    with pytest.raises(ValueError, match="MACs are integers"):
        MacCount(*bad)


def test_a_cost_wants_a_value_per_gate():
    with pytest.raises(ValueError, match="expected 2 gates, got 1"):
        MacCount(1, (2, 3)).at([1.0])


def decision(seed, batch=3, time=8, gates=2, **options):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, time, gates, generator=generator)
    lengths = torch.randint(0, time + 1, (batch,), generator=generator)
    return Decision(values, 50.0, lengths, **options)


@given(seed=st.integers(0, 99))
def test_frames_beyond_the_length_never_count(seed):
    short = decision(seed)
    padded = short.values + 1e6 * (1 - short.mask())
    other = Decision(padded, 50.0, short.lengths)
    torch.testing.assert_close(other.usage(), short.usage())
    cost, meters = MacCount(10, (3, 5)), []
    for one in (short, other):
        meters.append(MacMeter(cost))
        meters[-1].update(one)
    assert meters[0].usage == pytest.approx(meters[1].usage)
    assert meters[0].per_item == [pytest.approx(i) for i in meters[1].per_item]
    for item, length in enumerate(short.lengths.tolist()):
        mean = short.values[item, :length].sum(0) / max(length, 1)
        torch.testing.assert_close(short.usage()[item], mean)


def test_all_frames_count_without_lengths():
    values = torch.rand(2, 4, 1)
    every = Decision(values, 50.0, torch.tensor([4, 4]))
    torch.testing.assert_close(Decision(values, 50.0).usage(), every.usage())


@given(seed=st.integers(0, 99))
def test_the_order_in_a_batch_does_not_matter(seed):
    one = decision(seed)
    order = torch.randperm(3)
    other = Decision(one.values[order], 50.0, one.lengths[order])
    cost = MacCount(10, (3, 5))
    torch.testing.assert_close(other.usage(), one.usage()[order])
    torch.testing.assert_close(
        macs_per_second(other, cost), macs_per_second(one, cost)[order]
    )
    meters = [MacMeter(cost), MacMeter(cost)]
    for meter, batch in zip(meters, (one, other), strict=True):
        meter.update(batch)
    assert meters[0].macs_per_second == pytest.approx(meters[1].macs_per_second)


@given(seed=st.integers(0, 99))
def test_a_meter_adds_batches_frame_by_frame(seed):
    first, second = decision(seed), decision(seed + 1)
    cost = MacCount(10, (3, 5))
    apart, joined = MacMeter(cost), MacMeter(cost)
    apart.update(first)
    apart.update(second)
    joined.update(
        Decision(
            torch.cat([first.values, second.values]),
            50.0,
            torch.cat([first.lengths, second.lengths]),
        )
    )
    assert apart.usage == pytest.approx(joined.usage)
    assert apart.per_item == [pytest.approx(i) for i in joined.per_item]
    assert apart.macs_per_second == pytest.approx(joined.macs_per_second)
    # By hand: every valid frame costs 10 + 3 g0 + 5 g1 and lasts 1/50 s.
    macs = frames = 0.0
    for batch in (first, second):
        for item, length in enumerate(batch.lengths.tolist()):
            valid = batch.values[item, :length].double()
            macs += 10 * length + float(
                (valid @ torch.tensor([3.0, 5]).double()).sum()
            )
            frames += length
    expected = 50 * macs / frames if frames else 0.0
    assert apart.macs_per_second == pytest.approx(expected)
    apart.reset()
    assert apart.macs_per_second == 0 and apart.per_item == []


def test_a_static_network_costs_what_it_costs():
    meter = MacMeter(MacCount(10))
    meter.update(Decision(torch.rand(2, 5, 1), 50.0))
    assert meter.macs_per_second == 500


def test_usage_is_differentiable():
    values = torch.rand(2, 4, 1, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([2, 4])
    assert torch.autograd.gradcheck(
        lambda v: macs_per_second(
            Decision(v, 50.0, lengths), MacCount(10, (3,))
        ),
        values,
    )


def test_hard_decisions_count_executed_branches():
    soft = Decision(torch.tensor([[[0.2], [0.5], [0.7]]]), 50.0)
    assert soft.hard().values.flatten().tolist() == [0, 0, 1]
    assert soft.hard().lengths is soft.lengths


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match=r"is \[B, T, K\], got \(2, 3\)"):
        Decision(torch.ones(2, 3), 50.0)
    two = Decision(torch.ones(1, 3, 2), 50.0)
    with pytest.raises(ValueError, match="cost has 1 gates, the decision 2"):
        macs_per_second(two, MacCount(1, (2,)))


def test_a_report_adds_up():
    layers = {
        "a": MacCount(100, (50,)),
        "b": MacCount(10),
        "c": MacCount(0, (6,)),
    }
    report = CostReport(layers, 100.0)
    assert report.cost == MacCount(110, (56,))
    assert report.macs_per_second(0.5) == 100 * (110 + 28)
    *rows, last = report.table([0.5]).splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["a", "b", "c"]
    shares = [float(row.split()[2].rstrip("%")) for row in rows]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert last.split()[2] == "100.0%"


def test_counted_macs_are_those_of_pencil_and_paper():
    """The operators that hide from torch's counter by default included."""
    attention = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    x = torch.randn(1, 10, 16)
    projections, products = 4 * 10 * 16 * 16, 2 * 10 * 10 * 16
    assert count_macs(attention, x, x, x) == projections + products
    lstm = torch.nn.LSTM(8, 16)
    steps = 10 * 4 * 16 * (8 + 16)
    assert count_macs(lstm, torch.randn(10, 1, 8)) == steps
    assert torch.backends.mkldnn.enabled  # the settings are back
    assert torch.backends.mha.get_fastpath_enabled()
