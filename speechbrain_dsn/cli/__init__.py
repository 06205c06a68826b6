"""The command line: ``speechbrain-dsn COMMAND ...``.

Each command is a module of this package with ``add_arguments(parser)`` and
``run(args) -> int``; `speechbrain_dsn.cli.main` holds the table of them.

Authors
 * The speechbrain_dsn developers 2026
"""
