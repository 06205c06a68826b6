"""Runs of recipes with tiny nets, and the corpora that they run on."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import talkers
from tiny_dns import make_corpus, make_shards
from yaml_files import top_level_keys

from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.miniset import miniset_folder

TESTS = Path(__file__).parent
RECIPES = TESTS.parent / "recipes"
YAMLS = sorted(RECIPES.glob("**/hparams/*.yaml"))
# What makes a net of each kind small; keys that a YAML lacks are left out.
DUAL_PATH = {
    "channels": 8,
    "chunk_size": 20,
    "num_layers": 2,
    "intra_layers": 1,
    "inter_layers": 1,
    "nhead": 2,
    "intra_ffn": 8,
    "inter_ffn": 8,
}
DEMUCS = {"hidden": 8, "router_channels": 8}
SHORT = {
    "clip_seconds": 0.5,
    "batch_size": 2,
    "batches_per_epoch": 2,
    "scored_clips": 4,
    "scored_from": 1,
    "strengths": [],
    "test_budgets": [],
    "test_metrics": ["si_sdr"],
    "workers": 1,
    "snapshot_epoch": 1,
    "valid_speakers": 1,
    "exits": [1, 2],
    "clips": 4,
    "enhancers": [],
    "dropout": 0.0,  # of quality nets: ranks would draw other masks
    "lanes": 2,
    "loader_workers": 0,
}


def name_of(path):
    """Corpus and YAML, such as ``WSJ0Mix-gated``."""
    inside = path.relative_to(RECIPES).parts
    return f"{inside[0]}-{inside[1]}-{path.stem}"


def stages_of(path):
    """A plan that goes through each kind of stage, an epoch each."""
    text = path.read_text("utf-8")
    plan = re.search(r"(?m)^plan: .*\n((?: .*\n)+)", text)[1]
    kinds = re.findall(r"(?m)^ +(\w+): [1-9]", plan)
    stages = ["layerwise", "joint", "random", "alone", "policy"]
    short = {"open": 1, "decay_epochs": 1, "warmup_steps": 0}
    return short | {kind: 1 for kind in stages if kind in kinds}


class Recipes:
    """A process that runs them; a context manager."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        self.server = subprocess.Popen(
            [sys.executable, TESTS / "recipe_server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(self.folder / "server.log", "w"),
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            text=True,
        )
        return self

    def __exit__(self, *_):
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def __call__(
        self,
        path,
        data,
        out,
        *flags,
        ranks=1,
        notes=None,
        seconds=None,
        die_before=None,
        results=False,
        **options,
    ):
        """Runs ``train.py``; gives exit codes and seconds.

        Arguments
        ---------
        path : Path
            A YAML.
        data, out : Path
            Corpus and output folder.
        *flags : str
            Of SpeechBrain's command line.
        ranks : int
            Processes.
        notes : Path, optional
            Where each rank notes gradients, gates and what it writes.
        seconds : float, optional
            When to kill one of them.
        die_before : int, optional
            Which change of the disk to kill rank 0 before.
        results : bool
            Whether to measure and save the model after the fit.
        **options
            Keys of the YAML.
        """
        keys = top_level_keys(path)
        places = {"prep_folder": out / "lists", "label_folder": out / "labels"}
        every = SHORT | DEMUCS | places
        if "separation" in path.parts:
            every |= DUAL_PATH
        if "quality" in path.parts:  # its clips are as long as its segments
            del every["clip_seconds"]
        chosen = {key: x for key, x in every.items() if key in keys}
        chosen |= {"data_folder": data, "output_folder": out} | options
        chosen["device"] = "cpu"
        if ranks > 1:
            chosen["distributed_backend"] = "gloo"
        out.mkdir(parents=True, exist_ok=True)
        if notes is not None:
            notes.mkdir(parents=True, exist_ok=True)
        request = {
            "script": str(path.parents[1] / "train.py"),
            "arguments": [str(path), "--noprogressbar", *flags]
            + [f"--{key}={value}" for key, value in chosen.items()],
            "ranks": ranks,
            "seconds": seconds,
            "die_before": die_before,
            "results": results,
            "watched": str(out),
            "notes": notes and str(notes),
            "log": str(self.folder / "log"),
        }
        for rank in range(ranks):
            Path(f"{request['log']}{rank}").unlink(missing_ok=True)
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        answer = self.server.stdout.readline()
        assert answer, (self.folder / "server.log").read_text()[-3000:]
        return json.loads(answer)

    def done(self, *args, **options):
        """The same, and it must have come to its end."""
        found = self(*args, **options)
        assert not any(found["codes"]), self.said()[-3000:]
        return found

    def said(self, rank=0):
        """What a rank wrote to the terminal."""
        return Path(f"{self.folder / 'log'}{rank}").read_text()


