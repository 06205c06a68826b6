"""Streams on onnxruntime.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.inference.session import StreamInfo, check_arrays
from speechbrain_dsn.pretrained import LoadedModel

if TYPE_CHECKING:
    import onnx

__all__ = [
    "OnnxLane",
    "OnnxSession",
    "OnnxState",
    "onnx_available",
    "require_onnx",
]

MAX_BYTES = 1 << 29
DOMAINS = {"", "ai.onnx", "com.microsoft"}


def onnx_available() -> bool:
    """Whether onnxruntime and onnx are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


class OnnxSession:
    """A model that `speechbrain_dsn.export.onnx.build_step` wrote.

    Arguments
    ---------
    data : bytes
        Of the file. Nothing outside it is read.
    origin : str
        Where it comes from, for messages.
    threads : int
        Of onnxruntime; products this small gain nothing from more than one.

    Raises
    ------
    InputError
        If it is no such model, or of another version.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import ModelConfig
    >>> config = ModelConfig("tiny", "dynamic_ftfnet")
    >>> model = LoadedModel(config.build(), config)
    >>> lane = OnnxSession.from_model(model).make_lane()
    >>> out, logits = lane.advance(np.zeros(512, np.float32), np.zeros(2))
    >>> out.shape, logits.shape
    ((512,), (2,))
    """

    backend = "onnx"

    def __init__(
        self, data: bytes, origin: str = "model", threads: int = 1
    ) -> None:
        require_onnx()
        import onnxruntime

        metadata = _checked(data, origin)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
            self.info = _info(metadata)
            self.batch = bool(metadata["batch"])
            self.states = {
                name: (tuple(state["shape"]), np.dtype(state["dtype"]))
                for name, state in metadata["states"].items()
            }
            self.in_place = frozenset(metadata["in_place"])
            self._check_names()
        except InputError as error:
            raise InputError(f"{origin}: {error}") from error
        except Exception as error:  # whatever onnxruntime finds wrong
            line = " ".join(str(error).split())
            raise InputError(f"{origin}: cannot be run: {line}") from error

    @classmethod
    def from_file(
        cls, path: str | os.PathLike, threads: int = 1
    ) -> OnnxSession:
        """Reads a file.

        Arguments
        ---------
        path : str or path
            The file.
        threads : int
            Of onnxruntime.

        Returns
        -------
        OnnxSession
            Ready to run.

        Raises
        ------
        InputError
            If it cannot be read or is not what is expected.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise InputError(
                    f"{path}: {size} bytes, expected at most {MAX_BYTES}"
                )
            return cls(path.read_bytes(), str(path), threads)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error

    @classmethod
    def from_model(
        cls, model: LoadedModel, batch: bool = False, threads: int = 1
    ) -> OnnxSession:
        """Builds the graph of a loaded model in memory.

        Arguments
        ---------
        model : LoadedModel
            The model.
        batch : bool
            Whether for any number of streams.
        threads : int
            Of onnxruntime.

        Returns
        -------
        OnnxSession
            Ready to run.
        """
        require_onnx()
        from speechbrain_dsn.export.onnx import build_step

        data = build_step(model, batch).SerializeToString()
        return cls(data, model.config.name, threads)

    def make_lane(self) -> OnnxLane:
        """The state of one stream, at its start."""
        return OnnxLane(self)

    def _check_names(self) -> None:
        found = {x.name for x in self.session.get_inputs()}
        found |= {x.name for x in self.session.get_outputs()}
        expected = {"samples", "enhanced", *self.states}
        expected |= {f"{name}_next" for name in self.states}
        expected |= {"bias", "logit"} if self.info.dynamic else set()
        if found != expected:
            raise InputError(
                f"found inputs and outputs {sorted(found ^ expected)} in one "
                "of graph and metadata, expected the same in both"
            )


class OnnxState:
    """Memory of up to ``capacity`` streams, and what a step reads and writes.

    There are two copies of each state, one to read and one to write, which
    change places; the rings of keys and values, the bulk of the state, are
    written in place.

    Arguments
    ---------
    session : OnnxSession
        Whose.
    capacity : int
        Streams; more than one needs a session with a batch axis.
    """

    def __init__(self, session: OnnxSession, capacity: int = 1) -> None:
        self._session = session
        hop = session.info.hop
        self.samples = np.zeros((capacity, hop), np.float32)
        self.bias = np.zeros((capacity, 1), np.float32)
        self.enhanced = np.zeros((capacity, hop), np.float32)
        self.logit = np.ones((capacity, 1), np.float32)
        first, second = (
            {
                name: np.zeros((shape[0] * capacity, *shape[1:]), dtype)
                for name, (shape, dtype) in session.states.items()
            }
            for _ in range(2)
        )
        second |= {name: first[name] for name in session.in_place}
        self._memory, self._turn = (first, second), 0
        self.use(capacity)

    def use(self, streams: int) -> None:
        """Steps from now on are steps of the first so many streams.

        Arguments
        ---------
        streams : int
            1 to ``capacity``.
        """
        if streams < 1:
            raise ValueError("a step needs a stream")
        pairs = {"samples": self.samples}, {"enhanced": self.enhanced}
        if self._session.info.dynamic:
            pairs[0]["bias"], pairs[1]["logit"] = self.bias, self.logit
        self._bindings = []
        for turn in range(2):
            ins = pairs[0] | self._memory[turn]
            after = self._memory[1 - turn]
            outs = pairs[1] | {f"{name}_next": after[name] for name in after}
            binding = self._session.session.io_binding()
            for bind, arrays in (
                (binding.bind_ortvalue_input, ins),
                (binding.bind_ortvalue_output, outs),
            ):
                for name, array in arrays.items():
                    rows = len(array) // len(self.samples) * streams
                    bind(name, _shared(array[:rows]))
            self._bindings.append(binding)

    def step(self) -> None:
        """Reads ``samples`` and ``bias``, writes ``enhanced`` and
        ``logit``."""
        self._session.session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn

    def row(self, stream: int) -> dict[str, np.ndarray]:
        """Views of the state of one stream, by name.

        Arguments
        ---------
        stream : int
            Its place.

        Returns
        -------
        dict
            What is written there is what the next step reads.
        """
        views = {}
        for name, array in self._memory[self._turn].items():
            size = len(array) // len(self.samples)
            views[name] = array[stream * size : (stream + 1) * size]
        return views


class OnnxLane:
    """One stream through an :class:`OnnxSession`.

    Arguments
    ---------
    session : OnnxSession
        Whose.
    """

    def __init__(self, session: OnnxSession) -> None:
        self._hop = session.info.hop
        self._state = OnnxState(session)

    def reset(self) -> None:
        """Back to the start of a stream."""
        for array in self._state.row(0).values():
            array.fill(0)

    def advance(
        self, samples: np.ndarray, biases: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whole hops.

        Arguments
        ---------
        samples : np.ndarray
            float32 ``[n * hop]``.
        biases : np.ndarray
            Added to the logit of each hop ``[n]``.

        Returns
        -------
        tuple of np.ndarray
            Enhanced samples ``[n * hop]``, late by the delay, and logits
            ``[n]`` (positive throughout where nothing is decided).
        """
        state, hop = self._state, self._hop
        out = np.empty(len(samples), np.float32)
        logits = np.empty(len(biases), np.float32)
        for frame, bias in enumerate(biases):
            part = slice(frame * hop, (frame + 1) * hop)
            state.samples[0] = samples[part]
            state.bias[0] = bias
            state.step()
            out[part] = state.enhanced[0]
            logits[frame] = state.logit[0, 0]
        return out, logits

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the state, by name."""
        return {name: x.copy() for name, x in self._state.row(0).items()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Goes on from a state that `arrays` gave.

        Arguments
        ---------
        arrays : dict
            By name.

        Raises
        ------
        InputError
            If it is the state of another model.
        """
        here = self._state.row(0)
        check_arrays(arrays, here)
        for name, array in here.items():
            array[...] = arrays[name]


