"""Slimmable DEMUCS: a causal U-Net on the waveform, of any width per frame.

`static` is the net (arXiv 2507.04879) at widths that the caller chooses,
`dynamic` the net with a router that chooses.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.lobes.models.demucs.dynamic import RoutedDemucs
from speechbrain_dsn.lobes.models.demucs.static import (
    DemucsContext,
    SlimmableDemucs,
)

__all__ = ["DemucsContext", "RoutedDemucs", "SlimmableDemucs"]
