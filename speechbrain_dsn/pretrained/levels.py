"""Static models cut out of one that chooses among widths or exits.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import replace

from speechbrain_dsn.pretrained.folder import LoadedModel
from speechbrain_dsn.pretrained.table import LOBES

__all__ = ["cut_levels"]


def cut_levels(model: LoadedModel) -> dict[float, LoadedModel]:
    """A static model for each choice, without the router.

    They show what the choice is worth.

    Arguments
    ---------
    model : LoadedModel
        Any.

    Returns
    -------
    dict of float to LoadedModel
        By utilization factor or number of the exit, with their own copies of
        the weights; nothing unless the model chooses among such.
    """
    config, lobe = model.config, model.enhancer.lobe
    name = LOBES[config.lobe].static
    if name is None:
        return {}
    arguments = {
        key: value
        for key, value in config.lobe_arguments.items()
        if key in LOBES[name].arguments
    }
    cuts = {}
    for level, only in enumerate(lobe.level_arguments):
        ((value,),) = only.values()
        static = replace(
            config,
            name=f"{config.name}-{value:g}",
            lobe=name,
            lobe_arguments={**arguments, **only},
            calibration=None,
            default_budget=None,
        )
        cut = static.build()
        cut.lobe.load_state_dict(lobe.slice_to(level).state_dict())
        cuts[value] = LoadedModel(cut.eval(), static)
    return cuts
