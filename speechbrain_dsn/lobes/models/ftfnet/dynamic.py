"""MGT-DSN: FTF-Net with one gate per frame (arXiv 2510.11395).

What the source leaves open is a choice of ours: the policy reads the output
of the second convolution; the third convolution and the first transposed
one are dynamic; a closed frame runs half of each dynamic layer's channels,
groups and heads. That gives 142 M MAC/s closed and 300 M MAC/s open.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechbrain_dsn.cost import CostReport, Decision
from speechbrain_dsn.gating import (
    FramePolicy,
    sample_gate,
    top_share_gate,
)
from speechbrain_dsn.lobes.models.ftfnet.static import FTFNet, FTFNetContext


class DynamicFTFNet(FTFNet):
    """FTF-Net with a gate per frame: MGT-DSN (arXiv 2510.11395).

    The parameters are those of :class:`FTFNet`, plus the policy's.

    Arguments
    ---------
    static_groups : int
        Leading groups and heads that every frame runs.
    policy_hidden : int
        Width of the policy.
    policy_memory : bool
        Whether the policy has a GRU.
    temperature : float
        Gumbel temperature (the paper's summary gives 0.5, fixed).
    straight_through : bool
        Hard gates while training, instead of soft ones.
    **ftfnet
        Arguments of :class:`FTFNet`.

    Example
    -------
    >>> net = DynamicFTFNet().eval()
    >>> mask, decision = net(torch.rand(2, 10, 257))
    >>> mask.shape, decision.values.shape
    (torch.Size([2, 10, 257]), torch.Size([2, 10, 1]))
    >>> report = net.report()
    >>> [round(report.macs_per_second(g) / 1e6, 1) for g in (0, 0.5, 1)]
    [142.6, 221.4, 300.2]
    """

    def __init__(
        self,
        static_groups: int = 2,
        policy_hidden: int = 32,
        policy_memory: bool = True,
        temperature: float = 0.5,
        straight_through: bool = True,
        **ftfnet,
    ) -> None:
        super().__init__(static_groups=static_groups, **ftfnet)
        self.temperature = temperature
        self.straight_through = straight_through
        channels = self.conv2.out_channels
        self.policy = FramePolicy(channels, policy_hidden, policy_memory)

    def forward(
        self,
        magnitude: Tensor,
        lengths: Tensor | None = None,
        gate: Tensor | None = None,
        bias: float = 0.0,
        noise: float = 1.0,
        share: Tensor | None = None,
    ) -> tuple[Tensor, Decision]:
        """Decides, computes everything and masks, for training.

        Arguments
        ---------
        magnitude : Tensor
            Compressed magnitude ``[B, T, bins]``.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        gate : Tensor, optional
            Gates ``[B, T]`` in place of the policy's.
        bias : float
            Added to the logits: the run-time compute knob.
        noise : float
            Scale of the noise on the logits while training.
        share : Tensor, optional
            While training, opens this share of each item's frames ``[B]``,
            by rank of their logits, instead of sampling.

        Returns
        -------
        tuple
            Mask ``[B, T, bins]`` and :class:`Decision`.
        """
        e1, e2 = self.stem(magnitude)
        logits = self.policy(e2)
        if gate is None and share is not None and self.training:
            gate = top_share_gate(
                logits, share, lengths, self.temperature, noise
            )
        elif gate is None:
            gate = sample_gate(
                logits,
                self.training,
                self.temperature,
                noise,
                self.straight_through,
                bias,
            )
        decision = Decision(
            gate.unsqueeze(-1), self.frame_rate, lengths, logits.unsqueeze(-1)
        )
        return self.body(e1, e2, gate), decision

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> FTFNetContext:
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
        FTFNetContext
            Silence.
        """
        context = super().make_streaming_context(batch_size, device, dtype)
        context.policy = self.policy.make_streaming_context(
            batch_size, device, dtype
        )
        return context

    def forward_streaming(
        self,
        magnitude: Tensor,
        context: FTFNetContext,
        gate: Tensor | None = None,
        bias: float = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides on any number of frames, and skips what is closed.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        context : FTFNetContext
            Updated in place.
        gate : Tensor, optional
            Hard gates ``[B, T]`` in place of the policy's.
        bias : float
            Added to the logits.

        Returns
        -------
        tuple
            Mask ``[B, T, bins]`` and :class:`Decision`.
        """
        e1, e2 = self.stem_streaming(magnitude, context)
        logits = self.policy.forward_streaming(e2, context.policy)
        if gate is None:
            gate = sample_gate(logits, training=False, bias=bias)
        mask = self.body_streaming(e1, e2, context, gate > 0.5)
        decision = Decision(
            gate.unsqueeze(-1), self.frame_rate, None, logits.unsqueeze(-1)
        )
        return mask, decision

    def report(self) -> CostReport:
        """Cost of one frame, layer by layer, the policy included.

        Returns
        -------
        CostReport
            In the order of the signal path.
        """
        layers = dict(super().report().layers)
        layers["policy"] = self.policy.macs()
        return CostReport(layers, self.frame_rate)
