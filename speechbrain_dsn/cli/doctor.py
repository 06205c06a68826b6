"""``speechbrain-dsn doctor``: does what is installed fit together?

Authors
 * The speechbrain_dsn developers 2026
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``doctor``: there are none."""


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 if the package cannot work."""
    from speechbrain_dsn.doctor import main

    return main()
