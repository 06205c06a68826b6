"""What takes the place of a module.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from speechbrain_dsn.convert.units import Units, find_units

__all__ = ["Options", "Replacement", "Unsupported", "load"]


class Unsupported(ValueError):
    """Why a module cannot be converted."""


@dataclass(frozen=True)
class Options:
    """What is asked for.

    Arguments
    ---------
    utilizations : tuple of float
        Widths, ascending up to 1.
    gated : bool
        Whether a gate decides.
    """

    utilizations: tuple[float, ...]
    gated: bool

    @property
    def deciding(self) -> dict[str, Any]:
        """Arguments of a block."""
        return {
            "utilizations": self.utilizations,
            "decide": "gate" if self.gated else "random",
        }


@dataclass(frozen=True)
class Replacement:
    """A module, and its units that are to be sorted.

    Arguments
    ---------
    module : torch.nn.Module
        In the place of the original, with its weights.
    units : tuple of Units
        Views of its weights.
    """

    module: nn.Module
    units: tuple[Units, ...]

    @classmethod
    def of(
        cls,
        module: nn.Module,
        original: nn.Module,
        state: Mapping[str, Tensor] | None = None,
    ) -> Replacement:
        """Loads the weights of the original, under its names or others.

        Arguments
        ---------
        module : torch.nn.Module
            New.
        original : torch.nn.Module
            Gives the type of the weights and the mode.
        state : mapping, optional
            Weights by their names in the new module, those of the original
            by default.

        Returns
        -------
        Replacement
            Complete.
        """
        load(module, original, state)
        return cls(module, tuple(find_units(module)))


def load(
    module: nn.Module,
    original: nn.Module,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Fills a new module with the weights of the original.

    Arguments
    ---------
    module, original, state
        See :meth:`Replacement.of`.

    Raises
    ------
    Unsupported
        If weights are left over, or missing but for those of a policy.
    """
    module.to(next(original.parameters()))
    weights = dict(original.state_dict() if state is None else state)
    left = module.load_state_dict(weights, strict=False)
    # A policy is new, all else is the original's.
    new = [name for name in left.missing_keys if "policy." not in name]
    if new or left.unexpected_keys:
        raise Unsupported(f"unknown weight {(new + left.unexpected_keys)[0]}")
    module.train(original.training)
