"""Metrics: values, the policy for bad signals, tables, many files at once.

Authors
 * The speechbrain_dsn developers 2026
"""

import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.metrics import (
    DNSMOS,
    METRICS,
    Job,
    MetricTable,
    Score,
    composite,
    evaluate_many,
    evaluate_pair,
    intrusive,
    pearson,
    require_metrics,
    spearman,
    summarize,
)
from speechbrain_dsn.metrics import (
    dnsmos as dnsmos_module,
)
from speechbrain_dsn.metrics.pool import map_in_processes

RATE = 16000
PAIRED = [name for name, m in METRICS.items() if m.needs_reference]
BLIND = [name for name, m in METRICS.items() if not m.needs_reference]


@pytest.fixture(autouse=True)
def _packages():
    for name in ("pesq", "pystoi", "onnxruntime"):
        pytest.importorskip(name)


def speech(seconds, seed=0):
    """Voiced syllables with pauses: harmonics of a gliding pitch."""
    generator = np.random.default_rng(seed)
    moment = np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * moment)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.maximum(0, np.sin(2 * np.pi * 2.5 * moment)) ** 2
    pauses = np.sin(2 * np.pi * 0.4 * moment + 1) > -0.6
    hiss = 1e-4 * generator.standard_normal(len(moment))
    return 0.1 * voice * syllables * pauses + hiss


def noisy(seconds, level=0.02):
    noise = np.random.default_rng(1).standard_normal(int(seconds * RATE))
    return speech(seconds) + level * noise


# ------------------------------------------------------------ golden values


def test_golden_paired():
    """Composite: also found by pysepm 0.1 (tested there against MATLAB)."""
    golden = {
        "pesq": 1.064488,
        "stoi": 0.908767,
        "estoi": 0.452874,
        "si_sdr": 4.189739,
        "csig": 1.782524,
        "cbak": 1.592274,
        "covl": 1.395122,
    }
    scores = evaluate_pair(speech(4), noisy(4), RATE, golden)
    assert list(scores) == list(golden)
    assert {n: s.value for n, s in scores.items()} == pytest.approx(
        golden, abs=2e-5
    )
    assert all(score.reason is None for score in scores.values())


@pytest.mark.parametrize(
    "seconds, golden",
    [
        (3, (1.561850, 1.185263, 1.246748, 2.252597)),  # repeated
        (18, (1.588673, 1.169738, 1.253636, 2.322151)),  # two dropped
    ],
)
def test_golden_dnsmos(seconds, golden):
    """Values of speechmos 0.0.1.1 with librosa 0.11."""
    signal = noisy(seconds).astype(np.float32)
    scores = DNSMOS()(signal, RATE)
    assert [score.value for score in scores.values()] == pytest.approx(
        golden, abs=2e-5
    )


def test_golden_features_of_p808():
    """Values of librosa 0.11: melspectrogram, power_to_db(ref=max)."""
    mel = DNSMOS()._log_mel(noisy(9).astype(np.float32))
    assert mel.shape == (900, 120) and mel.dtype == np.float32
    golden = [
        [-0.7788545, -0.6787006, -0.1182905, -0.0388049],
        [-0.5313901, -0.4163814, 0.1026850, 0.1901069],
        [-0.7117298, 0.2102907, 0.2887945, 0.1483677],
        [-0.6045471, -0.3631490, 0.2518740, 0.1477746],
    ]
    found = mel[[0, 100, 450, 899]][:, [0, 10, 60, 119]]
    np.testing.assert_allclose(found, golden, atol=2e-5)
    filters = dnsmos_module.slaney_mel_filters(RATE, 321, 120)
    np.testing.assert_allclose(
        filters[[0, 20, 60, 119]].sum(axis=1),
        [2.1270396e-05, 2.3397435e-04, 1.9820185e-02, 2.0068016e-02],
        rtol=1e-5,
    )


# ------------------------------------------------------------- bad signals

SILENT = np.zeros(2 * RATE)
NAN = speech(2)
NAN[100] = np.nan
INF = speech(2)
INF[-1] = np.inf


