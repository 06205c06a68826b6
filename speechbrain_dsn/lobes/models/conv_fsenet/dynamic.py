"""DynCP: Conv-FSENet with a gate per channel and frame (arXiv 2412.17121).

Each block looks at its own input and says which output channels of its last
convolution run. What the source leaves open is a choice of ours: see
:class:`~speechbrain_dsn.gating.ChannelGate` and
:func:`~speechbrain_dsn.gating.surrogate_gate`.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport, Decision, MacCount
from speechbrain_dsn.gating import ChannelGate, surrogate_gate
from speechbrain_dsn.lobes.models.conv_fsenet.static import (
    ConvFSENet,
    FSENetContext,
)

Look = Callable[[int, Tensor], Tensor]  # number of the block, x -> logits
Run = Callable[[int, Tensor, Tensor], Tensor]  # number, x, gate -> x


class DynamicConvFSENet(ConvFSENet):
    """Conv-FSENet whose frames choose their channels: DynCP.

    The parameters are those of :class:`ConvFSENet`, plus the policy's. A
    decision has the gates of the first block, then those of the second, and
    so on: 1,152 at the defaults. With a quarter of them open a frame costs
    466,688 MACs, 29.6 % less than the static net, gates included.

    Arguments
    ---------
    policy_hidden : int
        Width of each gate.
    policy_window : int
        Frames of its moving average.
    slope : float
        Of the surrogate gradient.
    **conv_fsenet
        Arguments of :class:`ConvFSENet`. A ``group`` of 1 is the paper's;
        with one of 32, skipping takes less time than masking.

    Example
    -------
    >>> net = DynamicConvFSENet().eval()
    >>> mask, decision = net(torch.rand(2, 10, 257))
    >>> mask.shape, decision.values.shape
    (torch.Size([2, 10, 257]), torch.Size([2, 10, 1152]))
    >>> cost = net.report().cost
    >>> round(1 - cost.at_activation(0.25) / ConvFSENet().report().cost.open, 3)
    0.296
    """

    def __init__(
        self,
        policy_hidden: int = 11,
        policy_window: int = 9,
        slope: float = 1.0,
        **conv_fsenet,
    ) -> None:
        super().__init__(**conv_fsenet)
        self.slope = slope
        self.policy = nn.ModuleList(
            ChannelGate(
                block.project.gates,
                block.expand.weight.size(1),
                policy_hidden,
                policy_window,
                self.causal,
            )
            for block in self.blocks
        )

    @property
    def look_ahead(self) -> int:
        """Frames of the future that an output frame depends on."""
        if self.causal:
            return 0
        return sum(
            max(block.conv.reach, gate.window - 1) // 2
            for block, gate in zip(self.blocks, self.policy, strict=True)
        )

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        super().reset_parameters()
        for gate in self.policy:
            gate.reset_parameters()

    def forward(
        self,
        magnitude: Tensor,
        lengths: Tensor | None = None,
        gate: Tensor | None = None,
        bias: float | Tensor = 0.0,
        noise: float = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides, computes everything and masks, for training.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        gate : Tensor, optional
            Gates ``[B, T, K]`` in place of the policy's, or one for all
            channels of a frame ``[B, T]``.
        bias : float or Tensor
            Added to the logits, one number or ``[B, T]``: the run-time
            compute knob.
        noise : float
            Scale of the noise on the logits while training.

        Returns
        -------
        tuple
            Mask ``[B, T, bins]`` and :class:`Decision`.
        """
        return self._decided(
            magnitude,
            lambda k, x: self.policy[k](x),
            partial(
                surrogate_gate,
                training=self.training,
                slope=self.slope,
                noise=noise,
                bias=bias,
            ),
            lambda k, x, opened: self.blocks[k](x, opened),
            gate,
            lengths,
        )

    def forward_skipping(
        self,
        magnitude: Tensor,
        is_open: Tensor | None = None,
        lengths: Tensor | None = None,
        bias: float | Tensor = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides, and computes the channels that are open.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        is_open : Tensor, optional
            Booleans ``[B, T, K]``, or ``[B, T]``, in place of the policy's.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        bias : float or Tensor
            The run-time compute knob.

        Returns
        -------
        tuple
            Mask ``[B, T, bins]`` and :class:`Decision`.
        """
        return self._decided(
            magnitude,
            lambda k, x: self.policy[k](x),
            partial(_is_open, bias=bias),
            lambda k, x, opened: self.blocks[k].forward_skipping(x, opened),
            is_open,
            lengths,
        )

    def _decided(
        self,
        magnitude: Tensor,
        look: Look,
        decide: Callable[[Tensor], Tensor],
        run: Run,
        gate: Tensor | None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Decision]:
        """Block by block: look at the input, decide, run."""
        x = F.relu(self.front(magnitude))
        given = None if gate is None else self._per_block(gate)
        gates, logits = [], []
        for k in range(len(self.blocks)):
            logits.append(look(k, x))
            gates.append(decide(logits[k]) if given is None else given[k])
            x = run(k, x, gates[k])
        decision = Decision(
            torch.cat(gates, -1).float(),
            self.frame_rate,
            lengths,
            torch.cat(logits, -1),
        )
        return torch.sigmoid(self.back(x)), decision

    def _per_block(self, gate: Tensor) -> list[Tensor]:
        """Gates ``[B, T, K]``, or ``[B, T]`` for all alike, by block."""
        sizes = [block.project.gates for block in self.blocks]
        if gate.dim() == 2:
            gate = gate.unsqueeze(-1).expand(*gate.shape, sum(sizes))
        return list(gate.split(sizes, -1))

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> FSENetContext:
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
        FSENetContext
            Silence.
        """
        context = super().make_streaming_context(batch_size, device, dtype)
        context.policy = tuple(
            gate.make_streaming_context(batch_size, device, dtype)
            for gate in self.policy
        )
        return context

    def forward_streaming(
        self,
        magnitude: Tensor,
        context: FSENetContext,
        gate: Tensor | None = None,
        bias: float | Tensor = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides on any number of frames, and computes what is open.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        context : FSENetContext
            Updated in place.
        gate : Tensor, optional
            Hard gates ``[B, T, K]``, or ``[B, T]``, in place of the
            policy's.
        bias : float or Tensor
            The run-time compute knob, one number or ``[B, T]``.

        Returns
        -------
        tuple
            Mask ``[B, T, bins]`` and :class:`Decision`.
        """

        if gate is not None:
            gate = gate > 0.5
        return self._decided(
            magnitude,
            lambda k, x: self.policy[k].forward_streaming(x, context.policy[k]),
            partial(_is_open, bias=bias),
            lambda k, x, opened: self.blocks[k].forward_streaming(
                x, context.blocks[k], opened
            ),
            gate,
        )

    def report(self) -> CostReport:
        """Cost of one frame, layer by layer, the policy included.

        Returns
        -------
        CostReport
            In the order of the signal path.
        """
        layers, gates = dict(super().report().layers), 0
        for k, block in enumerate(self.blocks):
            layers[f"block{k}"] = block.macs().behind(gates)
            gates += block.project.gates
        layers["policy"] = MacCount(
            sum(gate.macs().fixed for gate in self.policy)
        )
        return CostReport(layers, self.frame_rate)


def _is_open(logits: Tensor, bias: float | Tensor) -> Tensor:
    """What :func:`surrogate_gate` opens, as booleans and in one pass."""
    if isinstance(bias, Tensor):
        bias = bias.unsqueeze(-1)
    return logits.float() > -bias
