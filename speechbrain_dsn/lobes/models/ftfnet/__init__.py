"""FTF-Net and its dynamically slimmable form, MGT-DSN.

`static` is the net (arXiv 2505.21057), `dynamic` the net with a policy that
opens or closes half of it frame by frame (arXiv 2510.11395), and `masks`
holds both as SpeechBrain's spectral-mask recipes call them.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.lobes.models.ftfnet.dynamic import DynamicFTFNet
from speechbrain_dsn.lobes.models.ftfnet.masks import (
    DynamicFTFNetMask,
    FTFNetMask,
)
from speechbrain_dsn.lobes.models.ftfnet.static import (
    ChannelScale,
    FTFNet,
    FTFNetContext,
)

__all__ = [
    "ChannelScale",
    "DynamicFTFNet",
    "DynamicFTFNetMask",
    "FTFNet",
    "FTFNetContext",
    "FTFNetMask",
]
