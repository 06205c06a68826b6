"""How large a network may become while it is built from a description.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from speechbrain_dsn.errors import InputError

# Values in range may together still be a network that no machine holds.
MAX_PARAMETERS = 100_000_000


def check_size(parameters: int) -> None:
    """Refuses a network of more than `MAX_PARAMETERS`.

    Arguments
    ---------
    parameters : int
        Their number.

    Raises
    ------
    InputError
        If it is larger.
    """
    if parameters > MAX_PARAMETERS:
        raise InputError(
            f"more than {MAX_PARAMETERS} parameters, expected a network "
            "that fits in memory"
        )


@contextmanager
def limited_size() -> Iterator[None]:
    """Ends the making of a network once it is too large."""
    total, thread = 0, threading.get_ident()

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        nonlocal total
        if parameter is None or threading.get_ident() != thread:
            return
        total += parameter.numel()
        check_size(total)

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
