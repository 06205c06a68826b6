"""Room impulse responses: measured ones shortened, others simulated.

A network that enhances speech must live with small rooms. The target is the
speech with the early part of the response (direct sound and about 50 ms):
early reflections help hearing, the late part is what has to go.

Authors
 * The speechbrain_dsn developers 2026
"""

import numpy as np

# Amplitude falls by 60 dB in one reverberation time: exp(-DECAY * t / T60).
DECAY = 3 * np.log(10)


def reverberation_time(response: np.ndarray, sample_rate: int) -> float:
    """T60 extrapolated from the -5 to -25 dB range of the energy decay curve
    (T20 of ISO 3382).

    Arguments
    ---------
    response : np.ndarray
        `[samples]`, an impulse response.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        Seconds; 0 for a response that is over before it has decayed so far.

    Example
    -------
    >>> time = np.arange(16000) / 16000
    >>> round(reverberation_time(np.exp(-DECAY * time / 0.4), 16000), 3)
    0.4
    """
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    level = 10 * np.log10(energy / energy[0] + 1e-12)
    start, stop = np.searchsorted(-level, [5.0, 25.0])
    if stop - start < 2:
        return 0.0
    slope = np.polyfit(np.arange(start, stop), level[start:stop], 1)[0]
    return float(-60.0 / slope / sample_rate) if slope < 0 else 0.0


def shorten(
    response: np.ndarray, sample_rate: int, seconds: float
) -> np.ndarray:
    """A response cut to start at its direct sound and, where its room is
    larger, windowed by an exponential to the given reverberation time.

    Arguments
    ---------
    response : np.ndarray
        `[samples]`, a measured impulse response.
    sample_rate : int
        In Hz.
    seconds : float
        Largest reverberation time wanted.

    Returns
    -------
    np.ndarray
        `[samples]`, float32; it begins 1 ms before the direct sound and ends
        at 1.2 times the reverberation time.
    """
    begin = max(0, int(np.argmax(np.abs(response))) - sample_rate // 1000)
    now = reverberation_time(response[begin:], sample_rate)
    response = response[begin : begin + int(1.2 * seconds * sample_rate)]
    if now > seconds:
        time = np.arange(len(response)) / sample_rate
        rate = DECAY * (1 / seconds - 1 / now)
        response = response * np.exp(-rate * time)
    return response.astype(np.float32)


def simulate(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A random small room: a direct pulse, a few reflections and a diffuse
    tail of decaying noise that is darker than the direct sound.

    Arguments
    ---------
    rng : np.random.Generator
        Draws T60 (0.1 to 0.6 s), the direct-to-reverberant ratio (-3 to
        12 dB), the reflections and the tail.
    sample_rate : int
        In Hz.

    Returns
    -------
    np.ndarray
        `[samples]`, float32; the direct sound is the first sample.
    """
    seconds = rng.uniform(0.1, 0.6)
    length = int(1.2 * seconds * sample_rate)
    tail = rng.standard_normal(length, dtype=np.float32)
    # Air and walls swallow high frequencies: a two-tap mean per random turn.
    for _ in range(rng.integers(1, 4)):
        tail[1:] = 0.5 * (tail[1:] + tail[:-1])
    tail[: rng.integers(sample_rate // 500, sample_rate // 100)] = 0
    places = rng.integers(sample_rate // 500, sample_rate // 25, size=6)
    tail[np.minimum(places, length - 1)] += rng.uniform(-4, 4, size=6)
    tail *= np.exp(-DECAY / (seconds * sample_rate) * np.arange(length))
    ratio = 10 ** (rng.uniform(-3, 12) / 20)
    tail[0] = ratio * np.linalg.norm(tail)
    return tail.astype(np.float32)


def split_early(
    response: np.ndarray, sample_rate: int, early_seconds: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Early part and the whole, at a gain that gives the early part unit
    energy, so that the target is about as loud as the dry speech.

    Arguments
    ---------
    response : np.ndarray
        `[samples]`, starting at (or within 1 ms of) the direct sound.
    sample_rate : int
        In Hz.
    early_seconds : float
        Where the early part has faded by half (10 ms raised cosine).

    Returns
    -------
    early : np.ndarray
        `[early samples]`.
    whole : np.ndarray
        `[samples]`; `whole` minus `early` is the late reverberation.
    """
    stop = int((early_seconds + 0.005) * sample_rate)
    early = response[:stop].copy()
    fade = sample_rate // 100
    window = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    head = min(stop - fade, len(early))
    early[head:] *= window[: len(early) - head]
    gain = 1.0 / max(float(np.linalg.norm(early)), 1e-8)
    return early * np.float32(gain), response * np.float32(gain)
