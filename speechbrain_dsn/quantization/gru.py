"""An integer GRU: int64 arithmetic on codes, and nothing else.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.gru_scheme import GATES, PATHS, GRUScheme
from speechbrain_dsn.nnet.quantized import QuantizedGRU

__all__ = ["IntegerGRU"]


@dataclass(frozen=True)
class IntegerGRU:
    """What a device runs. The C kernel beside this file does the same.

    Arguments
    ---------
    scheme : GRUScheme
        Scales, tables, sizes.
    codes : dict of str to np.ndarray
        int64 codes of weights ``[G, H, I]``, ``[G, H, H]`` and biases
        ``[G, H]``, by operator.

    Example
    -------
    >>> import torch
    >>> from speechbrain_dsn.nnet.gru_scheme import uniform_widths
    >>> from speechbrain_dsn.nnet.quantized import calibrate
    >>> gru, x = torch.nn.GRU(4, 8), torch.randn(2, 10, 4)
    >>> fake = QuantizedGRU(gru, calibrate(gru, [x]), uniform_widths(5))
    >>> small = IntegerGRU.of(fake)
    >>> bool((small.decode(small.run(small.encode(x.numpy())))
    ...     == fake(x.double()).detach().numpy()).all())
    True
    """

    scheme: GRUScheme
    codes: dict[str, np.ndarray]

    @classmethod
    def of(cls, gru: QuantizedGRU) -> IntegerGRU:
        """The integers of a GRU as it is now.

        Arguments
        ---------
        gru : QuantizedGRU
            Trained or not.

        Returns
        -------
        IntegerGRU
            A copy.
        """
        codes = {
            name: values.detach().cpu().numpy().astype(np.int64)
            for name, values in gru.codes().items()
        }
        return cls(gru.scheme, codes)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Codes of an input.

        Arguments
        ---------
        x : np.ndarray
            Real numbers.

        Returns
        -------
        np.ndarray
            int64 of the same shape.

        Raises
        ------
        InputError
            If a number is NaN: it has no code.
        """
        if np.isnan(x).any():
            raise InputError("input holds NaN, expected numbers")
        q = self.scheme.quantisers["input"]
        codes = np.floor(np.asarray(x, np.float64) / q.scale + 0.5)
        return codes.clip(q.low, q.high).astype(np.int64)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The states as real numbers.

        Arguments
        ---------
        codes : np.ndarray
            Whole numbers.

        Returns
        -------
        np.ndarray
            float64 of the same shape.
        """
        return codes * self.scheme.quantisers["state"].scale

    def run(
        self, codes: np.ndarray, state: np.ndarray | None = None
    ) -> np.ndarray:
        """Whole sequences.

        Arguments
        ---------
        codes : np.ndarray
            int64 ``[N, T, G I]``.
        state : np.ndarray, optional
            Codes before the first step ``[N, G H]``, zeros by default.

        Returns
        -------
        np.ndarray
            int64 ``[N, T, G H]``.
        """
        groups, units = self.scheme.groups, self.scheme.units
        n, steps = codes.shape[:2]
        x = codes.reshape(n, steps, groups, self.scheme.inputs)
        h = np.zeros((n, groups, units), np.int64)
        if state is not None:
            h = state.reshape(h.shape)
        states = np.zeros((n, steps, groups, units), np.int64)
        for number in range(steps):
            h = states[:, number] = self._step(x[:, number], h)
        return states.reshape(n, steps, groups * units)

    def _step(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """From ``[N, G, I]`` and ``[N, G, H]``."""
        apply, biased = self._apply, {}
        for path in PATHS:
            source = x if path[0] == "i" else h
            weight = self.codes[f"weight_{path}"]
            total = np.einsum("ngi,ghi->ngh", source, weight)
            product = apply(f"product_{path}", total)
            bias = self.codes[f"bias_{path}"][None]
            biased[path] = apply(f"biased_{path}", product, bias)
        r = self._gate("r", apply("sum_r", biased["ir"], biased["hr"]))
        z = self._gate("z", apply("sum_z", biased["iz"], biased["hz"]))
        reset = apply("reset", r * biased["hn"])
        n = self._gate("n", apply("sum_n", biased["in"], reset))
        complement = apply("complement", self.scheme.one - z)
        fresh = apply("fresh", complement * n)
        return apply("state", fresh, apply("kept", z * h))

    def _apply(self, name: str, *operands: np.ndarray) -> np.ndarray:
        return self.scheme.rescales[name].apply(*operands)

    def _gate(self, gate: str, codes: np.ndarray) -> np.ndarray:
        low = self.scheme.quantisers[f"sum_{gate}"].low
        return self.scheme.tables[gate][codes - low]

    def unsigned(self) -> Mapping[str, tuple[np.ndarray, int]]:
        """All that is packed: codes from 0 on, and their width.

        Returns
        -------
        dict of str to tuple
            Of weights, biases and tables (``table_r`` and so on).
        """
        q = self.scheme.quantisers
        result = {
            name: (codes - q[name].low, q[name].bits)
            for name, codes in self.codes.items()
        }
        for gate in GATES:
            target = q[f"gate_{gate}"]
            table = self.scheme.tables[gate] - target.low
            result[f"table_{gate}"] = (table, target.bits)
        return result
