"""The DNS recipe: trains, on one rank and on two, and goes on in mid epoch."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import load_file
from tiny_dns import make_corpus, make_shards
from yaml_files import check_header_and_keys, top_level_keys

from speechbrain_dsn.dataio.shards import ShardFolder
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.training import enhancement
from speechbrain_dsn.training.brain import DynamicBrain

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/DNS/enhancement/dynamic"
FOLDERS = ROOT / "recipes/Folders/enhance"
NAMES = ("ftfnet", "dsn", "mgt_dsn")
every_name = pytest.mark.parametrize("name", NAMES)
SMALL = {
    "batch_size": 2,
    "lanes": 2,
    "loader_workers": 0,
    "test_metrics": ["si_sdr"],
    "workers": 1,
    "strengths": [],
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Nine clips in three shards: an odd number for two ranks."""
    corpus = make_corpus(tmp_path_factory.mktemp("dns"))
    out = tmp_path_factory.mktemp("shards")
    make_shards(corpus, out)
    return out


# -- what is written in the YAML files --------------------------------------


def text_of(folder, name):
    return (folder / f"hparams/{name}.yaml").read_text("utf-8")


@every_name
def test_yaml_says_what_it_is_and_how_it_is_run(name):
    check_header_and_keys(RECIPE / f"hparams/{name}.yaml")


@every_name
def test_yaml_differs_from_that_of_folders_in_its_data_only(name):
    """And in rates, and in what a long run needs."""

    def rest(folder):
        text = re.sub(r" *#.*", "", text_of(folder, name))
        text = re.sub(r"(?ms)^data:.*?\n\n", "", text)
        own = "judge|clip_seconds|batch|scored_|reverb|loader_workers|lanes"
        own += "|lr|policy_lr|ckpt_interval"
        return re.sub(rf"(?m)^(?:{own}|    warmup_steps).*\n", "", text).split()

    assert rest(RECIPE) == rest(FOLDERS)
    keys = top_level_keys(RECIPE / f"hparams/{name}.yaml")
    assert {"loader_workers", "ckpt_interval_minutes"} < set(keys)


@every_name
def test_yaml_loads(name, tmp_path):
    hparams = load(name, tmp_path / "no_data", tmp_path)
    assert hparams["enhancer"].dynamic == (name != "ftfnet")
    with pytest.raises(InputError, match="no_data"):
        hparams["data"].prepare()


# -- one rank ---------------------------------------------------------------


def load(name, data, out, /, **overrides):
    overrides |= {"data_folder": str(data), "output_folder": str(out)}
    with open(RECIPE / f"hparams/{name}.yaml", encoding="utf-8") as file:
        return load_hyperpyyaml(file, overrides)


def run(name, data, out, /, *options, **overrides):
    """The whole recipe in this process."""
    hparams = load(name, data, out, **{**SMALL, **overrides})
    options = ["--device=cpu", "--noprogressbar", *options]
    _, run_opts, _ = sb.parse_arguments([name, *options])
    enhancement.run_enhancement(hparams, run_opts)
    return hparams


class Killed(Exception):
    """In place of a power cut."""


