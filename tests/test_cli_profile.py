"""``profile`` tells what a model costs."""

import json
import os
import subprocess
import sys

import pytest
import torch
from tiny_model import save_tiny

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.inference.profiling import fixed_gates
from speechbrain_dsn.pretrained import load_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    return {
        "dynamic": save_tiny(home / "tiny"),
        "static": save_tiny(home / "still", static=True),
    }


def profile(capsys, folder, *arguments):
    code = main(["profile", "--model", str(folder), "--json", "-", *arguments])
    assert code == 0
    return json.loads(capsys.readouterr().out)


def test_json_agrees_with_the_report(folders, capsys):
    found = profile(capsys, folders["dynamic"])
    enhancer = load_model(folders["dynamic"]).enhancer
    count = sum(p.numel() for p in enhancer.parameters())
    assert found["parameters"] == count
    assert list(found["macs_per_second"]) == ["0", "0.5", "1"]
    for name, macs in found["macs_per_second"].items():
        assert macs == enhancer.report().macs_per_second(float(name))
        layers = [layer[name] for layer in found["layers"].values()]
        assert sum(layers) == pytest.approx(macs)
    assert found["latency_ms"] == 32
    assert all(0 < rtf < 10 for rtf in found["rtf"].values())


def test_static_models_cost_the_same_everywhere(folders, capsys):
    found = profile(capsys, folders["static"])
    assert len(set(found["macs_per_second"].values())) == 1
    assert found["dynamic"] is False


def test_further_activation(folders, capsys):
    found = profile(capsys, folders["dynamic"], "--activation", "0.25")
    costs = found["macs_per_second"]
    assert list(costs) == ["0", "0.25", "0.5", "1"]
    assert costs["0.25"] == pytest.approx((costs["0"] + costs["0.5"]) / 2)
    command = ["profile", "--model", str(folders["dynamic"])]
    assert main([*command, "--activation", "1.5"]) == 2
    assert "--activation 1.5" in capsys.readouterr().err


def test_table_for_people(folders, capsys):
    threads = torch.get_num_threads()
    assert main(["profile", "--model", str(folders["dynamic"])]) == 0
    out = capsys.readouterr().out
    assert "conv1" in out and "total" in out and "RTF" in out
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_fixed_gates_have_their_share(share):
    assert fixed_gates(320, share).mean() == share


def test_a_reader_that_has_seen_enough_is_no_error(folders):
    """As of ``speechbrain-dsn profile ... | head``."""
    code = "from speechbrain_dsn.cli.main import main; raise SystemExit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "profile", "--model", folders["static"]],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert done.returncode == 141
    assert "BrokenPipe" not in done.stderr and "Traceback" not in done.stderr
