"""``enhance`` does what it can, and says in one line what it cannot."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from tiny_model import noise, save_tiny, tiny_router

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.pretrained import available


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module", params=["gate", "widths"])
def either(request, model, tmp_path_factory):
    """A folder of a model with a gate, and of one with a router."""
    if request.param == "gate":
        return model
    folder = tmp_path_factory.mktemp("model") / "router"
    return save_tiny(folder, model=tiny_router())


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where the user is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, samples=None, rate=16_000, **kwargs):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    samples = noise(4000) if samples is None else samples
    soundfile.write(path, samples, rate, **kwargs)


def lines(capsys):
    """What was reported on stderr, without the progress bars."""
    found = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert not any("Traceback" in line for line in found)
    return [line for line in found if line.startswith("speechbrain-dsn:")]


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_one_file(home, model, capsys):
    write("a.wav")
    assert (
        main(["enhance", "a.wav", "-o", "b.flac", "--model", str(model)]) == 0
    )
    out = capsys.readouterr().out
    assert "b.flac" in out and "M MAC/s" in out and "RTF" in out
    assert soundfile.info("b.flac").frames == 4000


def test_folder_keeps_its_structure(home, model):
    for name in ("in/a.wav", "in/x/b.FLAC", "in/x/y/été 噪.wav", "in/no.txt"):
        if name.endswith("txt"):
            (home / name).write_text("no audio")
        else:
            write(name)
    assert main(["enhance", "in", "-o", "out", "--model", str(model)]) == 0
    expected = ["a.wav", "x/b.FLAC", "x/y/été 噪.wav"]
    assert files(home / "out") == expected


def test_glob_keeps_what_lies_below_its_first_wildcard(home, model):
    for name in ("data/s1/a.wav", "data/s2/a.wav", "data/s2/b.wav"):
        write(name)
    code = main(["enhance", "data/*/a.wav", "-o", "o", "--model", str(model)])
    assert code == 0 and files(home / "o") == ["s1/a.wav", "s2/a.wav"]


def test_what_lies_in_the_output_folder_is_no_input(home, model):
    write("a.wav")
    for _ in range(2):
        command = ["enhance", ".", "-o", "out", "--model", str(model)]
        assert main([*command, "--overwrite"]) == 0
    assert files(home / "out") == ["a.wav"]


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(8000, 1, "PCM_16"), (44_100, 2, "PCM_24"), (48_000, 3, "FLOAT")],
)
def test_any_rate_and_channel_count(home, model, rate, channels, subtype):
    write("a.wav", noise(5001, channels), rate, subtype=subtype)
    assert main(["enhance", "a.wav", "-o", "out", "--model", str(model)]) == 0
    info = soundfile.info("out/a.wav")
    assert (info.samplerate, info.channels) == (rate, channels)
    assert (info.frames, info.subtype) == (5001, subtype)


def test_json_alone_on_stdout(home, model, capsys):
    write("a.wav")
    command = ["enhance", "a.wav", "no.wav", "-o", "o", "--model", str(model)]
    assert main([*command, "--json", "-", "--budget", "1"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["files"][0]["activation"] == 1
    assert "no.wav does not exist" in found["errors"][0]
    assert main([*command, "--json", "r.json", "--overwrite"]) == 2
    assert json.loads((home / "r.json").read_text())["budget"] is None


def test_budget_moves_the_cost(home, model, capsys):
    write("a.wav", noise(80_000))
    cost = []
    for budget in ("0", "0.5", "1"):
        command = ["enhance", "a.wav", "-o", f"{budget}.wav", "--json", "-"]
        command += ["--model", str(model), "--budget", budget]
        assert main(command) == 0
        file = json.loads(capsys.readouterr().out)["files"][0]
        cost.append(file["macs_per_second"])
    assert cost[0] < cost[1] < cost[2]


def test_plots(home, model, capsys):
    write("a.wav", noise(5000, 2))
    command = ["enhance", "a.wav", "-o", "out", "--model", str(model), "--plot"]
    assert main(command) == 0
    assert files(home / "out") == ["a.wav", "a.wav.png"]
    (home / "out/a.wav").unlink()
    assert main(command) == 2
    assert "a.wav.png exists already" in lines(capsys)[0]
    assert main([*command, "--overwrite"]) == 0


def test_stream_gives_what_offline_gives(home, either, capsys):
    write("a.wav", noise(60_000, 2), 44_100, subtype="FLOAT")
    reports, signals = [], []
    for extra in ([], ["--stream"]):
        name = f"{len(extra)}.wav"
        command = ["enhance", "a.wav", "-o", name, "--model", str(either)]
        assert main([*command, "--json", "-", "--plot", *extra]) == 0
        reports.append(json.loads(capsys.readouterr().out)["files"][0])
        signals.append(soundfile.read(name)[0])
    assert np.allclose(*signals, atol=1e-4)
    assert reports[0]["activation"] == reports[1]["activation"]
    assert reports[0]["macs_per_second"] == reports[1]["macs_per_second"]


def test_stream_holds_a_budget(home, either, capsys):
    write("a.wav", noise(160_000))
    command = ["enhance", "a.wav", "-o", "b.wav", "--model", str(either)]
    command += ["--stream", "--hold", "--budget", "0.35", "--json", "-"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)["files"][0]
    assert report["activation"] == pytest.approx(0.35, abs=0.03)


def nan_file(path):
    samples = noise(4000)
    samples[3000] = math.nan
    write(path, samples, subtype="FLOAT")


def bad_files():
    """Every kind of bad file beside two good ones, and a word about each."""
    write("in/a_good.wav")
    write("in/z_good.wav")
    open("in/empty.wav", "w").close()
    write("in/none.wav", np.zeros(0))
    nan_file("in/nan.wav")
    with open("in/text.wav", "w") as file:
        file.write("this is no audio at all, whatever its name says")
    write("in/short.flac", noise(20_000))
    with open("in/short.flac", "rb+") as file:
        file.truncate(9000)
    return {
        "empty.wav": "0 bytes",
        "none.wav": "0 samples",
        "nan.wav": "sample 3000 of channel 0 is nan",
        "text.wav": "cannot be read as audio",
        "short.flac": "short.flac",
    }


def test_bad_files_are_named_and_the_rest_gets_done(home, model, capsys):
    words = bad_files()
    code = main(["enhance", "in", "-o", "out", "--model", str(model)])
    found = lines(capsys)
    assert code == 2 and len(found) == len(words)
    for name, word in words.items():
        assert sum(name in line and word in line for line in found) == 1
    assert files(home / "out") == ["a_good.wav", "z_good.wav"]


def test_ten_samples_silence_and_clipping_are_no_errors(home, model):
    write("in/ten.wav", noise(10))
    write("in/still.wav", np.zeros(4000))
    write("in/clip.wav", 50 * noise(4000))
    assert main(["enhance", "in", "-o", "out", "--model", str(model)]) == 0
    assert soundfile.info("out/ten.wav").frames == 10
    assert not soundfile.read("out/still.wav")[0].any()


def refuse(home, capsys, command, *words):
    """Exit code 2, one line with these words, nothing written."""
    before = files(home)
    assert main(["enhance", *map(str, command)]) == 2
    found = lines(capsys)
    assert len(found) == 1
    for word in words:
        assert word in found[0], found[0]
    assert files(home) == before


def test_missing_and_empty_inputs(home, model, capsys):
    (home / "hollow").mkdir()
    end = ["-o", "out", "--model", model]
    refuse(home, capsys, ["no.wav", *end], "no.wav does not exist")
    refuse(home, capsys, ["hollow", *end], "hollow", "found none")
    refuse(home, capsys, ["*.wav", *end], "*.wav", "found none")
    assert not (home / "out").exists()


def test_outputs_that_cannot_be(home, model, capsys):
    write("a.wav")
    write("b.wav")
    (home / "text").write_text("")
    end = ["--model", model]
    refuse(home, capsys, ["a.wav", "-o", "b.wav", *end], "--overwrite")
    refuse(home, capsys, ["a.wav", "-o", "text", *end], "is a file")
    refuse(home, capsys, ["a.wav", "-o", "text/x", *end], "cannot make folder")
    refuse(home, capsys, ["a.wav", "b.wav", "-o", "c.wav", *end], "one file")
    refuse(home, capsys, [".", "-o", "c.wav", *end], "one file")
    refuse(home, capsys, ["a.wav", *end], "required: -o")


def test_inputs_are_never_written(home, model, capsys):
    write("a.wav")
    write("sub/b.wav")
    before = (home / "a.wav").read_bytes()
    end = ["--model", model, "--overwrite"]
    refuse(home, capsys, ["a.wav", "-o", "a.wav", *end], "the input itself")
    refuse(home, capsys, ["a.wav", "-o", ".", *end], "is an input")
    (home / "sub/a.wav").symlink_to(home / "a.wav")
    refuse(home, capsys, ["a.wav", "-o", "sub", *end], "is an input")
    assert (home / "a.wav").read_bytes() == before


def test_two_inputs_do_not_share_an_output(home, model, capsys):
    write("x/a.wav")
    write("y/a.wav", noise(100))
    command = ["enhance", "x/a.wav", "y/a.wav", "x/a.wav", "-o", "out"]
    assert main([*command, "--model", str(model)]) == 2
    assert "different names" in lines(capsys)[0]
    assert soundfile.info("out/a.wav").frames == 4000


@pytest.mark.parametrize("budget", ["1.5", "-0.1", "nan", "half"])
def test_budget_out_of_range(home, model, capsys, budget):
    write("a.wav")
    end = ["-o", "out", "--model", model, f"--budget={budget}"]
    refuse(home, capsys, ["a.wav", *end], budget)


def test_static_model_with_a_budget(home, capsys):
    write("a.wav")
    save_tiny(home / "still", static=True)
    end = ["-o", "out", "--model", "still", "--budget", "0.5"]
    refuse(home, capsys, ["a.wav", *end], "tiny-static is static")


def test_hold_needs_a_stream_and_a_model_that_decides(home, model, capsys):
    write("a.wav")
    end = ["a.wav", "-o", "out", "--budget", "0.5", "--hold", "--model"]
    refuse(home, capsys, [*end, model], "--stream")
    save_tiny(home / "still", static=True)
    refuse(home, capsys, [*end, "still", "--stream"], "static")


def test_bad_models(home, capsys):
    write("a.wav")
    end = ["-o", "out", "--model"]
    refuse(home, capsys, ["a.wav", *end, "no-such"], "no model 'no-such'")
    (home / "old").mkdir()
    (home / "old/model.ckpt").write_bytes(b"\x80\x04")
    refuse(home, capsys, ["a.wav", *end, "old"], "pickle model.ckpt")
    save_tiny(home / "odd")
    config = json.loads((home / "odd/config.json").read_text())
    text = json.dumps({**config, "extra": 1})
    (home / "odd/config.json").write_text(text)
    refuse(home, capsys, ["a.wav", *end, "odd"], "unknown key 'extra'")


def test_json_target_is_checked_first(home, model, capsys):
    write("a.wav")
    end = ["-o", "out", "--model", model, "--json"]
    refuse(home, capsys, ["a.wav", *end, "a.wav"], "no JSON file")
    refuse(home, capsys, ["a.wav", *end, "no/r.json"], "not an existing")


def test_missing_matplotlib_is_said_first(home, model, capsys, monkeypatch):
    write("a.wav")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    end = ["-o", "out", "--model", model, "--plot"]
    refuse(home, capsys, ["a.wav", *end], "speechbrain-dsn[plots]")


def test_as_a_program(home, model):
    """Progress on stderr, results on stdout, the exit code for the shell."""
    write("a.wav")
    command = [sys.executable, "-m", "speechbrain_dsn.cli.main", "enhance"]
    command += ["a.wav", "b.wav", "-o", "out", "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "out/a.wav" in done.stdout
    assert "enhance:" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif("mgt-dsn" not in available(), reason="no shipped model")
def test_shipped_model_is_the_default(home):
    write("a.wav")
    assert main(["enhance", "a.wav", "-o", "b.wav"]) == 0
