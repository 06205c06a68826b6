"""Muon: steps whose matrices have all their singular values near one.

A net without normalization, as DEMUCS is, hands its loudest directions through
and is slow in all others. Orthogonalized momentum moves every direction of a
weight equally far.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks",
2024, from where the coefficients are. ``torch.optim.Muon`` takes nothing but
matrices; weights here may be kernels, or stacks of matrices, one per group.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Muon for whatever has two axes or more, AdamW for the rest.

    Arguments
    ---------
    params : iterable
        Parameters or groups.
    lr : float
        Size of a step: the spectral norm of what is added to a square matrix.
    momentum : float
        Of the weights, in Nesterov's form.
    vector_lr : float
        Rate of AdamW for parameters of one axis, as a share of ``lr``.
    betas : tuple of float
        Of AdamW.
    weight_decay : float
        Decoupled, of the weights.

    Raises
    ------
    ValueError
        If a rate is negative or a momentum is not in [0, 1).

    Example
    -------
    >>> layer = torch.nn.Linear(4, 3)
    >>> before = layer.weight.detach().clone()
    >>> optimizer = Muon(layer.parameters(), lr=0.1)
    >>> layer(torch.randn(8, 4)).square().sum().backward()
    >>> optimizer.step()
    >>> moved = torch.linalg.svdvals(layer.weight.detach() - before)
    >>> bool((moved > 0.05).all() and (moved < 0.13).all())
    True
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 0.02,
        momentum: float = 0.95,
        vector_lr: float = 0.15,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        if min(lr, vector_lr, weight_decay) < 0:
            raise ValueError(
                f"lr {lr}, vector_lr {vector_lr} and weight_decay "
                f"{weight_decay}: expected none below zero"
            )
        if not all(0 <= b < 1 for b in (momentum, *betas)):
            raise ValueError(
                f"momentum {momentum} and betas {tuple(betas)}: expected "
                "numbers in [0, 1)"
            )
        options = {"vector_lr": vector_lr, "betas": betas}
        options |= {"momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {"lr": lr, **options})

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Tensor | None:
        """One step.

        Arguments
        ---------
        closure : callable, optional
            Computes the loss and its gradients anew.

        Returns
        -------
        Tensor or None
            What the closure gave.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = self._turn if parameter.dim() > 1 else self._adapt
                update(parameter, self.state[parameter], group)
        return loss

    def _turn(self, weight: Tensor, state: dict, group: dict) -> None:
        """Muon's step."""
        if not state:
            state["average"] = torch.zeros_like(weight)
        average = state["average"].lerp_(weight.grad, 1 - group["momentum"])
        if not group["lr"]:  # a group that rests: no product is worth it
            return
        ahead = weight.grad.lerp(average, group["momentum"])
        step = orthogonalize(as_matrices(ahead))
        rows, columns = step.shape[-2:]
        scale = math.sqrt(max(1.0, rows / columns))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(step.reshape(weight.shape), alpha=-group["lr"] * scale)

    def _adapt(self, vector: Tensor, state: dict, group: dict) -> None:
        """AdamW's step, without decay."""
        if not state:
            state["steps"] = torch.zeros(())
            state["average"] = torch.zeros_like(vector)
            state["square"] = torch.zeros_like(vector)
        (slow, slower), grad = group["betas"], vector.grad
        state["steps"] += 1
        steps = state["steps"].item()
        average = state["average"].lerp_(grad, 1 - slow)
        square = state["square"].lerp_(grad.square(), 1 - slower)
        deviation = (square / (1 - slower**steps)).sqrt_().add_(1e-8)
        rate = group["lr"] * group["vector_lr"] / (1 - slow**steps)
        vector.addcdiv_(average, deviation, value=-rate)


def as_matrices(weight: Tensor) -> Tensor:
    """A weight as one matrix, outputs by all else, or as a stack of them:
    whichever has the higher rank.

    Arguments
    ---------
    weight : Tensor
        Of two or more axes, ``[out, ...]`` as a kernel's or
        ``[groups, out, in]``.

    Returns
    -------
    Tensor
        ``[..., rows, columns]``.

    Example
    -------
    >>> as_matrices(torch.zeros(32, 8, 16)).shape  # a kernel
    torch.Size([32, 128])
    >>> as_matrices(torch.zeros(4, 96, 32)).shape  # a grouped GRU
    torch.Size([4, 96, 32])
    """
    flat = weight.flatten(1)
    return flat if min(flat.shape) >= min(weight.shape[-2:]) else weight


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """``U V^T`` of ``U S V^T``, roughly, by the Newton-Schulz iteration.

    Arguments
    ---------
    matrices : Tensor
        ``[..., rows, columns]``.
    steps : int
        Of the iteration.

    Returns
    -------
    Tensor
        Of the same shape, singular values within 0.7 and 1.2.

    Example
    -------
    >>> values = torch.linalg.svdvals(orthogonalize(torch.randn(4, 9, 5)))
    >>> bool((values > 0.5).all() and (values < 1.3).all())
    True
    """
    tall = matrices.size(-2) > matrices.size(-1)
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
