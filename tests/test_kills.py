"""Whatever is killed, or finds the disk full, goes on where it was.

Each boundary between two changes of the disk is tried, in a process of its
own (see faults.py); what comes out at the end is what comes out of a run that
nobody stopped.
"""

import random
import signal

import numpy as np
import pytest
import recipe_runs
import talkers
import torch
from faults import (
    at_each_change,
    die_before,
    full_from,
    in_fork,
    no_file_beyond,
)
from safetensors.torch import load_file
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter
from test_quality_recipe import load as load_quality
from test_quality_recipe import quick_scores
from test_quantize_cli import OPERATORS, evaluations
from tiny_model import noise, save_tiny, tiny_model

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.dataio import ovrl
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.dataio.separation import prepare_librimix, prepare_wsj0mix
from speechbrain_dsn.dataio.store import AudioStore
from speechbrain_dsn.dataio.tables import write_text
from speechbrain_dsn.dataio.voicebank import prepare_voicebank
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.pretrained import load_model
from speechbrain_dsn.quantization.search import SearchOptions, search
from speechbrain_dsn.training import quality_data
from speechbrain_dsn.training.checkpointer import RandomState, SafeCheckpointer


def tree(folder):
    """Names and contents of what is there, unfinished files left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".part"
    }


# ----------------------------------------------------------- checkpoints


class Training:
    """All that a checkpoint holds, filled with one number."""

    def __init__(self, folder):
        self.layer = torch.nn.Linear(20, 20)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), momentum=0.9)
        self.counter = EpochCounter(99)
        parts = {
            "layer": self.layer,
            "optimizer": self.optimizer,
            "counter": self.counter,
            "random": RandomState(),
        }
        self.checkpointer = SafeCheckpointer(folder, parts)

    def save(self, value, name=None):
        """A checkpoint of the epoch ``value``; two are kept."""
        self.layer.weight.data.fill_(value)
        state = self.optimizer.state_dict()
        state["param_groups"][0]["lr"] = float(value)
        self.optimizer.load_state_dict(state)
        self.counter.current = value
        torch.manual_seed(value)
        self.checkpointer.save_and_keep_only(
            meta={"unixtime": float(value)}, name=name, num_to_keep=2
        )

    def recover(self):
        """The epoch that is found, in which all parts agree."""
        found = self.checkpointer.recover_if_possible()
        if found is None:
            return None
        (value,) = self.layer.weight.unique().tolist()
        assert self.optimizer.param_groups[0]["lr"] == value
        assert self.counter.current == value
        drawn = torch.rand(1)
        torch.manual_seed(int(value))
        assert torch.equal(drawn, torch.rand(1))
        return int(value)


def no_leftovers(folder):
    """Every folder of checkpoints is one, and no other one is there."""
    return all(Checkpointer._is_checkpoint_dir(x) for x in folder.iterdir())


@pytest.mark.parametrize("name", [None, "named"])
def test_a_checkpoint_is_whole_or_not_there(tmp_path, name, caplog):
    """Killed anywhere in three saves, of which the last deletes the first."""
    seen = set()

    def work(place):
        training = Training(place)
        for value in (1, 2, 3):
            training.save(value, name)

    def look(place):
        training = Training(place)
        assert no_leftovers(place)
        seen.add(training.recover())
        count = len(training.checkpointer.list_checkpoints())
        assert count <= (2 if name is None else 1) + (name is None)
        training.save(4, name)
        assert training.recover() == 4

    tried = at_each_change(tmp_path, work, look)
    assert tried > 30 and seen == {None, 1, 2, 3}
    # None was ever broken, not even in part.
    assert "CANNOT BE" not in caplog.text


def two_saved(place):
    """Two checkpoints, which the disk then has no room for a third of."""
    training = Training(place)
    training.save(1)
    training.save(2)
    return training


@pytest.mark.parametrize("kill", [True, False])
def test_a_checkpoint_that_ends_in_mid_file(tmp_path, kill):
    """Files of every length: a kill as they grow, or a disk that is full."""
    whole = tmp_path / "whole"
    two_saved(whole)
    largest = max(x.stat().st_size for x in whole.rglob("*.ckpt"))
    failed = 0
    # A random state that is pickled has a size that varies: ample at last.
    for size in [0, 1, 100, *range(1000, largest, 1000), 2 * largest]:
        place = tmp_path / f"{size}"
        training = two_saved(place)
        before = tree(place)

        def work(training=training, size=size):
            no_file_beyond(size, kill)
            training.save(3)

        code = in_fork(work)
        if code:
            failed += 1
            assert code == (-signal.SIGXFSZ if kill else 1)
            if not kill:  # it gives back what it took
                assert tree(place) == before
        again = Training(place)
        assert no_leftovers(place)
        assert again.recover() == (2 if code else 3)
    assert failed > 3 and code == 0


def test_a_checkpoint_finds_no_room(tmp_path):
    """For folders and files, from any of them on."""

    def work(place):
        training = Training(place)
        for value in (1, 2, 3):
            training.save(value)

    def look(place):
        assert no_leftovers(place)
        assert Training(place).recover() in (None, 1, 2, 3)

    assert at_each_change(tmp_path, work, look, full_from) > 10


# ------------------------------------------------------------------ files


def goes_on(tmp_path, work, same=tree, fault=die_before, step=1):
    """What was stopped anywhere ends as what was not, if it is called again.

    Arguments
    ---------
    tmp_path : Path
        For all of this.
    work : callable
        Given a folder.
    same : callable
        What must not differ, of a folder.
    fault : callable
        What it meets.
    step : int
        As `at_each_change`.

    Returns
    -------
    int
        Boundaries.
    """
    whole = tmp_path / "whole"
    whole.mkdir()
    assert in_fork(lambda: work(whole)) == 0
    expected = same(whole)
    assert expected

    def look(place):
        assert in_fork(lambda: work(place)) == 0
        assert same(place) == expected, place

    return at_each_change(tmp_path / "tries", work, look, fault, step)


both_faults = pytest.mark.parametrize("fault", [die_before, full_from])


@both_faults
def test_lists_of_published_corpora(tmp_path, fault):
    wsj = talkers.tree(
        tmp_path / "wsj", ("tr", "cv", "tt"), ("mix", "s1", "s2")
    )
    libri = talkers.tree(
        tmp_path / "libri",
        ("train-360", "dev", "test"),
        ("mix_clean", "s1", "s2"),
    )

    def work(place):
        prepare_wsj0mix(wsj, place / "wsj")
        prepare_librimix(libri, place / "libri")

    assert goes_on(tmp_path, work, fault=fault) >= 10


def test_voicebank_with_its_conversion_and_scores(tmp_path):
    """48 kHz as published: converted, scored, listed."""
    few = {"rate": 48000, "each": 1, "seconds": 0.2}
    data = recipe_runs.voicebank(tmp_path / "data", **few)

    def score(signal, rate):
        return 1 + float(np.abs(signal).mean())

    def work(place):
        prepare_voicebank(data, place, 1, score=score)

    def same(place):
        # A row that was written when the next one was cut off comes first.
        found = tree(place)
        rows = found.pop("ovrl.csv").splitlines()
        done = found.pop("done.json").replace(bytes(place), b"")
        roots = {
            name: x.replace(bytes(place), b"") for name, x in found.items()
        }
        return sorted(rows), done, roots

    assert goes_on(tmp_path, work, same, step=5) > 40


def test_labels_of_quality(tmp_path, monkeypatch):
    """Features and scores, one clip after the other."""
    data = recipe_runs.mini_folder(tmp_path / "data")
    monkeypatch.setattr(quality_data, "evaluate_pair", quick_scores)
    monkeypatch.setattr(quality_data, "SPLITS", ("train",))

    def work(place):
        few = {"clips": 2, "enhancers": [], "workers": 1}
        load_quality(data, place / "out", place, **few)["data"].prepare()

    assert goes_on(tmp_path, work) > 8


@both_faults
def test_annotation_with_clip_scores(tmp_path, fault):
    """A row per score, and none is computed twice."""
    calls = tmp_path / "calls"

    def score(signal, rate):
        with open(calls, "a") as file:
            file.write(f"{signal[0]}\n")
        return float(signal[0])

    jobs = [
        ovrl.Job(f"n{i}", "v", lambda i=i: np.full(4, i / 8)) for i in range(5)
    ]

    def work(place):
        known = 0
        if (place / "ovrl.csv").exists():
            lines = (place / "ovrl.csv").read_bytes().splitlines(True)
            known = sum(x.endswith(b"v\n") for x in lines)
        calls.write_text("")
        ovrl.score_once(jobs, place / "ovrl.csv", 1, score, progress=False)
        assert len(calls.read_text().splitlines()) == 5 - known

    def same(place):
        return sorted((place / "ovrl.csv").read_bytes().splitlines())

    assert goes_on(tmp_path, work, same, fault) >= 6


@both_faults
def test_a_search(tmp_path, fault):
    pytest.importorskip("pymoo.algorithms.moo.nsga2")

    def work(place):
        known = evaluations(place / "search.json")
        search(OPERATORS, known, SearchOptions(6, 3, 1), progress=False)

    def same(place):
        return evaluations(place / "search.json").known

    assert goes_on(tmp_path, work, same, fault) >= 6


def test_a_cache_of_audio(tmp_path):
    """The one that dynamic mixing maps into memory."""
    paths = sorted(talkers.folders(tmp_path / "voices").rglob("*.wav"))

    def work(place):
        AudioStore(paths, 8000, place / "cache.pcm")

    assert goes_on(tmp_path, work) >= 4


def test_a_folder_that_is_enhanced(tmp_path, capfd):
    """`--resume` leaves what is done as it is, and does the rest."""
    noisy, model = tmp_path / "noisy", save_tiny(tmp_path / "tiny")
    noisy.mkdir()
    for number in range(3):
        wav = noise(1600, seed=number)
        write_audio(noisy / f"{number}.wav", wav, 16000)
    command = ["enhance", str(noisy), "--model", str(model), "--resume"]

    def work(place):
        before = {x: x.stat().st_mtime_ns for x in place.glob("*/*.wav")}
        code = main([*command, "-o", str(place / "out")])
        assert all(x.stat().st_mtime_ns == t for x, t in before.items())
        raise SystemExit(code)

    assert goes_on(tmp_path, work) >= 9
    assert main([*command, "-o", str(tmp_path / "whole/out")]) == 0
    assert main([*command, "-o", "x", "--overwrite"]) == 2
    assert "not allowed with" in capfd.readouterr().err


def test_a_plot_that_is_missing_is_work_left(tmp_path):
    pytest.importorskip("matplotlib")
    model, out = save_tiny(tmp_path / "tiny"), tmp_path / "out"
    write_audio(tmp_path / "a.wav", noise(16000), 16000)
    command = ["enhance", str(tmp_path / "a.wav"), "--model", str(model)]
    command += ["-o", str(out), "--plot", "--resume"]
    assert main(command) == 0
    (out / "a.wav.png").unlink()
    assert main(command) == 0
    assert (out / "a.wav.png").is_file()


def test_a_full_disk_and_a_file_that_was_there(tmp_path):
    """Old files stay, and nothing is left beside them."""
    text, wav = tmp_path / "list.csv", tmp_path / "a.wav"
    write_text(text, "old")
    write_audio(wav, noise(100), 16000)
    model = tiny_model()
    save_tiny(tmp_path / "model", model=model)
    before = tree(tmp_path)

    def fails(work):
        def run():
            no_file_beyond(1000)
            with pytest.raises((OSError, InputError)):
                work()

        assert in_fork(run) == 0
        assert tree(tmp_path) == before
        assert not list(tmp_path.rglob("*.part"))

    fails(lambda: write_text(text, "new" * 1000))
    fails(lambda: write_audio(wav, noise(10_000), 16000))
    fails(lambda: save_again(tmp_path / "model", model))
    paths = [wav] * 3
    fails(lambda: AudioStore(paths * 3, 16000 * 20, tmp_path / "cache.pcm"))


def save_again(folder, model):
    from speechbrain_dsn.pretrained import save_model

    save_model(folder, model.enhancer, model.config, "# new\n", overwrite=True)


def test_a_model_folder_that_is_replaced(tmp_path):
    """Limit K1: between two renames the old one stands beside its name."""
    model, aside = tiny_model(), 0

    def work(place):
        save_again(place / "model", model)
        save_again(place / "model", model)

    def look(place):
        nonlocal aside
        folders = [place / "model", *place.glob(".*.old")]
        found = [folder for folder in folders if folder.is_dir()]
        if found:  # the first one may not have been written yet
            load_model(found[0])
            aside += found[0].name != "model"
        assert in_fork(lambda: save_again(place / "model", model)) == 0
        load_model(place / "model")

    assert at_each_change(tmp_path, work, look) > 10
    assert aside == 1


# ---------------------------------------------------------------- recipes


def checkpoints(out):
    """Those of a run, the newest last."""
    found = [
        x for x in (out / "save").glob("CKPT+*") if (x / "CKPT.yaml").exists()
    ]
    return sorted(found, key=lambda x: (x / "CKPT.yaml").stat().st_mtime_ns)


def epochs(out):
    """Lines of the log by epoch. One whose checkpoint was not finished comes
    again, and is the same."""
    lines = {}
    for line in (out / "train_log.txt").read_text("utf-8").splitlines():
        head = line.split(",")[0]
        assert lines.setdefault(head, line) == line
    return lines


def same_end(out, whole):
    """Log, weights, optimizer, random numbers, epoch: all as in `whole`."""
    assert epochs(out) == epochs(whole)
    ours, theirs = checkpoints(out)[-1], checkpoints(whole)[-1]
    for path in theirs.glob("*.ckpt"):
        mine = ours / path.name
        if mine.read_bytes() != path.read_bytes():
            # Of numbers that were learned the last digit may differ.
            learned = ("opt_network", "opt_policy", "enhancer", "separator")
            assert path.stem in learned
            found, wanted = (
                torch.load(x, weights_only=True) for x in (mine, path)
            )
            torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    for path in whole.glob("**/*.safetensors"):
        found = load_file(out / path.relative_to(whole))
        torch.testing.assert_close(found, load_file(path), rtol=1e-6, atol=1e-6)


KILLED = [
    ("Folders/separation/hparams/gated.yaml", 1, True),
    ("Folders/separation/hparams/gated.yaml", 2, False),
    ("Folders/enhance/hparams/mgt_dsn.yaml", 1, False),
    ("Voicebank/enhance/dynamic/hparams/mgt_dsn.yaml", 2, False),
]


@pytest.mark.trust
@pytest.mark.parametrize(
    ("name", "ranks", "results"), KILLED, ids=lambda x: str(x)
)
def test_a_recipe_that_is_killed_again_and_again(
    tmp_path, name, ranks, results
):
    """At random moments and changes, with checkpoints within epochs, one of
    which is then cut short: data preparation, training and results."""
    path = recipe_runs.RECIPES / name
    data = recipe_runs.corpora(tmp_path)(path)
    options = {
        "plan": recipe_runs.stages_of(path),
        "batches_per_epoch": 4,
        "ranks": ranks,
        "results": results,
    }
    flag = "--ckpt_interval_steps=1"
    whole, out, draw = tmp_path / "whole", tmp_path / "out", random.Random(1)
    with recipe_runs.Recipes(tmp_path) as recipes:
        notes = tmp_path / "notes"
        took = recipes.done(path, data, whole, flag, notes=notes, **options)
        changes = len((notes / "changed0").read_text().splitlines())

        def killed(**when):
            codes = recipes(path, data, out, flag, **when, **options)["codes"]
            dead = -signal.SIGKILL in codes
            assert dead or not any(codes), recipes.said()[-3000:]
            return dead

        assert killed(die_before=changes // 2)
        # The newest one lies within an epoch, the one before at its start.
        newest, before = checkpoints(out)[-1:-3:-1]
        cut = newest / "opt_network.ckpt"
        cut.write_bytes(cut.read_bytes()[:1000])
        assert killed(die_before=changes // 4)
        assert f"{newest.name} CANNOT BE LOADED" in recipes.said()
        assert f"Loading a checkpoint from {before}" in recipes.said()
        for turn in range(8):
            if turn % 2:
                killed(die_before=draw.randrange(changes // 4))
            else:
                killed(seconds=draw.uniform(0, took["seconds"]))
        assert not killed()
    same_end(out, whole)
