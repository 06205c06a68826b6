"""Audio files that lie, end early, or are strange but right."""

import io
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tiny_model import noise

FRAMES = 1600


class Case(NamedTuple):
    """A file and what becomes of it.

    Arguments
    ---------
    data : bytes
        Of the file.
    error : str, optional
        A word of the message; a file without one is processed.
    frames : int
        Length of what comes out.
    channels : int
        Of what comes out.
    scored : bool
        Whether it has a quality: it lasts a quarter of a second and sounds.
    """

    data: bytes
    error: str | None = None
    frames: int = FRAMES
    channels: int = 1
    scored: bool = False


def wav(data=None, rate=16000, channels=1, bits=16, code=1, size=None):
    """A RIFF file whose header may say anything."""
    if data is None:
        data = (3000 * noise(FRAMES, channels)).astype("<i2").tobytes()
    size, block = len(data) if size is None else size, channels * bits // 8
    body = b"WAVEfmt " + struct.pack(
        "<IHHIIHH",
        16,
        code,
        channels,
        rate,
        rate * block & 0xFFFFFFFF,
        block & 0xFFFF,
        bits,
    )
    body += b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


def encoded(samples=None, rate=16000, container="WAV", subtype=None):
    """An honest file."""
    file = io.BytesIO()
    samples = noise(FRAMES) if samples is None else samples
    soundfile.write(file, samples, rate, subtype, format=container)
    return file.getvalue()


def flac_of(promised):
    """A FLAC file whose header promises so many samples; 0: unknown."""
    data = bytearray(encoded(container="FLAC"))
    word = int.from_bytes(data[18:26], "big") >> 36 << 36 | promised
    data[18:26] = word.to_bytes(8, "big")
    return bytes(data)


def with_sample(value, subtype="FLOAT"):
    samples = noise(FRAMES).astype(np.float64)
    samples[1000] = value
    return encoded(samples, subtype=subtype)


def broken():
    """Files that no command can use."""
    flac = encoded(container="FLAC")
    mp3 = encoded(noise(16_000), container="MP3")
    holed = bytearray(encoded(noise(20_000), container="FLAC"))
    holed[len(holed) // 2 : len(holed) // 2 + 400] = bytes(400)
    return {
        "zero_bytes.wav": Case(b"", "0 bytes"),
        "one_byte.wav": Case(b"R", "cannot be read"),
        "text.wav": Case(b"no audio at all" * 99, "cannot be read"),
        "riff_only.wav": Case(wav()[:12], "cannot be read"),
        "no_data_chunk.wav": Case(wav()[:36], "cannot be read"),
        "no_samples.wav": Case(wav(b""), "0 samples"),
        "no_channels.wav": Case(wav(channels=0, data=bytes(99)), "channel"),
        "channels_1025.wav": Case(wav(bytes(9000), channels=1025), "channels"),
        "bits_0.wav": Case(wav(bits=0), "cannot be read"),
        "code_unknown.wav": Case(wav(code=0x4242), "cannot be read"),
        "rate_0.wav": Case(wav(rate=0), "cannot be read"),
        "rate_1.wav": Case(wav(rate=1), "1 Hz"),
        "rate_2e9.wav": Case(wav(rate=2**31 - 1), "2147483647 Hz"),
        "rate_4e9.wav": Case(wav(rate=2**32 - 1), "cannot be read"),
        "rate_prime.wav": Case(wav(rate=766_999), "a usual rate"),
        "nan.wav": Case(with_sample(np.nan), "sample 1000 of channel 0 is nan"),
        "inf.wav": Case(with_sample(-np.inf), "channel 0 is -inf"),
        "too_loud.wav": Case(with_sample(32_000.0), "around -1..1"),
        "overflow.wav": Case(with_sample(1e300, "DOUBLE"), "channel 0 is inf"),
        "cut.flac": Case(flac[: len(flac) // 2], "cannot be read"),
        "header.flac": Case(flac[:60], "cannot be read|cut short"),
        "holed.flac": Case(bytes(holed), "cannot be read"),
        "endless.flac": Case(flac_of(0), "how long it is"),
        "promises.flac": Case(flac_of((1 << 36) - 1), "cannot be read|short"),
        "cut.mp3": Case(mp3[: len(mp3) // 2], "cut short|cannot be read"),
    }


def strange():
    """Files that are unusual, and that every command can use."""
    quarter = 4000
    tone = 0.2 * np.sin(np.arange(quarter) / 5)
    second = 0.2 * np.sin(np.arange(16_000) / 5)
    cases = {
        # A header that promises more than is there: WAV has been written by
        # programs that were killed; libsndfile gives what is there.
        "promises.wav": Case(wav(size=2**31)),
        "promises_all.wav": Case(wav(size=2**32 - 1)),
        "odd_bytes.wav": Case(wav()[:-1], frames=FRAMES - 1),
        "fewer.flac": Case(flac_of(100), frames=100),
        "one_sample.wav": Case(wav(b"\1\2"), frames=1),
        "two_samples.flac": Case(encoded(noise(2), container="FLAC"), frames=2),
        "silence.wav": Case(wav(bytes(2 * quarter)), frames=quarter),
        "constant.wav": Case(encoded(np.full(quarter, 0.9)), frames=quarter),
        "full_scale.wav": Case(
            encoded(np.sign(second) * 0.999), frames=16_000, scored=True
        ),
        "faint.wav": Case(
            encoded(1e-8 * tone, subtype="FLOAT"), frames=quarter
        ),
        "denormal.wav": Case(
            encoded(np.full(quarter, 1e-41), subtype="FLOAT"), frames=quarter
        ),
        "loud.wav": Case(
            encoded(900 * second, subtype="FLOAT"), frames=16_000, scored=True
        ),
        "channels_32.wav": Case(
            encoded(noise(FRAMES, 32), subtype="FLOAT"), channels=32
        ),
        "name with 音 \u202e.wav": Case(wav()),
        os.fsdecode(b"no text \xff.wav"): Case(wav()),
    }
    for subtype in ("PCM_U8", "PCM_24", "PCM_32", "DOUBLE", "ULAW"):
        cases[f"{subtype}.wav"] = Case(encoded(subtype=subtype))
    for rate in (8000, 11_025, 22_050, 44_100, 96_000, 192_000):
        frames = rate // 10
        data = encoded(noise(frames), rate)
        cases[f"rate_{rate}.wav"] = Case(data, frames=frames)
    return cases


def write_all(folder: Path, cases: dict[str, Case]) -> None:
    """One file for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in cases.items():
        (folder / name).write_bytes(case.data)
