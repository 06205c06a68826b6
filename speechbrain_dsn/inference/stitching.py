"""Mixtures of any length through a separator, in bounded memory.

A separator sees a whole signal at once, and which of its outputs is which
speaker is free for each signal. Longer ones are cut into blocks that overlap:
the outputs of a block are put in the order in which they continue those of
the block before, and cross-faded. All of this is ours.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import Decision, MacMeter

__all__ = [
    "BLOCK_SECONDS",
    "OVERLAP_SECONDS",
    "StitchedSeparation",
    "best_order",
    "scale_to_mixture",
]

BLOCK_SECONDS = 16.0
OVERLAP_SECONDS = 4.0
RIDGE = 1e-4  # of the mean energy of the estimates


def scale_to_mixture(mixture: Tensor, estimates: Tensor) -> Tensor:
    """Gives estimates the gains with which they add up to the mixture best.

    A separator trained by SI-SDR leaves levels and signs of its outputs open.
    Least squares with a small ridge: where an output is but a faint copy of
    another, it stays faint; of a silent mixture, all are silent.

    Arguments
    ---------
    mixture : Tensor
        ``[B, T]``.
    estimates : Tensor
        ``[B, T, S]``.

    Returns
    -------
    Tensor
        ``[B, T, S]``.

    Example
    -------
    >>> sources = torch.randn(1, 8000, 2)
    >>> estimates = sources * torch.tensor([0.3, 3.0])
    >>> scaled = scale_to_mixture(sources.sum(-1), estimates)
    >>> bool((scaled - sources).abs().max() < 0.1)
    True
    """
    wavs = estimates.double()
    energy = wavs.mT @ wavs
    mean = energy.diagonal(dim1=1, dim2=2).mean(1)
    ridge = (RIDGE * mean).clamp_min(1e-12)[:, None, None]
    eye = torch.eye(wavs.size(2), dtype=wavs.dtype, device=wavs.device)
    shared = wavs.mT @ mixture.double().unsqueeze(2)
    gains = torch.linalg.solve(energy + ridge * eye, shared)
    return (wavs * gains.mT).to(estimates.dtype)


def best_order(before: Tensor, after: Tensor) -> list[tuple[int, ...]]:
    """In which order new estimates continue the old ones.

    Arguments
    ---------
    before : Tensor
        ``[B, T, S]``.
    after : Tensor
        ``[B, T, S]``, of the same stretch.

    Returns
    -------
    list of tuple of int
        For each item, which of the new ones goes where.

    Example
    -------
    >>> before = torch.randn(1, 100, 3)
    >>> best_order(before, before[..., [2, 0, 1]])
    [(1, 2, 0)]
    """
    shared = (before.double().mT @ after.double()).cpu()
    count = shared.size(1)
    orders = list(permutations(range(count)))
    rows = torch.arange(count)
    return [
        max(orders, key=lambda order: float(item[rows, list(order)].sum()))
        for item in shared
    ]


class StitchedSeparation:
    """Blocks of any length in, as many samples of each speaker out.

    Up to :data:`BLOCK_SECONDS` are separated at once; of longer signals the
    blocks overlap by :data:`OVERLAP_SECONDS`, and a last one is never short.
    The order of the speakers is kept as long as one of them is heard where
    blocks overlap; after a longer pause of all it may change.

    Arguments
    ---------
    separator : torch.nn.Module
        In eval mode.
    batch_size : int
        Mixtures that advance together.
    decide : dict
        Passed to the separator: what `LoadedModel.decide` gives.
    device : torch.device, optional
        Where the separator is.
    block_seconds : float
        Longest signal that is separated at once.
    overlap_seconds : float
        What two blocks share.
    """

    def __init__(
        self,
        separator: nn.Module,
        batch_size: int,
        decide: dict[str, Any],
        device: torch.device | str | None = None,
        block_seconds: float = BLOCK_SECONDS,
        overlap_seconds: float = OVERLAP_SECONDS,
    ) -> None:
        self.separator, self.decide = separator, decide
        self.sample_rate = separator.sample_rate
        self.block = round(block_seconds * self.sample_rate)
        self.overlap = round(overlap_seconds * self.sample_rate)
        self.meter = MacMeter(separator.cost)
        self.macs = 0.0  # executed, what is computed twice counts twice
        self.seconds = 0.0  # of audio, over all items
        self._rest = torch.zeros(batch_size, 0, device=device)
        self._tail: Tensor | None = None  # end of the block before
        self._notes: list[tuple[Tensor, Tensor]] = []
        self._start = 0  # of the rest, in samples

    def push(self, wav: Tensor) -> Tensor:
        """Takes the next samples, gives what is ready.

        Arguments
        ---------
        wav : Tensor
            ``[B, n]`` on any device, n may be 0.

        Returns
        -------
        Tensor
            ``[B, m, S]``.
        """
        self.seconds += wav.numel() / self.sample_rate
        self._rest = torch.cat([self._rest, wav.to(self._rest)], 1)
        done = []
        # What is left is enough for a last block that is not short.
        while self._rest.size(1) >= 2 * self.block - self.overlap:
            done.append(self._advance(self.block))
        return self._joined(done)

    def flush(self) -> Tensor:
        """Gives the rest, so that all is as long as the input was.

        Returns
        -------
        Tensor
            ``[B, m, S]``.
        """
        done = []
        if (left := self._rest.size(1)) > self.block:
            done.append(self._advance(-(-(left + self.overlap) // 2)))
        if self._rest.size(1):
            done.append(self._advance(self._rest.size(1), last=True))
        return self._joined(done)

    def _joined(self, parts: list[Tensor]) -> Tensor:
        empty = self._rest.new_zeros(
            len(self._rest), 0, self.separator.num_spks
        )
        return torch.cat([empty, *parts], 1)

    @torch.inference_mode()
    def _advance(self, length: int, last: bool = False) -> Tensor:
        """Separates a block; gives all of it but what the next one shares."""
        mixture = self._rest[:, :length]
        wavs, decision = self.separator(mixture, **self.decide)
        wavs = scale_to_mixture(mixture, wavs)
        if self._tail is not None:
            wavs = self._continue(wavs)
        given = length if last else length - self.overlap
        self._count(decision, length, given)
        self._tail = None if last else wavs[:, given:]
        self._rest = self._rest[:, given:]
        self._start += given
        return wavs[:, :given]

    def _continue(self, wavs: Tensor) -> Tensor:
        """In the order of the block before, and faded in."""
        shared = self._tail.size(1)
        orders = best_order(self._tail, wavs[:, :shared])
        index = torch.tensor(orders, device=wavs.device).unsqueeze(1)
        wavs = wavs.gather(2, index.expand_as(wavs))
        fade = torch.linspace(0, math.pi / 2, shared, device=wavs.device)
        fade = fade.sin().square()[:, None]
        head = fade * wavs[:, :shared] + (1 - fade) * self._tail
        return torch.cat([head, wavs[:, shared:]], 1)

    def _count(
        self, decision: Decision | None, length: int, given: int
    ) -> None:
        frames = self.separator.frames(length)
        macs = self.separator.executed(decision, length)
        if decision is None:  # a static net runs everything, always
            macs *= len(self._rest)
            rate = self.sample_rate / self.separator.hop
            decision = Decision(torch.ones(len(self._rest), frames, 1), rate)
        self.macs += macs
        self.meter.update(decision)
        values = decision.values.cpu()
        # A chunk's middle is a multiple of the hop; those in what is given.
        middle = torch.arange(frames) * self.separator.hop
        kept = (middle < given) | (given == length)
        self._notes.append(
            ((self._start + middle[kept]) / self.sample_rate, values[:, kept])
        )

    @property
    def macs_per_second(self) -> float:
        """As executed, per second of audio."""
        return self.macs / self.seconds if self.seconds else 0.0

    def widths(self) -> tuple[Tensor, Tensor]:
        """What was chosen when.

        Returns
        -------
        seconds : Tensor
            The middle of each chunk ``[T]``.
        gates : Tensor
            ``[B, T, K]`` of 0 and 1, layer after layer; of a static net all
            1.
        """
        seconds, gates = zip(*self._notes, strict=True)
        return torch.cat(seconds), torch.cat(gates, 1)

    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """The same, as the index of the width in each layer.

        Returns
        -------
        seconds : np.ndarray
            ``[T]``.
        levels : np.ndarray
            ``[B, T, layers]``.
        """
        seconds, gates = self.widths()
        groups = self.meter.cost.groups
        levels = gates.unflatten(-1, (groups, -1)).argmax(-1)
        return seconds.numpy(), levels.numpy()
