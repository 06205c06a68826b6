"""Run a SpeechBrain script as it is, under the torchaudio guard.

``python -m speechbrain_dsn.run train.py hparams/train.yaml --seed 1`` does
what ``python train.py hparams/train.yaml --seed 1`` does, except that
``import speechbrain`` works beside a torchaudio that does not fit the
installed torch (see `speechbrain_dsn.compat`). For several processes:
``torchrun --nproc_per_node=N -m speechbrain_dsn.run train.py ...``.

Authors
 * The speechbrain_dsn developers 2026
"""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from speechbrain_dsn.errors import InputError


def run_script(script: str, arguments: Sequence[str] = ()) -> None:
    """Run a script in this process, as python itself would.

    Arguments
    ---------
    script : str
        Path of a Python file.
    arguments : sequence of str
        What the script finds in ``sys.argv[1:]``.

    Raises
    ------
    InputError
        If there is no such file.
    """
    path = Path(script)
    if not path.is_file():
        raise InputError(f"{script}: no such file; expected a Python script")
    sys.argv = [script, *arguments]
    # Python puts the folder of the script first; links are followed.
    sys.path[0] = str(path.resolve().parent)
    runpy.run_path(str(path.absolute()), run_name="__main__")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script that is named on the command line.

    Arguments
    ---------
    argv : sequence of str, optional
        Script and arguments; default: those of the process.

    Returns
    -------
    int
        0, or 2 if no script could be run. A script that leaves by
        ``sys.exit`` or by an exception is not held up.
    """
    argv = sys.argv[1:] if argv is None else argv
    usage = "python -m speechbrain_dsn.run SCRIPT [ARGUMENT ...]"
    if argv and argv[0] in ("-h", "--help"):
        print(f"usage: {usage}\n\n{__doc__}")
        return 0
    if not argv:
        print(f"usage: {usage}", file=sys.stderr)
        return 2
    try:
        run_script(argv[0], argv[1:])
    except InputError as error:
        print(f"speechbrain_dsn.run: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
