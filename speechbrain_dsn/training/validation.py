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

    def __init__(self, cost: MacCount) -> None:
        self.meter = MacMeter(cost)
        self.scores: dict[str, list[float]] = {}
        self.ovrl: list[float] = []
        self.snr: list[float] = []

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
        self._score("pesq", batch, estimate, "pesq")
        self._score("si_sdr", batch, estimate, "si_sdr")
        if decision is None:
            return
        self.meter.update(decision)
        self.snr.extend(batch.snr_db.tolist())
        if batch.ovrl is not None:
            self.ovrl.extend(batch.ovrl.tolist())
        noisy = batch.noisy.to(estimate.device)
        frames = decision.values.size(1)
        for name, value in (("open", 1.0), ("closed", 0.0)):
            gate = torch.full((len(noisy), frames), value)
            gate = gates_at(self.meter.cost, gate)
            fixed, _ = enhancer(noisy, gate=gate.to(noisy))
            self._score("si_sdr", batch, fixed, f"si_sdr_{name}")

    def _score(
        self, metric: str, batch: Batch, estimate: Tensor, name: str
    ) -> None:
        """One metric of each item; NaN where it is not defined."""
        pairs = zip(batch.clean.numpy(), estimate.cpu().numpy(), strict=True)
        for clean, wav in pairs:
            value = METRICS[metric](clean, wav, RATE).value
            self.scores.setdefault(name, []).append(value)

    def summary(self) -> dict[str, float]:
        """Means over the list.

        Returns
        -------
        dict of str to float
            Quality, deterministic activation, MACs per second in millions,
            and rank correlation of activation with SNR and OVRL.
        """
        result = {k: float(np.nanmean(v)) for k, v in self.scores.items()}
        items = self.meter.per_item
        if not items:
            return result
        use = [item["activation"] for item in items]
        result["activation"] = self.meter.activation
        cost = self.meter.cost
        if cost.one_hot:  # shares of the widths: a router may collapse
            for level, share in zip(cost.levels, self.meter.usage, strict=True):
                result[f"use_{level:g}"] = share
        result["m_macs"] = self.meter.macs_per_second / 1e6
        result["rho_snr"] = spearman(use, self.snr).value
        if self.ovrl:
            result["rho_ovrl"] = spearman(use, self.ovrl).value
        return result
