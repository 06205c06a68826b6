"""``speechbrain-dsn hparams``: where the YAML fragments are.

The fragments are lobes to ``!include:`` in, or copy into, a recipe. They lie
in ``hparams/`` of the repository and travel inside the installed package.

Authors
 * The speechbrain_dsn developers 2026
"""

import argparse
from pathlib import Path

import speechbrain_dsn
from speechbrain_dsn.errors import InputError


def hparams_folder() -> Path:
    """Find the folder of the YAML fragments.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If the fragments are missing from the installation.

    Example
    -------
    >>> hparams_folder().name
    'hparams'
    """
    package = Path(speechbrain_dsn.__file__).resolve().parent
    # An installed package carries them inside, a checkout has them beside.
    for folder in (package / "hparams", package.parent / "hparams"):
        if folder.is_dir():
            return folder
    raise InputError(
        f"{package / 'hparams'}: no such folder; expected the YAML fragments "
        "of speechbrain_dsn, please install it again"
    )


def find_fragment(name: str) -> Path:
    """Find one fragment.

    Arguments
    ---------
    name : str
        Path within the folder; the ending ``.yaml`` may be left out.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If there is no fragment of this name.
    """
    folder = hparams_folder()
    fragments = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
    }
    try:
        return fragments[name.removesuffix(".yaml")]
    except KeyError:
        raise InputError(
            f"hparams {name!r}: no such fragment; expected one of: "
            + ", ".join(fragments)
        ) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``hparams``."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="print this fragment instead of the folder",
    )


def run(args: argparse.Namespace) -> int:
    """Print the folder, or the fragment that was named."""
    if args.name is None:
        print(hparams_folder())
    else:
        print(find_fragment(args.name).read_text(encoding="utf-8"), end="")
    return 0
