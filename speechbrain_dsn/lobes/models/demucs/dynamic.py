"""Slimmable DEMUCS with its router (arXiv 2507.04879).

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from speechbrain_dsn.gating import WaveformRouter
from speechbrain_dsn.lobes.models.demucs.static import SlimmableDemucs
from speechbrain_dsn.lobes.routed import Routed


class RoutedDemucs(Routed, SlimmableDemucs):
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
    >>> import torch
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
        router = WaveformRouter(
            len(self.utilizations),
            self.hop,
            router_channels,
            router_kernel,
            router_stride,
        )
        self.add_router(router, temperature, straight_through)
