"""Sphinx reads the repository from its top, so that pages under `docs/` and
the READMEs of the recipes link each other as they do on a file system.

Authors
 * The speechbrain_dsn developers 2026
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import speechbrain_dsn  # noqa: E402  # the torchaudio guard comes first

project = "speechbrain_dsn"
author = "The speechbrain_dsn developers"
project_copyright = f"2026, {author}"
version = release = speechbrain_dsn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "build/docs/pages/**.md",
    "recipes/**/README.md",
    "speechbrain_dsn/pretrained/**.md",
    "README.md",
    "SECURITY.md",
    "CHANGELOG.md",
]
exclude_patterns = [".venv", ".git", "**/results", "build/docs/html"]

html_theme = "sphinx_rtd_theme"
html_title = f"{project} {version}"
html_show_sourcelink = False
html_show_sphinx = False

default_role = "code"
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # NumPy docstrings have the types
napoleon_google_docstring = False
nitpicky = False  # no inventory of other projects is fetched

AUTHORS = re.compile(r"^Authors?$")


def leave_out_authors(app, what, name, obj, options, lines):
    """SpeechBrain's block at the end of a module is for its source."""
    if what == "module":
        found = [n for n, x in enumerate(lines) if AUTHORS.match(x)]
        del lines[found[-1] if found else len(lines) :]


def draw_figures(app):
    """Before pages are read that show them."""
    from draw_systems import draw_all

    draw_all(ROOT / "build" / "docs" / "figures")


def setup(app):
    """Connects the above."""
    app.connect("builder-inited", draw_figures)
    app.connect("autodoc-process-docstring", leave_out_authors)
