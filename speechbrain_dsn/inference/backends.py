"""Which runtime a model streams on, and what holds its budget.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating.budget import BudgetController
from speechbrain_dsn.inference.info import StreamInfo
from speechbrain_dsn.inference.onnx_session import OnnxSession, onnx_available
from speechbrain_dsn.inference.session import TorchSession
from speechbrain_dsn.pretrained import load_model

__all__ = ["make_controller", "open_session"]

BACKENDS = ("auto", "onnx", "torch")


def open_session(
    source: str | os.PathLike, backend: str = "auto", threads: int = 1
) -> OnnxSession | TorchSession:
    """Loads a model for streaming.

    Arguments
    ---------
    source : str or path
        A name, a model folder, or an ONNX file.
    backend : str
        ``"auto"``, ``"onnx"`` or ``"torch"``.
    threads : int
        Of onnxruntime.

    Returns
    -------
    OnnxSession or TorchSession
        Ready to run.

    Raises
    ------
    InputError
        If there is no such model or backend.
    """
    if backend not in BACKENDS:
        raise InputError(
            f"backend {backend!r}: expected one of {', '.join(BACKENDS)}"
        )
    if Path(source).suffix == ".onnx":
        if backend == "torch":
            raise InputError(
                f"{source} cannot run on torch: expected a model folder"
            )
        return OnnxSession.from_file(source, threads)
    model = load_model(source)
    model.expect("enhancement")  # what hears whole signals does not stream
    if backend == "torch":
        return TorchSession(model)
    if backend == "auto" and not onnx_available():
        warnings.warn(
            "onnx or onnxruntime is missing: streaming on PyTorch, ten times "
            "slower; pip install 'speechbrain-dsn[onnx]'",
            stacklevel=2,
        )
        return TorchSession(model)
    return OnnxSession.from_model(model, threads=threads)


def make_controller(
    info: StreamInfo, budget: float | None = None
) -> BudgetController:
    """What holds a budget for a stream of a model.

    Arguments
    ---------
    info : StreamInfo
        Of the model; a calibration helps, but is not needed.
    budget : float, optional
        Mean activation; the model's default without it.

    Returns
    -------
    BudgetController
        MACs per second over any 10 s within 5 % of those at the budget.

    Raises
    ------
    InputError
        If the model does not decide, or there is no budget.
    """
    if not info.dynamic:
        raise InputError(
            f"model {info.name} is static, all of it always runs: expected a "
            "dynamic model where a budget is to be held"
        )
    budget = info.default_budget if budget is None else budget
    if budget is None:
        raise InputError(
            f"model {info.name} has no default budget: expected one to hold"
        )
    bias = 0.0 if info.calibration is None else info.bias(budget)
    return BudgetController.for_cost(budget, info.frame_rate, info.cost, bias)
