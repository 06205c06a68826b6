"""The page of results: what it says, and that it works in a browser."""

import base64
import io
import json
import math
import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from browser import Browser, find_browser
from hypothesis import given
from hypothesis import strategies as st
from some_results import NAMES, evaluation, separation
from speechbrain.utils.train_logger import TensorboardLogger, WandBLogger
from tiny_model import noise, save_tiny, tiny_model, tiny_router, tiny_separator

from speechbrain_dsn.cli.main import main
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.evaluation import evaluate_pairs
from speechbrain_dsn.inference.mixtures import Mixture
from speechbrain_dsn.inference.pairs import Pair
from speechbrain_dsn.metrics import Score
from speechbrain_dsn.report import (
    choose_clips,
    make_clip,
    make_page,
    page,
    write_page,
)
from speechbrain_dsn.training.pictures import log_pictures, show_results

EVIL = "</script><script>alert('&')</script>"


def used(row, shift=0.0):
    """The same with an activation that falls with the SNR."""
    files = [
        replace(file, activation=0.9 - 0.05 * number - shift)
        for number, file in enumerate(row.files)
    ]
    return replace(row, files=files)


def pair(name="file3", samples=8000, gain=1.0):
    clean = gain * noise(samples)[:, 0]
    noisy = clean + 0.3 * gain * noise(samples, seed=5)[:, 0]
    return Pair(name, lambda rate: (noisy, clean))


def mixture(name="file3", samples=8000):
    sources = noise(samples, 2)
    return Mixture(name, lambda rate: (sources.sum(1), sources))


ROWS = [
    evaluation("static", 100, 1.1),
    used(evaluation("routed", 40, 0.5)),
    used(replace(evaluation("routed", 70, 0.9), budget=0.7), 0.02),
]


@pytest.fixture(scope="module")
def clips():
    return [make_clip(tiny_model(), pair(), seconds=0.4)]


