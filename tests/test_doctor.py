"""Doctor: what it says of good, odd and broken installations."""

import subprocess
import sys
from importlib import metadata

import pytest
import torch
import torchaudio
from torch.torch_version import TorchVersion

from speechbrain_dsn import doctor


def test_this_installation_is_usable(capsys):
    """The environment of the tests itself is sound: nothing bad, exit 0."""
    assert doctor.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "note", "warn"}
    for name in ("torch", "torchaudio", "speechbrain", "soundfile"):
        assert any(
            name in line and metadata.version(name) in line for line in lines
        )


def test_as_a_module():
    """``python -m speechbrain_dsn.doctor`` prints the same report."""
    result = subprocess.run(
        [sys.executable, "-m", "speechbrain_dsn.doctor"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0
    assert result.stderr == ""
    assert "torchaudio" in result.stdout


def test_missing_core_package_is_bad(monkeypatch, capsys):
    """A required package that cannot be imported makes the exit code 1."""
    requirements = ["numpy", "no_such_package>=1.0"]
    monkeypatch.setattr(metadata, "requires", lambda name: requirements)
    assert doctor.main() == 1
    lines = capsys.readouterr().out.splitlines()
    bad = [line for line in lines if line.startswith("bad")]
    assert len(bad) == 1
    assert "no_such_package" in bad[0]


def test_missing_pesq_is_a_warning(monkeypatch):
    """Without pesq everything but PESQ works."""
    monkeypatch.setitem(sys.modules, "pesq", None)
    (finding,) = doctor.check_core(["pesq"])
    assert finding.state == "warn"
    assert "no PESQ" in finding.text


def test_missing_extra_names_the_command():
    """A missing extra is a note that says how to install it."""
    finding = doctor.check_extra("search", ["numpy", "no-such-package"])
    assert finding.state == "note"
    assert "no-such-package" in finding.text
    assert "numpy" not in finding.text
    assert 'pip install "speechbrain-dsn[search]"' in finding.text


def test_extra_that_is_there():
    """An extra that is there is listed with its versions."""
    finding = doctor.check_extra("some", ["numpy"])
    assert finding.state == "ok"
    assert metadata.version("numpy") in finding.text


@pytest.mark.parametrize("version, safe", [("2.9.1", False), ("2.10.0", True)])
def test_old_torch_is_warned_of(monkeypatch, version, safe):
    """torch before 2.10 reads a hostile checkpoint without noticing."""
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    states = [finding.state for finding in doctor.check_torch()]
    assert ("warn" not in states) == safe


@pytest.mark.parametrize(
    "error, in_use, text",
    [
        (OSError("libc10_cuda.so"), False, "libc10_cuda.so"),
        (None, True, "the guard has no work"),
        (None, False, "without its compiled library"),
    ],
)
def test_torchaudio_cases(monkeypatch, error, in_use, text):
    """Each case of the guard is told from the others."""
    extension = torchaudio._extension
    monkeypatch.setattr(extension, "guarded_error", error, raising=False)
    monkeypatch.setattr(extension, "_IS_TORCHAUDIO_EXT_AVAILABLE", in_use)
    (finding,) = doctor.check_torchaudio()
    assert finding.state == "ok"
    assert text in finding.text


def test_import_that_fails_is_bad(monkeypatch):
    """What cannot be imported at all is reported, not raised."""
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    findings = {(f.subject, f.state) for f in doctor.examine()}
    assert ("torchaudio", "bad") in findings


def test_not_installed(monkeypatch):
    """A checkout that pip does not know is told apart."""

    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    assert list(doctor.examine())[-1].text == "not installed by pip"
