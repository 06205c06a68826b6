"""Inner loops in C, for inference on a CPU.

``kernels.c`` is compiled when the package is installed, where a C compiler is
at hand; without it, or with ``SPEECHBRAIN_DSN_NATIVE=0``, PyTorch computes the
same. They are operators of torch, so that its counter of operations sees
them (``FlopCounterMode(custom_mapping=FORMULAS)``). What calls them asks :func:`runs` or :func:`fits` first: they know no
gradient and float32 only, and of layers they are faster at small ones.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.native.library import available
from speechbrain_dsn.native.operators import (
    FORMULAS,
    LANES,
    fits,
    gated_linear,
    gru_steps,
    linear,
    linear_overlap,
    runs,
)

__all__ = [
    "FORMULAS",
    "LANES",
    "available",
    "fits",
    "gated_linear",
    "gru_steps",
    "linear",
    "linear_overlap",
    "runs",
]
