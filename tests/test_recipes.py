"""The recipes load, say how they are run, train, resume and leave results."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from recipe_runs import mini_folder, voicebank
from yaml_files import check_header_and_keys, top_level_keys

import speechbrain_dsn
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.pretrained import load_model
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.enhancement import run_enhancement

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
FOLDERS = RECIPES / "Folders/enhance"
VOICEBANK = RECIPES / "Voicebank/enhance/dynamic"
STATIC = ("ftfnet", "demucs", "conv_fsenet", "nsnet2", "dgru_nsnet2")
NAMES = (
    *STATIC,
    "dsn",
    "mgt_dsn",
    "slim_demucs",
    "dyncp",
    "dynamic_nsnet2",
)
YAMLS = [
    folder / f"hparams/{name}.yaml"
    for folder in (FOLDERS, VOICEBANK)
    for name in NAMES
]
SOURCES = "\n".join(
    path.read_text("utf-8")
    for path in Path(speechbrain_dsn.__file__).parent.glob("training/*.py")
    if "separation" not in path.name
)
every_yaml = pytest.mark.parametrize(
    "path", YAMLS, ids=lambda path: f"{path.parts[-4]}-{path.stem}"
)


# -- what is written in the YAML files --------------------------------------


@every_yaml
def test_yaml_says_what_it_is_and_how_it_is_run(path):
    check_header_and_keys(path)


@every_yaml
def test_no_key_is_unused(path):
    text = path.read_text("utf-8")
    unused = [
        key
        for key in top_level_keys(path)
        if f"!ref <{key}" not in text
        and not re.search(rf'hparams\.{key}\b|"{key}"', SOURCES)
    ]
    assert unused == ["__set_seed"]


@every_yaml
def test_yaml_has_what_training_reads(path):
    read = re.findall(r'hparams(?:\.|\[")(\w+)', SOURCES)
    # By the run.
    made = {"first_epoch", "metric_scale", "teacher_net", "sorting"}
    wanted = set(read) - made - {"setdefault", "values"}
    if path.stem in STATIC:
        gate = ("gate_", "default_budget")
        wanted = {key for key in wanted if not key.startswith(gate)}
    if path.stem != "mgt_dsn":
        wanted -= {"mean_activation", "scored_from"}
    assert wanted <= set(top_level_keys(path))


@pytest.mark.parametrize("name", NAMES)
def test_what_defines_a_net_is_the_same_on_every_corpus(name):
    """Recipes of a net differ in data, lengths and rates, in nothing else."""

    def defining(folder):
        text = (folder / f"hparams/{name}.yaml").read_text("utf-8")
        text = re.sub(r" *#.*", "", text)
        blocks = r"(?m)^(?:signal_losses|gate|metric_scale|mean_|"
        blocks += r"lobe|enhancer|modules|model_config).*\n(?: .*\n)*"
        return re.findall(blocks, text)

    assert defining(FOLDERS) == defining(VOICEBANK)
    assert len(defining(FOLDERS)) >= 6


@every_yaml
def test_yaml_loads(path, tmp_path):
    hparams = load(path, tmp_path / "no_data", tmp_path)
    assert hparams["epoch_counter"].limit == hparams["plan"].epochs
    assert hparams["enhancer"].dynamic == (path.stem not in STATIC)
    with pytest.raises(InputError, match="no_data"):
        hparams["data"].prepare()


# -- runs -------------------------------------------------------------------


def load(path, data, out, /, **overrides):
    """A recipe, with its places and other overrides."""
    overrides |= {"data_folder": str(data), "output_folder": str(out)}
    with open(path, encoding="utf-8") as file:
        return load_hyperpyyaml(file, overrides)


def run(path, data, out, /, **overrides):
    """The whole recipe in this process, with a handful of batches."""
    small = {"clip_seconds": 1, "batch_size": 2, "batches_per_epoch": 2}
    small |= {"test_metrics": ["si_sdr"], "workers": 1}
    hparams = load(path, data, out, **small, **overrides)
    options = ["--device", "cpu", "--noprogressbar"]
    _, run_opts, _ = sb.parse_arguments([str(path), *options])
    run_enhancement(hparams, run_opts)


def gates(out):
    """(epoch, gates) of each line of the log."""
    text = (out / "train_log.txt").read_text("utf-8")
    assert all("nan" not in x for x in re.findall(r"train .* - valid", text))
    return re.findall(r"(?m)^epoch: (\d+), gates: (\w+)", text)


def results(out):
    """The rows of the results table, after a look at the other outputs."""
    assert (out / "results.md").read_text("utf-8").startswith("|")
    assert (out / "report.html").read_text("utf-8").count("<audio ") >= 3
    model = load_model(out / "model")
    wav = torch.randn(1, 4000) / 10
    assert model.enhancer(wav)[0].isfinite().all()
    return json.loads((out / "results.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return mini_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return voicebank(tmp_path_factory.mktemp("voicebank"))


def test_static_net_then_gates_from_its_weights(folder, tmp_path):
    """dsn.yaml starts where ftfnet.yaml saved a snapshot."""
    static, dynamic = tmp_path / "ftfnet", tmp_path / "dsn"
    hparams = FOLDERS / "hparams"
    clips = {"scored_clips": 4}
    run(
        hparams / "ftfnet.yaml",
        folder,
        static,
        plan={"open": 2},
        snapshot_epoch=1,
        **clips,
    )
    assert gates(static) == [("1", "open"), ("2", "open")]
    (row,) = results(static)
    assert row["activation"] == 1
    run(
        hparams / "dsn.yaml",
        folder,
        dynamic,
        warm_start=str(static / "epoch1.safetensors"),
        warm_epochs=1,
        plan={"open": 1, "random": 1, "policy": 1},
        test_budgets=[0.0, 1.0],
        **clips,
    )
    assert gates(dynamic) == [("2", "random"), ("3", "policy")]
    _, closed, opened = results(dynamic)
    assert closed["activation"] == 0 and opened["activation"] == 1
    assert closed["macs_per_second"] < 0.5 * opened["macs_per_second"]


def test_router_over_widths(folder, tmp_path):
    """Widths at random, the router alone, both; and a folder per width."""
    out, sizes = tmp_path / "out", {"hidden": 8, "router_channels": 8}
    path = FOLDERS / "hparams/slim_demucs.yaml"
    stages = {"random": 1, "alone": 1, "policy": 1}
    lrs = {"lr": 1e-4, "policy_lr": 1e-4, "snapshot_epoch": 2}
    sizes |= {"scored_clips": 4, "test_budgets": [0.0, 1.0]}
    run(path, folder, out, plan=stages, **sizes, **lrs)
    assert gates(out) == [("1", "random"), ("2", "policy"), ("3", "policy")]
    log = (out / "train_log.txt").read_text("utf-8")
    assert "use_0.125" in log and "hard_usage" in log
    _, narrow, wide = results(out)
    assert narrow["activation"] == 0.125 and wide["activation"] == 1
    assert narrow["macs_per_second"] < 0.6 * wide["macs_per_second"]
    routed, wav = load_model(out / "model"), torch.randn(1, 4000) / 10
    for level, width in enumerate((0.125, 0.25, 0.5, 1)):
        cut = load_model(out / f"model-{width:g}")
        gate = torch.eye(4)[level].expand(1, cut.enhancer.frames(4000), 4)
        same, _ = routed.enhancer(wav, gate=gate)
        torch.testing.assert_close(cut.enhancer(wav)[0], same)
    joint = {"random": 1, "alone": 0, "policy": 1}
    start = {"warm_start": str(out / "epoch2.safetensors"), "warm_epochs": 1}
    run(path, folder, tmp_path / "joint", plan=joint, **start, **sizes)
    assert gates(tmp_path / "joint") == [("2", "policy")]


def test_gates_of_channels(folder, tmp_path):
    """From the static net's weights, jointly with the gates, to a budget."""
    static, dynamic = tmp_path / "static", tmp_path / "dyncp"
    recipes, small = FOLDERS / "hparams", {"scored_clips": 4}
    plan = {"open": 1}
    run(
        recipes / "conv_fsenet.yaml",
        folder,
        static,
        plan=plan,
        snapshot_epoch=1,
        **small,
    )
    (row,) = results(static)
    assert row["macs_per_second"] == 662_528 * 62.5
    run(
        recipes / "dyncp.yaml",
        folder,
        dynamic,
        plan=plan | {"policy": 1},
        warm_epochs=1,
        warm_start=str(static / "epoch1.safetensors"),
        test_budgets=[0.0, 1.0],
        strengths=[1.0],
        **small,
    )
    assert gates(dynamic) == [("2", "policy")]
    quarter, closed, opened = results(dynamic)
    assert closed["activation"] == 0
    assert opened["activation"] == pytest.approx(1)
    assert 0.1 < quarter["activation"] < 0.4
    assert closed["macs_per_second"] < 0.6 * opened["macs_per_second"]


