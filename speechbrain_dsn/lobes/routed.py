"""A router in front of a net whose frames have a choice.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport, Decision
from speechbrain_dsn.gating import sample_choice


class Routed:
    """Mixed in before a static net, it lets a policy choose for each frame.

    The net behind it takes a choice as an argument: ``forward(x, gate)``,
    ``forward_skipping(x, level)`` and ``forward_streaming(x, context,
    level)``. Of the same calls this makes ``(output, Decision)``. Parameters
    are those of the static net, plus the policy's.
    """

    policy: nn.Module
    frame_rate: float

    def add_router(
        self, policy: nn.Module, temperature: float, straight_through: bool
    ) -> None:
        """Called once, when the static net is built.

        Arguments
        ---------
        policy : torch.nn.Module
            From the net's input to a logit per choice; streams.
        temperature : float
            Gumbel temperature.
        straight_through : bool
            One-hot choices while training, instead of soft ones.
        """
        # Activations of the choices: shares of the dearest one's MACs, over
        # all layers, since a small one may not have so many widths.
        self.levels = super().report().cost.levels
        self.policy = policy
        self.temperature = temperature
        self.straight_through = straight_through

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        super().reset_parameters()
        self.policy.reset_parameters()

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        gate: Tensor | None = None,
        bias: float | Tensor = 0.0,
        noise: float = 1.0,
    ) -> tuple[Tensor, Decision]:
        """Decides, computes everything and masks, for training.

        Arguments
        ---------
        x : Tensor
            The net's input ``[B, T, C]``.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        gate : Tensor, optional
            A choice ``[B, T, J]`` in place of the router's.
        bias : float or Tensor
            The run-time compute knob, see
            :func:`~speechbrain_dsn.gating.sample_choice`.
        noise : float
            Scale of the noise on the logits while training.

        Returns
        -------
        tuple
            The net's output ``[B, T, C]`` and :class:`Decision`.
        """
        logits = self.policy(x)
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
        return super().forward(x, gate), decision

    def every_level(self, x: Tensor) -> tuple[Tensor, Decision]:
        """All items with the first choice, then with the next one, in a batch
        of ``J B``, as the training of all choices and of the router asks for.

        Arguments
        ---------
        x : Tensor
            The net's input ``[B, T, C]``.

        Returns
        -------
        tuple
            The net's output ``[J B, T, C]`` and :class:`Decision`.
        """
        outputs = super().every_level(x)
        logits = self.policy(x).repeat(len(outputs), 1, 1)
        choices = torch.eye(len(outputs)).to(x).repeat_interleave(len(x), 0)
        gate = choices.unsqueeze(1).expand_as(logits)
        decision = Decision(gate, self.frame_rate, None, logits)
        return outputs.flatten(0, 1), decision

    def forward_skipping(
        self,
        x: Tensor,
        level: Tensor | None = None,
        lengths: Tensor | None = None,
        bias: float | Tensor = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides, and runs of each frame what it chose.

        Arguments
        ---------
        x : Tensor
            The net's input ``[B, T, C]``.
        level : Tensor, optional
            Index of the choice of each frame ``[B, T]`` in place of the
            router's.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        bias : float or Tensor
            The run-time compute knob.

        Returns
        -------
        tuple
            The net's output ``[B, T, C]`` and :class:`Decision`.
        """
        logits = self.policy(x)
        if level is None:
            gate = sample_choice(logits, self.levels, False, bias=bias)
            level = gate.argmax(-1)
        else:
            gate = F.one_hot(level, len(self.levels)).to(logits.dtype)
        decision = Decision(gate, self.frame_rate, lengths, logits)
        return super().forward_skipping(x, level), decision

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
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
        object
            The static net's, with that of the router as ``policy``.
        """
        like = (batch_size, device, dtype)
        context = super().make_streaming_context(*like)
        context.policy = self.policy.make_streaming_context(*like)
        return context

    def forward_streaming(
        self,
        x: Tensor,
        context: Any,
        gate: Tensor | None = None,
        bias: float | Tensor = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides on any number of frames, and runs of each what it chose.

        Arguments
        ---------
        x : Tensor
            The net's input ``[B, T, C]``.
        context : object
            Of `make_streaming_context`, updated in place.
        gate : Tensor, optional
            One-hot choice ``[B, T, J]`` in place of the router's.
        bias : float or Tensor
            The run-time compute knob, one number or ``[B, T]``.

        Returns
        -------
        tuple
            The net's output ``[B, T, C]`` and :class:`Decision`.
        """
        logits = self.policy.forward_streaming(x, context.policy)
        if gate is None:
            gate = sample_choice(logits, self.levels, False, bias=bias)
        y = super().forward_streaming(x, context, gate.argmax(-1))
        return y, Decision(gate, self.frame_rate, None, logits)

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
