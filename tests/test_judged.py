"""A judge sets the budget: worse speech gets more, whatever the blocks."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import noise, save_tiny, tiny_model, tiny_router, tiny_separator

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.cost import MacMeter
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.enhancement import DynamicEnhancement
from speechbrain_dsn.inference.judged import (
    Judge,
    JudgedBudget,
    JudgedStream,
    open_stream,
)
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.pretrained import load_model, save_model

RATE = 16_000


@pytest.fixture(scope="module")
def judge():
    return Judge.from_pretrained("quality-bam")


@pytest.fixture(scope="module", params=[tiny_model, tiny_router])
def model(request):
    return request.param()


class Loudness:
    """Scores that are easy to tell apart: 1 of silence, 5 of full scale."""

    def __init__(self, judge):
        self.predictor = judge.predictor

    def __call__(self, wav, lengths):
        ends = (lengths * wav.size(1)).round().long().tolist()
        peaks = [x[:end].abs().max() for x, end in zip(wav, ends, strict=True)]
        return 1 + 4 * torch.stack(peaks).clamp(0, 1)


def run(stream, wav, sizes=(1 << 30,)):
    parts = []
    while wav.size(1):
        size, *sizes = sizes or (RATE,)
        parts.append(stream.push(wav[:, :size]))
        wav = wav[:, size:]
    return torch.cat([*parts, stream.flush()], 1)


@given(st.lists(st.floats(1, 5), min_size=2), st.floats(0, 1))
def test_worse_scores_never_get_less(scores, mean):
    scores = torch.tensor(scores).sort().values
    budgets = JudgedBudget(None, mean).at(scores)
    assert budgets == sorted(budgets, reverse=True)
    assert min(budgets) >= 0 and max(budgets) <= 1
    assert JudgedBudget(None, mean).at(torch.tensor([2.0, 5.0])) == (
        pytest.approx([mean, 0])
    )


@settings(max_examples=5, deadline=None)
@given(sizes=st.lists(st.integers(1, 5 * RATE), max_size=5))
def test_blocks_have_no_effect(model, judge, sizes):
    budget = JudgedBudget(judge, 0.5)
    wav = torch.from_numpy(noise(6 * RATE + 77).T.copy())
    whole = JudgedStream(model, 1, budget)
    parts = JudgedStream(model, 1, budget)
    wanted, found = run(whole, wav), run(parts, wav, sizes)
    assert found.shape == wav.shape
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert torch.equal(parts.decision().values, whole.decision().values)


def test_signals_have_budgets_of_their_own(model, judge):
    """And of each segment; a short rest keeps the budget before it."""
    budget, hears = JudgedBudget(Loudness(judge), 0.5), 5 * RATE
    wav = torch.zeros(2, 2 * hears + RATE // 10)
    wav[0, :hears], wav[1, hears : 2 * hears] = 0.8, 0.1
    stream = JudgedStream(model, 2, budget)
    asked = []
    inner = stream._stream.push
    stream._stream.push = lambda part: (
        asked.append(stream._stream.decide["bias"][:, 0].tolist()),
        inner(part),
    )[1]
    run(stream, wav)

    def bias(peak):
        [wanted] = budget.at(torch.tensor([1 + 4 * peak]))
        return pytest.approx(model.decide(wanted)["bias"], rel=1e-5)

    assert asked[0] == [bias(0.8), bias(0.0)]
    assert asked[1] == [bias(0.0), bias(0.1)]
    assert asked[2] == asked[1]


def test_the_judge_hears_no_padding(model, judge):
    budget = JudgedBudget(judge, 0.5)
    enhancement = DynamicEnhancement(model)
    wav = torch.from_numpy(noise(7 * RATE, 2).T.copy())
    lengths = torch.tensor([1.0, 0.3])
    together = enhancement.enhance_batch(wav, lengths, budget)
    for item, length in enumerate((7 * RATE, round(2.1 * RATE))):
        alone = enhancement.enhance_batch(
            wav[item : item + 1, :length], budget=budget
        )
        torch.testing.assert_close(
            together[item : item + 1, :length], alone, atol=1e-5, rtol=0
        )


def test_noisy_speech_gets_more_than_clean(judge):
    enhancement = DynamicEnhancement(load_model("mgt-dsn"))
    root = miniset_folder()
    mixture = load_fixed_list(root / "enhance_test.csv", root)[0]
    noisy, clean = (torch.from_numpy(x)[None] for x in mixture.render()[:2])
    budgets = JudgedBudget(judge, 0.5)
    for wav, more in ((noisy, True), (clean, False)):
        [score] = judge(wav).tolist()
        [wanted] = budgets.at(torch.tensor([score]))
        assert (wanted > 0.5) == (score < 2) == more
        judged, plain = (
            enhancement.enhance_batch(wav, budget=x, return_decision=True)[1]
            for x in (budgets, wanted)
        )
        assert torch.equal(judged.values, plain.values)


def test_the_judges_macs_count(model, judge):
    budget, wav = JudgedBudget(judge, 0.5), torch.randn(1, 6 * RATE) / 10
    stream = JudgedStream(model, 1, budget)
    run(stream, wav)
    plain = MacMeter(model.enhancer.report().cost)
    plain.update(stream.decision())
    more = stream.meter().macs_per_second - plain.macs_per_second
    judging = judge.predictor.report().macs_per_second(1)
    assert more == pytest.approx(judging, rel=1e-3)
    assert 20e6 < judging < 22e6


def test_wrong_models_are_refused(judge):
    with pytest.raises(InputError, match="tiny-static"):
        open_stream(tiny_model(static=True), 1, JudgedBudget(judge, 0.5))
    with pytest.raises(InputError, match="enhancement"):
        open_stream(tiny_separator(), 1, JudgedBudget(judge, 0.5))
    with pytest.raises(InputError, match="8000 Hz: expected 16000 Hz"):
        slow = tiny_model(sample_rate=8000)
        open_stream(slow, 1, JudgedBudget(judge, 0.5))
    with pytest.raises(InputError, match="1.5"):
        open_stream(tiny_model(), 1, JudgedBudget(judge, 1.5))
    with pytest.raises(InputError, match="quality"):
        Judge(tiny_model())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model folder and two files, one of them clean."""
    place = tmp_path_factory.mktemp("judged")
    save_tiny(place / "tiny")
    static = tiny_model(static=True)
    save_model(place / "static", static.enhancer, static.config, "#")
    root = miniset_folder()
    mixture = load_fixed_list(root / "enhance_test.csv", root)[0]
    for kind, samples in zip(
        ("noisy", "clean"), mixture.render()[:2], strict=True
    ):
        (place / kind).mkdir()
        write_audio(place / kind / "a.wav", np.float32(samples), RATE)
    return place


