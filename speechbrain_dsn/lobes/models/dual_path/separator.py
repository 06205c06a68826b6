"""Dual-path separation (arXiv 2010.13154) of any width.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.lobes.models.dual_path.path import run_dual_path
from speechbrain_dsn.nnet.transformer import SlimmableTransformer


class DualPathSeparator(nn.Module):
    """Mixtures in, one estimate per speaker out."""

    def __init__(
        self,
        num_spks: int = 2,
        channels: int = 64,
        kernel_size: int = 16,
        chunk_size: int = 100,
        num_layers: int = 2,
        intra_layers: int = 2,
        inter_layers: int = 1,
        nhead: int = 8,
        intra_ffn: int = 256,
        inter_ffn: int = 128,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
        sample_rate: int = 8000,
    ) -> None:
        super().__init__()
        self.num_spks, self.sample_rate = num_spks, sample_rate
        self.kernel_size, self.stride = kernel_size, kernel_size // 2
        self.hop = chunk_size // 2 * self.stride
        self.frame_rate = sample_rate / self.hop
        self.encoder = Encoder(kernel_size, channels)
        options = {
            "dropout": 0.0,
            "use_positional_encoding": True,
            "norm_before": True,
        }
        intra = SlimmableTransformer(
            intra_layers,
            channels,
            nhead,
            intra_ffn,
            utilizations=utilizations,
            **options,
        )
        inter = SlimmableTransformer(
            inter_layers,
            channels,
            nhead,
            inter_ffn,
            utilizations=(1.0,),
            **options,
        )
        self.masknet = Dual_Path_Model(
            channels,
            channels,
            intra,
            inter,
            num_layers,
            K=chunk_size,
            num_spks=num_spks,
            linear_layer_after_inter_intra=False,
        )
        self.decoder = Decoder(
            channels, 1, kernel_size, stride=self.stride, bias=False
        )

    def forward(
        self, mixture: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Decision | None]:
        """Separates mixtures of any length.

        Arguments
        ---------
        mixture : Tensor
            ``[B, T]``.
        lengths : Tensor, optional
            Valid samples per item ``[B]``.

        Returns
        -------
        tuple
            Estimates ``[B, T, speakers]``, and the :class:`Decision`.
        """
        samples = mixture.size(1)
        steps = max(1, -(-(samples - self.kernel_size) // self.stride) + 1)
        missing = (steps - 1) * self.stride + self.kernel_size - samples
        x = self.encoder(F.pad(mixture, (0, missing)))
        masks = run_dual_path(
            self.masknet,
            x,
            lambda layer, x: self.masknet.dual_mdl[layer].intra_mdl(x),
        )
        wavs = self.decoder((x * masks).flatten(0, 1))
        wavs = wavs.reshape(self.num_spks, len(mixture), -1)
        return wavs.permute(1, 2, 0)[:, :samples], None
