"""Analysis and synthesis: exact, causal, and the same in a stream."""

import pytest
import torch
from hypothesis import example as case
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.processing import STFT

transforms = st.sampled_from([(8, 4), (16, 4), (24, 12), (512, 256)])


def make(sizes):
    return STFT(*sizes).double()


@given(sizes=transforms, samples=st.integers(1, 1500))
@case(sizes=(512, 256), samples=1)
@case(sizes=(512, 256), samples=256)
def test_the_inverse_gives_the_signal_back(sizes, samples):
    stft, x = make(sizes), torch.randn(2, samples, dtype=torch.float64)
    spectrum = stft(x)
    assert spectrum.shape == (2, stft.frames(samples), stft.bins)
    # The window is kept in single precision.
    torch.testing.assert_close(
        stft.inverse(spectrum, samples), x, atol=1e-6, rtol=0
    )


@given(sizes=transforms)
def test_squared_windows_add_up(sizes):
    stft = STFT(*sizes)
    shifts = stft.window.square().view(-1, stft.hop).sum(0)
    torch.testing.assert_close(shifts, torch.ones(stft.hop))


@given(sizes=transforms, samples=st.integers(1, 300))
def test_frames_are_those_that_touch_a_sample(sizes, samples):
    stft = STFT(*sizes)
    spectrum = stft(torch.ones(1, samples))
    last = (spectrum.size(1) - 1) * stft.hop - stft.overlap
    assert last < samples <= last + stft.hop  # its first sample
    assert spectrum.size(1) == stft.frames(samples)
    assert stft.frames(0) == 0


@given(sizes=transforms)
def test_a_frame_ends_with_its_hop(sizes):
    """Frame t sees no sample after (t + 1) * hop."""
    stft = make(sizes)
    x = torch.randn(1, 6 * stft.hop, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3 * stft.hop :] = 0
    same = (stft(changed) == stft(x)).all(-1)[0].tolist()
    assert same[:3] == [True] * 3 and not same[3]


@given(
    sizes=transforms,
    chunks=st.lists(st.integers(1, 4), min_size=1, max_size=6),
)
def test_streaming_is_offline_one_overlap_late(sizes, chunks):
    stft = make(sizes)
    x = torch.randn(2, sum(chunks) * stft.hop, dtype=torch.float64)
    context = stft.make_streaming_context(2, dtype=torch.float64)
    spectra, waves = [], []
    for part in x.split([n * stft.hop for n in chunks], 1):
        spectra.append(stft.analyse_streaming(part.clone(), context))
        waves.append(stft.synthesise_streaming(spectra[-1], context).clone())
    frames = torch.cat(spectra, 1)
    torch.testing.assert_close(frames, stft(x)[:, : frames.size(1)])
    late = torch.cat(waves, 1)
    assert late.shape == x.shape
    final = late[:, stft.overlap :]
    torch.testing.assert_close(final, x[:, : final.size(1)], atol=1e-6, rtol=0)


def test_silence_in_is_silence_out():
    stft = STFT()
    assert not stft.inverse(stft(torch.zeros(1, 999)), 999).any()


def test_the_spectrum_is_linear():
    stft = make((16, 4))
    x, y = torch.randn(2, 1, 100, dtype=torch.float64)
    torch.testing.assert_close(stft(2 * x - y), 2 * stft(x) - stft(y))


def test_a_sine_lands_in_its_bin():
    stft = STFT(512, 256)
    time = torch.arange(16000) / 16000
    tone = torch.sin(2 * torch.pi * 1000 * time).unsqueeze(0)
    assert (stft(tone)[:, 5:50].abs().argmax(-1) == 32).all()


@pytest.mark.parametrize("sizes", [(512, 0), (512, 512), (512, 200), (9, 3)])
def test_hops_that_do_not_fit_are_refused(sizes):
    with pytest.raises(ValueError, match="even multiple of hop"):
        STFT(*sizes)


def test_a_chunk_holds_whole_hops():
    stft = STFT(8, 4)
    context = stft.make_streaming_context(1)
    with pytest.raises(ValueError, match="whole hops of 4 samples, got 6"):
        stft.analyse_streaming(torch.zeros(1, 6), context)
