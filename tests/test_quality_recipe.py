"""The quality recipe labels, trains, resumes and leaves a model folder."""

import json
import math
import re
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from recipe_runs import mini_folder
from tiny_model import noise, save_tiny
from yaml_files import check_header_and_keys, top_level_keys

import speechbrain_dsn
from speechbrain_dsn.dataio.mixing import MixtureSampler
from speechbrain_dsn.dataio.tables import read_csv
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.quality import QualityPrediction
from speechbrain_dsn.lobes.models.quality import TARGETS
from speechbrain_dsn.lobes.predictor import QualityPredictor
from speechbrain_dsn.metrics import DNSMOS, METRICS, Score, evaluate_pair
from speechbrain_dsn.pretrained import load_model
from speechbrain_dsn.training import enhancement, quality_data
from speechbrain_dsn.training.data import FolderData
from speechbrain_dsn.training.degradation import NOISY, Degradations
from speechbrain_dsn.training.labelled import Example, LabelledClips
from speechbrain_dsn.training.quality import run_quality, spliced

ROOT = Path(__file__).resolve().parents[1]
YAML = ROOT / "recipes/Folders/quality/hparams/quality.yaml"
CLIPS = 3
SHORT = {
    "clips": CLIPS,
    "batch_size": 2,
    "batches_per_epoch": 2,
    "workers": 1,
    "noisy_share": 0.5,
    "plan": {"open": 1},
}


def load(data, out, labels, /, **overrides):
    places = {"data_folder": data, "output_folder": out, "label_folder": labels}
    overrides |= {name: str(path) for name, path in places.items()}
    with open(YAML, encoding="utf-8") as file:
        return load_hyperpyyaml(file, overrides)


def run(data, out, labels, /, **overrides):
    """The whole recipe in this process, with a handful of batches."""
    hparams = load(data, out, labels, **{**SHORT, **overrides})
    options = ["--device", "cpu", "--noprogressbar"]
    _, run_opts, _ = sb.parse_arguments([str(YAML), *options])
    run_quality(hparams, run_opts)


class Counter:
    """In place of SpeechBrain's."""

    current = 1


def rows(labels, split):
    return read_csv(labels / f"labels_{split}.csv", TARGETS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return mini_folder(tmp_path_factory.mktemp("data"), valid=1, test=3)


def quick_scores(clean, heard, rate, names, dnsmos):
    """In place of PESQ and DNSMOS, which take a second each."""
    error = float(np.mean((clean - heard) ** 2) / np.mean(clean**2))
    return {name: Score(1 + 3 / (1 + error)) for name in names}


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality_data, "evaluate_pair", quick_scores)
        yield


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """A run of one epoch, its enhancer and its labels."""
    home = tmp_path_factory.mktemp("run")
    tiny = str(save_tiny(home / "tiny"))
    enhancers = [[tiny, 0.25], [tiny, None]]
    run(folder, home / "out", home / "labels", enhancers=enhancers)
    return home, enhancers


def test_yaml_says_what_it_is_and_how_it_is_run():
    check_header_and_keys(YAML)


def test_no_key_is_unused():
    text = YAML.read_text("utf-8")
    sources = "\n".join(
        path.read_text("utf-8")
        for path in Path(speechbrain_dsn.__file__).parent.glob("training/*.py")
    )
    unused = [
        key
        for key in top_level_keys(YAML)
        if f"!ref <{key}" not in text
        and f"/<{key}>" not in text
        and not re.search(rf'hparams\.{key}\b|"{key}"', sources)
    ]
    assert unused == ["__set_seed"]


def test_labels_are_what_was_asked_for(finished):
    home, _ = finished
    assert len(rows(home / "labels", "train")) == CLIPS
    # Each fixed mixture is there as it is, and enhanced.
    assert len(rows(home / "labels", "valid")) == 2
    names = [row["id"] for row in rows(home / "labels", "test")]
    assert sum(name.endswith("-enhanced") for name in names) == 3
    for row in rows(home / "labels", "train"):
        for target in TARGETS:
            low, high = METRICS[target].low, METRICS[target].high
            assert low - 0.1 <= float(row[target]) <= high + 0.1
    features = list((home / "labels/features").glob("train-*.npy"))
    assert len(features) == CLIPS
    assert {np.load(path).shape for path in features} == {(1, 249, 120)}


