"""The package as it is installed, and the front door of its command line."""

import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module, metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import speechbrain_dsn
from speechbrain_dsn.cli import hparams
from speechbrain_dsn.cli.main import COMMANDS, build_parser, main
from speechbrain_dsn.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]


def run_python(*arguments, cwd=None):
    """Run python in a process of its own."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


# -- the package ------------------------------------------------------------


def test_import_is_light():
    """Neither the package nor the help of the command line loads torch."""
    result = run_python(
        "-c",
        "import sys, speechbrain_dsn.cli.main as m\n"
        "m.build_parser().format_help()\n"
        "print([x for x in ('torch', 'speechbrain', 'numpy') "
        "if x in sys.modules])",
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_keep_their_contract(command, capsys):
    """Each command in the table answers --help without loading torch."""
    module = import_module(f"speechbrain_dsn.cli.{command}")
    assert callable(module.add_arguments) and callable(module.run)
    result = run_python(
        "-X", "importtime", "-m", "speechbrain_dsn.cli.main", command, "--help"
    )
    assert result.returncode == 0
    assert f"speechbrain-dsn {command}" in result.stdout
    assert not re.search(r"\| +torch$", result.stderr, re.MULTILINE)


def test_version_is_the_same_everywhere():
    """The version of the package is that of its metadata."""
    version = metadata.version("speechbrain-dsn")
    assert version == speechbrain_dsn.__version__


def test_requirements_stay_loose():
    """No upper bounds: pip must not replace a working build of torch."""
    for line in metadata.requires("speechbrain-dsn"):
        requirement = line.split(";")[0].strip()
        assert "<" not in requirement
        assert "==" not in requirement or requirement.startswith("ruff")


def test_constraints_pin_every_requirement():
    """A fresh machine gets tested versions of all that is asked for."""

    def normal(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    text = (REPOSITORY / "constraints.txt").read_text()
    pinned = {normal(x) for x in re.findall(r"^([\w.-]+)==", text, re.M)}
    required = {
        normal(re.match(r"[\w.-]+", line).group())
        for line in metadata.requires("speechbrain-dsn")
    }
    assert required <= pinned


def test_wheel_carries_the_data(tmp_path):
    """YAML fragments, weights, mini set and licence travel in the wheel."""
    source = tmp_path / "source"
    skip = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "results")
    for name in ("speechbrain_dsn", "hparams"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=skip)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    result = run_python(
        *("-m", "pip", "wheel", "--quiet", "--no-deps"),
        *("--no-build-isolation", "--no-index", "-w", tmp_path, source),
    )
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("page.html", "page.css", "page.js"):
        assert f"speechbrain_dsn/report/{name}" in names
    for folder in ("hparams", "speechbrain_dsn/pretrained"):
        for path in (source / folder).rglob("*"):
            inside = path.relative_to(source).as_posix()
            if folder == "hparams":
                inside = f"speechbrain_dsn/{inside}"
            assert path.is_dir() or inside in names
    assert "speechbrain_dsn/quantization/gru.c" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    # Unpacked, it works without the repository.
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    result = run_python(
        "-c",
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from speechbrain_dsn.cli.main import main\n"
        "main(['hparams'])",
        cwd=tmp_path,
    )
    expected = site / "speechbrain_dsn" / "hparams"
    assert result.stdout.splitlines()[0] == str(expected), result.stderr


# -- the command line -------------------------------------------------------


def test_version_option(capsys):
    """``--version`` prints the version and leaves with 0."""
    with pytest.raises(SystemExit) as leave:
        main(["--version"])
    assert leave.value.code == 0
    assert speechbrain_dsn.__version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv", [[], ["no-such-command"], ["doctor", "--wrong"], ["hparams", "a/b"]]
)
def test_bad_arguments(argv, capsys):
    """Bad input of any kind: one line on stderr, nothing else, exit code 2."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"speechbrain-dsn: error: .+\n", captured.err)


@given(st.lists(st.text(), max_size=3))
def test_any_argument_is_survived(words):
    """Whatever is typed after a command, bad input never raises."""
    words = [word for word in words if not word.startswith("-")]
    assert main(["hparams", "", *words]) == 2


