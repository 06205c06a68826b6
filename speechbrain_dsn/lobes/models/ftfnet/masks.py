"""FTF-Net and MGT-DSN as drop-ins for SpeechBrain's spectral-mask recipes.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from speechbrain_dsn.lobes.models.ftfnet.dynamic import DynamicFTFNet
from speechbrain_dsn.lobes.models.ftfnet.static import FTFNet
from speechbrain_dsn.lobes.models.masks import MaskLobe


class FTFNetMask(MaskLobe):
    """:class:`FTFNet` for SpeechBrain's spectral-mask recipes.

    Arguments
    ---------
    **ftfnet
        Arguments of :class:`FTFNet`.

    Example
    -------
    >>> import torch
    >>> FTFNetMask(bins=129)(torch.rand(2, 10, 129)).shape
    torch.Size([2, 10, 129])
    """

    def __init__(self, **ftfnet) -> None:
        super().__init__(FTFNet(**ftfnet))


class DynamicFTFNetMask(MaskLobe):
    """:class:`DynamicFTFNet` for SpeechBrain's spectral-mask recipes.

    Arguments
    ---------
    share : float
        Share of open frames while training, in 0..1.
    noise : float
        Scale of the noise on the ranks while training.
    **ftfnet
        Arguments of :class:`DynamicFTFNet`.

    Example
    -------
    >>> import torch
    >>> model = DynamicFTFNetMask(bins=129).eval()
    >>> model(torch.rand(2, 10, 129), lengths=torch.ones(2)).shape
    torch.Size([2, 10, 129])
    """

    def __init__(
        self, share: float = 0.5, noise: float = 0.1, **ftfnet
    ) -> None:
        super().__init__(DynamicFTFNet(**ftfnet), share, noise)
