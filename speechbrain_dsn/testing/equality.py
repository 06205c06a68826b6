"""One set of weights, however it is run.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from speechbrain_dsn.gating import decided
from speechbrain_dsn.testing.subject import Subject


@torch.no_grad()
def check_open_is_dense(subject: Subject) -> None:
    """The widest branch, no gate and its slice are the same dense layer.

    Arguments
    ---------
    subject : Subject
        A layer that takes a gate.
    """
    layer, x = subject.layer(), subject.input()
    y = subject.masked(layer, x, subject.at(x, subject.top))
    if not subject.decides:
        subject.require_close(subject.masked(layer, x), y, "no gate = open")
    if subject.slices:
        dense = subject.dense(layer, x, subject.top)
        subject.require_close(dense, y, "slice_to(True) = open")


@torch.no_grad()
def check_closed_is_static(subject: Subject) -> None:
    """Every narrower branch is its slice, and zero where that has no channel.

    Arguments
    ---------
    subject : Subject
        A layer that takes a gate and can be sliced.
    """
    layer, x = subject.layer(), subject.input()
    for level in range(subject.top):
        y = subject.masked(layer, x, subject.at(x, level))
        static = subject.dense(layer, x, level)
        static = F.pad(static, (0, y.size(-1) - static.size(-1)))
        what = f"slice_to({level if level else False}) = closed"
        subject.require_close(static, y, what)


@torch.no_grad()
def check_slices_are_copies(subject: Subject) -> None:
    """Slicing leaves the layer alone, and so does what is done to a slice.

    Arguments
    ---------
    subject : Subject
        A layer that can be sliced.
    """
    layer = subject.layer()
    before = [parameter.clone() for parameter in layer.parameters()]
    for level in range(subject.top + 1):
        for parameter in subject.slice(layer, level).parameters():
            parameter.fill_(torch.nan)
    for old, new in zip(before, layer.parameters(), strict=True):
        subject.require_close(new, old, "slices share no weights", 0.0)


@torch.no_grad()
def check_skipping_is_masked(subject: Subject) -> None:
    """``forward_skipping`` gives what ``forward`` gives for a hard gate.

    Arguments
    ---------
    subject : Subject
        A layer with both.
    """
    layer = subject.layer()
    for time in (1, subject.time):
        x = subject.input(time=time)
        for gate in subject.gates(x):
            y = subject.masked(layer, x, gate)
            skipped = subject.skipping(layer, x, gate)
            subject.require_close(skipped, y, "skipping = masked")


@torch.no_grad()
def check_streaming_is_masked(subject: Subject) -> None:
    """A stream in chunks of any length gives what ``forward`` gives.

    Arguments
    ---------
    subject : Subject
        A layer that streams.
    """
    layer, x = subject.layer(), subject.input()
    ways = (x.size(1), 1, None, None)
    for gate in subject.gates(x):
        y = subject.masked(layer, x, gate)
        for chunks in ways:
            streamed = subject.streaming(layer, x, gate, chunks)
            subject.require_close(streamed, y, "streaming = masked")
    if not subject.decides:
        streamed = subject.streaming(layer, x)
        y = subject.masked(layer, x)
        subject.require_close(streamed, y, "streaming without a gate = open")


@torch.no_grad()
def check_decides_alike(subject: Subject) -> None:
    """Offline and in a stream, a network takes the same hard decisions.

    Arguments
    ---------
    subject : Subject
        A network that returns a :class:`speechbrain_dsn.cost.Decision`, with
        a ``bias`` on its logits.
    """
    layer, x = subject.layer(), subject.input()
    logits = layer(x)[1].logits
    cost = subject.cost(layer, x)
    lead = logits[..., -1] - (logits[..., 0] if cost.one_hot else 0)
    for bias in (-1e9, -float(lead.median()), 1e9):
        y, decision = layer(x, bias=bias)
        context, parts = subject.context(layer, x), []
        for chunk in x.split(subject.chunks(x.size(1)), 1):
            parts.append(layer.forward_streaming(chunk, context, bias=bias))
        streamed, values = (torch.cat(p, 1) for p in _columns(parts))
        # Its own logits: a later one may depend on an earlier gate.
        expected = decided(decision.logits, cost, bias).to(values)
        subject.require_close(decision.values, expected, "logits decide", 0.0)
        subject.require_close(values, expected, "streaming decides alike", 0.0)
        subject.require_close(streamed, y, "streaming = masked, as decided")


def _columns(parts: list) -> tuple[list, list]:
    """Outputs, and gates, of the chunks of a stream."""
    return [y for y, _ in parts], [decision.values for _, decision in parts]
