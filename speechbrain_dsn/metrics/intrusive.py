"""PESQ, STOI, ESTOI and SI-SDR: how near an estimate is to its reference.

Authors
 * The speechbrain_dsn developers 2026
"""

import subprocess
import sys
import warnings
from functools import partial
from types import ModuleType

import numpy as np

from speechbrain_dsn.metrics.score import Measure, Unmeasurable
from speechbrain_dsn.optional import import_optional

__all__ = [
    "ESTOI",
    "PESQ",
    "PESQ_NB",
    "SI_SDR",
    "STOI",
    "import_pesq",
    "import_pystoi",
    "pesq_value",
    "si_sdr_value",
    "stoi_value",
]

# The C code of PESQ keeps 50 utterances and runs over the end of its arrays
# after that. An utterance and its pause take at least 0.4 s (P.862's
# MINUTTLENGTH and JOINSPEECHLGTH, 0.2 s each), so shorter signals are safe.
PESQ_SAFE_SECONDS = 20.0
PESQ_CHILD = """
import ctypes
import signal
import sys
import numpy
if sys.platform == "linux":  # die with the parent: PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from pesq import pesq
signals = numpy.frombuffer(sys.stdin.buffer.read(), dtype=numpy.float32)
reference, estimate = signals.reshape(2, -1)
print(pesq(int(sys.argv[1]), reference, estimate, sys.argv[2]))
"""


def import_pesq() -> ModuleType:
    """Import pesq, which is compiled at its installation."""
    return import_optional(
        "pesq",
        "install a C compiler and the Python headers (gcc, python3-dev), "
        "then: pip install pesq",
    )


def import_pystoi() -> ModuleType:
    """Import pystoi, of the extra ``metrics``."""
    return import_optional("pystoi", "pip install 'speechbrain-dsn[metrics]'")


def pesq_value(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    band: str = "wb",
) -> float:
    """Compute PESQ, MOS-LQO, for checked signals: wide-band (ITU-T P.862.2)
    or narrow-band (P.862.1).

    Signals over 20 s are left to a child process, because PESQ's C code may
    crash on more than 50 utterances.

    Arguments
    ---------
    reference : np.ndarray
        ``[T]``, not silent.
    estimate : np.ndarray
        ``[T]``, not silent.
    sample_rate : int
        16000 Hz, or 8000 in narrow-band.
    band : str
        ``wb`` or ``nb``.

    Returns
    -------
    float
        About 1.04 to 4.64, in narrow-band 1.02 to 4.55.

    Raises
    ------
    Unmeasurable
        If PESQ finds no utterance or crashes.
    """
    package = import_pesq()
    if len(reference) > PESQ_SAFE_SECONDS * sample_rate:
        return _pesq_in_child(reference, estimate, sample_rate, band)
    try:
        return package.pesq(sample_rate, reference, estimate, band)
    except (package.PesqError, ValueError) as error:
        text = error.args[0] if error.args else error
        text = text.decode() if isinstance(text, bytes) else text
        raise Unmeasurable(f"PESQ: {text}") from error


def _pesq_in_child(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, band: str
) -> float:
    # One scale for both, as pesq itself does: float32 keeps quiet signals.
    scale = max(np.abs(reference).max(), np.abs(estimate).max())
    signals = np.stack((reference, estimate)) / scale
    done = subprocess.run(
        [sys.executable, "-c", PESQ_CHILD, str(sample_rate), band],
        input=signals.astype(np.float32).tobytes(),
        capture_output=True,
        check=False,
    )
    if done.returncode < 0:
        raise Unmeasurable(
            "PESQ crashed, as it does on more than 50 utterances: cut the "
            f"signal of {len(reference) / sample_rate:.0f} s"
        )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise Unmeasurable(f"PESQ: {lines[-1] if lines else 'failed'}")
    return float(done.stdout)


def stoi_value(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    extended: bool,
) -> float:
    """Compute STOI or ESTOI by pystoi, for checked signals.

    Arguments
    ---------
    reference : np.ndarray
        ``[T]``, not silent.
    estimate : np.ndarray
        ``[T]``, not silent.
    sample_rate : int
        Any, in Hz; pystoi resamples to 10 kHz.
    extended : bool
        Whether it is ESTOI.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    Unmeasurable
        If too little of the reference is active.
    """
    stoi = import_pystoi().stoi
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = stoi(reference, estimate, sample_rate, extended=extended)
    # pystoi would give 1e-5 here, which looks like a score.
    if any("Not enough STFT frames" in str(item.message) for item in caught):
        raise Unmeasurable("too short: under 0.4 s of the reference is active")
    return value


def si_sdr_value(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 0
) -> float:
    """Compute the scale-invariant SDR in dB, means removed (eq. 5 of [1]).

    [1] J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR - half-baked or
        well done?", ICASSP 2019.

    Arguments
    ---------
    reference : np.ndarray
        ``[T]``, not constant.
    estimate : np.ndarray
        ``[T]``, not constant.
    sample_rate : int
        Not used.

    Returns
    -------
    float
        In dB.

    Raises
    ------
    Unmeasurable
        Beyond +-140 dB, which is rounding noise and no quality.
    """
    reference = reference - reference.mean()
    estimate = estimate - estimate.mean()
    # Unit energy first: products of very quiet signals would underflow.
    reference /= np.linalg.norm(reference)
    estimate /= np.linalg.norm(estimate)
    target = np.dot(estimate, reference) * reference
    signal, residual = np.sum(target**2), np.sum((estimate - target) ** 2)
    if residual < 1e-14 * signal:
        raise Unmeasurable("the estimate is the reference, up to its scale")
    if signal < 1e-14 * residual:
        raise Unmeasurable("the estimate is orthogonal to the reference")
    return 10 * np.log10(signal / residual)


# ITU-T P.862.2 (2007), at 16 kHz.
PESQ = Measure(
    ("pesq",),
    pesq_value,
    sample_rates=(16000,),
    min_seconds=0.25,
    require=import_pesq,
)
# ITU-T P.862.1 (2003), for models at 8 kHz.
PESQ_NB = Measure(
    ("pesq_nb",),
    partial(pesq_value, band="nb"),
    sample_rates=(8000, 16000),
    min_seconds=0.25,
    require=import_pesq,
)
# Taal et al., IEEE TASL 2011; extended: Jensen and Taal, IEEE TASLP 2016.
# Both need 30 half-overlapping frames of 256 samples at 10 kHz.
STOI = Measure(
    ("stoi",),
    partial(stoi_value, extended=False),
    min_seconds=0.4,
    require=import_pystoi,
)
ESTOI = Measure(
    ("estoi",),
    partial(stoi_value, extended=True),
    min_seconds=0.4,
    require=import_pystoi,
)
SI_SDR = Measure(("si_sdr",), si_sdr_value)
