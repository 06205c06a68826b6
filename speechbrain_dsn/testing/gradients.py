"""What learns from a batch, and what must not.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.func import functional_call

from speechbrain_dsn.testing.subject import Subject

_DRAWS = 4


def check_gradients(subject: Subject) -> None:
    """Derivatives of the soft path equal finite differences.

    In the input (which a failure calls "input 0"), the gate (1) and the
    parameters in their order (2 and on), along random directions.

    Arguments
    ---------
    subject : Subject
        Any layer.
    """
    layer, x = subject.layer(), subject.input(1, 4)
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().requires_grad_() for p in layer.parameters()]
    gate = subject.soft(x).requires_grad_()

    def run(x: Tensor, gate: Tensor, *values: Tensor) -> Tensor:
        options = {"gate": gate} if subject.gated else {}
        weights = dict(zip(names, values, strict=True))
        y = functional_call(layer, weights, (x,), options)
        y = y[0] if isinstance(y, tuple) else y
        return y if subject.gated else y + 0 * gate.sum()

    try:
        gradcheck(run, (x.requires_grad_(), gate, *values), fast_mode=True)
    except GradcheckError as error:
        told = " ".join(str(error).splitlines()[:3])  # Jacobians follow
        raise AssertionError(f"{subject.name}: gradients: {told}") from error


def check_every_parameter_learns(subject: Subject) -> None:
    """Some batch gives every parameter a gradient, finite and not zero.

    Arguments
    ---------
    subject : Subject
        Any layer; one that decides is run with its own gates too.
    """
    layer, x = subject.layer().train(), subject.input()
    soft = subject.soft(x)
    for gate in (soft, None) if subject.gated else (None,):
        y = subject.masked(layer, x, gate)
        (y * torch.randn_like(y)).sum().backward()
    for name, parameter in layer.named_parameters():
        grad = parameter.grad
        alive = grad is not None and bool((grad != 0).any())
        subject.require(alive, f"every parameter learns, not {name}")
        finite = bool(grad.isfinite().all())
        subject.require(finite, f"gradients are finite, not of {name}")


def check_training_repeats(subject: Subject) -> None:
    """Under one seed, a training step gives the same bits again.

    Arguments
    ---------
    subject : Subject
        Any layer; one that decides is run with its own gates too.
    """
    layer, x = subject.layer().train(), subject.input()
    soft = subject.soft(x)
    for gate in (soft, None) if subject.gated else (None,):
        steps = []
        for _ in range(2):
            layer.zero_grad()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1)
                y = subject.masked(layer, x, gate)
            if y.requires_grad:
                y.mean().backward()
            grads = [p.grad for p in layer.parameters() if p.grad is not None]
            steps.append((y, *grads))
        for first, again in zip(*steps, strict=True):
            what = "training repeats itself under one seed"
            subject.require_close(again, first, what, 0.0)


def check_closed_is_untouched(subject: Subject) -> None:
    """A closed branch's own weights get gradient 0 and are never read.

    Own weights are those that an open frame learns by and a closed one does
    not. Turned into NaN, they must not show in the closed frames of a path
    that skips. Where the layer can be sliced, the closed slice holds every
    weight that closed frames learn by.

    Arguments
    ---------
    subject : Subject
        A layer that a closed gate makes cheaper.
    """
    x = subject.input()
    opened, closed = (subject.at(x, level) for level in (subject.top, 0))
    own: list[Tensor] = []
    # Several draws: a ReLU may be shut throughout by chance.
    for _ in range(_DRAWS):
        layer = subject.layer()
        open_grads, closed_grads = (
            _gradients(subject, layer, x, gate) for gate in (opened, closed)
        )
        now = [
            (o.abs() > subject.tolerance) & (c == 0)
            for o, c in zip(open_grads, closed_grads, strict=True)
        ]
        own = [a & b for a, b in zip(own, now, strict=True)] if own else now
    subject.require(
        any(bool(mask.any()) for mask in own),
        "a closed gate spares no weight its gradient",
    )
    if subject.slices:
        dense = subject.slice(layer, 0)
        kept = sum(int((p != 0).sum()) for p in dense.parameters())
        learning = sum(int((c != 0).sum()) for c in closed_grads)
        subject.require(
            learning <= kept,
            f"closed frames give {learning} weights a gradient, the closed "
            f"slice holds {kept}",
        )
    with torch.no_grad():
        expected = subject.masked(layer, x, closed)
        for parameter, mask in zip(layer.parameters(), own, strict=True):
            parameter.masked_fill_(mask, torch.nan)
        for name, run in subject.paths().items():
            if name != "masked":
                y = run(layer, x, closed)
                what = f"{name}: closed frames read no dynamic weight"
                subject.require_close(y, expected, what)


def _gradients(
    subject: Subject, layer: nn.Module, x: Tensor, gate: Tensor
) -> list[Tensor]:
    """Gradients of a random projection of the output."""
    y = subject.masked(layer, x, gate)
    parameters = list(layer.parameters())
    grads = torch.autograd.grad(
        (y * torch.randn_like(y)).sum(), parameters, allow_unused=True
    )
    return [
        torch.zeros_like(p) if g is None else g
        for p, g in zip(parameters, grads, strict=True)
    ]
