"""What a user could run instead: other networks on the same runtime.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime import OrtValue

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.export.graph import Graph

NSNET2_HOP = 0.01  # seconds
NSNET2_BINS, NSNET2_WIDTH, NSNET2_DENSE = 161, 400, 600


def nsnet2_macs() -> int:
    """MACs of one frame, which is also the number of its weights."""
    bins, width, dense = NSNET2_BINS, NSNET2_WIDTH, NSNET2_DENSE
    recurrent = 2 * 6 * width * width
    ends = width * (bins + dense) + dense * (dense + bins)
    return recurrent + ends


def nsnet2_step() -> bytes:
    """A graph of nsNet2's size, with random weights, without its STFT.

    Braun and Tashev (arXiv 2008.06412, section 3.1): dense 400, two GRUs of
    400, dense 600, 600 and 161.

    Returns
    -------
    bytes
        An ONNX model of one frame.
    """
    random = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, shape[-1] ** -0.5, shape)

    graph, width = Graph(), NSNET2_WIDTH
    x = graph.input("features", (1, NSNET2_BINS))
    x = graph("Gemm", x, weights(width, NSNET2_BINS), weights(width), transB=1)
    x = graph.reshape(x, 1, 1, width)
    for layer in range(2):
        state = graph.input(f"state{layer}", (1, 1, width))
        _, after = graph(
            "GRU",
            x,
            weights(1, 3 * width, width),
            weights(1, 3 * width, width),
            weights(1, 6 * width),
            None,
            state,
            results=2,
            hidden_size=width,
            linear_before_reset=1,
        )
        x = graph.reshape(after, 1, 1, width)
        graph.output(f"state{layer}_next", after, (1, 1, width))
    x = graph.reshape(x, 1, width)
    for size, last in ((NSNET2_DENSE, "Relu"), (NSNET2_DENSE, "Relu")):
        x = graph("Gemm", x, weights(size, width), weights(size), transB=1)
        x, width = graph(last, x), size
    x = graph(
        "Gemm", x, weights(NSNET2_BINS, width), weights(NSNET2_BINS), transB=1
    )
    graph.output("mask", graph("Sigmoid", x), (1, NSNET2_BINS))
    return graph.model().SerializeToString()


def onnx_step(data: bytes, origin: str) -> Callable[[], None]:
    """A step of any model that takes its state in and gives it out.

    Its inputs are noise; what it computes does not matter here. Inputs and
    outputs are bound once, which is the fastest way to run it.

    Arguments
    ---------
    data : bytes
        The ONNX model, one frame per run.
    origin : str
        For messages.

    Returns
    -------
    callable
        Runs it once.

    Raises
    ------
    InputError
        If it cannot be run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    random = np.random.default_rng(0)
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        for value in session.get_inputs():
            shape = [x if isinstance(x, int) else 1 for x in value.shape]
            noise = random.normal(0, 0.1, shape)
            dtype = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
            array = np.ascontiguousarray(noise, dtype[value.type])
            bound = OrtValue.ortvalue_from_numpy(array)
            binding.bind_ortvalue_input(value.name, bound)
        for value in session.get_outputs():
            binding.bind_output(value.name)
        session.run_with_iobinding(binding)
    except Exception as error:  # whatever onnxruntime finds wrong
        line = " ".join(str(error).split())
        raise InputError(f"{origin}: cannot be run: {line}") from error
    return lambda: session.run_with_iobinding(binding)


def peer_step(path: str) -> Callable[[], None]:
    """`onnx_step` of a file."""
    try:
        return onnx_step(Path(path).read_bytes(), path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
