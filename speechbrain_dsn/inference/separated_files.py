"""Mixtures in files, of any length and rate, into a file per speaker.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from speechbrain_dsn.dataio.audio import (
    AtomicWriter,
    AudioInfo,
    Resampler,
    iter_blocks,
    probe,
)
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.memory import trimmed
from speechbrain_dsn.inference.stitching import (
    BLOCK_SECONDS,
    StitchedSeparation,
)
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["SeparationReport", "separate_to_files", "source_paths"]

SILENCE_DB = -120.0


@dataclass(frozen=True)
class SeparationReport:
    """What it took to separate a file.

    Arguments
    ---------
    path : str
        The mixture.
    outputs : list of str
        One file per speaker.
    seconds : float
        Duration.
    sample_rate : int
        In Hz, of all.
    levels_db : list of float
        RMS of each output over that of the mixture; at least -120.
    activation : float
        Mean over chunks of what was chosen; 1 for a static model.
    macs_per_second : float
        As executed, per second of audio.
    rtf : float
        Wall-clock time over duration: reading, resampling and writing too.
    times : np.ndarray
        ``[T]``, the middle of each chunk, in seconds.
    gates : np.ndarray
        ``[T, K]``, booleans, layer after layer.
    """

    path: str
    outputs: list[str]
    seconds: float
    sample_rate: int
    levels_db: list[float]
    activation: float
    macs_per_second: float
    rtf: float
    times: np.ndarray = field(repr=False)
    gates: np.ndarray = field(repr=False)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, without the gates."""
        values = asdict(self)
        del values["gates"], values["times"]
        return values


def source_paths(output: str | os.PathLike, count: int) -> list[Path]:
    """Where the speakers of a mixture go.

    Arguments
    ---------
    output : str or path
        What stands for all of them.
    count : int
        Speakers.

    Returns
    -------
    list of Path
        One each.

    Example
    -------
    >>> [path.name for path in source_paths("out/a.wav", 2)]
    ['a_s1.wav', 'a_s2.wav']
    """
    output = Path(output)
    return [
        output.with_name(f"{output.stem}_s{number}{output.suffix}")
        for number in range(1, count + 1)
    ]


class _Mono:
    """A file at any rate through a separator: ``[n, C]`` to ``[m, S]``."""

    def __init__(self, stream: StitchedSeparation, sample_rate: int) -> None:
        self._stream = stream
        self._before = Resampler(sample_rate, stream.sample_rate)
        self._after = Resampler(stream.sample_rate, sample_rate)
        self._missing = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """Channels are averaged."""
        self._missing += len(block)
        mono = self._before.process(block.mean(1))
        return self._back(self._stream.push(torch.from_numpy(mono)[None]))

    def flush(self) -> np.ndarray:
        """The rest; all together is as long as what came in."""
        mono = torch.from_numpy(self._before.flush())[None]
        parts = [self._stream.push(mono), self._stream.flush()]
        last = self._back(torch.cat(parts, 1), end=True)
        # Resampling there and back may end a sample or two early.
        return np.pad(last, ((0, self._missing), (0, 0)))

    def _back(self, wavs: torch.Tensor, end: bool = False) -> np.ndarray:
        block = self._after.process(wavs[0].cpu().numpy())
        if end:
            block = np.concatenate((block, self._after.flush()))
        block = block[: self._missing]
        self._missing -= len(block)
        return block


def separate_to_files(
    model: LoadedModel,
    path: str | os.PathLike,
    output: str | os.PathLike,
    budget: float | None = None,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    progress: Callable[[float], None] = lambda seconds: None,
) -> SeparationReport:
    """Separates a file into one per speaker, in bounded memory.

    Rate, length, container and coding stay as they are; channels are
    averaged. The outputs appear when all of them are complete.

    Arguments
    ---------
    model : LoadedModel
        A separator.
    path : str or path
        Any file that soundfile reads.
    output : str or path
        In a folder that is there; see `source_paths`.
    budget : float, optional
        Wanted mean activation in 0..1; the model's default without it.
    overwrite : bool
        Whether existing outputs may be replaced.
    device : torch.device, optional
        Where the model is.
    progress : callable
        Told the seconds that each block advanced by.

    Returns
    -------
    SeparationReport
        What it took.

    Raises
    ------
    InputError
        If input, outputs or budget are not what is expected.
    """
    model.expect("separation")
    decide, info = model.decide(budget), probe(path)
    begin = time.perf_counter()
    stream = StitchedSeparation(model.enhancer, 1, decide, device)
    signal = _Mono(stream, info.sample_rate)
    outputs = source_paths(output, model.enhancer.num_spks)
    power = np.zeros(1 + len(outputs))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(_writer(info, name, overwrite))
            for name in outputs
        ]

        def write(wavs: np.ndarray) -> None:
            power[1:] += np.square(wavs, dtype=np.float64).sum(0)
            for writer, wav in zip(writers, wavs.T, strict=True):
                writer.write(wav)

        frames = round(BLOCK_SECONDS * info.sample_rate)
        for block in trimmed(iter_blocks(info.path, frames)):
            power[0] += np.square(block.mean(1), dtype=np.float64).sum()
            write(signal.push(block))
            progress(len(block) / info.sample_rate)
        write(signal.flush())
    times, gates = stream.widths()
    return SeparationReport(
        path=str(info.path),
        outputs=[str(name) for name in outputs],
        seconds=info.seconds,
        sample_rate=info.sample_rate,
        levels_db=[_level_db(each, power[0]) for each in power[1:]],
        activation=stream.meter.activation,
        macs_per_second=stream.macs_per_second,
        rtf=(time.perf_counter() - begin) / info.seconds,
        times=times.numpy(),
        gates=gates[0].numpy() > 0.5,
    )


def _writer(info: AudioInfo, output: Path, overwrite: bool) -> AtomicWriter:
    """One channel in rate and coding of the input, which it never replaces."""
    if output.exists() and output.samefile(info.path):
        raise InputError(f"{output} is the input itself: expected a new name")
    return AtomicWriter(
        output, info.sample_rate, 1, like=info, overwrite=overwrite
    )


def _level_db(power: float, reference: float) -> float:
    if not power or not reference:
        return SILENCE_DB
    return max(SILENCE_DB, 10 * math.log10(power / reference))