def test_labels_are_pesq_and_dnsmos(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(quality_data, "evaluate_pair", evaluate_pair)
    none = {"enhancers": [], "clips": 1}
    data = load(folder, tmp_path, tmp_path, **SHORT | none)["data"]
    monkeypatch.setattr(quality_data, "SPLITS", ("train",))
    data.prepare()
    (example,) = data.examples["train"]
    noisy, clean, _ = data.sampler.clip(0)
    dnsmos = DNSMOS(max_segments=1)
    for name, score in evaluate_pair(
        clean, noisy, 16_000, TARGETS, dnsmos
    ).items():
        assert example.labels[name] == pytest.approx(score.value, abs=1e-3)


def test_signals_without_scores_are_left_out(folder, tmp_path, monkeypatch):
    def half(clean, heard, rate, names, dnsmos):
        scores = quick_scores(clean, heard, rate, names, dnsmos)
        if len(calls) % 2:
            scores["dnsmos_sig"] = Score(float("nan"), "no speech")
        calls.append(1)
        return scores

    calls = []
    monkeypatch.setattr(quality_data, "evaluate_pair", half)
    monkeypatch.setattr(quality_data, "SPLITS", ("train",))
    some = SHORT | {"enhancers": [], "clips": 4}
    for targets, count in ((list(TARGETS), 2), (["pesq"], 4)):
        hparams = load(folder, tmp_path, tmp_path, targets=targets, **some)
        hparams["data"].prepare()
        assert len(hparams["data"].examples["train"]) == count
    assert len(calls) == 4


def test_results_and_model_folder(finished):
    home, _ = finished
    found = json.loads((home / "out/results.json").read_text("utf-8"))
    assert found["mode"] == "binary_8bit"
    kinds = [(row["signals"], row["target"]) for row in found["rows"]]
    both = ("mixtures", "enhanced")
    assert kinds == [(kind, target) for kind in both for target in TARGETS]
    assert all(row["pearson"]["n_total"] == 3 for row in found["rows"])
    model = load_model(home / "out/model")
    assert model.config.name == "quality-bam" and model.config.kind == "quality"
    assert found["memory_bytes"] == model.enhancer.lobe.memory_bytes(
        "binary_8bit"
    )
    card = (home / "out/model/README.md").read_text("utf-8")
    assert "correlation with PESQ-WB, test, mixtures" in card
    assert "speechbrain-dsn quality speech.wav --model quality-bam" in card
    table = (home / "out/results.md").read_text("utf-8")
    assert table.count("\n") == 4 and "PESQ-WB, r" in table


def test_another_mode_finds_the_labels_and_the_run_goes_on(
    folder, finished, tmp_path
):
    home, enhancers = finished
    labels = tmp_path / "labels"
    shutil.copytree(home / "labels", labels)
    times = {path: path.stat().st_mtime_ns for path in labels.rglob("*")}
    more = {"enhancers": enhancers, "mode": "full_precision"}
    more |= {"targets": ["pesq"], "model_name": "quality-full"}
    run(folder, tmp_path / "out", labels, **more)
    run(folder, tmp_path / "out", labels, plan={"open": 2}, **more)
    assert times == {
        path: path.stat().st_mtime_ns for path in labels.rglob("*")
    }
    log = (tmp_path / "out/train_log.txt").read_text("utf-8")
    assert re.findall(r"(?m)^epoch: (\d+)", log) == ["1", "2"]
    net = load_model(tmp_path / "out/model").enhancer.lobe
    assert (net.mode, net.targets) == ("full_precision", ("pesq",))
    assert sum(p.numel() for p in net.parameters()) == 45_697


def test_a_teacher_scores_what_nobody_labelled(
    folder, finished, tmp_path, monkeypatch
):
    home, enhancers = finished
    calls, forward = [], QualityPredictor.forward

    def noted(net, x, lengths=None):
        calls.append((net.training, x))
        return forward(net, x, lengths)

    monkeypatch.setattr(QualityPredictor, "forward", noted)
    teacher = str(home / "out/model")
    run(
        folder,
        tmp_path,
        home / "labels",
        enhancers=enhancers,
        teacher=teacher,
    )
    steps = [i for i, (training, _) in enumerate(calls) if training]
    assert len(steps) == SHORT["batches_per_epoch"]
    for step in steps:  # the teacher heard all that the student hears
        shown, given = calls[step - 1][1], calls[step][1]
        assert len(given) == 4 and torch.equal(given, shown)
        assert not torch.equal(given[:2], given[2:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": ["pesq"]}, r"targets \('pesq',\), found"),
        ({"teacher": "dsn"}, "dsn"),
        ({"teacher": "self"}, "expected a model"),
    ],
)
def test_teachers_that_do_not_fit(folder, finished, tmp_path, change, message):
    home, enhancers = finished
    settings = {"enhancers": enhancers, "teacher": str(home / "out/model")}
    with pytest.raises(InputError, match=message):
        run(folder, tmp_path, home / "labels", **settings | change)
    assert not (tmp_path / "train_log.txt").exists()


def test_spliced_signals_have_two_parents():
    signals = torch.randn(3, 20, 7)
    made, other = spliced(signals), signals.roll(1, 0)
    parents = torch.stack(
        [torch.cat((signals[:, :cut], other[:, cut:]), 1) for cut in range(21)]
    )
    change = made - parents  # of the right pair the same in all frames
    spread = change.std(2).amax((1, 2))
    found = change[spread.argmin()]
    assert spread.min() < 1e-5
    decibel = found.abs().max() * 4 * 10 / math.log(10)
    assert 0 < decibel < 9 and not torch.equal(found[0], found[1])


def test_labels_go_on_where_they_were_cut(folder, finished, tmp_path):
    home, enhancers = finished
    labels = tmp_path / "labels"
    shutil.copytree(home / "labels", labels)
    table = labels / "labels_train.csv"
    before = {row["id"]: row for row in rows(labels, "train")}
    lines = table.read_text("utf-8").splitlines(keepends=True)
    table.write_text("".join(lines[:-1]) + lines[-1][:9], "utf-8")
    data = load(folder, tmp_path, labels, **SHORT, enhancers=enhancers)["data"]
    data.prepare()
    after = {row["id"]: row for row in rows(labels, "train") if row["key"]}
    assert after == before
    assert len(data.examples["train"]) == CLIPS


def test_lost_features_are_named(folder, finished, tmp_path):
    home, enhancers = finished
    labels = tmp_path / "labels"
    shutil.copytree(home / "labels", labels)
    for path in (labels / "features").glob("valid-*"):
        path.unlink()
    data = load(folder, tmp_path, labels, **SHORT, enhancers=enhancers)["data"]
    data.prepare()
    with pytest.raises(InputError, match="valid-.*npy cannot be read"):
        data.valid()[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enhancers": [["nobody", None]]}, "no model 'nobody'"),
        ({"enhancers": [["mgt-dsn", 2.0]]}, "0 to 1"),
        ({"enhancers": [["dsn", 0.5], ["dsn", 0.5]]}, "dsn@0.5 is there twice"),
        ({"noisy_share": 2.0, "enhancers": []}, "noisy_share is 2.0"),
        (
            {"clip_seconds": 2.0, "enhancers": []},
            "clip_seconds is 2, expected 5",
        ),
    ],
)
def test_bad_settings_stop_before_any_work(folder, tmp_path, change, message):
    hparams = load(folder, tmp_path, tmp_path / "labels", **SHORT | change)
    with pytest.raises(InputError, match=message):
        hparams["data"].prepare()
    assert not list((tmp_path / "labels").glob("labels*"))


