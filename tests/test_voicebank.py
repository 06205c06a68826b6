"""VoiceBank+DEMAND is prepared as SpeechBrain does it, without transcripts."""

import json

import numpy as np
import pytest
import soundfile
from speechbrain.dataio.dataset import DynamicItemDataset

from speechbrain_dsn.dataio import voicebank
from speechbrain_dsn.dataio.store import read_mono
from speechbrain_dsn.dataio.voicebank import prepare_voicebank
from speechbrain_dsn.errors import InputError

NAMES = {
    "trainset_28spk": [f"p{s}_00{t}" for s in (226, 227, 287) for t in (1, 2)],
    "testset": ["p232_001", "p257_002"],
}


def make_tree(root, rate, suffix):
    """The published layout with noise instead of speech."""
    rng = np.random.default_rng(0)
    for part, names in NAMES.items():
        for name in names:
            speech = rng.standard_normal(rate // 4) / 20
            pair = {"clean": speech, "noisy": speech + 0.01}
            for kind, samples in pair.items():
                path = root / f"{kind}_{part}_wav{suffix}/{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples, rate)
    return root


def level(signal, sample_rate):
    assert sample_rate == 16000
    return float(np.abs(signal).mean())


def read(folder):
    return {
        split: json.loads((folder / f"{split}.json").read_text("utf-8"))
        for split in ("train", "valid", "test")
    }


@pytest.mark.parametrize("rate, suffix", [(16000, "_16k"), (16000, "")])
def test_json_is_what_speechbrain_reads(tmp_path, rate, suffix):
    data = make_tree(tmp_path / "data", rate, suffix)
    root = prepare_voicebank(data, tmp_path / "out", score=level)
    assert root == str(data)
    got = read(tmp_path / "out")
    assert list(got["train"]) == ["p227_001", "p227_002"]
    assert {name[:4] for name in got["valid"]} == {"p226", "p287"}
    assert list(got["test"]) == NAMES["testset"]
    entry = got["test"]["p232_001"]
    place = f"{{data_root}}/clean_testset_wav{suffix}/p232_001.wav"
    assert entry["clean_wav"] == place and entry["length"] == 0.25
    dataset = DynamicItemDataset.from_json(
        tmp_path / "out/valid.json", replacements={"data_root": root}
    )
    dataset.set_output_keys(["noisy_wav", "clean_wav", "length", "ovrl"])
    for item in dataset:
        noisy = read_mono(item["noisy_wav"])
        assert len(noisy) == 16000 * item["length"]
        assert item["ovrl"] == pytest.approx(level(noisy, 16000), abs=1e-4)
        assert np.allclose(
            noisy - read_mono(item["clean_wav"]), 0.01, atol=1e-4
        )


def test_originals_are_converted_once(tmp_path, monkeypatch):
    data = make_tree(tmp_path / "data", 48000, "")
    out = tmp_path / "out"
    root = prepare_voicebank(data, out, ovrl=False)
    assert root == str(out / "voicebank_16k")
    entry = read(out)["test"]["p257_002"]
    assert sorted(entry) == ["clean_wav", "length", "noisy_wav"]
    path = entry["noisy_wav"].format(data_root=root)
    assert soundfile.info(path).samplerate == 16000
    want = read_mono(data / "noisy_testset_wav/p257_002.wav")
    assert np.allclose(read_mono(path), want, atol=1e-4)
    (out / "test.json").unlink()
    monkeypatch.setattr(voicebank, "write_audio", None)  # would fail
    assert prepare_voicebank(data, out, ovrl=False) == root


def test_second_call_does_nothing_and_skip_prep_only_reads(tmp_path):
    data, out = make_tree(tmp_path / "data", 16000, "_16k"), tmp_path / "out"
    with pytest.raises(InputError, match="expected prepared data"):
        prepare_voicebank(data, out, skip_prep=True)
    root = prepare_voicebank(data, out, score=level)
    before = (out / "train.json").stat().st_mtime_ns
    assert prepare_voicebank(data, out, score=None) == root
    assert prepare_voicebank("", out, skip_prep=True) == root
    assert (out / "train.json").stat().st_mtime_ns == before
    prepare_voicebank(data, out, valid_speaker_count=1, score=level)
    assert {name[:4] for name in read(out)["valid"]} == {"p226"}


def test_bad_files_are_left_out_and_counted(tmp_path, caplog):
    data, out = make_tree(tmp_path / "data", 16000, "_16k"), tmp_path / "out"
    noisy = data / "noisy_testset_wav_16k"
    (data / "clean_trainset_28spk_wav_16k/p227_001.wav").unlink()
    (noisy / "p232_001.wav").write_text("no audio")
    soundfile.write(noisy / "p257_003.wav", np.ones(5), 16000)
    clean = data / "clean_testset_wav_16k/p257_003.wav"
    soundfile.write(clean, np.ones(6), 16000)

    def fussy(signal, sample_rate):
        if len(signal) == 4001:
            raise InputError("no score")
        return 3.0

    for kind in ("noisy", "clean"):
        path = data / f"{kind}_testset_wav_16k/p257_004.wav"
        soundfile.write(path, np.ones(4001) / 9, 16000)
    prepare_voicebank(data, out, score=fussy)
    got = read(out)
    assert list(got["test"]) == ["p257_002"]
    assert list(got["train"]) == ["p227_002"]
    assert len(json.loads((out / "done.json").read_text())["bad"]) == 4
    assert caplog.text.count("left out") == 4


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(InputError, match="expected the folder clean_trainset"):
        prepare_voicebank(tmp_path / "none", tmp_path / "out")
    data = make_tree(tmp_path / "data", 16000, "_16k")
    with pytest.raises(InputError, match="valid_speaker_count 3"):
        prepare_voicebank(data, tmp_path / "out", valid_speaker_count=3)
    for path in (data / "noisy_testset_wav_16k").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="expected audio files"):
        prepare_voicebank(data, tmp_path / "out")
