"""Dynamic layers: one set of weights, run masked, skipping or sliced.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.nnet.attention import FrequencyAttention, TimeAttention
from speechbrain_dsn.nnet.conv import DynamicConv2d, DynamicConvTranspose2d
from speechbrain_dsn.nnet.dgru import DGRU
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.normalization import DynamicLayerNorm
from speechbrain_dsn.nnet.quantized import QuantizedGRU
from speechbrain_dsn.nnet.rnn import FrequencyGRU, TimeGRU
from speechbrain_dsn.nnet.transformer import SlimmableTransformer

__all__ = [
    "DGRU",
    "DynamicConv2d",
    "DynamicConvTranspose2d",
    "DynamicLayerNorm",
    "DynamicLinear",
    "FrequencyAttention",
    "FrequencyGRU",
    "QuantizedGRU",
    "SlimmableTransformer",
    "TimeAttention",
    "TimeGRU",
]
