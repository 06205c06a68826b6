"""What a run leaves behind: calibration, model folder, table and plots.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from speechbrain_dsn.dataio.mixing import Batch
from speechbrain_dsn.gating import Calibration


@torch.inference_mode()
def calibrate(enhancer: nn.Module, batches: Iterable[Batch]) -> Calibration:
    """The bias for every budget, from the logits on valid.

    Arguments
    ---------
    enhancer : torch.nn.Module
        A net that decides, in eval mode.
    batches : iterable of Batch
        Mixtures of valid, never of test.

    Returns
    -------
    Calibration
        From mean activation to bias.
    """
    device = next(enhancer.parameters()).device
    logits = []
    for batch in batches:
        _, decision = enhancer(batch.noisy.to(device))
        valid = decision.mask().bool()
        logits.append(decision.logits[valid].cpu())
    return Calibration.from_logits(torch.cat(logits).numpy())
