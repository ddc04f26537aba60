"""What the page is made of: pictures and tables as HTML."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from .tables import Table

__all__ = ["PICTURE_TEXT", "STATUS_WORDS", "folded_html", "list_html", "picture_html", "table_html"]

STATUS_WORDS = ("PASS", "FAIL", "N/A", "OK", "WARN", "ALERT")
"""Cells that hold one of these and nothing else are coloured."""

PICTURE_TEXT = {
    "equity": "cumulated net bps of every arm over time",
    "rejections": "shares of candidates by the reason they were denied, a bar an arm",
    "bucket_ir": "heat map of the IR of each bucket",
    "calibration": "reliability of the forecasts",
    "sensitivity": "net bps against tau, order latency, fee and base size",
    "folds": "reliability of the forecasts by fold, and the Brier score saved against each baseline",
    "importance": "heat map of the importance of each channel in each fold",
    "latency": "histogram of the end-to-end latency against the budgets",
}


def picture_html(name: str, pictures: Mapping[str, bytes]) -> str:
    """The picture, inside the page; nothing when it is missing."""
    if name not in pictures:
        return ""
    data = base64.b64encode(pictures[name]).decode("ascii")
    return f'<figure><img alt="{PICTURE_TEXT[name]}" src="data:image/png;base64,{data}"></figure>'


def table_html(table: Table, links: Mapping[tuple[int, int], str] | None = None) -> str:
    """The table, which scrolls inside itself; without rows its title and why.

    Parameters
    ----------
    links : (row, column) -> where the cell leads
    """
    note = f'<p class="note">{escape(table.note).replace(chr(10), "<br>")}</p>' if table.note else ""
    if not table.rows:
        return f'<p class="sub"><strong>{escape(table.title)}</strong></p>{note}'
    kinds = ['class="n"' if numeric else "" for numeric in table.numeric]
    head = "".join(f"<th {k}>{escape(c)}</th>" for c, k in zip(table.columns, kinds, strict=True))
    body = []
    for i, (row, mark) in enumerate(zip(table.rows, table.marks, strict=True)):
        cells = "".join(
            f"<td {_kind(cell, kind)}>{_cell(cell, (links or {}).get((i, j)))}</td>"
            for j, (cell, kind) in enumerate(zip(row, kinds, strict=True))
        )
        body.append(f'<tr class="{mark}">{cells}</tr>')
    return (
        f'<div class="scroll"><table><caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note}"
    )


def _kind(cell: str, kind: str) -> str:
    return f'class="{cell.replace("/", "")}"' if cell in STATUS_WORDS else kind


def _cell(cell: str, link: str | None) -> str:
    return f'<a href="{escape(link)}">{escape(cell)}</a>' if link else escape(cell)


def list_html(sentences: Sequence[str]) -> str:
    """The sentences as a list; nothing without any."""
    return f"<ul>{''.join(f'<li>{escape(s)}</li>' for s in sentences)}</ul>" if sentences else ""


def folded_html(title: str, table: Table) -> str:
    """A long table behind one line; a table without rows says why at once."""
    return (
        f"<details><summary>{escape(title)}</summary>{table_html(table)}</details>" if table.rows else table_html(table)
    )
