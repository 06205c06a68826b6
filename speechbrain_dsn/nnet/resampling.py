"""Resampling by an integer factor, many samples at a time.

A sinc resampler run as a convolution of one channel costs more time than a
slim DEMUCS. Here 16 samples of the lower rate are one step, and a banded
matrix holds all phases of the filter. Both filters are causal and of linear phase:
there and back a signal is late by ``taps`` samples of the lower rate, and
nothing else happens to it below the transition band.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.precision import full_precision
from speechbrain_dsn.nnet.strided import conv_steps

BLOCK = 16  # samples of the lower rate per step
_convolve = full_precision(conv_steps)  # of samples, not of features


@dataclass
class ResampleContext:
    """The last input samples of a resampler.

    Arguments
    ---------
    past : Tensor
        ``[B, n]``, zeros at the start of a stream.
    """

    past: Tensor


class _Resampler(nn.Module):
    """A convolution over blocks of samples with fixed weights."""

    matrix: Tensor
    size_in: int
    size_out: int

    def __init__(self, ratio: int, taps: int) -> None:
        super().__init__()
        if ratio < 1 or taps < BLOCK or taps % BLOCK:
            raise ValueError(
                f"expected a ratio >= 1 and a multiple of {BLOCK} taps, got "
                f"{ratio} and {taps}"
            )
        self.ratio, self.taps = ratio, taps
        # Made anew, never saved.
        self.register_buffer("matrix", self._make_matrix(), persistent=False)

    def _make_matrix(self) -> Tensor:
        """``[size_out, halo + size_in]``."""
        raise NotImplementedError

    @property
    def _halo(self) -> int:
        return self.matrix.size(1) - self.size_in

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> ResampleContext:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        ResampleContext
            Silence.
        """
        shape = (batch_size, self._halo)
        return ResampleContext(torch.zeros(shape, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Resamples whole signals.

        Arguments
        ---------
        x : Tensor
            ``[B, T, samples, 1]``, frames of a signal.

        Returns
        -------
        Tensor
            ``[B, T, samples', 1]``.
        """
        context = self.make_streaming_context(len(x), x.device, x.dtype)
        return self.forward_streaming(x, context)

    @takes_empty_chunks
    def forward_streaming(self, x: Tensor, context: ResampleContext) -> Tensor:
        """Resamples any number of frames.

        Arguments
        ---------
        x : Tensor
            ``[B, T, samples, 1]``.
        context : ResampleContext
            Updated in place.

        Returns
        -------
        Tensor
            ``[B, T, samples', 1]``.
        """
        batch, frames, samples, _ = x.shape
        if samples % self.size_in:
            raise ValueError(
                f"frames of {samples} samples, expected a multiple of "
                f"{self.size_in}"
            )
        x = torch.cat([context.past, x.flatten(1)], 1)
        context.past = x[:, x.size(1) - self._halo :].clone()
        y = _convolve(
            x.unsqueeze(-1), self.matrix.unsqueeze(-1), None, self.size_in
        )
        return y.reshape(batch, frames, -1, 1)

    def macs(self, samples: int) -> MacCount:
        """Cost of one frame, zeros of the band included.

        Arguments
        ---------
        samples : int
            Input samples per frame.

        Returns
        -------
        MacCount
            Fixed.
        """
        return MacCount(samples // self.size_in * self.matrix.numel())

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.ratio}, taps {self.taps}"


class Upsampler(_Resampler):
    """From the lower to the higher rate.

    Arguments
    ---------
    ratio : int
        Output samples per input sample.
    taps : int
        Input samples that an output sample reads, a multiple of 16.

    Example
    -------
    >>> up = Upsampler(4, 16)
    >>> up(torch.randn(2, 10, 256, 1)).shape
    torch.Size([2, 10, 1024, 1])
    >>> up.macs(256)
    MacCount(fixed=32768, gated=())
    """

    @property
    def size_in(self) -> int:
        """Input samples per step."""
        return BLOCK

    @property
    def size_out(self) -> int:
        """Output samples per step."""
        return BLOCK * self.ratio

    def _make_matrix(self) -> Tensor:
        taps, ratio = self.taps, self.ratio
        # Phases of the filter, and of each the newest input first.
        phases = lowpass(ratio, taps).view(taps, ratio) * ratio
        matrix = torch.zeros(BLOCK, ratio, taps + BLOCK)
        for sample in range(BLOCK):
            stop = taps + sample + 1
            matrix[sample, :, stop - taps : stop] = phases.flip(0).t()
        return matrix.flatten(0, 1)


class Downsampler(_Resampler):
    """From the higher to the lower rate.

    Arguments
    ---------
    ratio : int
        Input samples per output sample.
    taps : int
        Samples of the lower rate that the filter spans, a multiple of 16.

    Example
    -------
    >>> up, down = Upsampler(4, 16), Downsampler(4, 16)
    >>> time = torch.arange(2560) / 16000
    >>> x = torch.sin(2 * torch.pi * 1000 * time).view(1, 10, 256, 1)
    >>> y = down(up(x))
    >>> late = (y.flatten()[80:] - x.flatten()[64:-16]).abs().max()
    >>> bool(late < 1e-3)
    True
    """

    @property
    def size_in(self) -> int:
        """Input samples per step."""
        return BLOCK * self.ratio

    @property
    def size_out(self) -> int:
        """Output samples per step."""
        return BLOCK

    def _make_matrix(self) -> Tensor:
        taps, ratio = self.taps, self.ratio
        kernel = lowpass(ratio, taps).flip(0)
        # Output n reads the inputs up to ratio n, the first of its own ones.
        matrix = torch.zeros(BLOCK, ratio * (taps + BLOCK))
        for sample in range(BLOCK):
            stop = ratio * (taps + sample) + 1
            matrix[sample, stop - len(kernel) : stop] = kernel
        return matrix


def lowpass(ratio: int, taps: int) -> Tensor:
    """A windowed sinc that keeps the lower rate's band.

    Arguments
    ---------
    ratio : int
        Of the two rates.
    taps : int
        Length in samples of the lower rate.

    Returns
    -------
    Tensor
        ``[taps * ratio]`` at the higher rate, symmetric about its middle
        sample, with a sum of 1 in each phase.

    Example
    -------
    >>> lowpass(4, 16).view(16, 4).sum(0)
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    time = torch.arange(-taps * ratio // 2, -(-taps * ratio // 2)).double()
    window = torch.cos(torch.pi * time / (taps * ratio)) ** 2
    kernel = (torch.sinc(time / ratio) * window).view(taps, ratio)
    return (kernel / kernel.sum(0) / ratio).flatten().float()
