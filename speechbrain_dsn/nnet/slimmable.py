"""Strided convolutions in time whose inner width is a choice per frame.

The encoder and decoder blocks of slimmable DEMUCS (arXiv 2507.04879). A
*frame* is the stretch of signal that one decision covers, ``steps`` samples
of a feature map ``[B, T, steps, C]``. Input, output and skip connection keep
all their channels, only what lies between the two layers of a block is cut:
so any frame may have any width, whatever its neighbours have, and masking
equals slicing.

What a frame shares with its neighbours are ``kernel - stride`` steps: an
encoder reads that much of the past, a decoder leaves as much to be added to
the future. Frames that run at different widths are convolved one by one, and
together where all have the same.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechbrain_dsn import native
from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.chain import arguments
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.gated import gated_linear
from speechbrain_dsn.nnet.masking import bucketed, mask_widths
from speechbrain_dsn.nnet.strided import conv_steps, conv_transpose_steps
from speechbrain_dsn.nnet.widths import (
    SlimmableBlock,
    SlimmableContext,
    draw_weights,
    only_level,
)


class SlimmableEncoder(SlimmableBlock):
    """Conv1d -> ReLU -> 1x1 -> GLU, slimmable between the two layers.

    Figure 1 of arXiv 2507.04879. Causal (our choice): an output step reads
    the ``kernel`` input steps that end with its own stride.

    Arguments
    ---------
    out_channels : int
        Channels after the GLU, and of the widest inner layer.
    in_channels : int
        Channels of the input.
    kernel_size : int
        Input steps that an output step reads, one or two strides.
    stride : int
        Input steps per output step.
    utilizations : sequence of float
        Widths as shares of the inner channels, ascending in (0, 1].

    Example
    -------
    >>> encoder = SlimmableEncoder(32, 1)
    >>> choice = torch.eye(4)[torch.randint(4, (2, 10))]
    >>> encoder(torch.randn(2, 10, 1024, 1), choice).shape
    torch.Size([2, 10, 256, 32])
    >>> encoder.widths, encoder.macs(1024).gated[0] / encoder.macs(1024).open
    ((4, 8, 16, 32), 0.125)
    """

    def __init__(
        self,
        out_channels: int,
        in_channels: int,
        kernel_size: int = 8,
        stride: int = 4,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
    ) -> None:
        super().__init__(
            out_channels,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            utilizations,
        )
        inner, taps = self.widths[-1], kernel_size
        # [inner, kernel, in], and [out of GLU, inner].
        self.first = nn.Parameter(torch.empty(inner, taps, in_channels))
        self.first_bias = nn.Parameter(torch.empty(inner))
        self.second = nn.Parameter(torch.empty(2 * out_channels, inner))
        self.second_bias = nn.Parameter(torch.empty(2 * out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as DEMUCS does, see `draw_weights`."""
        draw_weights(self.first, self.first[0].numel())
        draw_weights(self.second, self.widths[-1])
        nn.init.zeros_(self.first_bias)
        nn.init.zeros_(self.second_bias)

    def _shared_channels(self) -> int:
        return self.in_channels

    def _products(self) -> tuple[int, int]:
        return self.kernel_size * self.in_channels, self.out_channels

    def steps_after(self, steps: int) -> int:
        """Output steps of so many input steps."""
        return steps // self.stride

    def _pack(self, width: int) -> tuple[Tensor, ...]:
        inner = len(self.first)
        first, bias = self.first.view(1, inner, -1), self.first_bias.view(1, -1)
        second = self.second.view(2, -1, inner), self.second_bias.view(2, -1)
        return (
            *native.pack(bias, first, outputs=width),
            *native.pack(second[1], second[0], inputs=width),
        )

    @staticmethod
    def chain(
        blocks: Sequence[SlimmableBlock],
        x: Tensor,
        contexts: Sequence[SlimmableContext],
        level: Tensor | None,
        skips: Sequence[Tensor] = (),
    ) -> list[Tensor]:
        """See :class:`~speechbrain_dsn.nnet.widths.SlimmableBlock`."""
        made = native.encode(
            x,
            *arguments(blocks, x, contexts, level),
            [block.stride for block in blocks],
            [block.out_channels for block in blocks],
        )
        for block, context, given in zip(
            blocks, contexts, (x, *made[:-1]), strict=True
        ):
            start = given.size(2) - block._halo
            context.past = given[:, -1, start:].clone()
        return made

    def _with_past(self, x: Tensor, context: SlimmableContext) -> Tensor:
        """``[B, T, steps, C]`` to ``[B, halo + T steps, C]``."""
        x = torch.cat([context.past, x.flatten(1, 2)], 1)
        context.past = x[:, x.size(1) - self._halo :].clone()
        return x

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes the widest and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, steps, C]``.
        gate : Tensor, optional
            Choice among widths ``[B, T, J]``, soft or one-hot; the widest by
            default.

        Returns
        -------
        Tensor
            ``[B, T, steps / stride, out_channels]``.
        """
        frames = x.size(1)
        x = self._with_past(x, self._fresh(x))
        inner = conv_steps(x, self.first, self.first_bias, self.stride)
        inner = inner.relu_().unflatten(1, (frames, -1))
        inner = mask_widths(inner, gate, self.widths)
        return gated_linear(inner, self.second, self.second_bias)

    def branch(self, x: Tensor, level: int) -> Tensor:
        """Runs one width.

        Arguments
        ---------
        x : Tensor
            ``[N, kernel - stride + steps, C]``, past in front.
        level : int
            Index of the width.

        Returns
        -------
        Tensor
            ``[N, steps / stride, out_channels]``.
        """
        width = self.widths[level]
        first, bias = self.first[:width], self.first_bias[:width]
        inner = conv_steps(x, first, bias, self.stride).relu_()
        return gated_linear(inner, self.second[:, :width], self.second_bias)

    @takes_empty_chunks
    def forward_streaming(
        self,
        x: Tensor,
        context: SlimmableContext,
        level: Tensor | None = None,
    ) -> Tensor:
        """Any number of frames, each at its own width.

        Arguments
        ---------
        x : Tensor
            ``[B, T, steps, C]``.
        context : SlimmableContext
            Updated in place.
        level : Tensor, optional
            Index of the width of each frame ``[B, T]``; the widest by
            default.

        Returns
        -------
        Tensor
            ``[B, T, steps / stride, out_channels]``.
        """
        frames, steps = x.shape[1:3]
        if self.compiled(x, steps, context):
            return self.chain([self], x, [context], level)[0]
        x, only = self._with_past(x, context), only_level(level, self.widths)
        if only is not None:
            return self.branch(x, only).unflatten(1, (frames, -1))
        windows = x.unfold(1, self._halo + steps, steps).transpose(2, 3)
        return bucketed(self.branch, windows, level, self.out_channels)

    def macs(self, steps: int) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        steps : int
            Input steps per frame.

        Returns
        -------
        MacCount
            One gate per width.
        """
        return self._macs(
            steps // self.stride,
            self.kernel_size * self.in_channels + 2 * self.out_channels,
        )


