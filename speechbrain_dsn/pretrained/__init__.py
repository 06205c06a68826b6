"""Model folders, and the models that come with the package.

A model folder holds ``config.json`` (names and numbers), ``model.safetensors``
(weights) and ``README.md`` (the card). Loading one executes nothing of it.

Authors
 * The speechbrain_dsn developers 2026
"""

from speechbrain_dsn.pretrained.card import make_card
from speechbrain_dsn.pretrained.config import ModelConfig
from speechbrain_dsn.pretrained.folder import (
    LoadedModel,
    available,
    load_model,
    save_model,
)
from speechbrain_dsn.pretrained.levels import cut_levels

__all__ = [
    "LoadedModel",
    "ModelConfig",
    "available",
    "cut_levels",
    "load_model",
    "make_card",
    "save_model",
]
