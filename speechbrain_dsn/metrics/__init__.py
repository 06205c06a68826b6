"""How good an estimate is: PESQ, STOI, SI-SDR, composite scores, DNSMOS.

Every metric of `METRICS` is called as ``(reference, estimate, sample_rate)``
and gives a `Score`: a value, or NaN with a reason. Packages that compute them
are imported at the first use only.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.metrics.dnsmos import DNSMOS
from speechbrain_dsn.metrics.evaluate import (
    METRICS,
    Job,
    Metric,
    evaluate_many,
    evaluate_pair,
    require_metrics,
)
from speechbrain_dsn.metrics.score import Measure, Score, Unmeasurable
from speechbrain_dsn.metrics.summary import (
    MetricTable,
    Summary,
    bootstrap,
    pearson,
    spearman,
    summarize,
)

__all__ = [
    "DNSMOS",
    "METRICS",
    "Job",
    "Measure",
    "Metric",
    "MetricTable",
    "Score",
    "Summary",
    "Unmeasurable",
    "bootstrap",
    "evaluate_many",
    "evaluate_pair",
    "pearson",
    "require_metrics",
    "spearman",
    "summarize",
]
