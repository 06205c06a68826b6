"""``evaluate`` scores pairs, names what has no partner, prints JSON."""

import json
import sys

import numpy as np
import pytest
import soundfile
from tiny_model import noise, save_tiny

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.miniset import miniset_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Two folders with two pairs."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.wav", "sub/b.wav")):
        clean = noise(8000, seed=number)
        noisy = clean + 0.05 * noise(8000, seed=9)
        for folder, samples in (("clean", clean), ("noisy", noisy)):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, 16_000)
    return tmp_path


FOLDERS = ["--clean", "clean", "--noisy", "noisy"]
QUICK = ["--metrics", "si_sdr", "pesq"]


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


def test_json_has_the_documented_shape(home, model, capsys):
    code = evaluate(*FOLDERS, "--model", model, "--json", "-")
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert code == 0 and "enhance" in captured.err
    names = ["pesq", "si_sdr", "estoi", "dnsmos_ovrl"]
    assert list(found["metrics"]) == names
    for entry in found["metrics"].values():
        assert {"noisy", "enhanced", "n_valid", "n_total"} <= set(entry)
        assert entry["n_total"] == 2
    assert 0 <= found["activation"] <= 1 and found["macs_per_second"] > 0
    assert [file["name"] for file in found["files"]] == ["a", "sub/b"]


def test_table_for_people(home, model, capsys):
    assert evaluate(*FOLDERS, "--model", model, *QUICK) == 0
    out = capsys.readouterr().out
    assert "| noisy |" in out and "| tiny |" in out and "M MAC/s" in out


def test_unpaired_and_bad_files_are_named(home, model, capsys):
    soundfile.write("clean/lonely.wav", noise(800), 16_000)
    (home / "clean/c.wav").write_text("no audio")
    soundfile.write("noisy/c.wav", noise(800), 16_000)
    soundfile.write("clean/d.wav", noise(800), 16_000)
    soundfile.write("noisy/d.wav", noise(900), 16_000)
    arguments = [*FOLDERS, "--model", model, *QUICK, "--json", "r.json"]
    assert evaluate(*arguments) == 2
    err = capsys.readouterr().err
    assert "lonely.wav has no counterpart" in err
    assert "c.wav cannot be read as audio" in err
    assert "900 samples" in err and "Traceback" not in err
    found = json.loads((home / "r.json").read_text())
    assert found["metrics"]["si_sdr"]["n_valid"] == 2
    assert found["metrics"]["si_sdr"]["n_total"] == 4
    assert len(found["unpaired"]) == 1


def test_list_of_fixed_mixtures(home, model, capsys):
    """Two rows of the mini set's list, with their SNR."""
    rows = (miniset_folder() / "enhance_test.csv").read_text().splitlines()
    (home / "two.csv").write_text("\n".join(rows[:4]) + "\n")
    arguments = ["--list", "two.csv", "--data_folder", miniset_folder()]
    code = evaluate(
        *arguments, "--model", model, "--metrics", "si_sdr", "--json", "-"
    )
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [file["snr_db"] for file in found["files"]] == [-5, 0, 5]
    noisy = [file["metrics"]["si_sdr"]["noisy"] for file in found["files"]]
    assert np.allclose(noisy, [-5, 0, 5], atol=0.5)
    assert "snr_db" in found["correlation_of_activation"]


def refuse(capsys, arguments, *words):
    assert evaluate(*arguments) == 2
    captured = capsys.readouterr()
    found = captured.err.splitlines()
    assert len(found) == 1 and not captured.out
    for word in words:
        assert word in found[0], found[0]


def test_bad_arguments(home, model, capsys):
    end = ["--model", model]
    refuse(capsys, end, "either --clean DIR and --noisy DIR")
    refuse(capsys, ["--clean", "clean", *end], "either")
    refuse(capsys, [*FOLDERS, "--list", "x.csv", *end], "either")
    refuse(capsys, ["--clean", "no", "--noisy", "noisy", *end], "no: expected")
    refuse(capsys, [*FOLDERS, *end, "--metrics", "mos"], "unknown metric mos")
    refuse(capsys, [*FOLDERS, *end, "--budget", "2"], "0 to 1")
    refuse(capsys, [*FOLDERS, "--model", "no"], "no model 'no'")
    refuse(
        capsys,
        ["--list", "no.csv", "--data_folder", ".", *end],
        "no.csv",
    )


def test_missing_packages(home, model, capsys, monkeypatch):
    """Asked for: refused. By default: left out, and said so."""
    monkeypatch.setitem(sys.modules, "pystoi", None)
    end = ["--model", model]
    refuse(capsys, [*FOLDERS, *end, "--metrics", "estoi"], "pip install")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert evaluate(*FOLDERS, *end, "--json", "r.json") == 0
    assert "estoi is left out" in capsys.readouterr().err
    found = json.loads((home / "r.json").read_text())
    assert list(found["metrics"]) == ["pesq", "si_sdr"]
