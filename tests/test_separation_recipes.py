"""The separation recipes load, train on published layouts, and resume."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import speechbrain as sb
import talkers
import torch
from hyperpyyaml import load_hyperpyyaml
from recipe_runs import DUAL_PATH
from safetensors.torch import load_file, save_file
from yaml_files import check_header_and_keys, top_level_keys

import speechbrain_dsn
from speechbrain_dsn.cli.main import main
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.pretrained import ModelConfig, load_model, save_model
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.separation import run_separation

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
CORPORA = ("Folders", "WSJ0Mix", "WHAMandWHAMR", "LibriMix")
KINDS = ("static", "slimmable", "gated")
YAMLS = [
    RECIPES / corpus / f"separation/hparams/{kind}.yaml"
    for corpus in CORPORA
    for kind in KINDS
]
every_yaml = pytest.mark.parametrize(
    "path", YAMLS, ids=lambda path: f"{path.parts[-4]}-{path.stem}"
)
SOURCES = "\n".join(
    path.read_text("utf-8")
    for path in Path(speechbrain_dsn.__file__).parent.glob("training/*.py")
)
WSJ = ("tr", "cv", "tt")
SHORT = {
    "clip_seconds": 0.5,
    "batch_size": 2,
    "batches_per_epoch": 2,
    "test_metrics": ["si_sdr"],
    "workers": 1,
}


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
        and f" <{key}>" not in text
        and f"/<{key}>" not in text
        and not re.search(rf'hparams\.{key}\b|"{key}"', SOURCES)
    ]
    assert unused == ["__set_seed"]


@pytest.mark.parametrize("kind", KINDS)
def test_nets_of_a_kind_differ_in_sizes_only(kind):
    """Among corpora, what is built and how it is paid for is the same."""

    def defining(corpus):
        path = RECIPES / corpus / f"separation/hparams/{kind}.yaml"
        text = re.sub(r" *#.*", "", path.read_text("utf-8"))
        blocks = r"(?m)^(?:signal_losses|gate|complexities|lobe|separator|"
        blocks += r"modules|checkpointer|model_config|test_|default_budget)"
        return re.findall(blocks + r".*\n(?: .*\n)*", text)

    found = [defining(corpus) for corpus in CORPORA]
    assert all(blocks == found[0] for blocks in found)
    assert len(found[0]) >= 8


@every_yaml
def test_yaml_loads(path, tmp_path):
    hparams = load(path, tmp_path / "no_data", tmp_path)
    assert hparams["epoch_counter"].limit == hparams["plan"].epochs
    assert hparams["separator"].dynamic == (path.stem != "static")
    with pytest.raises(InputError, match="no_data"):
        hparams["data"].prepare()


# -- runs -------------------------------------------------------------------


def load(path, data, out, /, **overrides):
    """A recipe, with its places and other overrides."""
    overrides |= {"data_folder": str(data), "output_folder": str(out)}
    if "prep_folder" in top_level_keys(path):
        overrides.setdefault("prep_folder", str(out / "lists"))
    with open(path, encoding="utf-8") as file:
        return load_hyperpyyaml(file, overrides)


def run(path, data, out, /, **overrides):
    """The whole recipe in this process, with a handful of batches."""
    hparams = load(path, data, out, **{**SHORT, **DUAL_PATH, **overrides})
    options = ["--device", "cpu", "--noprogressbar"]
    _, run_opts, _ = sb.parse_arguments([str(path), *options])
    run_separation(hparams, run_opts)


def recipe(corpus, kind):
    return RECIPES / corpus / f"separation/hparams/{kind}.yaml"


def gates(out):
    """(epoch, gates) of each line of the log."""
    text = (out / "train_log.txt").read_text("utf-8")
    assert "nan" not in re.sub("rho_overlap: nan", "", text)
    assert "valid si_sdri: " in text
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
def speakers(tmp_path_factory):
    """Folders with three mixtures in each fixed list."""
    root = talkers.folders(tmp_path_factory.mktemp("speakers"))
    head = "id,s1,s2,overlap_percent,s2_gain_db,noise,noise_offset,noise_snr_db"
    for split, first in (("valid", 0), ("test", 2)):
        pair = [f"speech/spk{first + n}/a.wav" for n in (0, 1)]
        noise = f"noise/kind{first // 2}/a.wav"
        rows = [
            f"{split}_{share},{pair[0]},{pair[1]},{share},1.5,{noise},0.1,5"
            for share in (100, 50, 25)
        ]
        text = "\n".join([head, *rows]) + "\n"
        (root / f"separate_{split}.csv").write_text(text, "utf-8")
    return root


def test_static_of_one_width(speakers, tmp_path):
    out = tmp_path / "out"
    run(recipe("Folders", "static"), speakers, out, width=0.5, plan={"open": 1})
    assert gates(out) == [("1", "open")]
    (row,) = results(out)
    assert row["activation"] == 1 and len(row["by_overlap"]) == 3
    model = load_model(out / "model")
    assert model.config.lobe_arguments["utilizations"] == [0.5]
    table = (out / "results.md").read_text("utf-8")
    assert "si_sdri" in table and "dual-path, overlap 25 %" in table


def test_a_converted_model_is_fine_tuned_by_what_it_was(speakers, tmp_path):
    """Static folder, `convert`, gated.yaml with the old one as a teacher."""
    config = ModelConfig(
        "tiny",
        "dual_path",
        DUAL_PATH | {"utilizations": [1.0]},
        "mixture",
        sample_rate=8000,
        kind="separation",
    )
    old = save_model(tmp_path / "old", config.build(), config, "# tiny")
    new = tmp_path / "new"
    assert (
        main(["convert", "--model", f"{old}", "-o", f"{new}", "--gated"]) == 0
    )
    out = tmp_path / "out"
    run(
        recipe("Folders", "gated"),
        speakers,
        out,
        warm_start=str(new / "model.safetensors"),
        warm_epochs=0,
        kernel_size=16,
        teacher=str(old),
        plan={"random": 1, "alone": 0, "policy": 1},
        test_budgets=[1.0],
    )
    assert gates(out) == [("1", "random"), ("2", "policy")]
    assert "taught: " in (out / "train_log.txt").read_text("utf-8")
    with pytest.raises(InputError, match="is for enhancement"):
        run(recipe("Folders", "gated"), speakers, out, teacher="mgt-dsn")


def test_widths_then_gates_from_their_weights(speakers, tmp_path):
    """gated.yaml starts where slimmable.yaml saved a snapshot."""
    slim, out = tmp_path / "slim", tmp_path / "gated"
    run(
        recipe("Folders", "slimmable"),
        speakers,
        slim,
        plan={"random": 2},
        snapshot_epoch=1,
    )
    assert gates(slim) == [("1", "random"), ("2", "random")]
    rows = results(slim)
    assert [row["model"].split("-")[-1] for row in rows] == [
        "0.125",
        "0.25",
        "0.5",
        "1",
    ]
    macs = [row["macs_per_second"] for row in rows]
    assert macs == sorted(macs) and macs[0] < macs[3]
    run(
        recipe("Folders", "gated"),
        speakers,
        out,
        warm_start=str(slim / "epoch1.safetensors"),
        warm_epochs=1,
        plan={"random": 1, "alone": 1, "policy": 1},
        test_budgets=[0.0, 1.0],
        noisy=True,
    )
    assert gates(out) == [("2", "policy"), ("3", "policy")]
    log = (out / "train_log.txt").read_text("utf-8")
    assert "hard_usage" in log and "si_sdri_closed" in log
    decided, narrow, wide, *widths = results(out)
    assert narrow["activation"] < wide["activation"] == 1
    assert narrow["macs_per_second"] <= decided["macs_per_second"]
    assert decided["macs_per_second"] <= wide["macs_per_second"]
    assert len(widths) == 4 and sum(decided["widths"]) == pytest.approx(1)
    assert set(decided["activation_by_speakers"]) <= {"0", "1", "2"}
    assert (out / "widths.png").is_file() and (out / "quality.png").is_file()


@pytest.mark.parametrize("price", ["budget", "balance"])
def test_the_other_prices_train_too(speakers, tmp_path, price):
    out = tmp_path / "out"
    plan = {"random": 0, "alone": 0, "policy": 1}
    budgets = {"test_budgets": [], "gate_loss": price, "snapshot_epoch": None}
    run(recipe("Folders", "gated"), speakers, out, plan=plan, **budgets)
    assert gates(out) == [("1", "policy")]


PUBLISHED = {
    "wsj0-3mix": ("WSJ0Mix", (WSJ, ("mix", "s1", "s2", "s3")), {"num_spks": 3}),
    "wham": ("WHAMandWHAMR", (WSJ, ("mix_both", "s1", "s2", "noise")), {}),
    "whamr": (
        "WHAMandWHAMR",
        (WSJ, ("mix_both_reverb", "s1_anechoic", "s2_anechoic", "noise")),
        {"reverb": True},
    ),
    "libri2mix": (
        "LibriMix",
        (("train-360", "dev", "test"), ("mix_clean", "s1", "s2")),
        {},
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layouts(name, tmp_path):
    corpus, layout, options = PUBLISHED[name]
    root = talkers.tree(tmp_path / "corpus", *layout)
    out, plan = tmp_path / "out", {"open": 1}
    run(recipe(corpus, "static"), root, out, plan=plan, **options)
    (row,) = results(out)
    assert row["metrics"]["si_sdri"]["n_valid"] == 2
    sources = options.get("num_spks", 2)
    assert len(row["files"][0]["sources"]) == sources


def test_dynamic_mixing_with_the_noise_of_the_corpus(tmp_path):
    layout = (WSJ, ("mix_both", "s1", "s2", "noise"))
    root = talkers.tree(tmp_path / "corpus", *layout)
    voices = talkers.folders(tmp_path / "voices", kinds=0) / "speech"
    out = tmp_path / "out"
    path = recipe("WHAMandWHAMR", "static")
    mixing = {"dynamic_mixing": str(voices), "plan": {"open": 1}}
    hparams = load(path, root, out, **SHORT, **DUAL_PATH, **mixing)
    data, counter = hparams["data"], hparams["epoch_counter"]
    data.prepare()
    counter.current = 1
    batch = data.train(counter)[0]
    assert batch.clean.shape == (2, 4000, 2)
    rest = batch.noisy - batch.clean.sum(-1)
    assert rest.square().mean(1).min() > 0
    assert (out / "lists/dynamic_mixing.pcm").is_file()
    assert len(data.valid()) == 2


def test_speeds_change_sources_and_keep_the_sum(tmp_path):
    layout = (WSJ, ("mix", "s1", "s2"))
    root = talkers.tree(tmp_path / "corpus", *layout, seconds=2.0)
    path = recipe("WSJ0Mix", "static")
    hparams = load(path, root, tmp_path / "out", **SHORT, **DUAL_PATH)
    data, counter = hparams["data"], hparams["epoch_counter"]
    data.prepare()
    counter.current = 1
    crops = data.train(counter)
    sums = []
    for index in range(2):
        batch = crops[index]
        assert batch.noisy.shape == (2, 4000)
        torch.testing.assert_close(
            batch.clean.sum(-1), batch.noisy, atol=1e-4, rtol=0
        )
        torch.testing.assert_close(crops[index].clean, batch.clean)
        sums.append(batch.noisy)
    assert not torch.equal(*sums)


class Killed(Exception):
    """In place of a power cut."""


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    speakers, tmp_path, monkeypatch
):
    """Log and weights are the same, whether or not epoch 2 broke off."""

    def train(out):
        plan = {"random": 1, "alone": 0, "policy": 1}
        settings = {"plan": plan, "test_budgets": [], "snapshot_epoch": None}
        run(recipe("Folders", "gated"), speakers, out, **settings)

    def kill(brain, batch, should_step):
        if brain.epoch == 2 and brain.step == 2:
            raise Killed
        start(brain, batch, should_step)

    start = DynamicBrain.on_fit_batch_start
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(whole)
    shutil.copytree(whole / "data", broken / "data")
    with monkeypatch.context() as patch:
        patch.setattr(DynamicBrain, "on_fit_batch_start", kill)
        with pytest.raises(Killed):
            train(broken)
    assert gates(broken) == [("1", "random")]
    train(broken)
    logs, weights = (
        [(out / name).read_bytes() for out in (whole, broken)]
        for name in ("train_log.txt", "model/model.safetensors")
    )
    assert logs[0] == logs[1] and weights[0] == weights[1]


def keep_gradients(brain, path, real_step):
    """Writes the gradients of the first step, as they come from backward."""
    if not path.exists():
        parameters = brain.enhancer.named_parameters()
        gradients = {
            # Gates that did not decide have one on many ranks only.
            k: torch.zeros_like(x) if x.grad is None else x.grad.clone()
            for k, x in parameters
        }
        save_file(gradients, path)
    real_step(brain)


# Writes the first gradients, and a digest of each rank's weights at the end.
SCRIPT = """
import hashlib, os, pathlib, sys
sys.path.insert(0, os.environ["TESTS"])
from speechbrain_dsn.training import brain
from test_separation_recipes import keep_gradients
folder, rank = pathlib.Path(os.environ["DIGESTS"]), os.environ["RANK"]
fit, step = brain.DynamicBrain.fit, brain.DynamicBrain.optimizers_step
def digest(self, *args, **kwargs):
    fit(self, *args, **kwargs)
    sha = hashlib.sha256()
    for value in self.enhancer.state_dict().values():
        sha.update(value.contiguous().numpy().tobytes())
    (folder / rank).write_text(sha.hexdigest())
