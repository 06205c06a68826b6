"""Widths are searched, a search that was stopped goes on, results hang
together, and bad input is answered in one line."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import save_tiny, tiny_model
from torch import nn

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.cli.quantize import TASKS as NAMES
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.nnet.gru_scheme import OPERATORS, uniform_widths
from speechbrain_dsn.nnet.quantized import QuantizedGRU, calibrate
from speechbrain_dsn.plots.front import plot_front
from speechbrain_dsn.pretrained import LoadedModel, ModelConfig
from speechbrain_dsn.quantization.gru import IntegerGRU
from speechbrain_dsn.quantization.search import (
    Evaluations,
    Point,
    SearchOptions,
    pareto_front,
    search,
)
from speechbrain_dsn.quantization.store import load_gru, save_gru
from speechbrain_dsn.quantization.subject import Subject
from speechbrain_dsn.quantization.tasks import TASKS, TaskOptions, make_task

QUICK = ("--items", "1", "--steps", "3", "--seconds", "0.5")
BUDGET = ("--search", "--population", "6", "--generations", "2")


def integer_gru(widths=None):
    torch.manual_seed(0)
    gru, x = nn.GRU(3, 5), torch.randn(2, 9, 3)
    widths = widths or {n: 2 + k % 9 for k, n in enumerate(OPERATORS)}
    return IntegerGRU.of(QuantizedGRU(gru, calibrate(gru, [x]), widths))


def toy(genes):
    """Few bits are small; every operator wants another number of them."""
    wanted = np.arange(len(genes)) % 8 + 4
    return float((2.0 ** -(genes - wanted)).sum()), int(np.sum(genes))


def evaluations(path, evaluate=toy, subject="toy"):
    return Evaluations(path, subject, lambda genes: evaluate(np.array(genes)))


# -- the search -------------------------------------------------------------


@given(seed=st.integers(0, 20))
def test_the_front_is_never_behind_uniform_eight_bits(seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "search.json"
    options = SearchOptions(8, 3, seed)
    found = search(OPERATORS, evaluations(path), options, progress=False)
    error, size = toy(np.full(len(OPERATORS), 8))
    front = pareto_front(found)
    assert any(p.error <= error and p.size <= size for p in front)
    assert all(2 <= bits <= 16 for p in found for bits in p.genes)
    errors = [point.error for point in front]
    assert errors == sorted(set(errors), reverse=True)
    for point in found:  # nobody beats the front
        assert any(
            f.error <= point.error and f.size <= point.size for f in front
        )


def test_searching_pays(tmp_path):
    known, few = evaluations(tmp_path / "search.json"), OPERATORS[:10]
    found = search(few, known, SearchOptions(20, 25), progress=False)
    first = found[:20]  # the first population

    def least(points, size):
        return min(p.error for p in points if p.size <= size)

    for size in (70, 80, 90):
        assert least(found, size) < 0.8 * least(first, size)


@pytest.mark.parametrize("stop", [1, 9, 10, 17, 29])
def test_a_stopped_search_ends_where_it_would_have(tmp_path, stop):
    options, calls = SearchOptions(8, 4, 3), []

    def interrupted(genes):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append(genes)
        return toy(genes)

    whole = evaluations(tmp_path / "whole.json")
    expected = search(OPERATORS, whole, options, progress=False)
    path = tmp_path / "stopped.json"
    with pytest.raises(KeyboardInterrupt):
        search(OPERATORS, evaluations(path, interrupted), options, False)
    again = evaluations(path)
    assert len(again.known) == stop
    assert search(OPERATORS, again, options, progress=False) == expected
    assert again.computed == whole.computed - stop
    # And on to more generations, without computing the first ones again.
    third = evaluations(path)
    search(OPERATORS, third, SearchOptions(8, 5, 3), progress=False)
    assert third.computed <= 8


def test_a_killed_search_loses_one_generation_at_most(tmp_path, monkeypatch):
    """The file on disk after each generation is what a kill would leave."""
    options, path = SearchOptions(6, 4, 1), tmp_path / "search.json"
    known, left = evaluations(path), []
    save = known.save

    def saving():
        save()
        left.append(path.with_name(f"{len(left)}.json"))
        shutil.copy(path, left[-1])

    monkeypatch.setattr(known, "save", saving)
    expected = search(OPERATORS, known, options, progress=False)
    assert len(left) == 4
    for number, copy in enumerate(left, 1):
        again = evaluations(copy)
        assert len(again.known) >= 6 * number - 3  # duplicates are few
        assert search(OPERATORS, again, options, progress=False) == expected


def test_a_state_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "search.json"
    evaluations(path).save()
    with pytest.raises(InputError, match="another model or other data"):
        evaluations(path, subject="other")
    for text in ("", "{}", "[1]", '{"format_version": 1, "subject": "toy"}'):
        path.write_text(text)
        with pytest.raises(InputError, match="no search that can go on"):
            evaluations(path)


@pytest.mark.parametrize(
    "options", [{"population": 3}, {"generations": 0}, {"seed": -1}]
)
def test_impossible_budgets_are_refused(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} is .*least"):
        SearchOptions(**options)


def test_a_missing_pymoo_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "pymoo", None)
    out = str(tmp_path / "out")
    assert main(["quantize", "--search", "--task", "digits", "-o", out]) == 2
    assert "speechbrain-dsn[search]" in capsys.readouterr().err
    assert not Path(out).exists()


# -- files ------------------------------------------------------------------


def test_saved_integers_come_back(tmp_path):
    gru = integer_gru()
    texts, arrays = save_gru(tmp_path / "deep" / "lobe.rnn", gru)
    assert (texts.name, arrays.name) == ("lobe.rnn.json", "lobe.rnn.npz")
    again = load_gru(tmp_path / "deep" / "lobe.rnn")
    codes = gru.encode(np.random.default_rng(0).normal(size=(2, 9, 3)))
    assert (again.run(codes) == gru.run(codes)).all()
    with np.load(arrays) as file:
        stored = sum(file[name].nbytes for name in file)
    sizes = json.loads(texts.read_text())["bytes"]
    parts = ("weights", "biases", "tables")
    assert stored == sum(sizes[part] for part in parts)
    assert not list((tmp_path / "deep").glob("*.part"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format_version=2), "format_version is 2"),
        (lambda v: v.update(units=6), "expected"),
        (lambda v: v["widths"].update(reset=40), "width of reset is 40"),
        (lambda v: v["rescales"]["sum_r"].update(shift=3), "do not follow"),
        (lambda v: v["ranges"].pop("state"), "range of state"),
        (lambda v: v["arrays"].pop("bias_ir"), "arrays are missing"),
        (lambda v: v["arrays"]["bias_ir"].update(bits=1), "bias_ir has"),
        (lambda v: v.pop("one"), "no integer GRU"),
    ],
)
def test_damaged_integers_are_refused(tmp_path, change, message):
    texts, _ = save_gru(tmp_path / "gru", integer_gru(uniform_widths(5)))
    values = json.loads(texts.read_text())
    change(values)
    texts.write_text(json.dumps(values))
    with pytest.raises(InputError, match=message):
        load_gru(tmp_path / "gru")


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        load_gru(tmp_path / "nothing")
    _, arrays = save_gru(tmp_path / "gru", integer_gru())
    arrays.write_bytes(b"something else")
    with pytest.raises(InputError, match="no integer GRU"):
        load_gru(tmp_path / "gru")


# -- tasks ------------------------------------------------------------------


def quick(folder, **options):
    usual = {"items": 1, "seconds": 0.5, "steps": 3}
    return TaskOptions(folder, **usual | options)


def test_the_command_offers_all_tasks():
    assert tuple(TASKS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_task_runs_on_integers(name, tmp_path):
    """Many bits change little, few bits much; training is remembered."""
    subject = Subject(make_task(name, quick(tmp_path)))
    deviations = [
        subject.deviation(dict.fromkeys(subject.slots, uniform_widths(bits)))
        for bits in (16, 8, 2)
    ]
    assert deviations == sorted(deviations)
    assert deviations[0] < min(1e-3, 0.05 * deviations[2])
    widths = dict.fromkeys(subject.slots, uniform_widths(16))
    exact, found = subject.error("test"), subject.error("test", widths)
    assert found == pytest.approx(exact, abs=0.05)
    assert subject.bytes(widths)["weights"] * 2 < subject.float_bytes()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.safetensors")}
    assert len(kept) == (name != "ftfnet")
    again = make_task(name, quick(tmp_path))
    for path, time in kept.items():
        assert path.stat().st_mtime_ns == time
    state = again.model.state_dict()
    for key, weight in subject.task.model.state_dict().items():
        assert torch.equal(state[key], weight)


def test_models_of_a_folder_can_be_quantised(tmp_path):
    """Those that decide, too: closed frames keep states, or read zeros."""
    torch.manual_seed(0)
    config = ModelConfig("exits", "dynamic_nsnet2", {"units": [8] * 5})
    model = LoadedModel(config.build(), config)
    exits = save_tiny(tmp_path / "exits", model=model)
    dynamic = save_tiny(tmp_path / "dynamic", model=tiny_model())
    for name, folder, count in (
        ("nsnet2", exits, 2),
        ("exits", exits, 1),
        ("ftfnet", dynamic, 1),
    ):
        options = quick(tmp_path / "work", model=str(folder))
        subject = Subject(make_task(name, options))
        assert len(subject.slots) == count
        widths = dict.fromkeys(subject.slots, uniform_widths(16))
        assert subject.deviation(widths) < 1e-3


# -- the command ------------------------------------------------------------


def test_uniform_widths_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["quantize", "--task", "digits", *QUICK, "-o", str(out)]
    assert main([*command, "--bits", "6", "--json", "-"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["bits"] == 6 and values["grus"] == ["gru"]
    assert values["bytes"]["weights"] == 32 * (8 + 32) * 3 * 6 // 8
    assert json.loads((out / "uniform6.json").read_text()) == values
    assert all((out / name).is_file() for name in values["files"])
    gru = load_gru(out / "uniform6" / "gru")
    assert set(gru.scheme.widths.values()) == {6}
    assert main(command) == 0
    assert "integers, 8 bits" in capsys.readouterr().out


def test_a_search_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["quantize", "--task", "digits", *QUICK, *BUDGET, "-o", str(out)]
    assert main(command) == 0
    assert "uniform 8 bits" in capsys.readouterr().out
    assert (out / "front.png").stat().st_size > 10_000
    first = json.loads((out / "front.json").read_text())
    equal, uniform = first["equal_accuracy"], first["uniform"]
    assert equal["error_valid"] <= uniform["error_valid"] + first["tolerance"]
    saved = 1 - equal["bytes"]["total"] / uniform["bytes"]["total"]
    assert equal["saving"] == saved >= 0
    gru = load_gru(out / "mixed" / "gru")
    assert gru.scheme.widths == equal["widths"]["gru"]
    # Again: the state is read, nothing is computed, the result is the same.
    before = (out / "search.json").read_bytes()
    assert main(command) == 0
    assert json.loads((out / "front.json").read_text()) == first
    assert (out / "search.json").read_bytes() == before


def test_ctrl_c_keeps_what_was_tried(tmp_path, capsys, monkeypatch):
    deviation, calls = Subject.deviation, []

    def interrupted(self, widths):
        calls.append(widths)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return deviation(self, widths)

    monkeypatch.setattr(Subject, "deviation", interrupted)
    out = tmp_path / "out"
    command = ["quantize", "--task", "digits", *QUICK, *BUDGET, "-o", str(out)]
    assert main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    state = json.loads((out / "search.json").read_text())
    assert len(state["evaluations"]) == 7
    assert main(command) == 0
    state = json.loads((out / "search.json").read_text())
    assert len(state["evaluations"]) == len(calls) - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "1"], "from 2 to 16"),
        (["--bits", "17"], "from 2 to 16"),
        (["--bits", "8", "--search"], "expected one of them"),
        (["--search", "--population", "1"], "population is 1"),
        (["--model", "no-such-model"], "no model 'no-such-model'"),
        (["--model", "dyncp"], "expected an FTF-Net or an nsNet2"),
        (["--model", "ftfnet", "--task", "digits"], "trains its own model"),
        (["--model", "ftfnet", "--task", "exits"], "for a DynamicNsNet2"),
        (["--task", "digits", "--items", "0"], "items is 0"),
        (["--task", "exits", "--steps", "0"], "steps is 0"),
        (["--data_folder", "nowhere"], "found no nowhere"),
        (["--task", "poetry"], "invalid choice"),
    ],
)
def test_bad_input_is_answered_in_one_line(
    tmp_path, capsys, arguments, message
):
    arguments = ["quantize", *arguments, "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


def test_a_plot_needs_points(tmp_path):
    with pytest.raises(InputError, match="front of 0 points"):
        plot_front([], [], (1, 1), [], (0, 0), tmp_path / "x.png", "error")
    points = [Point((), 1.0, 5)]
    assert pareto_front(points) == points and pareto_front([]) == []


def test_the_benchmark_prints_a_table(tmp_path, monkeypatch, capsys):
    folder = Path(__file__).parents[1] / "benchmarks"
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    benchmark = importlib.import_module("quantization")
    arguments = [
        *("--tasks", "digits", *QUICK, *BUDGET[1:]),
        *("-o", str(tmp_path), "--json", str(tmp_path / "all.json")),
    ]
    assert benchmark.main(arguments) == 0
    table = capsys.readouterr().out
    assert "| digits (digits-small) | error rate |" in table
    (values,) = json.loads((tmp_path / "all.json").read_text())
    assert f"{100 * values['equal_accuracy']['saving']:.0f} % |" in table
    assert benchmark.main([*arguments, "--items", "0"]) == 2
    assert "items is 0" in capsys.readouterr().err
