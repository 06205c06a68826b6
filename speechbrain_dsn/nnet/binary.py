"""Layers whose weights lie on a grid: 8 bits, or one.

In training the weights stay what they are and the layer computes with their
nearest grid points, so that it learns to live with them (quantisation-aware
training). The sums run over whole numbers and are scaled afterwards: with maps
of zeros and ones as input they are exact, in floating point too.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from speechbrain_dsn.nnet.surrogate import heaviside

__all__ = ["BITS", "GridConv2d", "GridLinear", "on_grid"]

# Kinds of weights and the bits that one takes.
BITS = {"float": 32, "8bit": 8, "1bit": 1}


def on_grid(weight: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Grid points of weights, and the distance between them.

    Gradients pass through the rounding of 8 bits as if it were not there
    (straight through), and through the sign by the surrogate of
    :func:`~speechbrain_dsn.nnet.surrogate.heaviside`. 8 bits: one scale per
    tensor, symmetric, by the largest magnitude (ours; arXiv 2407.04578 gives
    no scheme). One bit: ``2 H(w) - 1``, its scale ``sqrt(2 / fan-in)``, which
    needs no storage.

    Arguments
    ---------
    weight : Tensor
        ``[out, in, ...]``.
    kind : str
        A key of `BITS`.

    Returns
    -------
    points : Tensor
        Like ``weight``: whole numbers in -127..127, or -1 and 1, or for
        ``float`` the weights.
    scale : Tensor
        ``[]``; ``points * scale`` stands for the weights.

    Example
    -------
    >>> points, scale = on_grid(torch.tensor([[-1.27, 0.5, 0.004]]), "8bit")
    >>> points.tolist(), round(scale.item(), 4)
    ([[-127.0, 50.0, 0.0]], 0.01)
    >>> on_grid(torch.tensor([[-0.3, 0.2]]), "1bit")
    (tensor([[-1.,  1.]]), tensor(1.))
    """
    if kind == "float":
        return weight, weight.new_ones(())
    if kind == "1bit":
        fan_in = weight[0].numel()
        scale = weight.new_tensor(math.sqrt(2 / fan_in))
        return 2 * heaviside(weight) - 1, scale
    if kind != "8bit":
        raise ValueError(f"weights: expected {', '.join(BITS)}, got {kind!r}")
    scale = weight.detach().abs().amax().clamp_min(1e-12) / 127
    smooth = weight / scale
    return smooth + (smooth.round() - smooth).detach(), scale


class _Grid:
    """What both kinds of layers add to torch's own."""

    def __init__(
        self,
        *sizes: int,
        weights: str = "float",
        initial_bias: float | None = None,
        **more,
    ) -> None:
        if weights not in BITS:
            raise ValueError(
                f"weights: expected {', '.join(BITS)}, got {weights!r}"
            )
        self.weights, self.initial_bias = weights, initial_bias
        super().__init__(*sizes, **more)

    def reset_parameters(self) -> None:
        """Torch's own start; of one bit, weights near their threshold."""
        super().reset_parameters()
        if self.weights == "1bit":
            nn.init.uniform_(self.weight, -0.05, 0.05)
        if self.initial_bias is not None:
            nn.init.constant_(self.bias, self.initial_bias)

    @property
    def weight_bytes(self) -> int:
        """Bytes that weights, scale and bias take where they are stored as
        what they stand for; biases and scales are 32-bit numbers."""
        bits = self.weight.numel() * BITS[self.weights]
        scale = 4 if self.weights == "8bit" else 0
        return -(-bits // 8) + scale + 4 * self.bias.numel()

    def extra_repr(self) -> str:
        """Torch's, with the kind of weights."""
        return f"{super().extra_repr()}, weights={self.weights}"


class GridConv2d(_Grid, nn.Conv2d):
    """A convolution with weights on a grid.

    Arguments
    ---------
    *sizes : int
        Of ``torch.nn.Conv2d``.
    weights : str
        A key of `BITS`.
    initial_bias : float, optional
        Where biases start, drawn by default.
    **more
        Of ``torch.nn.Conv2d``.

    Example
    -------
    >>> layer = GridConv2d(32, 8, 3, padding=1, weights="8bit")
    >>> layer(torch.ones(1, 32, 5, 5)).shape, layer.weight_bytes
    (torch.Size([1, 8, 5, 5]), 2340)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolves.

        Arguments
        ---------
        x : Tensor
            ``[B, in, H, W]``.

        Returns
        -------
        Tensor
            ``[B, out, H, W]``.
        """
        points, scale = on_grid(self.weight, self.weights)
        sums = self._conv_forward(x, points, None)
        return torch.addcmul(self.bias[:, None, None], sums, scale)


class GridLinear(_Grid, nn.Linear):
    """A dense layer with weights on a grid.

    Arguments
    ---------
    *sizes : int
        Of ``torch.nn.Linear``.
    weights : str
        A key of `BITS`.
    initial_bias : float, optional
        Where biases start, drawn by default.
    **more
        Of ``torch.nn.Linear``.

    Example
    -------
    >>> layer = GridLinear(64, 4, weights="1bit")
    >>> layer(torch.ones(2, 64)).shape, layer.weight_bytes
    (torch.Size([2, 4]), 48)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies.

        Arguments
        ---------
        x : Tensor
            ``[..., in]``.

        Returns
        -------
        Tensor
            ``[..., out]``.
        """
        points, scale = on_grid(self.weight, self.weights)
        sums = nn.functional.linear(x, points)
        return torch.addcmul(self.bias, sums, scale)
