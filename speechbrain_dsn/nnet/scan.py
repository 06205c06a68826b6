"""The recurrence of a group of GRUs, all groups in one batched product.

``torch.nn.GRU`` on a CPU runs one small matrix product per group, direction
and step, and its autograd graph stores and re-reads each of them. Here the
groups are a batch axis, the input projection is part of the step (where
sequences are few, one product before it) and the gradient is written by hand,
so that the weight gradients are one product over all steps: training an
FTF-Net block takes about half the time.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechbrain_dsn import native
from speechbrain_dsn.nnet.precision import full_precision

# Sequences up to which states are rows, and steps share a product where they
# can: one with a few columns is ten times slower than one with as many rows.
FEW = 8


@full_precision
def gru_scan(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    h0: Tensor | None = None,
    reverse: bool = False,
) -> Tensor:
    """Runs ``G`` independent GRUs of equal size over ``L`` steps.

    The equations are those of ``torch.nn.GRU`` with gate rows in the order
    r, z, n; differentiable once in every tensor argument.

    Arguments
    ---------
    x : Tensor
        Input ``[L, G, I, N]``: steps, groups, input size, sequences.
    weight_ih : Tensor
        ``[G, 3 * H, I]``.
    weight_hh : Tensor
        ``[G, 3 * H, H]``.
    bias_ih : Tensor
        ``[G, 3 * H]``.
    bias_hh : Tensor
        ``[G, 3 * H]``.
    h0 : Tensor, optional
        State before the first step ``[G, H, N]``, zeros by default.
    reverse : bool
        Whether to run from the last step to the first.

    Returns
    -------
    Tensor
        The state after each step ``[L, G, H, N]``, in the order of ``x``.

    Example
    -------
    >>> x = torch.randn(31, 4, 16, 10)
    >>> w_ih, w_hh = torch.randn(4, 48, 16), torch.randn(4, 48, 16)
    >>> b = torch.zeros(4, 48)
    >>> gru_scan(x, w_ih, w_hh, b, b).shape
    torch.Size([31, 4, 16, 10])
    """
    if h0 is None:
        h0 = x.new_zeros(x.size(1), weight_hh.size(2), x.size(3))
    if x.size(3) <= FEW and not torch.is_grad_enabled():
        x = x.flip(0) if reverse else x
        projected = _projected(x, weight_ih, bias_ih)
        states = gru_steps(projected, weight_hh, bias_hh, h0)
        return states.flip(0) if reverse else states
    return _Scan.apply(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, reverse)


@full_precision
def gru_steps(
    projected: Tensor, weight_hh: Tensor, bias_hh: Tensor, h0: Tensor
) -> Tensor:
    """The same recurrence for inputs that are projected already.

    The skipping path needs it: there the projection ``W_ih x + b_ih`` was
    computed for the open frames only.

    Arguments
    ---------
    projected : Tensor
        ``W_ih x + b_ih`` as ``[L, G, 3 * H, N]``.
    weight_hh : Tensor
        ``[G, 3 * H, H]``.
    bias_hh : Tensor
        ``[G, 3 * H]``.
    h0 : Tensor
        State before the first step ``[G, H, N]``.

    Returns
    -------
    Tensor
        The state after each step ``[L, G, H, N]``.

    Example
    -------
    >>> w, b = torch.randn(2, 12, 4), torch.zeros(2, 12)
    >>> gru_steps(torch.randn(5, 2, 12, 3), w, b, torch.zeros(2, 4, 3)).shape
    torch.Size([5, 2, 4, 3])
    """
    size, few = weight_hh.size(2), h0.size(2) <= FEW
    if few and size % native.LANES == 0 and native.runs(projected, weight_hh):
        return native.gru_steps(projected, weight_hh, bias_hh, h0)
    axis = 2 if few else 1
    if axis == 2:
        projected, h0 = projected.transpose(2, 3), h0.transpose(1, 2)
        weight_hh = weight_hh.transpose(1, 2).contiguous()
    bias = bias_hh.unsqueeze(3 - axis)
    sizes = (2 * size, size)
    if axis == 2 and not torch.is_grad_enabled():
        return _few_steps(projected, weight_hh, bias, h0).transpose(2, 3)
    h, states = h0, []
    for drive, new in zip(
        *(part.unbind() for part in projected.split(sizes, axis + 1)),
        strict=True,
    ):
        product = (h, weight_hh) if axis == 2 else (weight_hh, h)
        hidden = torch.baddbmm(bias, *product)
        gates, hidden = hidden.split(sizes, axis)
        r, z = (drive + gates).sigmoid().chunk(2, axis)
        n = torch.addcmul(new, r, hidden).tanh()
        h = torch.lerp(n, h, z)
        states.append(h)
    states = torch.stack(states)
    return states.transpose(2, 3) if axis == 2 else states


def _few_steps(
    projected: Tensor, weight: Tensor, bias: Tensor, h: Tensor
) -> Tensor:
    """A few sequences as rows, ``[L, G, N, H]``; nothing is allocated in the
    loop, which costs as much as the products of such small matrices."""
    size = h.size(2)
    drive, new = projected.split((2 * size, size), 3)
    states = projected.new_empty(len(projected), *h.shape)
    hidden = torch.empty_like(
        projected[0], memory_format=torch.contiguous_format
    )
    n, gates = torch.empty_like(h), hidden.new_empty(*h.shape[:2], 2 * size)
    to_gates, to_new = hidden.split((2 * size, size), 2)
    r, z = gates.chunk(2, 2)
    for x_gates, x_new, state in zip(
        drive.unbind(), new.unbind(), states.unbind(), strict=True
    ):
        torch.baddbmm(bias, h, weight, out=hidden)
        torch.add(x_gates, to_gates, out=gates).sigmoid_()
        torch.addcmul(x_new, r, to_new, out=n).tanh_()
        h = torch.lerp(n, h, z, out=state)
    return states


class _Scan(torch.autograd.Function):
    """Forward and hand-written backward of :func:`gru_scan`."""

    @staticmethod
    def forward(ctx, x, w_ih, w_hh, b_ih, b_hh, h0, reverse):
        """Saves the gates of every step for the backward pass."""
        length, groups, _, n_seq = x.shape
        size = w_hh.size(2)
        drive = _projected(x, w_ih, b_ih) if n_seq <= FEW else None
        b_ih, b_hh = b_ih.unsqueeze(-1), b_hh.unsqueeze(-1)
        out = x.new_empty(length, groups, size, n_seq)
        rz = x.new_empty(length, groups, 2 * size, n_seq)
        new, hidden_new = torch.empty_like(out), torch.empty_like(out)
        step = x.new_empty(groups, 3 * size, n_seq)
        hidden = torch.empty_like(step)
        h = h0
        for t in _order(length, reverse):
            if drive is None:
                torch.baddbmm(b_ih, w_ih, x[t], out=step)
            else:
                step = drive[t]
            torch.baddbmm(b_hh, w_hh, h, out=hidden)
            gates = torch.add(
                step[:, : 2 * size], hidden[:, : 2 * size], out=rz[t]
            ).sigmoid_()
            hn = hidden_new[t].copy_(hidden[:, 2 * size :])
            n = torch.addcmul(
                step[:, 2 * size :], gates[:, :size], hn, out=new[t]
            ).tanh_()
            h = torch.lerp(n, h, gates[:, size:], out=out[t])
        ctx.save_for_backward(x, w_ih, w_hh, h0, out, rz, new, hidden_new)
        ctx.reverse = reverse
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_out):
        """One loop for the pre-activations, then batched products."""
        x, w_ih, w_hh, h0, out, rz, new, hidden_new = ctx.saved_tensors
        length, groups, size, n_seq = out.shape
        # Rows n, r, z, W_hn h: the first three are what the input
        # projection needs, the last three what the hidden one needs.
        grad = out.new_empty(length, groups, 4 * size, n_seq)
        w_back = w_hh.transpose(1, 2).contiguous()
        previous = torch.empty_like(out)
        gh = torch.zeros_like(h0)
        buffer = torch.empty_like(h0)
        order = list(_order(length, ctx.reverse))
        for position in range(length - 1, -1, -1):
            t = order[position]
            h = out[order[position - 1]] if position else h0
            previous[t].copy_(h)
            r, z = rz[t].chunk(2, 1)
            gn, gr, gz, ghn = grad[t].chunk(4, 1)
            gh = gh.add_(grad_out[t])
            torch.mul(gh, z, out=buffer)
            torch.sub(gh, buffer, out=gn)
            torch.sub(h, new[t], out=gz).mul_(buffer)
            gz.addcmul_(gz, z, value=-1.0)
            gn.addcmul_(gn * new[t], new[t], value=-1.0)
            torch.mul(gn, r, out=ghn)
            torch.mul(ghn, hidden_new[t], out=gr)
            gr.addcmul_(gr, r, value=-1.0)
            gh = torch.baddbmm(buffer, w_back, grad[t][:, size:])
        to_input, to_hidden = grad[:, :, : 3 * size], grad[:, :, size:]
        nrz = torch.cat([w_ih[:, 2 * size :], w_ih[:, : 2 * size]], 1)
        grad_x = torch.matmul(nrz.transpose(1, 2), to_input)
        grad_nrz = _outer_sum(to_input, x)
        grad_hh = _outer_sum(to_hidden, previous)
        sums = grad.sum((0, 3))
        grad_w = torch.cat([grad_nrz[:, size:], grad_nrz[:, :size]], 1)
        grad_b = torch.cat([sums[:, size : 3 * size], sums[:, :size]], 1)
        return grad_x, grad_w, grad_hh, grad_b, sums[:, size:], gh, None


def _outer_sum(left: Tensor, right: Tensor) -> Tensor:
    """``[L, G, P, N]`` and ``[L, G, Q, N]`` to ``[G, P, Q]``; with a few
    sequences, a product per step would be all overhead."""
    if left.size(3) <= FEW:
        left, right = _joined(left)[None], _joined(right)[None]
    return torch.matmul(left, right.transpose(2, 3)).sum(0)


def _projected(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """All steps in one product, ``[L, G, 3 * H, N]``; in memory ``[G, N, L,
    3 * H]``, as the kernel reads it."""
    rows = x.permute(1, 3, 0, 2).flatten(1, 2)
    y = torch.baddbmm(bias.unsqueeze(1), rows, weight.transpose(1, 2))
    return y.unflatten(1, (x.size(3), len(x))).permute(2, 0, 3, 1)


def _joined(x: Tensor) -> Tensor:
    """``[L, G, C, N]`` as ``[G, C, L N]``."""
    return x.permute(1, 2, 0, 3).flatten(2)


def _order(length: int, reverse: bool) -> range:
    """The order in which steps run."""
    return range(length - 1, -1, -1) if reverse else range(length)
