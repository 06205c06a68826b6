"""The benchmark runs, and its numbers hang together."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import save_tiny, tiny_model

from speechbrain_dsn.export.onnx import export_onnx

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "streaming.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_small_run(tmp_path):
    folder = save_tiny(tmp_path / "tiny")
    static = save_tiny(tmp_path / "static", static=True)
    peer = export_onnx(tiny_model(static=True), tmp_path / "peer.onnx")
    out, plot = tmp_path / "out.json", tmp_path / "out.png"
    done = run(
        *("--model", folder, "--static", static, "--peer", f"{peer}:16"),
        *("--turns", 2, "--seconds", 2, "--many", 1, 3),
        *("--skip", "memory", "hold", "--json", out, "--plot", plot),
    )
    assert done.returncode == 0, done.stderr
    assert "half open" in done.stdout and plot.stat().st_size > 10_000
    found = json.loads(out.read_text())
    assert found["threads"] == 1 and found["trained"]
    rows = found["streaming"]
    expected = {"mgt-dsn", "ftfnet", "nsnet2-size", str(peer)}
    assert expected < set(rows)
    for row in rows.values():
        assert 0 < row["us_p10"] <= row["us_per_frame"] <= row["us_p90"]
        hop = row["us_per_frame"] / row["rtf"]
        assert hop == pytest.approx(1e4) or hop == pytest.approx(1.6e4)
    own = rows["mgt-dsn"]
    assert 0 < own["activation"] < 1
    assert own["open_us"] == own["by_activation"]["1"]["us_per_frame"]
    assert own["closed_us"] == own["by_activation"]["0"]["us_per_frame"]
    assert set(found["offline"]) > {"ftfnet", "mgt-dsn", "mgt-dsn 0.5"}
    for row in found["many"].values():
        together = row["us_per_stream"] * row["streams_per_core"]
        assert together == pytest.approx(16_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing"], "no model 'nothing'"),
        (["--json", "missing/x.json"], "not an existing folder"),
        (["--peer", "missing.onnx"], "No such file"),
        (["--peer", "x.onnx:fast"], "its hop in ms"),
    ],
)
def test_bad_input(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
    benchmark = importlib.import_module("streaming")
    assert benchmark.main(arguments) == 2
    assert message in capsys.readouterr().err
