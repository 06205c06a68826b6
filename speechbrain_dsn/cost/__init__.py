"""What a network costs: ``cost(t) = fixed + sum_k gate[t, k] * gated[k]``.

Convention: one multiply-accumulate is one MAC; linear maps, convolutions,
recurrences and attention products count; biases, norms, activations, the
STFT and copies do not. Attention counts its full window.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.cost.decision import Decision, gates_at
from speechbrain_dsn.cost.macs import MacCount, total
from speechbrain_dsn.cost.meter import (
    MacMeter,
    activation,
    macs_per_second,
)
from speechbrain_dsn.cost.report import CostReport

__all__ = [
    "CostReport",
    "Decision",
    "MacCount",
    "MacMeter",
    "activation",
    "gates_at",
    "macs_per_second",
    "total",
]
