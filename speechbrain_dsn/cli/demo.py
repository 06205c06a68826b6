"""``speechbrain-dsn demo``: enhance the bundled clips, then train on them.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_dsn.cli.enhance import draw
from speechbrain_dsn.cli.output import add_model_argument, table
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.inference.files import FileReport
    from speechbrain_dsn.metrics import Score
    from speechbrain_dsn.pretrained import LoadedModel

METRICS = ("pesq", "si_sdr", "dnsmos_ovrl")
# What two cores train in a minute of the mini recipe's eight epochs.
BATCHES_PER_MINUTE = 16
MINUTES = 4.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``demo``."""
    parser.add_argument(
        "-o",
        "--out",
        default="demo_out",
        metavar="DIR",
        help="folder for audio, plots and the small model (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        metavar="M",
        help="about how long to train on two cores; 0 leaves it out "
        "(default: %(default)g)",
    )
    add_model_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Enhance, score, draw, train."""
    if not 0 <= args.minutes <= 24 * 60:
        raise InputError(
            f"--minutes {args.minutes:g}: expected a number from 0 to 1440"
        )
    from speechbrain_dsn.metrics import require_metrics
    from speechbrain_dsn.plots import require_matplotlib
    from speechbrain_dsn.pretrained import load_model

    require_metrics(METRICS)
    require_matplotlib()
    model = load_model(args.model)
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make folder {out}: {error.strerror}"
        ) from error
    print(f"Bundled noisy clips, enhanced by {model.config.name}:\n")
    print(enhance_clips(model, out / "clips"))
    print(f"\nAudio and plots are in {out / 'clips'}.")
    if args.minutes:
        print("\nA small MGT-DSN, trained on the bundled mini set:\n")
        train_mini(out / "mini", args.minutes)
    return 0


def enhance_clips(model: LoadedModel, folder: Path) -> str:
    """Enhances each clip, draws its gates, scores it before and after.

    Arguments
    ---------
    model : LoadedModel
        What to enhance with.
    folder : Path
        Gets a FLAC and a PNG of each clip; those of an earlier demo are
        replaced.

    Returns
    -------
    str
        A line per clip.
    """
    from tqdm import tqdm

    from speechbrain_dsn.inference.files import enhance_to_file
    from speechbrain_dsn.metrics import Job, evaluate_many
    from speechbrain_dsn.miniset import demo_clips

    folder.mkdir(exist_ok=True)
    clips = demo_clips()
    reports = []
    for noisy, _ in tqdm(clips, "enhance", unit="clip"):
        output = folder / noisy.name
        reports.append(enhance_to_file(model, noisy, output, overwrite=True))
        draw(reports[-1], output.with_suffix(".png"))
    jobs = [Job(noisy, clean) for noisy, clean in clips]
    jobs += [
        Job(report.output, clean)
        for report, (_, clean) in zip(reports, clips, strict=True)
    ]
    scores = evaluate_many(jobs, METRICS)
    before, after = scores[: len(clips)], scores[len(clips) :]
    return _clips_table(reports, before, after)


def _clips_table(
    reports: list[FileReport],
    before: list[dict[str, Score]],
    after: list[dict[str, Score]],
) -> str:
    """A line per clip; below, why a score is missing."""
    from speechbrain_dsn.metrics import METRICS as KNOWN

    titles = [KNOWN[name].title for name in METRICS]
    rows, notes = [], []
    for report, noisy, enhanced in zip(reports, before, after, strict=True):
        clip = Path(report.path).stem
        pairs = [(noisy[name], enhanced[name]) for name in METRICS]
        rows.append(
            [
                clip,
                *(f"{x.value:.2f} -> {y.value:.2f}" for x, y in pairs),
                f"{report.activation:.2f}",
                f"{report.macs_per_second / 1e6:.0f}",
            ]
        )
        notes += [
            f"{clip}: {title}: {score.reason}"
            for title, pair in zip(titles, pairs, strict=True)
            for score in pair
            if score.reason
        ]
    text = table(["clip", *titles, "activation", "M MAC/s"], rows)
    return "\n".join([text, *notes])


def train_mini(
    out: Path, minutes: float = MINUTES, overrides: Sequence[str] = ()
) -> None:
    """Trains a small MGT-DSN by the recipe; a stopped run goes on.

    Arguments
    ---------
    out : Path
        Folder of the run: log, checkpoints, model folder, results.
    minutes : float
        About how long it takes on two cores.
    overrides : sequence of str
        Further ones of the recipe's values, as its command line takes them.
    """
    import speechbrain as sb
    from hyperpyyaml import load_hyperpyyaml

    from speechbrain_dsn.miniset import miniset_folder
    from speechbrain_dsn.training.enhancement import run_enhancement

    batches = max(1, round(minutes * BATCHES_PER_MINUTE))
    recipe = miniset_folder() / "mgt_dsn_mini.yaml"
    path, run_opts, changes = sb.parse_arguments(
        [
            str(recipe),
            f"--data_folder={miniset_folder()}",
            f"--output_folder={out.resolve()}",
            f"--batches_per_epoch={batches}",
            *overrides,
        ]
    )
    with open(path, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, changes)
    sb.create_experiment_directory(
        experiment_directory=hparams["output_folder"],
        hyperparams_to_save=path,
        overrides=changes,
    )
    run_enhancement(hparams, run_opts)
