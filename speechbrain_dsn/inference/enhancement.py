"""Speech enhancement in the manner of SpeechBrain's inference interfaces.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os

import speechbrain_dsn  # noqa: F401  # isort: skip  # the torchaudio guard
import numpy as np
import torch
from torch import Tensor

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.dataio.audio import probe
from speechbrain_dsn.inference.blocks import BLOCK_SECONDS, SignalStream
from speechbrain_dsn.inference.files import (
    FileReport,
    enhance_to_file,
    enhanced_blocks,
    open_output,
)
from speechbrain_dsn.inference.interface import (
    ModelInterface,
    check_batch,
    check_finite,
    valid_samples,
)
from speechbrain_dsn.inference.judged import JudgedBudget, open_stream

__all__ = ["DynamicEnhancement"]


class DynamicEnhancement(ModelInterface):
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
    kind = "enhancement"

    def forward(self, noisy: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`enhance_batch`, as SpeechBrain has it."""
        return self.enhance_batch(noisy, lengths)

    def enhance_batch(
        self,
        noisy: Tensor,
        lengths: Tensor | None = None,
        budget: float | JudgedBudget | None = None,
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
        budget : float or JudgedBudget, optional
            Wanted mean activation in 0..1, or what sets it for each item; the
            model's default without it.
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
        check_batch(noisy)
        enhancer = self.mods.enhancer
        wav = noisy.to(self.device, torch.float32)
        frames = samples = None
        if lengths is not None:
            samples = valid_samples(lengths, noisy).to(self.device)
            place = torch.arange(wav.size(1), device=self.device)
            valid = place < samples.unsqueeze(1)
            wav = torch.where(valid, wav, 0.0)
            frames = torch.tensor(
                [enhancer.frames(n) for n in samples.tolist()]
            )
        check_finite(wav)
        stream = open_stream(self.model, len(wav), budget, self.device, samples)
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
        budget: float | JudgedBudget | None = None,
        overwrite: bool = False,
    ) -> Tensor:
        """Enhances a file of any rate and channel count.

        Arguments
        ---------
        filename : str or path
            Any file that soundfile reads.
        output_filename : str or path, optional
            Where to write the result, in rate and coding of the input.
        budget : float or JudgedBudget, optional
            Wanted mean activation in 0..1, or what sets it.
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
        info = probe(filename)
        stream = open_stream(self.model, info.channels, budget, self.device)
        stream = SignalStream(stream, info.sample_rate)
        writer = None
        if output_filename is not None:
            writer = open_output(info, output_filename, overwrite)
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
        budget: float | JudgedBudget | None = None,
        overwrite: bool = False,
    ) -> FileReport:
        """Enhances a file into another, in memory that does not grow.

        Arguments
        ---------
        filename : str or path
            Any file that soundfile reads.
        output_filename : str or path
            Where to write the result.
        budget : float or JudgedBudget, optional
            Wanted mean activation in 0..1, or what sets it.
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
