"""What a net did to single clips: to be heard, and to be seen.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from speechbrain_dsn.cost import Decision, MacMeter
from speechbrain_dsn.dataio.activity import speaker_activity
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.mixtures import Mixture
from speechbrain_dsn.inference.pairs import Pair
from speechbrain_dsn.inference.scores import Evaluation
from speechbrain_dsn.inference.separation_evaluation import match_sources
from speechbrain_dsn.inference.stitching import StitchedSeparation
from speechbrain_dsn.plots import plot_gates, plot_widths
from speechbrain_dsn.pretrained import LoadedModel

__all__ = [
    "Clip",
    "choose_clips",
    "enhanced_clip",
    "make_clip",
    "separated_clip",
]


@dataclass(frozen=True)
class Clip:
    """A signal before and after a net, and what that cost.

    Arguments
    ---------
    name : str
        Of the pair or mixture.
    model : str
        What processed it.
    sample_rate : int
        In Hz.
    tracks : dict of str to np.ndarray
        What there is to hear, ``[T]`` each, by name.
    activation : float
        Mean gate; 1 for a static model.
    macs_per_second : float
        As executed.
    draw : callable
        Writes a PNG with spectrogram and decisions to a path.
    shows : str
        What that picture shows, as a sentence without its full stop.
    """

    name: str
    model: str
    sample_rate: int
    tracks: dict[str, np.ndarray]
    activation: float
    macs_per_second: float
    draw: Callable[[str | os.PathLike], None]
    shows: str

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(next(iter(self.tracks.values()))) / self.sample_rate


def make_clip(
    model: LoadedModel,
    item: Pair | Mixture,
    budget: float | None = None,
    seconds: float | None = None,
) -> Clip:
    """What a model does to a pair or a mixture, whichever it is for.

    Arguments
    ---------
    model : LoadedModel
        An enhancer or a separator.
    item : Pair or Mixture
        Of the same kind.
    budget : float, optional
        Wanted mean activation in 0..1; the model's default without it.
    seconds : float, optional
        Only the beginning.

    Returns
    -------
    Clip
        To hear and to see.

    Raises
    ------
    InputError
        If the files cannot be read, or the budget is not possible.
    """
    separates = model.config.kind == "separation"
    make = separated_clip if separates else enhanced_clip
    return make(model, item, budget, seconds)


@torch.inference_mode()
def enhanced_clip(
    model: LoadedModel,
    pair: Pair,
    budget: float | None = None,
    seconds: float | None = None,
) -> Clip:
    """A pair with its enhanced signal, see `make_clip`."""
    rate = model.config.sample_rate
    noisy, clean = (x[: _samples(seconds, rate)] for x in pair.load(rate))
    if len(noisy) != len(clean) or not len(noisy):
        raise InputError(
            f"{pair.name}: noisy has {len(noisy)} samples, clean "
            f"{len(clean)}: expected equal lengths"
        )
    enhancer = model.enhancer
    wav, decision = enhancer(
        torch.from_numpy(noisy)[None], **model.decide(budget)
    )
    if decision is None:  # a static net runs everything, always
        ones = torch.ones(1, enhancer.frames(len(noisy)), 1)
        decision = Decision(ones, rate / enhancer.hop)
    enhanced, meter = wav[0].numpy(), MacMeter(enhancer.report().cost)
    meter.update(decision)
    shares = torch.tensor(meter.cost.shares or (1.0,))
    gates = (decision.values[0] @ shares).numpy()
    return Clip(
        pair.name,
        model.config.name,
        rate,
        {"noisy": noisy, "enhanced": enhanced, "clean": clean},
        meter.activation,
        meter.macs_per_second,
        partial(
            plot_gates,
            noisy,
            enhanced,
            gates,
            rate,
            frame_rate=decision.frame_rate,
            title=pair.name,
        ),
        "Spectrograms of the noisy and of the enhanced signal, and below "
        f"them the gates over time: activation {meter.activation:.2f}",
    )


@torch.inference_mode()
def separated_clip(
    model: LoadedModel,
    mixture: Mixture,
    budget: float | None = None,
    seconds: float | None = None,
) -> Clip:
    """A mixture with its estimates, each beside its source, see `make_clip`."""
    separator, rate = model.enhancer, model.config.sample_rate
    wav, sources = (x[: _samples(seconds, rate)] for x in mixture.load(rate))
    if sources.shape != (len(wav), separator.num_spks) or not len(wav):
        raise InputError(
            f"{mixture.name}: sources are {list(sources.shape)}, expected "
            f"{[len(wav), separator.num_spks]}"
        )
    stream = StitchedSeparation(separator, 1, model.decide(budget))
    parts = [stream.push(torch.from_numpy(wav)[None]), stream.flush()]
    estimates = torch.cat(parts, 1)[0].numpy()
    order = match_sources(sources, estimates)
    tracks = {"mixture": wav}
    for place, estimate in enumerate(order):
        tracks[f"estimate {place + 1}"] = estimates[:, estimate]
        tracks[f"source {place + 1}"] = sources[:, place]
    times, levels = stream.levels()
    window = 2 * separator.hop / rate
    activity = speaker_activity(sources, rate, times, window)
    return Clip(
        mixture.name,
        model.config.name,
        rate,
        tracks,
        stream.meter.activation,
        stream.macs_per_second,
        partial(
            plot_widths,
            wav,
            times,
            levels[0],
            separator.lobe.utilizations,
            activity,
            rate,
            title=mixture.name,
        ),
        "Spectrogram of the mixture, below it when each speaker is heard and "
        "the width of each layer over time: activation "
        f"{stream.meter.activation:.2f}",
    )


def _samples(seconds: float | None, rate: int) -> int | None:
    return None if seconds is None else round(seconds * rate)


def choose_clips(
    items: Sequence[Pair | Mixture],
    rows: Sequence[Evaluation],
    count: int = 3,
) -> list[Pair | Mixture]:
    """Clips over the range of what a net spent, the least first.

    Arguments
    ---------
    items : sequence of Pair or Mixture
        What there is.
    rows : sequence of Evaluation
        Of these; the first one whose activation varies gives the order, and
        what it could not run is left out, unless it knows none of them.
    count : int
        At most.

    Returns
    -------
    list of Pair or Mixture
        In ascending order of activation.
    """
    known = [
        {file.name: file.activation for file in row.files if not file.error}
        for row in rows
    ]
    use = next((x for x in known if len(set(x.values())) > 1), known[0])
    found = [item for item in items if item.name in use]
    found = sorted(found, key=lambda item: use[item.name]) or list(items)
    places = np.linspace(0, len(found) - 1, min(count, len(found)))
    return [found[round(place)] for place in places]
