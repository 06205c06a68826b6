"""The guard: torchaudio is broken on purpose, SpeechBrain has to work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchaudio
from speechbrain.augment.time_domain import Resample

from speechbrain_dsn.compat import (
    install_torchaudio_guard,
    torchaudio_error,
)

REPOSITORY = Path(__file__).resolve().parents[1]

# Before torchaudio is imported, torch is made to look like a build for
# another CUDA than the one that torchaudio's library was linked against.
OTHER_CUDA = """
import torch
library = torch.library.Library("_torchaudio", "DEF")
library.define("cuda_version() -> int")
library.impl("cuda_version", lambda: 13000, "CompositeExplicitAutograd")
library.define("is_align_available() -> bool")
library.impl("is_align_available", lambda: True, "CompositeExplicitAutograd")
torch.version.cuda = "12.6"
"""

RESAMPLE = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import speechbrain
    import torchaudio
    from speechbrain.augment.time_domain import Resample
print([w.category.__name__ for w in caught].count("TorchaudioGuardWarning"))
from speechbrain_dsn.compat import torchaudio_error
print(type(torchaudio_error()).__name__)
import torch
wave = torch.sin(torch.arange(4000) * 0.1).unsqueeze(0)
print(Resample(16000, 8000)(wave).double().sum().item())
wave = torchaudio.functional.lfilter(
    wave, torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.2])
)
print(wave.double().sum().item())
"""


@pytest.fixture(params=["OSError", "RuntimeError"])
def broken(request, tmp_path):
    """A torchaudio whose import raises the error; what runs before it."""
    original = Path(torchaudio.__file__).parent
    copy = tmp_path / "torchaudio"
    (copy / "lib").mkdir(parents=True)
    for entry in original.iterdir():
        if entry.name not in ("lib", "__pycache__"):
            (copy / entry.name).symlink_to(entry)
    for name in ("_torchaudio.so", "libtorchaudio.so"):
        library = copy / "lib" / name
        if request.param == "OSError":
            library.write_bytes(b"not a library")
        else:  # any library that can be loaded beside this torch
            torch_lib = Path(torch.__file__).parent / "lib"
            library.symlink_to(torch_lib / "libtorch_global_deps.so")
    preamble = OTHER_CUDA if request.param == "RuntimeError" else ""
    return request.param, tmp_path, preamble


def run_python(folder, code, *options):
    """Run code in a fresh process that finds the broken torchaudio first."""
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}"},
        capture_output=True,
        text=True,
    )


def test_broken_without_guard(broken):
    """The fixture really breaks torchaudio, and in the way it says."""
    error, folder, preamble = broken
    result = run_python(folder, preamble + "import torchaudio")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(error)


def test_speechbrain_under_guard(broken):
    """SpeechBrain imports and resamples, and is told once what is wrong."""
    error, folder, preamble = broken
    result = run_python(folder, preamble + "import speechbrain_dsn" + RESAMPLE)
    assert result.returncode == 0, result.stderr
    warnings, name, resampled, filtered = result.stdout.split()
    assert (warnings, name) == ("1", error)
    wave = torch.sin(torch.arange(4000) * 0.1).unsqueeze(0)
    expected = Resample(16000, 8000)(wave).double().sum().item()
    assert float(resampled) == pytest.approx(expected, rel=1e-6)
    expected = torchaudio.functional.lfilter(
        wave, torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.2])
    )
    assert float(filtered) == pytest.approx(expected.sum().item(), rel=1e-4)


def test_warning_can_be_made_an_error(broken):
    """``-W error`` means the guard's warning, too, and names it."""
    _, folder, preamble = broken
    result = run_python(
        folder,
        preamble + "import speechbrain_dsn, torchaudio",
        "-W",
        "error::speechbrain_dsn.compat.TorchaudioGuardWarning",
    )
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("speechbrain_dsn.compat.TorchaudioGuardWarning")


def test_command_line_is_quiet(broken):
    """Commands say nothing of a misfit that is taken care of; doctor does."""
    error, folder, preamble = broken
    result = run_python(
        folder,
        preamble + "from speechbrain_dsn.cli.main import main\n"
        "raise SystemExit(main(['doctor']))",
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = [x for x in result.stdout.splitlines() if " torchaudio " in x]
    assert len(lines) == 1
    assert "guard is active" in lines[0] and error in lines[0]


def test_other_errors_are_not_hidden(tmp_path):
    """The guard is for a library that does not fit, not for every error."""
    package = tmp_path / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import _extension")
    (package / "_extension" / "__init__.py").write_text("import no_such_module")
    result = run_python(tmp_path, "import speechbrain_dsn, torchaudio")
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr.splitlines()[-1]


def test_guard_is_installed_once():
    """Installing it again changes nothing."""
    before = list(sys.meta_path)
    install_torchaudio_guard()
    assert sys.meta_path == before


def test_error_agrees_with_torchaudio():
    """No error is reported exactly where the library is in use."""
    in_use = torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE
    if in_use:
        assert torchaudio_error() is None
    else:
        error = torchaudio_error()
        assert error is None or isinstance(error, (OSError, RuntimeError))
