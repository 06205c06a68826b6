"""nsNet2 with exits and a router that chooses among them.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

from speechbrain_dsn.gating.spectrum import SpectrumRouter
from speechbrain_dsn.lobes.models.nsnet2.static import NsNet2
from speechbrain_dsn.lobes.routed import Routed


class DynamicNsNet2(Routed, NsNet2):
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
    >>> import torch
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
        router = SpectrumRouter(len(self.exits), self.bins, router_hidden)
        self.add_router(router, temperature, straight_through)
