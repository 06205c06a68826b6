#!/usr/bin/env python3
"""Makes the bundled mini set: synthetic speech, synthetic noise, lists and
demo clips, in the layout that `prepare_folders` reads.

> apt-get install espeak-ng
> python recipes/MiniSet/make_miniset.py speechbrain_dsn/miniset

Authors
 * The speechbrain_dsn developers 2026
"""

import argparse
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import noises
import numpy as np
from tqdm import tqdm

from speechbrain_dsn.dataio.audio import read_audio, resample, write_audio
from speechbrain_dsn.dataio.fixed import (
    COLUMNS,
    draw_fixed_list,
    load_fixed_list,
    rms,
)
from speechbrain_dsn.dataio.mixing import active_rms
from speechbrain_dsn.dataio.tables import write_csv

RATE = 16000
SEED = 20260
# Low levels make small files; training and lists set levels anyway.
SPEECH_DBFS, NOISE_DBFS, CLIP_DBFS = -49.0, -58.0, -32.0
FIELDS = ("path", "kind", "split", "speaker_or_class", "seconds", "licence")
LICENCE = "Apache-2.0"

# Voice of espeak-ng, pitch (0..99), words per minute.
SPEAKERS = {
    "train": [
        ("en-us+m1", 45, 150),
        ("en-us+f1", 50, 155),
        ("en-gb-scotland+m4", 55, 145),
        ("en-gb-x-rp+f5", 45, 160),
        ("en-us+m3", 35, 165),
        ("en-us+f2", 60, 150),
        ("en-gb-x-gbclan+m6", 50, 155),
        ("en-us+Andrea", 40, 140),
        ("en-029+m8", 60, 150),
        ("en-us+klatt2", 55, 150),
    ],
    "valid": [
        ("en-gb-x-rp+m5", 50, 155),
        ("en-us+linda", 45, 150),
        ("en-us+adam", 65, 160),
    ],
    "test": [
        ("en-gb-scotland+f4", 50, 150),
        ("en-us+max", 60, 155),
        ("en-us+Annie", 45, 150),
    ],
}
# Talkers in the background; none of them is a speaker.
BABBLE = {
    "train": ["en-us+ed", "en-us+rob", "en-us+steph", "en-gb-x-rp+f3"],
    "valid": ["en-us+travis", "en-029+f2", "en-us+grandpa", "en-us+Alicia"],
    "test": ["en-us+Mike", "en-gb-x-gbcwmd+m7", "en-us+f4", "en-us+Andy"],
}
NOISES = {
    "train": [
        noises.fan,
        noises.hum,
        noises.pink,
        noises.keyboard,
        noises.rain,
        noises.wind,
        noises.siren,
        noises.engine,
        noises.pulsing,
    ],
    "valid": [noises.drill, noises.rumble],
    "test": [noises.machine, noises.beeps, noises.surf],
}
SENTENCES = {"train": 3, "valid": 4, "test": 4}
NOISE_SECONDS = 6.0


