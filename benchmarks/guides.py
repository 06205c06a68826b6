"""What a score costs that guides gates while they are trained: time per clip.

python benchmarks/guides.py [--judge NAME_OR_FOLDER] [--seconds 3] [--turns 9]
[--json FILE]

DNSMOS OVRL, PESQ-WB and a network of ours score clips of the bundled mini set,
beside a training step of MGT-DSN on one of them. One thread; candidates take
turns, ratios are medians of CPU time. DNSMOS hears 9 s at a time, and repeats a
shorter clip.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import torch
from clock import measure

import speechbrain_dsn  # noqa: F401  # the torchaudio guard
from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.inference.judged import Judge
from speechbrain_dsn.losses import MultiResolutionCompressedLoss
from speechbrain_dsn.metrics import DNSMOS, evaluate_pair
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.pretrained import load_model

BATCH = 4  # clips that a training step and the judge take at once


def candidates(judge: Judge, samples: int) -> dict[str, Callable[[], None]]:
    """What scores, or learns from, `BATCH` clips.

    Arguments
    ---------
    judge : Judge
        At 16 kHz.
    samples : int
        Of a clip.

    Returns
    -------
    dict of str to callable
        Steps for `measure`.
    """
    root = miniset_folder()
    clips = []
    for mixture in load_fixed_list(root / "enhance_test.csv", root):
        signals = torch.stack(
            [torch.from_numpy(x).float() for x in mixture.render()[:2]]
        )
        if signals.size(1) >= samples:
            clips.append(signals[:, :samples])
    batches = cycle(torch.stack(clips[:4]).split(BATCH))
    dnsmos = DNSMOS(max_segments=1)  # as of training clips
    enhancer = load_model("mgt-dsn").enhancer.train()
    loss = MultiResolutionCompressedLoss()

    def score(metric: str) -> None:
        for noisy, clean in next(batches).numpy():
            evaluate_pair(clean, noisy, 16000, [metric], dnsmos)

    def learn() -> None:
        noisy, clean = next(batches).unbind(1)
        loss(enhancer(noisy)[0], clean).mean().backward()
        enhancer.zero_grad()

    return {
        "training step": learn,
        "judge": lambda: judge(next(batches)[:, 0]),
        "DNSMOS OVRL": lambda: score("dnsmos_ovrl"),
        "PESQ-WB": lambda: score("pesq"),
    }


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", default="quality-bam")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judge = Judge.from_pretrained(args.judge)
    steps = candidates(judge, round(16000 * args.seconds))
    times = measure(steps, args.turns, count=2, warm=1)
    rows = {
        name: {
            "ms_per_clip": each.median / 1000 / BATCH,
            "p10": each.p10 / 1000 / BATCH,
            "p90": each.p90 / 1000 / BATCH,
            "over_a_training_step": each.over(times["training step"]),
        }
        for name, each in times.items()
    }
    print(f"| clips of {args.seconds:g} s | ms per clip | of a training step |")
    print("|-|-|-|")
    for name, row in rows.items():
        share = row["over_a_training_step"]
        print(f"| {name} | {row['ms_per_clip']:.1f} | {share:.3f} |")
    if args.json:
        text = json.dumps({"threads": 1, "guides": rows}, indent=1)
        Path(args.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
