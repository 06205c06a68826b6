#!/usr/bin/env python3
"""Mix the folders of the DNS challenge to shards, once.

Run from this folder:
> python prepare_shards.py /path/to/DNS /path/to/shards --hours 140 \\
    --speech read_speech --workers 16

A preparation that was killed goes on where it was: run it again. With more
hours, it adds to the shards that are there.

Authors
 * The speechbrain_dsn developers 2026
"""

import argparse
import sys


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; names are those of `prepare_dns`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("data_folder", help="what the archives were unpacked to")
    add("out_folder", help="gets train_shards, valid_shards, test_shards")
    add("--hours", type=float, default=140.0, help="to train on (140)")
    add("--clip_seconds", type=float, default=4.0, help="of a clip (4)")
    add("--clips_per_shard", type=int, default=250, help="(250)")
    add(
        "--speech",
        nargs="+",
        default=(),
        help="folders of speech, such as read_speech (all)",
    )
    add("--test_set", help="a synthetic test set, with noisy/ and clean/")
    add(
        "--counts",
        type=int,
        nargs=2,
        default=(60, 180),
        help="mixtures drawn for valid and test (60 180)",
    )
    add("--snr_db", type=float, nargs=2, default=(-5.0, 20.0), help="(-5 20)")
    add("--reverb_probability", type=float, default=0.2, help="(0.2)")
    add("--seed", type=int, default=1234, help="of the clips (1234)")
    add("--workers", type=int, default=1, help="processes (1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    # In here, since the processes that mix import this file again.
    from speechbrain_dsn.dataio.dns_shards import prepare_dns
    from speechbrain_dsn.errors import InputError

    options = parse(sys.argv[1:])
    try:
        written = prepare_dns(**vars(options))
    except InputError as error:
        sys.exit(f"error: {error}")
    for split, meta in written.items():
        print(
            f"{split}: {meta['num_data_samples']} clips in "
            f"{len(meta['clips'])} shards, {len(meta['bad'])} files left out"
        )
