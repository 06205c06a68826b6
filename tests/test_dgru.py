"""D-GRU: the contract, the cost, and what a frozen unit is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from speechbrain.nnet.RNN import GRU

from speechbrain_dsn.inference.onnx_session import OnnxSession, OnnxState
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet
from speechbrain_dsn.nnet.dgru import DGRU
from speechbrain_dsn.nnet.selective import selective_scan, selective_steps
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
from speechbrain_dsn.testing import count_macs

sizes = {
    "hidden": st.integers(1, 7),
    "inputs": st.integers(1, 5),
    "ratio": st.sampled_from([0.1, 0.25, 0.5, 0.8, 1.0]),
    "seed": st.integers(0, 99),
}


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bias": False}])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_with_all_units_it_is_speechbrains_gru(options, bidirectional):
    """Same arguments, same weights, same outputs and states."""
    options |= {"bidirectional": bidirectional}
    theirs = GRU(6, input_shape=(2, 9, 5), **options).double()
    ours = DGRU(6, input_shape=(2, 9, 5), **options, update_ratio=1.0).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 9, 5).double()
    hx = torch.randn_like(theirs(x)[1])
    opened = torch.ones(3, 9, dtype=torch.bool)
    for expected, found in (
        (theirs(x), ours(x)),
        (theirs(x, hx), ours(x, hx)),
        (theirs(x, hx), ours.forward_skipping(x, opened, hx)),
        (theirs(x, lengths=torch.tensor([0.9, 0.2, 0.6])),) * 2,
    ):
        for a, b in zip(expected, found, strict=True):
            torch.testing.assert_close(a, b)
    lengths = torch.tensor([0.9, 0.2, 0.6])
    for a, b in zip(theirs(x, hx, lengths), ours(x, hx, lengths), strict=True):
        torch.testing.assert_close(a, b)


def test_four_axes_are_flattened_as_in_speechbrain():
    x = torch.randn(2, 4, 3, 2)
    gru = DGRU(6, input_shape=x.shape, update_ratio=0.5)
    assert gru(x)[0].shape == (2, 4, 6)
    with pytest.raises(ValueError, match="one of input_shape or input_size"):
        DGRU(6)
    with pytest.raises(ValueError, match=r"lies in \(0, 1\], got 0"):
        DGRU(6, input_size=3, update_ratio=0)
    with pytest.raises(ValueError, match="cannot stream"):
        DGRU(6, input_size=3, bidirectional=True).make_streaming_context(1)


def literal(gru, x, gate):
    """The equations of arXiv 2408.12425, one item, one unit at a time; its
    update gate is one minus that of PyTorch."""
    weights = [p.detach() for p in gru.rnn.parameters()]
    (w_r, w_z, w_c), (u_r, u_z, u_c), b, d = (p.chunk(3) for p in weights)
    h, states = torch.zeros(gru.rnn.hidden_size).to(x), []
    for frame, is_open in zip(x, gate, strict=True):
        z = 1 - torch.sigmoid(w_z @ frame + b[1] + u_z @ h + d[1])
        new = h.clone()
        for j in z.argsort(descending=True)[: gru.active] if is_open else ():
            r = torch.sigmoid(w_r[j] @ frame + b[0][j] + u_r[j] @ h + d[0][j])
            c = w_c[j] @ frame + b[2][j] + r * (u_c[j] @ h + d[2][j])
            new[j] = z[j] * torch.tanh(c) + (1 - z[j]) * h[j]
        h = new
        states.append(h)
    return torch.stack(states)


@torch.no_grad()
@given(**sizes)
def test_the_papers_equations(hidden, inputs, ratio, seed):
    torch.manual_seed(seed)
    gru = DGRU(hidden, input_size=inputs, update_ratio=ratio).double()
    x, gate = torch.randn(2, 6, inputs).double(), torch.rand(2, 6) < 0.7
    expected = torch.stack(
        [literal(gru, *pair) for pair in zip(x, gate, strict=True)]
    )
    context = gru.make_streaming_context(2, dtype=x.dtype)
    streamed = [
        gru.forward_streaming(part, context, is_open)
        for part, is_open in zip(x.split(2, 1), gate.split(2, 1), strict=True)
    ]
    masked, _ = gru(x, gate=gate.double())
    skipped, _ = gru.forward_skipping(x, gate)
    for y in (masked, skipped, torch.cat(streamed, 1)):
        torch.testing.assert_close(y, expected)


@torch.no_grad()
@given(**sizes)
def test_frozen_units_keep_their_bits(hidden, inputs, ratio, seed):
    torch.manual_seed(seed)
    gru = DGRU(hidden, input_size=inputs, update_ratio=ratio)
    x, gate = torch.randn(3, 20, inputs), torch.rand(3, 20) < 0.6
    for y, _ in (gru(x, gate=gate.float()), gru.forward_skipping(x, gate)):
        before = torch.cat([torch.zeros(3, 1, hidden), y[:, :-1]], 1)
        changed = (y != before).sum(-1)
        assert bool((changed[~gate] == 0).all())
        assert bool((changed <= gru.active).all())
        assert int(changed.max()) == gru.active


@given(
    units=st.integers(1, 30),
    quarters=st.integers(1, 4),
    inputs=st.integers(1, 5),
)
def test_the_papers_cost(units, quarters, inputs):
    """(1 + 2 P) / 3 of a GRU, exactly, and executed."""
    ratio, units = quarters / 4, 4 * units
    gru = DGRU(units, input_size=inputs, update_ratio=ratio)
    dense = count_macs(torch.nn.GRU(inputs, units), torch.zeros(1, 1, inputs))
    assert 3 * gru.macs().open == dense * (1 + 2 * ratio)
    is_open = torch.tensor([[True, False, True, True]])
    x = torch.randn(1, 4, inputs)
    assert count_macs(gru.forward_skipping, x, is_open) == 3 * gru.macs().open


@given(seed=st.integers(0, 99), active=st.sampled_from([None, 1, 2]))
def test_the_hand_written_gradient_in_every_shape(seed, active):
    torch.manual_seed(seed)
    time, groups, n, size = torch.randint(1, 4, (4,)).tolist()
    shapes = (
        (time, groups, n, 3 * size),
        (groups, 3 * size, size),
        (groups, 3 * size),
        (groups, n, size),
    )
    some = [torch.randn(shape).double().requires_grad_() for shape in shapes]
    gate = torch.rand(time, n).double().requires_grad_()
    for last in ((gate, active), (None, active)):
        inputs = [*some, *(x for x in last[:1] if x is not None)]

        def run(*inputs, last=last):
            gate = inputs[4] if last[0] is not None else None
            return selective_scan(*inputs[:4], gate, last[1])

        assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@torch.no_grad()
@given(seed=st.integers(0, 99))
def test_groups_read_and_run_apart(seed):
    """Where a GRU runs but does not read, its input counts as zero."""
    torch.manual_seed(seed)
    x, h0 = torch.randn(5, 2, 3, 4).double(), torch.randn(2, 3, 6).double()
    shapes = ((2, 18, 4), (2, 18, 6), (2, 18), (2, 18))
    weights = tuple(torch.randn(shape).double() for shape in shapes)
    runs, reads = torch.rand(5, 3) < 0.7, torch.rand(5, 2, 3) < 0.5
    y = selective_steps(x, weights, h0, 2, runs, reads)
    heard = (x * reads.unsqueeze(-1)).transpose(2, 3)
    drive = (weights[0] @ heard).transpose(2, 3) + weights[2][:, None]
    expected = selective_scan(
        drive, weights[1], weights[3], h0, runs.double(), 2
    )
    torch.testing.assert_close(y, expected)


# -- in FTF-Net's time block ----------------------------------------------------


def test_one_argument_makes_it_a_d_gru():
    """A quarter of the units: half the cost of the time block's GRU."""
    full, quarter = DynamicFTFNet(), DynamicFTFNet(update_ratio=0.25)
    gru = full.time.rnn.macs(31)
    assert quarter.time.rnn.macs(31).open * 2 == gru.open
    saved = full.report().cost.open - quarter.report().cost.open
    assert saved * 2 == gru.open
    quarter.load_state_dict(full.state_dict())
    x, gate = torch.rand(1, 8, 257).double(), torch.rand(1, 8) < 0.5
    net = quarter.double().eval()
    masked, _ = net(x, gate=gate.double())
    context = net.make_streaming_context(1, dtype=x.dtype)
    parts = [
        net.forward_streaming(x[:, [t]], context, gate[:, [t]].double())[0]
        for t in range(8)
    ]
    torch.testing.assert_close(torch.cat(parts, 1), masked)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("lobe", ["ftfnet", "dynamic_ftfnet"])
def test_the_graph_computes_the_time_block_in_full_and_masks(lobe, batch):
    arguments = {"channels": [4, 6, 8], "groups": 2, "update_ratio": 0.25}
    front = {"n_fft": 96, "hop": 24}
    config = ModelConfig("tiny", lobe, arguments, front_end_arguments=front)
    torch.manual_seed(0)
    model, streams = LoadedModel(config.build(), config), 2 if batch else 1
    session = OnnxSession.from_model(model, batch)
    state, wav = OnnxState(session, streams), torch.randn(streams, 60 * 24) / 10
    context = model.enhancer.make_streaming_context(streams)
    with torch.no_grad():
        expected, _ = model.enhancer.forward_streaming(wav, context)
    for t in range(60):
        part = slice(24 * t, 24 * t + 24)
        state.samples[...] = wav[:, part]
        state.step()
        found = torch.tensor(state.enhanced)
        torch.testing.assert_close(found, expected[:, part], atol=1e-4, rtol=0)
    dense = replace(config, lobe_arguments=arguments | {"update_ratio": 1})
    assert session.info.cost == dense.build().cost
    assert session.info.cost.open > model.enhancer.cost.open
