"""``compare``: paired differences, the static frontier, MACs saved."""

import json
import math

import pytest
from some_results import NAMES, evaluation, separation

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.comparison import (
    above_frontier,
    macs_saved,
    paired_difference,
    read_evaluations,
)
from speechbrain_dsn.inference.scores import Evaluation
from speechbrain_dsn.inference.separation_scores import SeparationEvaluation

STATICS = [evaluation("slim 1/4", 40, 0.5), evaluation("slim 1", 100, 1.1)]


def test_a_difference_is_taken_file_by_file():
    found = paired_difference(STATICS[1], STATICS[0], "pesq")
    assert found.value == pytest.approx(0.6)
    # Files differ by much more than systems do, and it does not matter.
    assert found.high - found.low < 1e-9
    backwards = evaluation("again", 100, 1.1, NAMES[::-1])
    found = paired_difference(backwards, STATICS[1], "pesq")
    assert found.value == pytest.approx(0) and found.n_valid == 12


def test_files_without_a_value_do_not_count():
    broken = evaluation("broken", 100, 1.1, reason="silent estimate")
    found = paired_difference(broken, STATICS[0], "pesq")
    assert (found.n_valid, found.n_total) == (11, 12)
    assert found.value == pytest.approx(0.6)


@pytest.mark.parametrize("macs", [40, 55, 70, 100])
def test_the_frontier_is_linear_in_macs(macs):
    on_it = 0.5 + 0.6 * (macs - 40) / 60
    found = above_frontier(evaluation("r", macs, on_it), STATICS, "pesq")
    assert found.value == pytest.approx(0, abs=1e-9)
    found = above_frontier(evaluation("r", macs, on_it + 0.2), STATICS, "pesq")
    assert found.value == pytest.approx(0.2)


@pytest.mark.parametrize("macs", [39, 101])
def test_beyond_the_frontier_there_is_no_value(macs):
    found = above_frontier(evaluation("r", macs, 1.0), STATICS, "pesq")
    assert math.isnan(found.value)


def test_macs_saved_at_equal_quality():
    routed = [evaluation("r", 20, 0.3), evaluation("r", 40, 0.7)]
    found = macs_saved(STATICS[0], routed, "pesq")
    assert found.value == pytest.approx(1 - 30 / 40)
    assert math.isnan(macs_saved(STATICS[1], routed, "pesq").value)
    cheapest = macs_saved(evaluation("s", 50, 0.1), routed, "pesq")
    assert cheapest.value == pytest.approx(1 - 20 / 50)


def test_other_files_or_metrics_are_refused():
    fewer = evaluation("fewer", 40, 0.5, NAMES[:5])
    with pytest.raises(InputError, match="the same files"):
        paired_difference(fewer, STATICS[0], "pesq")
    with pytest.raises(InputError, match="no si_sdr: expected one of pesq"):
        paired_difference(STATICS[1], STATICS[0], "si_sdr")


def test_json_gives_the_evaluation_back(tmp_path):
    row = evaluation("broken", 100, 1.1, reason="silent estimate")
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row.as_dict(), STATICS[0].as_dict()]))
    found = read_evaluations(path)
    assert [r.as_dict() for r in found] == [
        row.as_dict(),
        STATICS[0].as_dict(),
    ]


def test_json_gives_a_separation_back(tmp_path):
    rows = [
        separation("wide", 100, 9.0, reason="silent estimate"),
        evaluation("of another kind", 100, 1.0),
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row.as_dict() for row in rows]))
    found = read_evaluations(path)
    assert [r.as_dict() for r in found] == [row.as_dict() for row in rows]
    assert [type(row) for row in found] == [SeparationEvaluation, Evaluation]
    assert found[0].known == rows[0].known


def test_command_takes_what_evaluate_writes_for_separators(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name, macs, gain in (("narrow", 40, 5.0), ("wide", 100, 9.0)):
        row = separation(name, macs, gain).as_dict() | {"unpaired": []}
        (tmp_path / f"{name}.json").write_text(json.dumps(row))
    call = ["compare", "narrow.json", "wide.json", "--json", "out.json"]
    assert main([*call, "--plot", "q.png", "--metric", "si_sdri"]) == 0
    assert "si_sdri" in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    (difference,) = found["differences"].values()
    assert difference["si_sdri"]["value"] == pytest.approx(4.0)


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = {"a": STATICS[0], "b": STATICS[1], "r": evaluation("r", 70, 0.9)}
    for name, row in rows.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(row.as_dict()))
    return tmp_path


def test_command(results, capsys):
    call = ["compare", "routed 1/2=r.json", "--frontier", "a.json", "b.json"]
    assert main([*call, "--plot", "q.png", "--json", "out.json"]) == 0
    out = capsys.readouterr().out
    assert "| routed 1/2 | 0.100 [0.100, 0.100] |" in out
    assert (results / "q.png").stat().st_size > 1000
    found = json.loads((results / "out.json").read_text())
    above = found["frontier"]["above"]["routed 1/2"]["pesq"]
    assert above["value"] == pytest.approx(0.1)
    saved = found["frontier"]["macs_saved"]["slim 1/4"]["pesq"]
    assert saved["value"] == pytest.approx(1 - 70 / 40)
    differences = found["differences"]["slim 1"]["pesq"]
    assert differences["value"] == pytest.approx(0.2)


def test_bad_arguments(results, capsys):
    (results / "no.json").write_text('{"model": 1}')
    for arguments, message in (
        (["missing.json"], "cannot read missing.json"),
        (["no.json"], "expected the JSON of `speechbrain-dsn evaluate`"),
        (["a.json", "a.json"], "expected LABEL=FILE"),
        (["a.json", "--frontier", "b.json"], "two static nets or more"),
        (["a.json", "--plot", "q.png", "--metric", "x"], "no x"),
    ):
        assert main(["compare", *arguments]) == 2
        captured = capsys.readouterr()
        assert message in captured.err and "Traceback" not in captured.err
