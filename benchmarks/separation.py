"""What narrow chunks of a separator save on the clock: time against MACs.

python benchmarks/separation.py [--model NAME_OR_FOLDER] [--seconds 10]
[--turns 15]

One thread; candidates take turns, ratios are medians of CPU time. Without a
model the weights are random: the time of a chunk depends on its width only.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from clock import measure

import speechbrain_dsn  # noqa: F401  # the torchaudio guard
from speechbrain_dsn.cost import gates_at, macs_per_second
from speechbrain_dsn.gating import random_gate
from speechbrain_dsn.inference.memory import keep_freed_memory
from speechbrain_dsn.lobes.models.dual_path import DualPathSeparator


def candidates(
    net: DualPathSeparator, mixture: torch.Tensor
) -> tuple[dict[str, Callable[[], None]], dict[str, float]]:
    """Ways to run a mixture, and their MACs per second of audio.

    Arguments
    ---------
    net : DualPathSeparator
        In eval mode, with gates.
    mixture : torch.Tensor
        ``[1, T]``.

    Returns
    -------
    tuple
        Steps and costs by name: ``full`` is the widest slice without gates.
    """
    cost, chunks = net.report().cost, net.frames(mixture.size(1))
    ways = {
        f"width {u:g}": {"level": k} for k, u in enumerate(net.utilizations)
    }
    mixed = random_gate(4, chunks, levels=cost.levels, mean_runs=(2.0, 8.0))
    # One that is neither open nor closed throughout.
    row = mixed.std(1).argmax()
    ways["mixed"] = {"gate": gates_at(cost, mixed[row : row + 1])}
    ways["decided"] = {}
    full = net.slice_to(len(net.utilizations) - 1)
    steps = {"full": lambda: full(mixture)}
    costs = {"full": full.report(mixture.size(1)).macs_per_second(1.0)}
    for name, options in ways.items():
        _, decision = net(mixture, **options)
        costs[name] = float(macs_per_second(decision, decision.cost))
        steps[name] = lambda options=options: net(mixture, **options)
    return steps, costs


def training_speed(net: DualPathSeparator, seconds: float = 2.0) -> float:
    """Seconds of audio that a second of one core trains on."""
    batch = torch.randn(4, round(seconds * net.sample_rate))
    taken = []
    for _ in range(5):
        start = time.process_time()
        net.train()(batch)[0].square().mean().backward()
        taken.append(time.process_time() - start)
    return 4 * seconds / float(np.median(taken[1:]))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="of speechbrain-dsn, or a folder")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command line does
    torch.manual_seed(0)
    net = DualPathSeparator()
    if arguments.model:
        from speechbrain_dsn.pretrained import load_model

        net = load_model(arguments.model).enhancer.lobe
    net.eval()
    mixture = torch.randn(1, round(arguments.seconds * net.sample_rate))
    with torch.no_grad():
        steps, costs = candidates(net, mixture)
        times = measure(steps, arguments.turns, 1, warm=1)
    print(f"{'':12}  M MAC/s  RTF     time   MACs   time/MACs")
    for name, timing in times.items():
        ratio, macs = timing.over(times["full"]), costs[name] / costs["full"]
        factor = timing.median / 1e6 / arguments.seconds
        print(
            f"{name:12} {costs[name] / 1e6:8.1f}  {factor:.4f}  {ratio:.3f}  "
            f"{macs:.3f}  {ratio / macs:.2f}"
        )
    print(f"trains at {training_speed(net):.1f} x real time on one core")


if __name__ == "__main__":
    main()
