"""Who speaks when, from the sources of a mixture.

Authors
 * The speechbrain_dsn developers 2026
"""

import numpy as np

__all__ = ["speaker_activity"]

RANGE_DB = 30.0


def speaker_activity(
    sources: np.ndarray, sample_rate: int, times: np.ndarray, window: float
) -> np.ndarray:
    """Whether each source is heard around some moments.

    A source is active where its level lies within 30 dB of its loudest
    stretch of that length (ours).

    Arguments
    ---------
    sources : np.ndarray
        ``[T, S]``.
    sample_rate : int
        In Hz.
    times : np.ndarray
        ``[N]``, the middles of stretches, in seconds.
    window : float
        Length of a stretch, in seconds.

    Returns
    -------
    np.ndarray
        ``[N, S]``, booleans; all False for a silent source.

    Example
    -------
    >>> sources = np.zeros((800, 2))
    >>> sources[:400, 0] = 0.5
    >>> speaker_activity(sources, 800, np.array([0.25, 0.75]), 0.1).tolist()
    [[True, False], [False, False]]
    """
    energy = np.square(sources, dtype=np.float64).cumsum(0)
    energy = np.concatenate((np.zeros((1, energy.shape[1])), energy))
    begin, end = (
        np.round((times + side * window / 2) * sample_rate).astype(int)
        for side in (-1, 1)
    )
    begin, end = (x.clip(0, len(sources)) for x in (begin, end))
    power = energy[end] - energy[begin]
    loudest = power.max(0, initial=0.0)
    return (power > 10 ** (-RANGE_DB / 10) * loudest) & (loudest > 0)
