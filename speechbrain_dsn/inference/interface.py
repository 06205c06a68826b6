"""What the interfaces of all models share.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import speechbrain_dsn  # noqa: F401  # isort: skip  # the torchaudio guard
import torch
from speechbrain.dataio.preprocess import AudioNormalizer
from speechbrain.inference.interfaces import Pretrained
from torch import Tensor

from speechbrain_dsn.dataio.reader import LOUDEST
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.pretrained import LoadedModel, load_model

__all__ = [
    "ModelInterface",
    "check_batch",
    "check_finite",
    "valid_samples",
]

Self = TypeVar("Self", bound="ModelInterface")


class ModelInterface(Pretrained):
    """A model of one kind in the manner of SpeechBrain's interfaces.

    Arguments
    ---------
    model : LoadedModel
        Network and configuration.
    run_opts : dict, optional
        SpeechBrain's run options, such as ``{"device": "cuda"}``.

    Raises
    ------
    InputError
        If the model is of another kind.
    """

    kind: str

    def __init__(
        self, model: LoadedModel, run_opts: dict[str, Any] | None = None
    ) -> None:
        model.expect(self.kind)
        rate = model.config.sample_rate
        (name,) = self.MODULES_NEEDED
        super().__init__(
            modules={name: model.enhancer},
            hparams={
                "sample_rate": rate,
                "audio_normalizer": AudioNormalizer(rate),
            },
            run_opts={"device": "cpu", **(run_opts or {})},
        )
        self.model = model

    @classmethod
    def from_pretrained(
        cls: type[Self], name_or_folder: str | os.PathLike, device: str = "cpu"
    ) -> Self:
        """Loads a model that ships with the package, or a model folder.

        Arguments
        ---------
        name_or_folder : str or path
            A name out of `speechbrain_dsn.pretrained.available`, or a folder
            with ``config.json`` and ``model.safetensors``.
        device : str
            Where to run it.

        Returns
        -------
        ModelInterface
            Ready to use.

        Raises
        ------
        InputError
            If there is no such model, or the folder is not as expected.
        """
        return cls(load_model(name_or_folder), {"device": device})

    @classmethod
    def from_hparams(
        cls: type[Self],
        source: str | os.PathLike,
        savedir: str | os.PathLike | None = None,
        run_opts: dict[str, Any] | None = None,
        **unsupported,
    ) -> Self:
        """`from_pretrained` under SpeechBrain's name; reads no YAML.

        A ``hyperparams.yaml`` can run anything when it is loaded, a model
        folder cannot.

        Arguments
        ---------
        source : str or path
            As in `from_pretrained`.
        savedir : str or path, optional
            Has no effect: the folder is read where it is.
        run_opts : dict, optional
            Such as ``{"device": "cuda"}``.
        **unsupported
            SpeechBrain's further arguments are about its YAML: refused.

        Returns
        -------
        ModelInterface
            Ready to use.

        Raises
        ------
        InputError
            If the source holds a YAML instead of a model folder.
        """
        folder = Path(source)
        if unsupported or (
            not (folder / "config.json").is_file()
            and any(folder.glob("*.yaml"))
        ):
            found = ", ".join(unsupported) or f"a YAML file in {folder}"
            raise InputError(
                f"found {found}: YAML can run anything and is not loaded here, "
                "expected a model folder with config.json and model.safetensors"
            )
        return cls(load_model(source), run_opts)


def check_batch(noisy: Tensor) -> None:
    """Refuses what is no batch of signals."""
    if (
        not isinstance(noisy, Tensor)
        or noisy.dim() != 2
        or not noisy.is_floating_point()
        or not noisy.numel()
    ):
        found = (
            f"{noisy.dtype} {list(noisy.shape)}"
            if isinstance(noisy, Tensor)
            else type(noisy).__name__
        )
        raise InputError(
            f"found {found}: expected floats [B, T] with at least one sample"
        )


def check_finite(wav: Tensor) -> None:
    """Refuses NaN, Inf and what is far beyond full scale, naming the first."""
    bad = (~(wav.abs() <= LOUDEST)).nonzero()
    if len(bad):
        item, place = bad[0].tolist()
        raise InputError(
            f"sample {place} of item {item} is {wav[item, place]}: expected "
            "finite samples around -1..1"
        )


def valid_samples(lengths: Tensor, noisy: Tensor) -> Tensor:
    """Valid samples of each item, from SpeechBrain's relative lengths."""
    lengths = torch.as_tensor(lengths).cpu().double()
    if (
        lengths.shape != noisy.shape[:1]
        or not ((lengths > 0) & (lengths <= 1)).all()
    ):
        raise InputError(
            f"lengths {lengths.tolist()}: expected {len(noisy)} in (0, 1]"
        )
    return (lengths * noisy.size(1)).round().long().clamp_min(1)
