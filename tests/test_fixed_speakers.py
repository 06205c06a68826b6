"""Lists of two-speaker mixtures: what is rendered, what is refused."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_dsn.dataio.fixed_speakers import (
    COLUMNS,
    OVERLAPS,
    SEPARATION,
    SpeakerMixture,
    load_speaker_list,
)
from speechbrain_dsn.dataio.folders import prepare_folders
from speechbrain_dsn.dataio.tables import read_csv, write_csv
from speechbrain_dsn.errors import InputError

RATE = 8000


def write(path, seconds, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, *path.name.encode()))
    samples = rng.standard_normal(round(RATE * seconds)) / 20
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("files")
    return {
        "short": write(root / "short.wav", 1.0),
        "long": write(root / "long.wav", 1.5),
        "noise": write(root / "noise.wav", 0.4),
    }


def level(wav):
    return 20 * np.log10(np.sqrt((wav[wav != 0] ** 2).mean()))


@given(
    overlap=st.floats(0, 1),
    gain=st.floats(-10, 10),
    order=st.permutations(["short", "long"]),
)
def test_overlap_gain_and_length_are_those_of_the_row(
    files, overlap, gain, order
):
    row = SpeakerMixture("a", *(files[name] for name in order), overlap, gain)
    mixture, sources = row.render(RATE)
    first, second = (np.flatnonzero(x) for x in sources.T)
    both = np.intersect1d(first, second).size
    assert both == pytest.approx(overlap * RATE, abs=3)
    assert len(mixture) == pytest.approx((2.5 - overlap) * RATE, abs=1)
    found = level(sources[:, 1]) - level(sources[:, 0])
    assert found == pytest.approx(gain, abs=0.01)
    np.testing.assert_allclose(sources.sum(1), mixture, atol=1e-6)


@given(snr=st.floats(-10, 20), gain=st.floats(-5, 5))
def test_noise_is_measured_against_the_louder_speaker(files, snr, gain):
    names = files["short"], files["long"]
    row = SpeakerMixture("a", *names, 1.0, gain, files["noise"], 0.1, snr)
    mixture, sources = row.render(RATE, noisy=True)
    louder = max(level(x) for x in sources.T)
    noise = mixture.astype(float) - sources.sum(1)
    assert louder - level(noise) == pytest.approx(snr, abs=0.05)
    np.testing.assert_array_equal(row.render(RATE)[1], sources)


def test_another_rate_is_resampled(files):
    row = SpeakerMixture("a", files["short"], files["long"], 0.5, 0.0)
    assert len(row.render(2 * RATE)[0]) == 2 * len(row.render(RATE)[0])


@pytest.fixture
def voices(tmp_path):
    for number in range(8):
        write(tmp_path / f"speech/spk{number}/a.wav", 0.6, number)
    for number in range(3):
        write(tmp_path / f"noise/kind{number}/a.wav", 1.0, number)
    return tmp_path


@pytest.mark.parametrize("noise", [True, False])
def test_folders_become_lists_of_other_speakers(voices, noise):
    found = prepare_folders(
        voices / "speech",
        voices / "noise" if noise else None,
        voices / "out",
        counts=(4, 6),
        shares=(0.25, 0.25),
        form=SEPARATION,
    )
    train = {speaker for _, speaker in found.speech}
    heard = [train]
    for mixtures in (found.valid(), found.test()):
        heard.append(set())
        for number, row in enumerate(mixtures):
            speakers = {row.s1.parent.name, row.s2.parent.name}
            assert len(speakers) == 2
            assert row.overlap == OVERLAPS[number % 3] / 100
            assert (row.noise is not None) == noise
            heard[-1] |= speakers
        row.render(RATE, noisy=noise)
    assert sum(map(len, heard)) == len(set.union(*heard)) == 8
    assert bool(found.noise) == noise


def test_who_is_in_a_given_list_is_not_trained_on(voices):
    names = [f"speech/spk{number}/a.wav" for number in range(4)]
    for split, pair in (("valid", names[:2]), ("test", names[2:])):
        values = (split, *pair, 50, 0.0, "", "", "")
        row = dict(zip(COLUMNS, values, strict=True))
        write_csv(voices / f"{split}.csv", COLUMNS, [row])
    found = prepare_folders(
        voices / "speech",
        None,
        voices / "out",
        valid_list=voices / "valid.csv",
        test_list=voices / "test.csv",
        form=SEPARATION,
    )
    assert {name[-4:] for _, name in found.speech} == {
        *("spk4", "spk5", "spk6", "spk7")
    }
    rows = read_csv(voices / "out/files.csv", ["path", "split"])
    splits = {row["path"]: row["split"] for row in rows}
    assert [splits[f"speech/spk{n}/a.wav"] for n in range(4)] == [
        "valid",
        "valid",
        "test",
        "test",
    ]


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("overlap_percent", "120", "line 2: overlap_percent: expected 0 to"),
        ("s2_gain_db", "loud", "line 2: expected numbers"),
        ("s1", "missing.wav", "line 2: no file .*missing.wav"),
        ("s2", "", "line 2: expected a file in s2"),
    ],
)
def test_bad_rows_are_named(files, tmp_path, column, value, message):
    root = files["short"].parent
    values = ("a", "short.wav", "long.wav", 50, 0.0, "noise.wav", 0, 5)
    row = dict(zip(COLUMNS, values, strict=True))
    write_csv(tmp_path / "good.csv", COLUMNS, [row])
    assert load_speaker_list(tmp_path / "good.csv", root)[0].overlap == 0.5
    write_csv(tmp_path / "bad.csv", COLUMNS, [{**row, column: value}])
    with pytest.raises(InputError, match=message):
        load_speaker_list(tmp_path / "bad.csv", root)
