"""From waveform to waveform, whole or in hops."""

import pytest
import torch
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet, FTFNet

N_FFT, HOP = 64, 32
SMALL = {"bins": 33, "channels": (2, 3, 8), "window": 4}


def make(lobe=DynamicFTFNet):
    return SpectralEnhancer(lobe(**SMALL), n_fft=N_FFT, hop=HOP).eval()


class Constant(nn.Module):
    """A lobe that answers with one value."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, magnitude):
        return torch.full_like(magnitude, self.value)

    def report(self):
        return FTFNet(**SMALL).report()


@given(samples=st.integers(1, 300), value=st.floats(0, 2))
def test_a_constant_mask_is_a_gain(samples, value):
    """The mask is of the compressed magnitude: M^(1/c) of the spectrum."""
    enhancer = SpectralEnhancer(
        Constant(value), n_fft=N_FFT, hop=HOP, compression=0.5
    ).double()
    wav = torch.randn(2, samples, dtype=torch.float64)
    estimate, decision = enhancer(wav)
    assert decision is None
    torch.testing.assert_close(estimate, value**2 * wav, atol=1e-5, rtol=0)


def test_the_lobe_reads_the_compressed_magnitude():
    enhancer = make(FTFNet)
    wav = torch.randn(1, 500)
    magnitude = enhancer.compress(enhancer.stft(wav))
    torch.testing.assert_close(
        magnitude, enhancer.stft(wav).abs() ** 0.3, atol=1e-6, rtol=0
    )
    louder = enhancer.compress(enhancer.stft(10 * wav))
    torch.testing.assert_close(louder, 10**0.3 * magnitude)


@torch.no_grad()
@settings(max_examples=8)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=2, max_size=3),
    lobe=st.sampled_from([FTFNet, DynamicFTFNet]),
)
@case(lengths=[1, 256], lobe=DynamicFTFNet)
def test_an_item_alone_is_an_item_in_a_padded_batch(lengths, lobe):
    torch.manual_seed(0)
    enhancer = make(lobe).double()
    longest = max(lengths)
    wavs = torch.randn(len(lengths), longest, dtype=torch.float64)
    inside = torch.arange(longest) < torch.tensor(lengths)[:, None]
    batch, decision = enhancer(wavs * inside, torch.tensor(lengths))
    for item, length in enumerate(lengths):
        alone, one = enhancer(wavs[item : item + 1, :length])
        torch.testing.assert_close(batch[item, :length], alone[0])
        if decision is not None:
            frames = one.values.size(1)
            assert decision.lengths[item] == frames
            assert decision.lengths[item] == enhancer.stft.frames(length)
            same = decision.values[item, :frames] == one.values[0]
            assert bool(same.all())
            torch.testing.assert_close(decision.usage()[item], one.usage()[0])


@torch.no_grad()
@settings(max_examples=8)
@given(chunks=st.lists(st.integers(1, 5), min_size=2, max_size=6))
def test_a_static_lobe_streams_one_overlap_late(chunks):
    enhancer = make(FTFNet).double()
    wav = torch.randn(2, HOP * sum(chunks), dtype=torch.float64)
    context = enhancer.make_streaming_context(2, dtype=torch.float64)
    parts = wav.split([HOP * n for n in chunks], 1)
    outputs = [enhancer.forward_streaming(p, context)[0] for p in parts]
    late = torch.cat(outputs, 1)[:, enhancer.delay :]
    whole, decision = enhancer(wav)
    assert decision is None and enhancer.delay == N_FFT - HOP
    torch.testing.assert_close(late, whole[:, : late.size(1)])


@torch.no_grad()
def test_decisions_are_passed_on():
    enhancer, wav = make(), torch.randn(2, 1000)
    gate = (torch.rand(2, enhancer.stft.frames(1000)) < 0.5).float()
    _, decision = enhancer(wav, gate=gate)
    assert torch.equal(decision.values[..., 0], gate)
    assert bool((enhancer(wav, bias=1e9)[1].values == 1).all())
    closed, decision = enhancer(wav, bias=-1e9)
    assert bool((decision.values == 0).all())
    assert not torch.allclose(closed, enhancer(wav, bias=1e9)[0])


def test_training_noise_can_be_switched_off():
    enhancer, wav = make().train(), torch.randn(1, 1000)
    first, second = (enhancer(wav, noise=0.0)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_what_an_enhancer_tells_about_itself():
    dynamic, static = make(), make(FTFNet)
    assert dynamic.dynamic and not static.dynamic
    assert dynamic.hop == HOP and dynamic.delay == N_FFT - HOP
    assert dynamic.report().cost == dynamic.lobe.report().cost
    assert isinstance(static.report().cost, MacCount)


def test_weights_are_the_lobes():
    """The window is no weight: another STFT can use a trained lobe."""
    enhancer = make()
    assert all(key.startswith("lobe.") for key in enhancer.state_dict())


@pytest.mark.parametrize("samples", [1, 10, 31, 32, 33, 1000])
def test_every_length_comes_back(samples):
    assert make()(torch.randn(1, samples))[0].shape == (1, samples)