class Reader(HTMLParser):
    """Elements of a page, and the text in them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self._stack = [], [], []
        self.text = {"script": [], "h3": [], "title": []}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._stack.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in self.text:
            self.text[tag].append("")

    def handle_data(self, data):
        if set(self._stack[-1:]) & set(self.text):
            self.text[self._stack[-1]][-1] += data
        if self.rows and {"td", "th"} & set(self._stack):
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        last = len(self._stack) - 1 - self._stack[::-1].index(tag)
        del self._stack[last:]  # and elements in it that need no end

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def data(self):
        return json.loads(self.text["script"][0])


# -- what the page says -----------------------------------------------------


def test_everything_is_in_the_page(clips):
    text = make_page(ROWS, clips)
    reader = Reader(text)
    links = [
        attrs[key]
        for _, attrs in reader.tags
        for key in ("src", "href", "srcset", "action", "data")
        if key in attrs
    ]
    assert len(links) == 1 + 3 + 1  # icon, tracks, picture
    assert all(link.startswith("data:") for link in links)
    assert "@import" not in text and "url(" not in text
    assert len(text) < 1e6


def test_the_table_is_that_of_the_results():
    head, noisy, *rows = Reader(make_page(ROWS)).rows
    assert head[:2] == ["system", "PESQ-WB"]
    assert noisy[0] == "noisy" and [r[0] for r in rows] == [
        "static",
        "routed",
        "routed at 0.7",
    ]
    means = [
        np.mean([f.enhanced["pesq"].value for f in row.files]) for row in ROWS
    ]
    assert [float(r[1].split()[0]) for r in rows] == pytest.approx(
        means, abs=0.006
    )
    assert "[" in rows[0][1] and rows[1][head.index("rho(snr_db)")] == "-1.00"


def test_numbers_of_the_charts():
    data = Reader(make_page(ROWS)).data
    assert [s["series"] for s in data["systems"]] == [
        "static",
        "routed",
        "routed",
    ]
    assert data["files"]["names"] == NAMES
    assert data["files"]["snr_db"] == list(range(12))
    assert data["systems"][1]["use"][2] == pytest.approx(0.8)
    score = data["systems"][0]["scores"]["pesq"]
    assert score["low"] < score["value"] < score["high"]
    assert score["n_total"] == 12


def test_files_are_matched_by_name_not_by_place():
    turned = replace(ROWS[1], model="turned", files=ROWS[1].files[::-1])
    systems = Reader(make_page([ROWS[1], turned])).data["systems"]
    assert systems[0]["use"] == systems[1]["use"]


def test_a_separator_has_overlaps_and_widths():
    rows = [separation("narrow", 40, 5.0), separation("wide", 100, 9.0)]
    reader = Reader(make_page(rows))
    data = reader.data
    assert data["input"]["name"] == "mixture"
    assert data["metrics"]["si_sdri"] == "SI-SDRi (dB)"
    assert set(data["files"]) == {"names", "overlap"}
    assert data["systems"][0]["widths"] == [[0.0, 0.6], [1.0, 0.4]]
    labels = [row[0] for row in reader.rows]
    assert "narrow at 0.5, overlap 50 %" in labels
    assert len(reader.all("meter")) == 4


def test_names_are_text_whatever_they_hold():
    names = [EVIL, *NAMES[1:]]
    files = [
        replace(file, name=name)
        for file, name in zip(ROWS[0].files, names, strict=True)
    ]
    bad = Score(math.nan, EVIL)
    files[1] = replace(files[1], enhanced={"pesq": bad}, error=EVIL)
    row = replace(ROWS[0], model=EVIL, files=files)
    clip = make_clip(tiny_model(), pair(EVIL))
    reader = Reader(make_page([row], [clip], EVIL))
    assert len(reader.all("script")) == 2
    assert reader.text["h3"] == [EVIL] and reader.text["title"] == [EVIL]
    assert reader.data["files"]["names"][0] == EVIL
    assert reader.rows[2][0] == EVIL
    assert reader.all("img")[0]["alt"].startswith(EVIL)


def test_bytes_that_are_no_text_do_not_stop_the_page():
    files = [replace(ROWS[0].files[0], name="caf\udce9")]
    text = make_page([replace(ROWS[0], model="\udce9", files=files)])
    assert "\udce9" not in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no result"),
        ([replace(ROWS[0], files=[])], "no result with a file"),
        ([ROWS[0], ROWS[0]], "called the same"),
        ([ROWS[0], separation("s", 40, 5.0)], "one kind on a page"),
        ([ROWS[0], evaluation("few", 1, 1, NAMES[:4])], "the same files"),
    ],
)
def test_what_does_not_belong_together_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        make_page(rows)


def test_a_page_that_is_too_large_is_refused(tmp_path, monkeypatch, clips):
    monkeypatch.setattr(page, "MAX_BYTES", 30_000)
    with pytest.raises(InputError, match="expected at most 0.03; take fewer"):
        write_page(tmp_path / "r.html", ROWS, clips)
    assert not list(tmp_path.iterdir())


# -- clips ------------------------------------------------------------------


def tracks(text):
    found = []
    for audio in Reader(text).all("audio"):
        head, _, content = audio["src"].partition(",")
        assert head == "data:audio/flac;base64"
        found.append(soundfile.read(io.BytesIO(base64.b64decode(content))))
    return found


@pytest.mark.parametrize("gain", [0.02, 30.0])
def test_tracks_keep_their_levels_to_each_other(gain):
    clip = make_clip(tiny_model(), pair(gain=gain))
    peak = max(1.0, *(np.abs(x).max() for x in clip.tracks.values()))
    assert (peak > 1) == (gain > 1)
    found = tracks(make_page(ROWS, [clip]))
    assert list(clip.tracks) == ["noisy", "enhanced", "clean"]
    for (wav, rate), wanted in zip(found, clip.tracks.values(), strict=True):
        assert rate == 16_000
        np.testing.assert_allclose(wav, wanted / peak, atol=1e-4)


@pytest.mark.parametrize("kind", ["static", "gated", "router"])
def test_a_clip_is_what_an_evaluation_runs(kind, tmp_path):
    model = tiny_router() if kind == "router" else tiny_model(kind == "static")
    clip = make_clip(model, pair())
    row = evaluate_pairs(model, [pair()], ["si_sdr"], progress=False)
    assert clip.activation == pytest.approx(row.activation, abs=1e-6)
    assert clip.macs_per_second == pytest.approx(row.macs_per_second)
    assert clip.seconds == 0.5
    clip.draw(tmp_path / "clip.png")
    assert (tmp_path / "clip.png").stat().st_size > 1000


@pytest.mark.parametrize("static", [False, True])
def test_estimates_of_a_separator_stand_beside_their_sources(static):
    clip = make_clip(tiny_separator(static), mixture(samples=6000), seconds=0.5)
    assert list(clip.tracks) == [
        "mixture",
        "estimate 1",
        "source 1",
        "estimate 2",
        "source 2",
    ]
    assert clip.seconds == 0.5 and 0 <= clip.activation <= 1
    row = separation("wide", 100, 9.0)
    assert len(tracks(make_page([row], [clip]))) == 5


def test_signals_that_do_not_fit_are_refused():
    uneven = Pair("uneven", lambda rate: (np.ones(9), np.ones(8)))
    with pytest.raises(InputError, match="uneven: .* expected equal lengths"):
        make_clip(tiny_model(), uneven)
    three = Mixture("three", lambda rate: (np.ones(9), np.ones((9, 3))))
    with pytest.raises(InputError, match="three: sources are"):
        make_clip(tiny_separator(), three)


@given(st.permutations(range(12)), st.integers(1, 15))
def test_chosen_clips_span_the_activations(order, count):
    row = used(evaluation("routed", 40, 0.5))
    items = [pair(NAMES[place], 1) for place in order] + [pair("other", 1)]
    found = choose_clips(items, [ROWS[0], row], count)
    use = {file.name: file.activation for file in row.files}
    chosen = [use[item.name] for item in found]
    assert chosen == sorted(set(chosen)) and len(found) == min(count, 12)
    assert chosen[0] == min(use.values())
    if count > 1:
        assert chosen[-1] == max(use.values())


def test_clips_of_other_files_are_taken_from_all_over():
    items = [pair(f"other{n}", 1) for n in range(5)]
    names = [item.name for item in choose_clips(items, ROWS, 3)]
    assert names == ["other0", "other2", "other4"]


# -- the command ------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Results, a model, and two pairs in folders."""
    root = tmp_path_factory.mktemp("files")
    values = [row.as_dict() for row in ROWS]
    (root / "results.json").write_text(json.dumps(values))
    (root / "one.json").write_text(json.dumps(values[0]))
    save_tiny(root / "model")
    for name in ("file1", "file2"):
        for folder, wav in zip(("noisy", "clean"), pair().load(0), strict=True):
            (root / folder).mkdir(exist_ok=True)
            soundfile.write(root / folder / f"{name}.wav", wav, 16_000)
    return root


