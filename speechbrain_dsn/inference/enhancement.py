"""Speech enhancement in the manner of SpeechBrain's inference interfaces.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import speechbrain_dsn  # noqa: F401  # isort: skip  # the torchaudio guard
import numpy as np
import torch
from speechbrain.dataio.preprocess import AudioNormalizer
from speechbrain.inference.interfaces import Pretrained
from torch import Tensor

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.dataio.audio import probe
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.blocks import (
    BLOCK_SECONDS,
    AlignedStream,
    SignalStream,
)
from speechbrain_dsn.inference.files import (
    FileReport,
    enhance_to_file,
    enhanced_blocks,
    open_output,
)
from speechbrain_dsn.pretrained import LoadedModel, load_model

__all__ = ["DynamicEnhancement"]


class DynamicEnhancement(Pretrained):
    """A ready-to-use model that spends compute where the signal needs it.

    The outer contract is that of SpeechBrain's ``SpectralMaskEnhancement``:
    ``enhance_batch(noisy, lengths) -> [B, T]`` and ``enhance_file``. Beyond
    it, a budget chooses how much is computed, and the decisions can be seen.

    Arguments
    ---------
    model : LoadedModel
        Network and configuration.
    run_opts : dict, optional
        SpeechBrain's run options, such as ``{"device": "cuda"}``.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
    >>> config = ModelConfig("tiny", "dynamic_ftfnet")
    >>> enhancement = DynamicEnhancement(LoadedModel(config.build(), config))
    >>> enhancement.enhance_batch(torch.randn(2, 4000)).shape
    torch.Size([2, 4000])
    """

    MODULES_NEEDED = ["enhancer"]

    def __init__(
        self, model: LoadedModel, run_opts: dict[str, Any] | None = None
    ) -> None:
        rate = model.config.sample_rate
        super().__init__(
            modules={"enhancer": model.enhancer},
            hparams={
                "sample_rate": rate,
                "audio_normalizer": AudioNormalizer(rate),
            },
            run_opts={"device": "cpu", **(run_opts or {})},
        )
        self.model = model

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | os.PathLike, device: str = "cpu"
    ) -> DynamicEnhancement:
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
        DynamicEnhancement
            Ready to use.

        Raises
        ------
        InputError
            If there is no such model, or the folder is not as expected.
        """
        return cls(load_model(name_or_folder), {"device": device})

    @classmethod
    def from_hparams(
        cls,
        source: str | os.PathLike,
        savedir: str | os.PathLike | None = None,
        run_opts: dict[str, Any] | None = None,
        **unsupported,
    ) -> DynamicEnhancement:
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
        DynamicEnhancement
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

    def forward(self, noisy: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`enhance_batch`, as SpeechBrain has it."""
        return self.enhance_batch(noisy, lengths)

    def enhance_batch(
        self,
        noisy: Tensor,
        lengths: Tensor | None = None,
        budget: float | None = None,
        return_decision: bool = False,
    ) -> Tensor | tuple[Tensor, Decision]:
        """Enhances signals at the model's rate, skipping what is closed.

        Arguments
        ---------
        noisy : Tensor
            ``[B, T]``, floats.
        lengths : Tensor, optional
            Valid share of each item ``[B]`` in (0, 1]. What lies beyond is
            ignored, and 0 in the result.
        budget : float, optional
            Wanted mean activation in 0..1; the model's default without it.
        return_decision : bool
            Whether to give the gates too.

        Returns
        -------
        Tensor or tuple
            ``[B, T]``, float32; with ``return_decision`` also the `Decision`
            (a static model counts as always open).

        Raises
        ------
        InputError
            If signals, lengths or budget are not what is expected.
        """
        decide = self.model.decide(budget)
        _check_batch(noisy)
        enhancer = self.mods.enhancer
        wav = noisy.to(self.device, torch.float32)
        frames = None
        if lengths is not None:
            samples = _samples(lengths, noisy).to(self.device)
            place = torch.arange(wav.size(1), device=self.device)
            valid = place < samples.unsqueeze(1)
            wav = torch.where(valid, wav, 0.0)
            frames = torch.tensor(
                [enhancer.frames(n) for n in samples.tolist()]
            )
        _check_finite(wav)
        stream = AlignedStream(enhancer, len(wav), decide, self.device)
        share = max(1.0, BLOCK_SECONDS / len(wav))
        blocks = wav.split(round(share * enhancer.sample_rate), 1)
        parts = [stream.push(block) for block in blocks]
        estimate = torch.cat([*parts, stream.flush()], 1)
        if lengths is not None:
            estimate = torch.where(valid, estimate, 0.0)
        if return_decision:
            return estimate, stream.decision(frames)
        return estimate

    def enhance_file(
        self,
        filename: str | os.PathLike,
        output_filename: str | os.PathLike | None = None,
        budget: float | None = None,
        overwrite: bool = False,
    ) -> Tensor:
        """Enhances a file of any rate and channel count.

        Arguments
        ---------
        filename : str or path
            Any file that soundfile reads.
        output_filename : str or path, optional
            Where to write the result, in rate and coding of the input.
        budget : float, optional
            Wanted mean activation in 0..1.
        overwrite : bool
            Whether an existing output may be replaced.

        Returns
        -------
        Tensor
            ``[T]``, or ``[C, T]`` of more channels, at the rate of the file.
            For files that do not fit in memory use `enhance_to_file`.

        Raises
        ------
        InputError
            If input, output or budget are not what is expected.
        """
        decide = self.model.decide(budget)
        info = probe(filename)
        writer = None
        if output_filename is not None:
            writer = open_output(info, output_filename, overwrite)
        stream = AlignedStream(
            self.mods.enhancer, info.channels, decide, self.device
        )
        stream = SignalStream(stream, info.sample_rate)
        samples = np.concatenate(list(enhanced_blocks(info, stream)))
        if writer is not None:
            with writer:
                writer.write(samples)
        wav = torch.from_numpy(samples.T.copy())
        return wav[0] if len(wav) == 1 else wav

    def enhance_to_file(
        self,
        filename: str | os.PathLike,
        output_filename: str | os.PathLike,
        budget: float | None = None,
        overwrite: bool = False,
    ) -> FileReport:
        """Enhances a file into another, in memory that does not grow.

        Arguments
        ---------
        filename : str or path
            Any file that soundfile reads.
        output_filename : str or path
            Where to write the result.
        budget : float, optional
            Wanted mean activation in 0..1.
        overwrite : bool
            Whether an existing output may be replaced.

        Returns
        -------
        FileReport
            Activation, MACs per second, real-time factor and gates.
        """
        return enhance_to_file(
            self.model,
            filename,
            output_filename,
            budget,
            overwrite,
            self.device,
        )


def _check_batch(noisy: Tensor) -> None:
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


def _check_finite(wav: Tensor) -> None:
    bad = (~torch.isfinite(wav)).nonzero()
    if len(bad):
        item, place = bad[0].tolist()
        raise InputError(
            f"sample {place} of item {item} is {wav[item, place]}: expected "
            "finite samples"
        )


def _samples(lengths: Tensor, noisy: Tensor) -> Tensor:
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
