"""A Brain for networks that decide.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
import yaml
from safetensors.torch import save
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import run_on_main
from torch import Tensor

from speechbrain_dsn.cost import (
    Decision,
    MacCount,
    activation,
    gates_at,
)
from speechbrain_dsn.dataio.mixing import Batch
from speechbrain_dsn.dataio.tables import write_bytes
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import decided, random_gate
from speechbrain_dsn.losses import (
    LevelTeacher,
    gate_price,
    metric_target,
)
from speechbrain_dsn.nnet.precision import full_precision
from speechbrain_dsn.training.validation import Validation

logger = logging.getLogger(__name__)


@register_checkpoint_hooks
class DynamicBrain(sb.Brain):
    """Trains an enhancer, static or dynamic, by a plan of stages.

    ``modules.enhancer`` (another name in :attr:`network`) maps ``[B,
    samples]`` to ``(estimate, Decision or None)``. Needs in ``hparams``: ``plan`` (:class:`StagePlan`),
    ``signal_losses`` (names to :class:`Term`), ``batches_per_epoch``, ``lr``, ``policy_lr``, ``snapshot_epoch``,
    ``checkpoints_to_keep``, ``epoch_counter``, ``train_logger``,
    ``output_folder``, and for a net that decides the complexity loss:
    ``gate_weight``, ``gate_loss`` (``rank``, ``pull``, ``hinge``, or a
    callable such as :class:`~speechbrain_dsn.losses.RoutingPrice`),
    ``gate_target`` (a ratio, or ``metric``), ``metric_scale``,
    ``gate_noise``. With a ``teacher_net``, a callable that gives what
    an enhancer gives, also ``teacher_weight``: the share of the signal loss
    that it sets the target of. `widest` is the teacher of in-place
    distillation. ``level_weights``, if there are any, weigh the levels of a
    choice in joint stages.
    """

    network = "enhancer"

    def init_optimizers(self) -> None:
        """Two optimizers: SpeechBrain clips the first parameter group of
        each, so a policy in a second group would never be clipped."""
        policy, rest = [], []
        for name, parameter in self.modules.named_parameters():
            (policy if ".policy." in name else rest).append(parameter)
        self.optimizers_dict = {"network": self.opt_class(rest)}
        if policy:
            self.optimizers_dict["policy"] = self.opt_class(policy)
        if self.checkpointer is not None:
            for name, optimizer in self.optimizers_dict.items():
                self.checkpointer.add_recoverable(f"opt_{name}", optimizer)

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Notes where in the plan this epoch lies, and clears statistics."""
        self.epoch = epoch
        if stage == sb.Stage.TRAIN:
            self.part = self.hparams.plan.stage(epoch)
            self.gates = self.part.gates
            adds = hasattr(self.enhancer.lobe, "joining")
            if self.gates == "layerwise" and not adds:
                raise InputError(
                    "layerwise: expected a lobe whose levels add to each other"
                )
            if not self.step:  # an epoch that goes on keeps its own
                self.sums: dict[str, float] = {}
        elif stage == sb.Stage.VALID:
            self.validation = self.make_validation()

    def make_validation(self) -> Validation:
        """What measures this network on valid."""
        return Validation(self.cost)

    @property
    def enhancer(self) -> torch.nn.Module:
        """The network without the wrapper of DDP."""
        module = self.modules[self.network]
        return getattr(module, "module", module)

    @property
    def cost(self) -> MacCount:
        """Cost of one frame."""
        return self.enhancer.report().cost

    @property
    def level(self) -> int:
        """Index of the level that learns at this step of a layerwise stage."""
        levels = len(self.cost.levels)
        done = self._plan(self.hparams.plan.progress)
        return min(int(done * levels), levels - 1)

    def on_fit_batch_start(self, batch: Batch, should_step: bool) -> None:
        """Sets the learning rates of this step."""
        rate = self._plan(self.hparams.plan.rate, self.hparams.first_epoch)
        for name, optimizer in self.optimizers_dict.items():
            peak = getattr(
                self.hparams, "policy_lr" if name == "policy" else "lr"
            )
            if self.part.alone and name != "policy":
                peak = 0.0
            for group in optimizer.param_groups:
                group["lr"] = peak * rate

    def optimizers_step(self) -> None:
        """In layerwise stages only what the level adds makes a step."""
        if self.part.gates == "layerwise":
            joining = set(map(id, self.enhancer.lobe.joining(self.level)))
            for parameter in self.modules.parameters():
                if id(parameter) not in joining:
                    parameter.grad = None
        super().optimizers_step()

    def _save_intra_epoch_ckpt(self) -> None:
        """One rank writes: what it writes has to be so for all of them."""
        self.sums = {k: x * self.step for k, x in self._mean_of_ranks().items()}
        super()._save_intra_epoch_ckpt()

    @mark_as_saver
    def _save(self, path: Path) -> None:
        """What SpeechBrain saves, the statistics so far, and what the
        position counts."""
        state = {
            "step": self.step,
            "avg_train_loss": float(self.avg_train_loss),
            "optimizer_step": self.optimizer_step,
            "sums": getattr(self, "sums", {}),  # none before an epoch
            "dealt": self._dealt,
        }
        text = yaml.safe_dump(state, sort_keys=False)  # as they are logged
        Path(path).write_text(text, "utf-8")

    @mark_as_loader
    def _recover(self, path: Path, end_of_epoch: bool) -> None:
        """Refuses a position in an epoch that was dealt otherwise: the
        checkpointer then takes the checkpoint before."""
        super()._recover(path, end_of_epoch)
        saved = yaml.safe_load(Path(path).read_text("utf-8"))
        self.sums = saved.get("sums", {})  # absent before version 0.2
        dealt = saved.get("dealt", self._dealt)
        if not end_of_epoch and dealt != self._dealt:
            raise InputError(
                "saved in mid epoch, of {batches} batches on {ranks} rank(s): "
                "expected the same now, found ".format(**dealt)
                + "{batches} on {ranks}".format(**self._dealt)
            )

    @property
    def _dealt(self) -> dict[str, int]:
        """What a number of steps in an epoch refers to."""
        ranks = int(os.environ.get("WORLD_SIZE", 1))
        return {"batches": self.hparams.batches_per_epoch, "ranks": ranks}

    def _plan(self, function: Callable[..., float], *more: int) -> float:
        world = int(os.environ.get("WORLD_SIZE", 1))
        steps = -(-self.hparams.batches_per_epoch // world)
        return function(self.epoch, self.step - 1, steps, *more)

    def compute_forward(
        self, batch: Batch, stage: sb.Stage
    ) -> tuple[Tensor, Decision | None]:
        """Enhances a batch, with the gates of the current stage."""
        noisy = batch.noisy.to(self.device)
        net = self.modules[self.network]
        if not self.enhancer.dynamic or stage != sb.Stage.TRAIN:
            return net(noisy)
        if self.gates == "joint":
            return self._at_every_level(noisy)
        return net(noisy, **self._gates(noisy, batch))

    def _at_every_level(self, noisy: Tensor) -> tuple[Tensor, Decision | None]:
        """All clips at the cheapest level, then at the next one, in a batch
        of ``J B``."""
        if hasattr(self.enhancer.lobe, "every_level"):
            return self.modules[self.network](noisy, every_level=True)
        cost, frames = self.cost, self.enhancer.frames(noisy.size(1))
        levels = torch.tensor(cost.levels).repeat_interleave(len(noisy))
        gate = gates_at(cost, levels.unsqueeze(1).expand(-1, frames))
        noisy = noisy.repeat(len(cost.levels), 1)
        return self.modules[self.network](noisy, gate=gate.to(self.device))

    def _gates(self, noisy: Tensor, batch: Batch) -> dict[str, Any]:
        """What the enhancer is told about its gates while training."""
        if self.gates == "policy":
            # The noise fades, so that what is trained ends as what will be
            # run: gates without noise.
            done = self._plan(self.hparams.plan.progress)
            first, last = self.hparams.gate_noise
            decide = {"noise": first + (last - first) * done}
            if self.hparams.gate_loss == "rank":
                decide["share"] = self._target(batch)
            return decide
        if self.gates == "open":
            return self._at(noisy, 1.0)
        if self.gates == "layerwise":
            return self._at(noisy, self.cost.levels[self.level])
        generator = torch.Generator().manual_seed(
            self.hparams.seed + 1_000_003 * self.optimizer_step
        )
        shape = len(noisy), self.enhancer.frames(noisy.size(1))
        gate = random_gate(*shape, generator, levels=self.cost.levels)
        return {"gate": gates_at(self.cost, gate).to(self.device)}

    def _at(self, noisy: Tensor, level: float) -> dict[str, Any]:
        """All frames alike."""
        shape = len(noisy), self.enhancer.frames(noisy.size(1))
        gate = gates_at(self.cost, torch.full(shape, level))
        return {"gate": gate.to(self.device)}

    def widest(self, noisy: Tensor) -> tuple[Tensor, Decision | None]:
        """The net itself with all gates open: a teacher of its narrower
        self (in-place distillation, Yu and Huang, ICCV 2019).

        Arguments
        ---------
        noisy : Tensor
            ``[B, samples]``.

        Returns
        -------
        tuple
            Estimate ``[B, samples]``, and the decision.
        """
        return self.enhancer(noisy, **self._at(noisy, 1.0))

    def compute_objectives(
        self,
        predictions: tuple[Tensor, Decision | None],
        batch: Batch,
        stage: sb.Stage,
    ) -> Tensor:
        """Signal loss, plus the price of the gates that the policy opened."""
        estimate, decision = predictions
        clean = _repeated(batch.clean.to(self.device), estimate)
        terms = self._signal_losses(estimate, clean)
        if stage != sb.Stage.TRAIN:
            self.validation.add(self.enhancer, batch, estimate, decision)
            return self._sum(terms)
        for name, value in terms.items():
            self._note(name, value)
        loss = self._sum(terms)
        if getattr(self.hparams, "teacher_net", None) is not None:
            loss = self._taught(loss, estimate, batch)
        if decision is not None and self.gates == "policy":
            loss = loss + self._gate_loss(decision, batch, estimate)
        elif decision is not None and self.distributed_launch:
            # DDP waits for the gradient of every parameter.
            loss = loss + 0 * decision.logits.sum()
        return loss

    def _signal_losses(
        self, estimate: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Value of each term that has joined by now, in float32."""
        return {
            name: self._mean(full_precision(term.loss)(estimate, target))
            for name, term in self.hparams.signal_losses.items()
            if term.joins(self.epoch)
        }

    def _mean(self, losses: Tensor) -> Tensor:
        """Over items; in a joint stage each level has its weight."""
        weights = getattr(self.hparams, "level_weights", None)
        if weights is None or not self.modules.training:
            return losses.mean()
        if self.gates != "joint":
            return losses.mean()
        weights = losses.new_tensor(weights)
        return losses.view(len(weights), -1).mean(1) @ weights / weights.sum()

    def _sum(self, terms: dict[str, Tensor]) -> Tensor:
        """Weighted."""
        losses = self.hparams.signal_losses
        return sum(losses[name].weight * terms[name] for name in terms)

    def _taught(self, loss: Tensor, estimate: Tensor, batch: Batch) -> Tensor:
        """Part of the loss against the output of a teacher instead of the
        clean signal: what it could not clean, its student need not."""
        with torch.no_grad():
            wanted, _ = self.hparams.teacher_net(batch.noisy.to(self.device))
            wanted = _repeated(wanted, estimate)
        taught = self._sum(self._signal_losses(estimate, wanted))
        self._note("taught", taught)
        share = self.hparams.teacher_weight
        return (1 - share) * loss + share * taught

    def _target(self, batch: Batch) -> Tensor:
        """Wanted mean gate of each item ``[B]``."""
        if self.hparams.gate_target != "metric":
            size = (len(batch.noisy),)
            return torch.full(size, self.hparams.gate_target).to(self.device)
        if batch.ovrl is None:
            raise ValueError("gate_target: metric needs OVRL of each clip")
        quality = batch.ovrl.to(self.device)
        return metric_target(quality, self.hparams.metric_scale)

    def _price(
        self, decision: Decision, batch: Batch, estimate: Tensor
    ) -> Tensor:
        """Of the gates that the policy opened, by the kind that was chosen."""
        kind, target = self.hparams.gate_loss, self._target(batch)
        teaches = isinstance(kind, LevelTeacher)
        if teaches and (self.part.alone or kind.joint):
            errors = self._errors(kind, batch)
            return kind(decision, self.cost, target, errors)
        if callable(kind):
            return kind(decision, self.cost, target)
        return gate_price(decision, target, kind)

    def _gate_loss(
        self, decision: Decision, batch: Batch, estimate: Tensor
    ) -> Tensor:
        """What the policy pays, and what its use is."""
        cost, price = self.cost, self._price(decision, batch, estimate)
        loss = self.hparams.gate_weight * price.mean()
        # What the same logits would open without noise.
        hard = replace(decision, values=decided(decision.logits, cost))
        self._note("usage", activation(decision, cost).mean())
        self._note("hard_usage", activation(hard, cost).mean())
        self._note("gate", loss)
        return loss

    @torch.no_grad()
    def _errors(self, kind: LevelTeacher, batch: Batch) -> Tensor:
        """How far off each level is around each frame ``[B, T, J]``."""
        clean = batch.clean.to(self.device)
        estimate, _ = self._at_every_level(batch.noisy.to(self.device))
        return kind.errors(estimate.unflatten(0, (-1, len(clean))), clean)

    def _note(self, name: str, value: Tensor) -> None:
        """Adds to the epoch's mean of a statistic."""
        self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())

    def on_stage_end(
        self, stage: sb.Stage, stage_loss: float, epoch: int | None = None
    ) -> None:
        """Logs the epoch and saves a checkpoint."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = self._mean_of_ranks()
            return
        scores = self.validation.summary()
        scores["loss"] = stage_loss
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "gates": self.gates},
            train_stats=self.train_stats,
            valid_stats=scores,
        )
        if epoch == self.hparams.snapshot_epoch:
            path = f"{self.hparams.output_folder}/epoch{epoch}.safetensors"
            weights = self.enhancer.state_dict()
            run_on_main(lambda: write_bytes(path, save(weights)))
        if self.checkpointer is not None:
            self.checkpointer.save_and_keep_only(
                meta={"epoch": epoch, "gates": self.gates, **scores},
                num_to_keep=self.hparams.checkpoints_to_keep,
                keep_recent=True,
            )

    def _mean_of_ranks(self) -> dict[str, float]:
        """Statistics of the epoch, over the steps of all ranks."""
        names, sums = list(self.sums), [*self.sums.values(), self.step]
        if self.distributed_launch:
            both = torch.tensor(sums, dtype=torch.float64, device=self.device)
            torch.distributed.all_reduce(both)
            sums = both.tolist()
        *sums, steps = sums
        steps = max(steps, 1)
        return {k: x / steps for k, x in zip(names, sums, strict=True)}


def _repeated(x: Tensor, like: Tensor) -> Tensor:
    """Clips ``[B, ...]`` once for each level that an estimate has."""
    return x.repeat(len(like) // len(x), *[1] * (x.dim() - 1))
