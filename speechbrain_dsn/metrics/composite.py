"""CSIG, CBAK and COVL: predicted opinion of speech, background, overall.

Regressions on PESQ and three distances between reference and estimate, taken
over frames of 30 ms with a step of 7.5 ms: the log-likelihood ratio of linear
prediction (LLR), Klatt's weighted spectral slope (WSS) and the segmental SNR
[1]. As in the tables for VoiceBank+DEMAND, PESQ is the wide-band MOS-LQO at
16 kHz; the distances follow the MATLAB code that comes with [2].

[1] Y. Hu, P. C. Loizou, "Evaluation of objective quality measures for speech
    enhancement", IEEE TASL 16(1), 2008.
[2] P. C. Loizou, Speech Enhancement: Theory and Practice, CRC Press, 2nd ed.

Authors
 * The speechbrain_dsn developers 2026
"""

import numpy as np

from speechbrain_dsn.metrics.intrusive import import_pesq, pesq_value
from speechbrain_dsn.metrics.score import Measure

__all__ = [
    "COMPOSITE",
    "composite_values",
    "log_likelihood_ratio",
    "segmental_snr",
    "weighted_spectral_slope",
]

EPS = np.finfo(np.float64).eps
FFT_SIZE = 1024
LPC_ORDER = 16
KEEP = 0.95  # of the frames: LLR and WSS leave out the worst 5 %
# Critical bands: centre frequencies and bandwidths in Hz ([1], from Klatt).
CENTRES = np.array(
    "50 120 190 260 330 400 470 540 617.372 703.378 798.717 904.128 1020.38 "
    "1148.30 1288.72 1442.54 1610.70 1794.16 1993.93 2211.08 2446.71 2701.97 "
    "2978.04 3276.17 3597.63".split(),
    dtype=np.float64,
)
WIDTHS = np.array(
    "70 70 70 70 70 70 70 77.3724 86.0056 95.3398 105.411 116.256 127.914 "
    "140.423 153.823 168.154 183.457 199.776 217.153 235.631 255.255 276.072 "
    "298.126 321.465 346.136".split(),
    dtype=np.float64,
)


def composite_values(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int
) -> list[float]:
    """Compute CSIG, CBAK and COVL for checked signals.

    Arguments
    ---------
    reference : np.ndarray
        ``[T]``, not silent.
    estimate : np.ndarray
        ``[T]``, not silent.
    sample_rate : int
        16000 Hz.

    Returns
    -------
    list[float]
        The three, each from 1 to 5.
    """
    pesq = pesq_value(reference, estimate, sample_rate)
    # The tiny offset, as in [2], keeps digital silence out of the logarithms.
    frames = (
        _frames(reference + EPS, sample_rate),
        _frames(estimate + EPS, sample_rate),
    )
    llr = _trimmed_mean(log_likelihood_ratio(*frames))
    wss = _trimmed_mean(weighted_spectral_slope(*frames, sample_rate))
    snr = np.mean(segmental_snr(*frames))
    csig = 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss
    cbak = 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * snr
    covl = 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss
    return [float(np.clip(value, 1, 5)) for value in (csig, cbak, covl)]


