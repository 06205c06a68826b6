"""What is paid: signal losses and complexity losses.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.losses.cheapest import CheapestLevel, cheapest_within
from speechbrain_dsn.losses.complexity import (
    budget_hinge,
    budget_pull,
    metric_target,
    threshold_shift,
    unit_spread,
)
from speechbrain_dsn.losses.distillation import Distilled
from speechbrain_dsn.losses.expected import ExpectedDistortion
from speechbrain_dsn.losses.levels import LevelTeacher
from speechbrain_dsn.losses.perceptual import PerceptualDisturbance
from speechbrain_dsn.losses.routing import (
    RatioPrice,
    RoutingPrice,
    load_balance,
)
from speechbrain_dsn.losses.segmental import (
    SignalDependentPrice,
    segmental_si_sdr,
)
from speechbrain_dsn.losses.spectral import MultiResolutionCompressedLoss
from speechbrain_dsn.losses.term import Term
from speechbrain_dsn.losses.waveform import negative_si_sdr, relative_error
from speechbrain_dsn.losses.wrapper import ComplexityRegularized, gate_price

__all__ = [
    "CheapestLevel",
    "ComplexityRegularized",
    "Distilled",
    "ExpectedDistortion",
    "LevelTeacher",
    "MultiResolutionCompressedLoss",
    "PerceptualDisturbance",
    "RatioPrice",
    "RoutingPrice",
    "SignalDependentPrice",
    "Term",
    "budget_hinge",
    "budget_pull",
    "cheapest_within",
    "gate_price",
    "load_balance",
    "metric_target",
    "negative_si_sdr",
    "relative_error",
    "segmental_si_sdr",
    "threshold_shift",
    "unit_spread",
]
