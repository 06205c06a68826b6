"""Who decides: sampling, policies, routers, budget control.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.gating.calibration import Calibration, budget_bias
from speechbrain_dsn.gating.channels import ChannelGate
from speechbrain_dsn.gating.chunk import ChunkGate
from speechbrain_dsn.gating.policy import FramePolicy
from speechbrain_dsn.gating.router import WaveformRouter
from speechbrain_dsn.gating.sampling import (
    decided,
    random_gate,
    sample_choice,
    sample_gate,
    surrogate_gate,
    top_share_gate,
)
from speechbrain_dsn.gating.spectrum import SpectrumRouter
from speechbrain_dsn.gating.tape import Tape, find_tapes

__all__ = [
    "Calibration",
    "ChannelGate",
    "ChunkGate",
    "FramePolicy",
    "SpectrumRouter",
    "Tape",
    "WaveformRouter",
    "budget_bias",
    "decided",
    "find_tapes",
    "random_gate",
    "sample_choice",
    "sample_gate",
    "surrogate_gate",
    "top_share_gate",
]