def test_exits_one_by_one_together_and_by_a_router(folder, tmp_path):
    """Every stage of the plan; and a folder per exit."""
    out, path = tmp_path / "out", FOLDERS / "hparams/dynamic_nsnet2.yaml"
    stages = {"layerwise": 1, "joint": 1, "random": 1, "alone": 1, "policy": 1}
    small = {"exits": [1, 2, 5], "split": "parallel", "scored_clips": 4}
    small |= {"test_budgets": [0.0, 1.0], "strengths": [1.0]}
    run(path, folder, out, plan=stages, level_weights=[1, 2, 3], **small)
    kinds = ["layerwise", "joint", "random", "policy", "policy"]
    assert [kind for _, kind in gates(out)] == kinds
    _, near, far = results(out)
    assert far["activation"] == 1
    assert near["macs_per_second"] < 0.1 * far["macs_per_second"]
    for exit in (1, 2, 5):
        cut = load_model(out / f"model-{exit}")
        assert cut.config.lobe_arguments["exits"] == [exit]


class Killed(Exception):
    """In place of a power cut."""


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    folder, tmp_path, monkeypatch
):
    """Log and weights are the same, whether or not epoch 2 broke off."""

    def train(out):
        run(
            FOLDERS / "hparams/mgt_dsn.yaml",
            folder,
            out,
            plan={"open": 0, "random": 1, "policy": 1},
            scored_clips=4,
            scored_from=1,
            test_budgets=[],
        )

    def kill(brain, batch, should_step):
        if brain.epoch == 2 and brain.step == 2:
            raise Killed
        start(brain, batch, should_step)

    start = DynamicBrain.on_fit_batch_start
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(whole)
    shutil.copytree(whole / "data", broken / "data")  # lists and scores
    with monkeypatch.context() as patch:
        patch.setattr(DynamicBrain, "on_fit_batch_start", kill)
        with pytest.raises(Killed):
            train(broken)
    assert gates(broken) == [("1", "random")]
    train(broken)
    assert gates(broken)[1:] == [("2", "policy")]
    logs, weights = (
        [(out / name).read_bytes() for out in (whole, broken)]
        for name in ("train_log.txt", "model/model.safetensors")
    )
    assert logs[0] == logs[1] and weights[0] == weights[1]


