"""nsNet2 with early exits.

`stages` holds its layers, `static` the net (arXiv 2308.16678) with exits that
the caller chooses among, `dynamic` the net with a router that chooses.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.lobes.models.nsnet2.dynamic import DynamicNsNet2
from speechbrain_dsn.lobes.models.nsnet2.static import NsNet2, NsNet2Context

__all__ = ["DynamicNsNet2", "NsNet2", "NsNet2Context"]
