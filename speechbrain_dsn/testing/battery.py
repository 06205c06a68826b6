"""The one call that runs all checks that apply to a layer.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from speechbrain_dsn.testing import (
    causality,
    equality,
    executed,
    gradients,
    lifecycle,
    state,
)
from speechbrain_dsn.testing.subject import Subject

Check = Callable[[Subject], None]

# Every check, with the properties of a subject that it needs.
CHECKS: Mapping[Check, tuple[str, ...]] = MappingProxyType(
    {
        equality.check_open_is_dense: ("gated",),
        equality.check_closed_is_static: ("gated", "slices"),
        equality.check_slices_are_copies: ("slices",),
        equality.check_skipping_is_masked: ("gated", "skips"),
        equality.check_streaming_is_masked: ("streams",),
        equality.check_decides_alike: ("decides", "streams"),
        state.check_running_changes_nothing: (),
        state.check_eval_is_deterministic: (),
        state.check_streams_are_separate: ("streams",),
        state.check_context_is_the_state: ("streams",),
        state.check_empty_chunks: ("streams",),
        state.check_nan_leaves_no_trace: (),
        causality.check_causality: (),
        causality.check_padding: (),
        causality.check_items_are_separate: (),
        gradients.check_gradients: (),
        gradients.check_every_parameter_learns: ("trains",),
        gradients.check_training_repeats: (),
        gradients.check_closed_is_untouched: ("gates_cost",),
        executed.check_macs_are_executed: ("costs",),
        executed.check_macs_are_linear_in_time: ("costs",),
        executed.check_macs_are_monotone: ("gates_cost",),
        lifecycle.check_reset_parameters: ("resets",),
        lifecycle.check_state_dict: (),
        lifecycle.check_wrong_weights_are_named: ("trains",),
        lifecycle.check_copies: (),
        lifecycle.check_bfloat16: (),
        lifecycle.check_extremes: (),
    }
)


def check_dynamic_layer(
    factory: Callable[[], nn.Module],
    example: Callable[[int, int, torch.dtype], Tensor],
    *,
    expected_failures: Mapping[str, str] | None = None,
    seed: int = 0,
    **subject: Any,
) -> list[str]:
    """Holds a layer to the contract of a dynamic layer.

    Runs every check that applies, on a CPU, each with its own random layer,
    inputs, gates and chunkings.

    Arguments
    ---------
    factory : callable
        Returns a new layer, without arguments.
    example : callable
        ``(batch, time, dtype) -> x [B, T, ..., C]``, random by torch's
        global generator.
    expected_failures : mapping of str to str, optional
        Names of checks that the layer is known to fail, each with the
        reason. One that does not fail is an error.
    seed : int
        Chooses everything that is drawn.
    **subject
        Further arguments of :class:`Subject`.

    Returns
    -------
    list of str
        Names of the checks that ran.

    Raises
    ------
    AssertionError
        With one line per check that failed: the layer, the check, the
        property and the measured error.

    Example
    -------
    A layer of somebody else's: a closed frame does without ``far``.

    >>> from speechbrain_dsn.cost import MacCount
    >>> class Pair(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.near, self.far = nn.Linear(4, 3), nn.Linear(4, 3)
    ...
    ...     def forward(self, x, gate=None):
    ...         far = self.far(x)
    ...         far = far if gate is None else gate[..., None] * far
    ...         return self.near(x) + far
    ...
    ...     def forward_skipping(self, x, is_open):
    ...         y = self.near(x)
    ...         y[is_open] += self.far(x[is_open])
    ...         return y
    ...
    ...     def macs(self):  # of one frame
    ...         return MacCount(4 * 3, (4 * 3,))
    >>> def example(batch, time, dtype):
    ...     return torch.randn(batch, time, 4, dtype=dtype)
    >>> known = {"check_copies": "pickle cannot find what a prompt defines"}
    >>> ran = check_dynamic_layer(Pair, example, expected_failures=known)
    >>> "check_macs_are_executed" in ran, "check_streaming_is_masked" in ran
    (True, False)

    The same with a mistake:

    >>> class Wasteful(Pair):
    ...     def forward_skipping(self, x, is_open):
    ...         return self.forward(x, is_open)
    >>> check_dynamic_layer(Wasteful, example, expected_failures=known)
    Traceback (most recent call last):
        ...
    AssertionError: check_closed_is_untouched: Wasteful: skipping: closed ...
    """
    tested = Subject(factory, example, **subject)
    expected = dict(expected_failures or {})
    wrong, ran = [], []
    with torch.random.fork_rng(devices=[]):
        for check in applicable(tested):
            name = check.__name__
            torch.manual_seed(seed)
            error = _failure(check, tested)
            reason = expected.pop(name, None)
            if error and not reason:
                wrong.append(error)
            if reason and not error:
                wrong.append(f"{tested.name}: {name} passes, but: {reason}")
            ran.append(name)
    if expected:
        raise ValueError(
            f"expected_failures names {sorted(expected)}, which do not run for "
            f"{tested.name}"
        )
    if wrong:
        raise AssertionError("\n".join(wrong))
    return ran


def applicable(subject: Subject) -> list[Check]:
    """The checks that a layer's methods ask for.

    Arguments
    ---------
    subject : Subject
        The layer.

    Returns
    -------
    list of callable
        In the order of :data:`CHECKS`.
    """
    return [
        check
        for check, needs in CHECKS.items()
        if all(getattr(subject, need) for need in needs)
    ]


def _failure(check: Check, subject: Subject) -> str | None:
    """What a check has to say, whatever it raises."""
    try:
        check(subject)
    except Exception as error:  # a third party's layer can raise anything
        text = str(error)
        if not isinstance(error, AssertionError):
            text = f"{subject.name}: {type(error).__name__}: {error}"
        return f"{check.__name__}: {text}"
    return None
