"""What a separation run leaves behind: model folders, table and plots.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from speechbrain_dsn.inference.mixtures import Mixture
from speechbrain_dsn.inference.separation_evaluation import evaluate_mixtures
from speechbrain_dsn.inference.separation_scores import SeparationEvaluation
from speechbrain_dsn.plots import (
    plot_quality_against_macs,
)
from speechbrain_dsn.pretrained import (
    LoadedModel,
    load_model,
    make_card,
    save_model,
)
from speechbrain_dsn.report import separated_clip
from speechbrain_dsn.training.pictures import show_results
from speechbrain_dsn.training.results import (
    calibrate,
    run_info,
    save_levels,
    write_table,
)


def write_separation_results(
    separator: nn.Module,
    hparams: dict[str, Any],
    valid: Dataset,
    test: Sequence[Mixture],
) -> list[SeparationEvaluation]:
    """Calibrates on valid, saves model folders, and measures on test.

    A net with gates is compared with the static nets that its widths are,
    cut out of the same weights. Without a stage in which the gates learned,
    there are only these.

    Arguments
    ---------
    separator : torch.nn.Module
        Trained.
    hparams : dict
        With ``output_folder``, ``model_config``, ``model_folder``, ``plan``,
        ``default_budget``, ``test_metrics``, ``test_budgets``, ``workers``.
    valid : Dataset
        Batches to calibrate on.
    test : sequence of Mixture
        What to report.

    Returns
    -------
    list of SeparationEvaluation
        One per row of the table.
    """
    separator = separator.cpu().eval()
    config = run_info(hparams["model_config"], hparams)
    plan, budgets = hparams["plan"], [None]
    learned = any(s.gates == "policy" and s.epochs for s in plan.stages)
    if separator.dynamic:
        config = replace(
            config,
            calibration=calibrate(separator, valid),
            # Gates that never learned choose at random: all wide, then.
            default_budget=hparams["default_budget"] if learned else 1.0,
        )
        budgets = [None, *hparams["test_budgets"]] if learned else []
    folder = save_model(
        hparams["model_folder"],
        separator,
        config,
        make_card(config, separator),
        overwrite=True,
    )
    model, out = load_model(folder), Path(hparams["output_folder"])
    plans = [(model, budget) for budget in budgets]
    cut = save_levels(model, folder) if separator.dynamic else []
    plans += [(load_model(width), None) for width in cut]
    rows: list[SeparationEvaluation] = []
    for each, budget in plans:
        rows.append(
            evaluate_mixtures(
                each,
                test,
                hparams["test_metrics"],
                budget,
                hparams["workers"],
                rows[0].known if rows else None,
            )
        )
    write_table(rows, out)
    show_results(draw, model, rows, test, hparams)
    return rows


def draw(
    model: LoadedModel,
    rows: Sequence[SeparationEvaluation],
    mixture: Mixture,
    folder: Path,
) -> None:
    """Draws quality against cost, and the widths that a net chose.

    Arguments
    ---------
    model : LoadedModel
        What was trained.
    rows : sequence of SeparationEvaluation
        What was measured.
    mixture : Mixture
        One to draw widths of.
    folder : Path
        Gets PNG files.
    """
    if "si_sdri" in rows[0].files[0].enhanced:
        points = [row.point("si_sdri") for row in rows]
        plot_quality_against_macs(
            points, folder / "quality.png", "SI-SDRi (dB)"
        )
    if not model.enhancer.dynamic:
        return
    separated_clip(model, mixture).draw(folder / "widths.png")