def test_degradations_are_drawn_by_name(finished):
    _, enhancers = finished
    found = Degradations(enhancers, noisy_share=0.5, seed=1)
    assert found.kinds == (NOISY, "tiny@0.25", "tiny")
    names = [str(number) for number in range(300)]
    draws = [found.draw(name) for name in names]
    assert draws == [found.draw(name) for name in names]
    assert 120 < draws.count(NOISY) < 180
    assert 40 < draws.count("tiny") < 110
    assert {found.draw(name, enhanced=True) for name in names} == {
        "tiny@0.25",
        "tiny",
    }
    noisy = noise(16_000)[:, 0] * 10
    loud = found.apply(NOISY, noisy)
    assert np.abs(loud).max() == pytest.approx(1)
    few, many = (found.apply(kind, noisy) for kind in found.kinds[1:])
    assert len(few) == len(many) == 16_000 and not np.array_equal(few, many)


def test_every_clip_comes_once_per_pass(tmp_path):
    examples = []
    for number in range(6):
        path = tmp_path / f"{number}.npy"
        np.save(path, np.zeros((1, 10, 8), np.float16))
        examples.append(Example(str(number), NOISY, path, {"pesq": number}))
    counter = Counter()
    clips = LabelledClips(counter, examples, ["pesq"], 2, 3, seed=1)

    def epoch(number):
        counter.current = number
        return torch.cat([clips[i].labels for i in range(3)]).flatten().tolist()

    first, second = epoch(1), epoch(2)
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second and epoch(1) == first
    assert clips[0].features.shape == (2, 10, 8)
    with pytest.raises(IndexError):
        clips[3]


