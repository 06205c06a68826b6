"""What an output frame may depend on, and what it must depend on.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch

from speechbrain_dsn.testing.subject import Subject


@torch.no_grad()
def check_causality(subject: Subject) -> None:
    """A frame changes no output before its look-ahead, and one at its edge.

    The same holds for a gate, apart from the edge.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, x = subject.layer(), subject.input()
    frame = max(x.size(1) // 2, subject.look_ahead)
    edge = frame - subject.look_ahead
    changed = x.clone()
    changed[:, frame] = subject.input()[:, frame]
    gate = subject.gate(x)
    flipped = gate.clone()
    flipped[:, frame] = subject.flip(gate)[:, frame]
    for name, run in subject.paths(chunks=x.size(1)).items():
        y = run(layer, x, gate)
        for kind, z, tolerance in (
            ("input", run(layer, changed, gate), 0.0),
            # Other gates make other buckets, and those other roundings.
            ("gate", run(layer, x, flipped), subject.tolerance),
        ):
            what = f"{name}: {kind} {frame} changes nothing before {edge}"
            past = z[:, :edge], y[:, :edge]
            subject.require_close(*past, what, tolerance)
    is_open = subject.at(x, subject.top)
    moved = subject.masked(layer, changed, is_open)
    moved = moved - subject.masked(layer, x, is_open)
    subject.require(
        bool(moved[:, edge].abs().amax() > 0),
        f"look-ahead {subject.look_ahead} is tight: input {frame} should "
        f"change output {edge}",
    )


@torch.no_grad()
def check_padding(subject: Subject) -> None:
    """An item alone gets what it gets in front of padding, in a batch.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, batch = subject.layer(), subject.input(3)
    valid = subject.time - 3
    gate = subject.gate(batch)
    item, item_gate = batch[1:2, :valid], gate[1:2, :valid]
    for name, run in subject.paths().items():
        alone = run(layer, item, item_gate)[:, : valid - subject.look_ahead]
        padded = run(layer, batch, gate)[1:2, : alone.size(1)]
        subject.require_close(padded, alone, f"{name}: item alone = padded")


@torch.no_grad()
def check_items_are_separate(subject: Subject) -> None:
    """NaN and infinity in one item touch no other item.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, x = subject.layer(), subject.input(3)
    gate = subject.gate(x)
    for value in (torch.nan, torch.inf):
        poisoned = x.clone()
        poisoned[1, subject.time // 2] = value
        for name, run in subject.paths(chunks=2).items():
            y, z = run(layer, x, gate), run(layer, poisoned, gate)
            what = f"{name}: {value} stays in its item"
            subject.require_close(z[[0, 2]], y[[0, 2]], what)
