"""The declared MACs are those that run.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from speechbrain_dsn.testing.counting import count_macs
from speechbrain_dsn.testing.subject import Subject


def check_macs_are_executed(subject: Subject) -> None:
    """Declared cost = operators counted where closed frames are skipped.

    Arguments
    ---------
    subject : Subject
        A layer that declares its MACs.
    """
    layer, x = subject.layer(), subject.input(time=4)
    cost = subject.cost(layer, x)
    for name, count in _counters(subject).items():
        for gate in subject.gates(x):
            levels = gate if subject.gated else torch.ones_like(gate)
            chosen = levels.flatten(0, 1).tolist()
            of = cost.at if subject.several else cost.of_level
            declared = sum(map(of, chosen))
            expected = declared - len(chosen) * subject.unseen_macs
            counted = count(layer, x, gate)
            subject.require(
                counted == expected,
                f"{name} runs {counted} MACs with frames at levels {chosen}, "
                f"macs() declares {expected}",
            )


def check_macs_are_linear_in_time(subject: Subject) -> None:
    """Twice the frames run twice the MACs.

    Arguments
    ---------
    subject : Subject
        A layer that declares its MACs.
    """
    layer, x = subject.layer(), subject.input(time=2)
    twice = torch.cat([x, x], 1)
    for name, count in _counters(subject).items():
        for level in (0, subject.top):
            gates = [subject.at(t, level) for t in (x, twice)]
            once = count(layer, x, gates[0])
            both = count(layer, twice, gates[1])
            subject.require(
                both == 2 * once,
                f"{name} runs {once} MACs, {both} for twice the frames",
            )


def check_macs_are_monotone(subject: Subject) -> None:
    """Each frame that opens adds MACs, and each the same.

    Arguments
    ---------
    subject : Subject
        A layer that a closed gate makes cheaper.
    """
    layer, x = subject.layer(), subject.input(1, 4)
    order = torch.randperm(4)
    for name, count in _counters(subject).items():
        counted = []
        for opened in (0, 2, 4):
            gate = subject.at(x, 0)
            gate[0, order[:opened]] = subject.top
            counted.append(count(layer, x, gate))
        steps = {b - a for a, b in zip(counted, counted[1:], strict=False)}
        subject.require(
            len(steps) == 1 and min(steps) > 0,
            f"{name} runs {counted} MACs as two more frames open each time",
        )


def _counters(
    subject: Subject,
) -> dict[str, Callable[[nn.Module, Tensor, Tensor], int]]:
    """The paths that skip; streams one frame at a time, once warm."""

    def stream(layer: nn.Module, x: Tensor, gate: Tensor) -> int:
        context = subject.context(layer, x)
        if subject.warm_up:
            past = subject.input(len(x), subject.warm_up, x.dtype)
            subject.step(layer, past, context, subject.gate(past))

        def frames() -> None:
            for frame in range(x.size(1)):
                one = slice(frame, frame + 1)
                subject.step(layer, x[:, one], context, gate[:, one])

        return count_macs(frames)

    counters = {}
    if subject.skips:
        counters["skipping"] = lambda *args: count_macs(subject.skipping, *args)
    if subject.streams:
        counters["streaming"] = stream
    if not counters:
        counters["forward"] = lambda *args: count_macs(subject.masked, *args)
    return counters
