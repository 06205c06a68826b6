"""nsNet2 with exits that the caller chooses among (arXiv 2308.16678).

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport
from speechbrain_dsn.lobes.models.nsnet2.stages import (
    DenseStage,
    RecurrentStage,
    Stage,
    costs,
)
from speechbrain_dsn.nnet.dgru import DGRUContext
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.time_gru import GRUContext

STAGES = ("dense", "gru", "gru", "relu", "relu")
SPLITS = ("none", "parallel", "serial")
OPEN = 2.0  # bias of a mask before training: 0.88, and 0.65 of the amplitude


@dataclass
class NsNet2Context:
    """State of a batch of streams.

    Arguments
    ---------
    stages : dict of str to DGRUContext or None
        Of each stage and each branch. That of a GRU changes only in frames
        that run it.
    policy : GRUContext, optional
        Memory of the router.
    """

    stages: dict[str, DGRUContext | None]
    policy: GRUContext | None = None


class NsNet2(nn.Module):
    """Compressed magnitude in, mask out; causal, one frame at a time.

    Dense 257 -> 400, GRU 400, GRU 400, dense 400 -> 600 and 600 -> 600 with
    ReLU, dense 600 -> 257 with a sigmoid: five stages and a mask, 2,777,000
    MACs per frame. With further ``exits`` a frame may end after any of these
    stages (Dynamic nsNet2, arXiv 2308.16678): one more dense layer there
    makes the mask, and what lies behind does not run. The choice is an
    argument, a gate per frame; the last exit is the default.

    Where a frame does not reach a GRU, the state of this GRU stays as it is,
    bit for bit; the GRU goes on from there with the next frame that reaches
    it. That holds however the net is run, and for branches too.

    The paper's split layers duplicate a layer, so that an exit need not share
    its features with the path that goes on, in two topologies. Which ones we
    infer: ``parallel`` feeds an exit from a twin of its last stage, which
    runs in its place, at no extra cost; ``serial`` puts one more layer of its
    kind between stage and mask. Ours too: the exits' places, their full
    width, and masks that start nearly open.

    Arguments
    ---------
    bins : int
        Frequency bins of the input.
    exits : sequence of int
        Stages after which a frame may end, ascending within 1..5.
    split : str
        ``none``, ``parallel`` or ``serial``.
    units : sequence of int
        Width of each stage.
    update_ratio : float
        Share of a GRU's units that a frame updates: below 1 the GRUs are
        :class:`~speechbrain_dsn.nnet.dgru.DGRU` (arXiv 2408.12425).
    frame_rate : float
        Frames per second, for reports.

    Example
    -------
    >>> net = NsNet2()
    >>> net(torch.rand(2, 10, 257)).shape
    torch.Size([2, 10, 257])
    >>> net.report().cost
    MacCount(fixed=2777000, gated=())
    >>> NsNet2(exits=(1, 2, 3, 5)).report().cost
    MacCount(fixed=102800, gated=(102800, 1062800, 2022800, 2674200))
    """

    def __init__(
        self,
        bins: int = 257,
        exits: Sequence[int] = (5,),
        split: str = "none",
        units: Sequence[int] = (400, 400, 400, 600, 600),
        update_ratio: float = 1.0,
        frame_rate: float = 62.5,
    ) -> None:
        super().__init__()
        self.exits, self.split = _check(exits, split), split
        self.bins, self.units = bins, tuple(units)
        self.update_ratio, self.frame_rate = update_ratio, frame_rate
        self.branches = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        for exit in self.exits:
            if self._splits(exit):
                serial = split == "serial"
                self.branches[f"{exit}"] = self._stage(exit, serial)
            self.heads[f"{exit}"] = DynamicLinear(
                bins, self.units[exit - 1], initial_bias=OPEN
            )
        # How many stages the frames of each exit run.
        self.depths = tuple(
            exit - (split == "parallel" and f"{exit}" in self.branches)
            for exit in self.exits
        )
        self.stages = nn.ModuleList(
            self._stage(number) for number in range(1, self.depths[-1] + 1)
        )

    def _splits(self, exit: int) -> bool:
        """Whether an exit has a layer of its own: the end of the net has
        none, and no twin is needed where nothing goes on."""
        if self.split == "parallel":
            return exit < self.exits[-1]
        return self.split == "serial" and exit < len(STAGES)

    def _stage(self, number: int, serial: bool = False) -> Stage:
        """The stage of a number from 1, or the layer behind it."""
        kind, units = STAGES[number - 1], self.units[number - 1]
        sizes = (self.bins, *self.units)
        inputs = units if serial else sizes[number - 1]
        if kind == "gru":
            return RecurrentStage(units, inputs, self.update_ratio)
        return DenseStage(units, inputs, kind == "relu")

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for module in self.modules():
            if module is not self and hasattr(module, "reset_parameters"):
                module.reset_parameters()

    @property
    def level_arguments(self) -> list[dict[str, list[int]]]:
        """What tells a net that has one of the exits only from this one."""
        return [{"exits": [exit]} for exit in self.exits]

    def at_exit(self, exit: int, batch: int, frames: int) -> Tensor:
        """The gate that ends every frame at one exit.

        Arguments
        ---------
        exit : int
            One of ``exits``.
        batch : int
            Items.
        frames : int
            Frames of each.

        Returns
        -------
        Tensor
            One-hot ``[batch, frames, J]``.

        Raises
        ------
        ValueError
            If there is no such exit.
        """
        if exit not in self.exits:
            raise ValueError(f"exit {exit}: expected one of {self.exits}")
        level = torch.full((batch, frames), self.exits.index(exit))
        return F.one_hot(level, len(self.exits)).float()

    def joining(self, level: int) -> list[nn.Parameter]:
        """What a frame of a level runs beyond those of the levels below.

        Arguments
        ---------
        level : int
            Index of the exit.

        Returns
        -------
        list of Parameter
            Of stages, the exit's branch and its mask.
        """
        exit, done = self.exits[level], (0, *self.depths)[level]
        own = list(self.stages[done : self.depths[level]])
        own.append(self.heads[f"{exit}"])
        if f"{exit}" in self.branches:
            own.append(self.branches[f"{exit}"])
        return [p for module in own for p in module.parameters()]

    def forward(self, magnitude: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes everything and masks, for training.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        gate : Tensor, optional
            Choice among exits ``[B, T, J]``, one-hot or soft; the last exit
            by default. A soft one mixes the masks of the exits. With one
            exit there is nothing to choose.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]``.
        """
        if gate is None or len(self.exits) == 1:
            gate = magnitude.new_zeros(*magnitude.shape[:2], len(self.exits))
            gate[..., -1] = 1
        self._check_choice(magnitude, gate)
        chosen = dict(
            zip(self.exits, gate.to(magnitude.dtype).unbind(-1), strict=True)
        )
        feature, mask = {0: magnitude}, 0.0
        for number, stage in enumerate(self.stages, 1):
            through = [
                e
                for e, d in zip(self.exits, self.depths, strict=True)
                if d >= number
            ]
            reach = sum(chosen[exit] for exit in through)
            feature[number] = stage(feature[number - 1], reach)
        for exit, depth in zip(self.exits, self.depths, strict=True):
            x, share = feature[depth], chosen[exit]
            if f"{exit}" in self.branches:
                x = self.branches[f"{exit}"](x, share)
            made = torch.sigmoid(self.heads[f"{exit}"](x))
            mask = mask + share.unsqueeze(-1) * made
        return mask

    def every_level(self, magnitude: Tensor) -> Tensor:
        """What ``forward`` returns with all frames at one exit, for each exit,
        at the cost of the last one: what lies below exits is shared.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.

        Returns
        -------
        Tensor
            Masks ``[J, B, T, bins]``.
        """
        features = [magnitude]
        for stage in self.stages:
            features.append(stage(features[-1]))
        masks = []
        for exit, depth in zip(self.exits, self.depths, strict=True):
            x = features[depth]
            if f"{exit}" in self.branches:
                x = self.branches[f"{exit}"](x)
            masks.append(torch.sigmoid(self.heads[f"{exit}"](x)))
        return torch.stack(masks)

    def forward_skipping(
        self, magnitude: Tensor, level: Tensor | None = None
    ) -> Tensor:
        """Runs each frame up to its exit.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        level : Tensor, optional
            Index of the exit of each frame ``[B, T]``; the last one by
            default.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]``, equal to ``forward`` for this choice.
        """
        context = NsNet2.make_streaming_context(
            self, len(magnitude), magnitude.device, magnitude.dtype
        )
        return NsNet2.forward_streaming(self, magnitude, context, level)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> NsNet2Context:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        NsNet2Context
            Zeros.
        """
        where = (batch_size, device, dtype)
        return NsNet2Context(
            {
                name: layer.make_streaming_context(*where)
                for name, layer in self.layers().items()
            }
        )

    def layers(self) -> dict[str, Stage]:
        """Stages and branches by name, as contexts and reports have them.

        Returns
        -------
        dict of str to DenseStage or RecurrentStage
            ``stage1`` and on, then ``branch1`` and on.
        """
        stages = {f"stage{k}": s for k, s in enumerate(self.stages, 1)}
        return stages | {f"branch{k}": b for k, b in self.branches.items()}

    def forward_streaming(
        self,
        magnitude: Tensor,
        context: NsNet2Context,
        level: Tensor | None = None,
    ) -> Tensor:
        """Any number of frames, each up to its exit.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        context : NsNet2Context
            Updated in place.
        level : Tensor, optional
            Index of the exit of each frame ``[B, T]``; the last one by
            default.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]``.
        """
        if level is None or len(self.exits) == 1:
            level = magnitude.new_full(
                magnitude.shape[:2], len(self.exits) - 1, dtype=torch.long
            )
        # A copy: how a product is rounded depends on where its input lies.
        magnitude = magnitude.clone()
        depth = torch.tensor(self.depths, device=level.device)[level]
        feature, states = {0: magnitude}, context.stages
        for number, stage in enumerate(self.stages, 1):
            reached = depth >= number
            if not bool(reached.any()):
                break
            feature[number] = stage.forward_streaming(
                feature[number - 1], states[f"stage{number}"], reached
            )
        mask = magnitude.new_zeros(magnitude.shape)
        for place, exit in enumerate(self.exits):
            here = level == place
            if not bool(here.any()):
                continue
            x = feature[self.depths[place]]
            if f"{exit}" in self.branches:
                x = self.branches[f"{exit}"].forward_streaming(
                    x, states[f"branch{exit}"], here
                )
            mask[here] = torch.sigmoid(self.heads[f"{exit}"](x[here]))
        return mask

    def slice_to(self, level: int) -> NsNet2:
        """The net up to one exit, with its own copy of the weights.

        Arguments
        ---------
        level : int
            Index of the exit.

        Returns
        -------
        NsNet2
            Needs no gate.
        """
        exit = self.exits[level]
        dense = NsNet2(
            self.bins,
            (exit,),
            self.split,
            self.units,
            self.update_ratio,
            self.frame_rate,
        ).to(self.heads[f"{exit}"].weight)
        mine = self.layers()
        for name, layer in dense.layers().items():
            if name == f"stage{exit}" and self.split == "parallel":
                name = f"branch{exit}" if f"branch{exit}" in mine else name
            layer.load_state_dict(mine[name].state_dict())
        head = self.heads[f"{exit}"].state_dict()
        dense.heads[f"{exit}"].load_state_dict(head)
        return dense

    def report(self) -> CostReport:
        """Cost of one frame, layer by layer.

        Returns
        -------
        CostReport
            In the order of the signal path.
        """
        layers = {}
        for number, stage in enumerate(self.stages, 1):
            runs = [depth >= number for depth in self.depths]
            layers[f"stage{number}"] = costs(runs, stage.macs())
        for exit, head in self.heads.items():
            here = [exit == f"{each}" for each in self.exits]
            if exit in self.branches:
                branch = self.branches[exit].macs()
                layers[f"branch{exit}"] = costs(here, branch)
            layers[f"mask{exit}"] = costs(here, head.macs().open)
        return CostReport(layers, self.frame_rate)

    def _check_choice(self, magnitude: Tensor, gate: Tensor) -> None:
        wanted = (*magnitude.shape[:2], len(self.exits))
        if gate.shape != wanted:
            raise ValueError(
                f"choice {tuple(gate.shape)} among {len(self.exits)} exits "
                f"does not match input {tuple(magnitude.shape)}"
            )


def _check(exits: Sequence[int], split: str) -> tuple[int, ...]:
    """Refuses exits that are none, and unknown topologies."""
    ladder = tuple(exits)
    inside = all(e in range(1, len(STAGES) + 1) for e in ladder)
    if not ladder or not inside or list(ladder) != sorted(set(ladder)):
        raise ValueError(
            f"exits ascend within 1..{len(STAGES)}, got {list(exits)}"
        )
    if split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(SPLITS)}, got {split!r}")
    return ladder
