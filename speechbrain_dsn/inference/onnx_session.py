"""Streams on onnxruntime.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.onnx_file import read_metadata, stream_info
from speechbrain_dsn.inference.onnx_lane import OnnxLane, OnnxState
from speechbrain_dsn.optional import import_optional
from speechbrain_dsn.pretrained import LoadedModel
from speechbrain_dsn.pretrained.arguments import listed, shown

__all__ = [
    "OnnxLane",
    "OnnxSession",
    "OnnxState",
    "onnx_available",
    "require_onnx",
]

MAX_BYTES = 1 << 29  # of a file
MAX_MEMORY = 1 << 31  # bytes that the graphs of this process compute in
MAX_STATE = 1 << 28  # bytes that one stream remembers


def onnx_available() -> bool:
    """Whether onnxruntime and onnx are installed."""
    try:
        require_onnx()
    except InputError:
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
    ((512,), (2, 1))
    """

    backend = "onnx"

    def __init__(
        self, data: bytes, origin: str = "model", threads: int = 1
    ) -> None:
        require_onnx()
        import onnxruntime

        metadata = read_metadata(data, origin)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A buffer of its own for every value: the net's are small, and each
        # stays in the cache where it was. 1 to 2 % of the time.
        options.enable_mem_reuse = False
        _bound_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self.session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
            self.info = stream_info(metadata)
            self.batch = bool(metadata["batch"])
            self.states = {
                name: (tuple(state["shape"]), np.dtype(state["dtype"]))
                for name, state in metadata["states"].items()
            }
            self.in_place = frozenset(metadata["in_place"])
            self._check_states()
            self._check_names()
        except InputError as error:
            raise InputError(f"{origin}: {error}") from error
        except Exception as error:  # whatever onnxruntime finds wrong
            line = " ".join(str(error).split())[:300]
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
            if path.exists() and not path.is_file():  # a pipe would wait
                raise InputError(f"{path}: no file, expected an ONNX file")
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise InputError(
                    f"{path}: more than {MAX_BYTES} bytes, expected a model"
                )
            return cls(data, str(path), threads)
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
        if found != expected or not self.in_place <= self.states.keys():
            raise InputError(
                f"found inputs and outputs {listed(sorted(found ^ expected))} "
                "in one of graph and metadata, expected the same in both"
            )

    def _check_states(self) -> None:
        """Refuses a memory that no stream has."""
        for name, (shape, dtype) in self.states.items():
            sizes = shape and all(type(n) is int and n >= 1 for n in shape)
            if not sizes or dtype.kind not in "fiub":
                raise InputError(
                    f"state {shown(name)} is {shown((shape, str(dtype)))}, "
                    "expected a shape and a type of numbers"
                )
        arrays = self.states.values()
        size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in arrays)
        if size > MAX_STATE:
            raise InputError(
                f"states take {size} bytes, expected at most {MAX_STATE}"
            )


@cache
def _bound_memory() -> None:
    """Has onnxruntime give all graphs memory out of one bounded pool.

    A few nodes of a hostile file could otherwise ask for all there is, when
    the graph is optimised or when it runs.
    """
    import onnxruntime

    pool = onnxruntime.OrtMemoryInfo(
        "Cpu",
        onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        onnxruntime.OrtMemType.DEFAULT,
    )
    limit = onnxruntime.OrtArenaCfg({"max_mem": MAX_MEMORY})
    onnxruntime.create_and_register_allocator(pool, limit)


def require_onnx() -> None:
    """Raises an `InputError` where onnx or onnxruntime is missing."""
    for package in ("onnx", "onnxruntime"):
        import_optional(package, "pip install 'speechbrain-dsn[onnx]'")
