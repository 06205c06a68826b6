"""DNSMOS: opinion of noisy or enhanced speech, predicted without a reference.

Two networks by Microsoft: P.835 gives speech (SIG), background (BAK) and
overall quality (OVRL) [1], P.808 one overall score [2]. Their ONNX files lie
in the speechmos wheel, which is looked up but never imported (it needs
librosa and loops for ever on empty audio). Segments of 9.01 s at a step of 1 s
are scored and averaged; the features of P.808 follow librosa's conventions.

[1] C. K. A. Reddy et al., "DNSMOS P.835", ICASSP 2022.
[2] C. K. A. Reddy et al., "DNSMOS", ICASSP 2021.

Authors
 * The speechbrain_dsn developers 2026
"""

import importlib.util
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.metrics.score import Measure, Score
from speechbrain_dsn.optional import import_optional

__all__ = ["DNSMOS", "find_models", "slaney_mel_filters"]

SAMPLE_RATE = 16000
SEGMENT_SECONDS = 9.01
SEGMENT = int(SEGMENT_SECONDS * SAMPLE_RATE)
P835_NAMES = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")
# Raw outputs to opinion scores, highest power first; not personalized.
P835_POLYNOMIALS = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)
FFT_SIZE, HOP, MELS = 321, 160, 120
EXTRA = "pip install 'speechbrain-dsn[metrics]'"


def find_models() -> Path:
    """Find the folder with the ONNX files, without importing speechmos.

    Returns
    -------
    Path
        The folder inside the installed wheel.

    Raises
    ------
    InputError
        If onnxruntime or the files are missing.
    """
    import_optional("onnxruntime", EXTRA)
    spec = importlib.util.find_spec("speechmos")
    for root in (spec and spec.submodule_search_locations) or ():
        folder = Path(root) / "dnsmos_models"
        if folder.is_dir():
            return folder
    raise InputError(f"the models of package speechmos are missing: {EXTRA}")


