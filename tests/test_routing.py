"""Choices among widths: sampled, priced, calibrated, fixed, and enhanced by."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.cost import (
    Decision,
    MacCount,
    MacMeter,
    activation,
    gates_at,
)
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import (
    Calibration,
    decided,
    random_gate,
    sample_choice,
    sample_gate,
)
from speechbrain_dsn.inference.blocks import AlignedStream
from speechbrain_dsn.inference.enhancement import DynamicEnhancement
from speechbrain_dsn.inference.profiling import fixed_gates, profile_model
from speechbrain_dsn.losses import RoutingPrice, load_balance
from speechbrain_dsn.losses.routing import batch_balance
from speechbrain_dsn.pretrained import (
    LoadedModel,
    ModelConfig,
    load_model,
    make_card,
    save_model,
)

LEVELS = (0.125, 0.25, 0.5, 1.0)
COST = MacCount(1000, (125, 250, 500, 1000), one_hot=True)
TINY = {"hidden": 8, "depth": 3, "taps": 16, "groups": 2}
TINY |= {"router_channels": 8, "router_kernel": 16, "router_stride": 8}


def logits(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, len(LEVELS), generator=generator)


# -- cost ---------------------------------------------------------------------


@given(seed=st.integers(0, 99))
def test_a_choice_costs_what_its_width_costs(seed):
    chosen = logits(seed, 2, 5).argmax(-1)
    values = torch.nn.functional.one_hot(chosen, 4).float()
    meter = MacMeter(COST)
    meter.update(Decision(values, 50.0))
    mean = torch.tensor(LEVELS)[chosen].mean(1)
    torch.testing.assert_close(activation(Decision(values, 50.0), COST), mean)
    assert meter.activation == pytest.approx(float(mean.mean()))
    assert meter.macs_per_second == pytest.approx(
        50 * COST.at_activation(float(mean.mean()))
    )
    assert [COST.of_level(k) for k in range(4)] == [1125, 1250, 1500, 2000]
    assert (COST.closed, COST.open) == (1125, 2000)


def test_a_choice_and_gates_do_not_add_up():
    both = COST + MacCount(5) * 2
    assert both.one_hot and both.fixed == 1010
    with pytest.raises(ValueError, match="do not add up"):
        COST + MacCount(1, (2,))
    with pytest.raises(ValueError, match="ascending"):
        _ = MacCount(1, (2, 1), one_hot=True).levels


def test_gates_at_is_the_nearest_level():
    wanted = torch.tensor([[0.0, 0.13, 0.3, 0.9]])
    gates = gates_at(COST, wanted)
    assert gates.argmax(-1).tolist() == [[0, 0, 1, 3]]
    assert gates_at(MacCount(1, (2,)), wanted) is wanted


@given(mean=st.floats(0.125, 1))
def test_fixed_gates_have_the_mean(mean):
    gates = fixed_gates(1600, mean, LEVELS)
    assert float(gates.mean()) == pytest.approx(mean, abs=0.5 / 16)
    assert set(gates.unique().tolist()) <= set(LEVELS)


GROUPED = MacCount(100, (10, 20, 40, 30, 60, 120), one_hot=True, groups=2)


def test_layers_choose_for_themselves():
    """Each choice has its own widths; levels are those of all alike."""
    assert [GROUPED.of_level(k) for k in range(3)] == [140, 180, 260]
    assert (GROUPED.closed, GROUPED.open) == (140, 260)
    assert GROUPED.levels == (0.25, 0.5, 1.0)
    assert GROUPED.at([1, 0, 0, 0, 0, 1]) == 230
    assert GROUPED.at_activation(GROUPED.levels[1]) == GROUPED.of_level(1)
    two = MacCount(0, (1, 2, 0, 0), one_hot=True, groups=2)
    both = two + MacCount(7) + MacCount(0, (0, 0, 3, 4), True, 2)
    assert (both.closed, both.open, both.groups) == (11, 13, 2)
    assert (both * 2).open == 26 and (2 * both).groups == 2


def test_groups_are_checked():
    with pytest.raises(ValueError, match="do not add up"):
        GROUPED + COST
    with pytest.raises(ValueError, match="ascending order"):
        _ = MacCount(0, (1, 2, 2, 1), one_hot=True, groups=2).levels
    with pytest.raises(ValueError, match="2 choices .* got 3 gates"):
        MacCount(0, (1, 2, 3), one_hot=True, groups=2)
    with pytest.raises(ValueError, match="only choices among widths"):
        MacCount(0, (1, 2), groups=2)


@given(seed=st.integers(0, 99))
def test_a_meter_adds_up_what_layers_choose(seed):
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(3, (2, 5, 2), generator=generator)
    values = torch.nn.functional.one_hot(chosen, 3).flatten(2).float()
    meter = MacMeter(GROUPED)
    meter.update(Decision(values, 50.0))
    paid = [GROUPED.at(row) for row in values.flatten(0, 1).tolist()]
    assert meter.macs_per_second == pytest.approx(50 * sum(paid) / len(paid))
    assert meter.activation == pytest.approx(
        (sum(paid) / len(paid) - 100) / 160, abs=1e-6
    )
    counts = torch.bincount(chosen.flatten(), minlength=3) / chosen.numel()
    assert meter.widths == pytest.approx(counts.tolist())


@given(seed=st.integers(0, 99), bias=st.floats(-5, 5))
def test_layers_decide_as_if_alone(seed, bias):
    generator = torch.Generator().manual_seed(seed)
    said = torch.randn(2, 5, 6, generator=generator)
    knob = torch.full((2, 5), bias)
    for each in (bias, knob):
        gates = decided(said, GROUPED, each)
        for part in (slice(0, 3), slice(3, 6)):
            alone = sample_choice(
                said[..., part], GROUPED.levels, False, bias=each
            )
            assert torch.equal(gates[..., part], alone)


def test_gates_at_are_those_of_all_layers():
    gates = gates_at(GROUPED, torch.tensor([[0.0, 0.6]]))
    assert gates.tolist() == [[[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0]]]


def test_balance_is_of_each_layer():
    """Two layers that always take another width are not balanced."""
    values = torch.tensor([1.0, 0, 0, 0, 0, 1.0]).expand(1, 4, 6)
    decision = Decision(values, 20.0)
    assert batch_balance(decision, GROUPED).item() == pytest.approx(1, abs=1e-4)
    even = Decision(torch.full((1, 4, 6), 1 / 3), 20.0)
    assert batch_balance(even, GROUPED).item() == pytest.approx(0, abs=1e-4)
    price = RoutingPrice(efficiency=0.0, balance=0.5)
    paid = price(decision, GROUPED, torch.tensor([0.5]))
    assert paid.item() == pytest.approx(0.5, abs=1e-4)


# -- sampling -----------------------------------------------------------------


@given(seed=st.integers(0, 99), bias=st.floats(-5, 5))
def test_an_on_off_gate_is_a_choice_between_0_and_1(seed, bias):
    one = logits(seed, 50)[..., :1]
    two = torch.cat([torch.zeros_like(one), one], -1)
    choice = sample_choice(two, (0.0, 1.0), False, bias=bias)
    gate = sample_gate(one, False, bias=bias)
    assert torch.equal(choice[..., 1:], gate)


@given(seed=st.integers(0, 99))
def test_the_knob_moves_every_frame_one_way(seed):
    frames, before = logits(seed, 40), torch.zeros(40)
    for bias in (-1e9, -3.0, -0.5, 0.0, 0.5, 3.0, 1e9):
        choice = sample_choice(frames, LEVELS, False, bias=bias)
        assert torch.equal(choice.sum(-1), torch.ones(40))
        level = choice @ torch.tensor(LEVELS)
        assert bool((level >= before).all())
        before = level
    assert bool((before == 1).all())
    each = sample_choice(frames, LEVELS, False, bias=torch.full((40,), 0.5))
    assert torch.equal(each, decided(frames, COST, 0.5))


@pytest.mark.parametrize("bias", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 5.0])
@pytest.mark.parametrize("straight_through", [True, False])
def test_gumbel_draws_follow_the_softmax(bias, temperature, straight_through):
    """Chi-square of 40,000 draws; the temperature moves no frequency."""
    torch.manual_seed(0)
    one = torch.tensor([0.5, -0.5, 1.0, 0.0])
    drawn = sample_choice(
        one.expand(40_000, 4),
        LEVELS,
        True,
        temperature,
        straight_through=straight_through,
        bias=bias,
    )
    found = torch.bincount(drawn.argmax(-1), minlength=4)
    odds = one + bias * torch.tensor(LEVELS)
    expected = 40_000 * torch.softmax(odds, 0)
    distance = ((found - expected).square() / expected).sum()
    assert distance < 16.27  # 3 degrees of freedom, p = 0.001


@given(seed=st.integers(0, 99), bias=st.floats(-5, 5))
def test_low_temperature_is_the_largest_logit(seed, bias):
    frames = logits(seed, 50)
    hard = sample_choice(frames, LEVELS, False, bias=bias)
    for noise in (0.0, 1.0):
        torch.manual_seed(seed)
        soft = sample_choice(
            frames, LEVELS, True, 1e-6, noise, straight_through=False, bias=bias
        )
        torch.manual_seed(seed)
        same = sample_choice(frames, LEVELS, True, 9.0, noise, bias=bias)
        torch.testing.assert_close(soft, same if noise else hard)
    quiet = sample_choice(frames, LEVELS, True, 9.0, 0.0, bias=bias)
    assert torch.equal(quiet, hard)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16]
)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("straight_through", [True, False])
def test_extreme_logits_stay_choices(dtype, training, straight_through):
    one = torch.tensor([-1e4, 1e4, 0.0, -50.0]).to(dtype)
    frames = torch.stack([one, -one, 0 * one, one.flip(0)]).repeat(500, 1, 1)
    frames.requires_grad_()
    choice = sample_choice(
        frames, LEVELS, training, 0.1, straight_through=straight_through
    )
    assert choice.dtype == torch.float32
    torch.testing.assert_close(choice.sum(-1), torch.ones(500, 4))
    assert bool(((choice >= 0) & (choice <= 1)).all())
    assert bool((choice[:, 0, 1] == 1).all() and (choice[:, 1, 0] == 1).all())
    if training:
        (choice @ torch.tensor(LEVELS)).sum().backward()
        assert bool(frames.grad.isfinite().all())
        assert bool((frames.grad[:, 2] != 0).any())


def test_choices_follow_the_seed():
    frames, draws = logits(0, 200), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(sample_choice(frames, LEVELS, True))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_without_noise_the_largest_logit_is_taken():
    one = torch.tensor([0.5, -0.5, 1.0, 0.0])
    quiet = sample_choice(one, LEVELS, True, noise=0.0)
    assert quiet.tolist() == [0, 0, 1, 0]


def test_straight_through_has_the_gradient_of_the_soft_choice():
    values = []
    for straight in (True, False):
        one = logits(3, 7).requires_grad_()
        torch.manual_seed(0)
        choice = sample_choice(one, LEVELS, True, straight_through=straight)
        hard = ((choice == 0) | (choice == 1)).all()
        assert bool(hard) == straight
        (choice * torch.arange(4)).sum().backward()
        values.append(one.grad)
    assert values[0].abs().sum() > 0
    torch.testing.assert_close(*values)


def test_random_gates_visit_every_level_and_keep_some():
    generator = torch.Generator().manual_seed(0)
    gate = random_gate(2000, 60, generator, levels=LEVELS)
    assert gate.unique().tolist() == list(LEVELS)
    still = (gate == gate[:, :1]).all(1)
    for level in LEVELS[1:-1]:
        kept = still & (gate[:, 0] == level)
        assert 0.02 < float(kept.float().mean()) < 0.1
    for level in (LEVELS[0], LEVELS[-1]):
        kept = still & (gate[:, 0] == level)
        assert 0.2 < float(kept.float().mean()) < 0.4


# -- calibration --------------------------------------------------------------


@given(seed=st.integers(0, 99), scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_a_budget_is_the_mean_activation(seed, scale):
    frames = scale * logits(seed, 4000)
    table = Calibration.from_logits(frames.numpy(), levels=LEVELS)
    for budget in (0.125, 0.2, 0.37, 0.5, 0.75, 0.95):
        choice = sample_choice(frames, LEVELS, False, bias=table.bias(budget))
        mean = float((choice @ torch.tensor(LEVELS)).mean())
        assert mean == pytest.approx(budget, abs=0.01)
    for budget, level in ((0.0, LEVELS[0]), (1.0, LEVELS[-1])):
        choice = sample_choice(frames, LEVELS, False, bias=table.bias(budget))
        assert bool((choice @ torch.tensor(LEVELS) == level).all())


def test_two_levels_calibrate_like_a_gate():
    one = np.random.default_rng(0).normal(size=5000)
    two = np.stack([np.zeros_like(one), one], 1)
    gate, choice = (
        Calibration.from_logits(one),
        Calibration.from_logits(two, levels=(0.0, 1.0)),
    )
    for budget in (0.1, 0.5, 0.9):
        assert choice.bias(budget) == pytest.approx(gate.bias(budget), abs=0.01)


# -- price --------------------------------------------------------------------


def test_balance_is_0_for_even_use_and_1_for_one_width():
    even, one = torch.full((4,), 0.25), torch.tensor([0.0, 1.0, 0.0, 0.0])
    assert float(load_balance(even)) == pytest.approx(0, abs=1e-6)
    assert float(load_balance(one)) == pytest.approx(1, abs=1e-3)


@given(seed=st.integers(0, 99))
def test_the_price_is_of_the_batch_and_of_valid_frames(seed):
    values = torch.softmax(logits(seed, 3, 6), -1)
    lengths = torch.tensor([6, 2, 4])
    target = torch.full((3,), 0.25)
    price = RoutingPrice(1.0, 0.1)
    whole = price(Decision(values, 50.0, lengths), COST, target)
    order = torch.tensor([2, 0, 1])
    other = Decision(values[order], 50.0, lengths[order])
    torch.testing.assert_close(price(other, COST, target), whole)
    padded = values.clone()
    padded[1, 2:] = torch.tensor([0.0, 0, 0, 1])
    again = price(Decision(padded, 50.0, lengths), COST, target)
    torch.testing.assert_close(again, whole)
    valid = torch.cat([values[i, :n] for i, n in enumerate(lengths)])
    used = float((valid @ torch.tensor(LEVELS)).mean())
    expected = (used - 0.25) ** 2 + 0.1 * float(load_balance(valid.mean(0)))
    assert float(whole) == pytest.approx(expected, abs=1e-5)


def test_the_price_pulls_from_both_sides():
    for start, sign in ((0, -1), (3, 1)):
        one = torch.zeros(1, 50, 4)
        one[..., start] = 2
        one.requires_grad_()
        values = torch.softmax(one, -1)
        price = RoutingPrice(balance=0.0)
        price(Decision(values, 50.0), COST, torch.tensor([0.5])).backward()
        assert bool((sign * one.grad[..., 3] > 0).all())


# -- enhancer and model folder --------------------------------------------------


def tiny_model(**changes):
    torch.manual_seed(1)
    config = ModelConfig(
        "tiny", "slim_demucs", TINY | changes, front_end="waveform"
    )
    enhancer = config.build()
    torch.nn.init.normal_(enhancer.lobe.policy.head.weight, std=2.0)
    with torch.no_grad():
        _, decision = enhancer(noise(1, 16000))
    cost = enhancer.report().cost
    rows = decision.logits.flatten(0, 1).numpy()
    table = Calibration.from_logits(rows, levels=cost.levels)
    config = dataclasses.replace(config, calibration=table, default_budget=0.5)
    return LoadedModel(enhancer, config)


def noise(batch, samples):
    level = torch.rand(batch, samples // 100 + 1).repeat_interleave(100, 1)
    return level[:, :samples] * torch.randn(batch, samples)


@torch.no_grad()
@given(seed=st.integers(0, 99), samples=st.integers(1, 900))
def test_a_stream_gives_what_the_whole_signal_gives(seed, samples):
    torch.manual_seed(seed)
    model, wav = tiny_model(), noise(2, samples)
    stream = AlignedStream(model.enhancer, 2, {"bias": 0.3})
    parts, start = [], 0
    while start < samples:
        stop = start + int(torch.randint(0, 200, ()))
        parts.append(stream.push(wav[:, start:stop]))
        start = stop
    whole, decision = model.enhancer(wav, bias=0.3)
    streamed = torch.cat([*parts, stream.flush()], 1)
    torch.testing.assert_close(streamed, whole, atol=1e-5, rtol=1e-4)
    assert torch.equal(stream.decision().values, decision.values)
    assert whole.shape == wav.shape


@torch.no_grad()
def test_padding_changes_nothing():
    model, wav = tiny_model(), noise(2, 700)
    wav[1, 400:] = 0
    lengths = torch.tensor([700, 400])
    both, decision = model.enhancer(wav, lengths)
    alone, single = model.enhancer(wav[1:, :400])
    torch.testing.assert_close(both[1:, :400], alone)
    assert decision.lengths.tolist() == [model.enhancer.frames(700), 26]
    torch.testing.assert_close(decision.usage()[1:], single.usage())


def test_a_budget_moves_the_router(tmp_path):
    model, wav = tiny_model(), noise(1, 16000)
    folder = save_model(
        tmp_path / "tiny",
        model.enhancer,
        model.config,
        make_card(model.config, model.enhancer),
    )
    assert "by 4 widths" in (folder / "README.md").read_text("utf-8")
    enhancement = DynamicEnhancement(load_model(folder))
    cost, used = model.enhancer.report().cost, []
    for budget in (0.0, 0.3, 0.6, 1.0):
        _, decision = enhancement.enhance_batch(
            wav, budget=budget, return_decision=True
        )
        used.append(float(activation(decision, cost)))
    assert used[0] == LEVELS[0] and used[-1] == 1
    assert used == sorted(used) and used[1] == pytest.approx(0.3, abs=0.2)


def test_a_profile_shows_the_widths():
    values = profile_model(tiny_model(depth=5))
    assert list(values["macs_per_second"]) == ["0.125", "0.25", "0.5", "1"]
    rates = values["macs_per_second"].values()
    assert list(rates) == sorted(rates)
    total = sum(layer["0.5"] for layer in values["layers"].values())
    assert total == pytest.approx(values["macs_per_second"]["0.5"])


def test_bad_folders_are_refused():
    with pytest.raises(InputError, match="needs 'waveform'"):
        ModelConfig("tiny", "demucs")
    with pytest.raises(InputError, match="needs 'spectral'"):
        ModelConfig("tiny", "ftfnet", front_end="waveform")
    with pytest.raises(InputError, match="up to 16 numbers"):
        tiny_model(utilizations=[2.0])
    with pytest.raises(InputError, match="at most 65536 and 4096"):
        tiny_model(depth=8, hidden=256)
