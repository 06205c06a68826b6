"""A short-time Fourier transform without look-ahead beyond its window.

SpeechBrain's STFT is centred: frame ``t`` sees half a window of the future.
Here frame ``t`` ends with sample ``(t + 1) * hop``, so analysis, network and
synthesis stream with a latency of one window.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class STFTContext:
    """State of analysis and synthesis of a batch of streams.

    Arguments
    ---------
    past : Tensor
        The last ``n_fft - hop`` input samples ``[B, n_fft - hop]``.
    tail : Tensor
        Output of earlier frames that later ones add to, same shape.
    """

    past: Tensor
    tail: Tensor


class STFT(nn.Module):
    """STFT with a square-root Hann window and its exact inverse.

    Arguments
    ---------
    n_fft : int
        Window and transform length in samples.
    hop : int
        Samples between frames; ``n_fft / hop`` must be an even integer, so
        that the squared windows add up to a constant.

    Example
    -------
    >>> stft = STFT(512, 256)
    >>> x = torch.randn(2, 1000)
    >>> spectrum = stft(x)
    >>> spectrum.shape
    torch.Size([2, 5, 257])
    >>> bool(torch.allclose(stft.inverse(spectrum, 1000), x, atol=1e-6))
    True
    """

    def __init__(self, n_fft: int = 512, hop: int = 256) -> None:
        super().__init__()
        if hop < 1 or n_fft % (2 * hop):
            raise ValueError(
                f"n_fft must be an even multiple of hop, got {n_fft}, {hop}"
            )
        self.n_fft, self.hop = n_fft, hop
        window = torch.hann_window(n_fft, dtype=torch.float64)
        window = (window * 2 * hop / n_fft).sqrt()
        self.register_buffer("window", window.float(), persistent=False)

    @property
    def bins(self) -> int:
        """Frequency bins, ``n_fft / 2 + 1``."""
        return self.n_fft // 2 + 1

    @property
    def overlap(self) -> int:
        """Samples that a frame shares with earlier ones."""
        return self.n_fft - self.hop

    def frames(self, samples: int) -> int:
        """Frames that cover a signal.

        Arguments
        ---------
        samples : int
            Length of the signal.

        Returns
        -------
        int
            As many as touch one of its samples.
        """
        return -(-(samples + self.overlap) // self.hop) if samples else 0

    def forward(self, x: Tensor) -> Tensor:
        """Analysis of a whole signal.

        Arguments
        ---------
        x : Tensor
            ``[B, samples]``.

        Returns
        -------
        Tensor
            Complex ``[B, T, bins]``, ``T = frames(samples)``.
        """
        samples = x.size(-1)
        total = (self.frames(samples) - 1) * self.hop + self.n_fft
        x = F.pad(x, (self.overlap, total - samples - self.overlap))
        return self.analyse(x)

    def analyse(self, x: Tensor) -> Tensor:
        """Frames of a signal that already has its past in front.

        Arguments
        ---------
        x : Tensor
            ``[B, overlap + T * hop]``.

        Returns
        -------
        Tensor
            Complex ``[B, T, bins]``.
        """
        return torch.fft.rfft(x.unfold(-1, self.n_fft, self.hop) * self.window)

    def overlap_add(self, spectrum: Tensor) -> Tensor:
        """Synthesis without trimming.

        Arguments
        ---------
        spectrum : Tensor
            Complex ``[B, T, bins]``.

        Returns
        -------
        Tensor
            ``[B, overlap + T * hop]``; the last ``overlap`` samples still
            wait for later frames.
        """
        frames = torch.fft.irfft(spectrum, self.n_fft) * self.window
        length = (frames.size(1) - 1) * self.hop + self.n_fft
        y = F.fold(
            frames.transpose(1, 2),
            (1, length),
            (1, self.n_fft),
            stride=(1, self.hop),
        )
        return y.flatten(1)

    def inverse(self, spectrum: Tensor, samples: int) -> Tensor:
        """Synthesis of a whole signal.

        Arguments
        ---------
        spectrum : Tensor
            Complex ``[B, T, bins]``.
        samples : int
            Length of the signal.

        Returns
        -------
        Tensor
            ``[B, samples]``.
        """
        start = self.overlap
        return self.overlap_add(spectrum)[:, start : start + samples]

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> STFTContext:
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
        STFTContext
            Silence.
        """
        zeros = torch.zeros(
            batch_size, self.overlap, device=device, dtype=dtype
        )
        return STFTContext(zeros, zeros.clone())

    def analyse_streaming(self, x: Tensor, context: STFTContext) -> Tensor:
        """Frames that are complete once ``x`` has come.

        Arguments
        ---------
        x : Tensor
            ``[B, n * hop]`` new samples.
        context : STFTContext
            Updated in place.

        Returns
        -------
        Tensor
            Complex ``[B, n, bins]``.
        """
        if x.size(-1) % self.hop:
            raise ValueError(
                f"a chunk holds whole hops of {self.hop} samples, got "
                f"{x.size(-1)}"
            )
        if not x.size(-1):
            shape = len(x), 0, self.bins
            return x.new_zeros(shape, dtype=x.dtype.to_complex())
        x = torch.cat([context.past, x], -1)
        context.past = x[:, x.size(-1) - self.overlap :]
        return self.analyse(x)

    def synthesise_streaming(
        self, spectrum: Tensor, context: STFTContext
    ) -> Tensor:
        """Samples that are final once these frames have come.

        Arguments
        ---------
        spectrum : Tensor
            Complex ``[B, n, bins]``.
        context : STFTContext
            Updated in place.

        Returns
        -------
        Tensor
            ``[B, n * hop]``, ``n_fft - hop`` samples behind the input.
        """
        if not spectrum.size(1):
            return context.tail[:, :0]
        y = self.overlap_add(spectrum)
        y[:, : self.overlap] += context.tail
        ready = y.size(-1) - self.overlap
        context.tail = y[:, ready:]
        return y[:, :ready]
