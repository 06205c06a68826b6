"""What is refused before onnxruntime sees it, and what a file says of itself.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.inference.info import StreamInfo
from speechbrain_dsn.pretrained.arguments import Number, Whole, shown
from speechbrain_dsn.pretrained.config import NAME

if TYPE_CHECKING:
    import onnx

__all__ = ["read_metadata", "stream_info"]

DOMAINS = {"", "ai.onnx", "com.microsoft"}
ENDLESS = ("Loop", "Scan", "SequenceMap")
SIZES = {
    "sample_rate": Whole(1000, 768_000),
    "hop": Whole(1, 1 << 16),
    "delay": Whole(0, 1 << 20),
    "gates": Whole(0, 4096),
    "frame_rate": Number(0.01, 1e6),
    "macs_fixed": Number(0, 1e15),
}


def read_metadata(data: bytes, origin: str) -> dict[str, Any]:
    """Metadata of a model that reads no other file and runs no other code.

    Arguments
    ---------
    data : bytes
        Of a file.
    origin : str
        Where it comes from, for messages.

    Returns
    -------
    dict
        What `speechbrain_dsn.export.onnx.build_step` wrote.

    Raises
    ------
    InputError
        If it is no such model, or of another version.
    """
    import onnx
    from google.protobuf.message import DecodeError

    from speechbrain_dsn.export.onnx import STEP_VERSION

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise InputError(f"{origin}: not an ONNX model") from error
    if model.functions or model.training_info:
        raise InputError(
            f"{origin}: functions or training graphs, expected one graph"
        )
    for graph in _graphs(model.graph):
        _check_graph(graph, origin)
    try:
        metadata = {p.key: json.loads(p.value) for p in model.metadata_props}
        version = metadata["step_version"]
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(
            f"{origin}: no metadata of a stream, expected a file that "
            "`speechbrain-dsn export` wrote"
        ) from error
    if version != STEP_VERSION:
        raise InputError(
            f"{origin}: written as version {version}, this speechbrain_dsn "
            f"runs version {STEP_VERSION}: export the model again"
        )
    return metadata


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the branches in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for branch in attribute.graphs:
                yield from _graphs(branch)


def _check_graph(graph: onnx.GraphProto, origin: str) -> None:
    """Refuses what `export` never writes and could do harm."""
    import onnx

    tensors, sparse = [*graph.initializer], len(graph.sparse_initializer)
    for node in graph.node:
        if node.domain not in DOMAINS or node.op_type in ENDLESS:
            raise InputError(
                f"{origin}: operator {shown(node.op_type)} of domain "
                f"{shown(node.domain)}, expected those of ONNX and "
                f"onnxruntime without {', '.join(ENDLESS)}"
            )
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            sparse += attribute.HasField("sparse_tensor")
            sparse += len(attribute.sparse_tensors)
    if sparse:
        raise InputError(f"{origin}: sparse weights, expected dense ones")
    if any(
        x.data_location == onnx.TensorProto.EXTERNAL or x.external_data
        for x in tensors
    ):
        raise InputError(
            f"{origin}: weights lie in another file, expected all in one"
        )


def stream_info(metadata: dict[str, Any]) -> StreamInfo:
    """What a stream has to know of the model.

    Arguments
    ---------
    metadata : dict
        Of `read_metadata`.

    Returns
    -------
    StreamInfo
        The same facts, checked.

    Raises
    ------
    InputError
        If one is not what it has to be.
    """
    for name, allowed in SIZES.items():
        if not allowed.accepts(metadata[name]):
            raise InputError(
                f"{name} is {shown(metadata[name])}, expected {allowed}"
            )
    if metadata["gates"] != len(metadata["macs_gated"]):
        raise InputError(
            f"gates is {metadata['gates']}, expected one per item of "
            f"macs_gated {shown(metadata['macs_gated'])}"
        )
    if not NAME.fullmatch(metadata["name"]):
        raise InputError(f"name is {shown(metadata['name'])}, expected a word")
    table = metadata["calibration"]
    return StreamInfo(
        name=metadata["name"],
        sample_rate=metadata["sample_rate"],
        hop=metadata["hop"],
        delay=metadata["delay"],
        frame_rate=metadata["frame_rate"],
        dynamic=metadata["gates"] > 0,
        cost=MacCount(
            metadata["macs_fixed"],
            tuple(metadata["macs_gated"]),
            metadata["one_hot"],
        ),
        calibration=table
        and Calibration(tuple(table["budgets"]), tuple(table["biases"])),
        default_budget=metadata["default_budget"],
    )
