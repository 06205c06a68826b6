"""GRUs that update some of their units in some of their steps.

What is not updated keeps its value, bit for bit: the units that a D-GRU does
not select (arXiv 2408.12425), and all of them in a step that is closed.
:func:`selective_scan` computes everything and masks, for training;
:func:`selective_steps` computes the selected rows of the open steps only.
Layouts have a row per sequence, which suits few sequences of many units;
:mod:`speechbrain_dsn.nnet.scan` has a column, for many sequences of few.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechbrain_dsn.nnet.precision import full_precision


@full_precision
def selective_scan(
    projected: Tensor,
    weight_hh: Tensor,
    bias_hh: Tensor,
    h0: Tensor,
    gate: Tensor | None = None,
    active: int | None = None,
) -> Tensor:
    """Runs ``G`` GRUs over ``T`` steps, ``h = u h' + (1 - u) h_before``.

    ``h'`` is what ``torch.nn.GRU`` computes (gate rows r, z, n; ``z`` near 0
    replaces a unit). ``u`` is the gate of the step, and 0 in all but the
    ``active`` units of each GRU that want to be replaced most. That selection
    has no gradient.

    Arguments
    ---------
    projected : Tensor
        ``W_ih x + b_ih`` as ``[T, G, N, 3 * H]``.
    weight_hh : Tensor
        ``[G, 3 * H, H]``.
    bias_hh : Tensor
        ``[G, 3 * H]``.
    h0 : Tensor
        State before the first step ``[G, N, H]``.
    gate : Tensor, optional
        ``[T, N]`` in 0..1, soft or hard; open by default.
    active : int, optional
        Units that a step updates, all by default.

    Returns
    -------
    Tensor
        The state after each step ``[T, G, N, H]``, differentiable once.

    Example
    -------
    >>> w, b, h = torch.randn(1, 12, 4), torch.zeros(1, 12), torch.zeros(1, 2, 4)
    >>> y = selective_scan(torch.randn(5, 1, 2, 12), w, b, h, active=1)
    >>> (y[1:] != y[:-1]).sum(-1).unique()
    tensor([1])
    """
    if active is not None and active >= weight_hh.size(2):
        active = None
    return _SelectiveScan.apply(projected, weight_hh, bias_hh, h0, gate, active)


class _SelectiveScan(torch.autograd.Function):
    """Forward, and a backward with one product for all weight gradients."""

    @staticmethod
    def forward(ctx, projected, w_hh, b_hh, h0, gate, active):
        """Saves the gates of every step."""
        time, groups, rows, triple = projected.shape
        size = triple // 3
        weight, bias = w_hh.transpose(1, 2).contiguous(), b_hh.unsqueeze(1)
        out = projected.new_empty(time, groups, rows, size)
        rz = projected.new_empty(time, groups, rows, 2 * size)
        new, old = torch.empty_like(out), torch.empty_like(out)
        picked = None if active is None else torch.zeros_like(out)
        one, h = projected.new_ones(()), h0
        for t in range(time):
            hidden = torch.baddbmm(bias, h, weight)
            total = projected[t, ..., : 2 * size] + hidden[..., : 2 * size]
            if active is not None:
                picked[t].scatter_(-1, selected(total[..., size:], active), 1.0)
            torch.sigmoid(total, out=rz[t])
            r, z = rz[t].chunk(2, -1)
            old[t].copy_(hidden[..., 2 * size :])
            n = torch.addcmul(
                projected[t, ..., 2 * size :], r, old[t], out=new[t]
            ).tanh_()
            use = _use(gate, picked, t)
            # Exactly 1 where nothing is used, exactly z where all is.
            keep = z if use is None else torch.lerp(one, z, use)
            h = torch.lerp(n, h, keep, out=out[t])
        ctx.save_for_backward(w_hh, h0, out, rz, new, old, picked, gate)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_out):
        """One loop for the pre-activations, then batched products."""
        w_hh, h0, out, rz, new, old, picked, gate = ctx.saved_tensors
        time, size = len(out), out.size(-1)
        grad = out.new_empty(*out.shape[:-1], 3 * size)
        back = torch.empty_like(grad)  # the same for W_hh h + b_hh
        grad_gate = None if gate is None else torch.empty_like(gate)
        gh = torch.zeros_like(h0)
        for t in range(time - 1, -1, -1):
            h = out[t - 1] if t else h0
            r, z = rz[t].chunk(2, -1)
            gr, gz, gn = grad[t].chunk(3, -1)
            gh = gh + grad_out[t]
            use = _use(gate, picked, t)
            keep = z if use is None else 1 - use * (1 - z)
            gk = gh * (h - new[t])
            if gate is not None:
                drop = gk * (z - 1)
                drop = drop if picked is None else drop * picked[t]
                grad_gate[t] = drop.sum((0, 2))
            gk = gk if use is None else gk * use
            torch.mul(gk * z, 1 - z, out=gz)
            torch.mul(gh * (1 - keep), 1 - new[t].square(), out=gn)
            torch.mul(gn * old[t], r * (1 - r), out=gr)
            back[t, ..., : 2 * size] = grad[t, ..., : 2 * size]
            torch.mul(gn, r, out=back[t, ..., 2 * size :])
            gh = torch.baddbmm(gh * keep, back[t], w_hh)
        before = torch.cat([h0.unsqueeze(0), out[:-1]])
        rows = [x.transpose(0, 1).flatten(1, 2) for x in (back, before)]
        grad_w = torch.bmm(rows[0].transpose(1, 2), rows[1])
        return grad, grad_w, back.sum((0, 2)), gh, grad_gate, None


def selected(keep: Tensor, active: int) -> Tensor:
    """The units of a step that are replaced.

    They are ranked before the sigmoid, which is 0 or 1 to the last bit for
    many of them at once.

    Arguments
    ---------
    keep : Tensor
        Pre-activations of the update gate ``z`` ``[..., H]``.
    active : int
        How many.

    Returns
    -------
    Tensor
        Indices ``[..., active]`` of the smallest, in no order.
    """
    return keep.topk(active, -1, largest=False, sorted=False).indices


def _use(gate: Tensor | None, picked: Tensor | None, t: int) -> Tensor | None:
    """How much of each unit's update counts in a step, None for all of it."""
    if gate is None:
        return None if picked is None else picked[t]
    gate = gate[t, :, None]
    return gate if picked is None else gate * picked[t]


