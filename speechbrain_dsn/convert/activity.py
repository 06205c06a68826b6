"""What hidden units send while data goes through a net.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from speechbrain_dsn.errors import InputError

__all__ = ["mean_squares"]


class _Watch(TorchFunctionMode):
    """Adds up what certain weights are multiplied with, wherever that is."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        # A slice of leading columns begins where its weight begins.
        self.sums = {weight.data_ptr(): 0.0 for weight in weights}
        self.rows = dict.fromkeys(self.sums, 0)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.linear and (place := args[1].data_ptr()) in self.sums:
            rows = args[0].detach().double().flatten(0, -2)
            self.sums[place] = self.sums[place] + rows.square().sum(0)
            self.rows[place] += len(rows)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def mean_squares(
    model: nn.Module, weights: list[Tensor], data: Iterable[Any]
) -> list[Tensor]:
    """Mean square of each input of dense layers, over data.

    Arguments
    ---------
    model : torch.nn.Module
        At full width, in eval mode.
    weights : list of Tensor
        Those of the layers ``[out, in]``.
    data : iterable
        Inputs of the model: tensors, or tuples of arguments.

    Returns
    -------
    list of Tensor
        For each weight ``[in]``.

    Raises
    ------
    InputError
        If there is no data, or a layer did not run.

    Example
    -------
    >>> layer = nn.Linear(2, 3)
    >>> mean_squares(layer, [layer.weight], [torch.tensor([[1.0, 2.0]])])
    [tensor([1., 4.], dtype=torch.float64)]
    """
    watch, items = _Watch(weights), 0
    with watch:
        for item in data:
            model(*item) if isinstance(item, tuple) else model(item)
            items += 1
    if not items:
        raise InputError("calibration: expected inputs of the model, got none")
    if not all(watch.rows.values()):
        raise InputError(
            "calibration: a layer that is to be sorted does not run on this "
            "data"
        )
    return [
        watch.sums[weight.data_ptr()] / watch.rows[weight.data_ptr()]
        for weight in weights
    ]
