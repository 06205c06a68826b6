"""The enhancement recipes: data, training, results.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset

from speechbrain_dsn.dataio.fixed import FixedMixture
from speechbrain_dsn.dataio.folders import prepare_folders
from speechbrain_dsn.dataio.mixing import Batch, MixtureBatches
from speechbrain_dsn.training.brain import DynamicBrain

logger = logging.getLogger(__name__)


class FixedMixtures(Dataset):
    """Fixed mixtures as batches of one.

    Arguments
    ---------
    mixtures : sequence of FixedMixture
        A list of valid or test.
    ovrl : sequence of float, optional
        DNSMOS OVRL of each noisy signal.
    """

    def __init__(
        self,
        mixtures: Sequence[FixedMixture],
        ovrl: Sequence[float] | None = None,
    ) -> None:
        self.mixtures, self.ovrl = mixtures, ovrl

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, index: int) -> Batch:
        mixture = self.mixtures[index]
        noisy, clean = (torch.from_numpy(x)[None] for x in mixture.render())
        snr = torch.tensor([float(mixture.snr_db)])
        ovrl = None if self.ovrl is None else torch.tensor([self.ovrl[index]])
        return Batch(noisy, clean, snr, ovrl)


class EpochBatches(MixtureBatches):
    """Batches of which each epoch is another stretch.

    Arguments
    ---------
    counter : object
        Its ``current`` is the epoch, from 1.
    **batches
        Arguments of :class:`MixtureBatches`.
    """

    def __init__(self, counter: Any, **batches) -> None:
        super().__init__(**batches)
        self.counter = counter

    def __getitem__(self, index: int) -> Batch:
        self.first = (self.counter.current - 1) * self.batches
        return super().__getitem__(index)


def run_enhancement(hparams: dict[str, Any], run_opts: Any) -> None:
    """Prepares data, trains by the plan, and measures.

    Arguments
    ---------
    hparams : dict
        A loaded YAML of ``recipes/Folders/enhance/hparams``.
    run_opts : RunOptions
        From SpeechBrain's command line.
    """
    root = Path(hparams["data_folder"])
    rir = root / "rir"
    data = prepare_folders(
        root / "speech",
        root / "noise",
        Path(hparams["output_folder"]) / "data",
        rir if rir.is_dir() else None,
    )
    sampler = hparams["sampler"](data.speech, data.noise, data.rirs)
    train = EpochBatches(
        hparams["epoch_counter"],
        sampler=sampler,
        batch_size=hparams["batch_size"],
        batches=hparams["batches_per_epoch"],
    )
    valid = FixedMixtures(data.valid())
    brain = DynamicBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    if hparams["warm_start"]:
        start(brain.enhancer, hparams["warm_start"])
    brain.fit(
        hparams["epoch_counter"],
        train,
        valid,
        train_loader_kwargs={"batch_size": None},
        valid_loader_kwargs={"batch_size": None},
    )


def start(enhancer: torch.nn.Module, weights: str) -> None:
    """Loads the weights of a static net into a dynamic one.

    Arguments
    ---------
    enhancer : torch.nn.Module
        Whose parameters include those of the file.
    weights : str
        A safetensors file.
    """
    missing, unexpected = enhancer.load_state_dict(
        load_file(weights), strict=False
    )
    missing = [name for name in missing if ".policy." not in name]
    if missing or unexpected:
        raise ValueError(
            f"{weights} does not fit: missing {missing}, unexpected "
            f"{unexpected}"
        )
