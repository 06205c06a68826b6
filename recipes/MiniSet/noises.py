"""Noises made of random numbers and sine waves: one function per kind.

Every function takes a generator, a number of samples and a sample rate, and
returns `[samples]` at any level.

Authors
 * The speechbrain_dsn developers 2026
"""

import numpy as np
from scipy import signal

Generator = np.random.Generator


def coloured(
    rng: Generator, length: int, rate: int, slope: float
) -> np.ndarray:
    """Noise whose power falls by `slope` dB per octave (pink 3, brown 6)."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    bins = np.fft.rfftfreq(length, 1 / rate)
    spectrum *= np.maximum(bins, 40.0) ** (-slope / 6.02)
    noise = np.fft.irfft(spectrum, length)
    return noise / noise.std()


def slow(rng: Generator, length: int, rate: int, hertz: float) -> np.ndarray:
    """A random curve without components above some frequency, RMS 1."""
    knots = rng.standard_normal(max(4, int(2 * hertz * length / rate) + 2))
    curve = signal.resample(np.r_[knots, knots[::-1]], 2 * length)[:length]
    return curve / curve.std()


def band(noise: np.ndarray, rate: int, low: float, high: float) -> np.ndarray:
    """What is left between two frequencies."""
    edges = [low, min(high, 0.49 * rate)]
    sos = signal.butter(2, edges, "bandpass", fs=rate, output="sos")
    return signal.sosfilt(sos, noise)


def harmonics(
    rng: Generator, pitch: np.ndarray, rate: int, slope: float
) -> np.ndarray:
    """A buzz: partials of a pitch curve in Hz, falling by dB per octave."""
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = np.zeros(len(pitch))
    for partial in range(1, int(min(40, 0.45 * rate / pitch.max())) + 1):
        gain = partial ** (-slope / 6.02) * rng.uniform(0.5, 1.5)
        sound += gain * np.sin(partial * phase + rng.uniform(0, 6.28))
    return sound / sound.std()


def events(
    rng: Generator,
    length: int,
    rate: int,
    per_second: float,
    seconds: float,
    low: float,
    high: float,
) -> np.ndarray:
    """Decaying bursts of band noise at random times: rain, clicks, steps."""
    sound = np.zeros(length)
    size = int(8 * seconds * rate)
    decay = np.exp(-np.arange(size) / (seconds * rate))
    for _ in range(rng.poisson(per_second * length / rate)):
        centre = np.exp(rng.uniform(np.log(low), np.log(high)))
        burst = rng.standard_normal(size) * decay
        burst = band(burst, rate, 0.7 * centre, 1.4 * centre)
        start = rng.integers(0, max(1, length - size))
        sound[start : start + size] += rng.lognormal(0, 0.5) * burst
    return sound


def fan(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Pink noise and blades at 90 Hz."""
    blades = harmonics(rng, 90 + 0.5 * slow(rng, length, rate, 1), rate, 9)
    return coloured(rng, length, rate, 3) + 0.5 * blades


def hum(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Mains hum of 50 Hz with hiss."""
    mains = harmonics(rng, np.full(length, 50.0), rate, 5)
    return mains + 0.25 * rng.standard_normal(length)


def pink(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Steady pink noise."""
    return coloured(rng, length, rate, 3)


def hiss(rng: Generator, length: int, rate: int) -> np.ndarray:
    """White noise without its lows."""
    return band(rng.standard_normal(length), rate, 800, 20000)


def keyboard(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Clicks over a quiet room."""
    clicks = events(rng, length, rate, 7, 0.006, 1500, 5000)
    return clicks + 0.02 * coloured(rng, length, rate, 5)


def rain(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Very many drops."""
    drops = events(rng, length, rate, 250, 0.004, 800, 6000)
    return drops / drops.std() + 0.5 * hiss(rng, length, rate)


def wind(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Brown noise in gusts."""
    gusts = np.exp(0.9 * slow(rng, length, rate, 0.7))
    return gusts * coloured(rng, length, rate, 7)


def siren(rng: Generator, length: int, rate: int) -> np.ndarray:
    """A tone that sweeps up and down over soft traffic."""
    time = np.arange(length) / rate
    pitch = 800 * 2 ** (0.6 * np.sin(2 * np.pi * 0.4 * time))
    tone = harmonics(rng, pitch, rate, 12)
    return tone + 0.5 * coloured(rng, length, rate, 6)


def engine(rng: Generator, length: int, rate: int) -> np.ndarray:
    """An uneven buzz that speeds up and slows down."""
    pitch = 70 * 2 ** (0.35 * slow(rng, length, rate, 0.4).clip(-2, 2))
    rough = 1 + 0.3 * slow(rng, length, rate, 25)
    sound = rough * harmonics(rng, pitch, rate, 5)
    return sound + 0.4 * coloured(rng, length, rate, 5)


def pulsing(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Speech-shaped noise that swells four times a second."""
    time = np.arange(length) / rate
    swell = 1.05 + np.sin(2 * np.pi * 4 * time)
    return swell * band(coloured(rng, length, rate, 5), rate, 100, 6000)


def drill(rng: Generator, length: int, rate: int) -> np.ndarray:
    """A rough buzz that goes on and off."""
    on = 1 / (1 + np.exp(-12 * slow(rng, length, rate, 0.6)))
    pitch = 160 + 8 * slow(rng, length, rate, 6)
    sound = harmonics(rng, pitch, rate, 2)
    return (on + 0.03) * (sound + 0.7 * hiss(rng, length, rate))


def rumble(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Brown noise with slow swells: a road from inside a car."""
    swell = np.exp(0.3 * slow(rng, length, rate, 0.5))
    return swell * coloured(rng, length, rate, 6)


def machine(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Two strokes a second, each a thump and a puff of air."""
    time = np.arange(length) / rate % 0.5
    thump = np.exp(-time / 0.05) * np.sin(2 * np.pi * 75 * time)
    puff = np.exp(-((time - 0.25) ** 2) / 0.002)
    return (
        2 * thump
        + 0.6 * puff * hiss(rng, length, rate)
        + 0.1 * pink(rng, length, rate)
    )


def beeps(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Short high tones over a fan."""
    time = np.arange(length) / rate
    on = np.clip(8 * np.sin(2 * np.pi * 1.3 * time), 0, 1)
    tone = np.sin(2 * np.pi * 1900 * time) + np.sin(2 * np.pi * 2400 * time)
    return on * tone + 0.3 * fan(rng, length, rate)


def surf(rng: Generator, length: int, rate: int) -> np.ndarray:
    """Waves: noise that brightens as it swells."""
    time = np.arange(length) / rate
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 0.23 * time + rng.uniform(0, 6))
    low = coloured(rng, length, rate, 5)
    high = hiss(rng, length, rate)
    return (0.2 + swell) * low + 0.8 * swell**2 * high
