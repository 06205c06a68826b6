"""The recurrent drop-in for SpeechBrain's dual-path recipes.

``Dual_Path_Model`` knows recurrent blocks by their class, so this one is
derived from SpeechBrain's.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

from speechbrain_dsn.lobes.models.dual_path.blocks import (
    UTILIZATIONS,
    SelfDeciding,
)
from speechbrain_dsn.nnet.slimmable_rnn import SlimmableRNN


class SlimmableRNNBlock(SelfDeciding, SlimmableRNN):
    """A drop-in for SpeechBrain's ``SBRNNBlock`` of any width.

    Same argument names, ``[B', L, N] -> [B', L, directions * units]``.

    Arguments
    ---------
    input_size : int
        Channels ``N``.
    hidden_channels : int
        Units per direction at the widest.
    num_layers : int
        Layers.
    rnn_type : str
        ``LSTM`` or ``GRU``.
    dropout : float
        Dropout rate between layers.
    bidirectional : bool
        Whether there are two directions.
    utilizations : sequence of float
        Widths as shares of the units, ascending in (0, 1].
    decide, width, temperature, noise, straight_through
        As for :class:`SlimmableTransformerBlock`.

    Example
    -------
    >>> import torch
    >>> block = SlimmableRNNBlock(64, 100, 1, bidirectional=True).eval()
    >>> block(torch.randn(10, 100, 64)).shape
    torch.Size([10, 100, 200])
    """

    def __init__(
        self,
        input_size: int,
        hidden_channels: int,
        num_layers: int,
        rnn_type: str = "LSTM",
        dropout: float = 0,
        bidirectional: bool = True,
        utilizations: Sequence[float] = UTILIZATIONS,
        decide: str = "gate",
        width: float | None = None,
        temperature: float = 1.0,
        noise: float = 1.0,
        straight_through: bool = True,
    ) -> None:
        super().__init__(
            input_size,
            hidden_channels,
            num_layers,
            rnn_type,
            dropout,
            bidirectional,
            utilizations,
            decide=decide,
            width=width,
            temperature=temperature,
            noise=noise,
            straight_through=straight_through,
        )
