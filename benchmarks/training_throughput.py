"""What a training of the DNS recipe takes: hours and cost from measured rates.

    python benchmarks/training_throughput.py --json rates.json
    python benchmarks/training_throughput.py --price 2.5    # on a GPU, per hour

Measured on the device at hand: seconds of audio per second of each kind of
training step that a recipe's plan has, of reading and decoding shards, and of
mixing and scoring clips for them. Estimated from that: one run of the plan,
without validation and results, on several devices, of which each adds
``--scaling`` times what the first one does.

On a CPU, one thread is timed by its CPU time, so that others on the machine do
not count; a GPU is timed by the clock.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os

# Before anything that starts threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import math
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import speechbrain_dsn  # noqa: F401  # isort: skip  # the torchaudio guard
import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain import Stage

from speechbrain_dsn.cli.output import check_json_target, emit, table
from speechbrain_dsn.dataio.folders import prepare_folders
from speechbrain_dsn.dataio.mixing import Batch, MixtureSampler
from speechbrain_dsn.dataio.ovrl import dnsmos_ovrl
from speechbrain_dsn.dataio.shards import (
    Clip,
    ShardFolder,
    shard_name,
    write_meta,
    write_shard,
)
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.shard_data import ShardBatches

HPARAMS = (
    Path(__file__).resolve().parents[1]
    / "recipes/DNS/enhancement/dynamic/hparams"
)
RATE = 16000


def main(argv: list[str] | None = None) -> int:
    """Measures, and gives rates and estimates as tables and JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--json", metavar="FILE|-", help="write the results")
    add("--nets", nargs="+", default=["ftfnet", "mgt_dsn"], metavar="YAML")
    cuda = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=cuda, help=f"cpu or cuda (here: {cuda})")
    add("--batch_size", type=int, default=8, help="clips (8)")
    add("--clip_seconds", type=float, default=4.0, help="(4)")
    add("--steps", type=int, default=20, help="timed, of each kind (20)")
    add("--hours", type=float, nargs="+", default=[140.0, 500.0])
    add("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    add("--scaling", type=float, default=0.9, help="of a further device (0.9)")
    add("--epochs", type=int, help="stretch or cut each plan to so many")
    add("--price", type=float, help="of a device, per hour")
    args = parser.parse_args(argv)
    try:
        check_json_target(args.json)
        _check(args)
        results = benchmark(args)
        emit(results, as_text(results), args.json)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _check(args: argparse.Namespace) -> None:
    numbers = [args.batch_size, args.clip_seconds, args.steps, args.scaling]
    numbers += [*args.hours, *args.devices, args.epochs or 1]
    if min(numbers) <= 0 or args.scaling > 1:
        raise InputError("expected numbers above 0, and a scaling of 1 or less")
    for net in args.nets:
        if not (HPARAMS / f"{net}.yaml").is_file():
            known = ", ".join(sorted(path.stem for path in HPARAMS.glob("*")))
            raise InputError(f"--nets {net}: expected some of {known}")
    if torch.device(args.device).type == "cuda" and not (
        torch.cuda.is_available()
    ):
        raise InputError("--device cuda: expected a GPU, found none")


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """All measurements and estimates.

    Arguments
    ---------
    args : argparse.Namespace
        The command line.

    Returns
    -------
    dict
        As it goes to JSON.
    """
    torch.set_num_threads(1)
    device = torch.device(args.device)
    name = "one CPU core"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    nets = {net: training_rates(net, args) for net in args.nets}
    return {
        "device": name,
        "batch_size": args.batch_size,
        "clip_seconds": args.clip_seconds,
        "scaling": args.scaling,
        "price_per_device_hour": args.price,
        "training": nets,
        "reading": reading_rate(args),
        "preparing": preparing_rate(args),
        "estimates": [
            estimate(net, kinds, hours, devices, args)
            for net, kinds in nets.items()
            for hours in args.hours
            for devices in args.devices
        ],
    }


def _clock(device: torch.device) -> float:
    """Seconds, see above."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def training_rates(net: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Audio seconds per second of each kind of step in a plan.

    Arguments
    ---------
    net : str
        A YAML file of the recipe.
    args : argparse.Namespace
        The command line.

    Returns
    -------
    list of dict
        ``gates``, ``losses``, ``epochs`` of that kind and ``rate``.
    """
    device = torch.device(args.device)
    with open(HPARAMS / f"{net}.yaml", encoding="utf-8") as file:
        places = {"data_folder": "none", "output_folder": tempfile.gettempdir()}
        hparams = load_hyperpyyaml(file, places)
    hparams |= {"first_epoch": 1, "batches_per_epoch": 1000}
    hparams["metric_scale"] = 0.8
    brain = DynamicBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts={"device": str(device)},
    )
    brain.modules.to(device).train()
    brain.init_optimizers()
    batch = _random_batch(args)

    def kind(epoch: int) -> tuple[str, bool, tuple[str, ...]]:
        stage, losses = (
            brain.hparams.plan.stage(epoch),
            hparams["signal_losses"],
        )
        joined = (name for name in losses if losses[name].joins(epoch))
        return stage.gates, stage.alone, tuple(joined)

    epochs = range(1, brain.hparams.plan.epochs + 1)
    rates = []
    for (gates, _, losses), same in itertools.groupby(epochs, kind):
        same = list(same)
        seconds = _seconds_of_step(brain, batch, same[0], args.steps, device)
        rate = args.batch_size * args.clip_seconds / seconds
        rates.append(
            {
                "gates": gates,
                "losses": list(losses),
                "epochs": len(same),
                "rate": rate,
            }
        )
    return rates


