"""Broken and strange audio through every command, and rubbish into streams.

What is broken gets one line that names the file, and the rest of the batch is
done; what is strange is processed. The fuzz tests draw few cases here and
very many in ``make trust`` (``TRUST_CASES``).
"""

import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from bad_audio import broken, encoded, strange, wav, write_all
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_model import noise, save_tiny, tiny_model, tiny_separator

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.dataio.audio import (
    iter_blocks,
    probe,
    read_audio,
    write_audio,
)
from speechbrain_dsn.dataio.reader import LOUDEST
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.enhancement import DynamicEnhancement
from speechbrain_dsn.inference.onnx_session import OnnxSession
from speechbrain_dsn.inference.separation import DynamicSeparation
from speechbrain_dsn.inference.session import TorchSession
from speechbrain_dsn.inference.stream import Stream
from speechbrain_dsn.pretrained import (
    LoadedModel,
    ModelConfig,
    save_model,
    size,
)
from speechbrain_dsn.pretrained.arguments import Flag, OneOf, Whole
from speechbrain_dsn.pretrained.table import FRONT_ENDS, LOBES

CASES = int(os.environ.get("TRUST_CASES", "0"))
fuzz = settings(
    max_examples=CASES or 60,
    derandomize=not CASES,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
BROKEN, STRANGE = broken(), strange()
# Of what can be used: too short, or nothing to hear.
UNSCORED = [name for name, case in STRANGE.items() if not case.scored]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of each kind."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    judge = ModelConfig(
        "judge",
        "quality_net",
        {"channels": [4, 4, 4, 8], "hidden": 8},
        "mel",
        kind="quality",
    )
    return {
        "enhancement": save_tiny(home / "enhancer"),
        "separation": save_tiny(home / "separator", model=tiny_separator()),
        "quality": save_model(home / "judge", judge.build(), judge, "#"),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Broken and strange files side by side."""
    folder = tmp_path_factory.mktemp("audio") / "in"
    write_all(folder, BROKEN | STRANGE)
    return folder


def complaints(capsys):
    """Lines about bad input; nothing else may have gone wrong."""
    err = capsys.readouterr().err.replace("\r", "\n")
    assert "Traceback" not in err
    return [line for line in err.splitlines() if "error: " in line]


def each_named_once(lines, cases):
    """A line for each broken file, with the word that tells why."""
    assert len(lines) == len(cases), lines
    for name, case in cases.items():
        (line,) = [line for line in lines if f"/{name}" in line]
        assert re.search(case.error, line), line


def test_every_file_is_read_or_refused_in_one_line(folder):
    for name, case in (BROKEN | STRANGE).items():
        for read in (
            lambda path: read_audio(path)[0],
            lambda path: np.concatenate(list(iter_blocks(path, 700))),
        ):
            if case.error is None:
                samples = read(folder / name)
                assert samples.shape == (case.frames, case.channels), name
                assert np.isfinite(samples).all()
            elif name != "rate_prime.wav":  # readable, but not to be resampled
                with pytest.raises(InputError, match=case.error) as caught:
                    read(folder / name)
                assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extra", [[], ["--stream"]])
def test_enhance(models, folder, tmp_path, capsys, extra):
    command = ["enhance", str(folder), "-o", str(tmp_path), *extra]
    assert main([*command, "--model", str(models["enhancement"])]) == 2
    each_named_once(complaints(capsys), BROKEN)
    done = {path.name: probe(path) for path in tmp_path.iterdir()}
    assert done.keys() == STRANGE.keys()
    for name, case in STRANGE.items():
        found, before = done[name], probe(folder / name)
        assert (found.frames, found.channels) == (case.frames, case.channels)
        assert found.sample_rate == before.sample_rate
        assert found.subtype == before.subtype


def test_separate(models, folder, tmp_path, capsys):
    command = ["separate", str(folder), "-o", str(tmp_path)]
    assert main([*command, "--model", str(models["separation"])]) == 2
    each_named_once(complaints(capsys), BROKEN)
    assert len(list(tmp_path.iterdir())) == 2 * len(STRANGE)
    for name, case in STRANGE.items():
        stem, end = name.rsplit(".", 1)
        for speaker in ("s1", "s2"):
            info = probe(tmp_path / f"{stem}_{speaker}.{end}")
            assert (info.frames, info.channels) == (case.frames, 1), name


def test_quality(models, folder, capsys):
    command = ["quality", str(folder), "--json", "-", "--model"]
    assert main([*command, str(models["quality"])]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    found = json.loads(captured.out)
    assert len(found["files"]) + len(found["errors"]) == len(BROKEN | STRANGE)
    assert not any("/" + name in found["files"] for name in BROKEN)
    for scores in found["files"].values():
        assert np.isfinite(list(scores.values())).all()
    for name in BROKEN:
        assert sum(f"/{name}" in line for line in found["errors"]) == 1, name
    scored = {os.path.basename(name) for name in found["files"]}
    assert scored >= STRANGE.keys() - set(UNSCORED)
    # What has no score says why: too short, or nothing that sounds.
    for line in found["errors"]:
        if not any(f"/{name}" in line for name in BROKEN):
            assert re.search("too short|silent", line), line


def test_evaluate(models, folder, tmp_path, capsys):
    """Every broken pair is counted, none enters a mean."""
    report = tmp_path / "r.json"
    # Pairs have no extensions; names that differ by these alone are refused.
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    clean.mkdir()
    noisy.mkdir()
    for name in BROKEN | STRANGE:
        stem, end = name.replace(".", "_"), os.path.splitext(name)[1]
        (noisy / (stem + end)).write_bytes((folder / name).read_bytes())
        (clean / (stem + end)).write_bytes((folder / name).read_bytes())
        if name in STRANGE:
            samples, rate = read_audio(folder / name)
            (clean / (stem + end)).unlink()
            other = samples + noise(*samples.shape, seed=1)
            write_audio(clean / (stem + ".wav"), other, rate, "FLOAT")
    command = ["evaluate", "--clean", str(clean), "--noisy", str(noisy)]
    command += ["--metrics", "si_sdr", "--json", str(report)]
    assert main([*command, "--model", str(models["enhancement"])]) == 2
    assert len(complaints(capsys)) == len(BROKEN)
    found = json.loads(report.read_text())
    summary = found["metrics"]["si_sdr"]
    assert summary["n_total"] == len(BROKEN | STRANGE)
    assert 0 < summary["n_valid"] <= len(STRANGE)
    assert np.isfinite(summary["enhanced"])


@pytest.mark.parametrize("name", BROKEN)
def test_live_refuses(models, folder, tmp_path, capsys, name):
    out = tmp_path / "out.wav"
    command = ["live", "--input", str(folder / name), "-o", str(out)]
    command += ["--backend", "torch", "--model", str(models["enhancement"])]
    assert main(command) == 2
    (line,) = complaints(capsys)
    assert re.search(BROKEN[name].error, line), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", STRANGE)
def test_live_hears(models, folder, tmp_path, capsys, name):
    out = tmp_path / name
    command = ["live", "--input", str(folder / name), "-o", str(out)]
    command += ["--backend", "torch", "--model", str(models["enhancement"])]
    assert main(command) == 0 and not complaints(capsys)
    assert probe(out).frames == STRANGE[name].frames


def test_interfaces(folder, tmp_path):
    """The same errors from Python, and nothing left behind."""
    enhancement = DynamicEnhancement(tiny_model())
    separation = DynamicSeparation(tiny_separator())
    out = tmp_path / "out.wav"
    for name, case in BROKEN.items():
        path = folder / name
        for call in (
            lambda path=path: enhancement.enhance_file(path, out),
            lambda path=path: enhancement.enhance_to_file(path, out),
            lambda path=path: separation.separate_file(path),
            lambda path=path: separation.separate_to_files(path, out),
        ):
            with pytest.raises(InputError, match=case.error):
                call()
    assert list(tmp_path.iterdir()) == []
    for name, case in STRANGE.items():
        wavs = enhancement.enhance_file(folder / name)
        assert wavs.shape[-1] == case.frames
        assert torch.isfinite(wavs).all()
        assert torch.isfinite(separation.separate_file(folder / name)).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_batches_with_a_bad_sample_are_refused(value):
    wavs = torch.from_numpy(noise(2000, 2).T.copy())
    wavs[1, 777] = value
    for call in (
        DynamicEnhancement(tiny_model()).enhance_batch,
        DynamicSeparation(tiny_separator()).separate_batch,
    ):
        with pytest.raises(InputError, match="sample 777 of item 1"):
            call(wavs)


def test_export_takes_no_audio(folder, tmp_path, capsys):
    command = ["export", "--model", str(folder / "PCM_24.wav")]
    assert main([*command, "-o", str(tmp_path / "a.onnx")]) == 2
    (line,) = complaints(capsys)
    assert "no model" in line


@pytest.mark.trust
def test_three_hours_of_silence(models, tmp_path):
    """In memory that does not grow with them; the file is sparse."""
    seconds = 3 * 3600
    path, out = tmp_path / "long.wav", tmp_path / "out.flac"
    with open(path, "wb") as file:
        file.write(wav(b"", size=2 * 16000 * seconds))
        file.truncate(44 + 2 * 16000 * seconds)
    code = (
        "import resource, sys\n"
        "from speechbrain_dsn.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print('peak', peak)\n"
        "sys.exit(code)\n"
    )

    def peak(source):
        command = ["enhance", str(source), "-o", str(out), "--overwrite"]
        command += ["--model", str(models["enhancement"])]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *command],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return int(done.stdout.split("peak ")[1]) >> 10  # MiB

    minute = tmp_path / "minute.wav"
    soundfile.write(minute, np.zeros(60 * 16000), 16000)
    short = peak(minute)
    assert peak(path) < short + 100
    assert probe(out).frames == seconds * 16000
    assert not np.abs(next(iter_blocks(out, 16000))).any()


# ------------------------------------------------------------------ fuzzing


@pytest.fixture(scope="module")
def sessions():
    config = ModelConfig(
        "tiny", "dynamic_ftfnet", {"channels": [4, 4, 8], "groups": 2}
    )
    torch.manual_seed(0)
    model = LoadedModel(config.build(), config)
    return {
        "torch": TorchSession(model),
        "onnx": OnnxSession.from_model(model),
    }


BAD_CHUNKS = [
    np.array([np.nan], np.float32),
    np.array([0.0, -np.inf]),
    np.array([2 * LOUDEST]),
    np.zeros((2, 3), np.float32),
    np.float32(0),
    np.arange(5),
    np.zeros(3, complex),
    np.array(["a"]),
    np.array([None]),
    np.zeros(4, bool),
]
RATES = [8000, 16000, 44100]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 900)),
        st.tuples(st.just("bad"), st.integers(0, len(BAD_CHUNKS) - 1)),
        st.tuples(st.just("rate"), st.sampled_from([0, -1, 7, 48000, None])),
        st.tuples(st.sampled_from(["flush", "reset"]), st.just(0)),
    ),
    max_size=12,
)


def take_apart(session, rate, actions, wav):
    """Whatever is done to a stream, what comes out between two ends is what
    a new stream gives for what went in."""
    # Gates forced open: none hangs on how sums were rounded.
    stream, fresh, start = Stream(session, 1e4), Stream(session, 1e4), 0
    begin, out = 0, []

    def compare(tail):
        whole = fresh.run(wav[begin:start], rate)
        whole = np.concatenate([whole, fresh.flush()])
        found = np.concatenate([*out, tail])
        assert found.dtype == np.float32 and len(found) == start - begin
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, whole, atol=1e-4)

    for action, value in [*actions, ("flush", 0)]:
        if action == "take":
            end = min(start + value, len(wav))
            out.append(stream.run(wav[start:end], rate))
            start = end
        elif action == "bad":
            with pytest.raises(InputError):
                stream.run(BAD_CHUNKS[value], rate)
        elif action == "rate":
            if value != rate and start > begin:
                with pytest.raises(InputError):
                    stream.run(
                        wav[:3], 0 if value is None and rate == 16000 else value
                    )
        elif action == "flush":
            compare(stream.flush())
            begin, out = start, []
        else:
            stream.reset()
            begin, out = start, []


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@fuzz
@given(st.sampled_from(RATES), ACTIONS, st.integers(0, 2**31))
@example(16000, [("flush", 0), ("flush", 0), ("take", 1)], 0)
@example(44100, [("bad", 0), ("take", 0), ("rate", 0), ("take", 900)], 0)
def test_any_use_of_a_stream(sessions, backend, rate, actions, seed):
    wav = noise(3000, seed=seed)[:, 0]
    take_apart(sessions[backend], rate, actions, wav)


SOURCES = [
    encoded(noise(300), container=container)
    for container in ("WAV", "FLAC", "AU", "AIFF", "W64", "RF64", "CAF")
]


@fuzz
@given(
    st.sampled_from(range(len(SOURCES))),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6),
    st.integers(0, 1000),
)
def test_headers_with_any_bytes(tmp_path_factory, kind, changes, kept):
    """Read or refused, in little memory; never anything else."""
    data = bytearray(SOURCES[kind])
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.wav"
    path.write_bytes(data[: max(1, kept)] if kept < 200 else data)
    try:
        samples, rate = read_audio(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert samples.ndim == 2 and samples.shape[1] >= 1
        assert 1000 <= rate <= 768_000 and samples.size < 10**6


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**30, -1, 1e308, "../x", "!apply:os.system"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def defaults():
    """A configuration of each lobe."""
    kinds = {}
    for name, entry in LOBES.items():
        config = ModelConfig(
            "a", name, front_end=entry.front_end, kind=entry.kind
        )
        kinds[name] = json.loads(config.to_json())
    return kinds


DEFAULTS = defaults()
TABLE = {"budgets": [0.0, 1.0], "biases": [-1.0, 1.0]}


@st.composite
def config_texts(draw):
    """Text of a configuration with something changed in it."""
    values = dict(DEFAULTS[draw(st.sampled_from(sorted(DEFAULTS)))])
    lobe = LOBES[values["lobe"]]
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from([*values, "more"]) | st.text(max_size=5))
        what = draw(st.sampled_from(["value", "gone", "argument", "table"]))
        if what == "gone":
            values.pop(key, None)
        elif what == "argument":
            name = draw(st.sampled_from(sorted(lobe.arguments)))
            values["lobe_arguments"] = {name: draw(JSON)}
        elif what == "table":
            values["calibration"] = TABLE | draw(
                st.dictionaries(st.sampled_from(list(TABLE)), JSON, max_size=2)
            )
        else:
            values[key] = draw(JSON)
    text = json.dumps(values)
    if draw(st.booleans()):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.text(max_size=4)) + text[place:]
    return text


@fuzz
@given(config_texts())
@example('{"name": NaN}')
@example("[" * 100_000)
@example(json.dumps({"calibration": {"budgets": [], "biases": []}}))
def test_any_text_is_a_configuration_or_refused(text):
    try:
        config = ModelConfig.from_json(text)
    except InputError as error:
        line = str(error)
        assert "\n" not in line and len(line) < 1500
    else:
        assert ModelConfig.from_json(config.to_json()) == config


def values_of(accepts):
    """All that an argument may have."""
    if isinstance(accepts, Flag):
        return st.booleans()
    if isinstance(accepts, OneOf):
        one = st.sampled_from(accepts.words)
    else:
        low, high = accepts.low, accepts.high
        whole = isinstance(accepts, Whole)
        one = (st.integers if whole else st.floats)(low, high)
        if whole:  # small values fit each other more often
            one = one | st.integers(low, min(high, low + 8))
    count, most = getattr(accepts, "count", None), accepts.most
    if count is None and most is None:
        return one
    return st.lists(one, min_size=count or 1, max_size=count or most)


@st.composite
def configurations(draw):
    """Of any lobe, with every argument anywhere in its range."""
    name = draw(st.sampled_from(sorted(LOBES)))
    entry = LOBES[name]
    front = FRONT_ENDS[entry.front_end]
    arguments, around = (
        draw(
            st.fixed_dictionaries(
                {}, optional={n: values_of(x) for n, x in each.items()}
            )
        )
        for each in (entry.arguments, front.arguments)
    )
    return ModelConfig(
        "a",
        name,
        arguments,
        entry.front_end,
        around,
        draw(st.sampled_from([8000, 16000, 48000])),
        kind=entry.kind,
    )


@pytest.mark.parametrize("limit", [20_000])
@settings(fuzz, max_examples=max(60, CASES // 50))  # each builds a network
@given(configurations())
@example(
    config=ModelConfig(
        "a",
        "dual_path",
        {"channels": 4, "num_layers": 4},
        "mixture",
        sample_rate=8000,
        kind="separation",
    )
)
def test_any_arguments_in_range_build_or_are_refused(limit, config):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(size, "MAX_PARAMETERS", limit)
        try:
            net = config.build()
        except InputError as error:
            assert "cannot be built" in str(error)
        else:
            assert sum(p.numel() for p in net.parameters()) <= limit
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    assert peak < 4 << 30
