"""How fast each width of a net runs, and the net that chooses among them.

    python benchmarks/widths.py --model slim-demucs --json widths.json
    python benchmarks/widths.py --random          # the published sizes

In one process and on one thread: frame by frame on onnxruntime and whole
files in PyTorch, a static net cut out for each width, and the routed net as
it decides on noisy speech.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os

# Before anything that starts threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
from typing import Any

import numpy as np
import torch
from candidates import Replay, calibrated, load_or_draw, noisy_speech
from clock import Timing, measure

from speechbrain_dsn.cli.report import check_json_target, emit, table
from speechbrain_dsn.cost import activation
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.blocks import AlignedStream
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig, cut_levels


def main(argv: list[str] | None = None) -> int:
    """Measures, and gives the results as a table and JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the results")
    parser.add_argument("--model", default="slim-demucs", help="name or folder")
    parser.add_argument(
        "--random",
        action="store_true",
        help="slimmable DEMUCS of the published sizes, weights drawn",
    )
    parser.add_argument("--budget", type=float, help="of the routed net")
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
    model, trained = _model(args)
    noisy = noisy_speech(
        args.data_folder, model.config.sample_rate, args.seconds
    )
    if model.config.calibration is None:
        model = calibrated(model, noisy)
    nets = {f"{width:g}": net for width, net in cut_levels(model).items()}
    if not nets:
        raise InputError(
            f"{model.config.name} has one width: expected a net that chooses"
        )
    rates = {
        name: net.enhancer.report().macs_per_second(1.0)
        for name, net in nets.items()
    }
    use = _usage(model, noisy, args.budget)
    rates["routed"] = model.enhancer.report().macs_per_second(use)
    nets["routed"] = model
    widest = list(nets)[-2]
    results: dict[str, Any] = {"trained": trained, "mean_utilization": use}
    for way, times in (
        ("streaming", _streaming(nets, noisy, args)),
        ("offline", _offline(nets, noisy, args)),
    ):
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


def _model(args: argparse.Namespace) -> tuple[LoadedModel, bool]:
    if not args.random:
        return load_or_draw(args.model)
    torch.manual_seed(0)
    config = ModelConfig("published-sizes", "slim_demucs", front_end="waveform")
    return LoadedModel(config.build().eval(), config), False


def _usage(
    model: LoadedModel, noisy: np.ndarray, budget: float | None
) -> float:
    """Mean utilization factor on this signal."""
    with torch.inference_mode():
        _, decision = model.enhancer(
            torch.from_numpy(noisy)[None], **model.decide(budget)
        )
    return float(activation(decision, model.enhancer.report().cost).mean())


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
    nets: dict[str, LoadedModel], noisy: np.ndarray, args: argparse.Namespace
) -> dict[str, Timing]:
    """Microseconds for the whole signal."""
    wav = torch.from_numpy(noisy[None])
    steps = {}
    for name, net in nets.items():
        decide = net.decide(args.budget) if net.enhancer.dynamic else {}

        def step(net: LoadedModel = net, decide: Any = decide) -> None:
            AlignedStream(net.enhancer, 1, decide).push(wav)

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
        f"mean utilization of the routed net: {results['mean_utilization']:.3f}"
    ]
    titles = {
        "streaming": "frame by frame, onnxruntime, us per frame",
        "offline": "whole signal, PyTorch, us",
    }
    for way, title in titles.items():
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
        head = ["width", "us", "p10..p90", "time", "MACs", "M MAC/s"]
        parts += [title, table(head, rows)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