def test_commands_ask_the_judge(home, tmp_path):
    judged = ["--judge", "quality-bam"]
    used = {}
    for kind in ("noisy", "clean"):
        results = tmp_path / f"{kind}.json"
        command = ["enhance", str(home / kind), "-o", str(tmp_path / kind)]
        assert main([*command, *judged, "--json", str(results)]) == 0
        report = json.loads(results.read_text())
        assert report["judge"] == "quality-bam"
        used[kind] = report["files"][0]["macs_per_second"]
    assert used["noisy"] > used["clean"]
    results = tmp_path / "scores.json"
    command = ["evaluate", "--noisy", str(home / "noisy"), "--clean"]
    command += [str(home / "clean"), "--metrics", "si_sdr"]
    assert main([*command, *judged, "--json", str(results)]) == 0
    row = json.loads(results.read_text())
    assert row["model"] == "mgt-dsn, judged"
    assert row["macs_per_second"] == pytest.approx(used["noisy"], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judge", "mgt-dsn"], "quality"),
        (["--judge", "nobody"], "nobody"),
        (["--judge", "quality-bam", "--stream"], "expected no --stream"),
        (["--judge", "quality-bam", "--model", "{home}/static"], "tiny-static"),
    ],
)
def test_bad_commands(home, tmp_path, capsys, options, message):
    options = [option.format(home=home) for option in options]
    if "--model" not in options:
        options += ["--model", str(home / "tiny")]
    out = tmp_path / "out"
    command = ["enhance", str(home / "noisy"), "-o", str(out)]
    assert main([*command, *options]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
