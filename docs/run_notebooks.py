"""Runs notebooks and writes what they show as pages.

``python docs/run_notebooks.py FOLDER`` executes every notebook of
``docs/notebooks`` in a folder of its own, and leaves in ``FOLDER`` a page with
its cells and their results, pictures and sound. An error in a cell is an error
here. ``DSN_DOCS_FAST=1`` makes the notebooks train for a moment only.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).parent / "notebooks"
SECONDS = 3600  # that a cell may take, on a busy machine too


def execute(path: Path) -> NotebookNode:
    """The notebook with the outputs of a run that left nothing behind.

    Arguments
    ---------
    path : Path
        A notebook.

    Returns
    -------
    NotebookNode
        Executed.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=SECONDS,
            coalesce_streams=True,
            startup_timeout=SECONDS,
            resources={"metadata": {"path": folder}},
        ).execute()
    return notebook


def write_page(notebook: NotebookNode, name: str, folder: Path) -> Path:
    """Cells and results as Markdown, pictures beside it.

    Arguments
    ---------
    notebook : NotebookNode
        Executed.
    name : str
        Of the page.
    folder : Path
        Made if it is not there.

    Returns
    -------
    Path
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, pictures = [], 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                pictures += 1
                picture = folder / f"{name}_{pictures}.png"
                picture.write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![output]({picture.name})")
            else:
                parts.append(_text(output, data))
    page = folder / f"{name}.md"
    page.write_text("\n\n".join(filter(None, parts)) + "\n", "utf-8")
    return page


def _text(output: NotebookNode, data: NotebookNode) -> str:
    """An output without a picture; progress bars, on stderr, are left out."""
    if "text/html" in data:  # sound
        return f"```{{raw}} html\n{data['text/html']}\n```"
    if "text/markdown" in data:
        return data["text/markdown"]
    text = data.get("text/plain", "")
    if output.output_type == "stream" and output.name == "stdout":
        text = output.text.rstrip()
    return f"```text\n{text}\n```" if text else ""


if __name__ == "__main__":
    for found in sorted(NOTEBOOKS.glob("*.ipynb")):
        print(write_page(execute(found), found.stem, Path(sys.argv[1])))
