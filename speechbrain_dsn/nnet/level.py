"""The level of a signal, followed frame by frame.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 1e-8  # mean square: -80 dB re full scale
RELEASE = 0.99  # of the power per frame: 2.7 dB per second at 62.5 frames


@dataclass
class LevelContext:
    """What a level follower keeps.

    Arguments
    ---------
    power : Tensor
        Of the last frame ``[B]``, the floor at the start of a stream.
    """

    power: Tensor


def make_level_context(
    batch_size: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> LevelContext:
    """The state at the start of a stream.

    Arguments
    ---------
    batch_size : int
        Streams.
    device : torch.device, optional
        Where the state lives.
    dtype : torch.dtype, optional
        Its type.

    Returns
    -------
    LevelContext
        Silence.
    """
    return LevelContext(
        torch.full((batch_size,), FLOOR, device=device, dtype=dtype)
    )


def follow_level(
    frames: Tensor, context: LevelContext, release: float = RELEASE
) -> tuple[Tensor, Tensor]:
    """The level of the loudest frame so far, slowly forgotten.

    ``p_t = max(mean square of frame t, release p_(t-1))``.

    Arguments
    ---------
    frames : Tensor
        ``[B, T, hop]``.
    context : LevelContext
        Updated in place.
    release : float
        What is left of the power after a frame.

    Returns
    -------
    tuple of Tensor
        Root mean square of each frame and of the one before it, each ``[B,
        T, 1]``.

    Example
    -------
    >>> frames = torch.tensor([[[3.0, 3.0], [0.0, 0.0]]])
    >>> follow_level(frames, make_level_context(1), release=0.25)[0]
    tensor([[[3.0000],
             [1.5000]]])
    """
    power = frames.square().mean(-1) + FLOOR
    # Lifted by what will be forgotten, the maximum is a running one.
    time = torch.arange(power.size(1) + 1).to(power) * math.log(release)
    power = torch.cat([context.power.unsqueeze(1), power], 1)
    power = ((power.log() - time).cummax(1).values + time).exp()
    context.power = power[:, -1].clone()
    level = power.sqrt().unsqueeze(-1)
    return level[:, 1:], level[:, :-1]