class SlimmableDecoder(SlimmableBlock):
    """1x1 -> GLU -> transposed Conv1d -> ReLU, slimmable in between.

    Figure 1 of arXiv 2507.04879; both halves of the GLU are cut alike. Causal
    (our choice): an input step adds to the ``kernel`` output steps that begin
    with its own stride, and what reaches beyond a frame is added to the next
    one, whatever width that has.

    Arguments
    ---------
    out_channels : int
        Channels of the output.
    in_channels : int
        Channels of the input, and of the widest inner layer.
    kernel_size : int
        Output steps that an input step adds to, one or two strides.
    stride : int
        Output steps per input step.
    utilizations : sequence of float
        Widths as shares of the inner channels, ascending in (0, 1].
    activation : bool
        Whether a ReLU follows; the last block of a net has none.

    Example
    -------
    >>> decoder = SlimmableDecoder(1, 32, activation=False)
    >>> decoder(torch.randn(2, 10, 256, 32)).shape
    torch.Size([2, 10, 1024, 1])
    """

    def __init__(
        self,
        out_channels: int,
        in_channels: int,
        kernel_size: int = 8,
        stride: int = 4,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
        activation: bool = True,
    ) -> None:
        super().__init__(
            out_channels,
            in_channels,
            in_channels,
            kernel_size,
            stride,
            utilizations,
        )
        self.activation = activation
        inner, taps = self.widths[-1], kernel_size
        # [half of the GLU, inner, in], and [inner, kernel, out].
        self.first = nn.Parameter(torch.empty(2, inner, in_channels))
        self.first_bias = nn.Parameter(torch.empty(2, inner))
        self.second = nn.Parameter(torch.empty(inner, taps, out_channels))
        self.second_bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as the encoder's."""
        draw_weights(self.first, self.in_channels)
        reads = self.widths[-1] * self.kernel_size // self.stride
        draw_weights(self.second, reads)
        nn.init.zeros_(self.first_bias)
        nn.init.zeros_(self.second_bias)

    def _options(self) -> dict[str, bool]:
        return {"activation": self.activation}

    def _shared_channels(self) -> int:
        return self.out_channels

    def _products(self) -> tuple[int, int]:
        return self.in_channels, self.kernel_size * self.out_channels

    def steps_after(self, steps: int) -> int:
        """Output steps of so many input steps."""
        return steps * self.stride

    def _pack(self, width: int) -> tuple[Tensor, ...]:
        # A block of the output is what two rows add to it, the late one first.
        size = self.stride * self.out_channels
        taps = self.second.view(len(self.second), 2, 1, size)
        own, late = taps.permute(1, 2, 3, 0)
        bias = self.second_bias.repeat(self.stride).view(1, -1)
        return (
            *native.pack(self.first_bias, self.first, outputs=width),
            *native.pack(bias, late, own, inputs=width),
        )

    def compiled(
        self, x: Tensor, steps: int, context: SlimmableContext
    ) -> bool:
        """Whether a kernel would run it: with a kernel of two strides."""
        return self._halo > 0 and super().compiled(x, steps, context)

    @staticmethod
    def chain(
        blocks: Sequence[SlimmableBlock],
        x: Tensor,
        contexts: Sequence[SlimmableContext],
        level: Tensor | None,
        skips: Sequence[Tensor] = (),
    ) -> list[Tensor]:
        """See :class:`~speechbrain_dsn.nnet.widths.SlimmableBlock`."""
        y, owed = native.decode(
            x,
            list(skips),
            *arguments(blocks, x, contexts, level),
            [block.activation for block in blocks],
        )
        for context, past in zip(contexts, owed, strict=True):
            context.past = past
        return [y]

    def _overlap_add(self, y: Tensor, context: SlimmableContext) -> Tensor:
        """``[B, T, steps + kernel - stride, C]``, what each frame adds, to
        the output steps of these frames."""
        steps = y.size(2) - self._halo
        # The bias was added to what goes into the next frame, too.
        late = y[:, :, steps:] - self.second_bias
        late = torch.cat([context.past.unsqueeze(1), late], 1)
        context.past = late[:, -1].clone()
        y[:, :, : self._halo] += late[:, :-1]
        y = y[:, :, :steps]
        return y.relu_() if self.activation else y

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes the widest and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, steps, C]``.
        gate : Tensor, optional
            Choice among widths ``[B, T, J]``, soft or one-hot; the widest by
            default.

        Returns
        -------
        Tensor
            ``[B, T, steps * stride, out_channels]``.
        """
        inner = gated_linear(x, self.first, self.first_bias)
        inner = mask_widths(inner, gate, self.widths).flatten(1, 2)
        y = conv_transpose_steps(
            inner, self.second, self.second_bias, self.stride
        )
        y = self._overlap_add(y.unsqueeze(1), self._fresh(x))
        return y.reshape(*x.shape[:2], -1, self.out_channels)

    def branch(self, x: Tensor, level: int) -> Tensor:
        """Runs one width, up to the overlap.

        Arguments
        ---------
        x : Tensor
            ``[N, steps, C]``.
        level : int
            Index of the width.

        Returns
        -------
        Tensor
            ``[N, steps * stride + kernel - stride, out_channels]``; the end
            is to be added to what follows.
        """
        width = self.widths[level]
        inner = gated_linear(
            x, self.first[:, :width], self.first_bias[:, :width]
        )
        return conv_transpose_steps(
            inner, self.second[:width], self.second_bias, self.stride
        )

    @takes_empty_chunks
    def forward_streaming(
        self,
        x: Tensor,
        context: SlimmableContext,
        level: Tensor | None = None,
        skip: Tensor | None = None,
    ) -> Tensor:
        """Any number of frames, each at its own width.

        Arguments
        ---------
        x : Tensor
            ``[B, T, steps, C]``.
        context : SlimmableContext
            Updated in place.
        level : Tensor, optional
            Index of the width of each frame ``[B, T]``; the widest by
            default.
        skip : Tensor, optional
            Added to the input.

        Returns
        -------
        Tensor
            ``[B, T, steps * stride, out_channels]``.
        """
        if self.compiled(x, x.size(2), context):
            skips = () if skip is None else (skip,)
            return self.chain([self], x, [context], level, skips)[0]
        if skip is not None:
            x = x + skip
        only = only_level(level, self.widths)
        if only is None:
            y = bucketed(self.branch, x, level, self.out_channels)
        else:
            y = self.branch(x.flatten(1, 2), only).unsqueeze(1)
        y = self._overlap_add(y, context)
        return y.reshape(*x.shape[:2], -1, self.out_channels)

    def macs(self, steps: int) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        steps : int
            Input steps per frame.

        Returns
        -------
        MacCount
            One gate per width.
        """
        return self._macs(
            steps, 2 * self.in_channels + self.kernel_size * self.out_channels
        )
