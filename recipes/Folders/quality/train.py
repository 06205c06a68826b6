#!/usr/bin/env python3
"""Train a quality predictor on a folder of speech and a folder of noise.

Run from this folder:
> python train.py hparams/quality.yaml --data_folder /path/to/data

The data folder holds ``speech/`` (one folder per speaker) and ``noise/``,
and may hold ``rir/``, ``manifest.csv`` and fixed lists. Mixtures are made on
the fly. A run that was stopped goes on where it was.

Authors
 * The speechbrain_dsn developers 2026
"""

import sys

if __name__ == "__main__":
    # In here, so that importing this file does nothing.
    import speechbrain_dsn  # noqa: F401  # isort: skip
    import speechbrain as sb
    from hyperpyyaml import load_hyperpyyaml

    from speechbrain_dsn.training.quality import run_quality

    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    sb.utils.distributed.ddp_init_group(run_opts)
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        experiment_directory=hparams["output_folder"],
        hyperparams_to_save=hparams_file,
        overrides=overrides,
    )
    run_quality(hparams, run_opts)
