"""Four sequential tasks whose GRUs are quantised.

The paper (arXiv 2402.12263) searches on four sequential tasks, too; these
are ours. Models that do not ship are trained on the spot and kept.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from speechbrain_dsn.dataio.tables import fingerprint, write_bytes
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.lobes.models.ftfnet import FTFNet
from speechbrain_dsn.lobes.models.nsnet2 import DynamicNsNet2, NsNet2
from speechbrain_dsn.lobes.models.nsnet2.stages import RecurrentStage
from speechbrain_dsn.losses import MultiResolutionCompressedLoss
from speechbrain_dsn.losses.waveform import negative_si_sdr
from speechbrain_dsn.miniset import miniset_folder
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig, load_model
from speechbrain_dsn.pretrained.weights import dump_weights, read_weights
from speechbrain_dsn.quantization.digits import (
    DigitReader,
    draw_digits,
    train_reader,
)
from speechbrain_dsn.quantization.exits import (
    Chooser,
    train_chooser,
)
from speechbrain_dsn.quantization.signals import Signals
from speechbrain_dsn.quantization.subject import SPLITS, Task

__all__ = ["TASKS", "TaskOptions", "make_task", "task_of_model"]

Batch = tuple[Tensor, Tensor]  # input, and what it is compared with
# What counts as equal: in dB, and in shares of frames or digits.
EQUAL_DB, EQUAL_SHARE = 0.05, 0.005
SMALL = [64, 64, 64, 96, 96]  # of an nsNet2 that is trained on the spot


@dataclass(frozen=True)
class TaskOptions:
    """Where a task gets its model and its data from.

    Arguments
    ---------
    folder : Path
        Where trained models and lists are kept.
    model : str, optional
        A shipped model or a model folder; by default that of the task.
    data_folder : Path, optional
        With ``speech/`` and ``noise/``; the bundled mini set by default.
    steps : int, optional
        Of a model that is trained on the spot; each task has a default.
    items : int
        Mixtures (for digits: hundreds of digits) to search on, to choose by
        and to test on.
    seconds : float
        Longest part of a mixture.
    seed : int
        Of training and of data.
    """

    folder: Path
    model: str | None = None
    data_folder: Path | None = None
    steps: int | None = None
    items: int = 20
    seconds: float = 4.0
    seed: int = 0

    @property
    def signals(self) -> Signals:
        """Mixtures to train and to measure on."""
        root = self.data_folder or miniset_folder()
        return Signals(
            root, self.folder / "data", self.items, self.seconds, self.seed
        )


def make_task(name: str, options: TaskOptions) -> Task:
    """A task by its name.

    Arguments
    ---------
    name : str
        A key of `TASKS`.
    options : TaskOptions
        Model and data.

    Returns
    -------
    Task
        With a trained model.

    Raises
    ------
    InputError
        If the task is unknown, or model or data do not suit it.
    """
    if name not in TASKS:
        raise InputError(
            f"unknown task {name!r}, expected one of {', '.join(TASKS)}"
        )
    for what, least in (("items", 1), ("seconds", 0.5)):
        if getattr(options, what) < least:
            raise InputError(
                f"{what} is {getattr(options, what):g}, expected at least "
                f"{least:g}"
            )
    if options.steps is not None and options.steps < 1:
        raise InputError(f"steps is {options.steps}, expected at least 1")
    return TASKS[name](options)


def task_of_model(model: str) -> str:
    """The task that a model is usually quantised for.

    Arguments
    ---------
    model : str
        A shipped model or a model folder.

    Returns
    -------
    str
        A key of `TASKS`.

    Raises
    ------
    InputError
        If none of its layers is a GRU that can be quantised.

    Example
    -------
    >>> task_of_model("mgt-dsn")
    'ftfnet'
    """
    lobe = load_model(model).enhancer.lobe
    for kind, task in ((FTFNet, "ftfnet"), (NsNet2, "nsnet2")):
        if isinstance(lobe, kind):
            return task
    raise InputError(
        f"model {model} is a {type(lobe).__name__}: expected an FTF-Net or "
        "an nsNet2, whose GRUs can be quantised"
    )


def _model(options: TaskOptions, default: str, kind: type) -> LoadedModel:
    name = options.model or default
    model = load_model(name)
    if not isinstance(model.enhancer.lobe, kind):
        raise InputError(
            f"model {name} is a {type(model.enhancer.lobe).__name__}: this "
            f"task is for a {kind.__name__}"
        )
    return model


def _enhancement(
    name: str, options: TaskOptions, model: LoadedModel, grus: list[str]
) -> Task:
    decide = model.decide()

    def output(enhancer: nn.Module, batch: Batch) -> Tensor:
        return enhancer(batch[0], **decide)[0]

    def score(estimate: Tensor, batch: Batch) -> Tensor:
        return negative_si_sdr(estimate, batch[1])

    rate = model.config.sample_rate
    return Task(
        name,
        model.enhancer,
        grus,
        "negative SI-SDR in dB",
        options.signals.batches(rate),
        output,
        score,
        model.config.name,
        EQUAL_DB,
    )


def ftfnet(options: TaskOptions) -> Task:
    """The time GRU of an FTF-Net that ships, or of another one."""
    model = _model(options, "ftfnet", FTFNet)
    return _enhancement("ftfnet", options, model, ["lobe.time.rnn"])


def nsnet2(options: TaskOptions) -> Task:
    """All GRUs of an nsNet2: of a small one that is trained here, or of a
    model folder."""
    if options.model is None:
        model = _trained_nsnet2(options)
    else:
        model = _model(options, "", NsNet2)
    grus = [
        f"lobe.{name}.layer"
        for name, stage in model.enhancer.lobe.named_modules()
        if isinstance(stage, RecurrentStage)
    ]
    if not grus:
        raise InputError(
            f"model {model.config.name} has no GRU: expected an exit behind "
            "its first stage"
        )
    return _enhancement("nsnet2", options, model, grus)


def _trained_nsnet2(options: TaskOptions) -> LoadedModel:
    config = ModelConfig("nsnet2-small", "nsnet2", {"units": SMALL})
    enhancer, steps = config.build(), options.steps or 200
    loss = MultiResolutionCompressedLoss()

    def train() -> None:
        optimiser = torch.optim.Adam(enhancer.parameters(), 2e-3)
        for noisy, clean in options.signals.training(steps, 1.0, "nsnet2"):
            error = loss(enhancer(noisy)[0], clean).mean()
            optimiser.zero_grad()
            error.backward()
            optimiser.step()

    _remembered(enhancer, train, options, ("nsnet2", SMALL, steps))
    return LoadedModel(enhancer, config)


def exits(options: TaskOptions) -> Task:
    """The policy that chooses the exit of each frame of a dynamic nsNet2."""
    if options.model is None:
        chooser, origin = Chooser.small(), "policy-small"
        steps = options.steps or 200

        def train() -> None:
            clips = options.signals.training(steps, 1.0, "policy")
            train_chooser(chooser, clips)

        _remembered(chooser, train, options, ("exits", steps))
    else:
        model = _model(options, "", DynamicNsNet2)
        chooser, origin = Chooser.of(model), model.config.name
    data = options.signals.batches(chooser.sample_rate)
    with torch.no_grad():
        chosen = {
            split: [(noisy, chooser(noisy).argmax(-1)) for noisy, _ in batches]
            for split, batches in data.items()
        }
    return Task(
        "exits",
        chooser,
        ["router.memory"],
        "share of frames that choose another exit than with real numbers",
        chosen,
        _on_input,
        _misses,
        origin,
        EQUAL_SHARE,
    )


def digits(options: TaskOptions) -> Task:
    """A small GRU that reads generated digits."""
    if options.model is not None:
        raise InputError(
            f"--model {options.model}: the task digits trains its own model"
        )
    reader, steps = DigitReader(), options.steps or 400
    generator = torch.Generator().manual_seed(options.seed)

    def train() -> None:
        train_reader(reader, steps, generator)

    _remembered(reader, train, options, ("digits", steps))
    data = {}
    for number, split in enumerate(SPLITS, 1):
        own = torch.Generator().manual_seed(10_000 * number + options.seed)
        data[split] = [draw_digits(100 * options.items, own)]

    return Task(
        "digits",
        reader,
        ["gru"],
        "error rate",
        data,
        _on_input,
        _misses,
        "digits-small",
        EQUAL_SHARE,
    )


def _on_input(model: nn.Module, batch: Batch) -> Tensor:
    """Logits ``[..., classes]``."""
    return model(batch[0])


def _misses(logits: Tensor, batch: Batch) -> Tensor:
    """0 or 1 for each class that was to be found."""
    return (logits.argmax(-1) != batch[1]).double().flatten()


def _remembered(
    model: nn.Module,
    train: Callable[[], None],
    options: TaskOptions,
    settings: tuple,
) -> None:
    """Trains, or reads what was trained with the same settings."""
    where = str(options.data_folder or "miniset")
    key = fingerprint([], [*settings, options.seed, where])
    path = options.folder / f"{settings[0]}-{key[:12]}.safetensors"
    if path.is_file():
        model.load_state_dict(read_weights(path, model.state_dict()))
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            for layer in model.modules():
                if hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()
            model.train()
            train()
        write_bytes(path, dump_weights(model.state_dict()))
    model.eval().requires_grad_(False)


TASKS = MappingProxyType(
    {"nsnet2": nsnet2, "ftfnet": ftfnet, "exits": exits, "digits": digits}
)