@pytest.mark.parametrize(
    "reference, estimate, reason",
    [
        (SILENT, speech(2), "silent reference"),
        (speech(2), SILENT, "silent estimate"),
        (speech(2), SILENT + 0.3, "silent estimate"),
        (speech(2), speech(2) * 1e-9, "silent estimate"),
        (SILENT, SILENT, "silent"),
        (speech(2), NAN, "NaN or Inf in the estimate"),
        (NAN, speech(2), "NaN or Inf in the reference"),
        (speech(2), INF, "NaN or Inf in the estimate"),
        (speech(2)[:0], speech(2)[:0], "too short: 0 samples"),
    ],
)
def test_every_paired_metric_gives_nan_and_a_reason(
    reference, estimate, reason
):
    scores = evaluate_pair(reference, estimate, RATE, PAIRED)
    for score in scores.values():
        assert math.isnan(score.value) and reason in score.reason


@pytest.mark.parametrize(
    "estimate, reason",
    [
        (SILENT, "silent estimate"),
        (NAN, "NaN or Inf in the estimate"),
        (speech(0.1), "too short: 1600 samples, 0.100 s"),
        (speech(2)[:0], "too short"),
        (100 * speech(2), r"estimate peaks at .* out of \[-1.0, 1.0\]"),
    ],
)
def test_dnsmos_gives_nan_and_a_reason(estimate, reason):
    for score in DNSMOS()(estimate, RATE).values():
        assert math.isnan(score.value)
        assert re.search(reason, score.reason)


@pytest.mark.parametrize("samples", [10, 1600])
def test_too_short_for_perception_but_not_for_si_sdr(samples):
    reference, estimate = speech(1)[4000:][:samples], noisy(1)[4000:][:samples]
    scores = evaluate_pair(reference, estimate, RATE, PAIRED)
    assert math.isfinite(scores.pop("si_sdr").value)
    assert all("too short" in score.reason for score in scores.values())


def test_stoi_of_a_hardly_active_reference_is_no_score():
    reference = 1e-4 * speech(2)
    reference[:2000] = noisy(2)[:2000]
    for name in ("stoi", "estoi"):
        score = METRICS[name](reference, noisy(2), RATE)
        assert math.isnan(score.value) and "active" in score.reason


@pytest.mark.parametrize("name", METRICS)
def test_mistakes_of_the_caller_raise(name):
    good = speech(1)
    bad = [
        (good, good.astype(np.float32)[:, None], RATE, "expected floats"),
        (good, (good * 1000).astype(np.int16), RATE, "expected floats"),
    ]
    if METRICS[name].needs_reference:
        bad.append((good, good[:-1], RATE, "expected equal lengths"))
        bad.append((None, good, RATE, "needs a reference"))
    if name not in ("stoi", "estoi", "si_sdr"):
        bad.append((good, good, 44100, "found 44100 Hz"))
    for reference, estimate, rate, message in bad:
        with pytest.raises(InputError, match=message) as error:
            METRICS[name](reference, estimate, rate)
        assert "\n" not in str(error.value)


