#!/usr/bin/env python3
"""Train a separator on WSJ0-2mix or WSJ0-3mix.

Run from this folder:
> python train.py hparams/static.yaml --data_folder /path/to/data --width 0.5
> python train.py hparams/gated.yaml --data_folder /path/to/data

The data folder holds ``wav8k/min/{tr,cv,tt}/{mix,s1,s2}``, or one's own
mixtures as ``{train,valid,test}/{mixture,source1,source2}``.
A run that was stopped goes on where it was. Several processes:
> torchrun --nproc_per_node=2 train.py hparams/gated.yaml --data_folder ...

Authors
 * The speechbrain_dsn developers 2026
"""

import sys

if __name__ == "__main__":
    # In here, since the processes that score import this file again.
    import speechbrain_dsn  # noqa: F401  # isort: skip
    import speechbrain as sb
    from hyperpyyaml import load_hyperpyyaml

    from speechbrain_dsn.training.separation import run_separation

    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    sb.utils.distributed.ddp_init_group(run_opts)
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        experiment_directory=hparams["output_folder"],
        hyperparams_to_save=hparams_file,
        overrides=overrides,
    )
    run_separation(hparams, run_opts)