def mini_folder(data, valid=2, test=2):
    """The mini set with so many mixtures in its fixed lists."""
    root = miniset_folder()
    data.mkdir(exist_ok=True)
    for name in ("speech", "noise", "manifest.csv"):
        (data / name).symlink_to(root / name)
    for name, count in (
        ("enhance_valid.csv", valid),
        ("enhance_test.csv", test),
    ):
        lines = (root / name).read_text("utf-8").splitlines()[: count + 1]
        (data / name).write_text("\n".join(lines) + "\n", "utf-8")
    return data


def voicebank(data, rate=16000, each=2, seconds=1.5):
    """VoiceBank's layout, from the mixtures of the mini set: so many
    utterances of each speaker."""
    root = miniset_folder()
    mixtures = load_fixed_list(root / "enhance_valid.csv", root)[:6]
    names = {
        "trainset_28spk": ["p225_001", "p226_001", "p225_002", "p226_002"],
        "testset": ["p232_001", "p257_001"],
    }
    for part, stems in names.items():
        for stem in stems[: 2 * each if part != "testset" else each]:
            pair = mixtures.pop().render()
            for kind, wav in zip(("noisy", "clean"), pair, strict=True):
                suffix = "_16k" if rate == 16000 else ""
                path = data / f"{kind}_{part}_wav{suffix}" / f"{stem}.wav"
                path.parent.mkdir(exist_ok=True, parents=True)
                write_audio(path, wav[: round(seconds * rate)], rate)
    return data


def speakers(data):
    """Folders of speakers, with two mixtures in each fixed list."""
    root = talkers.folders(data)
    head = "id,s1,s2,overlap_percent,s2_gain_db,noise,noise_offset,noise_snr_db"
    for split, first in (("valid", 0), ("test", 2)):
        pair = [f"speech/spk{first + n}/a.wav" for n in (0, 1)]
        noise = f"noise/kind{first // 2}/a.wav"
        rows = [
            f"{split}_{share},{pair[0]},{pair[1]},{share},1.5,{noise},0.1,5"
            for share in (100, 50)
        ]
        text = "\n".join([head, *rows]) + "\n"
        (root / f"separate_{split}.csv").write_text(text, "utf-8")
    return root


def dns(data):
    """Four shards of two clips: batches of all ranks are of one size."""
    clips = {"clips_per_shard": 2, "hours": 8 * 0.5 / 3600}
    make_shards(make_corpus(data.parent / "dns_challenge"), data, **clips)
    return data


def corpora(folder):
    """A function from a YAML to a folder with what it trains on."""
    wsj = ("tr", "cv", "tt")
    libri = ("train-360", "dev", "test")
    make = {
        "Folders-enhance": mini_folder,
        "Folders-quality": mini_folder,
        "Folders-separation": speakers,
        "Voicebank-enhance": voicebank,
        "DNS-enhancement": dns,
        "WSJ0Mix-separation": lambda at: talkers.tree(
            at, wsj, ("mix", "s1", "s2")
        ),
        "WHAMandWHAMR-separation": lambda at: talkers.tree(
            at, wsj, ("mix_both", "s1", "s2", "noise")
        ),
        "LibriMix-separation": lambda at: talkers.tree(
            at, libri, ("mix_clean", "s1", "s2")
        ),
    }

    def corpus(path):
        name = name_of(path).rsplit("-", 1)[0]
        place = folder / name
        return place if place.exists() else make[name](place)

    return corpus
