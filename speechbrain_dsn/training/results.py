"""What a run leaves behind: calibration, model folder, table and plots.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from speechbrain_dsn.cost import MacMeter
from speechbrain_dsn.dataio.tables import write_text
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.inference.evaluation import (
    Evaluation,
    Pair,
    evaluate_pairs,
)
from speechbrain_dsn.inference.scores import CONDITION_TITLES, results_table
from speechbrain_dsn.metrics import METRICS
from speechbrain_dsn.plots import (
    plot_quality_against_macs,
    plot_usage,
)
from speechbrain_dsn.pretrained import (
    LoadedModel,
    ModelConfig,
    cut_levels,
    load_model,
    make_card,
    save_model,
)
from speechbrain_dsn.report import enhanced_clip
from speechbrain_dsn.training.pictures import show_results

logger = logging.getLogger(__name__)

# Shares of open gates at whose bias a net with many gates is tried.
PROBES = np.array([0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 0.99])


@torch.inference_mode()
def calibrate(enhancer: nn.Module, valid: Dataset) -> Calibration:
    """The bias for every budget, from the logits on valid.

    Arguments
    ---------
    enhancer : torch.nn.Module
        A net that decides, in eval mode.
    valid : Dataset
        Batches of valid, never of test.

    Returns
    -------
    Calibration
        From mean activation to bias.
    """
    cost, logits = enhancer.report().cost, []
    several = len(cost.gated) > 1 and not cost.one_hot
    # Of many gates some are enough to know where to try.
    step = 1 + len(cost.gated) // 64 if several else 1
    for index in range(len(valid)):
        _, decision = enhancer(valid[index].noisy)
        rows = decision.logits[decision.mask().bool().squeeze(-1)]
        logits.append(rows[:, ::step].clone())
    rows = torch.cat(logits).numpy()
    if cost.one_hot:  # each choice of a frame counts alike
        choices = rows.reshape(-1, len(cost.levels))
        return Calibration.from_logits(choices, levels=cost.levels)
    if not several:
        return Calibration.from_logits(rows[:, 0])
    biases = -np.quantile(rows, 1 - PROBES)
    reached = [_activation(enhancer, valid, bias) for bias in biases.tolist()]
    return Calibration.from_curve(biases, reached)


def _activation(enhancer: nn.Module, valid: Dataset, bias: float) -> float:
    """Mean activation on valid with a bias."""
    meter = MacMeter(enhancer.report().cost)
    for index in range(len(valid)):
        meter.update(enhancer(valid[index].noisy, bias=bias)[1])
    return meter.activation


@torch.inference_mode()
def calibrate_strength(
    enhancer: nn.Module,
    valid: Dataset,
    strengths: Sequence[float],
    **decide: float,
) -> float:
    """The strength of the mask that gives the best mean PESQ on valid.

    Arguments
    ---------
    enhancer : torch.nn.Module
        In eval mode; it has the best strength afterwards.
    valid : Dataset
        Batches of valid, never of test.
    strengths : sequence of float
        What to try.
    **decide : float
        Passed to a net that decides: bias.

    Returns
    -------
    float
        One of ``strengths``.
    """
    means = {}
    for enhancer.strength in strengths:
        scores = []
        for index in range(len(valid)):
            batch = valid[index]
            estimate, _ = enhancer(batch.noisy, **decide)
            clean, wav = batch.clean[0].numpy(), estimate[0].numpy()
            rate = enhancer.sample_rate
            scores.append(METRICS["pesq"](clean, wav, rate).value)
        means[enhancer.strength] = float(np.nanmean(scores))
        logger.info(
            "strength %.2f: PESQ %.3f", enhancer.strength, np.nanmean(scores)
        )
    enhancer.strength = max(means, key=means.get)
    return enhancer.strength


def write_results(
    enhancer: nn.Module,
    hparams: dict[str, Any],
    valid: Dataset,
    test: list[Pair],
) -> list[Evaluation]:
    """Calibrates on valid, saves the model folder, and measures on test.

    Arguments
    ---------
    enhancer : torch.nn.Module
        Trained.
    hparams : dict
        With ``output_folder``, ``model_config``, ``model_folder``,
        ``default_budget``, ``strengths``, ``test_metrics``, ``test_budgets``, ``workers``.
    valid : Dataset
        Batches to calibrate on.
    test : list of Pair
        What to report.

    Returns
    -------
    list of Evaluation
        One per row of the table.
    """
    enhancer = enhancer.cpu().eval()
    config, budgets = run_info(hparams["model_config"], hparams), [None]
    if enhancer.dynamic:
        config = replace(
            config,
            calibration=calibrate(enhancer, valid),
            default_budget=hparams["default_budget"],
        )
        budgets += hparams["test_budgets"]
        decide = {"bias": config.calibration.bias(hparams["default_budget"])}
    else:
        decide = {}
    if hparams["strengths"]:
        strength = calibrate_strength(
            enhancer, valid, hparams["strengths"], **decide
        )
        front_end = {**config.front_end_arguments, "strength": strength}
        config = replace(config, front_end_arguments=front_end)
    folder = save_model(
        hparams["model_folder"],
        enhancer,
        config,
        make_card(config, enhancer),
        overwrite=True,
    )
    model, out = load_model(folder), Path(hparams["output_folder"])
    save_levels(model, folder)
    rows = measure(model, test, hparams["test_metrics"], budgets, hparams)
    write_table(rows, out)
    show_results(draw, model, rows, test, hparams)
    return rows


def run_info(config: ModelConfig, hparams: dict[str, Any]) -> ModelConfig:
    """A configuration that says how long its net was trained.

    Arguments
    ---------
    config : ModelConfig
        Of the net.
    hparams : dict
        With ``plan``, ``batches_per_epoch`` and ``seed``.

    Returns
    -------
    ModelConfig
        With ``epochs``, ``steps`` and ``seed`` in its info.
    """
    epochs = hparams["plan"].epochs
    info = {
        "epochs": epochs,
        "steps": epochs * hparams["batches_per_epoch"],
        "seed": hparams["seed"],
    }
    return replace(config, info={**config.info, **info})


def save_levels(model: LoadedModel, folder: Path) -> list[Path]:
    """Cuts a net with a router into static ones, a folder for each choice.

    Without the router, they show what the choice is worth.

    Arguments
    ---------
    model : LoadedModel
        Nothing happens unless it chooses among widths or exits.
    folder : Path
        The model's own; theirs get its name and the utilization factor, or
        the number of the exit.

    Returns
    -------
    list of Path
        Model folders.
    """
    written = []
    for value, cut in cut_levels(model).items():
        place = folder.with_name(f"{folder.name}-{value:g}")
        card = make_card(cut.config, cut.enhancer)
        saved = save_model(
            place, cut.enhancer, cut.config, card, overwrite=True
        )
        written.append(saved)
    return written


def measure(
    model: LoadedModel,
    test: list[Pair],
    metrics: list[str],
    budgets: list[float | None],
    hparams: dict[str, Any],
) -> list[Evaluation]:
    """Evaluates a model at several budgets; the inputs are scored once.

    Arguments
    ---------
    model : LoadedModel
        From the run's own model folder.
    test : list of Pair
        What to report.
    metrics : list of str
        Columns of the table.
    budgets : list of float or None
        None is the model's default.
    hparams : dict
        With ``workers``.

    Returns
    -------
    list of Evaluation
        In the order of the budgets.
    """
    rows: list[Evaluation] = []
    for budget in budgets:
        first = rows[0] if rows else None
        default = model.config.default_budget
        if first and first.budget is None and budget == default:
            rows.append(replace(first, budget=budget))  # the default by number
            continue
        noisy = first.noisy if first else None
        rows.append(
            evaluate_pairs(
                model, test, metrics, budget, hparams["workers"], noisy
            )
        )
    return rows


def write_table(rows: Sequence[Evaluation], folder: Path) -> None:
    """Prints and writes the results table, and all numbers as JSON.

    Arguments
    ---------
    rows : sequence of Evaluation
        At least one.
    folder : Path
        Gets ``results.md`` and ``results.json``.
    """
    text = results_table(rows).markdown()
    print(text)
    write_text(folder / "results.md", text + "\n")
    values = [row.as_dict() for row in rows]
    write_text(folder / "results.json", json.dumps(values, indent=1) + "\n")


def draw(
    model: LoadedModel, rows: list[Evaluation], pair: Pair, folder: Path
) -> None:
    """Draws quality against cost, and for a net that decides its gates.

    Arguments
    ---------
    model : LoadedModel
        What was measured.
    rows : list of Evaluation
        The first one is the model's default.
    pair : Pair
        A test file whose gates are drawn over its spectrogram.
    folder : Path
        Gets PNG files.
    """
    if "pesq" in rows[0].files[0].enhanced:
        points = [row.point("pesq") for row in rows]
        plot_quality_against_macs(points, folder / "quality.png")
    if not model.enhancer.dynamic:
        return
    use = [file.activation for file in rows[0].files]
    for name, values in rows[0].conditions.items():
        path = folder / f"usage_{name.removeprefix('dnsmos_')}.png"
        plot_usage(use, values, path, CONDITION_TITLES[name])
    enhanced_clip(model, pair).draw(folder / "gates.png")
