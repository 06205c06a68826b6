"""Checkpoints that survive a kill.

SpeechBrain writes a checkpoint into its final folder, the file that marks it
as valid first: a run that is killed meanwhile finds a broken checkpoint as
its newest one and stops. Here a checkpoint is written under another name,
synced to disk and renamed, and one that is deleted loses its name first; one
that still cannot be loaded is passed over, loudly, for the one before.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.utils.checkpoints import (
    Checkpoint,
    Checkpointer,
    ckpt_recency,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import ddp_barrier, if_main_process

logger = logging.getLogger(__name__)

PART = ".part-"
OLD = ".old-"  # waits for another one of its name


class SafeCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer with atomic saves and a fallback.

    Arguments are those of ``speechbrain.utils.checkpoints.Checkpointer``.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> layer = torch.nn.Linear(2, 2)
    >>> checkpointer = SafeCheckpointer(folder, {"layer": layer})
    >>> checkpoint = checkpointer.save_checkpoint()
    >>> checkpointer.recover_if_possible().path == checkpoint.path
    True
    """

    def __init__(
        self,
        checkpoints_dir: str | Path,
        recoverables: Mapping[str, Any] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(checkpoints_dir, recoverables, **kwargs)
        if if_main_process():
            self._remove_parts()
            for old in self.checkpoints_dir.glob(f"{OLD}*"):
                _step_back(old)

    def _remove_parts(self) -> None:
        for leftover in self.checkpoints_dir.glob(f"{PART}*"):
            shutil.rmtree(leftover)

    def _new_checkpoint_dirpath(self) -> Path:
        path = super()._new_checkpoint_dirpath()
        return path.with_name(PART + path.name)

    def _custom_checkpoint_dirpath(self, name: str) -> Path:
        path = super()._custom_checkpoint_dirpath(name)
        return path.with_name(PART + path.name)

    def save_checkpoint(self, *args, **kwargs) -> Checkpoint | None:
        """Saves under a temporary name, syncs, and renames.

        Arguments
        ---------
        *args, **kwargs
            As SpeechBrain's.

        Returns
        -------
        Checkpoint or None
            The saved checkpoint; None on all processes but the main one.
        """
        try:
            checkpoint = super().save_checkpoint(*args, **kwargs)
        except BaseException:
            if if_main_process():  # a full disk may need the room
                self._remove_parts()
            raise
        # Every rank may have written files of its own, and none may list
        # checkpoints before the new one has its name.
        ddp_barrier()
        if checkpoint is not None:
            checkpoint = self._put_in_place(checkpoint)
        ddp_barrier()
        return checkpoint

    @staticmethod
    def _put_in_place(checkpoint: Checkpoint) -> Checkpoint:
        final = checkpoint.path.with_name(checkpoint.path.name[len(PART) :])
        for file in checkpoint.path.iterdir():
            _sync(file)
        old = final.with_name(OLD + final.name)
        if final.exists():
            # A checkpoint of the same given name is replaced.
            os.rename(final, old)
        os.rename(checkpoint.path, final)
        _sync(final.parent)
        if old.exists():
            _step_back(old)
        files = {k: final / v.name for k, v in checkpoint.paramfiles.items()}
        return Checkpoint(final, checkpoint.meta, files)

    def _forget_positions(self) -> None:
        """A loader keeps a position that it was given where the next
        checkpoint, of a whole epoch, gives it none."""
        for part in self.recoverables.values():
            if isinstance(part, SaveableDataLoader):
                part._speechbrain_recovery_skip_to = None

    def delete_checkpoints(
        self,
        *,
        num_to_keep: int = 1,
        min_keys: Sequence[str] | None = None,
        max_keys: Sequence[str] | None = None,
        importance_keys: Sequence[Callable] = (ckpt_recency,),
        ckpt_predicate: Callable | None = None,
        verbosity: int = logging.INFO,
    ) -> None:
        """Deletes the least important ones: SpeechBrain takes a folder apart
        where it lies, here it loses its name first.

        Arguments
        ---------
        num_to_keep, min_keys, max_keys, importance_keys
            As SpeechBrain's.
        ckpt_predicate, verbosity
            As SpeechBrain's.
        """
        keys = [{"min_key": key} for key in min_keys or ()]
        keys += [{"max_key": key} for key in max_keys or ()]
        keys += [{"importance_key": key} for key in importance_keys]
        found, kept = set(), set()
        for key in keys:
            ranked = self.find_checkpoints(ckpt_predicate=ckpt_predicate, **key)
            found.update(checkpoint.path for checkpoint in ranked)
            kept.update(checkpoint.path for checkpoint in ranked[:num_to_keep])
        ddp_barrier()  # all have looked
        if if_main_process():
            for path in sorted(found - kept):
                _discard(path, path.name)
                logger.log(verbosity, "Deleted checkpoint in %s", path)
        ddp_barrier()

    @staticmethod
    def _construct_checkpoint_objects(folders: list[Path]) -> list[Checkpoint]:
        """Checkpoints whose description can be read; others are told of."""
        good = []
        for folder in folders:
            try:
                found = Checkpointer._construct_checkpoint_objects([folder])
                if type(found[0].meta["unixtime"]) not in (int, float):
                    raise TypeError("unixtime is no number")
            # RecursionError of YAML nested too deeply; the others of YAML
            # that is broken, no text, or describes something else.
            except (
                OSError,
                ValueError,
                KeyError,
                TypeError,
                RecursionError,
                yaml.YAMLError,
            ) as error:
                logger.error(
                    "CHECKPOINT %s CANNOT BE READ (%s: %s), it is left out",
                    folder,
                    type(error).__name__,
                    " ".join(str(error).split())[:300],
                )
            else:
                good += found
        return good

    def recover_if_possible(
        self,
        importance_key: Callable | None = None,
        max_key: str | None = None,
        min_key: str | None = None,
        ckpt_predicate: Callable | None = None,
    ) -> Checkpoint | None:
        """Loads the best checkpoint that can be loaded.

        Arguments
        ---------
        importance_key, max_key, min_key, ckpt_predicate
            As SpeechBrain's.

        Returns
        -------
        Checkpoint or None
            What was loaded; None where there was no checkpoint.

        Raises
        ------
        RuntimeError
            There are checkpoints, and none can be loaded.
        """
        keys = {"max_key": max_key, "min_key": min_key}
        if importance_key is not None or not (max_key or min_key):
            keys["importance_key"] = importance_key or ckpt_recency
        found = self.find_checkpoints(ckpt_predicate=ckpt_predicate, **keys)
        if not found:
            logger.info("No checkpoint found, starting anew.")
            return None
        for checkpoint in found:
            try:
                self.load_checkpoint(checkpoint)
            except Exception as error:  # whatever a broken file raises
                logger.error(
                    "CHECKPOINT %s CANNOT BE LOADED (%s: %s), trying the one "
                    "before it",
                    checkpoint.path,
                    type(error).__name__,
                    error,
                )
                self._forget_positions()
            else:
                return checkpoint
        raise RuntimeError(
            f"none of the {len(found)} checkpoints in {self.checkpoints_dir} "
            "can be loaded"
        )


def _step_back(old: Path) -> None:
    """To its name if no other has taken it, else out of the way for good."""
    final = old.with_name(old.name[len(OLD) :])
    if not final.exists():
        os.rename(old, final)
        return
    _discard(old, final.name)


def _discard(path: Path, name: str) -> None:
    """Removes a folder that must not be found half removed."""
    part = path.with_name(PART + name)
    os.rename(path, part)
    shutil.rmtree(part)


def _sync(path: Path) -> None:
    """Forces a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@register_checkpoint_hooks
class RandomState:
    """The state of all random generators, as a recoverable.

    A resumed run then draws what the uninterrupted one would have drawn. On
    many ranks the state is that of the first: all start from one seed and
    draw equally much, each on its own device.

    Example
    -------
    >>> state, path = RandomState(), getfixture("tmp_path") / "rng.ckpt"
    >>> state.save(path)
    >>> first = torch.rand(1)
    >>> state.load(path, end_of_epoch=True)
    >>> bool(torch.rand(1) == first)
    True
    """

    @mark_as_saver
    def save(self, path: Path) -> None:
        """Writes the states of torch (with its GPU), numpy and random.

        Arguments
        ---------
        path : Path
            The file.
        """
        if not if_main_process():
            return
        name, keys, *numbers = np.random.get_state()
        version, internal, gauss = random.getstate()
        state = {
            "torch": torch.get_rng_state(),
            "numpy": (name, keys.tolist(), *numbers),
            "python": (version, list(internal), gauss),
        }
        if torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state()
        torch.save(state, path)

    @mark_as_loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Restores the states.

        Arguments
        ---------
        path : Path
            The file.
        end_of_epoch : bool
            Not used.
        """
        state = torch.load(path, weights_only=True, map_location="cpu")
        torch.set_rng_state(state["torch"])
        if "cuda" in state and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(state["cuda"])
        name, keys, *numbers = state["numpy"]
        np.random.set_state((name, np.array(keys, np.uint32), *numbers))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
