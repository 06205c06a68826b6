"""The enhancement recipes: data, training, results.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from speechbrain.utils.distributed import run_on_main
from torch.utils.data import Dataset

from speechbrain_dsn.dataio.fixed import FixedMixture
from speechbrain_dsn.dataio.folders import PreparedFolders, prepare_folders
from speechbrain_dsn.dataio.mixing import Batch, MixtureBatches
from speechbrain_dsn.dataio.ovrl import annotate_ovrl, ovrl_of_clips
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.results import calibrate

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


class TrainingClips(MixtureBatches):
    """Batches of clips: every epoch another stretch of the endless stream.

    From the epoch ``scored_from`` on, the first ``scored_clips`` clips come
    again and again instead, since an endless stream of new ones could not be
    scored by DNSMOS in time.

    Arguments
    ---------
    counter : object
        Its ``current`` is the epoch, from 1.
    scored_from : int, optional
        First epoch with scored clips.
    scored_clips : int
        How many clips are scored.
    ovrl : sequence of float, optional
        Their scores, where they are used.
    **batches
        Arguments of :class:`MixtureBatches`.
    """

    def __init__(
        self,
        counter: Any,
        scored_from: int | None = None,
        scored_clips: int = 0,
        ovrl: Sequence[float] | None = None,
        **batches,
    ) -> None:
        super().__init__(**batches)
        self.counter = counter
        self.scored_from, self.scored_clips = scored_from, scored_clips
        # A clip without a score counts as the mean one.
        self.scores = None
        if ovrl is not None:
            scores = np.where(np.isnan(ovrl), np.nanmean(ovrl), ovrl)
            self.scores = torch.as_tensor(scores, dtype=torch.float32)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self.batches:
            raise IndexError(f"batch {index} of {self.batches}")
        epoch = self.counter.current
        number, size = (epoch - 1) * self.batches + index, self.batch_size
        if self.scored_from is None or epoch < self.scored_from:
            return self.sampler.batch(number, size)
        number %= self.scored_clips // size
        batch = self.sampler.batch(number, size)
        if self.scores is None:
            return batch
        scores = self.scores[number * size : (number + 1) * size]
        return batch._replace(ovrl=scores)


def run_enhancement(hparams: dict[str, Any], run_opts: Any) -> dict[str, Any]:
    """Prepares data, trains by the plan, and measures.

    Arguments
    ---------
    hparams : dict
        A loaded YAML of ``recipes/Folders/enhance/hparams``.
    run_opts : RunOptions
        From SpeechBrain's command line.

    Returns
    -------
    dict
        The results, as ``results.json`` in the output folder holds them.
    """
    data = prepare(hparams)
    sampler = hparams["sampler"](data.speech, data.noise, data.rirs)
    out = Path(hparams["output_folder"])
    ovrl = valid_ovrl = None
    if hparams["gate_target"] == "metric":
        count = hparams["scored_clips"]
        table = Path(hparams["ovrl_folder"]) / "clips_ovrl.csv"
        run_on_main(ovrl_of_clips, args=[sampler, count, table])
        ovrl = ovrl_of_clips(sampler, count, table, progress=False)
        if hparams["metric_scale"] == "auto":
            scale = 4 * hparams["mean_activation"] / (5 - np.nanmean(ovrl))
            hparams["metric_scale"] = float(scale)
    if hparams["gate_target"] is not None:
        table = Path(hparams["ovrl_folder"]) / "valid_ovrl.csv"
        run_on_main(annotate_ovrl, args=[data.valid(), table])
        scores = annotate_ovrl(data.valid(), table, progress=False)
        valid_ovrl = [scores[m.name] for m in data.valid()]
    train = TrainingClips(
        hparams["epoch_counter"],
        hparams["scored_from"],
        hparams["scored_clips"],
        ovrl,
        sampler=sampler,
        batch_size=hparams["batch_size"],
        batches=hparams["batches_per_epoch"],
    )
    hparams["first_epoch"] = 1
    if hparams["warm_start"]:
        warm_start(hparams["enhancer"], hparams["warm_start"])
        hparams["first_epoch"] += hparams["warm_epochs"]
        hparams["epoch_counter"].current = hparams["warm_epochs"]
    brain = DynamicBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    valid = FixedMixtures(data.valid(), valid_ovrl)
    brain.fit(
        hparams["epoch_counter"],
        train,
        valid,
        train_loader_kwargs={"batch_size": None},
        valid_loader_kwargs={"batch_size": None},
    )
    brain.on_evaluate_start()
    return calibrate(brain.enhancer, valid)


def prepare(hparams: dict[str, Any]) -> PreparedFolders:
    """Finds the data.

    Arguments
    ---------
    hparams : dict
        With ``data_folder`` and ``output_folder``.

    Returns
    -------
    PreparedFolders
        Files and lists.
    """
    root = Path(hparams["data_folder"])
    if not root.is_dir():
        raise InputError(f"data_folder: expected a folder, found no {root}")
    rir = root / "rir"
    arguments = {
        "speech_folder": root / "speech",
        "noise_folder": root / "noise",
        "out_folder": Path(hparams["output_folder"]) / "data",
        "rir_folder": rir if rir.is_dir() else None,
    }
    run_on_main(prepare_folders, kwargs=arguments)
    return prepare_folders(**arguments)


def warm_start(enhancer: torch.nn.Module, weights: str) -> None:
    """Loads the weights of a static net into a dynamic one.

    Arguments
    ---------
    enhancer : torch.nn.Module
        Whose parameters include those of the file.
    weights : str
        A safetensors file, as a run of ``ftfnet.yaml`` writes it after
        ``snapshot_epoch``.
    """
    if not Path(weights).is_file():
        raise InputError(f"warm_start: expected a file, found no {weights}")
    found = load_file(weights)
    wanted = enhancer.state_dict()
    missing = [n for n in wanted if n not in found and ".policy." not in n]
    unknown = [n for n in found if n not in wanted]
    if missing or unknown:
        raise InputError(
            f"{weights} does not fit: missing {missing}, unknown {unknown}"
        )
    enhancer.load_state_dict(found, strict=False)
