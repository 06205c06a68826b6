"""The torchaudio guard: ``import speechbrain`` in spite of a misfit.

SpeechBrain imports torchaudio in its first lines. Every Linux x86_64 wheel of
torchaudio carries a compiled library that is linked against one version of
CUDA: beside a CPU build of torch it cannot be loaded (``OSError``), beside a
torch for another CUDA it refuses to be (``RuntimeError``), and ``import
speechbrain`` fails with it. What SpeechBrain uses of torchaudio (resampling,
mel filter banks, STOI, lfilter) is plain Python on top of torch, and
torchaudio falls back to it by itself where its library is not installed.

So the guard waits for ``torchaudio._extension``, the one module that loads the
library. Where that fails, the module is run once more as if there were no
library, and a `TorchaudioGuardWarning` says so. Nothing happens where the
library fits, where torchaudio was imported before, and in processes that never
import this package. Results stay bit-identical, except that lfilter is slower
and differs by 2.4e-7.

Authors
 * The speechbrain_dsn developers 2026
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


class TorchaudioGuardWarning(UserWarning):
    """torchaudio runs without its compiled library."""


@contextmanager
def _library_hidden() -> Iterator[None]:
    """Let torchaudio find that its library is not installed."""
    from unittest.mock import patch  # torch has imported it already

    from torchaudio._extension import utils
    from torchaudio._internal import module_utils

    # The first is asked by torchaudio >= 2.9, the second by those before.
    with (
        patch.object(utils, "_load_lib", lambda name: False),
        patch.object(module_utils, "is_module_available", lambda *names: False),
    ):
        yield


class _GuardedLoader(SourceFileLoader):
    """Runs ``torchaudio._extension``, without its library if need be."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module; called by the import system."""
        try:
            super().exec_module(module)
        except (OSError, RuntimeError) as error:
            with _library_hidden():
                super().exec_module(module)
            module.guarded_error = error
            warnings.warn(
                "torchaudio's compiled library does not fit the installed "
                "torch; going on in plain Python, with the same results "
                "(`speechbrain-dsn doctor` tells more)",
                TorchaudioGuardWarning,
                stacklevel=2,
            )


class _TorchaudioGuard(MetaPathFinder):
    """Gives ``torchaudio._extension``, and nothing else, a guarded loader."""

    @staticmethod
    def find_spec(
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find the module; called by the import system."""
        if name != "torchaudio._extension":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _GuardedLoader(spec.loader.name, spec.loader.path)
        return spec


def install_torchaudio_guard() -> None:
    """Guard the coming import of torchaudio.

    Runs in ``speechbrain_dsn/__init__.py``, so a recipe has only to import
    `speechbrain_dsn` before `speechbrain`. Safe to call again.

    Example
    -------
    >>> install_torchaudio_guard()
    >>> import torchaudio, torch
    >>> torchaudio.functional.resample(torch.zeros(16), 2, 1).shape
    torch.Size([8])
    """
    if _TorchaudioGuard not in sys.meta_path:
        sys.meta_path.insert(0, _TorchaudioGuard)


def torchaudio_error() -> Exception | None:
    """Return what kept torchaudio's library from being loaded.

    Returns
    -------
    Exception or None
        The error that the guard caught, None where the library fits.
    """
    import torchaudio

    return getattr(torchaudio._extension, "guarded_error", None)
