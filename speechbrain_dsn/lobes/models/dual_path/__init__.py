"""Dual-path separation whose chunks choose their widths.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.lobes.models.dual_path.separator import DualPathSeparator

__all__ = ["DualPathSeparator"]
