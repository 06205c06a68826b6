"""The STFT of a stream as matrix products.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer

if TYPE_CHECKING:
    from speechbrain_dsn.export.ftfnet import FTFNetGraph


class SpectralFront:
    """From samples to the lobe's input and back, one hop at a time.

    A real Fourier transform of ``N = P Q`` samples in two products (Cooley
    and Tukey, 1965): with ``n = Q a + b`` and ``k = p + P q``

    ``X[k] = sum_b e^(-2 pi i b k / N) sum_a e^(-2 pi i a p / P) x[n]``.

    The input is real, so ``p = 0 .. P / 2`` is enough. One product with the
    whole matrix would read 1 MB of weights per frame at N = 512, these read
    150 kB.

    Arguments
    ---------
    enhancer : SpectralEnhancer
        Window, hop and compression.
    """

    def __init__(self, enhancer: SpectralEnhancer) -> None:
        stft = enhancer.stft
        self.n_fft, self.hop, self.bins = stft.n_fft, stft.hop, stft.bins
        self.overlap = stft.overlap
        self.compression = enhancer.compression
        self.exponent = enhancer.strength / enhancer.compression
        self.window = weight(stft.window)
        divisors = [d for d in range(1, self.n_fft + 1) if self.n_fft % d == 0]
        self.outer = min(d for d in divisors if d * d >= self.n_fft)
        self.inner = self.n_fft // self.outer
        self.rows = self.outer // 2 + 1

    def states(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """What one stream remembers: shape and type by name."""
        shape = ((1, self.overlap), "float32")
        return {"past": shape, "tail": shape}

    def analyse(
        self, graph: Graph, samples: str, state: dict[str, str]
    ) -> tuple[str, str]:
        """Adds analysis and compression.

        Arguments
        ---------
        graph : Graph
            Where to.
        samples : str
            ``[B, hop]``.
        state : dict
            Names of the states; ``past``, the samples before, is replaced.

        Returns
        -------
        tuple of str
            Spectrum ``[B, P / 2 + 1, 2, Q]`` of real and imaginary parts,
            and compressed magnitude ``[B, 1, 1, bins]``.
        """
        frame = graph("Concat", state["past"], samples, axis=1)
        part = (np.array([n]) for n in (self.hop, self.n_fft, 1))
        state["past"] = graph("Slice", frame, *part)
        x = graph("Mul", frame, self.window)
        x = graph.reshape(x, -1, self.outer, self.inner)
        # Rows are p, each with its real and its imaginary part.
        angle = _angles(self.rows, self.outer) / self.outer
        first = np.stack([np.cos(angle), -np.sin(angle)], 1)
        x = graph("MatMul", first.reshape(-1, self.outer), x)
        x = graph.reshape(x, -1, self.rows, 1, 2 * self.inner)
        x = graph("MatMul", x, self._twiddle(-1))
        spectrum = graph.reshape(x, -1, self.rows, 2, self.inner)
        power = graph("ReduceSumSquare", spectrum, np.array([2]), keepdims=0)
        power = graph.reshape(power, -1, 1, 1, self.rows * self.inner)
        # |X|^c = e^(c/2 log |X|^2), twice as fast as Pow; 0 stays 0.
        level = graph("Mul", graph("Log", power), self.compression / 2)
        level = graph("Gather", level, self._order()[0], axis=3)
        return spectrum, graph("Exp", level)

    def synthesise(
        self, graph: Graph, spectrum: str, mask: str, state: dict[str, str]
    ) -> str:
        """Adds masking and synthesis.

        Arguments
        ---------
        graph : Graph
            Where to.
        spectrum : str
            ``[B, P / 2 + 1, 2, Q]``.
        mask : str
            For the compressed magnitude ``[B, 1, 1, bins]``.
        state : dict
            Names of the states; ``tail``, what earlier frames left for later
            samples, is replaced.

        Returns
        -------
        str
            Samples ``[B, hop]``.
        """
        level = graph("Log", mask)
        gain = graph("Exp", graph("Mul", level, self.exponent))
        gain = graph("Gather", gain, self._order()[1], axis=3)
        gain = graph.reshape(gain, -1, self.rows, 1, self.inner)
        x = graph("Mul", spectrum, gain)
        x = graph.reshape(x, -1, self.rows, 1, 2 * self.inner)
        x = graph("MatMul", x, self._twiddle(1))
        x = graph.reshape(x, -1, 2 * self.rows, self.inner)
        angle = _angles(self.outer, self.rows) / self.outer
        # All p but the first and, if P is even, the last stand for two.
        twice = np.full(self.rows, 2.0)
        twice[0] = 1
        if self.outer % 2 == 0:
            twice[-1] = 1
        second = np.stack([np.cos(angle) * twice, -np.sin(angle) * twice], 2)
        x = graph("MatMul", second.reshape(self.outer, -1) / self.n_fft, x)
        x = graph("Mul", graph.reshape(x, -1, self.n_fft), self.window)
        parts = np.array([self.overlap, self.hop])
        x, rest = graph("Split", x, parts, results=2, axis=1)
        x = graph("Add", x, state["tail"])
        if self.overlap > self.hop:
            x = graph("Concat", x, rest, axis=1)
            x, rest = graph("Split", x, parts[::-1], results=2, axis=1)
        state["tail"] = rest
        return x

    def _twiddle(self, sign: int) -> np.ndarray:
        """Transforms over ``b`` (or ``q``) of each ``p``: ``[P / 2 + 1, 2 Q,
        2 Q]`` for rows ``[2 Q]`` of real parts, then imaginary ones."""
        b, q = np.arange(self.inner)[:, None], np.arange(self.inner)
        k = np.arange(self.rows)[:, None, None] + self.outer * q
        turn = np.exp(sign * 2j * np.pi * (b * k % self.n_fft) / self.n_fft)
        if sign > 0:
            turn = turn.swapaxes(1, 2)
        return np.concatenate(
            [
                np.concatenate([turn.real, turn.imag], 2),
                np.concatenate([-turn.imag, turn.real], 2),
            ],
            1,
        )

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """Where bin ``k`` stands among all (p, q), and which bin stands at
        (p, q); of a real signal ``N - k`` is as good as ``k``."""
        p, q = np.arange(self.rows)[:, None], np.arange(self.inner)
        k = (p + self.outer * q).reshape(-1)
        bins = np.minimum(k, self.n_fft - k)
        first = np.unique(bins, return_index=True)[1]
        return first, bins


class SpectralGraph:
    """A lobe that gives a mask, between analysis and synthesis.

    Arguments
    ---------
    front : SpectralFront
        Analysis and synthesis.
    lobe : FTFNetGraph
        From compressed magnitude to mask.
    """

    def __init__(self, front: SpectralFront, lobe: FTFNetGraph) -> None:
        self.front, self.lobe = front, lobe

    def states(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """What one stream remembers: shape and type by name."""
        return self.front.states() | self.lobe.states()

    def step(
        self,
        graph: Graph,
        samples: str,
        state: dict[str, str],
        bias: str | None,
    ) -> tuple[str, str | None]:
        """Adds one hop.

        Arguments
        ---------
        graph : Graph
            Where to.
        samples : str
            ``[B, hop]``.
        state : dict
            Names of the states, replaced by those of the next ones.
        bias : str or None
            The compute knob ``[B, 1]``, for a lobe that decides.

        Returns
        -------
        tuple
            Samples ``[B, hop]`` and logits ``[B, K]`` or None.
        """
        spectrum, magnitude = self.front.analyse(graph, samples, state)
        mask, logits = self.lobe.step(graph, magnitude, state, bias)
        return self.front.synthesise(graph, spectrum, mask, state), logits


def _angles(rows: int, columns: int) -> np.ndarray:
    return 2 * np.pi * np.outer(np.arange(rows), np.arange(columns))
