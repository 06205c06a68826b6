"""Voices made of noise, and trees of them in published layouts."""

import numpy as np

from speechbrain_dsn.dataio.audio import write_audio

RATE = 8000


def talker(seconds, number, seed=0):
    """A band of noise that comes and goes, ``[T]``, float32."""
    rng = np.random.default_rng((seed, number))
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    pitch = np.fft.rfftfreq(count, 1 / RATE)
    low = 300 + 500 * (number % 6)
    spectrum[(pitch < low) | (pitch > low + 400)] = 0
    wav = np.fft.irfft(spectrum, count)
    wav *= np.repeat(rng.uniform(0.2, 1, count // 800 + 1), 800)[:count]
    return (wav / np.abs(wav).max() / 4).astype(np.float32)


def folders(root, speakers=6, kinds=3):
    """One folder per speaker, one per kind of noise."""
    for number in range(speakers):
        path = root / f"speech/spk{number}/a.wav"
        path.parent.mkdir(parents=True)
        write_audio(path, talker(1.2, number), RATE)
    for number in range(kinds):
        path = root / f"noise/kind{number}/a.wav"
        path.parent.mkdir(parents=True)
        wav = np.random.default_rng(number).standard_normal(RATE) / 40
        write_audio(path, wav, RATE)
    return root


def tree(root, splits, roles, count=2, rate="wav8k/min", seconds=1.0):
    """Mixtures that are the sums of their sources, noise included."""
    _, *others = roles
    for split in splits:
        for number in range(count):
            parts = [
                talker(seconds, 2 * number + place, len(split))
                for place in range(len(others))
            ]
            for role, wav in zip(roles, [sum(parts), *parts], strict=True):
                path = root / rate / split / role / f"{number:02d}a.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_audio(path, wav, RATE, "FLOAT")
    return root
