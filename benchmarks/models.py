"""How fast models run beside each other, in one process and on one thread.

    python benchmarks/models.py conv-fsenet dyncp --json dyncp.json
    python benchmarks/models.py slim-demucs --cut     # each width by itself
    python benchmarks/models.py random:slim_demucs --cut
    python benchmarks/models.py slim-demucs --cut --files 180

Frame by frame on onnxruntime and whole files in PyTorch, as each net decides
on noisy speech; ``--cut`` adds the static nets that its choices are, and
``random:LOBE`` draws weights for a lobe of default sizes. Ratios are to the
one with most MACs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os

# Before anything that starts threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from candidates import Replay, calibrated, noisy_speech
from clock import Timing, measure

from speechbrain_dsn.cli.output import check_json_target, emit, table
from speechbrain_dsn.cost import activation
from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.blocks import BLOCK_SECONDS, AlignedStream
from speechbrain_dsn.inference.memory import keep_freed_memory
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.pretrained import (
    LoadedModel,
    ModelConfig,
    cut_levels,
    load_model,
)
from speechbrain_dsn.pretrained.table import LOBES


def main(argv: list[str] | None = None) -> int:
    """Measures, and gives the results as a table and JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the results")
    parser.add_argument("models", nargs="+", metavar="NAME|FOLDER|random:LOBE")
    parser.add_argument(
        "--cut", action="store_true", help="add what each chooses among"
    )
    parser.add_argument("--budget", type=float, help="of nets that decide")
    parser.add_argument(
        "--files",
        type=int,
        metavar="N",
        help="only whole files: so many mixtures, each by itself",
    )
    parser.add_argument(
        "--data_folder",
        default=str(miniset_folder()),
        help="with enhance_test.csv (default: the bundled mini set)",
    )
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args(argv)
    try:
        check_json_target(args.json)
        results = benchmark(args)
        emit(results, as_text(results), args.json)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """All measurements.

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
    keep_freed_memory()  # as the command line does
    loaded = [_load(source) for source in args.models]
    noisy = noisy_speech(
        args.data_folder, loaded[0].config.sample_rate, args.seconds
    )
    nets: dict[str, LoadedModel] = {}
    for source, model in zip(args.models, loaded, strict=True):
        if model.config.dynamic and model.config.calibration is None:
            model = calibrated(model, noisy)
        name = model.config.name
        nets[f"{name} ({source})" if name in nets else name] = model
        if args.cut:
            cut = cut_levels(model).values()
            nets |= {net.config.name: net for net in cut}
    signals = _files(args) if args.files else [noisy]
    use = {n: _usage(net, signals, args.budget) for n, net in nets.items()}
    rates = {
        name: net.enhancer.report().macs_per_second(use[name])
        for name, net in nets.items()
    }
    widest = max(rates, key=lambda name: rates[name])
    results: dict[str, Any] = {"threads": 1, "activation": use}
    ways = {"offline": _offline(nets, signals, args)}
    if not args.files:
        ways = {"streaming": _streaming(nets, noisy, args)} | ways
    for way, times in ways.items():
        results[way] = {
            name: {
                "us": timing.median,
                "us_p10": timing.p10,
                "us_p90": timing.p90,
                "time_ratio": timing.over(times[widest]),
                "mac_ratio": rates[name] / rates[widest],
                "macs_per_second": rates[name],
            }
            for name, timing in times.items()
        }
    return results


def _load(source: str) -> LoadedModel:
    """A model by name or folder, or a lobe with random weights."""
    lobe = source.removeprefix("random:")
    if lobe == source:
        return load_model(source)
    if lobe not in LOBES:
        raise InputError(
            f"unknown lobe {lobe}: expected one of {', '.join(LOBES)}"
        )
    torch.manual_seed(0)
    name = lobe.replace("_", "-")
    config = ModelConfig(name, lobe, front_end=LOBES[lobe].front_end)
    return LoadedModel(config.build().eval(), config)


def _files(args: argparse.Namespace) -> list[np.ndarray]:
    """Mixtures, spread over the list."""
    folder = args.data_folder
    mixtures = load_fixed_list(Path(folder) / "enhance_test.csv", folder)
    places = np.linspace(0, len(mixtures) - 1, args.files).astype(int)
    return [mixtures[place].render(16000)[0] for place in places]


def _usage(
    model: LoadedModel, signals: list[np.ndarray], budget: float | None
) -> float:
    """Mean activation in all frames; 1 of a static net."""
    if not model.enhancer.dynamic:
        return 1.0
    cost, shares = model.enhancer.report().cost, []
    for signal in signals:
        with torch.inference_mode():
            _, decision = model.enhancer(
                torch.from_numpy(signal)[None], **model.decide(budget)
            )
        shares.append(activation(decision, cost).flatten())
    return float(torch.cat(shares).mean())


def _streaming(
    nets: dict[str, LoadedModel], noisy: np.ndarray, args: argparse.Namespace
) -> dict[str, Timing]:
    """Microseconds per frame."""
    steps = {}
    for name, net in nets.items():
        session = OnnxSession.from_model(net)
        dynamic = net.enhancer.dynamic
        bias = session.info.bias(args.budget) if dynamic else 0.0
        steps[name] = Replay(
            session.make_lane(), noisy, session.info.hop, lambda _, b=bias: b
        )
    frames = len(noisy) // next(iter(nets.values())).enhancer.hop
    return measure(steps, args.turns, frames, warm=16)


def _offline(
    nets: dict[str, LoadedModel],
    signals: list[np.ndarray],
    args: argparse.Namespace,
) -> dict[str, Timing]:
    """Microseconds for whole signals, in blocks as `enhance` has them."""
    rate = next(iter(nets.values())).config.sample_rate
    size = round(BLOCK_SECONDS * rate)
    blocks = [torch.from_numpy(x[None]).split(size, 1) for x in signals]
    steps = {}
    for name, net in nets.items():
        decide = net.decide(args.budget) if net.enhancer.dynamic else {}

        def step(net: LoadedModel = net, decide: Any = decide) -> None:
            for parts in blocks:
                stream = AlignedStream(net.enhancer, 1, decide)
                for part in parts:
                    stream.push(part)
                stream.flush()

        steps[name] = step
    return measure(steps, args.turns, 1, warm=1)


def as_text(results: dict[str, Any]) -> str:
    """The results as tables.

    Arguments
    ---------
    results : dict
        Of `benchmark`.

    Returns
    -------
    str
        For a terminal.
    """
    parts = [
        "activation: "
        + ", ".join(
            f"{n} {use:.3f}" for n, use in results["activation"].items()
        )
    ]
    titles = {
        "streaming": "frame by frame, onnxruntime, us per frame",
        "offline": "whole signal, PyTorch, us",
    }
    for way, title in titles.items():
        if way not in results:
            continue
        rows = [
            [
                name,
                f"{row['us']:.0f}",
                f"{row['us_p10']:.0f}..{row['us_p90']:.0f}",
                f"{row['time_ratio']:.2f}",
                f"{row['mac_ratio']:.2f}",
                f"{row['macs_per_second'] / 1e6:.1f}",
            ]
            for name, row in results[way].items()
        ]
        head = ["", "us", "p10..p90", "time", "MACs", "M MAC/s"]
        parts += [title, table(head, rows)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
