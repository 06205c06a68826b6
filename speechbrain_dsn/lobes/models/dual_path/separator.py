"""A dual-path separator whose chunks choose their widths.

The system of the separation DSN (IEEE SPL 2024, doi
10.1109/LSP.2024.3445304; arXiv 2507.06179): blocks that look along a chunk
have several widths and a gate, those that look across chunks have one. Its
sources give no sizes; these are ours, on the plan of SepFormer (arXiv
2010.13154) as SpeechBrain builds it.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport, Decision, MacCount
from speechbrain_dsn.lobes.models.dual_path.blocks import (
    UTILIZATIONS,
    SlimmableTransformerBlock,
)
from speechbrain_dsn.lobes.models.dual_path.path import (
    count_chunks,
    path_costs,
    run_dual_path,
)
from speechbrain_dsn.nnet.transformer import SlimmableTransformer


class DualPathSeparator(nn.Module):
    """A mixture in, one estimate per speaker out.

    Encoder, SpeechBrain's ``Dual_Path_Model``, decoder: the three parts that
    its recipes and ``SepformerSeparation`` know, with the names that their
    weights have there. Mixtures are divided by their level, and the estimates
    multiplied by it again, so that loudness does not matter.

    While training all widths are computed and masked; in eval each chunk runs
    at its width, in every layer at another one.

    Arguments
    ---------
    num_spks : int
        Estimates per mixture.
    channels : int
        Filters of the encoder, and channels throughout.
    kernel_size : int
        Samples per filter, an even number; half of them are the stride.
    chunk_size : int
        Encoded steps per chunk, an even number; half of them are the hop.
    num_layers : int
        Dual-path blocks; each decides for itself.
    intra_layers : int
        Transformer layers along a chunk, per block.
    inter_layers : int
        Transformer layers across chunks, per block.
    nhead : int
        Heads of each attention along a chunk.
    inter_nhead : int
        Of each attention across chunks; on a CPU few heads cost much less
        than many with the same MACs.
    intra_ffn : int
        Hidden units of the feed-forward nets along a chunk.
    inter_ffn : int
        Of those across chunks.
    utilizations : sequence of float
        Widths of the layers along a chunk, as shares of heads and hidden
        units, ascending in (0, 1]. With one only it is a static net of that
        width.
    slim_attention : bool
        Whether narrow widths have fewer heads, too.
    gated : bool
        Whether chunks choose; else they run at the widest, or as told.
    temperature : float
        Gumbel temperature of the gates.
    straight_through : bool
        One-hot choices while training, instead of soft mixtures.
    dropout : float
        Dropout rate.
    sample_rate : int
        In Hz.

    Example
    -------
    >>> net = DualPathSeparator().eval()
    >>> estimates, decision = net(torch.randn(1, 8000))
    >>> estimates.shape, decision.values.shape, decision.frame_rate
    (torch.Size([1, 8000, 2]), torch.Size([1, 22, 8]), 20.0)
    >>> estimates, decision = net(torch.randn(1, 8000), level=0)
    >>> decision.usage()[0].tolist()
    [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        num_spks: int = 2,
        channels: int = 64,
        kernel_size: int = 16,
        chunk_size: int = 100,
        num_layers: int = 2,
        intra_layers: int = 2,
        inter_layers: int = 1,
        nhead: int = 4,
        inter_nhead: int = 2,
        intra_ffn: int = 256,
        inter_ffn: int = 128,
        utilizations: Sequence[float] = UTILIZATIONS,
        slim_attention: bool = True,
        gated: bool = True,
        temperature: float = 1.0,
        straight_through: bool = True,
        dropout: float = 0.0,
        sample_rate: int = 8000,
    ) -> None:
        super().__init__()
        # Takes a second, and streams do without it.
        from speechbrain.lobes.models.dual_path import (
            Decoder,
            Dual_Path_Model,
            Encoder,
        )

        for name, size in (("kernel", kernel_size), ("chunk", chunk_size)):
            if size < 2 or size % 2:
                raise ValueError(f"{name}_size {size}: expected an even number")
        self.kernel_size, self.stride = kernel_size, kernel_size // 2
        self.sample_rate, self.hop = sample_rate, self.stride * chunk_size // 2
        self.frame_rate = sample_rate / self.hop
        shared = {
            "dropout": dropout,
            "use_positional_encoding": True,
            "norm_before": True,
        }
        intra = SlimmableTransformerBlock(
            intra_layers,
            channels,
            nhead,
            intra_ffn,
            utilizations=utilizations,
            slim_attention=slim_attention,
            decide="gate" if gated else "fixed",
            temperature=temperature,
            straight_through=straight_through,
            **shared,
        )
        inter = SlimmableTransformer(
            inter_layers,
            channels,
            inter_nhead,
            inter_ffn,
            utilizations=(1.0,),
            **shared,
        )
        self.encoder = Encoder(kernel_size, channels)
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
        self._arguments = {
            "num_spks": num_spks,
            "channels": channels,
            "kernel_size": kernel_size,
            "chunk_size": chunk_size,
            "num_layers": num_layers,
            "intra_layers": intra_layers,
            "inter_layers": inter_layers,
            "nhead": nhead,
            "inter_nhead": inter_nhead,
            "intra_ffn": intra_ffn,
            "inter_ffn": inter_ffn,
            "slim_attention": slim_attention,
            "dropout": dropout,
            "sample_rate": sample_rate,
        }
        self.reset_parameters()

    @property
    def blocks(self) -> list[SlimmableTransformerBlock]:
        """Those that look along a chunk."""
        return [layer.intra_mdl for layer in self.masknet.dual_mdl]

    @property
    def num_spks(self) -> int:
        """Estimates per mixture."""
        return self.masknet.num_spks

    @property
    def utilizations(self) -> tuple[float, ...]:
        """Widths that a chunk may have."""
        return self.blocks[0].utilizations

    @property
    def level_arguments(self) -> list[dict[str, list[float]]]:
        """What tells a net that has one of the widths only from this one."""
        return [{"utilizations": [width]} for width in self.utilizations]

    @property
    def dynamic(self) -> bool:
        """Whether chunks choose."""
        return self.blocks[0].decides == "gate"

    @property
    def cost(self) -> MacCount:
        """MACs of one chunk as they are executed, see :meth:`report`."""
        cost = self.report().cost
        return cost if self.dynamic else MacCount(cost.open)

    def reset_parameters(self) -> None:
        """Draws all weights anew, of each layer its own."""
        for part in (self.encoder, self.masknet, self.decoder):
            for module in part.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()

    def steps(self, samples: int) -> int:
        """Encoded steps of a mixture, which is filled up with silence to
        whole ones, and to one at least.

        Arguments
        ---------
        samples : int
            Its length.

        Returns
        -------
        int
            ``L``.
        """
        return max(0, -(-(samples - self.kernel_size) // self.stride)) + 1

    def frames(self, samples: int) -> int:
        """Chunks of a mixture, those with silence round it included.

        Arguments
        ---------
        samples : int
            Its length.

        Returns
        -------
        int
            Decisions of each layer about it.
        """
        return count_chunks(self.steps(samples), self.masknet.K)

    def forward(
        self,
        mixture: Tensor,
        lengths: Tensor | None = None,
        gate: Tensor | None = None,
        bias: float | Tensor = 0.0,
        noise: float = 1.0,
        level: int | None = None,
    ) -> tuple[Tensor, Decision | None]:
        """Separates mixtures of any length.

        Arguments
        ---------
        mixture : Tensor
            ``[B, T]``. What is shorter than a filter, or empty, is filled up
            with silence; silence gives silence.
        lengths : Tensor, optional
            Valid samples per item ``[B]``, for the decision.
        gate : Tensor, optional
            Choice among widths ``[B, S, layers * J]`` in place of the gates',
            in eval one-hot.
        bias : float or Tensor
            The run-time compute knob, one number or ``[B, S]``, see
            :func:`~speechbrain_dsn.gating.sample_choice`.
        noise : float
            Scale of the noise on the logits while training.
        level : int, optional
            Index of a width for all chunks of all layers.

        Returns
        -------
        tuple
            Estimates ``[B, T, speakers]``, and the :class:`Decision`
            ``[B, S, layers * J]`` with its cost for mixtures of this length;
            or None of a net without gates.
        """
        samples = mixture.size(1)
        steps, chunks = self.steps(samples), self.frames(samples)
        if level is not None:
            gate = self._at(level).expand(len(mixture), chunks, -1)
            gate = gate.to(mixture)
        given = [None] * len(self.blocks)
        if gate is not None:
            given = list(gate.chunk(len(given), -1))
        decisions: list[Decision] = []

        def within(layer: int, x: Tensor) -> Tensor:
            block, values = self.blocks[layer], given[layer]
            if block.decides == "gate":
                decision = block.decide(x, bias, noise)
                if values is None:
                    values = decision.values
                decisions.append(decision)
            if values is None:
                return block(x)
            given[layer] = values
            if self.training:
                return block(x, values)
            return block.forward_skipping(x, values.argmax(-1))

        scale = mixture.detach().square().mean(1, keepdim=True).sqrt()
        scale = scale.nan_to_num(0).clamp_min(1e-8)
        missing = (steps - 1) * self.stride + self.kernel_size - samples
        x = self.encoder(F.pad(mixture / scale, (0, missing)))
        masks = run_dual_path(self.masknet, x, within)
        wavs = self.decoder((x * masks).flatten(0, 1)).reshape(
            self.num_spks, len(mixture), -1
        )
        wavs = wavs[..., :samples] * scale
        estimates = wavs.permute(1, 2, 0)
        if not decisions:
            return estimates, None
        decision = Decision(
            torch.cat(given, -1),
            self.frame_rate,
            self._chunks_within(lengths),
            torch.cat([decision.logits for decision in decisions], -1),
            self.report(samples).cost,
        )
        return estimates, decision

    def _at(self, level: int) -> Tensor:
        """The one-hot choice of one width in all layers."""
        widths = len(self.utilizations)
        if not 0 <= level < widths:
            raise ValueError(f"level {level}: expected 0..{widths - 1}")
        return torch.eye(widths)[level].repeat(len(self.blocks))

    def _chunks_within(self, lengths: Tensor | None) -> Tensor | None:
        """Chunks that touch valid samples."""
        if lengths is None:
            return None
        steps = -(-(lengths - self.kernel_size) // self.stride)
        steps = steps.clamp_min(0) + 1
        return -(-steps // (self.masknet.K // 2)) + 1

    def slice_to(self, level: int) -> DualPathSeparator:
        """A static separator of one width, with its own copy of the weights.

        Arguments
        ---------
        level : int
            Index of the width.

        Returns
        -------
        DualPathSeparator
            Without gates.
        """
        dense = DualPathSeparator(
            utilizations=(self.utilizations[level],),
            gated=False,
            **self._arguments,
        ).to(self.decoder.weight)
        state = {
            name: value
            for name, value in self.state_dict().items()
            if "intra_mdl" not in name
        }
        for layer, block in enumerate(self.blocks):
            prefix = f"masknet.dual_mdl.{layer}.intra_mdl."
            for name, value in block.slice_to(level).state_dict().items():
                state[prefix + name] = value
        dense.load_state_dict(state)
        return dense.train(self.training)

    def report(self, samples: int | None = None) -> CostReport:
        """Cost of one chunk, layer by layer; norms do not count.

        Attention across chunks costs more the more of them there are. What
        runs once per step counts for the steps by which chunks advance; the
        silence in the first and the last chunks makes up to two and a half
        chunks more than the mixture has of these.

        Arguments
        ---------
        samples : int, optional
            Length of the mixture, four seconds by default.

        Returns
        -------
        CostReport
            In the order of the signal path, each layer's widths at its own
            gates.
        """
        chunks = self.frames(samples or 4 * self.sample_rate)
        layers = path_costs(self.masknet, chunks)
        channels, advance = self.decoder.weight.size(0), self.masknet.K // 2
        filters = MacCount(advance * self.kernel_size * channels)
        return CostReport(
            {
                "encoder": filters,
                **layers,
                "decoder": filters * self.num_spks,
            },
            self.frame_rate,
        )
