"""The pages say what is true: examples run, and what they name is there."""

import ast
import doctest
import importlib
import json
import pydoc
import re
import shlex
import sys
import types
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml

import speechbrain_dsn
from speechbrain_dsn.cli.main import build_parser, main
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.miniset import miniset_folder

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TAGS = re.compile(r"!(?:new|name|apply):([\w.]+)")


def blocks(page, language):
    """The blocks of a page in a language."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return [text for kind, text in found if kind == language]


def having(language):
    """The pages with such blocks, as parameters of a test."""
    pages = [page for page in PAGES if blocks(page, language)]
    assert pages, language
    names = [page.relative_to(DOCS).as_posix() for page in pages]
    return pytest.mark.parametrize("page", pages, ids=names)


def commands(text):
    """Lines of a shell block as lists of words, without redirections."""
    text = text.replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words:
            yield words[: words.index(">")] if ">" in words else words


# -- what runs ---------------------------------------------------------------


@having("python")
def test_examples(page, tmp_path, monkeypatch):
    """All Python of a page, from top to bottom."""
    assert all(text.startswith(">>> ") for text in blocks(page, "python"))
    monkeypatch.chdir(tmp_path)
    # The page is a module, so that its classes can be pickled as a user's.
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    test = doctest.DocTestParser().get_doctest(
        page.read_text("utf-8"), {}, page.name, str(page), 0
    )
    test.globs = vars(module)
    runner = doctest.DocTestRunner(
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    found = runner.run(test, clear_globs=False)
    assert found.attempted and not found.failed


@having("console")
def test_commands_run(page, tmp_path, monkeypatch):
    """On the mini set, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "console"):
        assert all(line.startswith("$ ") for line in text.splitlines())
        text = text.replace("$DATA", str(miniset_folder()))
        for program, *arguments in commands(text):
            assert program == "speechbrain-dsn"
            assert main(arguments) == 0, arguments


# -- what needs data: it is there, and takes these arguments ------------------


@having("sh")
def test_commands_exist(page):
    """Programs, options, scripts, recipes and the values they override."""
    for text in blocks(page, "sh"):
        folder = ROOT
        for program, *arguments in commands(text):
            if program == "cd":
                folder = ROOT / arguments[0]
                assert folder.is_dir(), folder
            elif program == "speechbrain-dsn":
                build_parser(arguments[0]).parse_args(arguments)
            elif program == "python" and arguments[0].endswith(".py"):
                assert (folder / arguments[0]).is_file(), arguments
                if arguments[0] == "train.py":
                    check_overrides(folder / arguments[1], arguments[2:])


def check_overrides(recipe, arguments):
    """Each option of a recipe is one of its values."""
    keys = re.findall(r"^(\w+):", recipe.read_text("utf-8"), re.MULTILINE)
    for name in filter(lambda x: x.startswith("--"), arguments):
        assert name.removeprefix("--") in keys, (recipe, name)


def test_a_wrong_option_is_found():
    with pytest.raises(InputError, match="--bugdet"):
        build_parser("enhance").parse_args(
            ["enhance", "x", "-o", "y", "--bugdet", "1"]
        )
    recipe = ROOT / "recipes/Folders/enhance/hparams/ftfnet.yaml"
    with pytest.raises(AssertionError, match="--data_foldr"):
        check_overrides(recipe, ["--data_foldr", "DATA"])


@having("yaml")
def test_yaml_names_what_exists(page):
    for text in blocks(page, "yaml"):
        for name in TAGS.findall(text):
            assert pydoc.locate(name) is not None, name


def test_recipe_lines_of_a_page_load():
    """The lobe that a page puts into a recipe is built as it is written."""
    (text,) = blocks(DOCS / "train.md", "yaml")
    loaded = load_hyperpyyaml(text)
    assert loaded["enhancer"].lobe is loaded["lobe"]


# -- reference, pictures, notebooks -------------------------------------------


def test_reference_knows_every_package():
    text = "".join(x.read_text("utf-8") for x in (DOCS / "api").glob("*.md"))
    named = re.findall(r"automodule:: (speechbrain_dsn[\w.]*)", text)
    for name in named:
        importlib.import_module(name)
    packages = {
        path.parent.name
        for path in Path(speechbrain_dsn.__file__).parent.glob("*/__init__.py")
    }
    # The command line is described by its --help.
    assert {name.split(".")[1] for name in named} >= packages - {"cli"}


@pytest.fixture(scope="module")
def systems():
    """The script that draws the systems."""
    pytest.importorskip("matplotlib")
    sys.path.insert(0, str(DOCS))
    try:
        import draw_systems
    finally:
        sys.path.remove(str(DOCS))
    return draw_systems


def test_every_picture_has_a_page(systems):
    text = "".join(x.read_text("utf-8") for x in (DOCS / "systems").iterdir())
    shown = re.findall(r"build/docs/figures/(\w+)\.png", text)
    assert sorted(shown) == sorted(systems.PICTURES)


@pytest.mark.parametrize("name", ["mgt_dsn", "nsnet2", "dyncp", "dgru"])
def test_bars_add_up(systems, name):
    """What is drawn of the layers is what is drawn of the whole."""
    picture = systems.PICTURES[name]()
    for way, parts in picture.series.items():
        assert sum(parts.values()) == pytest.approx(picture.totals[way])
    assert list(picture.totals.values()) == sorted(picture.totals.values())


def test_a_picture_is_drawn(systems, tmp_path):
    systems.draw(systems.PICTURES["nsnet2"](), tmp_path / "nsnet2.png")
    assert (tmp_path / "nsnet2.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "path", sorted((DOCS / "notebooks").glob("*.ipynb")), ids=lambda x: x.stem
)
def test_notebooks_are_kept_unexecuted(path):
    """`make docs` runs them; what they show does not age in the repository."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        assert not cell["outputs"] and cell["execution_count"] is None
        ast.parse("".join(cell["source"]))
