"""Inner loops in C, for inference on a CPU.

The C beside this file is compiled when the package is installed, where a C
compiler is at hand; without it, or with ``SPEECHBRAIN_DSN_NATIVE=0``, PyTorch
computes the same. The loops are operators of torch, so that its counter of
operations sees them (``FlopCounterMode(custom_mapping=FORMULAS)``). What calls
them asks :func:`runs` or :func:`fits` first: they know no gradient and float32
only, and of layers they are faster at small ones.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.native.blocks import decode, encode
from speechbrain_dsn.native.calls import (
    FORMULAS,
    LANES,
    LARGEST_OF_BLOCK,
    fits,
    pack,
    runs,
)
from speechbrain_dsn.native.library import available
from speechbrain_dsn.native.operators import (
    diagonal_gru,
    gated_linear,
    gru_steps,
    linear,
)

__all__ = [
    "FORMULAS",
    "LANES",
    "LARGEST_OF_BLOCK",
    "available",
    "decode",
    "diagonal_gru",
    "encode",
    "fits",
    "gated_linear",
    "gru_steps",
    "linear",
    "pack",
    "runs",
]