@pytest.mark.parametrize(
    "error, code, text",
    [
        (InputError("a.wav: empty\nfile"), 2, "error: a.wav: empty file"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_of_commands(monkeypatch, capsys, error, code, text):
    """Bad input and ^C become one line and an exit code."""

    def run(args):
        raise error

    monkeypatch.setattr(hparams, "run", run)
    assert main(["hparams"]) == code
    assert capsys.readouterr().err == f"speechbrain-dsn: {text}\n"


def test_own_mistakes_are_not_hidden(monkeypatch):
    """An error that the user did not make keeps its traceback."""
    monkeypatch.setattr(hparams, "run", lambda args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["hparams"])


def test_parser_imports_only_what_is_asked():
    """The other commands are known by name, not by their modules."""
    args = build_parser("hparams").parse_args(["hparams"])
    assert args.run is hparams.run


# -- hparams ----------------------------------------------------------------


def test_hparams_prints_folder_and_fragments(capsys):
    """Every fragment in the printed folder can be asked for by its name."""
    assert main(["hparams"]) == 0
    first, *listed = capsys.readouterr().out.splitlines()
    folder = Path(first)
    fragments = sorted(folder.rglob("*.yaml"))
    assert fragments
    for path in fragments:
        name = path.relative_to(folder).as_posix()
        assert name.removesuffix(".yaml") in listed
        for spelling in (name, name.removesuffix(".yaml")):
            assert main(["hparams", spelling]) == 0
            assert capsys.readouterr().out == path.read_text("utf-8")


def test_hparams_names_what_there_is(monkeypatch, tmp_path):
    """A wrong name is answered with the right ones."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "some_lobe.yaml").write_text("a: 1\n")
    monkeypatch.setattr(hparams, "hparams_folder", lambda: tmp_path)
    assert hparams.find_fragment("models/some_lobe").is_file()
    with pytest.raises(InputError, match="models/some_lobe"):
        hparams.find_fragment("../tests/other")


def test_hparams_missing(monkeypatch, tmp_path):
    """An installation without the fragments says so."""
    monkeypatch.setattr(speechbrain_dsn, "__file__", tmp_path / "p" / "i.py")
    with pytest.raises(InputError, match="no such folder"):
        hparams.hparams_folder()


# -- run --------------------------------------------------------------------


@pytest.fixture
def script(tmp_path):
    """A script that tells how it was started, with a neighbour to import."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "neighbour.py").write_text("VALUE = 7\n")
    path = folder / "train.py"
    path.write_text(
        "import sys\n"
        "from neighbour import VALUE\n"
        "print(__name__, __file__, sys.argv[1:], sys.path[0], VALUE)\n"
        "if 'fail' in sys.argv:\n    sys.exit(3)\n"
    )
    return path


@pytest.mark.parametrize("arguments", [[], ["x.yaml", "--lr", "0.1"], ["fail"]])
def test_run_is_like_python(script, arguments):
    """A script cannot tell ``-m speechbrain_dsn.run`` from python."""
    for name, cwd in (("train.py", script.parent), (script, script.parents[1])):
        plain = run_python(name, *arguments, cwd=cwd)
        guarded = run_python(
            "-m", "speechbrain_dsn.run", name, *arguments, cwd=cwd
        )
        assert plain.stdout.startswith("__main__")
        assert guarded.stdout == plain.stdout
        assert guarded.returncode == plain.returncode


def test_run_follows_links(script, tmp_path):
    """The neighbours of a linked script are those of the real one."""
    link = tmp_path / "link.py"
    link.symlink_to(script)
    plain = run_python(link)
    assert "7" in plain.stdout
    assert run_python("-m", "speechbrain_dsn.run", link).stdout == plain.stdout


def test_run_in_this_process(script, monkeypatch, capsys):
    """The same without a process of its own."""
    from speechbrain_dsn import run

    monkeypatch.setattr(sys, "argv", ["run", "old"])
    monkeypatch.setattr(sys, "path", ["", *sys.path[1:]])
    assert run.main([str(script), "x.yaml"]) == 0
    assert "['x.yaml']" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, code, text",
    [
        ([], 2, "usage: "),
        (["--help"], 0, "usage: "),
        (["no_such_script.py"], 2, "no_such_script.py: no such file"),
    ],
)
def test_run_without_script(capsys, argv, code, text):
    """No script, or none of this name."""
    from speechbrain_dsn import run

    assert run.main(argv) == code
    captured = capsys.readouterr()
    assert text in captured.out + captured.err
