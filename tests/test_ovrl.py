"""OVRL is computed once per signal, and an interrupted run goes on."""

import math
import threading

import numpy as np
import pytest
import soundfile

from speechbrain_dsn.dataio import ovrl
from speechbrain_dsn.dataio.fixed import FixedMixture
from speechbrain_dsn.dataio.mixing import MixtureSampler
from speechbrain_dsn.errors import InputError

RATE = 16000


class Counting:
    """A scorer that counts its calls; loud signals score high."""

    def __init__(self):
        self.calls = 0
        self.lock = threading.Lock()

    def __call__(self, signal, sample_rate):
        with self.lock:
            self.calls += 1
        return 1 + 4 * min(1.0, float(np.sqrt(np.mean(signal**2))))


def jobs(count, version="v"):
    def signal(number):
        return lambda: np.full(4, number / 10)

    return [ovrl.Job(f"n,{i}", version, signal(i)) for i in range(count)]


def test_every_signal_is_scored_once_whoever_scores(tmp_path):
    score, table = Counting(), tmp_path / "deep" / "ovrl.csv"
    first = ovrl.score_once(jobs(3), table, 1, score)
    both = ovrl.score_once(jobs(6), table, 3, score)
    assert score.calls == 6
    assert list(both) == [f"n,{i}" for i in range(6)]
    assert {name: both[name] for name in first} == first
    assert both["n,5"] == pytest.approx(3.0)
    again = ovrl.score_once(jobs(6), table, 2, score)
    assert score.calls == 6 and again == pytest.approx(both, abs=1e-4)
    ovrl.score_once(jobs(1, version="w"), table, 1, score)
    assert score.calls == 7


def test_row_cut_short_by_a_crash_is_redone(tmp_path):
    table, score = tmp_path / "ovrl.csv", Counting()
    ovrl.score_once(jobs(3), table, 1, score)
    with open(table, "rb+") as file:
        file.truncate(table.stat().st_size - 4)
    full = ovrl.score_once(jobs(5), table, 1, score)
    assert score.calls == 6
    again = ovrl.score_once(jobs(5), table, 1, None)
    assert again == pytest.approx(full, abs=1e-4)


def test_interrupt_stops_the_rest(tmp_path):
    score = Counting()

    def stop(signal, sample_rate):
        if score.calls == 10:
            raise KeyboardInterrupt
        return score(signal, sample_rate)

    table = tmp_path / "ovrl.csv"
    with pytest.raises(KeyboardInterrupt):
        ovrl.score_once(jobs(1000), table, 1, stop)
    kept = len(table.read_text().splitlines()) - 1
    score.calls = 100
    ovrl.score_once(jobs(20), table, 1, score)
    assert 0 <= kept <= 10 and score.calls >= 110


def test_bad_signal_is_reported_and_the_others_get_done(tmp_path, caplog):
    def bad():
        raise InputError("x.wav: broken")

    todo = [*jobs(2), ovrl.Job("bad", "v", bad)]
    got = ovrl.score_once(todo, tmp_path / "t.csv", 2, Counting())
    assert math.isnan(got["bad"]) and not math.isnan(got["n,1"])
    assert "no OVRL of bad: x.wav: broken" in caplog.text
    assert "no OVRL of 1 of 3 signals" in caplog.text


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("s", "n"):
        soundfile.write(
            tmp_path / f"{name}.wav", rng.standard_normal(RATE) / 20, RATE
        )
    return tmp_path / "s.wav", tmp_path / "n.wav"


def test_changed_mixture_is_scored_anew(files, tmp_path):
    score, table = Counting(), tmp_path / "ovrl.csv"
    for level in (-30.0, -20.0, -20.0):
        mixture = FixedMixture("a", *files, 0.0, 5.0, level)
        got = ovrl.annotate_ovrl([mixture], table, score=score)
        assert got["a"] == pytest.approx(1 + 4 * 10 ** (level / 20), abs=1e-3)
    assert score.calls == 2


def test_clips_carry_their_scores(files, tmp_path):
    def sampler(**settings):
        return MixtureSampler(
            [files[0]], [files[1]], clip_seconds=0.5, **settings
        )

    table, score = tmp_path / "clips.csv", Counting()
    made = sampler(seed=1)
    scores = ovrl.ovrl_of_clips(made, 5, table, score=score)
    for number, got in enumerate(scores):
        noisy = made.batch(number, 1).noisy
        want = 1 + 4 * noisy.square().mean().sqrt().item()
        assert got == pytest.approx(want, abs=1e-4)
    assert ovrl.ovrl_of_clips(sampler(seed=1), 5, table).tolist() == (
        pytest.approx(scores, abs=1e-4)
    )
    ovrl.ovrl_of_clips(sampler(seed=2), 1, table, score=score)
    ovrl.ovrl_of_clips(sampler(seed=1, snr_db=(0, 1)), 1, table, score=score)
    assert score.calls == 7


def test_dnsmos_is_the_scorer():
    pytest.importorskip("onnxruntime")
    score = ovrl.dnsmos_ovrl(max_segments=1)
    noise = np.random.default_rng(0).standard_normal(RATE)
    assert 1 <= score(noise, RATE) < 2  # its peak is above 1
    with pytest.raises(InputError):
        score(np.zeros(RATE), RATE)
