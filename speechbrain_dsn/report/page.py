"""The page: a template, and what is put into it.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import soundfile

from speechbrain_dsn import __version__
from speechbrain_dsn.dataio.tables import write_text
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.scores import Evaluation
from speechbrain_dsn.report.clips import Clip
from speechbrain_dsn.report.data import check_rows, collect, metric_title

__all__ = ["MAX_BYTES", "make_page", "write_page"]

MAX_BYTES = 15_000_000


def write_page(
    path: str | os.PathLike,
    rows: Sequence[Evaluation],
    clips: Sequence[Clip] = (),
    title: str = "speechbrain-dsn report",
) -> None:
    """Writes a page, at once.

    Arguments
    ---------
    path : path
        HTML file.
    rows : sequence of Evaluation
        What was measured, see `make_page`.
    clips : sequence of Clip
        What there is to hear.
    title : str
        At the top.

    Raises
    ------
    InputError
        See `make_page`; or the file cannot be written.
    """
    try:
        write_text(path, make_page(rows, clips, title))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def make_page(
    rows: Sequence[Evaluation],
    clips: Sequence[Clip] = (),
    title: str = "speechbrain-dsn report",
) -> str:
    """A page with all that it needs in it.

    Arguments
    ---------
    rows : sequence of Evaluation
        Of one kind and of the same files, under labels of their own.
    clips : sequence of Clip
        What there is to hear; without any, there are no players.
    title : str
        At the top.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    InputError
        If the rows do not belong together, a picture cannot be drawn, or the
        page is larger than 15 MB.
    """
    check_rows(rows)
    data = collect(rows)
    style, script = _asset("page.css"), _asset("page.js")
    text = Template(_asset("page.html")).substitute(
        title=escape(title),
        about=f"{_count(data['systems'], 'system')} on "
        f"{_count(data['files']['names'], 'file')}",
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=_embedded(data),
        table=_table(data),
        widths=_widths(data),
        clips=_clips(clips),
        version=escape(__version__),
    )
    # File names may hold bytes that are no text.
    content = text.encode("utf-8", "replace")
    if len(content) > MAX_BYTES:
        raise InputError(
            f"the page would have {len(content) / 1e6:.1f} MB: expected at "
            f"most {MAX_BYTES / 1e6:g}; take fewer clips, or shorter ones"
        )
    return content.decode("utf-8")


def _asset(name: str) -> str:
    return (files("speechbrain_dsn.report") / name).read_text("utf-8")


def _hash(text: str) -> str:
    """What a Content-Security-Policy knows a script or a style by."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON in which nothing can end the script element round it."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _count(things: Sequence, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _table(data: Mapping[str, Any]) -> str:
    """Inputs first, then the lines of each system."""
    lines = [(None, data["input"]["name"], data["input"]["scores"])]
    for number, system in enumerate(data["systems"]):
        lines += [(number, *line) for line in system["lines"].items()]
    columns = list(dict.fromkeys(name for *_, cells in lines for name in cells))
    head = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>'
        for name in ["system", *map(metric_title, columns)]
    )
    body = []
    for number, label, cells in lines:
        mark = "" if number is None else f' data-system="{number}"'
        row = "".join(_cell(cells.get(name, "")) for name in columns)
        body.append(f'<tr{mark}><th scope="row">{escape(label)}</th>{row}</tr>')
    return f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"


def _cell(value: Mapping[str, Any] | str) -> str:
    """A number, with its interval and the files that gave none."""
    if not isinstance(value, Mapping):
        return f"<td>{escape(str(value).replace('nan', '–'))}</td>"
    if value["value"] is None:
        why = "; ".join(f"{k}: {n}" for k, n in value["reasons"].items())
        return f'<td title="{escape(why)}">–</td>'
    text, ends = _number(value["value"]), [value["low"], value["high"]]
    if None not in ends:
        text += f" <small>[{', '.join(map(_number, ends))}]</small>"
    if value["n_valid"] < value["n_total"]:
        text += f" <small>{value['n_valid']}/{value['n_total']} files</small>"
    return f"<td>{text}</td>"


def _number(value: float) -> str:
    """Three digits, zeros at the end too."""
    return f"{value:#.3g}".rstrip(".")


def _widths(data: Mapping[str, Any]) -> str:
    """How often each width of a separator ran, where there are several."""
    lines = []
    for number, system in enumerate(data["systems"]):
        bars = "".join(
            f"<td>{level:.2f}: {share:.0%} "
            f'<meter value="{share}" aria-label="share of the chunks"></meter>'
            "</td>"
            for level, share in system["widths"]
        )
        if bars:
            label = escape(system["label"])
            lines.append(
                f'<tr data-system="{number}"><th scope="row">{label}</th>'
                f"{bars}</tr>"
            )
    if not lines:
        return ""
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Widths">'
        "<table><caption>How often chunks ran at each width, over all layers. "
        "A width is named by its activation.</caption><tbody>"
        f"{''.join(lines)}</tbody></table></div>"
    )


def _clips(clips: Sequence[Clip]) -> str:
    """Players and pictures."""
    if not clips:
        return ""
    return (
        '<section aria-labelledby="clips"><h2 id="clips">Clips</h2>'
        "<p>One track plays at a time, and another one of the same clip goes "
        "on where it stopped.</p>"
        f"{''.join(map(_clip, clips))}</section>"
    )


def _clip(clip: Clip) -> str:
    players = "".join(
        f"<li><span>{escape(name)}</span>"
        f'<audio controls preload="auto" aria-label="'
        f'{escape(f"{name}, {clip.name}")}" src="{_audio(clip, name)}">'
        "</audio></li>"
        for name in clip.tracks
    )
    return (
        f'<article class="clip"><h3>{escape(clip.name)}</h3>'
        f"<p>{escape(clip.model)}: activation {clip.activation:.2f}, "
        f"{clip.macs_per_second / 1e6:.1f} M MAC/s, {clip.seconds:.1f} s</p>"
        f"<ul>{players}</ul>"
        f'<figure><img src="{_picture(clip)}" alt="'
        f'{escape(f"{clip.name}. {clip.shows}.")}">'
        f"<figcaption>{escape(clip.shows)}.</figcaption></figure></article>"
    )


def _audio(clip: Clip, name: str) -> str:
    """16-bit FLAC, which every current browser plays; tracks of a clip keep
    their levels to each other."""
    peak = max(float(np.abs(wav).max()) for wav in clip.tracks.values())
    wav = clip.tracks[name] / max(1.0, peak)
    content = io.BytesIO()
    soundfile.write(content, wav, clip.sample_rate, "PCM_16", format="FLAC")
    return _uri("audio/flac", content.getvalue())


def _picture(clip: Clip) -> str:
    with tempfile.TemporaryDirectory(prefix="speechbrain_dsn_") as folder:
        path = Path(folder) / "clip.png"
        clip.draw(path)
        return _uri("image/png", path.read_bytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
