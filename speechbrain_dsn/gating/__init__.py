"""Who decides: sampling, policies, routers, budget control.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.gating.calibration import Calibration
from speechbrain_dsn.gating.policy import FramePolicy
from speechbrain_dsn.gating.sampling import random_gate, sample_gate

__all__ = ["Calibration", "FramePolicy", "random_gate", "sample_gate"]
