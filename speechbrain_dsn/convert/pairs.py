"""Two layers in a row with something in between that acts on units alone.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

from speechbrain.nnet.activations import Swish
from speechbrain.nnet.containers import Sequential
from speechbrain.nnet.linear import Linear
from torch import nn

__all__ = ["conv_pair", "linear_pair", "runs_in_order"]

# An output depends on the same unit's input only; no weights.
POINTWISE = (
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.Hardtanh,
    nn.Hardswish,
    Swish,
)


def runs_in_order(module: nn.Module) -> bool:
    """Whether a module runs its children one after the other, and no more.

    Arguments
    ---------
    module : torch.nn.Module
        Any.

    Returns
    -------
    bool
        Of torch's and SpeechBrain's ``Sequential``.
    """
    return type(module) in (nn.Sequential, Sequential)


def linear_pair(
    modules: Sequence[nn.Module],
) -> tuple[nn.Linear, nn.Module, float, nn.Linear] | None:
    """Linear, activation, perhaps dropout, Linear.

    Arguments
    ---------
    modules : sequence of torch.nn.Module
        Exactly these.

    Returns
    -------
    tuple or None
        First layer, activation, dropout rate, second layer.

    Example
    -------
    >>> pair = [nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)]
    >>> linear_pair(pair)[1:3], linear_pair(pair[:2])
    ((ReLU(), 0.0), None)
    """
    if len(modules) not in (3, 4):
        return None
    expand, activation, *drop, contract = modules
    expand, contract = _dense(expand), _dense(contract)
    if expand is None or contract is None or not _pointwise(activation):
        return None
    if drop and type(drop[0]) is not nn.Dropout:
        return None
    return expand, activation, drop[0].p if drop else 0.0, contract


def conv_pair(
    modules: Sequence[nn.Module],
) -> tuple[nn.Conv1d, nn.Module, nn.Conv1d, bool] | None:
    """Conv1d, activation, Conv1d of one step, perhaps GLU.

    Arguments
    ---------
    modules : sequence of torch.nn.Module
        Exactly these.

    Returns
    -------
    tuple or None
        First layer, activation, second layer, whether a GLU follows.

    Example
    -------
    >>> pair = [nn.Conv1d(1, 8, 4), nn.ReLU(), nn.Conv1d(8, 4, 1), nn.GLU(1)]
    >>> conv_pair(pair)[3], conv_pair(pair[:2])
    (True, None)
    """
    if len(modules) not in (3, 4):
        return None
    first, activation, second, *glu = modules
    if type(first) is not nn.Conv1d or type(second) is not nn.Conv1d:
        return None
    plain = all(
        conv.groups == 1 and conv.padding_mode == "zeros"
        for conv in (first, second)
    )
    # A 1x1 may be padded or strided only if it is no 1x1 in truth.
    single = (second.kernel_size, second.stride) == ((1,), (1,))
    unpadded = second.padding in ((0,), "valid", "same")
    if not (plain and single and unpadded and _pointwise(activation)):
        return None
    if glu and not (type(glu[0]) is nn.GLU and glu[0].dim in (1, -2)):
        return None
    return first, activation, second, bool(glu)


def _pointwise(module: nn.Module) -> bool:
    return type(module) in POINTWISE


def _dense(module: nn.Module) -> nn.Linear | None:
    """torch's layer, or that within SpeechBrain's."""
    if type(module) is Linear:
        plain = not module.combine_dims and not module.max_norm
        module = module.w if plain else None
    return module if type(module) is nn.Linear else None
