"""nsNet2 with exits and a router that chooses among them.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport, Decision
from speechbrain_dsn.gating import sample_choice
from speechbrain_dsn.gating.spectrum import SpectrumRouter
from speechbrain_dsn.lobes.models.nsnet2.static import NsNet2, NsNet2Context


class DynamicNsNet2(NsNet2):
    """:class:`NsNet2` whose frames choose their exits.

    The paper's exits (Dynamic nsNet2, arXiv 2308.16678) are the caller's to
    choose; the router is ours. It sees the frame that it decides about, and
    all before it, and decides before any stage runs. A ``gate`` takes its
    place: :meth:`at_exit` makes one that ends all frames alike.

    Arguments
    ---------
    exits : sequence of int
        At least two.
    router_hidden : int
        Units of the router.
    temperature : float
        Gumbel temperature.
    straight_through : bool
        One-hot choices while training, instead of soft ones.
    **nsnet2
        Further arguments of :class:`NsNet2`.

    Example
    -------
    >>> net = DynamicNsNet2().eval()
    >>> mask, decision = net(torch.rand(2, 10, 257))
    >>> mask.shape, decision.values.shape
    (torch.Size([2, 10, 257]), torch.Size([2, 10, 4]))
    >>> report = net.report()
    >>> levels = report.cost.levels
    >>> [round(report.macs_per_second(x) / 1e6, 1) for x in levels]
    [13.8, 73.8, 133.8, 174.5]
    """

    def __init__(
        self,
        exits: Sequence[int] = (1, 2, 3, 5),
        router_hidden: int = 32,
        temperature: float = 0.5,
        straight_through: bool = True,
        **nsnet2,
    ) -> None:
        super().__init__(exits=exits, **nsnet2)
        if len(self.exits) < 2:
            raise ValueError(
                f"a router needs at least two exits, got {self.exits}"
            )
        # Activations of the exits: shares of the dearest one's MACs.
        self.levels = super().report().cost.levels
        self.temperature = temperature
        self.straight_through = straight_through
        self.policy = SpectrumRouter(len(self.exits), self.bins, router_hidden)

    def forward(
        self,
        magnitude: Tensor,
        lengths: Tensor | None = None,
        gate: Tensor | None = None,
        bias: float | Tensor = 0.0,
        noise: float = 1.0,
    ) -> tuple[Tensor, Decision]:
        """Decides, computes everything and masks, for training.

        Arguments
        ---------
        magnitude : Tensor
            Compressed magnitude ``[B, T, bins]``.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        gate : Tensor, optional
            A choice among exits ``[B, T, J]`` in place of the router's.
        bias : float or Tensor
            The run-time compute knob, see
            :func:`~speechbrain_dsn.gating.sample_choice`.
        noise : float
            Scale of the noise on the logits while training.

        Returns
        -------
        tuple
            Mask ``[B, T, bins]`` and :class:`Decision`.
        """
        logits = self.policy(magnitude)
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
        return super().forward(magnitude, gate), decision

    def forward_skipping(
        self,
        magnitude: Tensor,
        level: Tensor | None = None,
        lengths: Tensor | None = None,
        bias: float | Tensor = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides, and runs each frame up to its exit.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        level : Tensor, optional
            Index of the exit of each frame ``[B, T]`` in place of the
            router's.
        lengths : Tensor, optional
            Valid frames per item ``[B]``.
        bias : float or Tensor
            The run-time compute knob.

        Returns
        -------
        tuple
            Mask ``[B, T, bins]`` and :class:`Decision`.
        """
        logits = self.policy(magnitude)
        if level is None:
            gate = sample_choice(logits, self.levels, False, bias=bias)
            level = gate.argmax(-1)
        else:
            gate = F.one_hot(level, len(self.levels)).to(logits.dtype)
        decision = Decision(gate, self.frame_rate, lengths, logits)
        return super().forward_skipping(magnitude, level), decision

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> NsNet2Context:
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
        NsNet2Context
            Zeros.
        """
        context = super().make_streaming_context(batch_size, device, dtype)
        context.policy = self.policy.make_streaming_context(
            batch_size, device, dtype
        )
        return context

    def forward_streaming(
        self,
        magnitude: Tensor,
        context: NsNet2Context,
        gate: Tensor | None = None,
        bias: float | Tensor = 0.0,
    ) -> tuple[Tensor, Decision]:
        """Decides on any number of frames, and runs each up to its exit.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        context : NsNet2Context
            Updated in place.
        gate : Tensor, optional
            One-hot choice among exits ``[B, T, J]`` in place of the router's.
        bias : float or Tensor
            The run-time compute knob, one number or ``[B, T]``.

        Returns
        -------
        tuple
            Mask ``[B, T, bins]`` and :class:`Decision`.
        """
        logits = self.policy.forward_streaming(magnitude, context.policy)
        if gate is None:
            gate = sample_choice(logits, self.levels, False, bias=bias)
        mask = super().forward_streaming(magnitude, context, gate.argmax(-1))
        return mask, Decision(gate, self.frame_rate, None, logits)

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
