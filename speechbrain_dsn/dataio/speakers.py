"""Clips of two speakers at once, mixed on the fly.

Like the clips of `speechbrain_dsn.dataio.mixing`, each is a function of (seed,
number) alone.

Authors
 * The speechbrain_dsn developers 2026
"""

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch

from speechbrain_dsn.dataio.fixed import rms
from speechbrain_dsn.dataio.mixing import MixtureSampler, active_rms
from speechbrain_dsn.dataio.sources import NoiseSource, Source, SpeechSource
from speechbrain_dsn.errors import InputError

__all__ = ["SpeakerBatch", "TwoSpeakerSampler"]


class SpeakerBatch(NamedTuple):
    """A batch of mixtures: `noisy [B, T]`, their `clean [B, T, S]` sources,
    and how much these overlap, `overlap [B]`, NaN where it is not known.

    The names are those of `speechbrain_dsn.dataio.mixing.Batch`, so that one
    Brain trains on both.
    """

    noisy: torch.Tensor
    clean: torch.Tensor
    overlap: torch.Tensor


class TwoSpeakerSampler(MixtureSampler):
    """Draws mixtures of two speakers, and the speakers.

    One speaks from the beginning of a clip on, the other until its end; which
    one, and who speaks longer, is left to chance. The time in which both
    stretches overlap is a share of the shorter one, as in the tests of arXiv
    2507.06179 (their exact statistics are not given, ours are the arguments).
    Between the utterances of a speaker lie pauses.

    Arguments
    ---------
    speech : sequence of path or (path, speaker)
        At least two speakers; see `MixtureSampler`.
    noise : sequence of path or (path, class)
        None: no noise in any clip.
    rirs : sequence of path
        As in `MixtureSampler`; each speaker has a place of its own.
    overlaps : sequence of float
        Shares of the shorter stretch, in 0..1; each clip has one of them.
    shorter : tuple of float
        Range of the shorter stretch's length over the longer one's.
    gain_db : tuple of float
        Range of the level of one speaker over the other's.
    snr_db : tuple of float
        Range of the level of the louder speaker over the noise.
    noise_probability : float
        Share of the clips with noise.
    many_voices : collection of str
        Names of groups whose files may be of anybody: two of its files are
        never taken for one speaker, nor for two.
    **mixing
        Further arguments of `MixtureSampler`: seed, clip_seconds,
        sample_rate, speech_speeds (the speed perturbation), and so on.

    Raises
    ------
    InputError
        There are fewer than two speakers, or an overlap lies outside of 0..1.

    Example
    -------
    >>> import soundfile, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> voices = np.random.default_rng(0).normal(size=(2, 16000)) / 10
    >>> for name, samples in zip("ab", voices):
    ...     soundfile.write(f"{folder.name}/{name}.wav", samples, 16000)
    >>> speech = [(f"{folder.name}/{name}.wav", name) for name in "ab"]
    >>> sampler = TwoSpeakerSampler(speech, seed=1, sample_rate=8000)
    >>> batch = sampler.batch(0, 3)
    >>> batch.noisy.shape, batch.clean.shape
    (torch.Size([3, 32000]), torch.Size([3, 32000, 2]))
    """

    def __init__(
        self,
        speech: Sequence[Source],
        noise: Sequence[Source] = (),
        rirs: Sequence[str | os.PathLike] = (),
        overlaps: Sequence[float] = (1.0, 0.75, 0.5, 0.25),
        shorter: tuple[float, float] = (0.6, 1.0),
        gain_db: tuple[float, float] = (-5.0, 5.0),
        snr_db: tuple[float, float] = (-3.0, 20.0),
        noise_probability: float = 0.5,
        reverb_probability: float = 0.0,
        many_voices: Collection[str] = (),
        **mixing,
    ) -> None:
        if not overlaps or not all(0 <= share <= 1 for share in overlaps):
            raise InputError(
                f"overlaps: expected shares from 0 to 1, got {overlaps}"
            )
        self.overlaps, self.shorter, self.gain_db = overlaps, shorter, gain_db
        self.noise_probability = noise_probability
        self._many_voices = many_voices
        super().__init__(
            speech,
            noise,
            rirs,
            snr_db=snr_db,
            reverb_probability=reverb_probability,
            **mixing,
        )
        self._settings += [overlaps, shorter, gain_db, noise_probability]
        if len(self._speech.pool) < 2:
            raise InputError(
                "speech: expected two speakers or more, found one folder"
            )

    def _make_speech(self, *arguments) -> SpeechSource:
        return SpeechSource(
            *arguments, lead_probability=0.0, many_voices=self._many_voices
        )

    def _make_noise(self, noise, *arguments) -> NoiseSource | None:
        return NoiseSource(noise, *arguments) if noise else None

    def fingerprint(self) -> str:
        """A name for this stream of clips, see `MixtureSampler`."""
        sources = (self._speech, self._noise)
        pools = [source.pool.lengths() for source in sources if source]
        text = json.dumps([self._settings, sorted(self._many_voices), pools])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def batch(self, index: int, batch_size: int) -> SpeakerBatch:
        """Clips number `index * batch_size` and following.

        Arguments
        ---------
        index : int
            Number of the batch, from 0.
        batch_size : int
            Clips in a batch.

        Returns
        -------
        SpeakerBatch
            `noisy [B, T]` and `clean [B, T, 2]` in float32, `overlap [B]`.
        """
        first = index * batch_size
        clips = [self.clip(first + item) for item in range(batch_size)]
        mixtures, sources, overlaps = zip(*clips, strict=True)
        return SpeakerBatch(
            torch.from_numpy(np.stack(mixtures)),
            torch.from_numpy(np.stack(sources)),
            torch.tensor(overlaps, dtype=torch.float32),
        )

    def clip(self, number: int) -> tuple[np.ndarray, np.ndarray, float]:
        """One clip, fixed by the seed and its number.

        Arguments
        ---------
        number : int
            From 0.

        Returns
        -------
        mixture : np.ndarray
            `[T]`, float32.
        sources : np.ndarray
            `[T, 2]`, at the gains they have in the mixture.
        overlap : float
            What was asked for.
        """
        rng = np.random.default_rng((self.seed, number))
        overlap = float(rng.choice(self.overlaps))
        dry = self._place(rng, overlap)
        pairs = [(voice, voice) for voice in dry]
        if rng.random() < self.reverb_probability:
            pairs = [self._reverberate(rng, voice) for voice in dry]
        gains = [1.0, 10 ** (rng.uniform(*self.gain_db) / 20)]
        levels = [active_rms(clean, self.sample_rate) for clean, _ in pairs]
        mixture, sources = 0.0, []
        for gain, level, (clean, wet) in zip(gains, levels, pairs, strict=True):
            scale = np.float32(gain / level)
            mixture = mixture + scale * wet
            sources.append(scale * clean)
        if self._noise and rng.random() < self.noise_probability:
            level = max(gains) * 10 ** (-rng.uniform(*self.snr_db) / 20)
            mixture = mixture + np.float32(level) * self._noise.draw(rng)
        gain = 10 ** (rng.uniform(*self.level_dbfs) / 20) / rms(mixture)
        peak = max(np.abs(x).max() for x in (mixture, *sources))
        gain = np.float32(min(gain, 0.99 / peak))
        return gain * mixture, gain * np.stack(sources, axis=1), overlap

    def _place(
        self, rng: np.random.Generator, overlap: float
    ) -> list[np.ndarray]:
        """Both speakers, each silent outside of its stretch, in any order.

        `longer + shorter - overlap * shorter` fills the clip.
        """
        ratio = rng.uniform(*self.shorter)
        longer = round(self.length / (1 + ratio * (1 - overlap)))
        shorter = round(ratio * longer)
        if overlap < 1:  # what rounding left
            shorter = round((self.length - longer) / (1 - overlap))
        lengths = [longer, min(shorter, longer)]
        if rng.random() < 0.5:
            lengths.reverse()
        voices = [np.zeros(self.length, np.float32) for _ in lengths]
        first, speaker = self._speech.draw_voice(rng, lengths[0])
        second, _ = self._speech.draw_voice(rng, lengths[1], speaker)
        voices[0][: lengths[0]] = first
        voices[1][self.length - lengths[1] :] = second
        return voices
