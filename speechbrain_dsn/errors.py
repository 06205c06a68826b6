"""Errors that a user can cause and a user can mend.

Whatever is wrong with a file, a folder, a number on the command line or a
model folder is raised as `InputError` with one line that says what was found
and what was expected. The command line prints that line and leaves with exit
code 2; a traceback is kept for our own mistakes.

Authors
 * The speechbrain_dsn developers 2026
"""


class InputError(ValueError):
    """Bad input: the message is one line, fit to be shown to the user.

    Example
    -------
    >>> raise InputError("budget 1.5: expected a number from 0 to 1")
    Traceback (most recent call last):
        ...
    speechbrain_dsn.errors.InputError: budget 1.5: expected a number from 0 to 1
    """