def test_unknown_names_and_missing_packages_are_named(monkeypatch):
    with pytest.raises(InputError, match="unknown metric nisqa"):
        evaluate_pair(None, speech(1), RATE, ["nisqa"])
    with pytest.raises(InputError, match="unknown DNSMOS score sig"):
        DNSMOS()(speech(1), RATE, ["sig"])
    for options in ({"hop_seconds": 0}, {"max_segments": 0}, {"threads": 1.5}):
        with pytest.raises(InputError, match="expected an integer"):
            DNSMOS(**options)
    require_metrics(METRICS)
    monkeypatch.setitem(sys.modules, "pesq", None)
    for name in ("pesq", "covl"):
        with pytest.raises(InputError, match="C compiler"):
            require_metrics([name])
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(InputError, match=r"speechbrain-dsn\[metrics\]"):
        require_metrics(["stoi"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="speechmos"):
        require_metrics(["dnsmos_p808"])


def test_importing_metrics_imports_no_optional_package():
    code = (
        "import sys, speechbrain_dsn.metrics\n"
        "late = {'torch', 'pesq', 'pystoi', 'onnxruntime', 'scipy',\n"
        "        'speechmos', 'librosa'}\n"
        "sys.exit(str(late & set(sys.modules)) if late & set(sys.modules)"
        " else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ------------------------------------------------------------------ SI-SDR


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 1000),
    decibel=st.floats(-40, 60),
    gain=st.floats(1e-5, 1e4),
    offset=st.floats(-1, 1),
)
def test_si_sdr_is_the_ratio_whatever_scale_and_offset(
    seed, decibel, gain, offset
):
    generator = np.random.default_rng(seed)
    reference, noise = generator.standard_normal((2, 500))
    reference -= reference.mean()
    noise -= noise.mean()
    noise -= noise @ reference / (reference @ reference) * reference
    noise *= np.linalg.norm(reference) / np.linalg.norm(noise)
    noise *= 10 ** (-decibel / 20)
    estimate = gain * (reference + noise) + offset
    score = METRICS["si_sdr"](reference + 3, estimate, RATE)
    assert score.value == pytest.approx(decibel, abs=1e-4)


def test_perfect_and_hopeless_si_sdr_are_not_averaged():
    for gain in (1, -3, 1e-3):
        score = METRICS["si_sdr"](speech(1), gain * speech(1), RATE)
        assert "is the reference" in score.reason
    sine, cosine = (
        np.exp(2j * np.pi * np.arange(160) / 16).view(float).reshape(-1, 2).T
    )
    score = METRICS["si_sdr"](sine, cosine, RATE)
    assert "orthogonal" in score.reason


# -------------------------------------------------------------------- PESQ


def test_pesq_orders_and_does_not_depend_on_a_common_scale():
    clean = speech(4)
    values = [
        METRICS["pesq"](clean, noisy(4, level), RATE).value
        for level in (0.0, 0.002, 0.02)
    ]
    assert values[0] > values[1] > values[2] >= 1
    quiet = METRICS["pesq"](clean * 1e-3, noisy(4, 0.002) * 1e-3, RATE).value
    assert quiet == pytest.approx(values[1], abs=1e-3)
    same = METRICS["pesq"](clean, clean, RATE).value
    assert same == pytest.approx(METRICS["pesq"].high, abs=0.01)


def test_pesq_of_long_signals_is_the_same_by_the_child(monkeypatch):
    clean, estimate = speech(6), noisy(6, 0.002)
    short = METRICS["pesq"](clean, estimate, RATE)
    monkeypatch.setattr(intrusive, "PESQ_SAFE_SECONDS", 1.0)
    assert METRICS["pesq"](clean, estimate, RATE) == short


def test_narrow_band_pesq_is_for_8_khz_too():
    draw = np.random.default_rng(0).standard_normal
    swell = np.maximum(0, np.sin(np.arange(4 * 8000) / 8000 * 9)) ** 2
    clean = 0.1 * swell * draw(len(swell))
    found = [
        METRICS["pesq_nb"](clean, clean + level * draw(len(swell)), 8000).value
        for level in (0.001, 0.01, 0.1)
    ]
    assert found == sorted(found, reverse=True) and found[0] > found[2] + 1
    same = METRICS["pesq_nb"](clean, clean, 8000).value
    assert same == pytest.approx(METRICS["pesq_nb"].high, abs=0.01)


def test_a_crash_of_pesq_costs_the_score_only():
    """90 bursts of 0.21 s: more utterances than its C code has room for."""
    burst = np.repeat(np.tile([1.0, 0.0], 90), int(0.21 * RATE))
    noise = np.random.default_rng(0).standard_normal((2, len(burst)))
    clean = 0.1 * burst * noise[0]
    score = METRICS["pesq"](clean, clean + 0.01 * noise[1], RATE)
    assert math.isnan(score.value) and "50 utterances" in score.reason


