"""Model folders: save, find and load.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.gating import budget_bias
from speechbrain_dsn.pretrained.config import NAME, ModelConfig
from speechbrain_dsn.pretrained.weights import (
    check_finite,
    dump_weights,
    halved,
    read_weights,
)

__all__ = ["LoadedModel", "available", "load_model", "save_model"]

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
MAX_CONFIG = 1 << 20  # bytes
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")


@dataclass(frozen=True)
class LoadedModel:
    """A network and what is known of it.

    Arguments
    ---------
    enhancer : torch.nn.Module
        With its weights, in eval mode.
    config : ModelConfig
        What the folder said.
    """

    enhancer: nn.Module
    config: ModelConfig

    def expect(self, kind: str) -> None:
        """Refuses a model that was made for something else.

        Arguments
        ---------
        kind : str
            What the caller is about to do.

        Raises
        ------
        InputError
            If the model is of another kind.
        """
        if self.config.kind != kind:
            raise InputError(
                f"model {self.config.name} is for {self.config.kind}: "
                f"expected one for {kind}"
            )

    def decide(self, budget: float | None = None) -> dict[str, Any]:
        """What the enhancer is told about its gates.

        Arguments
        ---------
        budget : float, optional
            Wanted mean activation in 0..1, by the calibration; without it,
            what the configuration holds as default.

        Returns
        -------
        dict
            Keyword arguments of the enhancer's forward; empty if static.

        Raises
        ------
        InputError
            If the budget is out of range or the model has none.
        """
        config = self.config
        bias = budget_bias(
            config.name,
            config.dynamic,
            config.calibration,
            config.default_budget,
            budget,
        )
        return {"bias": bias} if config.dynamic else {}


def shipped_folder() -> Path:
    """Where the models lie that come with the package."""
    return Path(__file__).parent


def available() -> list[str]:
    """Names of the models that come with the package.

    Returns
    -------
    list of str
        Sorted; each is good for `load_model`.
    """
    return sorted(
        path.name
        for path in shipped_folder().iterdir()
        if NAME.fullmatch(path.name)
        and not path.is_symlink()
        and (path / CONFIG).is_file()
    )


def find_folder(source: str | os.PathLike) -> Path:
    """The folder of a model.

    Arguments
    ---------
    source : str or path
        A name out of `available`, which wins, or a folder.

    Returns
    -------
    Path
        A folder with a configuration.

    Raises
    ------
    InputError
        If there is none, or pickles take its place.
    """
    names = available()
    if str(source) in names:
        return shipped_folder() / str(source)
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(
            f"no model {str(source)!r}: expected a folder with {CONFIG} and "
            f"{WEIGHTS}, or one of the names: {', '.join(names) or 'none yet'}"
        )
    for name in (CONFIG, WEIGHTS):
        if (folder / name).is_file():
            _check_inside(folder, name)
            continue
        pickles = sorted(
            path.name for path in folder.iterdir() if path.suffix in PICKLES
        )
        instead = (
            f" but the pickle {pickles[0]}, which could run anything"
            if pickles
            else ""
        )
        raise InputError(
            f"model folder {folder} holds no {name}{instead}: expected "
            f"{CONFIG} and {WEIGHTS}"
        )
    return folder


def _check_inside(folder: Path, name: str) -> None:
    """Refuses a link that leads out of the folder."""
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise InputError(
            f"{folder / name} is a link to {target}, outside the folder: "
            "expected the file itself (cp -L copies it)"
        )


def load_model(source: str | os.PathLike) -> LoadedModel:
    """Loads a model; nothing of its folder is executed.

    Arguments
    ---------
    source : str or path
        A name out of `available`, or a folder.

    Returns
    -------
    LoadedModel
        Network in eval mode on the CPU, and configuration.

    Raises
    ------
    InputError
        If the folder is not exactly what is expected.
    """
    folder = find_folder(source)
    path = folder / CONFIG
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG + 1)
        if len(data) > MAX_CONFIG:
            raise InputError(f"more than {MAX_CONFIG} bytes")
        config = ModelConfig.from_json(data.decode("utf-8"))
        enhancer = config.build()
    except (InputError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    enhancer.load_state_dict(
        read_weights(folder / WEIGHTS, enhancer.state_dict())
    )
    return LoadedModel(enhancer, config)


def save_model(
    folder: str | os.PathLike,
    enhancer: nn.Module,
    config: ModelConfig,
    card: str,
    overwrite: bool = False,
    half: bool = False,
) -> Path:
    """Writes a model folder: all of it, or nothing.

    Arguments
    ---------
    folder : str or path
        To be made.
    enhancer : torch.nn.Module
        Whose weights are saved.
    config : ModelConfig
        From which a network of the same shape can be built.
    card : str
        ``README.md``.
    overwrite : bool
        Whether a folder that is there may be replaced.
    half : bool
        Whether weights are stored in half precision.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If weights and configuration do not fit, a weight is not finite, the
        folder is there already or cannot be written.

    Example
    -------
    >>> import tempfile
    >>> home = tempfile.TemporaryDirectory()
    >>> config = ModelConfig("tiny", "ftfnet", {"channels": [8, 8, 16]})
    >>> folder = save_model(home.name + "/tiny", config.build(), config, "#")
    >>> sorted(path.name for path in folder.iterdir())
    ['README.md', 'config.json', 'model.safetensors']
    >>> load_model(folder).config.name
    'tiny'
    """
    folder = Path(os.path.abspath(folder))
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already: expected a new folder")
    state = enhancer.state_dict()
    _check_fit(state, config)
    if half:
        state = halved(state)
    check_finite(folder, state)
    part = folder.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.mkdir(parents=True)
        for name, content in (
            (CONFIG, config.to_json().encode()),
            (WEIGHTS, dump_weights(state)),
            (CARD, card.encode()),
        ):
            with open(part / name, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _put_in_place(part, folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _check_fit(state: dict[str, Any], config: ModelConfig) -> None:
    built = config.build().state_dict()
    shapes, wanted = (
        {name: tuple(x.shape) for name, x in each.items()}
        for each in (state, built)
    )
    wrong = sorted(
        name
        for name in shapes.keys() | wanted.keys()
        if shapes.get(name) != wanted.get(name)
    )
    if wrong:
        raise InputError(
            f"config of {config.name}: the network has {wrong[0]} of shape "
            f"{shapes.get(wrong[0])}, the configuration gives "
            f"{wanted.get(wrong[0])}"
        )


def _put_in_place(part: Path, folder: Path) -> None:
    """Renames; an old folder steps aside first and comes back on failure."""
    old = folder.with_name(f".{secrets.token_hex(8)}.old")
    if folder.exists():
        folder.rename(old)
    try:
        part.rename(folder)
    except BaseException:
        with suppress(OSError):
            old.rename(folder)
        raise
    if os.name != "nt":  # Windows has no handle to a folder
        handle = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    shutil.rmtree(old, ignore_errors=True)
