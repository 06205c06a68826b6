"""Model folders of static nets to model folders of nets with widths or gates.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from torch import nn

from speechbrain_dsn.convert.model import convert
from speechbrain_dsn.convert.report import Report
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import Calibration
from speechbrain_dsn.lobes.models.dual_path.blocks import UTILIZATIONS
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["CARD", "convert_loaded"]

# What a static lobe becomes without gates, and with.
TARGETS = MappingProxyType(
    {
        "ftfnet": (None, "dynamic_ftfnet"),
        "demucs": ("demucs", "slim_demucs"),
        "dual_path": ("dual_path", "slim_dual_path"),
    }
)
# A gate that was not trained is known at its ends only.
ENDS = Calibration((0.0, 1.0), (-1e4, 1e4))
CARD = (
    "Converted from {name}: as good as that at full width, which is what it "
    "runs unless told otherwise. Narrow widths and gates are to be trained "
    "first."
)


def convert_loaded(
    model: LoadedModel,
    utilizations: Sequence[float] = UTILIZATIONS,
    gated: bool = False,
    name: str | None = None,
) -> tuple[LoadedModel, Report]:
    """Converts a model of ours.

    Arguments
    ---------
    model : LoadedModel
        Static, of one width.
    utilizations : sequence of float
        See :func:`~speechbrain_dsn.convert.convert`.
    gated : bool
        Whether gates are attached; FTF-Net has nothing else.
    name : str, optional
        Of the new model, that of the old one with ``slim-`` by default.

    Returns
    -------
    tuple
        A model that runs at full width by default, and a
        :class:`~speechbrain_dsn.convert.Report`.

    Raises
    ------
    InputError
        For a model that cannot be converted.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import ModelConfig
    >>> config = ModelConfig("tiny", "ftfnet", {"channels": [8, 8, 16]})
    >>> old = LoadedModel(config.build(), config)
    >>> model, _ = convert_loaded(old, gated=True)
    >>> model.config.lobe, model.config.default_budget
    ('dynamic_ftfnet', 1.0)
    """
    config = model.config
    if config.lobe not in TARGETS:
        raise InputError(
            f"model {config.name} is of {config.lobe}: expected a static net "
            f"of {', '.join(TARGETS)}"
        )
    target = TARGETS[config.lobe][gated]
    if target is None:
        raise InputError(
            f"model {config.name} is of {config.lobe}, which has no widths: "
            "expected that a gate is asked for"
        )
    lobe, report = convert(model.enhancer.lobe, "auto", utilizations, gated)
    changed = replace(
        config,
        name=name or f"slim-{config.name}"[:64],
        lobe=target,
        lobe_arguments={**config.lobe_arguments, **_new_arguments(lobe)},
        calibration=ENDS if gated else None,
        default_budget=1.0 if gated else None,
        info={**config.info, "converted from": config.name},
    )
    enhancer = changed.build()
    enhancer.lobe.load_state_dict(lobe.state_dict())
    return LoadedModel(enhancer, changed), report


def _new_arguments(lobe: nn.Module) -> dict[str, int | list[float]]:
    """What the old configuration does not say."""
    if hasattr(lobe, "utilizations"):
        return {"utilizations": list(lobe.utilizations)}
    return {"static_groups": lobe.freq1.rnn.static_groups}
