"""Slimmable DEMUCS with its router (arXiv 2507.04879).

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport, Decision
from speechbrain_dsn.gating import WaveformRouter, sample_choice
from speechbrain_dsn.lobes.models.demucs.static import (
    DemucsContext,
    SlimmableDemucs,
)


class RoutedDemucs(SlimmableDemucs):
    """:class:`SlimmableDemucs` whose frames choose their widths.

    The parameters are those of the static net, plus the router's. A router
    sees the frame that it decides about, and all before it.

    Arguments
    ---------
    router_channels : int
        Filters and units of the router.
    router_kernel : int
        Samples that a filter of the router reads.
    router_stride : int
        Samples between its positions; divides the hop.
    temperature : float
        Gumbel temperature.
    straight_through : bool
        One-hot choices while training, instead of soft ones.
    **demucs
        Arguments of :class:`SlimmableDemucs`, with at least two widths.

    Example
    -------
    >>> net = RoutedDemucs(hidden=16).eval()
    >>> wav, decision = net(torch.randn(2, 10, 256))
    >>> wav.shape, decision.values.shape
    (torch.Size([2, 10, 256]), torch.Size([2, 10, 4]))
    >>> report = RoutedDemucs().report()
    >>> widths = (0.125, 0.25, 0.5, 1)
    >>> [round(report.macs_per_second(u) / 16000) for u in widths]
    [8946, 15666, 29106, 55986]
    """

    def __init__(
        self,
        router_channels: int = 64,
        router_kernel: int = 64,
        router_stride: int = 32,
        temperature: float = 0.5,
        straight_through: bool = True,
        **demucs,
    ) -> None:
        super().__init__(**demucs)
        if len(self.utilizations) < 2:
            raise ValueError(
                f"a router needs at least two widths, got {self.utilizations}"
            )
        # Activations of the widths: shares of the widest one's MACs, over
        # all layers, since a small one may not have so many widths.
        self.levels = super().report().cost.levels
        self.temperature = temperature
        self.straight_through = straight_through
        self.policy = WaveformRouter(
            len(self.utilizations),
            self.hop,
            router_channels,
            router_kernel,
            router_stride,
        )

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        super().reset_parameters()
        self.policy.reset_parameters()

    def forward(
        self,
        frames: Tensor,
        lengths: Tensor | None = None,
        gate: Tensor | None = None,
        bias: float = 0.0,
        noise: float = 1.0,
    ) -> tuple[Tensor, Decision]:
        """Decides, computes the widest and masks, for training.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        gate : Tensor, optional
            A choice among widths ``[B, T, J]`` in place of the router's.
        bias : float
            The run-time compute knob, see
            :func:`~speechbrain_dsn.gating.sample_choice`.
        noise : float
            Scale of the noise on the logits while training.

        Returns
        -------
        tuple
            ``[B, T, hop]`` and :class:`Decision`.
        """
        logits = self.policy(frames)
        if gate is None:
            gate = sample_choice(
                logits,
                self.levels,
                self.training,
                self.temperature,
                noise,
                self.straight_through,
                bias,
            )
        decision = Decision(gate, self.frame_rate, lengths, logits)
        return super().forward(frames, gate), decision

    def forward_skipping(
        self,
        frames: Tensor,
        level: Tensor | None = None,
        lengths: Tensor | None = None,
        bias: float | Tensor = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides, and runs each frame at its own width.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.
        level : Tensor, optional
            Index of the width of each frame ``[B, T]`` in place of the
            router's.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        bias : float or Tensor
            The run-time compute knob.

        Returns
        -------
        tuple
            ``[B, T, hop]`` and :class:`Decision`.
        """
        logits = self.policy(frames)
        if level is None:
            gate = sample_choice(logits, self.levels, False, bias=bias)
            level = gate.argmax(-1)
        else:
            gate = F.one_hot(level, len(self.levels)).to(logits.dtype)
        decision = Decision(gate, self.frame_rate, lengths, logits)
        return super().forward_skipping(frames, level), decision

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> DemucsContext:
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
        DemucsContext
            Silence.
        """
        context = super().make_streaming_context(batch_size, device, dtype)
        context.policy = self.policy.make_streaming_context(
            batch_size, device, dtype
        )
        return context

    def forward_streaming(
        self,
        frames: Tensor,
        context: DemucsContext,
        gate: Tensor | None = None,
        bias: float | Tensor = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides on any number of frames, and runs each at its width.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.
        context : DemucsContext
            Updated in place.
        gate : Tensor, optional
            One-hot choice among widths ``[B, T, J]`` in place of the
            router's.
        bias : float or Tensor
            The run-time compute knob, one number or ``[B, T]``.

        Returns
        -------
        tuple
            ``[B, T, hop]`` and :class:`Decision`.
        """
        logits = self.policy.forward_streaming(frames, context.policy)
        if gate is None:
            gate = sample_choice(logits, self.levels, False, bias=bias)
        frames = super().forward_streaming(frames, context, gate.argmax(-1))
        return frames, Decision(gate, self.frame_rate, None, logits)

    def report(self) -> CostReport:
        """Cost of one frame, layer by layer, the router included.

        Returns
        -------
        CostReport
            In the order of the signal path.
        """
        layers = {"router": self.policy.macs()}
        return CostReport(
            layers | dict(super().report().layers), self.frame_rate
        )
