"""How fast the models run, in one process and on one thread.

    python benchmarks/streaming.py --json results.json --plot results.png

Frame by frame on onnxruntime: MGT-DSN at forced shares of open frames and as
it decides on noisy speech, against static FTF-Net, the same network in eager
PyTorch, a dense GRU net of nsNet2's size, and any ONNX file given as a peer.
Then whole files in PyTorch, memory, and many streams at once.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os

# Before anything that starts threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import platform
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch
from baselines import NSNET2_HOP, nsnet2_macs, nsnet2_step, onnx_step, peer_step
from candidates import (
    RUN,
    Replay,
    calibrated,
    forced,
    load_or_draw,
    noisy_speech,
)
from clock import Timing, measure
from hold import held_budgets
from many import many_streams
from memory import peak_memory
from offline import offline_factors
from plot import plot_time_against_macs

from speechbrain_dsn import __version__
from speechbrain_dsn.cli.output import check_json_target, emit, table
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.memory import keep_freed_memory
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.session import TorchSession
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.plots.figure import require_matplotlib
from speechbrain_dsn.pretrained import LoadedModel

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
HOLD_SECONDS = 120.0


def main(argv: list[str] | None = None) -> int:
    """Measures, and gives the results as a table, JSON and a plot."""
    args = _parser().parse_args(argv)
    try:
        check_json_target(args.json)
        if args.plot:
            require_matplotlib()
        results = benchmark(args)
        emit(results, as_text(results), args.json)
        if args.plot:
            plot_time_against_macs(results, args.plot)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the results")
    parser.add_argument("--plot", metavar="FILE", help="draw time over MACs")
    parser.add_argument("--model", default="mgt-dsn", help="name or folder")
    parser.add_argument("--static", default="ftfnet", help="name or folder")
    parser.add_argument("--budget", type=float, help="for the decided row")
    parser.add_argument(
        "--data_folder",
        default=str(miniset_folder()),
        help="with enhance_test.csv (default: the bundled mini set)",
    )
    parser.add_argument(
        "--peer",
        nargs="*",
        default=[],
        metavar="FILE.onnx[:MS]",
        help="model with states in and out, and its hop in ms (default 16)",
    )
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--many", type=int, nargs="*", default=[1, 8, 64, 512], metavar="N"
    )
    parser.add_argument(
        "--skip",
        nargs="*",
        default=[],
        metavar="PART",
        choices=["eager", "offline", "hold", "memory"],
    )
    return parser


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
    peers = _peers(args.peer)
    model, trained = load_or_draw(args.model)
    static, _ = load_or_draw(args.static)
    noisy = noisy_speech(
        args.data_folder, model.config.sample_rate, args.seconds
    )
    if model.config.calibration is None:
        model = calibrated(model, noisy)
    results = {
        "threads": 1,
        "trained": trained,
        "data": "mini set"
        if args.data_folder == str(miniset_folder())
        else "data_folder",
        "streaming": streaming_times(model, static, noisy, peers, args),
    }
    if "offline" not in args.skip:
        results["offline"] = offline_factors(model, static, noisy, SHARES)
    if args.many:
        results["many"] = many_streams(model, noisy, args.many, args.turns)
    if "hold" not in args.skip:
        results["hold"] = held_budgets(model, args.data_folder, HOLD_SECONDS)
    if "memory" not in args.skip:
        results["memory"] = peak_memory(model)
    results["machine"] = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "speechbrain_dsn": __version__,
    }
    return results


def streaming_times(
    model: LoadedModel,
    static: LoadedModel,
    noisy: np.ndarray,
    peers: dict[str, tuple[Callable[[], None], float]],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Frame by frame, all candidates in turn.

    Arguments
    ---------
    model : LoadedModel
        That decides.
    static : LoadedModel
        That does not.
    noisy : np.ndarray
        What they hear.
    peers : dict
        By name, a step and the seconds of its hop.
    args : argparse.Namespace
        The command line.

    Returns
    -------
    dict
        By candidate.
    """
    onnx, plain = (OnnxSession.from_model(m) for m in (model, static))
    info, hop = onnx.info, onnx.info.hop
    bias = info.bias(args.budget)
    own = Replay(onnx.make_lane(), noisy, hop, lambda _: bias)
    steps: dict[str, Any] = {"mgt-dsn": own}
    for share in SHARES:
        lane = onnx.make_lane()
        steps[f"mgt-dsn {share:g}"] = Replay(lane, noisy, hop, forced(share))
    steps["ftfnet"] = Replay(plain.make_lane(), noisy, hop, lambda _: 0.0)
    steps["nsnet2-size"] = onnx_step(nsnet2_step(), "nsnet2-size")
    hops = dict.fromkeys(steps, hop / info.sample_rate)
    hops["nsnet2-size"] = NSNET2_HOP
    for name, (step, seconds) in peers.items():
        steps[name], hops[name] = step, seconds
    # Both branches have to be warm before it counts.
    times = measure(steps, args.turns, 4 * RUN, warm=RUN)
    if "eager" not in args.skip:  # by itself: each step takes 20 ms
        for share in (0.0, 1.0):
            name = f"mgt-dsn {share:g} eager"
            lane = TorchSession(model).make_lane()
            step = Replay(lane, noisy, hop, forced(share))
            times |= measure({name: step}, max(2, args.turns // 10), 2)
            hops[name] = hop / info.sample_rate
    rows = {name: _row(t, hops[name]) for name, t in times.items()}
    forced_rows = {f"{s:g}": rows.pop(f"mgt-dsn {s:g}") for s in SHARES}
    rows["mgt-dsn"] |= {
        "open_us": forced_rows["1"]["us_per_frame"],
        "closed_us": forced_rows["0"]["us_per_frame"],
        "activation": own.activation,
        "macs_per_second": info.macs_per_second(own.activation),
        "by_activation": {
            share: row | {"macs_per_second": info.macs_per_second(float(share))}
            for share, row in forced_rows.items()
        },
    }
    rows["ftfnet"]["macs_per_second"] = plain.info.macs_per_second(1.0)
    rows["nsnet2-size"]["macs_per_second"] = nsnet2_macs() / NSNET2_HOP
    static_rate = rows["ftfnet"]["macs_per_second"]
    half_rate = info.macs_per_second(0.5)
    rows["mgt-dsn"] |= {
        "time_ratio": times["mgt-dsn"].over(times["ftfnet"]),
        "mac_ratio": rows["mgt-dsn"]["macs_per_second"] / static_rate,
        "time_ratio_at_half": times["mgt-dsn 0.5"].over(times["ftfnet"]),
        "mac_ratio_at_half": half_rate / static_rate,
        "closed_over_open": times["mgt-dsn 0"].over(times["mgt-dsn 1"]),
    }
    return rows


def _peers(names: list[str]) -> dict[str, tuple[Callable[[], None], float]]:
    """Steps of ``FILE.onnx[:MS]``, and seconds per step."""
    peers = {}
    for name in names:
        path, _, milliseconds = name.partition(":")
        try:
            seconds = float(milliseconds or 16) / 1000
        except ValueError:
            raise InputError(
                f"--peer {name}: expected FILE.onnx, or FILE.onnx:MS with its "
                "hop in ms"
            ) from None
        peers[path] = peer_step(path), seconds
    return peers


def _row(timing: Timing, hop_seconds: float) -> dict[str, float]:
    return {
        "us_per_frame": timing.median,
        "us_p10": timing.p10,
        "us_p90": timing.p90,
        "rtf": timing.median / hop_seconds / 1e6,
    }


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
    lines = []
    for name, row in results["streaming"].items():
        lines.append((name, row))
        for share, forced_row in row.get("by_activation", {}).items():
            lines.append((f"  forced to {share}", forced_row))
    rows = [
        [
            name,
            f"{row['us_per_frame']:.0f}",
            f"{row['us_p10']:.0f}..{row['us_p90']:.0f}",
            f"{row['rtf']:.4f}",
            f"{row['macs_per_second'] / 1e6:.0f}"
            if "macs_per_second" in row
            else "",
        ]
        for name, row in lines
    ]
    own = results["streaming"]["mgt-dsn"]
    parts = [
        "one thread, frame by frame",
        table(["", "us", "p10..p90", "RTF", "M MAC/s"], rows),
        f"decided: activation {own['activation']:.2f}, time x "
        f"{own['time_ratio']:.2f} of static, MACs x {own['mac_ratio']:.2f}; "
        f"half open: {own['time_ratio_at_half']:.2f} and "
        f"{own['mac_ratio_at_half']:.2f}; closed over open "
        f"{own['closed_over_open']:.2f}",
    ]
    if "offline" in results:
        rows = [
            [name, f"{row['rtf']:.4f}", f"{row['ratio']:.2f}"]
            for name, row in results["offline"].items()
        ]
        parts += ["whole files, PyTorch", table(["", "RTF", "of static"], rows)]
    if "many" in results:
        rows = [
            [
                count,
                f"{row['us_per_stream']:.0f}",
                f"{row['streams_per_core']:.0f}",
                f"{row['separate_us_per_stream']:.0f}",
                f"{row['separate_streams_per_core']:.0f}",
            ]
            for count, row in results["many"].items()
        ]
        head = ["streams", "us each", "per core", "separate us", "per core"]
        parts += ["many streams", table(head, rows)]
    if "hold" in results:
        rows = [
            [
                budget,
                f"{row['activation']:.3f}",
                f"{row['worst_macs_deviation']:.1%}",
                f"{row['without_hold']:.1%}",
            ]
            for budget, row in results["hold"].items()
        ]
        head = ["budget", "mean", "worst 10 s, MACs", "without --hold"]
        parts += ["budget held", table(head, rows)]
    if results.get("memory"):
        used = results["memory"]
        sizes = (f"{name} {size:.0f} MB" for name, size in used.items())
        parts.append(f"peak memory: {', '.join(sizes)}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
