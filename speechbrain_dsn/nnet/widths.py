"""What encoder and decoder blocks of any width share: sizes, costs, slices.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechbrain_dsn import native
from speechbrain_dsn.cost import MacCount


@dataclass
class SlimmableContext:
    """What a block keeps from one chunk to the next.

    Arguments
    ---------
    past : Tensor
        Of an encoder the last ``kernel - stride`` input steps, of a decoder
        what it owes to the next ``kernel - stride`` output steps; zeros at
        the start of a stream. ``[B, kernel - stride, C]``.
    """

    past: Tensor
    # What `SlimmableBlock.packed` keeps: no field, since it is no state.
    packed = None


class SlimmableBlock(nn.Module):
    """What encoder and decoder share: sizes, the three ways to run, cost."""

    def __init__(
        self,
        out_channels: int,
        in_channels: int,
        inner_channels: int,
        kernel_size: int,
        stride: int,
        utilizations: Sequence[float],
    ) -> None:
        super().__init__()
        if kernel_size not in (stride, 2 * stride):
            raise ValueError(
                f"kernel {kernel_size}: expected one or two strides of {stride}"
            )
        self.utilizations = check_utilizations(utilizations)
        self.out_channels, self.in_channels = out_channels, in_channels
        self.inner_channels = inner_channels
        self.kernel_size, self.stride = kernel_size, stride
        self.widths = tuple(
            math.ceil(inner_channels * u) for u in self.utilizations
        )

    @property
    def _halo(self) -> int:
        """Steps that a frame shares with the one before it."""
        return self.kernel_size - self.stride

    def _shared_channels(self) -> int:
        """Channels of these steps."""
        raise NotImplementedError

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> SlimmableContext:
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
        SlimmableContext
            Silence.
        """
        shape = (batch_size, self._halo, self._shared_channels())
        return SlimmableContext(torch.zeros(shape, device=device, dtype=dtype))

    def _fresh(self, x: Tensor) -> SlimmableContext:
        return self.make_streaming_context(len(x), x.device, x.dtype)

    def _products(self) -> tuple[int, int]:
        """Inputs times outputs of both layers, if they have one channel
        between them."""
        raise NotImplementedError

    def steps_after(self, steps: int) -> int:
        """Output steps of a frame.

        Arguments
        ---------
        steps : int
            Input steps.

        Returns
        -------
        int
            More or fewer by the stride.
        """
        raise NotImplementedError

    def compiled(
        self, x: Tensor, steps: int, context: SlimmableContext
    ) -> bool:
        """Whether a kernel would run it.

        Arguments
        ---------
        x : Tensor
            Input of this block, or of one before it ``[B, T, ...]``.
        steps : int
            Input steps of a frame.
        context : SlimmableContext
            Of this block.

        Returns
        -------
        bool
            Where rows are so many that it pays to pack the weights, and as
            long as they are packed.
        """
        rows = len(x) * x.size(1) * min(steps, self.steps_after(steps))
        if rows and context.packed is not None:
            return native.runs(x)
        products = (self.widths[-1] * each for each in self._products())
        return native.fits(x, rows, *products, largest=native.LARGEST_OF_BLOCK)

    def _pack(self, width: int) -> tuple[Tensor, ...]:
        """Weights and biases of both layers as the kernels read them."""
        raise NotImplementedError

    def packed(self, context: SlimmableContext, width: int) -> tuple:
        """The same, made once per stream, or whenever the weights are others.

        Arguments
        ---------
        context : SlimmableContext
            Keeps them.
        width : int
            Inner channels that are needed.

        Returns
        -------
        tuple of Tensor
            As wide, or wider.
        """
        made_of = tuple(
            (each.data_ptr(), 0 if each.is_inference() else each._version)
            for each in self._parameters.values()
        )
        if (
            context.packed is None
            or context.packed[0] < width
            or context.packed[1] != made_of
        ):
            context.packed = width, made_of, self._pack(width)
        return context.packed[2]

    @staticmethod
    def chain(
        blocks: Sequence[SlimmableBlock],
        x: Tensor,
        contexts: Sequence[SlimmableContext],
        level: Tensor | None,
        skips: Sequence[Tensor] = (),
    ) -> list[Tensor]:
        """Runs blocks one behind the other in one kernel.

        Arguments
        ---------
        blocks : sequence of SlimmableBlock
            For each of them `compiled` holds.
        x : Tensor
            ``[B, T, steps, C]``.
        contexts : sequence of SlimmableContext
            Updated in place.
        level : Tensor or None
            As for ``forward_streaming``.
        skips : sequence of Tensor
            Added to the input of each decoder; or none at all.

        Returns
        -------
        list of Tensor
            The output of each encoder, or of the last decoder.
        """
        raise NotImplementedError

    def forward_skipping(self, x: Tensor, level: Tensor) -> Tensor:
        """Runs each frame at its own width; differentiable in all but it.

        Arguments
        ---------
        x : Tensor
            ``[B, T, steps, C]``.
        level : Tensor
            Index of the width of each frame ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T, steps', C']``, equal to ``forward`` for this choice.
        """
        return self.forward_streaming(x, self._fresh(x), level)

    def slice_to(self, level: int) -> SlimmableBlock:
        """The same block with one width only, with its own copy.

        Arguments
        ---------
        level : int
            Index of the width.

        Returns
        -------
        torch.nn.Module
            Needs no gate.
        """
        dense = type(self)(
            self.out_channels,
            self.in_channels,
            self.kernel_size,
            self.stride,
            (self.utilizations[level],),
            **self._options(),
        ).to(self.first_bias)
        return copy_leading(self, dense)

    def _options(self) -> dict[str, bool]:
        return {}

    def _macs(self, inner_steps: int, per_channel: int) -> MacCount:
        """Cost of ``inner_steps`` positions of each inner channel."""
        gated = tuple(inner_steps * per_channel * w for w in self.widths)
        if len(gated) == 1:
            return MacCount(gated[0])
        return MacCount(0, gated, one_hot=True)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return (
            f"{self.in_channels} -> {self.widths} -> {self.out_channels}, "
            f"kernel {self.kernel_size}, stride {self.stride}"
        )


