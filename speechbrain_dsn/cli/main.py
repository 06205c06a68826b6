"""Front door of the command line.

A command's module is imported only when the command is called, and imports
torch only when it runs, so that help and mistakes are answered at once.

Authors
 * The speechbrain_dsn developers 2026
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from speechbrain_dsn import __version__
from speechbrain_dsn.compat import TorchaudioGuardWarning
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.memory import keep_freed_memory

PROGRAM = "speechbrain-dsn"

# Command, which is also its module in speechbrain_dsn.cli, and its help line.
COMMANDS = {
    "enhance": "clean noisy files, folders or globs",
    "separate": "split mixtures into a file per speaker",
    "evaluate": "score a model on pairs of clean and noisy files",
    "compare": "results of several models side by side",
    "quality": "predict how good files sound",
    "report": "one page of results, with charts, a table and clips to hear",
    "profile": "MACs per layer, parameters and real-time factor of a model",
    "live": "enhance a stream, frame by frame",
    "export": "write a model as ONNX",
    "quantize": "run a model's GRUs on integers, search widths for them",
    "convert": "make a static model slimmable, or gated",
    "demo": "enhance the bundled clips and train a small model on them",
    "hparams": "list the YAML fragments and their folder, or print one",
    "doctor": "check what is installed and whether it fits together",
}


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument the way all bad input is reported."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see `{self.prog} --help`)")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser, complete for one command.

    Arguments
    ---------
    command : str, optional
        The command whose module is imported for its arguments; the others
        are known by name and help line only.

    Returns
    -------
    argparse.ArgumentParser

    Example
    -------
    >>> build_parser("doctor").parse_args(["doctor"]).command
    'doctor'
    """
    parser = _Parser(
        prog=PROGRAM,
        description="Speech networks that spend compute where it is needed.",
    )
    parser.add_argument(
        "--version", action="version", version=f"{PROGRAM} {__version__}"
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True
    )
    for name, text in COMMANDS.items():
        subparser = commands.add_parser(name, help=text, description=text)
        if name == command:
            module = import_module(f"speechbrain_dsn.cli.{name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Arguments
    ---------
    argv : sequence of str, optional
        Arguments; default: those of the process.

    Returns
    -------
    int
        Exit code: what the command returns, 2 on bad input (one line on
        stderr says what was found and expected), 130 if interrupted, 141 if
        nobody reads stdout any more.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    # No option before the command takes a value, so the command comes first.
    command = next((word for word in argv if not word.startswith("-")), None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TorchaudioGuardWarning)
            args = build_parser(command).parse_args(argv)
            keep_freed_memory()
            code = args.run(args)
            sys.stdout.flush()
            return code
    except InputError as error:
        line = " ".join(str(error).splitlines())
        print(f"{PROGRAM}: error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who reads stdout has seen enough, such as `head`. What is still to
        # be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
