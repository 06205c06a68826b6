"""Learning from the net that one was converted from.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Distilled"]


class Distilled(nn.Module):
    """A signal loss, plus how far a module is from its teacher.

    For recipes that know neither: while a module trains, the teacher is given
    the same input, and the distance of their outputs is added to the loss of
    the recipe, ``sum (s - t)^2 / sum t^2`` of each item. In eval, and where a
    reduction is asked for as SpeechBrain's ``MetricStats`` does, it is the
    signal loss alone. The teacher is no part of this module: it is not saved
    or trained.

    Arguments
    ---------
    base_loss : callable
        ``(first, second) -> [B]`` or a scalar, such as a
        :class:`~speechbrain_dsn.losses.ComplexityRegularized`.
    module : torch.nn.Module
        The student. It is watched by a hook, its weights keep their names.
    teacher : torch.nn.Module
        Of the same inputs and outputs.
    weight : float
        Of the distance.
    batch_axis : int
        Axis of the items in the output: 1 for a ``MaskNet`` of SpeechBrain,
        which gives ``[speakers, B, N, L]``.

    Example
    -------
    >>> net, teacher = nn.Linear(4, 4), nn.Linear(4, 4)
    >>> loss = Distilled(nn.functional.mse_loss, net, teacher)
    >>> x = torch.randn(2, 4)
    >>> bool(loss(net(x), x) > nn.functional.mse_loss(net(x), x))
    True
    """

    def __init__(
        self,
        base_loss: Callable[..., Tensor],
        module: nn.Module,
        teacher: nn.Module,
        weight: float = 1.0,
        batch_axis: int = 0,
    ) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight is at least 0, got {weight}")
        if module is teacher:
            raise ValueError("a module cannot teach itself, expected another")
        self.base_loss = base_loss
        self.weight, self.batch_axis = weight, batch_axis
        # In lists: neither belongs to the loss.
        self._module, self._teacher = [module], [teacher.eval()]
        # Of the newest pass only: its graph is not kept where nobody reads.
        self._distances: deque[Tensor] = deque(maxlen=1)
        module.register_forward_hook(self._watch)

    def _watch(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if not module.training:
            return
        (teacher,) = self._teacher
        teacher.to(output.device)
        with torch.no_grad():
            wanted = teacher(*inputs)
        student, wanted = (
            y.movedim(self.batch_axis, 0).float().flatten(1)
            for y in (output, wanted)
        )
        error = (student - wanted).square().sum(1)
        energy = wanted.square().sum(1).clamp_min(1e-8)
        self._distances.append(error / energy)

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        *more: Any,
        **options: Any,
    ) -> Tensor:
        """The signal loss, with the distance while training.

        Arguments
        ---------
        first, second : Tensor
            Prediction and target, in the order of the signal loss.
        *more, **options
            Passed to the signal loss. With ``reduction`` the distance is left
            out.

        Returns
        -------
        Tensor
            What the signal loss gives: a scalar, or ``[B]``.
        """
        loss = self.base_loss(first, second, *more, **options)
        if not self._module[0].training or "reduction" in options:
            return loss
        if not self._distances:
            return loss
        taught = self.weight * self._distances.pop()
        return loss + (taught if loss.shape == taught.shape else taught.mean())
