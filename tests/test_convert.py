"""Static models become slimmable: the same at full width, best units first."""

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.lobes.models.dual_path import (
    Dual_Path_Model,
    SBRNNBlock,
    SBTransformerBlock,
)
from speechbrain.lobes.models.transformer.Transformer import (
    TransformerEncoder,
)
from speechbrain.nnet.attention import PositionalwiseFeedForward
from tiny_model import TINY, TINY_DEMUCS, TINY_DUAL_PATH, noise
from torch import nn

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.convert import at_width, convert, convert_masknet
from speechbrain_dsn.convert.blocks import (
    AttentionBlock,
)
from speechbrain_dsn.convert.folder import convert_loaded
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import find_tapes
from speechbrain_dsn.lobes.models.demucs import RoutedDemucs, SlimmableDemucs
from speechbrain_dsn.lobes.models.dual_path import DualPathSeparator
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet, FTFNet
from speechbrain_dsn.losses import ComplexityRegularized, Distilled
from speechbrain_dsn.pretrained import (
    LoadedModel,
    ModelConfig,
    load_model,
    save_model,
)
from speechbrain_dsn.testing import count_macs

WIDTHS = (0.25, 0.5, 1.0)
CHANNELS = 8


def shaken(model):
    """Weights that start at 0 or 1 moved, so that all of them show."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def transformer(heads=4, units=12, layers=1, **options):
    options = {"dropout": 0.0, "norm_before": True} | options
    return SBTransformerBlock(layers, CHANNELS, heads, units, **options)


def sepformer(intra=None, inter=None, blocks=2, linear=False):
    intra = intra or transformer(use_positional_encoding=True)
    inter = inter or transformer(units=6)
    return shaken(
        Dual_Path_Model(
            CHANNELS,
            CHANNELS,
            intra,
            inter,
            blocks,
            K=6,
            linear_layer_after_inter_intra=linear,
        )
    )


def same_at_full_width(model, x, **options):
    """Converts in both ways; the original is not touched."""
    before = copy.deepcopy(model.state_dict())
    for gated in (False, True):
        slim, report = convert(model, gated=gated, **options)
        with torch.no_grad():
            y, wanted = at_width(slim, 1.0)(x), model(x)
        torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)
        assert bool(find_tapes(slim)) == gated
        assert not slim.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    return slim, report


# -- equality at full width -------------------------------------------------


@settings(max_examples=4)
@given(
    st.sampled_from([1, 2, 4]),
    st.integers(4, 20),
    st.integers(1, 2),
    st.sampled_from(["relu", "gelu"]),
    st.booleans(),
    st.sampled_from(["auto", "*.int*_mdl"]),
)
def test_sepformer_is_the_same(heads, units, layers, activation, before, names):
    options = {"activation": activation, "norm_before": before}
    intra = transformer(heads, units, layers, **options)
    net, x = sepformer(intra, blocks=1), torch.randn(2, CHANNELS, 25)
    _, report = same_at_full_width(net, x, patterns=names)
    kinds = [(each.name, each.kind, each.steps) for each in report.converted]
    wanted = [("dual_mdl.0.intra_mdl", "transformer", 6)]
    if names != "auto":
        wanted.append(("dual_mdl.0.inter_mdl", "transformer", 6))
    assert kinds == wanted
    across = [each for each in report.left if "across" in each.reason]
    assert bool(across) == (names == "auto")


def in_speechbrains_blocks(masknet):
    """The same net, its blocks those of SpeechBrain."""

    def hosted(block):
        host = SBTransformerBlock(
            len(block.layers),
            block.out_channels,
            block.nhead,
            block.d_ffn,
            use_positional_encoding=True,
            norm_before=True,
        )
        names = [name for name in host.state_dict() if "pos_enc" not in name]
        weights = dict(zip(names, block.state_dict().values(), strict=True))
        host.load_state_dict({**host.state_dict(), **weights})
        return host

    masknet = copy.deepcopy(masknet)
    for layer in masknet.dual_mdl:
        layer.intra_mdl = hosted(layer.intra_mdl)
        layer.inter_mdl = hosted(layer.inter_mdl)
    return masknet.eval()


def test_our_separator_is_speechbrains_sepformer():
    """What is shown of one that is converted is so of the other."""
    sizes = TINY_DUAL_PATH | {"utilizations": [1.0]}
    own = shaken(DualPathSeparator(**sizes)).masknet
    host = in_speechbrains_blocks(own)
    code = torch.randn(2, sizes["channels"], 90)
    torch.testing.assert_close(host(code), own(code), atol=1e-5, rtol=0)
    slim = [convert(net, gated=True)[0].state_dict() for net in (own, host)]
    ours = [
        name
        for name in slim[0]
        if "intra_mdl" in name and ".policy." not in name
    ]
    assert ours
    for name in ours:
        assert torch.equal(slim[0][name], slim[1][name]), name


@settings(max_examples=4)
@given(
    st.sampled_from(["LSTM", "GRU"]),
    st.integers(1, 2),
    st.integers(2, 9),
    st.booleans(),
)
def test_dprnn_is_the_same(kind, layers, units, bidirectional):
    """Where the linear layer that follows is as SpeechBrain builds it."""
    block = SBRNNBlock(CHANNELS, units, layers, kind)
    net = sepformer(block, copy.deepcopy(block), 1, linear=True)
    x = torch.randn(2, CHANNELS, 25)
    same_at_full_width(net, x, patterns=("rnn", "*.inter_mdl"))


@pytest.mark.parametrize("names", ["auto", "*.int*_mdl"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_what_is_within_and_across_chunks_may_be_shared(recurrent, names):
    block = SBRNNBlock(CHANNELS, 6, 1) if recurrent else transformer()
    net = sepformer(block, block, 1, linear=recurrent)
    assert net.dual_mdl[0].intra_mdl is net.dual_mdl[0].inter_mdl
    x = torch.randn(2, CHANNELS, 25)
    _, report = same_at_full_width(net, x, patterns=names)
    assert len(report.converted) == 1 + (names != "auto")


@settings(max_examples=4)
@given(st.integers(1, 9), st.integers(2, 17), st.booleans(), st.integers(0, 1))
def test_pairs_are_the_same(inputs, units, bias, dropout):
    net = nn.Sequential(
        nn.Linear(inputs, units, bias),
        nn.SiLU(),
        *[nn.Dropout(0.3)] * dropout,
        nn.Linear(units, 4),
        nn.Tanh(),
        nn.Linear(4, 5),
        nn.ReLU(),
        nn.Linear(5, inputs),
    )
    net = shaken(net)
    _, report = same_at_full_width(net, torch.randn(3, inputs))
    assert [each.name for each in report.converted] == ["0", str(4 + dropout)]
    same_at_full_width(net, torch.randn(3, 7, inputs))
    same_at_full_width(net, torch.randn(2, 3, 7, inputs))


@settings(max_examples=4)
@given(
    st.integers(1, 3),
    st.integers(2, 12),
    st.integers(1, 8),
    st.integers(1, 4),
    st.sampled_from([0, 1, "same", "valid"]),
    st.booleans(),
)
def test_conv_glu_is_the_same(inputs, units, taps, stride, padding, glu):
    stride = 1 if padding == "same" else stride
    first = nn.Conv1d(inputs, units, taps, stride, padding)
    layers = [first, nn.ReLU(), nn.Conv1d(units, 6, 1)] + [nn.GLU(1)] * glu
    net, x = shaken(nn.Sequential(*layers)), torch.randn(2, inputs, 20)
    slim, report = same_at_full_width(net, x, steps=20)
    (row,) = report.converted
    assert row.kind == "conv_glu"
    narrow = at_width(slim, WIDTHS[0])
    gate = 4 * (2 * inputs + 1)  # which does not run in that copy
    assert count_macs(lambda: narrow(x)) == 2 * (row.macs[1] - gate)


def test_encoder_layers_are_the_same_under_their_masks():
    net = shaken(TransformerEncoder(2, 4, 12, d_model=CHANNELS))
    slim, report = convert(net, utilizations=WIDTHS)
    kinds = [each.kind for each in report.converted]
    assert kinds == ["attention", "feed_forward"] * 2
    x, late = torch.randn(3, 7, CHANNELS), torch.ones(7, 7).triu(1).bool()
    padded = torch.arange(7) >= torch.tensor([[7], [5], [2]])
    for masks in (
        {},
        {"src_mask": late},
        {"src_mask": torch.randn(7, 7)},
        {"src_mask": late, "src_key_padding_mask": padded},
    ):
        y, _ = at_width(slim, 1.0)(x, **masks)
        torch.testing.assert_close(y, net(x, **masks)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("padded", [False, True])
def test_masked_attention_masks_as_it_skips(padded):
    block = shaken(AttentionBlock(4, CHANNELS, utilizations=WIDTHS)).double()
    x = torch.randn(6, 5, CHANNELS).double()
    late = torch.ones(5, 5).triu(1).bool()
    masks = {"attn_mask": late}
    if padded:
        masks["key_padding_mask"] = torch.arange(5) >= torch.tensor(
            [[5], [4], [3], [5], [2], [1]]
        )
    level = torch.tensor([0, 1, 2, 2, 1, 0])
    gate = torch.eye(3).double()[level]
    y, _ = block(x, x, x, gate=gate, **masks)
    block.decides = "fixed"
    for width in range(3):
        block.level, chosen = width, level == width
        skipped, nothing = block(x, x, x, **masks)
        torch.testing.assert_close(skipped[chosen], y[chosen])
        assert nothing is None
    with pytest.raises(ValueError, match="to itself"):
        block(x, x + 1, x)
    with pytest.raises(ValueError, match="for all heads"):
        block(x, attn_mask=torch.zeros(24, 5, 5))


def run_demucs(net, x, level):
    gate = torch.eye(4)[torch.full(x.shape[:2], level)]
    y = net(x, gate=gate)
    return y[0] if isinstance(y, tuple) else y


def test_our_lobes_are_the_same():
    net = shaken(FTFNet(bins=33, channels=(4, 8, 16)))
    slim, report = convert(net, gated=True)
    assert type(slim) is DynamicFTFNet and report.converted[0].widths == (0, 1)
    x = torch.rand(2, 9, 33)
    y, _ = slim(x, gate=torch.ones(2, 9))
    torch.testing.assert_close(y, net(x), atol=1e-5, rtol=1e-5)
    net = shaken(SlimmableDemucs(4, 5, utilizations=(1.0,)))
    x = torch.randn(2, 3, net.hop)
    for gated, kind in ((False, SlimmableDemucs), (True, RoutedDemucs)):
        slim, _ = convert(net, gated=gated)
        assert type(slim) is kind
        slim = slim.eval()
        torch.testing.assert_close(run_demucs(slim, x, 3), net(x))
        assert (run_demucs(slim, x, 0) - net(x)).abs().max() > 1e-6
    sizes = TINY_DUAL_PATH | {"utilizations": (1.0,), "gated": False}
    net, x = shaken(DualPathSeparator(**sizes)), torch.randn(1, 2000)
    for gated in (False, True):
        slim, report = convert(net, gated=gated)
        assert slim.dynamic == gated and len(slim.utilizations) == 4
        y, decision = slim(x, level=3)
        torch.testing.assert_close(y, net(x)[0], atol=1e-5, rtol=1e-5)
        gates = [b.policy.macs().fixed for b in slim.blocks if gated]
        assert slim.report().cost.open == net.report().cost.open + sum(gates)


# -- the best units come first ----------------------------------------------


def plant(reads, keep, axis=-1):
    """Leaves only some units an influence, scattered among all."""
    count = reads.size(axis)
    lost = torch.randperm(count)[keep:]
    reads.data.index_fill_(axis, lost, 0.0)


def planted_transformer():
    """Two of four heads, and a quarter of the units."""
    block = transformer(4, 16, use_positional_encoding=True)
    for layer in block.mdl.layers:
        out = layer.self_att.att.out_proj.weight.data.unflatten(1, (4, -1))
        plant(out, 1, 1)
        plant(layer.pos_ffn.ffn[3].weight, 4)
    return block


@pytest.mark.parametrize("by_data", [False, True])
def test_narrow_sepformer_keeps_what_matters(by_data):
    net = sepformer()
    for block in net.dual_mdl:
        block.intra_mdl = planted_transformer().eval()
    x = torch.randn(2, CHANNELS, 25)
    data = [x, (x,)] if by_data else None
    slim, report = convert(net, utilizations=WIDTHS, calibration=data)
    measures = {each.importance for each in report.converted}
    assert measures == {"activation" if by_data else "magnitude"}
    for width in WIDTHS:
        y = at_width(slim, width)(x)
        torch.testing.assert_close(y, net(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_narrow_rnn_keeps_what_matters(kind):
    torch.manual_seed(1)
    net = sepformer(SBRNNBlock(CHANNELS, 8, 2, kind), None, 1, True)
    rnn = net.dual_mdl[0].intra_mdl.mdl.rnn
    consumer = net.dual_mdl[0].intra_linear.w.weight
    for number in range(2):
        for side, suffix in enumerate(("", "_reverse")):
            lost = torch.randperm(8)[2:]
            readers = [consumer]
            if not number:
                readers = [rnn.weight_ih_l1, rnn.weight_ih_l1_reverse]
            for reader in readers:
                reader.data.unflatten(1, (2, 8))[:, side, lost] = 0
            back = getattr(rnn, f"weight_hh_l{number}{suffix}")
            back.data[:, lost] = 0
    x = torch.randn(2, CHANNELS, 25)
    slim, _ = convert(net, utilizations=WIDTHS)
    y = at_width(slim, WIDTHS[0])(x)
    torch.testing.assert_close(y, net(x), atol=1e-5, rtol=1e-5)


def test_narrow_pairs_keep_what_matters():
    linear = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5))
    conv = nn.Sequential(
        nn.Conv1d(6, 16, 3), nn.ReLU(), nn.Conv1d(16, 8, 1), nn.GLU(1)
    )
    for net, x in (
        (linear, torch.randn(3, 7, 6)),
        (conv, torch.randn(3, 6, 7)),
    ):
        plant(net[2].weight, 4, 1)
        slim, _ = convert(net.eval(), utilizations=WIDTHS)
        y = at_width(slim, WIDTHS[0])(x)
        torch.testing.assert_close(y, net(x), atol=1e-5, rtol=1e-5)


def test_narrow_demucs_keeps_what_matters():
    net = shaken(SlimmableDemucs(8, 4, taps=16, utilizations=(1.0,)))
    for encoder in net.encoders:
        plant(encoder.second, encoder.out_channels // 4)
    for decoder in net.decoders:
        plant(decoder.second, decoder.in_channels // 4, 0)
    x = torch.randn(2, 3, net.hop)
    slim, _ = convert(net, utilizations=(0.25, 0.5, 0.75, 1.0))
    y = run_demucs(slim.eval(), x, 0)
    torch.testing.assert_close(y, net(x), atol=1e-5, rtol=1e-5)


def test_groups_of_ftfnet_that_matter_are_static():
    net = shaken(FTFNet(bins=33, channels=(4, 8, 16)))
    with torch.no_grad():
        for weight in (net.conv3.weight, net.norm.weight):
            weight[4:12] *= 0.01  # second and third group
        net.deconv2.weight[4:12] *= 0.01
        net.freq1.attention.out.weight[:, :8] *= 0.01  # first two heads
    slim, _ = convert(net, gated=True)
    for ours, theirs in (
        (slim.conv3.weight, net.conv3.weight),
        (slim.norm.weight, net.norm.weight),
        (slim.freq1.attention.out.weight.T, net.freq1.attention.out.weight.T),
    ):
        sizes = ours.detach().flatten(1) if ours.dim() > 1 else ours[:, None]
        sizes = sizes.detach().norm(dim=1).view(2, 8).norm(dim=1)
        assert sizes[0] > 10 * sizes[1]
        torch.testing.assert_close(ours.norm(), theirs.norm())


def test_activations_tell_what_magnitudes_do_not():
    """A unit with large weights that is never on matters less."""
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5)).eval()
    with torch.no_grad():
        net[0].weight[:6] *= 10
        net[0].bias[:6] = -1e3
    data = [torch.randn(9, 6) for _ in range(3)]
    by_size, _ = convert(net, utilizations=WIDTHS)
    by_use, _ = convert(net, utilizations=WIDTHS, calibration=data)
    y = net(data[0])
    torch.testing.assert_close(at_width(by_use, 0.25)(data[0]), y)
    assert (at_width(by_size, 0.25)(data[0]) - y).abs().max() > 1e-2


# -- what the rest of the package needs -------------------------------------


def test_converted_sepformer_learns_to_decide():
    slim, _ = convert(sepformer(), gated=True, utilizations=WIDTHS)
    slim.train()
    loss = ComplexityRegularized(
        lambda y, x: (y - x).square().mean(), slim, price="pull", target=0.3
    )
    x = torch.randn(2, CHANNELS, 25)
    loss(slim(x), torch.rand(2, 2, CHANNELS, 25)).backward()
    assert all(p.grad is not None for p in slim.parameters())
    assert len(find_tapes(slim)) == 2


def test_ungated_widths_are_drawn_while_training():
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5)).eval()
    slim, _ = convert(net)
    x = torch.randn(64, 3, 6)
    widest, drawn = slim(x), slim.train()(x)
    same = torch.isclose(widest, drawn, atol=1e-6).flatten(1).all(1)
    assert 0 < same.sum() < 64


def test_macs_of_the_report_are_executed():
    x = torch.randn(1, CHANNELS, 25)
    slim, report = convert(sepformer(), utilizations=WIDTHS)
    counts = [count_macs(lambda w=w: at_width(slim, w)(x)) for w in WIDTHS]
    items = 10  # chunks
    gates = convert(sepformer(), gated=True)[1].converted
    assert [
        g.macs[-1] - row.macs[-1]
        for g, row in zip(gates, report.converted, strict=True)
    ] == [4 * (2 * CHANNELS + 1)] * 2
    saved = [
        sum(each.macs[-1] - each.macs[level] for each in report.converted)
        for level in range(3)
    ]
    assert [counts[-1] - count for count in counts] == [
        items * macs for macs in saved
    ]


# -- what cannot be ---------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patterns": "nothing.*"}, "no such module"),
        ({"patterns": "conv1d"}, r"cannot convert conv1d \(Conv1d\)"),
        ({"patterns": []}, "expected auto"),
        ({"patterns": "conv_glu"}, "nothing to convert"),
        ({"utilizations": (0.5, 0.25, 1.0)}, "ascend"),
        ({"utilizations": (0.5, 0.75)}, "end with 1"),
        ({"calibration": []}, "got none"),
    ],
)
def test_what_is_asked_for_has_to_be_there(options, message):
    with pytest.raises(InputError, match=message):
        convert(sepformer(), **options)


def test_what_is_not_supported_says_why():
    other = transformer(attention_type="RoPEMHA")
    with pytest.raises(InputError, match="its attention is RoPEMHA"):
        convert(sepformer(other), "*.intra_mdl")
    slim, report = convert(sepformer(other))  # what is within it
    assert {each.kind for each in report.converted} == {"feed_forward"}
    assert any("RoPEMHA" in each.reason for each in report.left)
    alone = nn.ModuleDict({"rnn": SBRNNBlock(4, 8, 1)})
    with pytest.raises(InputError, match="order of its outputs is fixed"):
        convert(alone, "rnn")
    with pytest.raises(InputError, match="gated=True"):
        convert(FTFNet())
    with pytest.raises(InputError, match="widths"):
        convert(convert(sepformer())[0], "*.intra_mdl")
    within = nn.ModuleDict({"net": PositionalwiseFeedForward(8, input_size=4)})
    with pytest.raises(InputError, match="nothing to convert"):
        convert(within, "linear")  # it turns its input round
    odd = PositionalwiseFeedForward(8, input_size=4, activation=nn.Softmax)
    with pytest.raises(InputError, match="each unit alone"):
        convert(nn.ModuleDict({"net": odd}), "net")
    with pytest.raises(InputError, match="no blocks"):
        at_width(nn.Linear(2, 2), 0.5)
    with pytest.raises(InputError, match="width 0.3"):
        at_width(convert(sepformer())[0], 0.3)


def test_weights_of_a_recipe_have_to_fit(tmp_path):
    path = tmp_path / "masknet.ckpt"
    with pytest.raises(InputError, match="found no"):
        convert_masknet(sepformer(), str(path))
    torch.save(sepformer(blocks=1).state_dict(), path)
    with pytest.raises(InputError, match="does not fit"):
        convert_masknet(sepformer(), str(path))
    path.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="does not fit"):
        convert_masknet(sepformer(), str(path))


def test_a_teacher_is_another_net():
    net, loss = sepformer(), nn.functional.mse_loss
    with pytest.raises(ValueError, match="cannot teach itself"):
        Distilled(loss, net, net)
    with pytest.raises(ValueError, match="at least 0"):
        Distilled(loss, net, sepformer(), -1.0)


# -- folders ----------------------------------------------------------------


def folder_of(lobe, arguments, tmp_path):
    kinds = {"dual_path": ("mixture", 8000, "separation")}
    front, rate, kind = kinds.get(lobe, ("spectral", 16000, "enhancement"))
    front = "waveform" if lobe == "demucs" else front
    config = ModelConfig(
        "tiny", lobe, arguments, front, sample_rate=rate, kind=kind
    )
    net = shaken(config.build())
    return save_model(tmp_path / "tiny", net, config, "# tiny"), net


FOLDERS = {
    "ftfnet": (TINY, "dynamic_ftfnet"),
    "demucs": (TINY_DEMUCS | {"utilizations": [1.0]}, "slim_demucs"),
    "dual_path": (TINY_DUAL_PATH | {"utilizations": [1.0]}, "slim_dual_path"),
}


@pytest.mark.parametrize("lobe", sorted(FOLDERS))
def test_folders_hold_the_same_model(lobe, tmp_path, capsys):
    arguments, target = FOLDERS[lobe]
    folder, net = folder_of(lobe, arguments, tmp_path)
    out, wav = tmp_path / "new", torch.from_numpy(noise(4000).T)
    command = ["convert", "--model", str(folder), "-o", str(out)]
    assert main([*command, "--gated", "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["lobe"] == target and said["converted"]
    new = load_model(out)
    assert new.config.info["converted from"] == "tiny"
    with torch.no_grad():
        y, decision = new.enhancer(wav, **new.decide())
        narrow, _ = new.enhancer(wav, **new.decide(0.0))
        wanted, _ = net(wav)
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)
    assert (narrow - wanted).abs().max() > 1e-6
    assert main(command) == 2  # it is there
    line = capsys.readouterr().err
    if lobe == "ftfnet":
        assert "has no widths" in line
    else:
        assert "exists already" in line
        assert (
            main([*command, "--overwrite", "--utilizations", "0.5", "1"]) == 0
        )
        assert "left alone" in capsys.readouterr().out
        slim = load_model(out)
        assert slim.config.lobe == lobe
        torch.testing.assert_close(
            slim.enhancer(wav)[0], wanted, atol=1e-5, rtol=1e-5
        )


def test_commands_run_what_was_converted(tmp_path, capsys):
    arguments, _ = FOLDERS["dual_path"]
    folder, _ = folder_of("dual_path", arguments, tmp_path)
    new, wav = str(tmp_path / "new"), tmp_path / "mixture.wav"
    write_audio(wav, noise(4000), 8000)
    assert main(["convert", "--model", str(folder), "-o", new, "--gated"]) == 0
    heard = []
    for model in (new, str(folder)):
        out = tmp_path / f"out{len(heard)}"
        out.mkdir()
        assert (
            main(["separate", str(wav), "-o", f"{out}/", "--model", model]) == 0
        )
        heard.append([path.read_bytes() for path in sorted(out.iterdir())])
    first, second = (
        [
            torch.frombuffer(bytearray(x[-4000:]), dtype=torch.int16)
            for x in each
        ]
        for each in heard
    )
    assert len(first) == len(second) == 2
    for mine, theirs in zip(first, second, strict=True):
        assert (mine.int() - theirs.int()).abs().max() <= 1
        assert theirs.int().abs().max() > 100


def test_folders_of_what_decides_are_refused():
    config = ModelConfig("tiny", "dynamic_ftfnet", TINY)
    with pytest.raises(InputError, match="expected a static net"):
        convert_loaded(LoadedModel(config.build(), config))
    config = ModelConfig("tiny", "demucs", TINY_DEMUCS, "waveform")
    with pytest.raises(InputError, match="already"):
        convert_loaded(LoadedModel(config.build(), config))