@pytest.mark.parametrize("safe_seconds", [20.0, 0.5])
def test_errors_of_pesq_are_reasons(monkeypatch, safe_seconds):
    """No syllable of 0.2 s: no utterance, in this process or the child."""
    monkeypatch.setattr(intrusive, "PESQ_SAFE_SECONDS", safe_seconds)
    score = METRICS["pesq"](speech(1), noisy(1), RATE)
    assert math.isnan(score.value) and "No utterances" in score.reason


# --------------------------------------------------------------- composite


def plain_linear_prediction(frame):
    lags = [frame[: len(frame) - k] @ frame[k:] for k in range(17)]
    matrix = scipy.linalg.toeplitz(lags[:16])
    return np.r_[1, -np.linalg.solve(matrix, lags[1:])], lags


def plain_peak(level, slope, band):
    """Walk uphill from a band, as the definition has it."""
    step = band
    if slope[band] > 0:
        while step < len(slope) and slope[step] > 0:
            step += 1
        return level[step - 1]
    while step >= 0 and slope[step] <= 0:
        step -= 1
    return level[step + 1]


def test_composite_distances_equal_their_definitions():
    reference, estimate = (
        composite._frames(signal, RATE)[50:60]
        for signal in (speech(1), noisy(1, 0.005))
    )
    assert reference.shape == (10, 480)
    llr = composite.log_likelihood_ratio(reference, estimate)
    wss = composite.weighted_spectral_slope(reference, estimate, RATE)
    snr = composite.segmental_snr(reference, estimate)
    filters = composite._critical_bands(RATE)
    for n, pair in enumerate(zip(reference, estimate, strict=True)):
        own, lags = plain_linear_prediction(pair[0])
        other, _ = plain_linear_prediction(pair[1])
        matrix = scipy.linalg.toeplitz(lags)
        ratio = (other @ matrix @ other) / (own @ matrix @ own)
        assert llr[n] == pytest.approx(np.log(ratio), rel=1e-5)
        weights, slopes = [], []
        for frame in pair:
            power = np.abs(np.fft.fft(frame, 1024)[:512]) ** 2
            level = 10 * np.log10(np.maximum(filters @ power, 1e-10))
            slope = np.diff(level)
            peaks = [plain_peak(level, slope, b) for b in range(24)]
            weights.append(
                20
                / (20 + level.max() - level[:-1])
                / (1 + np.array(peaks) - level[:-1])
            )
            slopes.append(slope)
        weight = sum(weights) / 2
        expected = weight @ (slopes[0] - slopes[1]) ** 2 / weight.sum()
        assert wss[n] == pytest.approx(expected)
        error = pair[0] - pair[1]
        expected = 10 * np.log10(pair[0] @ pair[0] / (error @ error))
        assert snr[n] == pytest.approx(np.clip(expected, -10, 35), abs=1e-6)


def test_composite_of_the_reference_itself_and_of_digital_silence():
    clean = speech(4)
    names = ("csig", "cbak", "covl")
    best = evaluate_pair(clean, clean, RATE, names)
    assert [score.value for score in best.values()] == [5, 5, 5]
    gap = np.where(np.arange(len(clean)) < RATE, 0.0, 1.0)
    for pair in ((clean * gap, noisy(4)), (clean, noisy(4) * gap)):
        for score in evaluate_pair(*pair, RATE, names).values():
            assert 1 <= score.value <= 5


# ------------------------------------------------------------------ DNSMOS


def test_dnsmos_segments():
    def starts(seconds, **options):
        ramp = np.arange(seconds * RATE, dtype=np.float64)
        segments = DNSMOS(**options)._segments(ramp)
        assert all(len(segment) == 144160 for segment in segments)
        return [int(segment[0]) / RATE for segment in segments]

    assert starts(3) == [0, 1, 2]  # twice doubled: 12 s
    assert starts(5) == [0]
    assert starts(10) == [0]
    assert starts(12) == [0, 1, 2]
    assert starts(18) == [0, 1, 2, 3, 4, 5, 6]  # 7 and 8 are dropped
    assert starts(16, hop_seconds=3) == [0, 3, 6]
    assert starts(16, max_segments=2) == [1, 5]
    assert starts(12, max_segments=5) == [0, 1, 2]


