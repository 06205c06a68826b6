"""Pictures: gates over spectrograms, quality against cost, usage.

matplotlib, of the extra ``plots``, is imported at the first picture.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.plots.figure import require_matplotlib
from speechbrain_dsn.plots.gates import plot_gates
from speechbrain_dsn.plots.quality import plot_quality_against_macs
from speechbrain_dsn.plots.usage import plot_usage
from speechbrain_dsn.plots.widths import plot_widths

__all__ = [
    "plot_gates",
    "plot_quality_against_macs",
    "plot_usage",
    "plot_widths",
    "require_matplotlib",
]
