"""What is measured on valid after each epoch.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import Decision, MacCount, MacMeter, gates_at
from speechbrain_dsn.dataio.mixing import Batch
from speechbrain_dsn.metrics import METRICS, spearman

RATE = 16000


class Validation:
    """Scores of the decided net, and of the same net all open and closed.

    The gates are deterministic here: in training the noise of the Gumbel
    sampling hides a policy whose every logit lies a little under zero.

    Arguments
    ---------
    cost : MacCount
        Cost of one frame.
    """

    # What is measured of the decided net; of fixed gates, the last one.
    metrics = ("pesq", "si_sdr")

    def __init__(self, cost: MacCount) -> None:
        self.meter = MacMeter(cost)
        self.scores: dict[str, list[float]] = {}
        self.inputs: dict[str, list[float]] = {}

    def add(
        self,
        enhancer: nn.Module,
        batch: Batch,
        estimate: Tensor,
        decision: Decision | None,
    ) -> None:
        """Measures one batch.

        Arguments
        ---------
        enhancer : torch.nn.Module
            In eval mode.
        batch : Batch
            Fixed mixtures.
        estimate : Tensor
            What the decided net made of them ``[B, samples]``.
        decision : Decision or None
            Its gates; None for a static net.
        """
        for metric in self.metrics:
            self._add(metric, self.score(metric, batch, estimate))
        if decision is None:
            return
        self.meter.update(decision)
        for name, values in self.describe(batch).items():
            self.inputs.setdefault(name, []).extend(values.tolist())
        noisy = batch.noisy.to(estimate.device)
        frames = decision.values.size(1)
        for name, value in (("open", 1.0), ("closed", 0.0)):
            gate = torch.full((len(noisy), frames), value)
            gate = gates_at(self.meter.cost, gate)
            fixed, _ = enhancer(noisy, gate=gate.to(noisy))
            found = self.score(self.metrics[-1], batch, fixed)
            self._add(f"{self.metrics[-1]}_{name}", found)

    def _add(self, name: str, values: list[float]) -> None:
        self.scores.setdefault(name, []).extend(values)

    def score(self, metric: str, batch: Batch, estimate: Tensor) -> list[float]:
        """One metric of each item; NaN where it is not defined.

        Arguments
        ---------
        metric : str
            Out of :attr:`metrics`.
        batch : Batch
            With the targets.
        estimate : Tensor
            ``[B, samples]``.

        Returns
        -------
        list of float
            ``[B]``.
        """
        pairs = zip(batch.clean.numpy(), estimate.cpu().numpy(), strict=True)
        return [METRICS[metric](*pair, RATE).value for pair in pairs]

    def describe(self, batch: Batch) -> dict[str, Tensor]:
        """What is known of the inputs, for correlations with activation.

        Arguments
        ---------
        batch : Batch
            Fixed mixtures.

        Returns
        -------
        dict of str to Tensor
            Names to values ``[B]``.
        """
        known = {"snr": batch.snr_db, "ovrl": batch.ovrl}
        return {k: x for k, x in known.items() if x is not None}

    def summary(self) -> dict[str, float]:
        """Means over the list.

        Returns
        -------
        dict of str to float
            Quality, deterministic activation, MACs per second in millions,
            and rank correlation of activation with what is known of the
            inputs.
        """
        result = {k: float(np.nanmean(v)) for k, v in self.scores.items()}
        items = self.meter.per_item
        if not items:
            return result
        use = [item["activation"] for item in items]
        result["activation"] = self.meter.activation
        cost = self.meter.cost
        if cost.one_hot:  # shares of the widths: a router may collapse
            for level, share in zip(
                cost.levels, self.meter.widths, strict=True
            ):
                result[f"use_{level:g}"] = share
        result["m_macs"] = self.meter.macs_per_second / 1e6
        for name, values in self.inputs.items():
            result[f"rho_{name}"] = spearman(use, values).value
        return result
