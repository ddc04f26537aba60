"""index.html: the whole report in one file that loads nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from feature_repo.constants import SECOND_NS

from .page_details import detail_sections
from .page_parts import list_html
from .page_sections import first_sections
from .page_style import CSS
from .training_rows import unbeaten_line

__all__ = ["page_html", "shell_html"]

# Nothing may be fetched or run, whatever a file that the page shows may hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page_html(metrics: Mapping, pictures: Mapping[str, bytes], *, beside: Sequence[tuple[str, ...]] = ()) -> str:
    """The page.

    Parameters
    ----------
    metrics : ``Report.metrics``, or metrics.json as read back
    pictures : PNG bytes by name, the keys of ``page_parts.PICTURE_TEXT``; one that is missing is left out
    beside : sections of what is not in the metrics: drift, releases; they stand before the details
    """
    title = f"ofi-meta: {metrics['run']['symbol']} on {metrics['run']['venue']}"
    head = [f"<h1>{escape(title)}</h1>", f'<p class="sub">{escape(_span(metrics["run"]["span_ns"]))}</p>']
    if metrics["banner"]:
        head.insert(0, f'<div class="banner">{escape(metrics["banner"])}</div>')
    sections = [*first_sections(metrics, pictures), *beside, *detail_sections(metrics, pictures)]
    return shell_html(title, [*head, _verdict(metrics)], sections)


def shell_html(title: str, head: Sequence[str], sections: Sequence[tuple[str, ...]]) -> str:
    """A page of sections (title, what a reader should know, parts), each with a link that leads to it."""
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name, *_ in sections)
    parts = [*head, f"<nav>{links}</nav>"]
    for name, why, *body in sections:
        parts.append(f'<h2 id="{_anchor(name)}">{escape(name)}</h2><p class="why">{escape(why)}</p>')
        parts += [part for part in body if part]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _anchor(name: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def _verdict(metrics: Mapping) -> str:
    """The word and its reasons; that no net beats the logistic baseline stands first."""
    verdict, first = metrics["verdict"], unbeaten_line(metrics.get("training"))
    told = [first, *(r for r in verdict["reasons"] if r != first)] if first else verdict["reasons"]
    tone = "verdict go" if verdict["go"] else "verdict"
    return f'<div class="{tone}"><b>{escape(verdict["word"])}</b>{list_html(told)}</div>'


def _span(span_ns: list[int]) -> str:
    first, last = (datetime.fromtimestamp(ns / SECOND_NS, UTC) for ns in span_ns)
    hours = (span_ns[1] - span_ns[0]) / (3600 * SECOND_NS)
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC, {hours:.2f} hours"
