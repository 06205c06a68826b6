"""Conversion within a recipe of SpeechBrain, from its YAML.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from speechbrain_dsn.convert.model import convert
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.lobes.models.dual_path.blocks import UTILIZATIONS

__all__ = ["convert_masknet"]

logger = logging.getLogger(__name__)


def convert_masknet(
    original: nn.Module,
    weights: str | None = None,
    patterns: str | Sequence[str] = "auto",
    utilizations: Sequence[float] = UTILIZATIONS,
    gated: bool = True,
) -> nn.Module:
    """Loads a trained net, and gives a converted copy of it.

    For YAML: ``MaskNet: !apply:speechbrain_dsn.convert.convert_masknet``, see
    ``hparams/convert_sepformer.yaml``. What was converted is logged.

    Arguments
    ---------
    original : torch.nn.Module
        As the recipe builds it; filled with the weights, and free to teach.
    weights : str, optional
        A checkpoint of SpeechBrain, ``masknet.ckpt``; without one the net
        stays as it is.
    patterns, utilizations, gated
        See :func:`~speechbrain_dsn.convert.convert`.

    Returns
    -------
    torch.nn.Module
        In training mode.

    Raises
    ------
    InputError
        If there is no such file, or it does not fit.

    Example
    -------
    >>> from speechbrain.lobes.models.dual_path import (
    ...     Dual_Path_Model,
    ...     SBTransformerBlock,
    ... )
    >>> block = SBTransformerBlock(1, 16, 4, 32)
    >>> net = convert_masknet(Dual_Path_Model(16, 16, block, block, K=10))
    >>> net(torch.randn(1, 16, 40)).shape
    torch.Size([2, 1, 16, 40])
    """
    if weights is not None:
        if not Path(weights).is_file():
            raise InputError(f"weights: expected a file, found no {weights}")
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            original.load_state_dict(state)
        except Exception as error:  # of the pickle, or of what is in it
            line = " ".join(str(error).split())[:200]
            raise InputError(f"{weights} does not fit: {line}") from error
    net, report = convert(original, patterns, utilizations, gated)
    logger.info("converted %s\n%s", type(original).__name__, report)
    return net.train()
