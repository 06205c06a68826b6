"""``speechbrain-dsn hparams``: which YAML fragments there are, and where.

The fragments are lobes, policies and losses to ``!include:`` in, or copy into,
a recipe; the header of each says where it goes. They lie
in ``hparams/`` of the repository and travel inside the installed package.

Authors
 * The speechbrain_dsn developers 2026
"""

import argparse
import textwrap
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


def list_fragments() -> dict[str, Path]:
    """All fragments by their names.

    Returns
    -------
    dict of str to pathlib.Path
        Sorted; a name is the path within the folder without its ending.

    Example
    -------
    >>> "mgt_dsn" in list_fragments()
    True
    """
    folder = hparams_folder()
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
    }


def summary(text: str) -> str:
    """What the header of a fragment says that it is.

    Arguments
    ---------
    text : str
        Of the fragment.

    Returns
    -------
    str
        All in front of ``Goes into:``, on one line.

    Example
    -------
    >>> summary("# A net,\\n# small.\\n# Goes into: a recipe.\\n")
    'A net, small.'
    """
    header = text.split("# Goes into:")[0].splitlines()
    return " ".join(line.removeprefix("#").strip() for line in header)


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
    fragments = list_fragments()
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
        help="print this fragment instead of the folder and its list",
    )


def run(args: argparse.Namespace) -> int:
    """Print the folder and what is in it, or the fragment that was named."""
    if args.name is None:
        print(hparams_folder())
        for name, path in list_fragments().items():
            print(f"\n{name}")
            about = summary(path.read_text(encoding="utf-8"))
            print(textwrap.indent(textwrap.fill(about, 76), "    "))
    else:
        print(find_fragment(args.name).read_text(encoding="utf-8"), end="")
    return 0
