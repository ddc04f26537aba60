"""index.html of a day: the status first, then what it rests on. One file that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from feature_repo.constants import SECOND_NS
from reports.drift_file import ALERT, GROUPS, NA, OK, WARN
from reports.page_style import CSS

from .check import DriftCheck, worst
from .record import DriftInput

__all__ = ["PICTURES", "page_html"]

PICTURES = {
    "channels": "a bar a channel: its distance from the training span against its limit",
    "calibration": "reliability of the day's forecasts",
    "rolling": "Brier score and calibration error over the latest labels through the day",
}
_MORE_CSS = """
.verdict.warn{border-color:var(--open);background:var(--band)}
@media (max-width:640px){td:nth-child(2):not(.n){min-width:11ch} td:nth-child(5):not(.n){min-width:16ch}}
"""
_TONE = {OK: "verdict go", WARN: "verdict warn", ALERT: "verdict", NA: "verdict warn"}
_MEANING = {
    OK: "The day looks like the training span.",
    WARN: "Something is unusual. Look at it; nothing is stopped.",
    ALERT: "The day does not look like what the release was made from. Find out why, and retrain before trusting it.",
    NA: "Nothing could be judged.",
}


def page_html(inputs: DriftInput, status: str, checks: Sequence[DriftCheck], pictures: Mapping[str, bytes]) -> str:
    """The page.

    Parameters
    ----------
    pictures : PNG bytes by the names of ``PICTURES``
    """
    title = f"ofi-meta drift: {inputs.symbol} on {inputs.venue}, {inputs.day}"
    loud = [c for c in checks if c.status in (ALERT, WARN)]
    banner = '<div class="banner">SIMULATED DATA: says nothing about a real market</div>' if inputs.simulated else ""
    groups = "".join(_group_row(g, [c for c in checks if c.group == g]) for g in GROUPS)
    shown = "".join(
        f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(pictures[name]).decode()}">'
        "</figure>"
        for name, text in PICTURES.items()
        if name in pictures
    )
    body = [
        banner,
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">Against the training span of release {escape(inputs.release)}: {_span(inputs)}</p>',
        f'<div class="{_TONE[status]}"><b>{status}</b><ul><li>{_MEANING[status]}</li>{_reasons(loud)}</ul></div>',
        '<p><a href="evidently.html">Evidently\'s page, with every distribution</a></p>',
        "<h2>By group</h2>",
        _scroll("<th>group</th><th>status</th><th>checks</th><th>worst</th>", groups),
        f"<h2>Flagged</h2>{_checks(loud)}" if loud else "",
        f"<h2>Pictures</h2>{shown}" if shown else "",
        f"<h2>All checks</h2><details><summary>{len(checks)} checks</summary>{_checks(checks)}</details>",
        f"<h2>Made from</h2><dl>{_facts(inputs)}</dl>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{status}: {escape(title)}</title><style>{CSS}{_MORE_CSS}</style></head><body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _reasons(loud: Sequence[DriftCheck]) -> str:
    ordered = sorted(loud, key=lambda c: c.status != ALERT)
    return "".join(
        f"<li>{c.status}: {escape(c.group)}, {escape(c.name)} {_number(c.value)} ({escape(c.threshold)})</li>"
        for c in ordered[:8]
    ) + (f"<li>and {len(ordered) - 8} more below</li>" if len(ordered) > 8 else "")


def _group_row(group: str, checks: Sequence[DriftCheck]) -> str:
    status = worst(checks)
    at = [c for c in checks if c.status == status]
    told = ", ".join(c.name for c in at[:3]) + (f" and {len(at) - 3} more" if len(at) > 3 else "")
    if status == NA:
        told = at[0].note if at else "not looked at"
    elif status == OK:
        told = ""
    judged = sum(c.status != NA for c in checks)
    return (
        f'<tr><td>{group}</td>{_cell(status)}<td class="n">{judged} of {len(checks)}</td><td>{escape(told)}</td></tr>'
    )


def _checks(checks: Iterable[DriftCheck]) -> str:
    rows = "".join(
        f'<tr class="{"na" if c.status == NA else ""}"><td>{escape(c.group)}</td><td>{escape(c.name)}</td>'
        f'{_cell(c.status)}<td class="n">{_number(c.value)}</td><td>{escape(c.threshold)}</td>'
        f'<td class="n">{c.n:,}</td><td>{escape(c.note)}</td></tr>'
        for c in checks
    )
    head = "<th>group</th><th>check</th><th>status</th><th class=n>value</th><th>threshold</th><th class=n>n</th>"
    return _scroll(head + "<th>note</th>", rows)


def _scroll(head: str, rows: str) -> str:
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(status: str) -> str:
    return f'<td class="{status.replace("/", "")}">{status}</td>'


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def _span(inputs: DriftInput) -> str:
    first, last = (datetime.fromtimestamp(ns / SECOND_NS, UTC) for ns in inputs.train_span_ns)
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def _facts(inputs: DriftInput) -> str:
    facts = {
        "rows compared": f"{len(inputs.reference.t_ns):,} of the training span, "
        f"{len(inputs.current.t_ns):,} of the day",
        "candidates": f"{len(inputs.reference_decided.ts_ns):,} of the training span, "
        f"{len(inputs.decided.ts_ns):,} of the day",
        **inputs.made_from,
    }
    return "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
