#!/usr/bin/env python3
"""Train an enhancer on shards of the DNS challenge.

Run from this folder:
> python train.py hparams/ftfnet.yaml --data_folder /path/to/shards
> torchrun --nproc_per_node 8 train.py hparams/mgt_dsn.yaml \\
    --data_folder /path/to/shards

The data folder is what ``prepare_shards.py`` has written. A run that was
stopped goes on where it was, in mid epoch too.

Authors
 * The speechbrain_dsn developers 2026
"""

import sys

if __name__ == "__main__":
    # In here, since the processes that score import this file again.
    import speechbrain_dsn  # noqa: F401  # isort: skip
    import speechbrain as sb
    from hyperpyyaml import load_hyperpyyaml

    from speechbrain_dsn.training.enhancement import run_enhancement

    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    sb.utils.distributed.ddp_init_group(run_opts)
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        experiment_directory=hparams["output_folder"],
        hyperparams_to_save=hparams_file,
        overrides=overrides,
    )
    run_enhancement(hparams, run_opts)