def test_a_run_killed_in_mid_epoch_ends_as_if_it_had_not_been(
    shards, tmp_path, monkeypatch
):
    """Log and weights are the same; so are the clips, each once an epoch."""
    start, clips = DynamicBrain.on_fit_batch_start, {}

    def note(brain, batch, should_step):
        if note.kills == (brain.epoch, brain.step):
            raise Killed
        rows = [row.numpy().tobytes() for row in batch.noisy]
        note.seen.setdefault(brain.epoch, []).extend(rows)
        start(brain, batch, should_step)

    monkeypatch.setattr(DynamicBrain, "on_fit_batch_start", note)
    monkeypatch.setattr(enhancement, "write_results", lambda *args: None)
    plan = {"open": 0, "random": 1, "policy": 1}
    often = "--ckpt_interval_steps=1", "--ckpt_interval_minutes=0"

    def train(out, loader_workers=0):
        options = {"plan": plan, "loader_workers": loader_workers}
        run("mgt_dsn", shards, tmp_path / out, *often, **options)

    for out, kill in (("whole", None), ("broken", (2, 4))):
        note.seen, note.kills = {}, kill
        if kill:
            with pytest.raises(Killed):
                train(out)
            note.kills = None
        train(out, 2 if kill else 0)
        clips[out] = note.seen
    assert clips["whole"] == clips["broken"]
    for epoch in (1, 2):
        assert set(Counter(clips["whole"][epoch]).values()) == {1}
        assert len(clips["whole"][epoch]) == 9
    assert clips["whole"][1] != clips["whole"][2]
    logs, weights = (
        [max((tmp_path / o).glob(name)) for o in ("whole", "broken")]
        for name in ("train_log.txt", "save/CKPT*/enhancer.ckpt")
    )
    assert logs[0].read_bytes() == logs[1].read_bytes()
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_position_counts_in_the_epoch_it_was_saved_in(tmp_path):
    """Dealt to other ranks, or in other batches, it would lose and repeat."""

    def brain(batches):
        net = torch.nn.Linear(1, 1)
        hparams = {"batches_per_epoch": batches}
        return DynamicBrain(modules={"enhancer": net}, hparams=hparams)

    path, saved, same, other = tmp_path / "brain", *map(brain, (5, 5, 6))
    saved.step, saved.sums = 3, {"spectral": 0.1 + 0.2}
    saved._save(path)
    same._recover(path, end_of_epoch=False)
    assert same.step == 3 and same.sums == saved.sums
    with pytest.raises(InputError, match="found 6 on 1"):
        other._recover(path, end_of_epoch=False)
    other._recover(path, end_of_epoch=True)


def test_a_recipe_from_shards_to_results(shards, tmp_path):
    hparams = run(
        "mgt_dsn",
        shards,
        tmp_path,
        plan={"open": 1, "random": 0, "policy": 1},
        warm_epochs=0,
        test_budgets=[],
    )
    assert hparams["batches_per_epoch"] == 5
    mean = ShardFolder(shards / "train_shards").ovrl
    expected = 4 * 0.5 / (5 - sum(mean) / len(mean))
    assert hparams["metric_scale"] == pytest.approx(expected)
    (row,) = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert row["metrics"]["si_sdr"]["n_valid"] == 2
    assert (tmp_path / "model/model.safetensors").is_file()


# -- two ranks --------------------------------------------------------------

# Notes what each rank has trained on, and can die in mid epoch.
SCRIPT = """
import hashlib, os, sys
from speechbrain_dsn.training import enhancement
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.shard_data import ShardData

prepare = ShardData.prepare
def quick(self):
    prepare(self)
    print("steps", self.batches_per_epoch)
ShardData.prepare = quick
def note(self, batch, outputs, loss, should_step):
    with open(f"{os.environ['SEEN']}/{os.environ['RANK']}", "a") as file:
        for row in batch.noisy:
            sha = hashlib.sha256(row.numpy().tobytes()).hexdigest()
            print(self.epoch, sha, file=file)
DynamicBrain.on_fit_batch_end = note
start = DynamicBrain.on_fit_batch_start
def kill(self, batch, should_step):
    if os.environ["KILL"] == f"{self.epoch} {self.step}":
        os._exit(9)
    start(self, batch, should_step)
DynamicBrain.on_fit_batch_start = kill
sys.argv[0] = "train.py"
exec(compile(open("train.py").read(), "train.py", "exec"))
"""


def two_ranks(script, shards, out, seen, kill="", loader_workers=0):
    options = {
        "data_folder": shards,
        "output_folder": out,
        "batch_size": 2,
        "lanes": 2,
        "loader_workers": loader_workers,
        "plan": "{open: 2}",
        "ckpt_interval_minutes": 0,
        "ckpt_interval_steps": 1,
        "strengths": "[]",
        "test_metrics": "[si_sdr]",
        "device": "cpu",
        "distributed_backend": "gloo",
    }
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
        + ["--master_port=0", "--standalone", str(script)]
        + ["hparams/ftfnet.yaml", "--noprogressbar"]
        + [f"--{key}={value}" for key, value in options.items()],
        cwd=RECIPE,
        env={**os.environ, "SEEN": str(seen), "KILL": kill},
        capture_output=True,
        text=True,
    )


