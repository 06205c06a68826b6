"""Files of any length, rate and channel count through a model.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from speechbrain_dsn.cost import Decision, MacMeter
from speechbrain_dsn.dataio.audio import (
    AtomicWriter,
    AudioInfo,
    iter_blocks,
    probe,
)
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.blocks import (
    BLOCK_SECONDS,
    SignalStream,
)
from speechbrain_dsn.inference.judged import JudgedBudget, open_stream
from speechbrain_dsn.inference.memory import trimmed
from speechbrain_dsn.pretrained import LoadedModel

__all__ = [
    "FileReport",
    "Signal",
    "enhance_to_file",
    "enhanced_blocks",
    "open_output",
    "write_enhanced",
]


class Signal(Protocol):
    """What a file runs through, as `SignalStream` does."""

    def push(self, block: np.ndarray) -> np.ndarray:
        """Takes ``[n, C]``, gives ``[m, C]``."""

    def flush(self) -> np.ndarray:
        """Gives the rest; all together is as long as what came in."""

    def meter(self) -> MacMeter:
        """MACs as executed."""

    def decision(self) -> Decision:
        """Gates, one item per channel."""


@dataclass(frozen=True)
class FileReport:
    """What it took to enhance a file.

    Arguments
    ---------
    path : str
        The noisy file.
    output : str
        The enhanced file.
    seconds : float
        Duration.
    sample_rate : int
        In Hz, of both.
    channels : int
        Of both.
    activation : float
        Mean of the gates over frames and channels; 1 for a static model.
    macs_per_second : float
        As executed, per second of audio and channel.
    rtf : float
        Wall-clock time over duration: reading, resampling and writing too.
    frame_rate : float
        Decisions per second.
    gates : np.ndarray
        ``[C, T, K]``, booleans.
    """

    path: str
    output: str
    seconds: float
    sample_rate: int
    channels: int
    activation: float
    macs_per_second: float
    rtf: float
    frame_rate: float
    gates: np.ndarray = field(repr=False)

    def as_dict(self) -> dict[str, str | int | float]:
        """Plain values for JSON, without the gates."""
        values = asdict(self)
        del values["gates"]
        return values


def enhanced_blocks(
    info: AudioInfo,
    signal: Signal,
    progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[np.ndarray]:
    """Reads a file block by block, and enhances each.

    Arguments
    ---------
    info : AudioInfo
        Of the file.
    signal : Signal
        At its start, for the rate and channels of the file.
    progress : callable
        Told the seconds that each block advanced by.

    Returns
    -------
    Iterator[np.ndarray]
        ``[n, C]``, together as long as the file.

    Raises
    ------
    InputError
        As `speechbrain_dsn.dataio.audio.iter_blocks`.
    """
    seconds = max(1.0, BLOCK_SECONDS / info.channels)
    blocks = iter_blocks(info.path, round(seconds * info.sample_rate))
    for block in trimmed(blocks):
        yield signal.push(block)
        progress(len(block) / info.sample_rate)
    yield signal.flush()


def open_output(
    info: AudioInfo, output: str | os.PathLike, overwrite: bool = False
) -> AtomicWriter:
    """Where the enhanced form of a file goes; never the file itself.

    Arguments
    ---------
    info : AudioInfo
        Of the input, whose rate, channels and coding are kept.
    output : str or path
        In a folder that is there.
    overwrite : bool
        Whether an existing output may be replaced.

    Returns
    -------
    AtomicWriter
        To be entered.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    output = Path(output)
    if output.exists() and output.samefile(info.path):
        raise InputError(f"{output} is the input itself: expected a new name")
    return AtomicWriter(
        output,
        info.sample_rate,
        info.channels,
        like=info,
        overwrite=overwrite,
    )


def enhance_to_file(
    model: LoadedModel,
    path: str | os.PathLike,
    output: str | os.PathLike,
    budget: float | JudgedBudget | None = None,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    progress: Callable[[float], None] = lambda seconds: None,
) -> FileReport:
    """Enhances a file into another, in bounded memory.

    Rate, channels, length, level, container and coding stay as they are;
    each channel is enhanced on its own. The output appears when it is
    complete.

    Arguments
    ---------
    model : LoadedModel
        What `speechbrain_dsn.pretrained.load_model` gives.
    path : str or path
        Any file that soundfile reads.
    output : str or path
        In a folder that is there.
    budget : float or JudgedBudget, optional
        Wanted mean activation in 0..1, or what sets it; the model's default
        without it.
    overwrite : bool
        Whether an existing output may be replaced.
    device : torch.device, optional
        Where the model is.
    progress : callable
        Told the seconds that each block advanced by.

    Returns
    -------
    FileReport
        What it took.

    Raises
    ------
    InputError
        If input, output or budget are not what is expected.
    """
    model.expect("enhancement")
    info = probe(path)
    stream = open_stream(model, info.channels, budget, device)
    signal = SignalStream(stream, info.sample_rate)
    return write_enhanced(info, signal, output, overwrite, progress)


def write_enhanced(
    info: AudioInfo,
    signal: Signal,
    output: str | os.PathLike,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda seconds: None,
) -> FileReport:
    """Runs a file through a signal path and writes what comes out.

    Arguments
    ---------
    info : AudioInfo
        Of the file.
    signal : Signal
        At its start, for the rate and channels of the file.
    output : str or path
        In a folder that is there.
    overwrite : bool
        Whether an existing output may be replaced.
    progress : callable
        Told the seconds that each block advanced by.

    Returns
    -------
    FileReport
        What it took.
    """
    begin = time.perf_counter()
    with open_output(info, output, overwrite) as writer:
        for block in enhanced_blocks(info, signal, progress):
            writer.write(block)
    spent = time.perf_counter() - begin
    meter, decision = signal.meter(), signal.decision()
    return FileReport(
        path=str(info.path),
        output=str(output),
        seconds=info.seconds,
        sample_rate=info.sample_rate,
        channels=info.channels,
        activation=meter.activation,
        macs_per_second=meter.macs_per_second,
        rtf=spent / info.seconds,
        frame_rate=decision.frame_rate,
        gates=decision.values.numpy() > 0.5,
    )