def test_dnsmos_runs_only_the_network_that_is_asked_for():
    dnsmos = DNSMOS(max_segments=1)
    dnsmos(noisy(1), RATE, ["dnsmos_p808"])
    assert "_p808" in vars(dnsmos) and "_p835" not in vars(dnsmos)
    dnsmos = pickle.loads(pickle.dumps(dnsmos))
    assert dnsmos.max_segments == 1 and "_p808" not in vars(dnsmos)
    dnsmos(noisy(1), RATE, ["dnsmos_bak"])
    assert "_p808" not in vars(dnsmos) and "_p835" in vars(dnsmos)


def test_dnsmos_settings_reach_the_pair():
    signal = noisy(12, 0.05)
    first = DNSMOS().score_segments(signal, ["dnsmos_p808"])["dnsmos_p808"]
    assert len(first) == 3
    found = evaluate_pair(
        None, signal, RATE, ["dnsmos_p808"], DNSMOS(max_segments=1)
    )
    assert found["dnsmos_p808"].value == pytest.approx(first[1])


# -------------------------------------------------------------- many files


@pytest.fixture
def folder(tmp_path):
    soundfile.write(tmp_path / "clean.wav", speech(4), RATE)
    soundfile.write(tmp_path / "good.wav", noisy(4), RATE)
    soundfile.write(
        tmp_path / "stereo48.flac", np.stack([noisy(4)] * 2, 1), RATE
    )
    soundfile.write(tmp_path / "short.wav", noisy(4)[:-5], RATE)
    (tmp_path / "text.wav").write_text("no audio")
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_file_is_reported_and_the_rest_go_on(folder, workers, capfd):
    names = ["stereo48.flac", "text.wav", "missing.wav", "short.wav"]
    jobs = [Job(folder / name, folder / "clean.wav") for name in names]
    jobs.append(Job(noisy(4), speech(4)))
    jobs.append(Job(str(folder / "good.wav")))
    rows = evaluate_many(jobs, ["si_sdr", "pesq"], workers)
    for row, expected in zip(
        rows,
        [
            None,
            "cannot be read as audio",
            "does not exist",
            "expected equal lengths",
            None,
            "needs a reference",
        ],
        strict=True,
    ):
        for score in row.values():
            if expected is None:
                assert math.isfinite(score.value)
            else:
                assert expected in score.reason
    assert rows[0]["si_sdr"].value == pytest.approx(
        rows[4]["si_sdr"].value, abs=0.01
    )
    output = capfd.readouterr()
    assert output.out == "" and "6/6" in output.err


def test_evaluate_many_checks_before_it_starts(folder):
    jobs = [Job(folder / "good.wav")]
    with pytest.raises(InputError, match="unknown metric"):
        evaluate_many(jobs, ["nisqa"])
    with pytest.raises(InputError, match="0 workers"):
        evaluate_many(jobs, ["si_sdr"], workers=0)
    assert evaluate_many([], ["si_sdr"], workers=2, progress=False) == []


def test_an_item_that_kills_its_process_costs_only_itself():
    items = [0, 0, 0, signal.SIGKILL, 0, 0, 0, 0]  # signal 0 does nothing
    results = dict(map_in_processes(signal.raise_signal, items, 2))
    assert isinstance(results.pop(3), BrokenProcessPool)
    assert results == dict.fromkeys({0, 1, 2, 4, 5, 6, 7})


SCRIPT = """
import numpy as np
from speechbrain_dsn.metrics import Job, evaluate_many

if __name__ == "__main__":
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 60 * 16000)
    evaluate_many([Job(noise)] * 50, ["dnsmos_ovrl"], workers=2)
"""


def without_coverage():
    """An environment in which a killed process leaves no torn record."""
    return {k: v for k, v in os.environ.items() if not k.startswith("COV")}


