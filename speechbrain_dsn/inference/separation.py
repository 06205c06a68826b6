"""Speech separation in the manner of SpeechBrain's inference interfaces.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os

import speechbrain_dsn  # noqa: F401  # isort: skip  # the torchaudio guard
import torch
from torch import Tensor

from speechbrain_dsn.dataio.audio import read_audio
from speechbrain_dsn.inference.interface import (
    ModelInterface,
    check_batch,
    check_finite,
    valid_samples,
)
from speechbrain_dsn.inference.separated_files import (
    SeparationReport,
    separate_to_files,
)
from speechbrain_dsn.inference.stitching import StitchedSeparation

__all__ = ["DynamicSeparation"]


class DynamicSeparation(ModelInterface):
    """A ready-to-use separator that spends compute where it is needed.

    The outer contract is that of SpeechBrain's ``SepformerSeparation``:
    ``separate_batch(mix) -> [B, T, S]`` and ``separate_file``. Beyond it, a
    budget chooses how much is computed, and files may be of any length.

    There are always as many estimates as the model was trained for, in an
    order that says nothing, each as long as the mixture, and with the gains
    with which they add up to it best. A single speaker is what no recipe here
    trains for: how far he comes out of one estimate alone is the model's
    (``levels_db`` of a report says it, and so does its card). A silent
    mixture gives silence; one of a few milliseconds is separated as if
    silence followed.

    Arguments
    ---------
    model : LoadedModel
        Network and configuration.
    run_opts : dict, optional
        SpeechBrain's run options, such as ``{"device": "cuda"}``.

    Example
    -------
    >>> from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
    >>> config = ModelConfig(
    ...     "tiny",
    ...     "dual_path",
    ...     front_end="mixture",
    ...     sample_rate=8000,
    ...     kind="separation",
    ... )
    >>> separation = DynamicSeparation(LoadedModel(config.build(), config))
    >>> separation.separate_batch(torch.randn(2, 4000)).shape
    torch.Size([2, 4000, 2])
    """

    MODULES_NEEDED = ["separator"]
    kind = "separation"

    def forward(self, mix: Tensor) -> Tensor:
        """`separate_batch`, as SpeechBrain has it."""
        return self.separate_batch(mix)

    def separate_batch(
        self,
        mix: Tensor,
        lengths: Tensor | None = None,
        budget: float | None = None,
    ) -> Tensor:
        """Separates mixtures at the model's rate, each chunk at its width.

        Arguments
        ---------
        mix : Tensor
            ``[B, T]``, floats.
        lengths : Tensor, optional
            Valid share of each mixture ``[B]`` in (0, 1]. What lies beyond is
            ignored, and 0 in the result.
        budget : float, optional
            Wanted mean activation in 0..1; the model's default without it.

        Returns
        -------
        Tensor
            ``[B, T, S]``, float32.

        Raises
        ------
        InputError
            If signals, lengths or budget are not what is expected.
        """
        decide = self.model.decide(budget)
        check_batch(mix)
        wav = mix.to(self.device, torch.float32)
        whole = torch.full((len(mix),), mix.size(1))
        samples = whole if lengths is None else valid_samples(lengths, mix)
        separator = self.mods.separator
        estimates = wav.new_zeros(*wav.shape, separator.num_spks)
        for length in samples.unique().tolist():
            items = (samples == length).nonzero().squeeze(1).to(wav.device)
            part = wav[items, :length]
            check_finite(part)
            stream = StitchedSeparation(
                separator, len(part), decide, self.device
            )
            done = [stream.push(part), stream.flush()]
            estimates[items, :length] = torch.cat(done, 1)
        return estimates

    def separate_file(
        self,
        path: str | os.PathLike,
        budget: float | None = None,
    ) -> Tensor:
        """Separates a file of any rate; channels are averaged.

        Arguments
        ---------
        path : str or path
            Any file that soundfile reads.
        budget : float, optional
            Wanted mean activation in 0..1.

        Returns
        -------
        Tensor
            ``[1, T, S]`` at the model's rate, as SpeechBrain gives it. For
            files that do not fit in memory, or to keep their rate, use
            `separate_to_files`.

        Raises
        ------
        InputError
            If input or budget are not what is expected.
        """
        rate = self.model.config.sample_rate
        samples, _ = read_audio(path, rate, mono=True)
        return self.separate_batch(
            torch.from_numpy(samples.T.copy()), None, budget
        )

    def separate_to_files(
        self,
        path: str | os.PathLike,
        output: str | os.PathLike,
        budget: float | None = None,
        overwrite: bool = False,
    ) -> SeparationReport:
        """Separates a file into one per speaker, in memory that does not
        grow.

        Arguments
        ---------
        path : str or path
            Any file that soundfile reads.
        output : str or path
            ``out.wav`` stands for ``out_s1.wav``, ``out_s2.wav`` and so on.
        budget : float, optional
            Wanted mean activation in 0..1.
        overwrite : bool
            Whether existing outputs may be replaced.

        Returns
        -------
        SeparationReport
            Levels, activation, MACs per second and real-time factor.
        """
        return separate_to_files(
            self.model, path, output, budget, overwrite, self.device
        )
