"""Two ranks train as one: equal weights, gradients of the doubled batch,
statistics of both, one writer. And what else SpeechBrain's command line
offers: it works, or is refused before any work starts."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import recipe_runs
import speechbrain as sb
import torch
from safetensors.torch import load_file
from yaml_files import top_level_keys

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.training.enhancement import run_enhancement
from speechbrain_dsn.training.quality import run_quality
from speechbrain_dsn.training.separation import run_separation

FOLDERS = Path(__file__).parents[1] / "recipes/Folders/enhance"

# Writes a digest of each rank's weights after the run.
SCRIPT = """
import hashlib, os, sys
from speechbrain_dsn.training import enhancement, brain
fit = brain.DynamicBrain.fit
def digest(self, *args, **kwargs):
    fit(self, *args, **kwargs)
    sha = hashlib.sha256()
    for value in self.enhancer.state_dict().values():
        sha.update(value.contiguous().numpy().tobytes())
    with open(f"{os.environ['DIGESTS']}/{os.environ['RANK']}", "w") as file:
        file.write(sha.hexdigest())
brain.DynamicBrain.fit = digest
sys.argv[0] = "train.py"
exec(compile(open("train.py").read(), "train.py", "exec"))
"""


def test_two_ranks_hold_one_network(tmp_path):
    """Every stage of the plan: open, random gates, the policy."""
    script = tmp_path / "digest.py"
    script.write_text(SCRIPT, "utf-8")
    digests = tmp_path / "digests"
    digests.mkdir()
    options = {
        "data_folder": miniset_folder(),
        "output_folder": tmp_path / "out",
        "clip_seconds": 0.5,
        "batch_size": 2,
        "batches_per_epoch": 4,
        "scored_clips": 4,
        "plan": "{open: 1, random: 1, policy: 1}",
        "strengths": "[]",
        "test_budgets": "[]",
        "test_metrics": "[si_sdr]",
        "device": "cpu",
        "distributed_backend": "gloo",
    }
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
        + ["--master_port=0", "--standalone", str(script)]
        + ["hparams/dsn.yaml", "--noprogressbar"]
        + [f"--{key}={value}" for key, value in options.items()],
        cwd=FOLDERS,
        env={**os.environ, "DIGESTS": str(digests)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {path.name: path.read_text("utf-8") for path in digests.iterdir()}
    assert set(found) == {"0", "1"} and found["0"] == found["1"]
    log = (tmp_path / "out/train_log.txt").read_text("utf-8")
    epochs = re.findall(r"(?m)^epoch: (\d+)", log)
    assert epochs == ["1", "2", "3"]
    weights = load_file(tmp_path / "out/model/model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


# ---------------------------------------------------------- every recipe

every_recipe = pytest.mark.parametrize(
    "path", recipe_runs.YAMLS, ids=recipe_runs.name_of
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return recipe_runs.corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with recipe_runs.Recipes(folder) as server:
        yield server


def plan_of(path):
    """Every kind of stage, one level after the other too where that is
    possible."""
    plan = recipe_runs.stages_of(path)
    return plan | ({"layerwise": 1} if "joint" in plan else {})


@pytest.mark.trust
@every_recipe
def test_two_ranks_of_every_recipe(recipes, corpus, tmp_path, path):
    """Started as torchrun starts them, through every kind of stage."""
    out, notes, plan = tmp_path / "two", tmp_path / "notes", plan_of(path)
    data = corpus(path)
    recipes.done(path, data, out, plan=plan, ranks=2, notes=notes)
    first, second = (
        json.loads((notes / f"notes{rank}.json").read_text("utf-8"))
        for rank in (0, 1)
    )
    # One network, random widths and statistics for both.
    assert first == second
    assert bool(first["gates"]) == ("random" in plan)
    stages = [kind for kind in plan if kind in STAGES]
    assert len(first["stats"]) == len(stages)
    # One writer.
    for kind in ("changed", "saved"):
        assert (notes / f"{kind}0").is_file()
        assert not (notes / f"{kind}1").exists()
    if "lanes" in top_level_keys(path):
        return  # shards are dealt to ranks: a larger batch holds other clips
    # One process with the doubled batch.
    one, alone = tmp_path / "one", tmp_path / "alone"
    for name in ("data", "lists", "labels"):
        if (out / name).is_dir():  # scores are the same
            shutil.copytree(out / name, one / name)
    doubled = {"batch_size": 4, "batches_per_epoch": 1}
    plan = {kind: 0 for kind in plan} | {"open": 1, "decay_epochs": 1}
    recipes.done(path, data, one, plan=plan, notes=alone, **doubled)
    wanted = load_file(alone / "gradients0.safetensors")
    assert sum(float(x.abs().sum()) for x in wanted.values()) > 0
    for rank in (0, 1):
        found = load_file(notes / f"gradients{rank}.safetensors")
        for name, gradient in wanted.items():
            scale = float(gradient.abs().max())
            torch.testing.assert_close(
                found[name],
                gradient,
                rtol=1e-3,
                atol=1e-3 * scale + 1e-6,
                msg=lambda text, name=name: f"{name}: {text}",
            )
    stats = json.loads((alone / "notes0.json").read_text("utf-8"))["stats"]
    assert first["stats"][0] == pytest.approx(stats[0], rel=1e-4)


STAGES = ("open", "layerwise", "joint", "random", "alone", "policy")


@pytest.mark.trust
@every_recipe
def test_bfloat16_trains_every_recipe(recipes, corpus, tmp_path, path):
    """Through every kind of stage, to weights that are finite."""
    out, plan = tmp_path / "out", plan_of(path)
    recipes.done(path, corpus(path), out, "--precision=bf16", plan=plan)
    (saved,) = out.glob("epoch1.safetensors")
    weights = load_file(saved)
    assert all(x.isfinite().all() for x in weights.values())
    assert all(x.dtype != torch.bfloat16 for x in weights.values())
    log = (out / "train_log.txt").read_text("utf-8")
    losses = re.findall(r"train (.*?) - valid", log)
    assert len(losses) == sum(kind in STAGES for kind in plan)
    assert not any("nan" in text or "inf" in text for text in losses)


def test_recurrences_keep_their_precision_under_autocast():
    """The short way to what bfloat16 has to leave alone in all nets."""
    from speechbrain_dsn.nnet.scan import gru_scan
    from speechbrain_dsn.nnet.selective import selective_scan

    torch.manual_seed(0)
    w_ih, w_hh = torch.randn(2, 12, 3), torch.randn(2, 12, 4)
    bias, x = torch.zeros(2, 12), torch.randn(5, 2, 3, 9)
    projected, h0 = torch.randn(5, 2, 9, 12), torch.zeros(2, 9, 4)

    def results():
        w = w_hh.clone().requires_grad_()
        states = gru_scan(x, w_ih, w, bias, bias)
        others = selective_scan(projected, w, bias, h0, active=2)
        return states, others, w

    with torch.autocast("cpu", torch.bfloat16):
        *under, weight = results()
    (under[0].sum() + under[1].sum()).backward()
    *plain, same = results()
    (plain[0].sum() + plain[1].sum()).backward()
    for ours, theirs in zip(
        [*under, weight.grad], [*plain, same.grad], strict=True
    ):
        assert torch.equal(ours, theirs) and ours.dtype == torch.float32


@pytest.mark.parametrize("run", [run_enhancement, run_separation, run_quality])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("compile", True),
        ("jit", True),
        ("data_parallel_backend", True),
        ("auto_mix_prec", True),
        ("precision", "fp16"),
        ("eval_precision", "fp16"),
    ],
)
def test_what_no_recipe_can_do_is_refused_first(run, option, value):
    """One line, before the recipe is even looked at."""
    _, run_opts, _ = sb.parse_arguments(["x.yaml", "--device", "cpu"])
    with pytest.raises(InputError, match=f"--{option}.*expected") as caught:
        run({}, replace(run_opts, **{option: value}))
    assert "\n" not in str(caught.value)
