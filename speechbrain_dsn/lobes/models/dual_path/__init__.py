"""Dual-path separation whose chunks choose their widths.

Authors
 * The speechbrain_dsn developers 2026
"""

from typing import Any

from speechbrain_dsn.lobes.models.dual_path.blocks import (
    SlimmableTransformerBlock,
)
from speechbrain_dsn.lobes.models.dual_path.separator import DualPathSeparator

__all__ = [
    "DualPathSeparator",
    "SlimmableRNNBlock",
    "SlimmableTransformerBlock",
]


def __getattr__(name: str) -> Any:
    """The one class that cannot be made without importing SpeechBrain, which
    takes a second."""
    if name != "SlimmableRNNBlock":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from speechbrain_dsn.lobes.models.dual_path.rnn_block import (
        SlimmableRNNBlock,
    )

    return SlimmableRNNBlock
