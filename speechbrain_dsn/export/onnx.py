"""Models as ONNX files: samples in, samples out, one hop at a time.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import onnx

from speechbrain_dsn import __version__
from speechbrain_dsn.cost import MacCount, total
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.export.conv_fsenet import FSENetGraph
from speechbrain_dsn.export.demucs import DemucsGraph
from speechbrain_dsn.export.ftfnet import FTFNetGraph
from speechbrain_dsn.export.graph import Graph
from speechbrain_dsn.export.nsnet2 import NsNet2Graph
from speechbrain_dsn.export.rings import RINGS
from speechbrain_dsn.export.stft import SpectralFront, SpectralGraph
from speechbrain_dsn.lobes.enhancer import Enhancer
from speechbrain_dsn.lobes.models.conv_fsenet import (
    ConvFSENet,
    DynamicConvFSENet,
)
from speechbrain_dsn.lobes.models.demucs import SlimmableDemucs
from speechbrain_dsn.lobes.models.ftfnet import FTFNet
from speechbrain_dsn.lobes.models.nsnet2 import NsNet2
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["STEP_VERSION", "build_step", "export_onnx"]

STEP_VERSION = 2  # of inputs, outputs and metadata


def build_step(model: LoadedModel, batch: bool = False) -> onnx.ModelProto:
    """One hop of a stream as a graph, from samples to samples.

    Inputs are ``samples [1, hop]``, for a model that decides ``bias [1, 1]``
    (the compute knob; +-1e9 forces the dearest and the cheapest frame), and
    the states. Outputs are ``enhanced [1, hop]``, which lags behind the input
    by the metadata's ``delay`` samples, ``logit [1, gates]``, and the next
    states. A frame with one gate was open if ``logit + bias > 0``; where the
    metadata say ``one_hot``, it ran at the first level of largest ``logit +
    bias * levels``. States start as zeros; the output ``NAME_next`` is the
    next input ``NAME``. Those that the metadata list as ``in_place`` may
    share their memory with their output.

    What a gate opens lies behind one ``If``, each of several widths behind a
    few, so that a frame runs only its own. Gates of single channels mask, and
    the metadata count what runs: gathering the rows that are open takes longer
    than the whole product. With ``batch``, the leading axis
    is that of streams and may have any size; streams are bucketed by decision
    inside the graph.

    Arguments
    ---------
    model : LoadedModel
        What `speechbrain_dsn.pretrained.load_model` gives.
    batch : bool
        Whether for any number of streams.

    Returns
    -------
    onnx.ModelProto
        With weights and metadata.

    Raises
    ------
    InputError
        If the lobe has no graph.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import ModelConfig
    >>> config = ModelConfig("tiny", "dynamic_ftfnet")
    >>> step = build_step(LoadedModel(config.build(), config))
    >>> [node.op_type for node in step.graph.node].count("If")
    1
    """
    enhancer = model.enhancer
    step = _step_of(enhancer)
    graph, states = Graph(single=not batch), step.states()

    def sized(shape: tuple[int, ...]) -> tuple[int | str, ...]:
        if not batch:
            return shape
        times = "" if shape[0] == 1 else f"{shape[0]}*"
        return (f"{times}streams", *shape[1:])

    samples = graph.input("samples", sized((1, enhancer.hop)))
    bias = graph.input("bias", sized((1, 1))) if enhancer.dynamic else None
    state = {
        name: graph.input(name, sized(shape), dtype)
        for name, (shape, dtype) in states.items()
    }
    enhanced, logit = step.step(graph, samples, state, bias)
    graph.output("enhanced", enhanced, sized((1, enhancer.hop)))
    if logit is not None:
        gates = len(enhancer.cost.gated)
        graph.output("logit", logit, sized((1, gates)))
    for name, (shape, dtype) in states.items():
        graph.output(f"{name}_next", state[name], sized(shape), dtype)
    metadata = _metadata(model, states) | {"batch": batch}
    return graph.model({k: json.dumps(v) for k, v in metadata.items()})


def export_onnx(
    model: LoadedModel, path: str | os.PathLike, batch: bool = False
) -> Path:
    """Writes `build_step` to a file: whole or not at all.

    Arguments
    ---------
    model : LoadedModel
        What to write.
    path : str or path
        Ends with ``.onnx``; a file of that name is replaced.
    batch : bool
        Whether for any number of streams.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"cannot write {path}: expected a name like x.onnx")
    if not path.parent.is_dir() or path.is_dir():
        raise InputError(
            f"cannot write {path}: expected a file in an existing folder"
        )
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(build_step(model, batch).SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _step_of(enhancer: Enhancer) -> DemucsGraph | SpectralGraph:
    """What writes the graph of an enhancer."""
    lobe = enhancer.lobe
    if isinstance(lobe, SlimmableDemucs):
        return DemucsGraph(lobe)
    if isinstance(lobe, FTFNet):
        return SpectralGraph(SpectralFront(enhancer), FTFNetGraph(lobe))
    if isinstance(lobe, NsNet2):
        return SpectralGraph(SpectralFront(enhancer), NsNet2Graph(lobe))
    if isinstance(lobe, ConvFSENet):
        return SpectralGraph(SpectralFront(enhancer), FSENetGraph(lobe))
    raise InputError(
        f"no ONNX graph for lobe {type(lobe).__name__}: expected FTFNet, "
        "DynamicFTFNet, SlimmableDemucs, RoutedDemucs, NsNet2, DynamicNsNet2, "
        "ConvFSENet or DynamicConvFSENet"
    )


def _executed(enhancer: Enhancer) -> MacCount:
    """MACs of a frame as the graph runs them: masked products run whole."""
    cost = enhancer.cost
    if isinstance(enhancer.lobe, DynamicConvFSENet):
        return MacCount(cost.open, (0,) * len(cost.gated))
    if isinstance(enhancer.lobe, FTFNet):
        net, layers = enhancer.lobe, dict(enhancer.report().layers)
        layers["time"] = net.time.macs(net.bins[3], masked=True)
        cost = total(layers.values())
        return cost if enhancer.dynamic else MacCount(cost.open)
    return cost


def _metadata(model: LoadedModel, states: dict) -> dict[str, Any]:
    """What a stream has to know, for JSON."""
    config, enhancer = model.config, model.enhancer
    cost, rate = _executed(enhancer), enhancer.report().frame_rate
    calibration = config.calibration
    return {
        "step_version": STEP_VERSION,
        "speechbrain_dsn": __version__,
        "name": config.name,
        "license": config.license,
        "sample_rate": config.sample_rate,
        "hop": enhancer.hop,
        "delay": enhancer.delay,
        "frame_rate": rate,
        "gates": len(cost.gated),
        "one_hot": cost.one_hot,
        "macs_fixed": cost.fixed,
        "macs_gated": list(cost.gated),
        "levels": list(cost.levels),
        "macs_levels": [cost.of_level(k) for k in range(len(cost.levels))],
        "calibration": None
        if calibration is None
        else {"budgets": calibration.budgets, "biases": calibration.biases},
        "default_budget": config.default_budget,
        "states": {
            name: {"shape": shape, "dtype": dtype}
            for name, (shape, dtype) in states.items()
        },
        "in_place": [name for name in RINGS if name in states],
    }
