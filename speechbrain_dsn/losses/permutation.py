"""Signal losses that do not mind in which order sources come.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from speechbrain.nnet.losses import get_si_snr_with_pitwrapper
from torch import Tensor

__all__ = ["upit_si_sdr"]


def upit_si_sdr(
    estimate: Tensor, target: Tensor, threshold: float = -30.0
) -> Tensor:
    """SpeechBrain's negative SI-SDR in the best order of the sources.

    Utterance-level permutation invariant training (arXiv 1703.06284). What is
    separated better than the threshold teaches nothing any more, as with
    ``threshold_byloss`` in SpeechBrain's recipes.

    Arguments
    ---------
    estimate : Tensor
        ``[B, samples, S]``.
    target : Tensor
        ``[B, samples, S]``.
    threshold : float
        Lowest value, in dB.

    Returns
    -------
    Tensor
        ``[B]``, in dB.

    Example
    -------
    >>> import torch
    >>> target = torch.randn(2, 800, 2)
    >>> estimate = target.flip(-1) + 0.1 * torch.randn(2, 800, 2)
    >>> bool((upit_si_sdr(estimate, target) < -18).all())
    True
    """
    loss = get_si_snr_with_pitwrapper(target, estimate)
    return loss.clamp_min(threshold)
