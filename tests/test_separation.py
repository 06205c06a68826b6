"""Separators on signals and files of any length; evaluation and commands."""

import json

import numpy as np
import pytest
import soundfile
import talkers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import save_tiny, tiny_model, tiny_separator
from torch import nn

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.dataio.activity import speaker_activity
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.enhancement import DynamicEnhancement
from speechbrain_dsn.inference.mixtures import Mixture, folder_mixtures
from speechbrain_dsn.inference.separation import DynamicSeparation
from speechbrain_dsn.inference.separation_evaluation import evaluate_mixtures
from speechbrain_dsn.inference.stitching import (
    StitchedSeparation,
    scale_to_mixture,
)
from speechbrain_dsn.plots import plot_widths
from speechbrain_dsn.pretrained import LoadedModel

RATE = 8000


class Oracle(nn.Module):
    """Knows the sources, and gives them in an order of its own each time."""

    sample_rate, hop, num_spks = RATE, 400, 2
    cost = MacCount(1000)

    def __init__(self, sources, seed=0):
        super().__init__()
        self.sources = torch.from_numpy(sources)
        self.whole = self.sources.sum(1)
        self.draw = np.random.default_rng(seed)
        self.calls = []

    def forward(self, mixture):
        """Where the block begins is found by looking for it."""
        length = mixture.size(1)
        windows = self.whole.unfold(0, length, 1)
        begin = int((windows - mixture[0]).abs().amax(1).argmin())
        order = self.draw.permutation(2)
        self.calls.append((begin, length, tuple(order)))
        gains = torch.from_numpy(self.draw.uniform(-2, 2, 2)).float()
        part = self.sources[begin : begin + length]
        return (gains * part)[None, :, order.tolist()], None

    def frames(self, samples):
        return -(-samples // self.hop) + 1

    def executed(self, decision, samples):
        return self.frames(samples) * self.cost.open


def two_talkers(seconds):
    """One after the other and at once, never both silent for long."""
    voices = [talkers.talker(seconds, number) for number in (0, 3)]
    return np.stack(voices, 1)


@pytest.mark.parametrize("seconds", [0.9, 1.7, 3.0, 8.3])
def test_order_of_speakers_is_kept_from_block_to_block(seconds):
    sources = two_talkers(seconds)
    oracle = Oracle(sources)
    stream = StitchedSeparation(
        oracle, 1, {}, block_seconds=1.0, overlap_seconds=0.25
    )
    wav = torch.from_numpy(sources.sum(1))[None]
    found = [*map(stream.push, wav.split(3000, 1)), stream.flush()]
    found = torch.cat(found, 1)[0].numpy()
    assert found.shape == sources.shape
    if abs(found[:, 0] @ sources[:, 1]) > abs(found[:, 0] @ sources[:, 0]):
        found = found[:, ::-1]
    # Order, sign and gain of each block are those of the mixture.
    np.testing.assert_allclose(found, sources, atol=0.02)
    lengths = [length for _, length, _ in oracle.calls]
    assert max(lengths) <= 1.0 * RATE
    if seconds > 1:
        assert min(lengths) > 0.6 * RATE
    if seconds > 4:
        assert len({order for *_, order in oracle.calls}) == 2
    executed = sum(oracle.frames(length) * 1000 for length in lengths)
    assert stream.macs == executed
    assert stream.macs_per_second == pytest.approx(executed / seconds, rel=0.01)
    times, _ = stream.widths()
    assert (times.diff() > 0).all() and times[0] == 0
    assert times[-1] == pytest.approx(seconds, abs=0.11)


@settings(max_examples=5)
@given(cuts=st.lists(st.integers(0, 9000), max_size=4))
def test_blocks_of_input_do_not_matter(cuts):
    model = tiny_separator()
    wav = torch.from_numpy(two_talkers(2.0).sum(1))[None]

    def run(parts):
        stream = StitchedSeparation(
            model.enhancer, 1, {}, block_seconds=0.5, overlap_seconds=0.2
        )
        found = [*map(stream.push, parts), stream.flush()]
        return torch.cat(found, 1), stream.macs

    edges = sorted({0, *(min(cut, wav.size(1)) for cut in cuts), wav.size(1)})
    parts = [wav[:, a:b] for a, b in zip(edges, edges[1:], strict=False)]
    (one, macs), (many, same) = run([wav]), run(parts)
    torch.testing.assert_close(one, many)
    assert macs == same


@given(
    gains=st.tuples(st.floats(0.2, 5), st.floats(-5, -0.2)),
    level=st.floats(1e-4, 10),
)
def test_gains_are_those_of_the_mixture(gains, level):
    sources = level * torch.from_numpy(two_talkers(0.5))[None]
    found = scale_to_mixture(sources.sum(-1), sources * torch.tensor(gains))
    error = (found - sources).square().sum() / sources.square().sum()
    assert error < 0.05


def test_a_faint_copy_stays_faint():
    """One speaker: what leaks into the other output is not blown up."""
    voice = torch.from_numpy(two_talkers(0.5))[None, :, 0]
    estimates = torch.stack([voice, 0.05 * voice], -1)
    found = scale_to_mixture(voice, estimates)
    torch.testing.assert_close(found.sum(-1), voice, rtol=0, atol=1e-3)
    assert found[..., 1].square().sum() < 1e-4 * voice.square().sum()


@pytest.mark.parametrize("static", [True, False])
def test_batches_of_any_length(static):
    separation = DynamicSeparation(tiny_separator(static))
    for samples in (1, 7, 400, 8000):
        mix = torch.randn(2, samples) / 10
        found = separation.separate_batch(mix)
        assert found.shape == (2, samples, 2) and found.isfinite().all()
    silent = separation.separate_batch(torch.zeros(1, 4000))
    assert silent.shape == (1, 4000, 2) and not silent.any()
    mix = torch.randn(2, 4000) / 10
    both = separation.separate_batch(mix, torch.tensor([1.0, 0.5]))
    alone = separation.separate_batch(mix[1:, :2000])
    torch.testing.assert_close(both[1, :2000], alone[0])
    assert not both[1, 2000:].any()


def test_a_budget_is_a_share_of_the_widths():
    model = tiny_separator()
    mix = torch.from_numpy(two_talkers(3.0).sum(1))[None]
    macs = []
    for budget in (0.0, 0.7, 1.0):
        stream = StitchedSeparation(model.enhancer, 1, model.decide(budget))
        stream.push(mix)
        stream.flush()
        macs.append(stream.macs_per_second)
    assert macs[0] < macs[1] < macs[2]
    with pytest.raises(InputError, match="budget 2: expected"):
        DynamicSeparation(model).separate_batch(mix, budget=2.0)


def test_wrong_input_and_wrong_models_are_refused(tmp_path):
    separation = DynamicSeparation(tiny_separator())
    with pytest.raises(InputError, match="expected floats"):
        separation.separate_batch(torch.zeros(3))
    with pytest.raises(InputError, match="expected finite samples"):
        separation.separate_batch(torch.full((1, 100), torch.nan))
    with pytest.raises(InputError, match="is for enhancement"):
        DynamicSeparation(tiny_model())
    with pytest.raises(InputError, match="is for separation"):
        DynamicEnhancement(tiny_separator())


def test_files_as_speechbrain_gives_them(tmp_path):
    path = tmp_path / "mix.wav"
    write_audio(path, two_talkers(0.5), RATE)  # two channels
    separation = DynamicSeparation(tiny_separator())
    found = separation.separate_file(path)
    assert found.shape == (1, RATE // 2, 2)
    mono = torch.from_numpy(soundfile.read(path)[0].mean(1)).float()
    torch.testing.assert_close(
        found, separation.separate_batch(mono[None]), atol=1e-4, rtol=0
    )


# -- evaluation -------------------------------------------------------------


def mixture(name, overlap, seconds=1.0):
    sources = two_talkers(seconds)
    return Mixture(name, lambda rate: (sources.sum(1), sources), overlap)


def test_scores_are_means_over_sources_and_rows_by_overlap():
    model = tiny_separator()

    def broken(rate):
        raise InputError("no such file")

    mixtures = [mixture("a", 1.0), mixture("b", 0.5), Mixture("c", broken)]
    found = evaluate_mixtures(model, mixtures, ["si_sdr"], progress=False)
    good, _, bad = found.files
    gains = [source["si_sdri"].value for source in good.after]
    assert good.enhanced["si_sdri"].value == pytest.approx(np.mean(gains))
    one, two = good.after[0]["si_sdr"], good.before[0]["si_sdr"]
    assert gains[0] == pytest.approx(one.value - two.value)
    assert bad.error == "no such file" and found.overlaps == [1.0, 0.5]
    assert sum(found.widths) == pytest.approx(1)
    values = json.loads(json.dumps(found.as_dict()))
    assert values["metrics"]["si_sdri"]["n_valid"] == 2
    assert set(values["by_overlap"]) == {"1", "0.5"}
    assert values["macs_per_second"] == pytest.approx(
        (good.macs_per_second + found.files[1].macs_per_second) / 2
    )
    again = evaluate_mixtures(
        model, mixtures, ["si_sdr"], known=found.known, progress=False
    )
    assert again.files[0].before == good.before


def test_estimates_are_given_to_the_sources_they_are_nearest_to():
    """Whatever their order is, and with gains and signs of their own."""
    sources, config = two_talkers(1.0), tiny_separator(static=True).config
    noisy = sources + 1e-3 * talkers.talker(1.0, 5)[:, None]
    for seed in range(3):
        oracle = Oracle(sources, seed)
        found = evaluate_mixtures(
            LoadedModel(oracle, config),
            [Mixture("a", lambda rate: (sources.sum(1), noisy))],
            ["si_sdr"],
            progress=False,
        )
        scores = [each["si_sdr"].value for each in found.files[0].after]
        assert min(scores) > 20


def test_activity_is_that_of_each_source():
    sources = np.zeros((RATE, 2))
    sources[: RATE // 2, 0] = 0.1
    sources[RATE // 4 :, 1] = 0.001
    times = np.array([0.1, 0.4, 0.9])
    active = speaker_activity(sources, RATE, times, 0.1)
    assert active.tolist() == [[True, False], [True, True], [False, True]]
    assert not speaker_activity(0 * sources, RATE, times, 0.1).any()


def test_folders_of_equal_names(tmp_path):
    root = talkers.tree(tmp_path, ("x",), ("mix", "s1", "s2"), 2, ".", 0.3)
    (root / "x/s2/01a.wav").unlink()
    folders = [root / f"x/{name}" for name in ("mix", "s1", "s2")]
    found, unpaired = folder_mixtures(folders[0], folders[1:])
    assert [each.name for each in found] == ["00a"] and len(unpaired) == 1
    wav, sources = found[0].load(RATE)
    np.testing.assert_allclose(sources.sum(1), wav, atol=1e-4)


# -- commands ---------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    return str(save_tiny(folder, model=tiny_separator()))


def test_command_writes_a_file_per_speaker(model, tmp_path, capsys):
    source = tmp_path / "in/deep/mix.flac"
    source.parent.mkdir(parents=True)
    wav = np.repeat(two_talkers(0.5).sum(1), 2)  # at 16 kHz
    write_audio(source, wav, 2 * RATE)
    out = tmp_path / "out"
    arguments = ["separate", str(tmp_path / "in"), "-o", str(out)]
    assert main([*arguments, "--model", model, "--json", "-", "--plot"]) == 0
    values = json.loads(capsys.readouterr().out)
    (file,) = values["files"]
    wavs = []
    for number in (1, 2):
        path = out / f"deep/mix_s{number}.flac"
        assert str(path) in file["outputs"]
        found, rate = soundfile.read(path)
        assert rate == 2 * RATE and len(found) == len(wav)
        wavs.append(found)
    assert len(file["levels_db"]) == 2 and file["macs_per_second"] > 0
    assert (out / "deep/mix.flac.png").is_file()
    assert main([*arguments, "--model", model]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_bad_file_is_reported_and_the_rest_goes_on(model, tmp_path, capsys):
    write_audio(tmp_path / "silent.wav", np.zeros(RATE // 4), RATE)
    write_audio(tmp_path / "short.wav", talkers.talker(0.05, 0), RATE)
    (tmp_path / "bad.wav").write_text("no audio")
    out = tmp_path / "out"
    files = [str(tmp_path / f"{n}.wav") for n in ("silent", "bad", "short")]
    missing = str(tmp_path / "missing.wav")
    arguments = ["separate", *files, missing, "-o", str(out), "--model", model]
    assert main([*arguments, "--json", str(tmp_path / "r.json")]) == 2
    errors = capsys.readouterr().err
    assert "bad.wav cannot be read" in errors and "missing.wav" in errors
    assert sorted(path.name for path in out.iterdir()) == [
        "short_s1.wav",
        "short_s2.wav",
        "silent_s1.wav",
        "silent_s2.wav",
    ]
    values = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert len(values["errors"]) == 2
    silent, short = values["files"]
    assert silent["levels_db"] == [-120.0, -120.0]
    assert not soundfile.read(out / "silent_s1.wav")[0].any()
    assert soundfile.info(out / "short_s1.wav").frames == 400
    assert short["macs_per_second"] > 0


def test_outputs_never_replace_inputs(model, tmp_path, capsys):
    for name in ("a", "a_s1"):
        write_audio(tmp_path / f"{name}.wav", talkers.talker(0.1, 0), RATE)
    before = (tmp_path / "a_s1.wav").read_bytes()
    files = [str(tmp_path / f"{name}.wav") for name in ("a", "a_s1")]
    arguments = ["separate", *files, "-o", str(tmp_path), "--model", model]
    assert main([*arguments, "--overwrite"]) == 2
    assert "is an input" in capsys.readouterr().err
    assert (tmp_path / "a_s1.wav").read_bytes() == before


@pytest.mark.parametrize(
    "command, message",
    [
        (["enhance", "x.wav", "-o", "y"], "is for separation"),
        (["enhance", "x.wav", "-o", "y", "--stream"], "is for separation"),
        (["export", "-o", "x.onnx"], "hears the whole mixture"),
        (["evaluate", "--clean", "a", "--noisy", "b"], "expected either --mix"),
    ],
)
def test_commands_know_what_a_model_is_for(model, capsys, command, message):
    assert main([*command, "--model", model]) == 2
    assert message in capsys.readouterr().err


def test_separate_refuses_an_enhancer(tmp_path, capsys):
    arguments = ["separate", "x.wav", "-o", str(tmp_path / "y")]
    assert main([*arguments, "--model", "mgt-dsn"]) == 2
    assert "mgt-dsn is for enhancement" in capsys.readouterr().err


def test_evaluate_and_profile_know_separators(model, tmp_path, capsys):
    root = talkers.tree(tmp_path, ("x",), ("mix", "s1", "s2"), 2, ".", 0.5)
    folders = [str(root / f"x/{name}") for name in ("mix", "s1", "s2")]
    arguments = ["evaluate", "--model", model, "--mixtures", folders[0]]
    arguments += ["--sources", *folders[1:], "--metrics", "si_sdr"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "si_sdri" in text and "| mixture |" in text
    assert main(["profile", "--model", model, "--json", "-"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["latency_ms"] is None and len(values["rtf"]) == 4
    macs = list(values["macs_per_second"].values())
    assert macs == sorted(macs)


# -- plot -------------------------------------------------------------------


def test_plot_of_widths(tmp_path):
    sources = two_talkers(1.0)
    times = np.arange(0, 1.05, 0.05)
    levels = np.random.default_rng(0).integers(0, 4, (len(times), 3))
    active = speaker_activity(sources, RATE, times, 0.1)
    path = tmp_path / "widths.png"
    widths = (0.125, 0.25, 0.5, 1.0)
    plot_widths(sources.sum(1), times, levels, widths, active, RATE, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"expected \[T\]"):
        plot_widths(
            sources.sum(1), times, levels[1:], widths, active, RATE, path
        )


def test_shipped_separator_is_the_default(tmp_path, capsys):
    source = tmp_path / "mix.wav"
    write_audio(source, two_talkers(1.0).sum(1), RATE)
    out = str(tmp_path / "out")
    assert main(["separate", str(source), "-o", out, "--json", "-"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["model"] == "slim-sepformer-mini"
    first, second = (
        soundfile.read(path)[0] for path in values["files"][0]["outputs"]
    )
    assert len(first) == len(second) == RATE
    assert np.abs(first - second).max() > 1e-3
