"""index.html: the whole report in one file that loads nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from feature_repo.constants import SECOND_NS
from feature_repo.paths import atomic_path

from .page_sections import page_sections
from .page_style import CSS
from .training_rows import unbeaten_line

__all__ = ["page_html", "write_page"]


def page_html(metrics: Mapping, pictures: Mapping[str, bytes]) -> str:
    """The page.

    Parameters
    ----------
    metrics : ``Report.metrics``, or metrics.json as read back
    pictures : PNG bytes by name, the keys of ``page_parts.PICTURE_TEXT``; one that is missing is left out
    """
    title = f"ofi-meta: {metrics['run']['symbol']} on {metrics['run']['venue']}"
    sections = page_sections(metrics, pictures)
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name, *_ in sections)
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="sub">{escape(_span(metrics["run"]["span_ns"]))}</p>']
    if metrics["banner"]:
        parts.insert(0, f'<div class="banner">{escape(metrics["banner"])}</div>')
    parts += [_verdict(metrics), f"<nav>{links}</nav>"]
    for name, why, *body in sections:
        parts.append(f'<h2 id="{_anchor(name)}">{escape(name)}</h2><p class="why">{escape(why)}</p>')
        parts += [part for part in body if part]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def write_page(metrics: Mapping, pictures: Mapping[str, bytes], target: Path) -> Path:
    """Write the page, whole or not at all."""
    text = page_html(metrics, pictures)
    with atomic_path(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return Path(target)


def _anchor(name: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def _verdict(metrics: Mapping) -> str:
    """The word and its reasons; that no net beats the logistic baseline stands first."""
    verdict, first = metrics["verdict"], unbeaten_line(metrics.get("training"))
    told = [first, *(r for r in verdict["reasons"] if r != first)] if first else verdict["reasons"]
    reasons = "".join(f"<li>{escape(r)}</li>" for r in told)
    tone = "verdict go" if verdict["go"] else "verdict"
    return f'<div class="{tone}"><b>{escape(verdict["word"])}</b>{f"<ul>{reasons}</ul>" if reasons else ""}</div>'


def _span(span_ns: list[int]) -> str:
    first, last = (datetime.fromtimestamp(ns / SECOND_NS, UTC) for ns in span_ns)
    hours = (span_ns[1] - span_ns[0]) / (3600 * SECOND_NS)
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC, {hours:.2f} hours"
