"""State lives in the context and nowhere else.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
import pickle
from unittest.mock import patch

import torch
from torch import nn

from speechbrain_dsn.testing.subject import Subject


@torch.no_grad()
def check_running_changes_nothing(subject: Subject) -> None:
    """No way to run a layer sets an attribute, a weight or the input.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, assigned = subject.layer(), set()

    def record(module: nn.Module, name: str, value: object) -> None:
        assigned.add(f"{type(module).__name__}.{name}")
        object.__setattr__(module, name, value)

    # One item, one frame: there a view is easily taken for a copy.
    for x in (subject.input(1, 1), subject.input()):
        tensors = {**layer.state_dict(keep_vars=True), "the input": x}
        before = {name: tensor.clone() for name, tensor in tensors.items()}
        with patch.object(nn.Module, "__setattr__", record):
            for name, run in subject.paths().items():
                run(layer, x, subject.gate(x))
                for part, old in before.items():
                    what = f"{name}: running leaves {part} alone"
                    subject.require_close(tensors[part], old, what, 0.0)
    subject.require(
        not assigned, f"running sets no attribute, found {sorted(assigned)}"
    )


@torch.no_grad()
def check_eval_is_deterministic(subject: Subject) -> None:
    """In eval mode neither chance nor history changes an output.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, x, other = subject.layer(), subject.input(), subject.input(3, 2)
    gate = subject.gate(x)
    for name, run in subject.paths(chunks=3).items():
        for chosen in (gate,) if name == "skipping" else (gate, None):
            first = run(layer, x, chosen)
            run(layer, other, subject.flip(subject.gate(other)))
            subject.require_close(
                run(layer, x, chosen), first, f"{name} repeats itself", 0.0
            )


@torch.no_grad()
def check_streams_are_separate(subject: Subject) -> None:
    """Two streams that take turns get what each gets alone, bit for bit.

    So does a stream that starts anew after others.

    Arguments
    ---------
    subject : Subject
        A layer that streams.
    """
    layer = subject.layer()
    inputs = [subject.input(), subject.input()]
    gates = [subject.gate(x) for x in inputs]
    chunks = subject.chunks(subject.time)
    alone = [
        subject.streaming(layer, x, gate, chunks)
        for x, gate in zip(inputs, gates, strict=True)
    ]
    contexts = [subject.context(layer, x) for x in inputs]
    turns = [[], []]
    start = 0
    for length in chunks:
        part = slice(start, start + length)
        for which, x in enumerate(inputs):
            gate = gates[which][:, part]
            turns[which].append(
                subject.step(layer, x[:, part], contexts[which], gate)
            )
        start += length
    for parts, y in zip(turns, alone, strict=True):
        y_turns = torch.cat(parts, 1)
        subject.require_close(y_turns, y, "streams are separate", 0.0)
    again = subject.streaming(layer, inputs[0], gates[0], chunks)
    subject.require_close(again, alone[0], "a new stream starts anew", 0.0)


@torch.no_grad()
def check_context_is_the_state(subject: Subject) -> None:
    """A context copied, or saved and restored in mid stream, goes on alike.

    The caller may reuse the memory of the chunks and of the outputs.

    Arguments
    ---------
    subject : Subject
        A layer that streams.
    """
    layer, x = subject.layer(), subject.input(1)
    gate = subject.gate(x)
    lengths = [1, x.size(1) // 2, 1, x.size(1) - x.size(1) // 2 - 2]
    parts = list(zip(x.split(lengths, 1), gate.split(lengths, 1), strict=True))
    expected = subject.streaming(layer, x, gate, lengths)
    context, outputs = subject.context(layer, x), []
    for number, (chunk, is_open) in enumerate(parts):
        if number % 2:
            context = copy.deepcopy(context)
        else:
            context = pickle.loads(pickle.dumps(context))
        chunk = chunk.clone()
        y = subject.step(layer, chunk, context, is_open)
        outputs.append(y.clone())
        chunk.fill_(torch.nan)
        y.fill_(torch.nan)
    subject.require_close(
        torch.cat(outputs, 1), expected, "the context is the state", 0.0
    )


@torch.no_grad()
def check_empty_chunks(subject: Subject) -> None:
    """A chunk of no frames gives none, and leaves the stream as it was.

    Arguments
    ---------
    subject : Subject
        A layer that streams.
    """
    layer, x = subject.layer(), subject.input()
    lengths = subject.chunks(subject.time)
    with_gaps = [0, *(each for length in lengths for each in (length, 0))]
    for gate in (subject.gate(x), None):
        expected = subject.streaming(layer, x, gate, lengths)
        y = subject.streaming(layer, x, gate, with_gaps)
        what = "chunks of no frames change nothing"
        subject.require_close(y, expected, what, 0.0)


@torch.no_grad()
def check_nan_leaves_no_trace(subject: Subject) -> None:
    """After NaN and infinity, the next signal gets what it got before.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, x = subject.layer(), subject.input()
    gate = subject.gate(x)
    for name, run in subject.paths(chunks=2).items():
        before = run(layer, x, gate)
        for value in (torch.nan, torch.inf):
            run(layer, torch.full_like(x, value), gate)
            what = f"{name}: {value} is gone with its signal"
            subject.require_close(run(layer, x, gate), before, what, 0.0)