def test_voicebank_guided_by_scores(corpus, tmp_path):
    prepared, out = tmp_path / "prepared", tmp_path / "out"
    run(
        VOICEBANK / "hparams/mgt_dsn.yaml",
        corpus,
        out,
        prep_folder=str(prepared),
        valid_speakers=1,
        plan={"open": 0, "random": 1, "policy": 1},
        test_budgets=[],
    )
    assert gates(out) == [("1", "random"), ("2", "policy")]
    (row,) = results(out)
    assert row["metrics"]["si_sdr"]["n_valid"] == 2
    entries = json.loads((prepared / "valid.json").read_text("utf-8"))
    assert sorted(entries) == ["p226_001", "p226_002"]
    assert all(1 < entry["ovrl"] < 5 for entry in entries.values())


def test_train_py_runs_as_its_readme_says(corpus, tmp_path):
    """The script itself, with SpeechBrain's command line."""
    out = tmp_path / "out"
    options = {
        "data_folder": corpus,
        "output_folder": out,
        "prep_folder": tmp_path / "prepared",
        "valid_speakers": 1,
        "clip_seconds": 0.5,
        "batch_size": 2,
        "batches_per_epoch": 2,
        "plan": "{open: 1}",
        "test_metrics": "[si_sdr]",
        "device": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "train.py", "hparams/ftfnet.yaml", "--noprogressbar"]
        + [f"--{key}={value}" for key, value in options.items()],
        cwd=VOICEBANK,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert gates(out) == [("1", "open")]
    assert "ftfnet" in done.stdout and len(results(out)) == 1
    assert (out / "hyperparams.yaml").is_file()
