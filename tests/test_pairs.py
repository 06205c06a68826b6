"""Training data from pairs of files: VoiceBank+DEMAND."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.training import pairs
from speechbrain_dsn.training.pairs import (
    RandomCrops,
    VoicebankData,
    estimate_snr,
    read_utterances,
)

LENGTHS = {
    "train": [3000, 900, 5000, 4100],
    "valid": [2000] * 6,
    "test": [1500],
}
SPEAKERS = {"train": "p300", "valid": "p226", "test": "p232"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The published layout; the clean signal is a ramp, so that a crop tells
    where it is from."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for split, lengths in LENGTHS.items():
        part = "testset" if split == "test" else "trainset_28spk"
        for number, length in enumerate(lengths):
            clean = np.linspace(-0.5, 0.5, length)
            noisy = clean + 0.05 * rng.standard_normal(length)
            name = f"{SPEAKERS[split]}_{number:03}.wav"
            for kind, wav in (("clean", clean), ("noisy", noisy)):
                folder = root / f"{kind}_{part}_wav"
                folder.mkdir(exist_ok=True)
                write_audio(folder / name, wav.astype(np.float32), 16000)
    return root


@pytest.fixture
def data(corpus, tmp_path, monkeypatch):
    """Prepared, with a score that is quick to compute."""

    def prepare(**options):
        return real(
            **options, score=lambda wav, rate: 1 + float(np.abs(wav).mean())
        )

    real = pairs.prepare_voicebank
    monkeypatch.setattr(pairs, "prepare_voicebank", prepare)
    made = VoicebankData(
        corpus, tmp_path, 7, 0.1, 2, 5, valid_speakers=1, valid_utterances=4
    )
    made.prepare()
    return made


def crops(data, epoch):
    return data.train(SimpleNamespace(current=epoch))


def test_shapes_and_scores(data):
    batches = crops(data, 1)
    assert len(batches) == 5
    batch = batches[0]
    assert batch.noisy.shape == batch.clean.shape == (2, 1600)
    assert batch.noisy.dtype == batch.clean.dtype == torch.float32
    assert batch.snr_db.shape == batch.ovrl.shape == (2,)
    assert (batch.ovrl > 1).all() and batch.snr_db.isfinite().all()
    with pytest.raises(IndexError):
        batches[5]


def test_clips_depend_on_seed_and_number_alone(data):
    """Epoch by epoch, in any order, by any process."""
    stream = [crops(data, epoch)[i] for epoch in (1, 2) for i in range(5)]
    for number in (7, 2):
        again = crops(data, 1 + number // 5)[number % 5]
        assert torch.equal(again.noisy, stream[number].noisy)
    other = RandomCrops(
        data.utterances["train"], SimpleNamespace(current=1), 8, 0.1, 2, 5
    )
    assert not torch.equal(other[0].clean, stream[0].clean)
    assert not torch.equal(stream[0].clean, stream[2].clean)


def test_every_utterance_comes_once_per_pass(data):
    batches = crops(data, 1)
    for turn in range(3):
        names = {batches.clip(4 * turn + i)[0].name for i in range(4)}
        assert len(names) == 4


def test_score_is_that_of_the_utterance(data):
    batches = crops(data, 1)
    chosen = [batches.clip(i)[0].ovrl for i in range(2)]
    assert batches[0].ovrl.tolist() == pytest.approx(chosen)


@given(number=st.integers(0, 10**6))
def test_noisy_and_clean_are_cut_alike(corpus, number):
    folder = corpus / "clean_trainset_28spk_wav"
    paths = sorted(folder.glob("p300*"))
    utterances = [pairs.Utterance(path.name, path, path) for path in paths]
    counter = SimpleNamespace(current=1)
    clips = RandomCrops(utterances, counter, 0, 0.1, 1, 1)
    utterance, (noisy, clean) = clips.clip(number)
    assert np.array_equal(noisy, clean) and len(clean) == 1600
    whole = utterance.load()[1]
    looped = np.concatenate([whole, whole])
    start = np.abs(looped[: len(whole)] - clean[0]).argmin()
    assert np.allclose(looped[start : start + 1600], clean, atol=1e-4)


def test_valid_is_spread_and_whole(data):
    valid = data.valid()
    assert [u.name for u in valid.utterances] == [
        f"p226_{n:03}" for n in (0, 1, 3, 4)
    ]
    batch = valid[0]
    assert batch.noisy.shape == (1, 2000) and batch.ovrl.shape == (1,)
    data.valid_utterances = None
    assert len(data.valid()) == 6


def test_test_has_names_and_levels(data):
    (pair,) = data.test()
    noisy, clean = pair.load(8000)
    assert pair.name == "p232_000" and len(noisy) == len(clean) == 750
    want = 10 * np.log10(np.mean(np.linspace(-0.5, 0.5, 1500) ** 2) / 0.0025)
    assert pair.snr_db == pytest.approx(want, abs=0.5)


def test_scores_only_where_asked_for(corpus, tmp_path, data):
    assert len(data.train_ovrl()) == 4
    plain = VoicebankData(
        corpus, tmp_path / "b", 7, 0.1, 2, 5, valid_speakers=1, ovrl=False
    )
    plain.prepare()
    assert plain.train_ovrl() is None
    assert crops(plain, 1)[0].ovrl is None
    # The same clips, with scores or without.
    assert torch.equal(crops(plain, 1)[3].noisy, crops(data, 1)[3].noisy)


@given(st.floats(-60, 60), st.floats(-40, 0))
def test_snr_is_independent_of_level(snr, level):
    rng = np.random.default_rng(0)
    clean, noise = rng.standard_normal((2, 500))
    noise *= np.sqrt((clean**2).sum() / (noise**2).sum()) * 10 ** (-snr / 20)
    gain = 10 ** (level / 20)
    assert estimate_snr(gain * (clean + noise), gain * clean) == pytest.approx(
        snr, abs=1e-3
    )


def test_snr_of_silence_is_finite():
    zero, one = np.zeros(5), np.ones(5)
    assert estimate_snr(one, one) == 100 and estimate_snr(one, zero) == -100


def test_bad_input_is_named(data, tmp_path):
    path = tmp_path / "empty.json"
    path.write_text(json.dumps({}), "utf-8")
    with pytest.raises(InputError, match="expected pairs of files"):
        read_utterances(path, "")
    with pytest.raises(InputError, match="clip_seconds: expected > 0"):
        RandomCrops([], None, 0, 0, 1, 1)
    with pytest.raises(InputError, match="expected the folder"):
        VoicebankData(tmp_path, tmp_path / "c", 7, 0.1, 2, 5).prepare()
