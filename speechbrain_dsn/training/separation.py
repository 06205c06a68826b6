"""The separation recipes: prepare, train by the plan, measure.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

from speechbrain.utils.distributed import run_on_main
from torch import Tensor

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.dataio.speakers import SpeakerBatch
from speechbrain_dsn.losses.permutation import upit_si_sdr
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.fit import (
    check_run_options,
    fit_network,
    load_teacher,
)
from speechbrain_dsn.training.separation_results import (
    write_separation_results,
)
from speechbrain_dsn.training.validation import Validation


class SeparationBrain(DynamicBrain):
    """Trains a separator, static or dynamic, by a plan of stages.

    ``modules.separator`` maps ``[B, samples]`` to estimates ``[B, samples,
    S]`` and its Decision or None. ``hparams.gate_loss`` is one of
    ``hparams.complexities``, by name: a callable of decision, cost and
    target; one that has ``needs_signals`` set is also given estimate and
    sources, both ``[B, samples, S]``.
    """

    network = "separator"

    def make_validation(self) -> Validation:
        """SI-SDR improvement in place of PESQ."""
        return SeparationValidation(self.cost)

    def _price(
        self, decision: Decision, batch: SpeakerBatch, estimate: Tensor
    ) -> Tensor:
        price = self.hparams.complexities[self.hparams.gate_loss]
        arguments = [decision, self.cost, self._target(batch)]
        if getattr(price, "needs_signals", False):
            arguments += [estimate.detach(), batch.clean.to(self.device)]
        return price(*arguments)


class SeparationValidation(Validation):
    """SI-SDRi of the decided net, and of the same net at both ends."""

    metrics = ("si_sdri",)

    def score(
        self, metric: str, batch: SpeakerBatch, estimate: Tensor
    ) -> list[float]:
        """Improvement of the mean SI-SDR over the mixture, best order.

        Arguments
        ---------
        metric : str
            The only one.
        batch : SpeakerBatch
            With the sources.
        estimate : Tensor
            ``[B, samples, S]``.

        Returns
        -------
        list of float
            ``[B]``, in dB.
        """
        mixture = batch.noisy.unsqueeze(-1).expand_as(batch.clean)
        before, after = (
            upit_si_sdr(x.cpu(), batch.clean, float("-inf"))
            for x in (mixture, estimate)
        )
        return (before - after).tolist()

    def describe(self, batch: SpeakerBatch) -> dict[str, Tensor]:
        """How much the speakers overlap, where that is known."""
        if batch.overlap.isnan().all():
            return {}
        return {"overlap": batch.overlap}


def run_separation(hparams: dict[str, Any], run_opts: Any) -> None:
    """Runs a recipe from data to results.

    Arguments
    ---------
    hparams : dict
        A loaded YAML, such as
        ``recipes/Folders/separation/hparams/gated.yaml``.
    run_opts : RunOptions
        From SpeechBrain's command line.
    """
    check_run_options(run_opts)
    data = hparams["data"]
    teacher = load_teacher(hparams, SeparationBrain.network)
    data.prepare()
    brain, valid = fit_network(SeparationBrain, hparams, run_opts, teacher)
    run_on_main(
        write_separation_results,
        args=[brain.enhancer, hparams, valid, data.test()],
    )
