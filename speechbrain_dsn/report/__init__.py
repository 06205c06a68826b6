"""One page that shows what was measured: charts, table, and clips to hear.

The page is a single file. It loads nothing, and its Content-Security-Policy
forbids that it could.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.report.clips import (
    Clip,
    choose_clips,
    enhanced_clip,
    make_clip,
    separated_clip,
)
from speechbrain_dsn.report.page import make_page, write_page

__all__ = [
    "Clip",
    "choose_clips",
    "enhanced_clip",
    "make_clip",
    "make_page",
    "separated_clip",
    "write_page",
]
