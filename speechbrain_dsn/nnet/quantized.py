"""A GRU that trains as it will run: on integers, of any width per operator.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.dgru import DGRU
from speechbrain_dsn.nnet.fixed_point import rounded, stacked, straight_through
from speechbrain_dsn.nnet.gru_scheme import (
    GATES,
    PATHS,
    GRUScheme,
    Ranges,
    make_scheme,
    merged,
)
from speechbrain_dsn.nnet.time_gru import TimeGRU

__all__ = ["QuantizedGRU", "calibrate", "gru_weights"]

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def gru_weights(gru: nn.Module) -> tuple[Tensor, ...]:
    """Weights of a GRU of one layer and one direction.

    Arguments
    ---------
    gru : torch.nn.GRU, DGRU or TimeGRU
        Updates all units in every step.

    Returns
    -------
    tuple of Tensor
        ``[G, 3 H, I]``, ``[G, 3 H, H]``, ``[G, 3 H]``, ``[G, 3 H]``.

    Raises
    ------
    InputError
        If it is another module, or has more layers, directions or a D-GRU's
        selection.
    """
    if isinstance(gru, (DGRU, TimeGRU)) and gru.update_ratio != 1:
        raise InputError(
            f"a D-GRU that updates {gru.update_ratio:g} of its units cannot "
            "be quantised: expected an update_ratio of 1"
        )
    if isinstance(gru, TimeGRU):
        return tuple(getattr(gru, name)[0] for name in NAMES)
    rnn = gru.rnn if isinstance(gru, DGRU) else gru
    if not isinstance(rnn, nn.GRU):
        raise InputError(
            f"{type(gru).__name__} cannot be quantised: expected a GRU, a "
            "DGRU or a TimeGRU"
        )
    if rnn.num_layers != 1 or rnn.bidirectional:
        raise InputError(
            f"a GRU of {rnn.num_layers} layers and "
            f"{1 + rnn.bidirectional} directions cannot be quantised: "
            "expected one of each"
        )
    zeros = rnn.weight_ih_l0.new_zeros(3 * rnn.hidden_size)
    return tuple(getattr(rnn, f"{n}_l0", zeros).unsqueeze(0) for n in NAMES)


@torch.no_grad()
def calibrate(
    gru: nn.Module, batches: Iterable[Tensor]
) -> dict[str, tuple[float, float]]:
    """Minimum and maximum of every operator, over weights and data.

    Arguments
    ---------
    gru : torch.nn.GRU, DGRU or TimeGRU
        See :func:`gru_weights`.
    batches : iterable of Tensor
        Inputs ``[N, T, G I]``.

    Returns
    -------
    dict of str to tuple of float
        For :func:`~speechbrain_dsn.nnet.gru_scheme.make_scheme`.

    Raises
    ------
    InputError
        If the data is empty, constant, or not finite, or a weight is not.

    Example
    -------
    >>> ranges = calibrate(nn.GRU(4, 8), [torch.randn(2, 10, 4)])
    >>> len(ranges)
    32
    >>> calibrate(nn.GRU(4, 8), [torch.ones(2, 10, 4)])
    Traceback (most recent call last):
        ...
    speechbrain_dsn.errors.InputError: calibration data is constant (1),
    expected numbers that vary
    """
    weights = [each.double() for each in gru_weights(gru)]
    found = {}
    for kind, pair in (("weight", weights[:2]), ("bias", weights[2:])):
        parts = [x for both in pair for x in both.chunk(3, 1)]
        for path, part in zip(PATHS, parts, strict=True):
            found[f"{kind}_{path}"] = _range(part)
            if not torch.isfinite(part).all():
                raise InputError(
                    f"{kind} of {path} holds NaN or Inf, expected finite "
                    "weights"
                )
    seen = [_observe(weights, x) for x in batches if x.numel()]
    if not seen:
        raise InputError("calibration data is empty, expected some steps")
    ranges = merged(seen)
    low, high = ranges["input"]
    if low == high:
        raise InputError(
            f"calibration data is constant ({low:g}), expected numbers that "
            "vary"
        )
    return found | ranges


def _observe(weights: list[Tensor], x: Tensor) -> dict:
    """Ranges of one batch, in float64."""
    w_ih, w_hh, b_ih, b_hh = weights
    groups, rows, inputs = w_ih.shape
    if x.dim() != 3 or x.size(2) != groups * inputs:
        raise InputError(
            f"calibration data is {list(x.shape)}, expected [N, T, "
            f"{groups * inputs}]"
        )
    if not torch.isfinite(x).all():
        raise InputError(
            "calibration data holds NaN or Inf, expected finite numbers"
        )
    x = x.double().unflatten(2, (groups, inputs)).permute(1, 2, 0, 3)
    h = x.new_zeros(groups, x.size(2), rows // 3)
    ranges: dict = {"input": _range(x), "state": (0.0, 0.0)}

    def see(name: str, y: Tensor) -> Tensor:
        found = _range(y)
        low, high = ranges.get(name, found)
        ranges[name] = (min(low, found[0]), max(high, found[1]))
        return y

    def three(kind: str, side: str, y: Tensor) -> list[Tensor]:
        parts = y.chunk(3, -1)
        names = [f"{kind}_{side}{gate}" for gate in GATES]
        return [see(n, part) for n, part in zip(names, parts, strict=True)]

    for step in x:
        biased = {}
        for side, source, weight, bias in (
            ("i", step, w_ih, b_ih),
            ("h", h, w_hh, b_hh),
        ):
            product = source @ weight.transpose(1, 2)
            three("product", side, product)
            biased[side] = three("biased", side, product + bias.unsqueeze(1))
        own, back = biased["i"], biased["h"]
        r = see("sum_r", own[0] + back[0]).sigmoid()
        z = see("sum_z", own[1] + back[1]).sigmoid()
        n = see("sum_n", own[2] + see("reset", r * back[2])).tanh()
        h = see("state", see("fresh", (1 - z) * n) + see("kept", z * h))
    return ranges


def _range(x: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(x)
    return low.item(), high.item()


class QuantizedGRU(nn.Module):
    """A GRU on integers in float64: the same as int64 computes, bit for bit.

    Weights stay real numbers that learn: the straight-through estimator takes
    rounding as the identity within each range, and tables as the functions
    that they tabulate. In a closed step the state stays as it is.

    Arguments
    ---------
    gru : torch.nn.GRU, DGRU or TimeGRU
        Its weights are copied. The groups of a `TimeGRU` share all scales.
    ranges : mapping of str to tuple of float
        From :func:`calibrate`; they stay while the weights learn.
    widths : mapping of str to int
        By operator, 2..16.

    Example
    -------
    >>> from speechbrain_dsn.nnet.gru_scheme import uniform_widths
    >>> gru, x = nn.GRU(4, 8, batch_first=True), torch.randn(2, 10, 4)
    >>> small = QuantizedGRU(gru, calibrate(gru, [x]), uniform_widths(12))
    >>> y = small(x)
    >>> y.shape, bool((y - gru(x)[0]).abs().max() < 0.01)
    (torch.Size([2, 10, 8]), True)
    """

    def __init__(
        self, gru: nn.Module, ranges: Ranges, widths: Mapping[str, int]
    ) -> None:
        super().__init__()
        weights = gru_weights(gru)
        for name, weight in zip(NAMES, weights, strict=True):
            weight = weight.detach().clone()
            self.register_parameter(name, nn.Parameter(weight))
        groups, rows, inputs = weights[0].shape
        self.scheme = make_scheme(groups, inputs, rows // 3, ranges, widths)

    def codes(self) -> dict[str, Tensor]:
        """Weights and biases as integers.

        Returns
        -------
        dict of str to Tensor
            Whole float64 by operator: ``[G, H, I]``, ``[G, H, H]``, ``[G,
            H]``.
        """
        result = {}
        for kind in ("weight", "bias"):
            pair = getattr(self, f"{kind}_ih"), getattr(self, f"{kind}_hh")
            parts = [x for both in pair for x in both.chunk(3, 1)]
            for path, part in zip(PATHS, parts, strict=True):
                name = f"{kind}_{path}"
                result[name] = self.scheme.quantisers[name].encode(part)
        return result

    def forward(self, x: Tensor, is_open: Tensor | None = None) -> Tensor:
        """Whole sequences, from a state of zeros.

        Arguments
        ---------
        x : Tensor
            ``[N, T, G I]``.
        is_open : Tensor, optional
            Booleans ``[N, T]``: in which steps the state changes, all by
            default.

        Returns
        -------
        Tensor
            ``[N, T, G H]``, of the type of ``x``.

        Raises
        ------
        ValueError
            If an input is NaN, for which there is no integer.
        """
        if x.isnan().any():
            raise ValueError("found NaN in the input, expected numbers")
        quantisers = self.scheme.quantisers
        codes = self.run(quantisers["input"].encode(x), is_open)
        return quantisers["state"].decode(codes).to(x.dtype)

    def run(self, codes: Tensor, is_open: Tensor | None = None) -> Tensor:
        """From integers to integers.

        Arguments
        ---------
        codes : Tensor
            Whole float64 ``[N, T, G I]``.
        is_open : Tensor, optional
            Booleans ``[N, T]``.

        Returns
        -------
        Tensor
            Whole float64 ``[N, T, G H]``.
        """
        scheme, weights = self.scheme, self.codes()
        x = codes.unflatten(2, (scheme.groups, scheme.inputs))
        x = x.permute(1, 2, 0, 3)  # [T, G, N, I]
        drive = self._side("i", weights)(x)  # [T, G, N, 3, H]
        back = self._side("h", weights)
        step = _Step(scheme)
        h = x.new_zeros(scheme.groups, x.size(2), scheme.units)
        states = []
        for number, own in enumerate(drive):
            new = step(own, back(h), h)
            if is_open is not None:
                new = torch.where(is_open[:, number, None], new, h)
            h = new
            states.append(h)
        if not states:
            size = scheme.groups * scheme.units
            return codes.new_zeros(*codes.shape[:2], size)
        return torch.stack(states, 1).permute(2, 1, 0, 3).flatten(2)

    def _side(self, side: str, codes: Mapping[str, Tensor]):
        """``biased`` codes of the three gates from those of the source."""
        paths = [f"{side}{gate}" for gate in GATES]
        weight = torch.cat([codes[f"weight_{p}"] for p in paths], 1)
        weight = weight.transpose(1, 2).contiguous()  # [G, I, 3 H]
        bias = torch.stack([codes[f"bias_{p}"] for p in paths], 1)
        rescales = self.scheme.rescales
        (scale,), *ends = stacked([rescales[f"product_{p}"] for p in paths])
        (own, other), *bounds = stacked(
            [rescales[f"biased_{p}"] for p in paths]
        )
        shift = (bias * other).unsqueeze(1)  # [G, 1, 3, H]

        def run(source: Tensor) -> Tensor:
            product = (source @ weight).unflatten(-1, (3, -1))
            product = rounded(product * scale, *ends)
            return rounded(product * own + shift, *bounds)

        return run


class _Step:
    """Everything behind the products of one step."""

    def __init__(self, scheme: GRUScheme) -> None:
        self.scheme = scheme
        (self.own, self.back), *self.bounds = stacked(
            [scheme.rescales["sum_r"], scheme.rescales["sum_z"]]
        )
        self.tables = {
            gate: torch.from_numpy(table).double()
            for gate, table in scheme.tables.items()
        }

    def __call__(self, own: Tensor, back: Tensor, h: Tensor) -> Tensor:
        """From ``[G, N, 3, H]`` twice and ``[G, N, H]`` to the state."""
        sums = own[..., :2, :] * self.own + back[..., :2, :] * self.back
        sums = rounded(sums, *self.bounds)
        r = self._look_up("r", sums[..., 0, :])
        z = self._look_up("z", sums[..., 1, :])
        reset = self._rescale("reset", r * back[..., 2, :])
        n = self._look_up("n", self._rescale("sum_n", own[..., 2, :], reset))
        complement = self._rescale("complement", self.scheme.one - z)
        fresh = self._rescale("fresh", complement * n)
        return self._rescale("state", fresh, self._rescale("kept", z * h))

    def _rescale(self, name: str, *operands: Tensor) -> Tensor:
        rescale = self.scheme.rescales[name]
        pairs = zip(rescale.factors, operands, strict=True)
        total = sum(factor * each for factor, each in pairs)
        return rounded(total, rescale.low, rescale.high)

    def _look_up(self, gate: str, codes: Tensor) -> Tensor:
        source = self.scheme.quantisers[f"sum_{gate}"]
        target = self.scheme.quantisers[f"gate_{gate}"]
        hard = self.tables[gate][(codes.detach() - source.low).long()]
        if not codes.requires_grad:
            return hard
        x = codes * source.scale
        y = x.tanh() if gate == "n" else x.sigmoid()
        return straight_through(hard, y / target.scale)
