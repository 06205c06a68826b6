"""Dynamic layers: one set of weights, run masked, skipping or sliced.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.nnet.conv import DynamicConv2d
from speechbrain_dsn.nnet.conv_transpose import DynamicConvTranspose2d
from speechbrain_dsn.nnet.dgru import DGRU
from speechbrain_dsn.nnet.frequency_attention import FrequencyAttention
from speechbrain_dsn.nnet.frequency_gru import FrequencyGRU
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.normalization import DynamicLayerNorm
from speechbrain_dsn.nnet.quantized import QuantizedGRU
from speechbrain_dsn.nnet.time_attention import TimeAttention
from speechbrain_dsn.nnet.time_gru import TimeGRU
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