@full_precision
def selective_steps(
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    h0: Tensor,
    active: int,
    runs: Tensor,
    reads: Tensor,
) -> Tensor:
    """The same for hard gates: products of the selected rows, and no others.

    Arguments
    ---------
    x : Tensor
        Input ``[T, G, N, I]``.
    weights : tuple of Tensor
        ``weight_ih [G, 3 * H, I]``, ``weight_hh [G, 3 * H, H]``, ``bias_ih``
        and ``bias_hh [G, 3 * H]``.
    h0 : Tensor
        State before the first step ``[G, N, H]``.
    active : int
        Units of each GRU that an open step updates.
    runs : Tensor
        Steps in which a sequence is open, booleans ``[T, N]``; in the others
        it keeps its state.
    reads : Tensor
        Where a GRU that is open reads its input, booleans ``[T, G, N]``;
        elsewhere the input counts as zero and its products do not run.

    Returns
    -------
    Tensor
        The state after each step ``[T, G, N, H]``.
    """
    w_ih, w_hh, b_ih, b_hh = weights
    groups, size = w_hh.size(0), w_hh.size(2)
    keep = slice(size, 2 * size)
    drive = (
        _projected(x, w_ih[:, keep], reads & runs[:, None])
        + b_ih[None, :, None, keep]
    )
    z_hh = w_hh[:, keep].transpose(1, 2).contiguous()
    z_bias = b_hh[:, None, keep]
    flat = [w.flatten(0, 1) for w in weights]
    first = 3 * size * torch.arange(groups, device=x.device)[:, None, None]
    h, states = h0, []
    for t, whole in enumerate(runs.all(1).tolist()):
        some = slice(None) if whole else runs[t].nonzero().squeeze(1)
        past = h[:, some]
        if past.size(1):
            z = drive[t, :, some] + torch.baddbmm(z_bias, past, z_hh)
            units = selected(z, active)
            rows = torch.cat([units, units + 2 * size], -1) + first
            inner = _rows(
                flat[0], flat[2], rows, x[t, :, some], reads[t, :, some]
            )
            outer = _rows(flat[1], flat[3], rows, past, None)
            r = (inner[..., :active] + outer[..., :active]).sigmoid()
            n = torch.addcmul(inner[..., active:], r, outer[..., active:])
            z, old = z.gather(-1, units), past.gather(-1, units)
            fresh = torch.lerp(n.tanh(), old, z.sigmoid())
            fresh = past.scatter(-1, units, fresh)
            h = fresh if whole else h.index_copy(1, some, fresh)
        states.append(h)
    return torch.stack(states) if states else x.new_zeros(0, *h0.shape)


def _projected(x: Tensor, weight: Tensor, reads: Tensor) -> Tensor:
    """``W x`` of each group where it is read, 0 elsewhere."""
    result = x.new_zeros(*x.shape[:-1], weight.size(1))
    for group, matrix in enumerate(weight):
        where = reads[:, group]
        result[:, group][where] = x[:, group][where] @ matrix.t()
    return result


def _rows(
    weight: Tensor,
    bias: Tensor,
    rows: Tensor,
    x: Tensor,
    reads: Tensor | None,
) -> Tensor:
    """Outputs ``rows [G, N, R]`` of a layer, for inputs ``[G, N, I]``."""
    result = bias[rows]
    if reads is None or bool(reads.all()):
        products = weight[rows] @ x.unsqueeze(-1)
        return result + products.squeeze(-1)
    products = weight[rows[reads]] @ x[reads].unsqueeze(-1)
    return result.index_put((reads,), products.squeeze(-1), accumulate=True)