def check_two_ranks(shards, folder, loader_workers):
    """Killed in mid epoch 2, then called again."""
    script, seen = folder / "note.py", folder / "seen"
    script.write_text(SCRIPT, "utf-8")
    seen.mkdir()
    arguments = script, shards, folder / "out", seen
    broken = two_ranks(*arguments, "2 2", loader_workers)
    assert broken.returncode != 0
    assert "epoch: 1" in (folder / "out/train_log.txt").read_text("utf-8")
    done = two_ranks(*arguments, "", loader_workers)
    assert done.returncode == 0, done.stderr[-3000:]
    epochs = {1: [], 2: []}
    for rank in ("0", "1"):
        for line in (seen / rank).read_text("utf-8").splitlines():
            epoch, sha = line.split()
            epochs[int(epoch)].append(sha)
    for clips in epochs.values():
        assert len(clips) == len(set(clips)) == 9
    assert set(epochs[1]) == set(epochs[2]) and epochs[1] != epochs[2]
    weights = load_file(folder / "out/model/model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


def test_two_ranks_see_each_clip_once(shards, tmp_path):
    """Five clips for one and four for the other, in three batches each."""
    check_two_ranks(shards, tmp_path, loader_workers=2)


@pytest.mark.trust
def test_two_ranks_that_read_for_themselves(shards, tmp_path):
    check_two_ranks(shards, tmp_path, loader_workers=0)


# -- what it takes ----------------------------------------------------------


@pytest.fixture
def throughput(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return importlib.import_module("training_throughput")


def test_hours_follow_from_rates(throughput):
    """Ten epochs at 20 s/s and ten at 5 s/s: 2.5 times the data's length."""
    kinds = [{"epochs": 10, "rate": 20.0}, {"epochs": 10, "rate": 5.0}]
    args = SimpleNamespace(epochs=None, scaling=0.5, price=2.0)
    one = throughput.estimate("net", kinds, 140.0, 1, args)
    assert one["wall_hours"] == pytest.approx(350)
    assert one["cost"] == pytest.approx(700) and one["epochs"] == 20
    three = throughput.estimate("net", kinds, 140.0, 3, args)
    assert three["wall_hours"] == pytest.approx(350 / 2)
    assert three["cost"] == pytest.approx(700 * 1.5)
    args = SimpleNamespace(epochs=10, scaling=0.5, price=None)
    half = throughput.estimate("net", kinds, 140.0, 1, args)
    assert half["wall_hours"] == pytest.approx(175) and half["cost"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nets", "nothing"], "--nets nothing: expected some of dsn"),
        (["--scaling", "2"], "scaling of 1 or less"),
        (["--json", "missing/x.json"], "not an existing folder"),
    ],
)
def test_throughput_refuses(throughput, capsys, arguments, message):
    assert throughput.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.trust
def test_throughput_is_measured(throughput, tmp_path, capsys):
    out = tmp_path / "rates.json"
    small = ["--steps=1", "--batch_size=1", "--clip_seconds=1", "--price=3"]
    assert throughput.main([*small, f"--json={out}"]) == 0
    found = json.loads(out.read_text("utf-8"))
    kinds = found["training"]["mgt_dsn"]
    assert [kind["gates"] for kind in kinds][:3] == ["open", "random", "policy"]
    assert sum(kind["epochs"] for kind in kinds) == 24
    assert all(kind["rate"] > 0 for kind in kinds)
    assert found["reading"] > 1 and found["preparing"] > 1
    assert len(found["estimates"]) == 2 * 2 * 4
    assert "estimates" in capsys.readouterr().out