def descendants(pid):
    found, ahead = set(), [pid]
    while ahead:
        try:
            children = Path(f"/proc/{ahead.pop()}/task").glob("*/children")
            listed = {
                int(c) for file in children for c in file.read_text().split()
            }
        except OSError:
            continue
        ahead.extend(listed - found)
        found |= listed
    return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_behind(tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, script],
        stderr=subprocess.DEVNULL,
        env=without_coverage(),
        # A job in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while len(descendants(parent.pid)) < 3:  # two workers and a tracker
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)  # into the work
    family = descendants(parent.pid)
    parent.send_signal(how)
    assert parent.wait(timeout=60) != 0
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in family):
        assert time.monotonic() < deadline, "processes left behind"
        time.sleep(0.05)


def running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return state[0] != "Z"


# ----------------------------------------------------------------- summary


def scores(*values):
    return [
        {"m": Score(v, "silent estimate" if math.isnan(v) else None)}
        for v in values
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-100, 100) | st.just(math.nan), max_size=20),
    st.integers(0, 9),
)
def test_a_summary_is_the_mean_of_what_is_valid(values, seed):
    rows = scores(*values)
    if not rows:
        assert summarize(rows) == {}
        return
    found = summarize(rows, seed)["m"]
    valid = [value for value in values if not math.isnan(value)]
    assert (found.n_valid, found.n_total) == (len(valid), len(values))
    assert sum(found.reasons.values()) == len(values) - len(valid)
    if valid:
        assert found.value == pytest.approx(np.mean(valid), abs=1e-9)
        assert found.median == pytest.approx(np.median(valid), abs=1e-9)
    if len(valid) > 1:
        slack = 1e-9
        assert min(valid) - slack <= found.low <= found.high
        assert found.high <= max(valid) + slack
    else:
        assert math.isnan(found.low) and math.isnan(found.high)
    json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert found == summarize(rows, seed)["m"] or not len(valid) > 1


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(3).normal(2.0, 0.5, 400)
    found = summarize(scores(*values))["m"]
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high == pytest.approx(values.mean() + half, abs=0.01)
    other = summarize(scores(*values), seed=1)["m"]
    assert other.low != found.low and other.value == found.value


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=15
    )
)
def test_spearman_is_scipy_s(pairs):
    x, y = map(np.array, zip(*pairs, strict=True))
    found = spearman([*x, math.nan, 1], [*y, 1, math.nan])
    assert (found.n_valid, found.n_total) == (len(x), len(x) + 2)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(found.value) and math.isnan(found.low)
    else:
        expected = scipy.stats.spearmanr(x, y).statistic
        assert found.value == pytest.approx(expected, abs=1e-12)
        assert -1 - 1e-9 <= found.low <= found.high <= 1 + 1e-9


def test_pearson_is_numpy_s():
    rng = np.random.default_rng(0)
    x = rng.normal(size=80)
    y = 2 * x + rng.normal(size=80)
    found = pearson([*x, math.nan], [*y, 1])
    assert (found.n_valid, found.n_total) == (80, 81)
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert 0.7 < found.low < found.value < found.high < 1
    assert math.isnan(pearson([0.1] * 7, y[:7]).value)
    assert math.isnan(pearson([1, 2], [2, 1]).value)


def test_spearman_of_a_trend_and_of_too_little():
    x = np.arange(60.0)
    noise = np.random.default_rng(0).normal(0, 20, 60)
    found = spearman(x, noise - x)
    assert found.value < -0.5
    assert -1 < found.low < found.value < found.high < 0
    assert math.isnan(spearman([1, 2], [2, 1]).value)
    with pytest.raises(InputError, match="equal"):
        spearman([1, 2, 3], [1, 2])


def test_table():
    table = MetricTable()
    table.add("noisy", scores(1.0, 2.0, math.nan))
    table.add("enhanced", scores(2.0, 3.0, 4.0), {"M MACs/s": 221.4})
    text = table.markdown().splitlines()
    assert text[0] == "| | m | M MACs/s |"
    assert text[2].startswith("| noisy | 1.50 [1.00, 2.00] 2/3 |")
    assert text[3].endswith(" 3/3 | 221.4 |")
    assert len({line.count("|") for line in text}) == 1
    plain = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    assert plain["noisy"]["m"]["reasons"] == {"silent estimate": 1}
    assert plain["enhanced"]["M MACs/s"] == 221.4