def speak(text: str, voice: str, pitch: int, speed: int) -> np.ndarray:
    """A sentence without the silence round it, `[T]` at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(
            ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed)]
            + ["-w", str(path), text],
            check=True,
        )
        speech = read_audio(path, RATE, mono=True)[0][:, 0]
    loud = np.flatnonzero(np.abs(speech) > 0.003 * np.abs(speech).max())
    begin, end = max(0, loud[0] - RATE // 10), loud[-1] + RATE // 10
    return speech[begin:end]


def babble(
    rng: np.random.Generator, length: int, voices: list[str], texts: list[str]
) -> np.ndarray:
    """Some talkers at once, each going on from sentence to sentence."""
    crowd = np.zeros(length)
    for voice in voices:
        chosen = " ".join(rng.permutation(texts)[:4])
        speech = speak(chosen, voice, rng.integers(30, 70), 150)
        speech = np.roll(np.resize(speech, length), rng.integers(length))
        crowd += rng.uniform(0.6, 1.0) * speech / rms(speech)
    return crowd


class MiniSet:
    """Writes files and notes them for the manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict] = []

    def add(
        self, samples: np.ndarray, kind: str, split: str, group: str, name: str
    ) -> None:
        """Writes one file at its place."""
        path = Path(kind) / group / f"{name}.flac"
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_audio(self.folder / path, samples, RATE)
        seconds = round(len(samples) / RATE, 3)
        row = (path.as_posix(), kind, split, group, seconds, LICENCE)
        self.rows.append(dict(zip(FIELDS, row, strict=True)))

    def add_speech(self, texts: list[str]) -> None:
        """Some sentences of every speaker, none said twice."""
        texts = iter(texts)
        for split, voices in SPEAKERS.items():
            for voice, pitch, speed in tqdm(voices, f"{split} speech"):
                group = voice.replace("+", "_")
                for take in range(SENTENCES[split]):
                    speech = speak(next(texts), voice, pitch, speed)
                    gain = 10 ** (SPEECH_DBFS / 20) / active_rms(speech, RATE)
                    self.add(speech * gain, "speech", split, group, str(take))

    def add_noise(self, texts: list[str]) -> None:
        """One file of every kind, and one babble for every split."""
        for split, makers in NOISES.items():
            length = int(NOISE_SECONDS * RATE)
            for number, maker in enumerate(tqdm(makers, f"{split} noise")):
                rng = np.random.default_rng((SEED, *split.encode(), number))
                name = maker.__name__
                self.add_one_noise(maker(rng, length, RATE), split, name)
            rng = np.random.default_rng((SEED, *split.encode(), 99))
            crowd = babble(rng, length, BABBLE[split], texts)
            self.add_one_noise(crowd, split, f"babble-{split}")

    def add_one_noise(self, noise: np.ndarray, split: str, name: str) -> None:
        """At its usual level."""
        gain = 10 ** (NOISE_DBFS / 20) / rms(noise)
        self.add(noise * gain, "noise", split, name, name)

    def write_lists(self, counts: dict[str, int]) -> None:
        """The manifest and the fixed lists."""
        write_csv(self.folder / "manifest.csv", FIELDS, self.rows)
        for split, count in counts.items():
            speech, noise = (
                [r for r in self.rows if (r["kind"], r["split"]) == (k, split)]
                for k in ("speech", "noise")
            )
            drawn = draw_fixed_list(speech, noise, split, count, SEED)
            path = self.folder / f"enhance_{split}.csv"
            write_csv(path, COLUMNS, drawn)


def write_clips(folder: Path) -> None:
    """Five pairs for the demo, from the test list: three at 16 kHz, one at
    48 kHz with two channels, one at 8 kHz."""
    mixtures = load_fixed_list(folder / "enhance_test.csv", folder)
    for number, rate in enumerate([16000, 16000, 16000, 48000, 8000]):
        mixture = mixtures[number]
        noisy, clean = replace(mixture, level_dbfs=CLIP_DBFS).render(RATE)
        if rate == 48000:
            noise = noisy - clean
            # The other ear: the same talker, the noise from elsewhere.
            other = clean + 0.7 * np.roll(noise, RATE // 2)
            noisy = np.stack([noisy, other], axis=1)
            clean = np.stack([clean, clean], axis=1)
        name = f"{mixture.noise.stem}_{mixture.snr_db:+.0f}dB_{rate}.flac"
        for kind, samples in (("noisy", noisy), ("clean", clean)):
            path = folder / "clips" / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = resample(samples, RATE, rate)
            write_audio(path, samples, rate)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the set is written")
    folder = parser.parse_args().folder
    place = Path(__file__).with_name("sentences.txt")
    texts = place.read_text("utf-8").splitlines()
    order = np.random.default_rng(SEED).permutation(len(texts))
    made = MiniSet(folder)
    made.add_speech([texts[number] for number in order])
    made.add_noise(texts)
    made.write_lists({"valid": 12, "test": 18})
    write_clips(folder)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{len(made.rows)} files, {size / 1e6:.2f} MB in {folder}")


if __name__ == "__main__":
    main()
