"""Conv-FSENet, and DynCP: its channels pruned frame by frame.

`static` is the net, `dynamic` the net with a gate per channel (arXiv
2412.17121).

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.lobes.models.conv_fsenet.dynamic import (
    DynamicConvFSENet,
)
from speechbrain_dsn.lobes.models.conv_fsenet.static import (
    ConvFSENet,
    FSENetBlock,
    FSENetContext,
)

__all__ = ["ConvFSENet", "DynamicConvFSENet", "FSENetBlock", "FSENetContext"]