def only_level(level: Tensor | None, widths: Sequence[int]) -> int | None:
    """The level of all frames, where they have but one.

    Arguments
    ---------
    level : Tensor or None
        Index of the width of each frame, nothing for the widest.
    widths : sequence of int
        To choose from.

    Returns
    -------
    int or None
        Nothing where levels differ.
    """
    if level is None or not level.numel():
        return len(widths) - 1
    least, most = torch.stack(level.aminmax()).tolist()
    return most if least == most else None


def copy_leading(whole: nn.Module, dense: nn.Module) -> nn.Module:
    """Fills a layer with the leading part of each weight of another.

    Of weights that hold those of queries, keys and values in one, as torch's
    ``in_proj_weight``, it is the leading part of each of the three.

    Arguments
    ---------
    whole : torch.nn.Module
        The wide one.
    dense : torch.nn.Module
        The narrow one, with parameters of the same names.

    Returns
    -------
    torch.nn.Module
        The narrow one.
    """
    with torch.no_grad():
        for name, parameter in dense.named_parameters():
            source = whole.get_parameter(name)
            if "in_proj" in name:
                source = source.unflatten(0, (3, -1))
                parameter = parameter.unflatten(0, (3, -1))
            for axis, size in enumerate(parameter.shape):
                source = source.narrow(axis, 0, size)
            parameter.copy_(source)
    return dense.train(whole.training)


def check_utilizations(utilizations: Sequence[float]) -> tuple[float, ...]:
    """Refuses what is no ladder of widths.

    Arguments
    ---------
    utilizations : sequence of float
        Shares of the inner channels.

    Returns
    -------
    tuple of float
        The same.

    Raises
    ------
    ValueError
        Unless they ascend within (0, 1].

    Example
    -------
    >>> check_utilizations([0.25, 1])
    (0.25, 1.0)
    """
    ladder = tuple(map(float, utilizations))
    inside = all(0 < u <= 1 for u in ladder)
    if not ladder or not inside or list(ladder) != sorted(set(ladder)):
        raise ValueError(
            f"utilizations ascend within (0, 1], got {list(utilizations)}"
        )
    return ladder


def draw_weights(weight: Tensor, fan_in: int) -> None:
    """Fills a weight as DEMUCS does: PyTorch's deviation ``(3 fan_in)^-1/2``,
    moved halfway (on a logarithmic scale) to 0.1.

    That makes the deep layers louder than the outer ones. Nothing normalizes
    a signal here, and weights that keep its level learn to hand it through
    and then little else: after 500 steps the L1 loss of a small net was 0.47
    with them, 0.43 with these. Défossez et al. (arXiv 1911.13254), section on
    weight rescaling.

    Arguments
    ---------
    weight : Tensor
        Filled in place.
    fan_in : int
        Inputs that an output sums over.
    """
    nn.init.normal_(weight, std=(0.1 * (3 * fan_in) ** -0.5) ** 0.5)
