"""How many MACs a call executes, seen from the operators.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_dsn.native import FORMULAS


def count_macs(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """Executes a call and counts its multiply-accumulates.

    Half of what torch's ``FlopCounterMode`` sees: matrix products and
    convolutions, also inside GRUs and attention. Products done element by
    element, norms, activations and FFTs are not seen.

    Arguments
    ---------
    function : callable
        What to run, without gradients.
    *args
        Its arguments.
    **kwargs
        Its keyword arguments.

    Returns
    -------
    int
        MACs.

    Example
    -------
    >>> count_macs(torch.nn.Linear(8, 4), torch.zeros(10, 8))
    320
    """
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    with _operators_in_sight(), torch.no_grad(), counter:
        function(*args, **kwargs)
    return counter.get_total_flops() // 2


@contextmanager
def _operators_in_sight() -> Iterator[None]:
    """Keeps torch from running fused operators that the counter reads as 0."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            # Switching oneDNN off makes torch speak of TF32.
            warnings.filterwarnings("ignore", "TF32", UserWarning)
            with (
                torch.backends.mkldnn.flags(enabled=False),
                sdpa_kernel(SDPBackend.MATH),
            ):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
