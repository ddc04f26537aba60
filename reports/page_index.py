"""index.html made again from the files that lie beside it, so that a nightly flow refreshes it without a shadow run."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from feature_repo.paths import atomic_path

from .matrix import SCHEMA
from .page import page_html, shell_html
from .page_drift import drift_section
from .page_files import Unreadable, read_object
from .page_parts import PICTURE_TEXT
from .page_releases import release_section

__all__ = ["INDEX_NAME", "index_html", "write_index", "write_text"]

INDEX_NAME = "index.html"
_MOST_BYTES = 100_000_000
"""Of metrics.json, which grows with arms, folds and channels: a usual one has less than one MB."""
_PNG = b"\x89PNG\r\n\x1a\n"


def write_index(out: Path, *, releases: Path) -> Path:
    """Write ``out``/index.html, whole or not at all, from what lies in ``out`` and ``releases``.

    Read are metrics.json, the pictures, drift/<symbol>/<day>/drift.json and promotion.json; of the releases the link,
    its manifest and history.jsonl. What is missing or damaged is said in its place; nothing of it stops the page.

    Returns
    -------
    Path
        Of index.html.
    """
    out = Path(out)
    try:
        text = index_html(read_object(out / "metrics.json", SCHEMA, most=_MOST_BYTES), out, releases)
    except Unreadable as why:
        text = _without_metrics(f"metrics.json: {why}", out, releases)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        # Its schema is ours and its content is not: the rest of the page is as good as before.
        text = _without_metrics(f"metrics.json is damaged ({type(error).__name__}: {error})", out, releases)
    return write_text(out / INDEX_NAME, text)


def write_text(target: Path, text: str) -> Path:
    """Write a page whole or not at all; half a character, as JSON may hold, is written as its code."""
    with atomic_path(target) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    return target


def index_html(metrics: Mapping, out: Path, releases: Path) -> str:
    """The page of these metrics with the pictures, the drift reports and the releases that lie on disk.

    Raises
    ------
    KeyError, TypeError, ValueError
        When the metrics are not as docs/metrics.md says.
    """
    out = Path(out)
    found = {name: out / f"{name}.png" for name in PICTURE_TEXT}
    pictures = {name: path.read_bytes() for name, path in found.items() if path.is_file()}
    whole = {name: data for name, data in pictures.items() if data.startswith(_PNG)}
    return page_html(metrics, whole, beside=(drift_section(out), release_section(out, releases, metrics)))


def _without_metrics(why: str, out: Path, releases: Path) -> str:
    told = f"No verdict: {why}. A shadow run writes it (`make shadow`)."
    head = f'<h1>ofi-meta</h1><div class="verdict"><b>NO VERDICT</b><ul><li>{escape(told)}</li></ul></div>'
    return shell_html("ofi-meta", [head], [drift_section(out), release_section(out, releases)])
