"""What a run shows of its results: plots, loggers, and a page.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from speechbrain.utils.train_logger import TensorboardLogger, WandBLogger

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.mixtures import Mixture
from speechbrain_dsn.inference.pairs import Pair
from speechbrain_dsn.inference.scores import Evaluation
from speechbrain_dsn.plots import require_matplotlib
from speechbrain_dsn.pretrained import LoadedModel
from speechbrain_dsn.report import choose_clips, make_clip, write_page

__all__ = ["log_pictures", "show_results"]

logger = logging.getLogger(__name__)

CLIP_SECONDS = 6.0


def show_results(
    draw: Callable[..., None],
    model: LoadedModel,
    rows: Sequence[Evaluation],
    test: Sequence[Pair | Mixture],
    hparams: dict[str, Any],
) -> None:
    """Draws the results, hands the plots to loggers, and writes a page.

    Arguments
    ---------
    draw : callable
        Of model, rows, one of ``test`` and a folder; writes PNG files there.
    model : LoadedModel
        What was trained.
    rows : sequence of Evaluation
        What was measured.
    test : sequence of Pair or Mixture
        On these.
    hparams : dict
        With ``output_folder``, which gets ``report.html`` as well; and
        perhaps with loggers.
    """
    folder, clips = Path(hparams["output_folder"]), []
    try:
        require_matplotlib()
    except InputError as error:
        logger.warning("no plots: %s", error)
    else:
        draw(model, rows, test[0], folder)
        log_pictures(hparams, folder)
        clips = [
            make_clip(model, item, seconds=CLIP_SECONDS)
            for item in choose_clips(test, rows)
        ]
    write_page(folder / "report.html", rows, clips, model.config.name)


def log_pictures(hparams: dict[str, Any], folder: Path) -> None:
    """Gives the plots in a folder to SpeechBrain's loggers of pictures.

    Arguments
    ---------
    hparams : dict
        Any value in it may be a ``TensorboardLogger`` or a ``WandBLogger``.
    folder : Path
        With PNG files.
    """
    paths = sorted(folder.glob("*.png"))
    for value in hparams.values():
        if isinstance(value, TensorboardLogger):
            from matplotlib.image import imread

            for path in paths:
                value.writer.add_image(
                    path.stem,
                    imread(path)[..., :3],
                    value.global_step["meta"],
                    dataformats="HWC",
                )
            value.writer.flush()
        elif isinstance(value, WandBLogger):
            from wandb import Image

            value.run.log({path.stem: Image(str(path)) for path in paths})
