"""A layer under test: what it can, and what to feed it.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.gating import find_tapes
from speechbrain_dsn.testing.runs import Runs, accepts


@dataclass
class Subject(Runs):
    """What the battery has to know about a layer.

    Which checks apply is read off the layer's methods: a ``gate`` among the
    arguments of ``forward``, ``forward_skipping``, ``forward_streaming`` with
    ``make_streaming_context``, ``slice_to``, ``macs`` or ``report``, and
    ``reset_parameters``. A method that asks for positions (``bins``) is given
    the number of positions per frame, ``math.prod(x.shape[2:-1])``.

    A hard gate is booleans ``[B, T]``, closed or open. A layer with several
    choices, whose cost is ``one_hot``, takes one of these instead: indices
    ``[B, T]``, passed as a one-hot ``gate`` ``[B, T, J]`` where a gate may be
    soft. To a layer that decides about chunks these are the frames: its
    examples are ``[B, chunks, L, N]``, and its cost is asked for ``L``
    positions.
    A layer whose cost has several independent gates takes booleans ``[B, T,
    K]``. One that says ``causal = False`` does not stream.

    Arguments
    ---------
    factory : callable
        Returns a new layer, without arguments.
    example : callable
        ``(batch, time, dtype) -> x [B, T, ..., C]``, random by torch's
        global generator.
    look_ahead : int
        Frames of the future that an output frame reads.
    run_dense : callable, optional
        ``(dense, x) -> y`` runs what ``slice_to`` returns on an example; by
        default it is called.
    warm_up : int
        Frames after which a stream costs what is declared (attention over
        the past).
    unseen_macs : int
        Declared MACs per frame that :func:`count_macs` cannot see.
    time : int
        Frames of the examples, at least five more than the look-ahead.
    tolerance : float
        Largest error in float64, relative to the largest value or 1.
    perturb : float
        Deviation of what is added to the weights, since some that start at 0
        or 1 could hide what is done to them; 0 for a trained model.

    Example
    -------
    >>> from speechbrain_dsn.nnet import DynamicLinear
    >>> subject = Subject(
    ...     lambda: DynamicLinear(8, 6, 4, 3),
    ...     lambda batch, time, dtype: torch.randn(batch, time, 6, dtype=dtype),
    ... )
    >>> subject.name, subject.gated, subject.skips, subject.streams
    ('DynamicLinear', True, True, False)
    """

    factory: Callable[[], nn.Module]
    example: Callable[[int, int, torch.dtype], Tensor]
    look_ahead: int = 0
    run_dense: Callable[[nn.Module, Tensor], Tensor] | None = None
    warm_up: int = 0
    unseen_macs: int = 0
    time: int = 10
    tolerance: float = 1e-9
    perturb: float = 0.1

    def __post_init__(self) -> None:
        """Refuses examples too short to be cut, padded and looked ahead in."""
        if self.time < self.look_ahead + 5:
            raise ValueError(
                f"time must be at least look_ahead + 5 = "
                f"{self.look_ahead + 5} frames, got {self.time}"
            )

    @cached_property
    def model(self) -> nn.Module:
        """A layer to look at; checks run layers of their own."""
        return self.factory()

    @property
    def name(self) -> str:
        """The layer's class."""
        return type(self.model).__name__

    @property
    def gated(self) -> bool:
        """Whether ``forward`` takes a gate."""
        return accepts(self.model.forward, "gate")

    @cached_property
    def choice(self) -> bool:
        """Whether a gate is a choice, among widths or exits."""
        return self.gated and self.costs and self._cost.one_hot

    @cached_property
    def _cost(self) -> MacCount:
        """Of one frame of an example."""
        return self.cost(self.model, self.example(1, 1, torch.float32))

    @cached_property
    def several(self) -> int:
        """Independent gates of a frame, if there are more than one."""
        if not (self.gated and self.costs) or self.choice:
            return 0
        gates = len(self._cost.gated)
        return gates if gates > 1 else 0

    def _frames(self, x: Tensor) -> tuple[int, ...]:
        """Shape of a hard gate."""
        several = (self.several,) if self.several else ()
        return (*x.shape[:2], *several)

    @property
    def top(self) -> int:
        """Index of the widest branch; 0 is the closed or narrowest one."""
        return len(self._cost.gated) - 1 if self.choice else 1

    @property
    def skips(self) -> bool:
        """Whether there is an offline path that skips."""
        return hasattr(self.model, "forward_skipping")

    @property
    def streams(self) -> bool:
        """Whether the layer streams."""
        causal = getattr(self.model, "causal", True)
        return causal and hasattr(self.model, "forward_streaming")

    @property
    def slices(self) -> bool:
        """Whether a branch can be cut out."""
        return hasattr(self.model, "slice_to")

    @property
    def costs(self) -> bool:
        """Whether the layer declares MACs."""
        return hasattr(self.model, "macs") or hasattr(self.model, "report")

    @property
    def trains(self) -> bool:
        """Whether there is something to learn."""
        return any(p.requires_grad for p in self.model.parameters())

    @property
    def resets(self) -> bool:
        """Whether the layer or one below can draw its weights anew."""
        modules = self.model.modules()
        return any(hasattr(module, "reset_parameters") for module in modules)

    @cached_property
    def decides(self) -> bool:
        """Whether ``forward`` returns a :class:`Decision` as well, or notes
        it on a tape: without a gate it is not the widest then."""
        if find_tapes(self.model):
            return True
        with torch.no_grad():
            x = self.example(1, self.time, torch.float32)
            result = self.model(x)
        return isinstance(result, tuple) and isinstance(result[1], Decision)

    @property
    def gates_cost(self) -> bool:
        """Whether a closed frame is cheaper than an open one."""
        if not (self.gated and self.costs):
            return False
        return self._cost.open > self._cost.closed

    def layer(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """A new layer in eval mode, its weights perturbed.

        Arguments
        ---------
        dtype : torch.dtype
            Type of its parameters.

        Returns
        -------
        torch.nn.Module
            In eval mode.
        """
        layer = self.factory().to(dtype).eval()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=self.perturb)
        return layer

    def input(
        self,
        batch: int = 2,
        time: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """An example.

        Arguments
        ---------
        batch : int
            Items.
        time : int, optional
            Frames, the subject's by default.
        dtype : torch.dtype
            Its type.

        Returns
        -------
        Tensor
            ``[B, T, ..., C]``.
        """
        return self.example(batch, time or self.time, dtype)

    def at(self, x: Tensor, level: int) -> Tensor:
        """The hard gate that puts every frame into one branch.

        Arguments
        ---------
        x : Tensor
            ``[B, T, ..., C]``.
        level : int
            Index of the branch, up to `top`.

        Returns
        -------
        Tensor
            ``[B, T]``, of several gates ``[B, T, K]``.
        """
        dtype = torch.long if self.choice else torch.bool
        return torch.full(self._frames(x), level, dtype=dtype)

    def flip(self, gate: Tensor) -> Tensor:
        """A hard gate that differs in every frame.

        Arguments
        ---------
        gate : Tensor
            ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T]``.
        """
        return (gate + 1) % (self.top + 1) if self.choice else ~gate

    def soft(self, x: Tensor) -> Tensor:
        """A drawn gate with values between 0 and 1.

        Arguments
        ---------
        x : Tensor
            ``[B, T, ..., C]``.

        Returns
        -------
        Tensor
            ``[B, T]``, or ``[B, T, J]`` with a sum of 1.
        """
        if self.choice:
            logits = torch.randn(*x.shape[:2], self.top + 1)
            return torch.softmax(logits, -1).to(x)
        # Away from 0 and 1: a gate may act through its logarithm.
        return (0.1 + 0.8 * torch.rand(self._frames(x))).to(x)

    def gates(self, x: Tensor) -> Iterator[Tensor]:
        """Hard gates that fit an input: each branch, and drawn ones.

        Arguments
        ---------
        x : Tensor
            ``[B, T, ..., C]``.

        Yields
        ------
        Tensor
            ``[B, T]``.
        """
        for level in range(self.top + 1):
            yield self.at(x, level)
        for share in (0.2, 0.5, 0.8):
            yield self.gate(x, share)

    def gate(self, x: Tensor, share: float = 0.5) -> Tensor:
        """One drawn hard gate.

        Arguments
        ---------
        x : Tensor
            ``[B, T, ..., C]``.
        share : float
            Of open frames; of a choice among widths, the share of frames
            that are not the narrowest.

        Returns
        -------
        Tensor
            ``[B, T]``.
        """
        opened = torch.rand(self._frames(x)) < share
        if not self.choice:
            return opened
        return opened * torch.randint(1, self.top + 1, opened.shape)

    def require(self, condition: bool, message: str) -> None:
        """Raises in the layer's name unless a condition holds.

        Arguments
        ---------
        condition : bool
            What must hold.
        message : str
            What is wrong otherwise.
        """
        if not condition:
            raise AssertionError(f"{self.name}: {message}")

    def require_close(
        self,
        actual: Tensor,
        expected: Tensor,
        what: str,
        tolerance: float | None = None,
    ) -> None:
        """Raises unless two outputs are equal, NaN being unlike everything.

        Arguments
        ---------
        actual : Tensor
            What came out.
        expected : Tensor
            What should have.
        what : str
            The property.
        tolerance : float, optional
            The subject's by default; 0 asks for the same bits.
        """
        tolerance = self.tolerance if tolerance is None else tolerance
        shapes = tuple(actual.shape), tuple(expected.shape)
        self.require(shapes[0] == shapes[1], f"{what}: shapes {shapes}")
        if not actual.numel():
            return
        actual, expected = actual.detach(), expected.detach()
        error = float((actual - expected).abs().max())
        error /= max(1.0, float(expected.abs().max()))
        self.require(
            error <= tolerance, f"{what}: error {error:.2g} > {tolerance:.2g}"
        )
