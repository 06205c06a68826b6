"""Two speakers in one clip: what must hold, whatever is drawn."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.dataio.speakers import TwoSpeakerSampler
from speechbrain_dsn.errors import InputError

RATE = 8000


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Three speakers, each a band of noise of its own, two files each."""
    folder = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    files = []
    for number in range(3):
        for take in range(2):
            band = np.zeros(4 * RATE // 2 + 1, complex)
            low = 2000 + 3000 * number
            size = (2, 1500)
            band[low : low + 1500] = rng.standard_normal(size).T @ [1, 1j]
            path = folder / f"spk{number}_{take}.wav"
            wav = np.fft.irfft(band)
            soundfile.write(path, wav / np.abs(wav).max() / 2, RATE)
            files.append((str(path), f"spk{number}"))
    return files


def sampler(voices, **settings):
    settings = {"clip_seconds": 2.0, "sample_rate": RATE, **settings}
    return TwoSpeakerSampler(voices, **settings)


def extent(wav):
    """First and last sample at which somebody speaks."""
    heard = np.flatnonzero(np.abs(wav) > 1e-9)
    return heard[0], heard[-1] + 1


@given(share=st.floats(0, 1), number=st.integers(0, 1000))
def test_stretches_overlap_as_asked(voices, share, number):
    mixture, sources, overlap = sampler(voices, overlaps=[share]).clip(number)
    assert overlap == share and sources.shape == (2 * RATE, 2)
    (a, b), (c, d) = (extent(wav) for wav in sources.T)
    both = max(0, min(b, d) - max(a, c))
    shorter = min(b - a, d - c)
    # Fades and pauses between utterances cost some milliseconds.
    assert abs(both - share * shorter) <= 0.012 * RATE
    assert min(a, c) <= 0.01 * RATE and max(b, d) >= 1.99 * RATE
    np.testing.assert_allclose(sources.sum(1), mixture, atol=1e-6)


def test_a_clip_is_a_function_of_seed_and_number(voices):
    same = [sampler(voices, seed=5).clip(3) for _ in range(2)]
    other = sampler(voices, seed=6).clip(3), sampler(voices, seed=5).clip(4)
    np.testing.assert_array_equal(same[0][1], same[1][1])
    assert not any(np.array_equal(same[0][1], clip[1]) for clip in other)
    batch = sampler(voices, seed=5).batch(1, 2)
    np.testing.assert_array_equal(batch.clean[1].numpy(), same[0][1])


def peak_band(wav):
    """Which of the three speakers it is, by its band."""
    power = np.abs(np.fft.rfft(wav)) ** 2
    pitch = np.fft.rfftfreq(len(wav), 1 / RATE)[power.argmax()]
    return int(np.digitize(pitch, [1000, 1800]))


@given(number=st.integers(0, 1000))
def test_the_two_are_never_one_speaker(voices, number):
    still = {"speech_speeds": [1.0], "equalizer_db": 0.0}
    _, sources, _ = sampler(voices, **still).clip(number)
    assert peak_band(sources[:, 0]) != peak_band(sources[:, 1])


def test_a_folder_of_many_voices_gives_one_file_per_speaker(voices):
    """Its files are neither joined nor mixed with each other."""
    crowd = [(path, "crowd") for path, name in voices if name != "spk2"]
    rest = [pair for pair in voices if pair[1] == "spk2"]
    settings = {"many_voices": ["crowd"], "clip_seconds": 6.0}
    settings |= {"speech_speeds": [1.0], "equalizer_db": 0.0}
    mixer = sampler([*crowd, *rest], **settings)
    for number in range(8):
        _, sources, _ = mixer.clip(number)
        bands = []
        for wav in sources.T:
            pieces = np.array_split(wav, 12)
            loud = [x for x in pieces if np.abs(x).max() > 1e-3]
            bands.append({peak_band(x) for x in loud})
        assert all(len(found) == 1 for found in bands)
        assert bands[0] != bands[1] and {2} in bands


@given(number=st.integers(0, 1000), snr=st.floats(-5, 20))
def test_noise_lies_below_the_louder_speaker(voices, number, snr):
    noise = [(voices[0][0], "n")]
    mixer = sampler(
        voices[2:],
        noise=noise,
        noise_probability=1.0,
        snr_db=(snr, snr),
        overlaps=[1.0],
        second_noise_probability=0.0,
        motion_probability=0.0,
    )
    mixture, sources, _ = mixer.clip(number)
    rest = mixture - sources.sum(1)
    louder = max(np.sqrt((x[x != 0] ** 2).mean()) for x in sources.T)
    found = 20 * np.log10(louder / np.sqrt((rest**2).mean()))
    assert found == pytest.approx(snr, abs=1.5)


def test_rooms_leave_early_targets(voices):
    dry, wet = (
        sampler(voices, reverb_probability=share).clip(0) for share in (0, 1)
    )
    np.testing.assert_allclose(dry[0], dry[1].sum(1), atol=1e-6)
    assert np.abs(wet[0] - wet[1].sum(1)).max() > 1e-3


def test_what_cannot_be_mixed_is_refused(voices):
    with pytest.raises(InputError, match="two speakers or more"):
        sampler(voices[:2])
    with pytest.raises(InputError, match="from 0 to 1"):
        sampler(voices, overlaps=[1.5])