class DNSMOS:
    """DNSMOS P.835 and P.808 on ONNX Runtime, one thread by default.

    A P.835 segment costs about 0.2 s of one core, thirty times a P.808
    one, and a network runs only if one of its scores is asked for. The
    networks are loaded (some milliseconds) at the first use and belong to
    the object, which can be pickled.

    Arguments
    ---------
    hop_seconds : int
        Step between segments; 1 as published.
    max_segments : int, optional
        Score no more than these, spread evenly: a faster, rougher value.
    threads : int
        Of ONNX Runtime.

    Example
    -------
    >>> dnsmos = DNSMOS(max_segments=1)
    >>> noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16000)
    >>> scores = dnsmos(noise, 16000)
    >>> {name: round(score.value, 1) for name, score in scores.items()}
    {'dnsmos_sig': 1.1, 'dnsmos_bak': 1.1, 'dnsmos_ovrl': 1.1,
    'dnsmos_p808': 2.1}
    """

    def __init__(
        self,
        hop_seconds: int = 1,
        max_segments: int | None = None,
        threads: int = 1,
    ) -> None:
        for name, value in (
            ("hop_seconds", hop_seconds),
            ("max_segments", 1 if max_segments is None else max_segments),
            ("threads", threads),
        ):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} {value!r}: expected an integer >= 1")
        self.hop_seconds = hop_seconds
        self.max_segments = max_segments
        self.threads = threads

    def __getstate__(self) -> dict:
        """Leave the loaded networks behind: they cannot be pickled."""
        names = ("hop_seconds", "max_segments", "threads")
        return {name: getattr(self, name) for name in names}

    def __call__(
        self,
        estimate: np.ndarray,
        sample_rate: int,
        names: Iterable[str] = (*P835_NAMES, "dnsmos_p808"),
    ) -> dict[str, Score]:
        """Score a signal.

        Arguments
        ---------
        estimate : np.ndarray
            Signal ``[T]`` in [-1, 1]; one under 9.01 s is repeated.
        sample_rate : int
            16000 Hz.
        names : Iterable[str]
            Of ``dnsmos_sig``, ``dnsmos_bak``, ``dnsmos_ovrl``,
            ``dnsmos_p808``.

        Returns
        -------
        dict[str, Score]
            Means over the segments, 1 to 5; NaN with a reason for bad
            signals.

        Raises
        ------
        InputError
            If the rate or the type is wrong or a name is not one of these.
        """
        names, results = list(names), {}
        if unknown := set(names) - {*P835_NAMES, "dnsmos_p808"}:
            raise InputError(
                f"unknown DNSMOS score {', '.join(sorted(unknown))}: expected "
                f"some of {', '.join(P835_NAMES)}, dnsmos_p808"
            )
        for measure in (self.p835, self.p808):
            if set(names) & set(measure.names):
                results |= measure(None, estimate, sample_rate)
        return {name: results[name] for name in names}

    @cached_property
    def p835(self) -> Measure:
        """SIG, BAK and OVRL as a `Measure`."""
        return self._measure(P835_NAMES)

    @cached_property
    def p808(self) -> Measure:
        """The P.808 score as a `Measure`."""
        return self._measure(("dnsmos_p808",))

    def _measure(self, names: tuple[str, ...]) -> Measure:
        def mean(reference, estimate: np.ndarray, sample_rate: int):
            scores = self.score_segments(estimate, names)
            return [scores[name].mean() for name in names]

        return Measure(
            names,
            mean,
            needs_reference=False,
            sample_rates=(SAMPLE_RATE,),
            min_seconds=0.25,  # ours; a short signal is repeated up to 9 s
            max_peak=1.0,
            require=find_models,
        )

    def score_segments(
        self, estimate: np.ndarray, names: Iterable[str]
    ) -> dict[str, np.ndarray]:
        """Score the segments of a signal that is known to be good.

        Arguments
        ---------
        estimate : np.ndarray
            Signal ``[T]`` at 16 kHz in [-1, 1], T > 0.
        names : Iterable[str]
            The scores wanted.

        Returns
        -------
        dict[str, np.ndarray]
            One value per segment ``[S]`` for each name.
        """
        names = list(names)
        segments = self._segments(np.asarray(estimate, dtype=np.float32))
        scores: dict[str, list] = {name: [] for name in names}
        for segment in segments:
            found = {}
            if set(names) & set(P835_NAMES):
                raw = self._p835.run(None, {"input_1": segment[None]})[0][0]
                found = {
                    name: np.polyval(polynomial, value)
                    for name, polynomial, value in zip(
                        P835_NAMES, P835_POLYNOMIALS, raw, strict=True
                    )
                }
            if "dnsmos_p808" in names:
                mel = self._log_mel(segment[:-HOP])[None]
                raw = self._p808.run(None, {"input_1": mel})[0]
                found["dnsmos_p808"] = raw[0, 0]
            for name in names:
                scores[name].append(found[name])
        return {name: np.array(values) for name, values in scores.items()}

    def _segments(self, signal: np.ndarray) -> list[np.ndarray]:
        while len(signal) < SEGMENT:
            signal = np.concatenate((signal, signal))
        count = int(len(signal) // SAMPLE_RATE - SEGMENT_SECONDS) + 1
        # Published numbers come from code that computes the end of segment k
        # in floating point; where that is one sample short (7, 8, ...), the
        # segment is dropped. So is it here.
        starts = [
            second * SAMPLE_RATE
            for second in range(count)
            if int((second + SEGMENT_SECONDS) * SAMPLE_RATE)
            == second * SAMPLE_RATE + SEGMENT
        ][:: self.hop_seconds]
        if self.max_segments is not None and len(starts) > self.max_segments:
            middle = (np.arange(self.max_segments) + 0.5) / self.max_segments
            starts = [starts[int(at)] for at in middle * len(starts)]
        return [signal[start : start + SEGMENT] for start in starts]

    def _log_mel(self, signal: np.ndarray) -> np.ndarray:
        """Compute P.808's features ``[900, 120]`` of ``[144000]`` samples."""
        padded = np.pad(signal, FFT_SIZE // 2)  # frames are centred
        frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)
        window = 0.5 - 0.5 * np.cos(
            2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE
        ).astype(np.float32)
        power = np.abs(np.fft.rfft(frames[::HOP] * window)) ** 2
        mel = np.maximum(power @ self._mel_filters.T, 1e-10)
        level = 10 * np.log10(mel)
        level = np.maximum(level - level.max(), -80)  # dB under the loudest
        return ((level + 40) / 40).astype(np.float32)

    @cached_property
    def _mel_filters(self) -> np.ndarray:
        return slaney_mel_filters(SAMPLE_RATE, FFT_SIZE, MELS)

    @cached_property
    def _p835(self):
        return self._session("sig_bak_ovr.onnx")

    @cached_property
    def _p808(self):
        return self._session("model_v8.onnx")

    def _session(self, name: str):
        folder = find_models()
        onnxruntime = import_optional("onnxruntime", EXTRA)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = (
            self.threads
        )
        return onnxruntime.InferenceSession(
            (folder / name).read_bytes(),
            options,
            providers=["CPUExecutionProvider"],
        )


def slaney_mel_filters(
    sample_rate: int, fft_size: int, bands: int
) -> np.ndarray:
    """Triangular mel filters of unit area, on Slaney's scale.

    The scale of M. Slaney's Auditory Toolbox (1998), as in librosa: linear
    up to 1 kHz (200/3 Hz per mel), then 27 mels for each factor of 6.4.

    Arguments
    ---------
    sample_rate : int
        In Hz; the filters reach up to half of it.
    fft_size : int
        Length of the Fourier transform.
    bands : int
        Number of filters.

    Returns
    -------
    np.ndarray
        ``[bands, fft_size // 2 + 1]``.

    Example
    -------
    >>> slaney_mel_filters(16000, 512, 40).shape
    (40, 257)
    """
    per_mel, knee, log_step = 200 / 3, 1000.0, np.log(6.4) / 27
    top = knee / per_mel + np.log(sample_rate / 2 / knee) / log_step
    mels = np.linspace(0, top, bands + 2)
    edges = np.where(
        mels < knee / per_mel,
        mels * per_mel,
        knee * np.exp(log_step * (mels - knee / per_mel)),
    )
    bins = np.fft.rfftfreq(fft_size, 1 / sample_rate)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles * 2 / (high - low)
