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
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.export.ftfnet import FTFNetGraph
from speechbrain_dsn.export.graph import Graph
from speechbrain_dsn.export.rings import RINGS
from speechbrain_dsn.export.stft import SpectralFront
from speechbrain_dsn.lobes.models.ftfnet import FTFNet
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["STEP_VERSION", "build_step", "export_onnx"]

STEP_VERSION = 1  # of inputs, outputs and metadata


def build_step(model: LoadedModel, batch: bool = False) -> onnx.ModelProto:
    """One hop of a stream as a graph, the STFT included.

    Inputs are ``samples [1, hop]``, for a model that decides ``bias [1, 1]``
    (added to the logit: the compute knob; +-1e9 forces the gate), and the
    states. Outputs are ``enhanced [1, hop]``, which lags behind the input by
    the metadata's ``delay`` samples, ``logit [1, 1]`` (the frame was open if
    ``logit + bias > 0``), and the next states. States start as zeros; the
    output ``NAME_next`` is the next input ``NAME``. Those that the metadata
    list as ``in_place`` may share their memory with their output.

    What the gate opens lies behind one ``If``, so that a closed frame does
    not run it. With ``batch``, the leading axis is that of streams and may
    have any size; streams are bucketed by decision inside the graph.

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
    if not isinstance(enhancer.lobe, FTFNet):
        raise InputError(
            f"no ONNX graph for lobe {type(enhancer.lobe).__name__}: expected "
            "FTFNet or DynamicFTFNet"
        )
    graph = Graph(single=not batch)
    front, lobe = SpectralFront(enhancer), FTFNetGraph(enhancer.lobe)
    states = front.states() | lobe.states()

    def sized(shape: tuple[int, ...]) -> tuple[int | str, ...]:
        if not batch:
            return shape
        times = "" if shape[0] == 1 else f"{shape[0]}*"
        return (f"{times}streams", *shape[1:])

    samples = graph.input("samples", sized((1, front.hop)))
    bias = graph.input("bias", sized((1, 1))) if enhancer.dynamic else None
    state = {
        name: graph.input(name, sized(shape), dtype)
        for name, (shape, dtype) in states.items()
    }
    spectrum, magnitude = front.analyse(graph, samples, state)
    mask, logit = lobe.step(graph, magnitude, state, bias)
    enhanced = front.synthesise(graph, spectrum, mask, state)
    graph.output("enhanced", enhanced, sized((1, front.hop)))
    if logit is not None:
        graph.output("logit", logit, sized((1, 1)))
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


def _metadata(model: LoadedModel, states: dict) -> dict[str, Any]:
    """What a stream has to know, for JSON."""
    config, enhancer = model.config, model.enhancer
    report = enhancer.report()
    calibration = config.calibration
    return {
        "step_version": STEP_VERSION,
        "speechbrain_dsn": __version__,
        "name": config.name,
        "license": config.license,
        "sample_rate": config.sample_rate,
        "hop": enhancer.hop,
        "delay": enhancer.delay,
        "frame_rate": report.frame_rate,
        "gates": len(report.cost.gated) if enhancer.dynamic else 0,
        "macs_fixed": report.cost.fixed,
        "macs_gated": list(report.cost.gated),
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
