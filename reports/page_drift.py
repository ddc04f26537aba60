"""The page's section "Drift": the latest drift reports of each symbol, with links to their pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from .drift_file import ALERT, DRIFT_FILE, DRIFT_FOLDER, GROUPS, OK, SCHEMA, STATUSES
from .page_files import Unreadable, read_object, text_of
from .page_parts import table_html
from .tables import Table, cut
from .tables.cell import DASH

__all__ = ["DAYS", "SYMBOLS", "drift_section"]

DAYS, SYMBOLS, CHECKS = 7, 50, 60
"""At most so many days of a symbol, symbols, and checks of a day are shown."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MISSING = (
    "No drift report lies beside this page. `ofi-meta drift` makes one for a day and a release; the nightly "
    "deployment does it by itself (`make prefect`)."
)


@dataclass(frozen=True)
class _Day:
    """One folder of a day; ``found`` None: unreadable, and why."""

    symbol: str
    day: str
    folder: Path
    found: Mapping | None
    why: str = ""


def drift_section(out: Path) -> tuple[str, ...]:
    """Title, text and parts, from ``out``/drift/<symbol>/<day>/drift.json. What cannot be read is named.

    Parameters
    ----------
    out : folder of the page; links are relative to it
    """
    why = "The last day against the span the release was trained on: is the market still the one it knows?"
    days, left_out = _latest(Path(out) / DRIFT_FOLDER)
    if not days:
        return "Drift", why, f'<p class="sub">{escape(_MISSING)}</p>'
    newest = [d for i, d in enumerate(days) if i == 0 or days[i - 1].symbol != d.symbol]
    return "Drift", why, _overview(days, left_out), *(_flagged(d) for d in newest)


def _latest(root: Path) -> tuple[list[_Day], int]:
    """The latest days of each symbol, newest first, and how many symbols are left out."""
    folders = {}
    for symbol in _folders(root):
        if days := [d for d in _folders(symbol) if _DAY.fullmatch(d.name)]:
            folders[symbol.name] = sorted(days, reverse=True)[:DAYS]
    shown = sorted(folders)[:SYMBOLS]
    return [_read(symbol, day) for symbol in shown for day in folders[symbol]], len(folders) - len(shown)


def _folders(root: Path) -> list[Path]:
    try:
        return [p for p in root.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith((".", "_"))]
    except OSError:  # not there, or not to be read: the section says that no report lies here
        return []


def _read(symbol: str, folder: Path) -> _Day:
    try:
        found = read_object(folder / DRIFT_FILE, SCHEMA)
    except Unreadable as why:
        return _Day(symbol, folder.name, folder, None, str(why))
    for name, wanted in (("symbol", symbol), ("day", folder.name)):
        if found.get(name) != wanted:
            return _Day(symbol, folder.name, folder, None, f"its {name} is {cut(found.get(name), 40)}")
    return _Day(symbol, folder.name, folder, found)


def _overview(days: list[_Day], left_out: int) -> str:
    rows, links = [], {}
    for i, d in enumerate(days):
        head = (cut(d.symbol, 40), d.day)
        if (d.folder / "index.html").is_file():
            links[i, 1] = _link(d, "index.html")
        if d.found is None:
            rows.append((*head, DASH, *(DASH,) * len(GROUPS), DASH, f"drift.json is unreadable: {d.why}"))
            continue
        simulated = "" if d.found.get("simulated") is False else " SIMULATED"
        page = _evidently(d)
        if page:
            links[i, len(GROUPS) + 3] = _link(d, page)
        rows.append(
            (
                head[0] + simulated,
                d.day,
                _status(d.found),
                *(_worst(d.found, group) for group in GROUPS),
                "open" if page else DASH,
                text_of(d.found, "release", 80),
            )
        )
    more = f"; {left_out:,} more symbols are left out" if left_out else ""
    return table_html(
        Table(
            "Drift by symbol and day, newest first",
            ("symbol", "day", "status", *GROUPS, "Evidently", "release"),
            (False,) * (len(GROUPS) + 5),
            tuple(rows),
            ("",) * len(rows),
            f"the worst check of each group; the last {DAYS} days of a symbol{more}; a day's page opens from its date",
        ),
        links,
    )


def _flagged(d: _Day) -> str:
    """Checks of a day that are not OK, behind one line; an ALERT is open."""
    if d.found is None:
        return ""
    checks = _checks(d.found)
    flagged = [c for c in checks if c.get("status") != OK]
    title = f"{cut(d.symbol, 40)} {d.day}: {len(flagged):,} of {len(checks):,} checks not OK"
    if not flagged:
        return f'<p class="note">{escape(title)}</p>'
    flagged.sort(key=lambda c: -_rank(c.get("status")))
    rows = tuple(
        (
            text_of(c, "group", 40),
            text_of(c, "name", 80),
            _status(c),
            _number(c.get("value"), ".4g"),
            text_of(c, "threshold", 80),
            _number(c.get("n"), ",.0f"),
            text_of(c, "note"),
        )
        for c in flagged[:CHECKS]
    )
    columns = ("group", "check", "status", "value", "threshold", "n", "note")
    note = f"{len(flagged) - CHECKS:,} more are in drift.json" if len(flagged) > CHECKS else ""
    table = Table(
        "Checks that are not OK",
        columns,
        (False, False, False, True, False, True, False),
        rows,
        ("",) * len(rows),
        note,
    )
    is_open = " open" if _status(d.found) == ALERT else ""
    return f"<details{is_open}><summary>{escape(title)}</summary>{table_html(table)}</details>"


def _checks(found: Mapping) -> list[Mapping]:
    checks = found.get("checks")
    return [c for c in checks if isinstance(c, Mapping)] if isinstance(checks, list) else []


def _status(found: Mapping) -> str:
    status = found.get("status")
    return status if status in STATUSES else f"unknown: {cut(status, 20)}"


def _rank(status: object) -> int:
    # A status nobody knows stands above an ALERT: it must be looked at.
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)


def _worst(found: Mapping, group: str) -> str:
    of_group = [c for c in _checks(found) if c.get("group") == group]
    return _status(max(of_group, key=lambda c: _rank(c.get("status")))) if of_group else DASH


def _evidently(d: _Day) -> str:
    """Name of Evidently's page where it lies in the day's folder; a path that leads elsewhere is no page."""
    pages = d.found.get("pages") if d.found else None
    name = pages.get("evidently") if isinstance(pages, Mapping) else None
    plain = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]+\.html", name)
    return name if plain and (d.folder / name).is_file() else ""


def _link(d: _Day, name: str) -> str:
    return "/".join(quote(part, safe="") for part in (DRIFT_FOLDER, d.symbol, d.day, name))


def _number(value: object, form: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return DASH
    try:
        return format(float(value), form)
    except OverflowError:
        return DASH