def require_onnx() -> None:
    """Raises an `InputError` where onnx or onnxruntime is missing."""
    if not onnx_available():
        raise InputError(
            "onnx or onnxruntime is not installed: expected both, "
            "pip install 'speechbrain-dsn[onnx]'"
        )


def _shared(array: np.ndarray) -> Any:
    """An OrtValue on the memory of an array."""
    from onnxruntime import OrtValue

    value = OrtValue.ortvalue_from_numpy(array)
    if value.data_ptr() != array.ctypes.data:
        raise InputError(
            "this onnxruntime copies arrays that are bound: expected 1.14 or "
            "later"
        )
    return value


def _checked(data: bytes, origin: str) -> dict[str, Any]:
    """Metadata of a model that reads no other file and runs no other code."""
    import onnx
    from google.protobuf.message import DecodeError

    from speechbrain_dsn.export.onnx import STEP_VERSION

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise InputError(f"{origin}: not an ONNX model") from error
    for graph in _graphs(model.graph):
        tensors = [*graph.initializer]
        for node in graph.node:
            tensors += [x.t for x in node.attribute if x.HasField("t")]
            if node.domain not in DOMAINS:
                raise InputError(
                    f"{origin}: operator of domain {node.domain!r}, expected "
                    "those of ONNX and onnxruntime"
                )
        if any(x.data_location == onnx.TensorProto.EXTERNAL for x in tensors):
            raise InputError(
                f"{origin}: weights lie in another file, expected all in one"
            )
    try:
        metadata = {p.key: json.loads(p.value) for p in model.metadata_props}
        version = metadata["step_version"]
    except (KeyError, ValueError) as error:
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


def _info(metadata: dict[str, Any]) -> StreamInfo:
    for name in ("sample_rate", "hop", "delay", "gates"):
        if not isinstance(metadata[name], int) or metadata[name] < 0:
            raise InputError(
                f"{name} is {metadata[name]!r}, expected an integer"
            )
    table = metadata["calibration"]
    return StreamInfo(
        name=metadata["name"],
        sample_rate=metadata["sample_rate"],
        hop=metadata["hop"],
        delay=metadata["delay"],
        frame_rate=metadata["frame_rate"],
        dynamic=metadata["gates"] > 0,
        cost=MacCount(metadata["macs_fixed"], tuple(metadata["macs_gated"])),
        calibration=table
        and Calibration(tuple(table["budgets"]), tuple(table["biases"])),
        default_budget=metadata["default_budget"],
    )
