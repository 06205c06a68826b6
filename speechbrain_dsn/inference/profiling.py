"""What a model costs, and how long it takes.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import gates_at
from speechbrain_dsn.inference.blocks import AlignedStream
from speechbrain_dsn.lobes.models.quality import MODES
from speechbrain_dsn.pretrained import LoadedModel

__all__ = [
    "fixed_gates",
    "memory_profile",
    "profile_model",
    "real_time_factors",
    "usual_activations",
]

SECONDS = 4.0
ROUNDS = 7
RUN = 16  # frames; decisions on speech come in runs


def profile_model(
    model: LoadedModel, activations: Sequence[float] | None = None
) -> dict[str, Any]:
    """Parameters, MACs and real-time factors at given activations.

    Arguments
    ---------
    model : LoadedModel
        Any.
    activations : sequence of float, optional
        Means in 0..1, :func:`usual_activations` by default; a static model
        costs the same at each.

    Returns
    -------
    dict
        Plain values for JSON: ``parameters``, ``macs_per_second`` and
        ``rtf`` by activation, ``layers`` with MACs per second by activation,
        and what the numbers refer to. Of a quality predictor also
        :func:`memory_profile`.
    """
    enhancer, config = model.enhancer, model.config
    report = enhancer.report()
    if activations is None:
        activations = usual_activations(model)
    names = {f"{activation:g}": activation for activation in activations}
    factors = real_time_factors(model, list(names.values()))
    # Of the whole net: a part may run at some of its levels only.
    usage = {k: report.cost.usage_at(v) for k, v in names.items()}
    return {
        "model": config.name,
        "dynamic": config.dynamic,
        "parameters": sum(p.numel() for p in enhancer.parameters()),
        "sample_rate": config.sample_rate,
        "frame_rate": report.frame_rate,
        "latency_ms": 1000
        * (enhancer.delay + enhancer.hop)
        / config.sample_rate
        if config.kind == "enhancement"
        else None,
        "macs_per_second": {
            name: report.macs_per_second(value) for name, value in names.items()
        },
        "layers": {
            layer: {
                name: cost.at(usage[name][: len(cost.gated)])
                * report.frame_rate
                for name in names
            }
            for layer, cost in report.layers.items()
        },
        "rtf": dict(zip(names, factors, strict=True)),
        "rtf_conditions": {
            "mode": "offline, PyTorch, the skipping path",
            "threads": 1,
            "seconds": SECONDS,
            "rounds": ROUNDS,
        },
        **(memory_profile(enhancer) if config.kind == "quality" else {}),
    }


def memory_profile(predictor: nn.Module) -> dict[str, Any]:
    """What inference takes beside its input, in each mode of a net.

    Arguments
    ---------
    predictor : torch.nn.Module
        A :class:`~speechbrain_dsn.lobes.predictor.QualityPredictor`.

    Returns
    -------
    dict
        ``memory_bytes`` by mode: the largest map and all weights;
        ``memory_layers`` with maps and weights of each layer by mode; and
        what they refer to.
    """
    net = predictor.lobe
    return {
        "memory_bytes": {mode: net.memory_bytes(mode) for mode in MODES},
        "memory_layers": {
            mode: {k: x._asdict() for k, x in net.memory(mode).items()}
            for mode in MODES
        },
        "memory_conditions": {
            "mode": net.mode,
            "seconds": predictor.segment / predictor.sample_rate,
            "input_values": net.segment * net.bands,
        },
    }


def usual_activations(model: LoadedModel) -> tuple[float, ...]:
    """Activations at which a model is looked at.

    Arguments
    ---------
    model : LoadedModel
        Any.

    Returns
    -------
    tuple of float
        Those of its widths; without any, 0, 0.5 and 1.
    """
    cost = model.enhancer.report().cost
    return cost.levels if cost.one_hot else (0.0, 0.5, 1.0)


def real_time_factors(
    model: LoadedModel, activations: Sequence[float]
) -> list[float]:
    """Time over duration on one thread, at fixed gates.

    Candidates take turns in one process after a warm-up, and the median
    counts, so that their ratio can be trusted on a busy machine.

    Arguments
    ---------
    model : LoadedModel
        Any.
    activations : sequence of float
        Means in 0..1.

    Returns
    -------
    list of float
        One for each.
    """
    enhancer = model.enhancer
    generator = torch.Generator().manual_seed(0)
    length = round(SECONDS * enhancer.sample_rate) // enhancer.hop
    wav = torch.randn(1, length * enhancer.hop, generator=generator) / 20
    cost, run, frames = enhancer.report().cost, _stream, length
    if model.config.kind != "enhancement":
        run, frames = _whole, enhancer.frames(wav.size(1))
    gates = [
        gates_at(cost, fixed_gates(frames, activation, cost.levels))
        for activation in activations
    ]
    times: list[list[float]] = [[] for _ in gates]
    with _one_thread():
        for turn in range(ROUNDS + 1):
            for place, gate in enumerate(gates):
                decide = {"gate": gate} if model.config.dynamic else {}
                work = run(enhancer, decide)
                begin = time.perf_counter()
                work(wav)
                if turn:  # the first one warms up
                    times[place].append(time.perf_counter() - begin)
    seconds = wav.size(1) / enhancer.sample_rate
    return [statistics.median(each) / seconds for each in times]


def _stream(enhancer: nn.Module, decide: dict) -> Callable[[Tensor], Tensor]:
    """Blocks of the skipping path, from the start of a stream."""
    return AlignedStream(enhancer, 1, decide).push


def _whole(network: nn.Module, decide: dict) -> Callable[[Tensor], Any]:
    """A whole signal; of a separator, each chunk at its width."""
    return torch.inference_mode()(partial(network, **decide))


def fixed_gates(
    frames: int, activation: float, levels: Sequence[float] = (0.0, 1.0)
) -> Tensor:
    """Activations in runs, with a given mean.

    Arguments
    ---------
    frames : int
        Length.
    activation : float
        Wanted mean in 0..1.
    levels : sequence of float
        Activations that a frame can have, ascending; the two around the mean
        take turns.

    Returns
    -------
    Tensor
        ``[1, frames]``, each one of the levels.

    Example
    -------
    >>> fixed_gates(64, 0.25).mean()
    tensor(0.2500)
    >>> fixed_gates(64, 0.75, (0.125, 0.5, 1.0)).unique(return_counts=True)
    (tensor([0.5000, 1.0000]), tensor([32, 32]))
    """
    place = torch.arange(frames) % RUN
    upper = next((x for x in levels[1:] if x >= activation), levels[-1])
    lower = levels[levels.index(upper) - 1]
    share = min(max((activation - lower) / (upper - lower), 0.0), 1.0)
    opened = place < round(share * RUN)
    return torch.where(opened, upper, lower)[None]


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
