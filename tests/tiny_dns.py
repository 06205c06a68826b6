"""A DNS challenge of a few seconds, and a judge that costs nothing."""

import numpy as np
import soundfile

from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.dataio.dns_shards import prepare_dns

SETTINGS = {
    "clip_seconds": 0.5,
    "clips_per_shard": 3,
    "hours": 9 * 0.5 / 3600,  # three shards
    "counts": (2, 2),
}


def loudness(signal, sample_rate):
    """In the place of DNSMOS; spawned processes import it."""
    return 1.0 + min(4.0, 20 * float(np.abs(signal).mean()))


def make_corpus(root):
    """Readers in names, speakers in folders, loose noises, a room of two
    channels; a file that is no audio, and some that hold no numbers."""
    rng = np.random.default_rng(0)

    def write(place, seconds=0.7, channels=1):
        samples = rng.normal(size=(round(16000 * seconds), channels)) / 9
        beat = 1 + np.sin(np.arange(len(samples)) / 1000)
        path = root / "datasets_fullband" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, (samples * beat[:, None]).astype(np.float32), 16000)
        return path

    for reader in range(5):
        write(f"clean_fullband/read_speech/book_1_reader_0{reader}_1.wav")
    write("clean_fullband/vctk/p225/p225_001.wav")
    write("impulse_responses/SLR28/room.wav", 0.1, 2)
    for noise in range(8):
        write(f"noise_fullband/n{noise}.wav")
    for name in ("m1", "m2"):
        bad = write(f"noise_fullband/{name}.wav", 5.0)
        soundfile.write(bad, np.full(80000, np.nan), 16000, "FLOAT")
    broken = root / "datasets_fullband/clean_fullband/read_speech/broken.wav"
    broken.write_bytes(b"no audio")
    return root


def make_shards(root, out, **settings):
    """What `prepare_dns` writes of it."""
    return prepare_dns(root, out, score=loudness, **(SETTINGS | settings))
