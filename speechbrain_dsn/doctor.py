"""Check what is installed and whether it fits together.

``speechbrain-dsn doctor`` and ``python -m speechbrain_dsn.doctor`` print one
line per finding and leave with 0, or with 1 if the package cannot work.

Authors
 * The speechbrain_dsn developers 2026
"""

import os
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Literal

import speechbrain_dsn
from speechbrain_dsn.compat import TorchaudioGuardWarning, torchaudio_error

DISTRIBUTION = "speechbrain-dsn"
# These repeat the others.
_BUNDLES = ("all", "test")
# torch.load(weights_only=True) can be made to corrupt memory before this
# release (CVE-2026-24747).
_SAFE_TORCH = (2, 10)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Arguments
    ---------
    state : str
        "ok", "note" (optional and missing), "warn", or "bad" (the package
        cannot work).
    subject : str
        What was looked at.
    text : str
        What was found.

    Example
    -------
    >>> print(Finding("ok", "numpy", "2.0"))
    ok    numpy           2.0
    """

    state: Literal["ok", "note", "warn", "bad"]
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.state:5} {self.subject:15} {self.text}"


def _one_line(error: BaseException) -> str:
    """The error and, where it has one, its cause, in one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"{text} <- {_one_line(error.__cause__)}" if error.__cause__ else text
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> dict[str, list[str]]:
    """The distributions of each extra; those of the core under ""."""
    groups: dict[str, list[str]] = {}
    for line in metadata.requires(DISTRIBUTION) or []:
        extra = re.search(r"extra == ['\"](.+?)['\"]", line)
        name = re.match(r"[\w.-]+", line).group()
        groups.setdefault(extra.group(1) if extra else "", []).append(name)
    return groups


def check_torch() -> Iterator[Finding]:
    """Version of torch, threads and GPU."""
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    yield Finding("ok", "torch", f"{torch.__version__} ({build} build)")
    if torch.__version__ < _SAFE_TORCH:
        yield Finding(
            "warn",
            "torch",
            f"older than {_SAFE_TORCH[0]}.{_SAFE_TORCH[1]}: load no "
            "checkpoint that you do not trust (CVE-2026-24747)",
        )
    threads = f"{torch.get_num_threads()} threads, {os.cpu_count()} CPUs"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    yield Finding("ok", "compute", f"{threads}; GPU: {gpu}")


def check_kernels() -> Iterator[Finding]:
    """Say whether inference on a CPU uses the compiled inner loops."""
    from speechbrain_dsn.native import available

    if available():
        yield Finding("ok", "kernels", "compiled, in use on CPUs")
    else:
        text = (
            "not compiled, or switched off: PyTorch computes the same, slower"
        )
        yield Finding("note", "kernels", text)


def check_torchaudio() -> Iterator[Finding]:
    """Say which of the cases of `speechbrain_dsn.compat` applies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TorchaudioGuardWarning)
        import torchaudio
    version = torchaudio.__version__
    error = torchaudio_error()
    if error is not None:
        case = (
            "the guard is active: its compiled library does not fit this "
            "torch and is left out; all that is used here works in plain "
            f"Python ({_one_line(error)})"
        )
    elif torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE:
        case = "its compiled library fits this torch; the guard has no work"
    else:
        case = "without its compiled library, in plain Python"
    yield Finding("ok", "torchaudio", f"{version}, {case}")


def check_core(names: list[str]) -> Iterator[Finding]:
    """Import every required package; pesq alone can be done without."""
    for name in names:
        try:
            import_module(name)
        except Exception as error:
            if name == "pesq":
                yield Finding("warn", name, f"no PESQ: {_one_line(error)}")
            else:
                yield Finding("bad", name, _one_line(error))
        else:
            yield Finding("ok", name, _version(name) or "version unknown")


def check_extra(extra: str, names: list[str]) -> Finding:
    """Say whether the packages of one extra are installed."""
    versions = {name: _version(name) for name in names}
    missing = [name for name, version in versions.items() if not version]
    if missing:
        return Finding(
            "note",
            f"[{extra}]",
            f"missing: {', '.join(missing)}; "
            f'pip install "{DISTRIBUTION}[{extra}]"',
        )
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Finding("ok", f"[{extra}]", found)


def examine() -> Iterator[Finding]:
    """Look at everything, one finding after the other.

    Returns
    -------
    iterator of Finding
    """
    yield Finding(
        "ok",
        "system",
        f"Python {platform.python_version()}, {platform.platform()}",
    )
    yield Finding("ok", DISTRIBUTION, speechbrain_dsn.__version__)
    for name, check in (
        ("torch", check_torch),
        ("kernels", check_kernels),
        ("torchaudio", check_torchaudio),
    ):
        try:
            yield from check()
        except Exception as error:
            yield Finding("bad", name, _one_line(error))
    try:
        groups = _requirements()
    except metadata.PackageNotFoundError:
        yield Finding("bad", DISTRIBUTION, "not installed by pip")
        return
    core = groups.pop("")
    yield from check_core([n for n in core if n not in ("torch", "torchaudio")])
    for extra, names in groups.items():
        if extra not in _BUNDLES:
            yield check_extra(extra, names)


def main() -> int:
    """Print the findings.

    Returns
    -------
    int
        1 if there is a bad one, else 0.
    """
    usable = True
    for finding in examine():
        print(finding, flush=True)
        usable = usable and finding.state != "bad"
    return 0 if usable else 1


if __name__ == "__main__":
    sys.exit(main())
