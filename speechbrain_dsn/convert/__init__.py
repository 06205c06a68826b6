"""From a trained static model to a slimmable or gated one.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.convert.model import at_width, convert
from speechbrain_dsn.convert.recipe import convert_masknet
from speechbrain_dsn.convert.report import Converted, Left, Report

__all__ = [
    "Converted",
    "Left",
    "Report",
    "at_width",
    "convert",
    "convert_masknet",
]
