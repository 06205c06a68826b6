"""What the battery is run on: how a row of its table is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st

ABILITIES = ("gated", "skips", "streams", "slices", "costs", "decides")


@dataclass(frozen=True)
class Row:
    """Arguments of `check_dynamic_layer`, from drawn sizes."""

    make: Callable[..., dict[str, Any]]
    covers: tuple[type, ...]
    can: str  # which ABILITIES, so that none is lost unseen
    cases: tuple[Mapping[str, Any], ...] = ()
    examples: int = 1
    draws: Mapping[str, st.SearchStrategy] = field(default_factory=dict)


class Table(dict):
    """Rows by name."""

    def row(self, *covers, can, cases=(), examples=1, name=None, **draws):
        """Makes a function of drawn sizes a row."""

        def register(make):
            key = name or make.__name__
            assert key not in self, f"two rows are called {key}"
            cells = tuple(cases)
            self[key] = Row(make, covers, can, cells, examples, draws)
            return make

        return register


def frames(*shape, draw=torch.randn):
    """Examples ``[B, T, *shape]``."""
    return lambda batch, time, dtype: draw(batch, time, *shape, dtype=dtype)


def whole_and_part(whole):
    """A width, and how much of it is static."""
    return whole.flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))