def _random_batch(args: argparse.Namespace) -> Batch:
    generator = torch.Generator().manual_seed(0)
    size = args.batch_size, round(args.clip_seconds * RATE)
    clean, noise = torch.randn(2, *size, generator=generator) / 10
    ovrl = 1 + 3 * torch.rand(args.batch_size, generator=generator)
    return Batch(clean + noise, clean, torch.zeros(args.batch_size), ovrl)


def _seconds_of_step(
    brain: DynamicBrain,
    batch: Batch,
    epoch: int,
    steps: int,
    device: torch.device,
) -> float:
    """Median over steps, after two that warm up."""
    brain.step = 0
    brain.on_stage_start(Stage.TRAIN, epoch)
    seconds = []
    for _ in range(steps + 2):
        brain.step += 1
        start = _clock(device)
        brain.fit_batch(batch)
        seconds.append(_clock(device) - start)
    return float(np.median(seconds[2:]))


def reading_rate(args: argparse.Namespace) -> float:
    """Audio seconds per second of one process that reads shards, decodes them
    and makes batches; the files are in memory, so a slow disk is not seen."""
    rng, length = np.random.default_rng(0), round(args.clip_seconds * RATE)
    clips, shards = 50, 4

    def clip(number: int) -> Clip:
        noisy, clean = rng.normal(size=(2, length)).astype(np.float32) / 10
        return Clip(f"{number:09d}", noisy, clean, 0.0, 3.0)

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number in range(shards):
            content = map(clip, range(number * clips, (number + 1) * clips))
            write_shard(folder / shard_name(number), content, RATE)
        write_meta(folder, shards, RATE, {})
        dataset = ShardBatches(
            ShardFolder(folder), SimpleNamespace(current=1), args.batch_size, 0
        )
        start = time.process_time()
        for index in range(len(dataset)):
            dataset[index]
        seconds = time.process_time() - start
    return shards * clips * args.clip_seconds / seconds


def preparing_rate(args: argparse.Namespace, clips: int = 10) -> float:
    """Audio seconds per second of one process that mixes and scores clips of
    the bundled mini set; reading the sources of a large corpus comes on top."""
    root = miniset_folder()
    with tempfile.TemporaryDirectory() as place:
        files = prepare_folders(root / "speech", root / "noise", place)
    sampler = MixtureSampler(
        files.speech, files.noise, clip_seconds=args.clip_seconds
    )
    score = dnsmos_ovrl(max_segments=1)
    score(sampler.clip(0)[0], RATE)
    start = time.process_time()
    for number in range(1, clips + 1):
        score(sampler.clip(number)[0], RATE)
    return clips * args.clip_seconds / (time.process_time() - start)


def estimate(
    net: str,
    kinds: list[dict[str, Any]],
    hours: float,
    devices: int,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """What one run takes.

    Arguments
    ---------
    net : str
        Its name.
    kinds : list of dict
        See `training_rates`.
    hours : float
        Of data in an epoch.
    devices : int
        That train together.
    args : argparse.Namespace
        With ``epochs``, ``scaling`` and ``price``.

    Returns
    -------
    dict
        ``wall_hours``, ``cost`` (None without a price), ``epochs``.
    """
    planned = sum(kind["epochs"] for kind in kinds)
    epochs = args.epochs or planned
    alone = sum(kind["epochs"] * hours / kind["rate"] for kind in kinds)
    speedup = 1 + args.scaling * (devices - 1)
    wall = alone * epochs / planned / speedup
    cost = None if args.price is None else wall * devices * args.price
    return {
        "net": net,
        "hours": hours,
        "epochs": epochs,
        "devices": devices,
        "wall_hours": wall,
        "cost": cost,
    }


def as_text(results: dict[str, Any]) -> str:
    """The results for people."""
    rates = []
    for net, kinds in results["training"].items():
        for kind in kinds:
            losses, rate = ", ".join(kind["losses"]), f"{kind['rate']:.1f}"
            rates.append([net, kind["gates"], losses, kind["epochs"], rate])
    rows = []
    for row in results["estimates"]:
        wall, cost = row["wall_hours"], row["cost"]
        numbers = [f"{wall:.1f}", f"{wall / 24:.1f}"]
        numbers += ["" if cost is None else f"{cost:.0f}"]
        start = [row["net"], f"{row['hours']:g}", row["epochs"]]
        rows.append([*start, row["devices"], *numbers])
    head = ["net", "data h", "epochs", "devices", "hours", "days", "cost"]
    fastest = max(
        kind["rate"] for kinds in results["training"].values() for kind in kinds
    )
    loaders = math.ceil(fastest / results["reading"])
    days = ", ".join(
        f"{hours:g} h of data {hours / results['preparing']:.0f} core hours"
        for hours in sorted({row["hours"] for row in results["estimates"]})
    )
    return "\n".join(
        [
            f"device: {results['device']}, batches of "
            f"{results['batch_size']} clips of {results['clip_seconds']:g} s",
            table(["net", "gates", "losses", "epochs", "audio s / s"], rates),
            f"reading shards: {results['reading']:.0f} audio s / s per "
            f"process, {loaders} process(es) keep up",
            f"mixing and scoring: {results['preparing']:.1f} audio s / s per "
            f"core: {days}",
            f"estimates, {results['scaling']:g} per further device:",
            table(head, rows),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