def judging_data(folder, out, judge, **more):
    sizes = {"batch_size": 2, "batches_per_epoch": 2, "scored_clips": 4}
    data = FolderData(
        folder,
        out,
        partial(MixtureSampler, clip_seconds=1.0),
        scored_from=2,
        guided=True,
        judge=judge,
        **sizes | more,
    )
    data.prepare()
    return data


def test_a_judge_scores_every_new_clip(folder, finished, tmp_path):
    home, _ = finished
    judge = str(home / "out/model")
    data = judging_data(folder, tmp_path / "a", judge)
    assert not list((tmp_path / "a").glob("clips_ovrl*"))
    first = data.train_ovrl()
    assert first.shape == (4,) and np.isfinite(first).all()
    counter = Counter()
    clips = data.train(counter)
    assert clips[0].ovrl is None
    prediction = QualityPrediction.from_pretrained(judge)
    column = prediction.targets.index("dnsmos_ovrl")
    for counter.current in (2, 3):
        batch = clips[1]
        wanted = prediction.predict_batch(batch.noisy)[:, column].clamp(1, 5)
        torch.testing.assert_close(batch.ovrl, wanted)
        number = 2 * (counter.current - 1) + 1
        assert torch.equal(batch.noisy, data.sampler.batch(number, 2).noisy)


def test_mgt_dsn_guided_by_a_judge(folder, finished, tmp_path, monkeypatch):
    """One line chooses it: what the policy is told comes from there."""
    home, _ = finished
    trained = SimpleNamespace(enhancer=None)
    for name, given in (("fit_network", (trained, None)), ("write_results", 0)):
        monkeypatch.setattr(enhancement, name, lambda *_, given=given: given)
    path = ROOT / "recipes/Folders/enhance/hparams/mgt_dsn.yaml"
    overrides = {
        "data_folder": str(folder),
        "output_folder": str(tmp_path / "out"),
        "judge": str(home / "out/model"),
        "clip_seconds": 1,
        "batch_size": 2,
        "batches_per_epoch": 1,
        "scored_clips": 4,
    }
    with open(path, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    options = ["--device", "cpu", "--noprogressbar"]
    _, run_opts, _ = sb.parse_arguments([str(path), *options])
    enhancement.run_enhancement(hparams, run_opts)
    mean = hparams["data"].train_ovrl().mean()
    assert hparams["metric_scale"] == pytest.approx(2 / (5 - mean), rel=1e-4)
    hparams["epoch_counter"].current = hparams["scored_from"]
    batch = hparams["data"].train(hparams["epoch_counter"])[0]
    assert batch.ovrl.isfinite().all()


def test_an_enhancer_is_no_judge(folder, tmp_path):
    with pytest.raises(InputError, match="expected one for quality"):
        judging_data(folder, tmp_path, "ftfnet")
