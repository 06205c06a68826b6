"""Drop-ins for the intra-chunk blocks of SpeechBrain's dual-path recipes.

``Dual_Path_Model`` hands each chunk to its intra block as one item of a batch
and takes one tensor back, so the decision goes to a tape. The gates, and the
places they are at, are those of the separation DSN (IEEE SPL 2024, doi
10.1109/LSP.2024.3445304; arXiv 2507.06179); all sizes, widths and rules of
sampling are ours.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speechbrain_dsn.cost import Decision, gates_at
from speechbrain_dsn.gating import ChunkGate, Tape, random_gate, sample_choice
from speechbrain_dsn.nnet.chunks import ChunkLayer
from speechbrain_dsn.nnet.transformer import SlimmableTransformer

UTILIZATIONS = (0.125, 0.25, 0.5, 1.0)
DECIDERS = ("gate", "random", "fixed")


class SelfDeciding(ChunkLayer):
    """A mixin over a slimmable layer: chunks choose their widths.

    Where no gate is given, ``forward`` decides. While training it computes
    everything and masks, and notes what was decided on its tape; in eval it
    runs each chunk at its own width.
    """

    def __init__(
        self,
        *layer,
        decide: str = "gate",
        width: float | None = None,
        temperature: float = 1.0,
        noise: float = 1.0,
        straight_through: bool = True,
        **options,
    ) -> None:
        super().__init__(*layer, **options)
        if decide not in DECIDERS:
            raise ValueError(
                f"decide: expected one of {', '.join(DECIDERS)}, got {decide!r}"
            )
        width = self.utilizations[-1] if width is None else width
        if width not in self.utilizations:
            raise ValueError(
                f"width {width:g}: expected one of {self.utilizations}"
            )
        self.decides = decide if self.top else "fixed"
        self.level = self.utilizations.index(width)
        self.temperature, self.noise = temperature, noise
        self.straight_through = straight_through
        if self.decides == "gate":
            self.policy = ChunkGate(self.in_channels, len(self.utilizations))
            self.tape = Tape()

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        super().reset_parameters()
        if hasattr(self, "policy"):
            self.policy.reset_parameters()

    def decide(
        self, x: Tensor, bias: float | Tensor = 0.0, noise: float | None = None
    ) -> Decision:
        """The widths of chunks, by the gate.

        Arguments
        ---------
        x : Tensor
            ``[B', L, N]`` or ``[B, S, L, N]``.
        bias : float or Tensor
            The run-time compute knob, see
            :func:`~speechbrain_dsn.gating.sample_choice`.
        noise : float, optional
            Scale of the noise on the logits while training, the block's own
            by default.

        Returns
        -------
        Decision
            ``[B, S, J]``; chunks that came as items are items of one chunk
            each, ``[B', 1, J]``. Its rate is one per chunk.
        """
        cost = self.macs(x.size(-2))
        logits = self.policy(x)
        values = sample_choice(
            logits,
            cost.levels,
            self.training,
            self.temperature,
            self.noise if noise is None else noise,
            self.straight_through,
            bias,
        )
        shape = (len(x), -1, len(cost.levels))
        logits = logits.float().view(shape)
        return Decision(values.view(shape), 1.0, None, logits, cost)

    def forward(
        self, x: Tensor, gate: Tensor | None = None, **inputs
    ) -> Tensor:
        """Runs chunks at the widths that they choose.

        Arguments
        ---------
        x : Tensor
            ``[B', L, N]`` or ``[B, S, L, N]``.
        gate : Tensor, optional
            Choice among widths ``[B', J]`` or ``[B, S, J]``, soft or one-hot,
            in place of the block's own: computes the widest and masks.
        **inputs
            What else the layer takes.

        Returns
        -------
        Tensor
            Like ``x``, or with the channels that the layer has.
        """
        if gate is not None:
            return super().forward(x, gate, **inputs)
        if self.decides == "gate":
            decision = self.decide(x)
            if self.training:
                self.tape.note(decision)
            gate = decision.values.view(*x.shape[:-2], -1)
        elif self.decides == "random" and self.training:
            gate = self._draw(x)
        else:
            level = x.new_full(x.shape[:-2], self.level, dtype=torch.long)
            return self.forward_skipping(x, level, **inputs)
        if self.training:
            return super().forward(x, gate, **inputs)
        return self.forward_skipping(x, gate.argmax(-1), **inputs)

    def _draw(self, x: Tensor) -> Tensor:
        """A width for each chunk that does not look at it."""
        cost, chunks = self.macs(x.size(-2)), x.shape[:-2].numel()
        gate = gates_at(cost, random_gate(chunks, 1, levels=cost.levels))
        return gate.view(*x.shape[:-2], -1).to(x.device)


class SlimmableTransformerBlock(SelfDeciding, SlimmableTransformer):
    """A drop-in for SpeechBrain's ``SBTransformerBlock`` of any width.

    Same argument names, ``[B', L, N] -> [B', L, N]``; reads the weights of
    such a block, for instance those of a trained SepFormer.

    Arguments
    ---------
    num_layers : int
        Layers.
    d_model : int
        Channels ``N``.
    nhead : int
        Heads of the widest attention.
    d_ffn : int
        Hidden units of the widest feed-forward net.
    input_shape : tuple, optional
        Not used, as in SpeechBrain.
    kdim, vdim : int, optional
        Not other than ``d_model``.
    dropout : float
        Dropout rate.
    activation : str
        ``relu`` or ``gelu``.
    use_positional_encoding : bool
        Whether sinusoids are added to the input.
    norm_before : bool
        Whether norms come before attention and feed-forward net.
    attention_type : str
        ``regularMHA``.
    utilizations : sequence of float
        Widths as shares of heads and hidden units, ascending in (0, 1].
    slim_attention : bool
        Whether narrow widths have fewer heads, too.
    decide : str
        ``gate``: chunks choose; ``random``: widths are drawn while training,
        so that all of them learn, and eval runs ``width``; ``fixed``: it
        always does.
    width : float, optional
        One of the utilizations, the widest by default.
    temperature : float
        Gumbel temperature of the gate.
    noise : float
        Scale of the Gumbel noise while training; 0 trains without.
    straight_through : bool
        One-hot choices while training, instead of soft mixtures.

    Raises
    ------
    ValueError
        For what a slimmable block cannot be.

    Example
    -------
    >>> block = SlimmableTransformerBlock(1, 64, 8)
    >>> block(torch.randn(10, 100, 64)).shape
    torch.Size([10, 100, 64])
    >>> len(block.tape)
    1
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        nhead: int,
        d_ffn: int = 2048,
        input_shape: Sequence[int] | None = None,
        kdim: int | None = None,
        vdim: int | None = None,
        dropout: float = 0.1,
        activation: str = "relu",
        use_positional_encoding: bool = False,
        norm_before: bool = False,
        attention_type: str = "regularMHA",
        utilizations: Sequence[float] = UTILIZATIONS,
        slim_attention: bool = True,
        decide: str = "gate",
        width: float | None = None,
        temperature: float = 1.0,
        noise: float = 1.0,
        straight_through: bool = True,
    ) -> None:
        if attention_type != "regularMHA":
            raise ValueError(
                f"attention_type: expected regularMHA, got {attention_type!r}"
            )
        for name, size in (("kdim", kdim), ("vdim", vdim)):
            if size not in (None, d_model):
                raise ValueError(f"{name}: expected {d_model}, got {size}")
        super().__init__(
            num_layers,
            d_model,
            nhead,
            d_ffn,
            dropout,
            activation,
            use_positional_encoding,
            norm_before,
            utilizations,
            slim_attention,
            decide=decide,
            width=width,
            temperature=temperature,
            noise=noise,
            straight_through=straight_through,
        )