def segmental_snr(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Compute the SNR of each frame in dB, limited to [-10, 35].

    Arguments
    ---------
    reference : np.ndarray
        Windowed frames ``[N, L]``.
    estimate : np.ndarray
        Windowed frames ``[N, L]``.

    Returns
    -------
    np.ndarray
        ``[N]``.
    """
    signal = np.sum(reference**2, axis=1)
    noise = np.sum((reference - estimate) ** 2, axis=1)
    return np.clip(10 * np.log10(signal / (noise + EPS) + EPS), -10, 35)


def log_likelihood_ratio(
    reference: np.ndarray, estimate: np.ndarray
) -> np.ndarray:
    """Compute the LLR of each frame: how ill the estimate's LPC fits.

    Arguments
    ---------
    reference : np.ndarray
        Windowed frames ``[N, L]``.
    estimate : np.ndarray
        Windowed frames ``[N, L]``.

    Returns
    -------
    np.ndarray
        ``[N]``, at least 0.
    """
    correlation = _autocorrelation(reference)
    lags = np.arange(LPC_ORDER + 1)
    matrix = correlation[:, np.abs(lags[:, None] - lags)]  # Toeplitz

    def error_power(coefficients: np.ndarray) -> np.ndarray:
        return np.einsum(
            "ni,nij,nj->n", coefficients, matrix, coefficients, optimize=True
        )

    own = error_power(_linear_prediction(correlation))
    other = error_power(_linear_prediction(_autocorrelation(estimate)))
    return np.log(np.maximum(other / own, 1.0))


def weighted_spectral_slope(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int
) -> np.ndarray:
    """Compute the WSS of each frame: slopes over the critical bands compared.

    Arguments
    ---------
    reference : np.ndarray
        Windowed frames ``[N, L]``.
    estimate : np.ndarray
        Windowed frames ``[N, L]``.
    sample_rate : int
        In Hz.

    Returns
    -------
    np.ndarray
        ``[N]``.
    """
    filters = _critical_bands(sample_rate)
    slopes, weights = [], []
    for frames in (reference, estimate):
        power = np.abs(np.fft.rfft(frames, FFT_SIZE)[:, :-1]) ** 2
        level = 10 * np.log10(np.maximum(power @ filters.T, 1e-10))
        slope, below = np.diff(level, axis=1), level[:, :-1]
        peak = _nearest_peak(level, slope)
        highest = level.max(axis=1, keepdims=True)
        weights.append(20 / (20 + highest - below) / (1 + peak - below))
        slopes.append(slope)
    weight = (weights[0] + weights[1]) / 2
    distance = weight * (slopes[0] - slopes[1]) ** 2
    return distance.sum(axis=1) / weight.sum(axis=1)


def _frames(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Cut ``[T]`` into Hann-windowed frames ``[N, L]``."""
    length = round(0.03 * sample_rate)
    step = length // 4
    count = (len(signal) - length) // step  # [2] leaves the last one out
    window = 0.5 - 0.5 * np.cos(
        2 * np.pi * np.arange(1, length + 1) / (length + 1)
    )
    view = np.lib.stride_tricks.sliding_window_view(signal, length)
    return view[: count * step : step] * window


def _trimmed_mean(values: np.ndarray) -> float:
    kept = int(np.floor(len(values) * KEEP + 0.5))
    return float(np.mean(np.sort(values)[:kept]))


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    """Lags 0 to the LPC order of each frame: ``[N, L]`` to ``[N, P + 1]``."""
    length = frames.shape[1]
    return np.stack(
        [
            np.einsum("nl,nl->n", frames[:, : length - lag], frames[:, lag:])
            for lag in range(LPC_ORDER + 1)
        ],
        axis=1,
    )


def _linear_prediction(correlation: np.ndarray) -> np.ndarray:
    """Levinson-Durbin recursion over all frames: ``[N, P + 1]``, 1 first."""
    coefficients = np.zeros_like(correlation)
    coefficients[:, 0] = 1
    error = correlation[:, 0].copy()
    for order in range(1, LPC_ORDER + 1):
        past = coefficients[:, :order]
        forward = np.sum(past * correlation[:, order:0:-1], axis=1)
        reflection = -forward / error
        # The right side is evaluated before anything is written.
        coefficients[:, 1 : order + 1] += (
            reflection[:, None] * coefficients[:, order - 1 :: -1][:, :order]
        )
        error *= 1 - reflection**2
    return coefficients


def _critical_bands(sample_rate: int) -> np.ndarray:
    """Gaussian filters ``[25, FFT_SIZE / 2]``, cut off 30 dB down."""
    per_bin = sample_rate / FFT_SIZE
    bins = np.arange(FFT_SIZE // 2)
    offset = (bins - np.floor(CENTRES / per_bin)[:, None]) * per_bin
    filters = np.exp(-11 * (offset / WIDTHS[:, None]) ** 2)
    filters *= WIDTHS[0] / WIDTHS[:, None]
    return filters * (filters > np.exp(-30 / (2 * 2.303)))


def _nearest_peak(level: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Level of the peak next to each band, uphill: ``[N, bands - 1]``.

    Going up to the right ends one band before the peak, as in [2], whose
    numbers we are to reproduce.
    """
    bands = slope.shape[1]
    index = np.arange(bands)
    # First falling slope from here on, and last rising one up to here.
    falling = np.where(slope <= 0, index, bands)
    falling = np.minimum.accumulate(falling[:, ::-1], axis=1)[:, ::-1]
    rising = np.maximum.accumulate(np.where(slope > 0, index, -1), axis=1)
    peak = np.where(slope > 0, falling - 1, rising + 1)
    return np.take_along_axis(level, peak, axis=1)


COMPOSITE = Measure(
    ("csig", "cbak", "covl"),
    composite_values,
    sample_rates=(16000,),
    min_seconds=0.25,
    require=import_pesq,
)
