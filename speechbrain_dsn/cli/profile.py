"""``speechbrain-dsn profile``: MACs per layer, parameters, real-time factor.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from typing import Any

from speechbrain_dsn.cli.output import (
    add_json_argument,
    add_model_argument,
    check_json_target,
    emit,
    table,
)
from speechbrain_dsn.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``profile``."""
    add_model_argument(parser)
    parser.add_argument(
        "--activation",
        type=float,
        metavar="0..1",
        help="a further mean activation, beside 0, 0.5 and 1 or those of the "
        "widths",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the profile."""
    check_json_target(args.json)
    from speechbrain_dsn.inference.profiling import (
        profile_model,
        usual_activations,
    )
    from speechbrain_dsn.pretrained import load_model

    model = load_model(args.model)
    activations = set(usual_activations(model))
    if args.activation is not None:
        low = model.enhancer.report().cost.levels[0]
        if not low <= args.activation <= 1:
            raise InputError(
                f"--activation {args.activation:g}: expected a number from "
                f"{low:g} to 1"
            )
        activations.add(args.activation)
    values = profile_model(model, sorted(activations))
    emit(values, _as_text(values), args.json)
    return 0


def _as_text(values: dict[str, Any]) -> str:
    """A line per layer: M MAC/s at each activation."""
    total = values["macs_per_second"]
    rows = {**values["layers"], "total": total}
    lines = [
        [name, *(f"{macs / 1e6:.3f}" for macs in costs.values())]
        for name, costs in rows.items()
    ]
    lines.append(["RTF", *(f"{rtf:.4f}" for rtf in values["rtf"].values())])
    delay = values["latency_ms"]
    latency = "offline" if delay is None else f"latency {delay:g} ms"
    kind = "dynamic" if values["dynamic"] else "static"
    return (
        f"{values['model']}: {kind}, {values['parameters']:,} parameters, "
        f"{values['sample_rate']} Hz, {values['frame_rate']:g} frames/s, "
        f"{latency}\n"
        "M MAC/s and real-time factor (offline, one thread) by activation\n"
        + table(["layer", *total], lines)
        + _memory(values)
    )


def _memory(values: dict[str, Any]) -> str:
    """Of a quality predictor: maps and weights of each layer in each mode."""
    if "memory_bytes" not in values:
        return ""
    modes = values["memory_bytes"]
    layers = {
        name: [
            f"{values['memory_layers'][mode][name]['maps']:,} + "
            f"{values['memory_layers'][mode][name]['weights']:,}"
            for mode in modes
        ]
        for name in values["layers"]
    }
    lines = [[name, *cells] for name, cells in layers.items()]
    lines.append(["largest + all", *(f"{total:,}" for total in modes.values())])
    found = values["memory_conditions"]
    return (
        f"\nbytes of maps + weights for {found['seconds']:g} s, this model "
        f"being {found['mode']}\n" + table(["layer", *modes], lines)
    )