@pytest.fixture
def home(files, tmp_path, monkeypatch):
    """A place with copies of them."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


SIGNALS = ["--model", "model", "--clean", "clean", "--noisy", "noisy"]


def test_command(home, capsys):
    assert main(["report", "results.json", "mine=one.json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("report.html: 4 results, 0 clips, 0.0 MB")
    reader = Reader(Path("report.html").read_text("utf-8"))
    assert [s["label"] for s in reader.data["systems"]][-1] == "mine"
    assert not reader.all("audio") and "clips" not in str(reader.all("h2"))


def test_command_with_clips(home, capsys):
    call = ["report", "results.json", "-o", "a.html", "--title", "A & B"]
    call += [*SIGNALS, "--seconds", "0.2", "--clips", "file2", "file1"]
    assert main(call) == 0
    reader = Reader(Path("a.html").read_text("utf-8"))
    assert reader.text["h3"] == ["file2", "file1"]
    assert reader.text["title"] == ["A & B"]


def test_a_bad_clip_is_reported_and_the_others_are_shown(home, capsys):
    Path("noisy/file1.wav").write_bytes(b"RIFF")
    assert main(["report", "results.json", *SIGNALS]) == 2
    assert "file1" in capsys.readouterr().err
    reader = Reader(Path("report.html").read_text("utf-8"))
    assert reader.text["h3"] == ["file2"]


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.clear(),
        lambda v: v.pop("files"),
        lambda v: v.update(macs_per_second="high"),
        lambda v: v["files"].append(1),
        lambda v: v["files"][0].update(activation=[1]),
        lambda v: v["files"][0]["metrics"]["pesq"].pop("noisy"),
    ],
)
def test_what_is_no_result_is_refused(home, capsys, change):
    values = json.loads(Path("one.json").read_text())
    change(values)
    Path("bad.json").write_text(json.dumps(values))
    assert main(["report", "bad.json"]) == 2
    error = capsys.readouterr().err
    assert "bad.json: expected the JSON of `speechbrain-dsn eval" in error
    assert error.count("\n") == 1 and not Path("report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.json"], "cannot read missing.json"),
        (["one.json", "one.json"], "called the same"),
        (["one.json", "-o", "clean"], "no HTML file: expected a new name"),
        (["one.json", "-o", "no/r.html"], "no is not an existing folder"),
        (["one.json", "--model", "model"], "expected both or neither"),
        (["one.json", "--clips", "file1"], "expected both or neither"),
        (["one.json", *SIGNALS, "--seconds", "0"], "--seconds 0: expected"),
        (["one.json", *SIGNALS, "--budget", "2"], "budget"),
        (["one.json", *SIGNALS, "--clips", "x"], "no signal is called x"),
    ],
)
def test_bad_arguments(home, capsys, arguments, message):
    assert main(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err
    assert not Path("report.html").exists()


# -- loggers ----------------------------------------------------------------


class FakeBoard(TensorboardLogger):
    """Notes what its writer is given."""

    def __init__(self):
        self.global_step = {"meta": 7}
        self.images = {}
        self.writer = SimpleNamespace(
            add_image=self.note, flush=lambda: self.images.update(done=True)
        )

    def note(self, name, image, step, dataformats):
        assert step == 7 and dataformats == "HWC" and image.shape[2] == 3
        self.images[name] = image


class FakeBiases(WandBLogger):
    def __init__(self):
        self.logged = []
        self.run = SimpleNamespace(log=self.logged.append)


def test_loggers_get_the_pictures(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Image=Path))
    make_clip(tiny_model(), pair()).draw(tmp_path / "gates.png")
    board, biases = FakeBoard(), FakeBiases()
    log_pictures({"a": board, "lr": 0.1, "b": biases}, tmp_path)
    assert set(board.images) == {"gates", "done"}
    assert board.images["gates"].std() > 0.1
    assert biases.logged == [{"gates": tmp_path / "gates.png"}]


def test_without_matplotlib_there_are_no_clips(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    hparams = {"output_folder": tmp_path}
    show_results(None, tiny_model(), ROWS, [pair()], hparams)
    assert "no plots: package matplotlib" in caplog.text
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<table" in text and "<audio" not in text


# -- in a browser -----------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    found = Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory, clips):
    path = tmp_path_factory.mktemp("page") / "report <b>&.html"
    second = make_clip(tiny_model(), pair("file4"), seconds=0.3)
    row = replace(ROWS[0], model=EVIL)
    write_page(path, [row, *ROWS[1:]], [*clips, second], EVIL)
    return path


SEEN = "[...document.querySelectorAll('{}')].filter(e => !e.hidden).length"
DURATIONS = """Promise.all([...document.querySelectorAll('audio')].map(
  (a) => new Promise((done) => {
    if (a.readyState > 0) done(a.duration);
    else a.addEventListener('loadedmetadata', () => done(a.duration));
    a.addEventListener('error', () => done(a.error.message));
  })))"""


def test_page_opens_and_asks_for_nothing(browser, path):
    found = browser.open(path)
    assert found.run("document.title") == EVIL
    assert found.run(DURATIONS) == pytest.approx([0.4] * 3 + [0.3] * 3)
    assert found.run(
        "[...document.images].every(i => i.complete && i.naturalWidth > 500)"
    )
    assert found.run(SEEN.format("#quality-chart .mark")) == 3
    assert found.run(SEEN.format("#usage-chart .dot")) == 12
    assert found.problems == []
    assert found.requests == [path.resolve().as_uri()]


def test_nothing_can_be_loaded_even_if_it_were_asked_for(browser, path):
    found = browser.open(path)
    script = "fetch('https://example.org').then(() => 'got', () => 'refused')"
    assert found.run(script) == "refused"
    assert "Content Security Policy" in str(found.problems)


def test_systems_are_filtered_and_metrics_chosen(browser, path):
    found = browser.open(path)
    rows = "#table tbody tr"
    assert found.run(SEEN.format(rows)) == 4
    found.run("document.querySelectorAll('#systems input')[1].click()")
    assert found.run(SEEN.format(rows)) == 3
    assert found.run(SEEN.format("#quality-chart .mark")) == 2
    for place in (0, 2):
        click = f"document.querySelectorAll('#systems input')[{place}].click()"
        found.run(click)
    assert found.run(SEEN.format(rows)) == 1
    assert "No system" in found.run(
        "document.getElementById('quality-chart').textContent"
    )
    assert found.problems == []


def test_columns_sort_both_ways(browser, path):
    found = browser.open(path)
    click = "document.querySelectorAll('#table thead button')[1].click()"
    column = "[...document.querySelectorAll('#table tbody tr')].map("
    column += "r => parseFloat(r.cells[1].textContent))"
    for direction in (1, -1):
        found.run(click)
        values = found.run(column)
        assert values == sorted(values, reverse=direction < 0)
        order = found.run(
            "document.querySelector('#table th[aria-sort]').ariaSort"
        )
        assert order == ("ascending" if direction > 0 else "descending")


def test_numbers_are_reached_by_keyboard(browser, path):
    found = browser.open(path)
    found.run("document.getElementById('metric').focus()")
    found.press("Tab")
    tip = "(({hidden, textContent}) => [hidden, textContent])"
    tip += "(document.getElementById('tip'))"
    hidden, text = found.run(tip)
    assert not hidden and text.startswith(EVIL)
    assert re.search(r"PESQ-WB 2\.65 \[.*\], 12 of 12 files", text)
    label = found.run("document.activeElement.getAttribute('aria-label')")
    assert label == text.replace("\n", ", ")
    found.press("Escape")
    assert found.run(tip)[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_reader_and_the_button(browser, path, scheme):
    found = browser.open(path, **{"prefers-color-scheme": scheme})
    paper = "getComputedStyle(document.body).backgroundColor"
    first = found.run(paper)
    level = sum(map(int, re.findall(r"\d+", first)))
    assert (level < 150) == (scheme == "dark")
    found.run("document.getElementById('theme').click()")
    assert found.run(paper) != first
    pressed = found.run("document.getElementById('theme').ariaPressed")
    assert pressed == str(scheme == "light").lower()


def test_one_track_takes_over_from_another(browser, path):
    found = browser.open(path)
    playing = found.run(
        """(async () => {
          const [first, second, , other] = document.querySelectorAll('audio');
          await first.play();
          first.currentTime = 0.25;
          await second.play();
          const at = second.currentTime;
          await other.play();
          return [first.paused, at, second.paused, other.currentTime];
        })()"""
    )
    assert playing[0] and playing[2]
    assert 0.2 <= playing[1] <= 0.4 and playing[3] < 0.2


def test_page_of_separators(browser, tmp_path):
    rows = [
        used(separation("gated", 40, 5.0)),
        separation("wide", 100, 9.0),
    ]
    clip = make_clip(tiny_separator(), mixture(), seconds=0.5)
    write_page(tmp_path / "s.html", rows, [clip])
    found = browser.open(tmp_path / "s.html")
    assert found.run(DURATIONS) == pytest.approx([0.5] * 5)
    assert "overlap" in found.run(
        "document.getElementById('usage-chart').textContent"
    )
    assert found.run("document.getElementById('usage-system').length") == 1
    assert found.problems == []


def test_without_a_net_that_decides_no_usage_is_shown(browser, tmp_path):
    write_page(tmp_path / "s.html", [ROWS[0]])
    found = browser.open(tmp_path / "s.html")
    assert found.run("document.getElementById('usage-section').hidden")
    assert found.run(SEEN.format("#quality-chart .mark")) == 1
    assert found.problems == []