brain.DynamicBrain.fit = digest
brain.DynamicBrain.optimizers_step = lambda self: keep_gradients(
    self, folder / f"gradients{rank}.safetensors", step
)
sys.argv[0] = "train.py"
exec(compile(open("train.py").read(), "train.py", "exec"))
"""


def test_two_ranks_train_one_network(speakers, tmp_path, monkeypatch):
    """All wide, random widths, gates: with equal weights, and gradients of
    the doubled batch."""
    script, digests = tmp_path / "digest.py", tmp_path / "digests"
    script.write_text(SCRIPT, "utf-8")
    digests.mkdir()
    options = {
        **SHORT,
        **DUAL_PATH,
        "data_folder": speakers,
        "output_folder": tmp_path / "out",
        "batches_per_epoch": 2,  # one for each rank, in any order
        "plan": "{open: 1, random: 1, alone: 0, policy: 1}",
        "test_budgets": "[]",
        "test_metrics": "[si_sdr]",
        "device": "cpu",
        "distributed_backend": "gloo",
    }
    environment = {"DIGESTS": str(digests), "OMP_NUM_THREADS": "1"}
    environment["TESTS"] = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
        + ["--master_port=0", "--standalone", str(script)]
        + ["hparams/gated.yaml", "--noprogressbar"]
        + [f"--{key}={value}" for key, value in options.items()],
        cwd=RECIPES / "Folders/separation",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [(digests / name).read_text("utf-8") for name in "01"]
    assert ranks[0] == ranks[1]
    assert [kind for _, kind in gates(tmp_path / "out")] == [
        "open",
        "random",
        "policy",
    ]
    weights = load_file(tmp_path / "out/model/model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())
    # One process with the doubled batch.
    step = DynamicBrain.optimizers_step
    monkeypatch.setattr(
        DynamicBrain,
        "optimizers_step",
        lambda brain: keep_gradients(
            brain, digests / "gradients.safetensors", step
        ),
    )
    run(
        recipe("Folders", "gated"),
        speakers,
        tmp_path / "one",
        plan={"open": 1, "random": 0, "alone": 0, "policy": 0},
        batch_size=4,
        batches_per_epoch=1,
        test_budgets=[],
    )
    one, *both = (
        load_file(digests / f"gradients{rank}.safetensors")
        for rank in ("", "0", "1")
    )
    assert sum(float(x.abs().sum()) for x in one.values()) > 0
    for each in both:
        torch.testing.assert_close(each, one, rtol=1e-3, atol=1e-5)
