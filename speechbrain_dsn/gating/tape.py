"""Where a block notes its Decision when it cannot return it.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections import deque

from torch import nn

from speechbrain_dsn.cost import Decision


class Tape:
    """Decisions on their way from a forward pass to the loss.

    SpeechBrain's own recipes call a block and expect one tensor back, so a
    block that decides notes its :class:`Decision` here while it trains, and
    the loss (:class:`speechbrain_dsn.losses.ComplexityRegularized`) reads and
    empties the tape. It is no part of the state dict. A copy of it, by
    ``deepcopy`` or pickle, is empty: SpeechBrain copies blocks before their
    first use. Where nobody reads, the oldest notes are dropped.

    Arguments
    ---------
    limit : int
        Notes that are kept at most.

    Example
    -------
    >>> import torch
    >>> tape = Tape()
    >>> tape.note(Decision(torch.ones(2, 5, 1), frame_rate=62.5))
    >>> len(tape), len(tape.read()), len(tape)
    (1, 1, 0)
    """

    def __init__(self, limit: int = 8) -> None:
        if limit < 1:
            raise ValueError(f"a tape holds at least one note, got {limit}")
        self._notes: deque[Decision] = deque(maxlen=limit)

    def __len__(self) -> int:
        return len(self._notes)

    def __reduce__(self) -> tuple[type[Tape], tuple[int]]:
        return type(self), (self._notes.maxlen,)

    def note(self, decision: Decision) -> None:
        """Keeps a decision for the loss.

        Arguments
        ---------
        decision : Decision
            With its gradient.
        """
        self._notes.append(decision)

    def read(self) -> list[Decision]:
        """Gives all notes since the last reading, and empties the tape.

        Returns
        -------
        list of Decision
            The oldest first.
        """
        notes = list(self._notes)
        self._notes.clear()
        return notes


def find_tapes(module: nn.Module) -> list[Tape]:
    """The tapes of all blocks inside a module.

    Arguments
    ---------
    module : torch.nn.Module
        A block with an attribute ``tape``, or anything around such blocks.

    Returns
    -------
    list of Tape
        Each once, in the order of ``module.modules()``.
    """
    found = (getattr(part, "tape", None) for part in module.modules())
    return [tape for tape in found if isinstance(tape, Tape)]
