"""``live`` without a sound card: from a file, and on a card made of arrays."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from tiny_model import noise, save_tiny

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.inference.streaming import StreamingEnhancement


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_tiny(tmp_path_factory.mktemp("models") / "tiny"))


def test_from_a_file(folder, tmp_path, capsys):
    noisy, out = tmp_path / "noisy.wav", tmp_path / "out.wav"
    samples = noise(20_000, channels=2)
    soundfile.write(noisy, samples, 8000, subtype="FLOAT")
    command = ["live", "--model", folder, "--input", str(noisy)]
    assert main([*command, "-o", str(out), "--every", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "16000 Hz, latency 32 ms" in lines[0]
    assert [line.split(" s ")[0].strip() for line in lines[1:]] == [
        "1.0",
        "2.0",
        "2.5",
    ]
    assert all("real-time factor" in line for line in lines[1:])
    written, rate = soundfile.read(out, dtype="float32")
    assert rate == 8000 and written.shape == samples.shape
    stream = StreamingEnhancement.from_pretrained(folder).make_stream()
    expected = [stream.run(samples[:, 1], 8000), stream.flush()]
    np.testing.assert_allclose(
        written[:, 1], np.concatenate(expected), atol=1e-5
    )


def test_holds_a_budget(folder, tmp_path, capsys):
    noisy = tmp_path / "noisy.wav"
    soundfile.write(noisy, noise(16_000 * 12), 16000)
    command = ["live", "--model", folder, "--input", str(noisy)]
    assert main([*command, "--budget", "0.3", "--hold"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    activation = float(last.split("activation ")[1].split()[0])
    assert activation == pytest.approx(0.3, abs=0.05)


class Card:
    """Gives what it is given and keeps what it gets."""

    def __init__(self, samples, **settings):
        self.samples, self.settings, self.heard = samples, settings, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def read(self, count):
        if not len(self.samples):
            raise KeyboardInterrupt
        part, self.samples = self.samples[:count], self.samples[count:]
        return part[:, None], len(self.heard) == 2  # one overflow

    def write(self, block):
        assert block.dtype == np.float32 and block.flags.c_contiguous
        self.heard.append(block[:, 0])
        return False


def test_microphone_to_speaker(folder, monkeypatch, capsys):
    wav = noise(2560)[:, 0]
    cards = []

    def open_card(**settings):
        cards.append(Card(wav, **settings))
        return cards[0]

    sound = SimpleNamespace(Stream=open_card, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", sound)
    assert main(["live", "--model", folder, "--in-device", "3"]) == 0
    (card,) = cards
    assert card.closed and card.settings["device"] == (3, None)
    assert card.settings["samplerate"] == 16000
    heard = np.concatenate(card.heard)
    stream = StreamingEnhancement.from_pretrained(folder).make_stream()
    expected = np.concatenate([np.zeros(256, np.float32), stream.run(wav)])
    assert np.array_equal(heard, expected)
    out = capsys.readouterr().out
    assert "listening" in out and "0.2 s" in out
    assert int(out.rsplit("overruns", 1)[1]) >= 1


class Missing:
    """A finder for a module whose library is not there."""

    def __init__(self, error):
        self.error = error

    def find_spec(self, name, path=None, target=None):
        if name == "sounddevice":
            raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("PortAudio library not found"), "libportaudio2"),
        (ImportError("no"), "speechbrain-dsn[mic]"),
    ],
)
def test_without_sound(folder, monkeypatch, capsys, error, message):
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(error), *sys.meta_path])
    assert main(["live", "--model", folder]) == 2
    assert message in capsys.readouterr().err


def test_a_card_that_cannot(folder, monkeypatch, capsys):
    def refuse(**_):
        raise RuntimeError("Invalid\nsample rate")

    sound = SimpleNamespace(Stream=refuse, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", sound)
    assert main(["live", "--model", folder]) == 2
    error = capsys.readouterr().err
    assert "Invalid sample rate" in error and error.count("\n") == 1


def test_bad_arguments(folder, tmp_path, capsys):
    noisy = tmp_path / "noisy.wav"
    soundfile.write(noisy, noise(1000), 16000)
    model = ["live", "--model", folder]
    for arguments, message in (
        (["-o", "x.wav"], "goes with --input"),
        (["--input", str(noisy), "--every", "0"], "--every 0"),
        (["--input", str(noisy), "--budget", "2"], "budget 2"),
        (["--input", str(noisy), "-o", str(noisy)], "is the input"),
        (["--input", "missing.wav"], "does not exist"),
    ):
        assert main([*model, *arguments]) == 2
        assert message in capsys.readouterr().err
