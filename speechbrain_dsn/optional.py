"""Packages that not every installation has.

They are imported where they are used, so that `import speechbrain_dsn` stays
light and a missing one is told by the extra that brings it.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import importlib
from types import ModuleType

from speechbrain_dsn.errors import InputError

__all__ = ["import_optional"]


def import_optional(module: str, hint: str) -> ModuleType:
    """Import a package that not every installation has.

    Arguments
    ---------
    module : str
        Name of the package.
    hint : str
        What to do if it is not there.

    Returns
    -------
    ModuleType
        The package.

    Raises
    ------
    InputError
        If it cannot be imported, with the hint.

    Example
    -------
    >>> import_optional("no_such_package", "do without")
    Traceback (most recent call last):
        ...
    speechbrain_dsn.errors.InputError: package no_such_package cannot be \
imported (No module named 'no_such_package'): do without
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise InputError(
            f"package {module} cannot be imported ({error}): {hint}"
        ) from error
