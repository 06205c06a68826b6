"""Through a model, module by module, replacing what fits a pattern.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from speechbrain.lobes.models.dual_path import (
    Dual_Computation_Block,
    Dual_Path_Model,
)
from speechbrain.lobes.models.transformer.Transformer import (
    TransformerEncoderLayer,
)
from speechbrain.nnet.attention import PositionalwiseFeedForward
from torch import Tensor, nn

from speechbrain_dsn.convert.pairs import runs_in_order
from speechbrain_dsn.convert.patterns import KINDS, PATTERNS, find_pair
from speechbrain_dsn.convert.replacement import (
    Options,
    Replacement,
    Unsupported,
)
from speechbrain_dsn.convert.report import Left
from speechbrain_dsn.errors import InputError

__all__ = ["Found", "Walk"]

ACROSS = "it looks across chunks; ask for it by name"
NO_PATTERN = "fits no pattern asked for"


@dataclass(frozen=True)
class Found:
    """A replacement, and where.

    Arguments
    ---------
    name : str
        Of the module in the model.
    kind : str
        Of the pattern.
    new : Replacement
        In its place.
    steps : int
        Steps of a chunk there.
    """

    name: str
    kind: str
    new: Replacement
    steps: int


@dataclass
class Walk:
    """One way through a model.

    Arguments
    ---------
    options : Options
        What is asked for.
    patterns : sequence of str
        Kinds, or names of modules with ``*``; ``auto`` is all kinds.
    steps : int
        Steps of a chunk or item, where the model does not say.
    """

    options: Options
    patterns: Sequence[str]
    steps: int = 100
    found: list[Found] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Sorts kinds from names."""
        every = "auto" in self.patterns
        self._kinds = (
            KINDS if every else [k for k in self.patterns if k in KINDS]
        )
        names = [p for p in self.patterns if p not in (*KINDS, "auto")]
        self._hits = dict.fromkeys(names, 0)
        self._done: dict[tuple[nn.Module, bool], nn.Module] = {}
        self._pairs_made: set[nn.Module] = set()

    def through(self, model: nn.Module) -> nn.Module:
        """Replaces what it finds.

        Arguments
        ---------
        model : torch.nn.Module
            Changed in place, unless it is replaced as a whole.

        Returns
        -------
        torch.nn.Module
            The model.

        Raises
        ------
        InputError
            If a name stands for nothing, or only for what cannot be
            converted; or if nothing at all was found.
        """
        model = self._visit(_Site("", model, None, self.steps))
        for name, hits in self._hits.items():
            if not hits:
                self._complain(name)
        if not self.found:
            reasons = [
                f"; {each.name or 'the model'} ({each.module}): {each.reason}"
                for each in self.left
                if each.reason != NO_PATTERN
            ]
            raise InputError(
                f"nothing to convert in {type(model).__name__}, expected one "
                f"of: {', '.join(KINDS)}" + "".join(reasons[:3])
            )
        return model

    def _complain(self, name: str) -> None:
        """About a name that led to nothing."""
        met = [each for each in self.left if fnmatchcase(each.name, name)]
        if not met:
            raise InputError(
                f"pattern {name!r}: no such module, expected a name, with * "
                f"for any part of it, or one of: auto, {', '.join(KINDS)}"
            )
        raise InputError(
            f"cannot convert {met[0].name} ({met[0].module}): {met[0].reason}"
        )

    def _visit(self, site: _Site) -> nn.Module:
        """What takes the place of a module, perhaps itself."""
        # It may be shared by several parents. What is within and across
        # chunks alike becomes two, each with its own widths.
        known = (site.module, site.across)
        if known not in self._done:
            new = self._done[known] = self._replaced(site) or site.module
            if new is site.module:
                self._descend(site)
        return self._done[known]

    def _asked(self, name: str) -> list[str]:
        """The names asked for that this one fits."""
        return [each for each in self._hits if fnmatchcase(name, each)]

    def _note(self, site: _Site, reason: str) -> None:
        kind = type(site.module).__name__
        self.left.append(Left(site.name, kind, reason))

    def _replaced(self, site: _Site) -> nn.Module | None:
        """By the pattern that fits the class of a module."""
        asked = self._asked(site.name)
        for kind, wanted, build in PATTERNS:
            if not isinstance(site.module, wanted):
                continue
            if not asked and (kind not in self._kinds or site.across):
                return None
            try:
                if kind == "attention" and not site.encodes:
                    raise Unsupported("it is not in an encoder layer")
                new = build(site.module, self.options, site.consumer)
            except ValueError as reason:  # ours, or of a layer's sizes
                self._note(site, str(reason))
                return None
            self._take(Found(site.name, kind, new, site.steps), asked)
            return new.module
        if asked and not runs_in_order(site.module):
            self._note(site, f"expected one of: {', '.join(KINDS)}")
        return None

    def _take(self, found: Found, asked: list[str]) -> None:
        self.found.append(found)
        for each in asked:
            self._hits[each] += 1

    def _descend(self, site: _Site) -> None:
        """Into the children of a module that stays."""
        if site.across:
            self._note(site, ACROSS)
            return
        module = site.module
        steps = module.K if isinstance(module, Dual_Path_Model) else site.steps
        # Within a feed-forward net items are not on the first axis.
        inside = isinstance(site.parent, PositionalwiseFeedForward)
        if runs_in_order(module) and not inside:
            self._pairs(site)
        for key, child in list(module._modules.items()):
            path = f"{site.name}.{key}" if site.name else key
            if child is not None and child not in self._pairs_made:
                module._modules[key] = self._visit(
                    _Site(path, child, module, steps)
                )
        if module._parameters and not self._asked(site.name):
            self._note(site, NO_PATTERN)

    def _pairs(self, site: _Site) -> None:
        """Pairs of layers in a sequence: the pair takes the place of its
        first layer, and nothing is where the others were."""
        children = site.module._modules
        keys, start = list(children), 0
        while start < len(keys):
            path = f"{site.name}.{keys[start]}" if site.name else keys[start]
            asked = self._asked(site.name) + self._asked(path)
            kinds = KINDS if asked else self._kinds
            for size in (4, 3):
                run = keys[start : start + size]
                layers = [children[key] for key in run]
                pair = find_pair(layers, self.options, kinds)
                if pair and len(run) == size:
                    break
            else:
                start += 1
                continue
            kind, new = pair
            self._take(Found(path, kind, new, site.steps), asked)
            for key in run:
                children[key] = nn.Identity()
            children[run[0]] = new.module
            self._pairs_made.add(new.module)
            start += size


@dataclass(frozen=True)
class _Site:
    """A module, where it is."""

    name: str
    module: nn.Module
    parent: nn.Module | None
    steps: int

    @property
    def across(self) -> bool:
        """Whether it looks across the chunks of a dual-path net."""
        pair = isinstance(self.parent, Dual_Computation_Block)
        return pair and self.name.endswith("inter_mdl")

    @property
    def encodes(self) -> bool:
        """Whether it attends from a sequence to itself."""
        return isinstance(self.parent, TransformerEncoderLayer)

    @property
    def consumer(self) -> Tensor | None:
        """The weight that reads its output, where it is known."""
        pair = isinstance(self.parent, Dual_Computation_Block)
        if not pair or not self.parent.linear_layer_after_inter_intra:
            return None
        side = "inter" if self.across else "intra"
        return getattr(self.parent, f"{side}_linear").w.weight
