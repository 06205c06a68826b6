"""What stays in float32 where the rest of a net runs in bfloat16.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["full_precision"]

Result = TypeVar("Result")


def full_precision(function: Callable[..., Result]) -> Callable[..., Result]:
    """Has autocast leave a function alone: a recurrence adds up what rounding
    loses in each step, and multiplies in place, in one type.

    Arguments
    ---------
    function : callable
        Of tensors, the first one on the device of all.

    Returns
    -------
    callable
        The same; under autocast its arguments become float32 first.

    Example
    -------
    >>> double = full_precision(lambda x: x @ torch.eye(2))
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     double(torch.ones(1, 2, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    @wraps(function)
    def call(first: Tensor, *args, **kwargs) -> Result:
        device = first.device.type
        if not torch.is_autocast_enabled(device):
            return function(first, *args, **kwargs)
        args = [_widened(value) for value in (first, *args)]
        kwargs = {key: _widened(value) for key, value in kwargs.items()}
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return call


def _widened(value: object) -> object:
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.float() if floating else value
