"""The vitals on one screen: panels and tables of whole lines, as wide as the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from ..decision import Reason
from .figures import (
    NA,
    as_duration,
    as_number,
    as_p,
    as_price,
    as_rate,
    as_share,
    as_short,
    as_utc,
    ascii_only,
    book_text,
    mean_p,
    release_text,
    state_of,
)
from .vitals_view import STARTING, Health, LastDecision, Latency, PHistogram, VitalsView

__all__ = ["NO_ORDERS", "render"]

NO_ORDERS = "orders are only printed, never placed"
LEAST_WIDTH = 80
"""On a narrower terminal the right end is cut off."""

_GOOD, _BAD, _HEAD, _NOTICE = "bold green", "bold red", "bold", "black on yellow"  # readable on white and on black
_BADGES = {"healthy": "bold white on green", "starting": _NOTICE, "not healthy": "bold white on red"}
_DENIALS, _ROUTES_SHOWN = 4, 3
_WHOLE, _CUT = 2, 4
"""Up to so many reasons of ill health are shown in full; of more, so many, each cut to one line."""

Piece = tuple[str, str]  # text and style
Line = list[Piece]


class _Signs(NamedTuple):
    """What frames and pictures are drawn with: corners, lines, a full cell, eight levels, and the mark of a cut."""

    corners: str
    across: str
    down: str
    full: str
    levels: str
    cut: str


_UNICODE = _Signs("┌┐└┘", "─", "│", "█", "▁▂▃▄▅▆▇█", "…")
_ASCII = _Signs("++++", "-", "|", "#", ".:-=+*#@", "...")


class _Column(NamedTuple):
    """Of a table: its head, "<" or ">" for left or right, and the least width in cells."""

    name: str
    align: str
    width: int


_E2E = (
    _Column("E2E, ms", "<", 11),
    _Column("n", ">", 4),
    _Column("P50", ">", 5),
    _Column("P95", ">", 5),
    _Column("P99", ">", 5),
    _Column("budget", ">", 6),
    _Column("within", ">", 6),
)
_LAST = (
    _Column("UTC", "<", 10),
    _Column("type", "<", 11),
    _Column("side", "<", 4),
    _Column("price", ">", 10),
    _Column("P", ">", 5),
    _Column("answer", "<", 14),
    _Column("size USD", ">", 8),
    _Column("E2E ms", ">", 6),
)


def render(view: VitalsView, health: Health, *, height: int = 30) -> RenderableType:
    """The whole screen, laid out for the width it is printed on (80 columns and more).

    Parameters
    ----------
    health : as ``view.health()``
    height : lines; the more there are, the more of the last decisions are shown
    """
    return _Page(view, health, height)


class _Page:
    """Laid out when printed, because only then are width and character set known.

    One text of whole lines takes 3 ms; nested tables of rich's took 15, four times a second, beside a gate that has 15.
    """

    def __init__(self, view: VitalsView, health: Health, height: int) -> None:
        self._view, self._health, self._height = view, health, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        signs = _ASCII if options.ascii_only else _UNICODE
        lines = self._lines(max(LEAST_WIDTH, options.max_width), signs)
        pieces = [piece for line in lines for piece in (*line, ("\n", ""))][:-1]
        if options.ascii_only:
            pieces = [(ascii_only(text), style) for text, style in pieces]
        yield Text.assemble(*pieces, no_wrap=True, overflow="crop")

    def _lines(self, width: int, signs: _Signs) -> list[Line]:
        view = self._view
        side = max(28, min(34, width // 3))
        left = [*_feed_rows(view), *_store_rows(view)]
        right = [*_decision_rows(view, width - side - 4, signs)]
        body = max(len(left), len(right))
        lines = [*_header(view, self._health, width, signs)]
        panels = zip_longest(
            _framed("feed, recorder, store", left, side, body, signs),
            _framed("decisions", right, width - side, body, signs),
        )
        lines += [[*one, *other] for one, other in panels]
        if (rows := self._height - len(lines) - 3) > 0:
            last = [*_last_rows(view.last[:rows], width - 4)]
            lines += _framed("last decisions, newest first", last, width, len(last), signs)
        return lines


def _header(view: VitalsView, health: Health, width: int, signs: _Signs) -> Iterable[Line]:
    name = [(view.symbol, _HEAD), (f" {view.venue}", "")]
    for badge, so in (("REPLAY", view.replay), ("SIMULATED", view.simulated)):
        if so:
            name += [(" ", ""), (f" {badge} ", _NOTICE)]
    yield _ends(name, as_utc(view.now_ns, "%Y-%m-%d %H:%M:%S UTC"), width, signs)
    release = [(release_text(view), _HEAD if view.release else "")]
    yield _ends(release, f"profile {view.profile}, windows from: {view.source}", width, signs)
    state = state_of(health)
    yield _ends([(f" {state.upper()} ", _BADGES[state])], NO_ORDERS, width, signs)
    reasons = [f"- {reason.removeprefix(STARTING)}" for reason in health[1]]
    if len(reasons) <= _WHOLE:
        for reason in reasons:
            for line in textwrap.wrap(reason, width, subsequent_indent="  "):
                yield [(line, "")]
        return
    for reason in islice(reasons, _CUT):
        yield _fitted([(reason, "")], width, signs)
    if (more := len(reasons) - _CUT) > 0:
        yield [(f"- and {more} more", "")]


def _feed_rows(view: VitalsView) -> Iterable[Line]:
    yield _pair("age", as_duration(view.feed_age_ms))
    up, routes = sum(view.connected.values()), len(view.connected)
    if not routes:
        yield _pair("routes", "none, replay" if view.replay else "none yet")
    elif routes <= _ROUTES_SHOWN:
        for route, is_up in view.connected.items():
            yield _pair(route, "connected" if is_up else "DOWN", "" if is_up else _BAD)
    else:
        yield _pair("routes", f"{up} of {routes} up", "" if up == routes else _BAD)
    yield _pair("messages", as_rate(view.messages_per_s))
    yield _pair("reconnects", as_short(view.reconnects))
    yield _pair("book", book_text(view), "" if view.book_valid else _BAD)
    yield _pair("gaps", as_short(view.gaps))
    yield _with_failures("snapshots", view.snapshots, view.snapshot_failures)
    yield _pair("clock", "not settled" if view.clock_offset_ns is None else f"{view.clock_offset_ns / 1e6:+,.2f} ms")
    yield _pair("windows", as_short(view.windows))


def _store_rows(view: VitalsView) -> Iterable[Line]:
    if view.recording:
        yield _pair("recorded", f"{as_short(view.recorded_lines)} lines", _BAD if view.recorder_error else "")
        yield _pair("lost", f"{as_short(view.lost_lines)} lines", _BAD if view.lost_lines else "")
    else:
        yield _pair("recorder", "off")
    if view.pushes or view.push_failures:
        yield _with_failures("pushes", view.pushes, view.push_failures)
        yield _pair("last push", "FAILED", _BAD) if view.push_error else _pair("last push", as_duration(view.push_ms))
    saved_ms = None if view.saved_ns is None else max(0.0, (view.now_ns - view.saved_ns) / 1e6)
    yield _pair("saved", "not yet" if saved_ms is None else f"{as_duration(saved_ms)} ago")


def _pair(name: str, value: str, style: str = "") -> Line:
    return [(f"{name[:10]:<11}", ""), (value, style)]


def _with_failures(name: str, done: int, failed: int) -> Line:
    return [*_pair(name, as_short(done)), *([(", ", ""), (f"{as_short(failed)} failed", _BAD)] if failed else [])]


def _decision_rows(view: VitalsView, width: int, signs: _Signs) -> Iterable[Line]:
    allowed, asked = view.by_reason[Reason.ALLOW], view.decisions
    share = f" ({allowed / asked:.1%})" if asked else ""
    yield [(f"{asked:,} asked, ", ""), (f"{allowed:,} allowed{share}", _GOOD if allowed else "")]
    for name, n in _denials(view):
        figures = f"{name:<14} {n:>9,} {n / asked:>6.1%} "
        yield [(figures + signs.full * math.ceil(n / asked * (width - len(figures))), "")]
    yield [(_p_histogram(view.p, signs.levels), "")]
    cost = view.cost_share
    yield [(f"cost: P50 {cost.p50:.0%}, P95 {cost.p95:.0%} of the reward" if cost.n else f"cost: {NA}", "")]
    yield _head(_E2E, width)
    for sig_type, x in view.e2e.items():
        cells = (
            sig_type.name.lower(),
            str(x.n),
            as_number(x.p50_ms),
            as_number(x.p95_ms),
            as_number(x.p99_ms),
            f"{x.budget_ms:.0f}",
            as_share(x.within),
        )
        styles = {3: _BAD} if _late(x) else {}
        yield _row(_E2E, cells, width, styles)


def _denials(view: VitalsView) -> list[tuple[str, int]]:
    """The most frequent reasons, and all others together."""
    denied = [(r.value, n) for r, n in view.by_reason.items() if n and r is not Reason.ALLOW]
    denied.sort(key=lambda row: -row[1])
    others = denied[_DENIALS:]
    if len(others) > 1:
        return [*denied[:_DENIALS], (f"{len(others)} others", sum(n for _, n in others))]
    return denied


def _last_rows(last: Sequence[LastDecision], width: int) -> Iterable[Line]:
    if not last:
        yield [("No candidate has come yet.", "")]
        return
    yield _head(_LAST, width)
    for d in last:
        cells = (
            as_utc(d.ts_ns, "%H:%M:%S.%f")[:10],
            d.sig_type.name.lower(),
            "buy" if d.side > 0 else "sell",
            as_price(d.price),
            as_p(d.p),
            "ALLOW" if d.allow else d.reason.value,
            f"{d.size:,.0f}" if d.allow else "-",
            as_number(d.e2e_ms),
        )
        yield _row(_LAST, cells, width, dict.fromkeys(range(len(cells)), _GOOD) if d.allow else {})


def _head(columns: Sequence[_Column], width: int) -> Line:
    return _row(columns, [c.name for c in columns], width, dict.fromkeys(range(len(columns)), _HEAD))


def _row(columns: Sequence[_Column], cells: Sequence[str], width: int, styles: dict[int, str]) -> Line:
    """What is left of the width is shared out among the columns."""
    spare = (width - sum(c.width for c in columns) - len(columns) + 1) // len(columns)
    return [
        piece
        for k, (column, cell) in enumerate(zip(columns, cells, strict=True))
        for piece in ((f"{cell:{column.align}{column.width + spare}}", styles.get(k, "")), (" ", ""))
    ][:-1]


def _framed(title: str, lines: Sequence[Line], width: int, height: int, signs: _Signs) -> list[Line]:
    c, across = signs.corners, signs.across
    top = f"{across} {title} "
    rows = [*lines, *([[]] * (height - len(lines)))]
    return [
        [(c[0] + top.ljust(width - 2, across) + c[1], "")],
        *([(signs.down + " ", ""), *_fitted(row, width - 4, signs), (" " + signs.down, "")] for row in rows),
        [(c[2] + across * (width - 2) + c[3], "")],
    ]


def _fitted(line: Line, width: int, signs: _Signs) -> Line:
    """Exactly so wide: filled with blanks, or cut and marked."""
    spare = width - sum(len(text) for text, _ in line)
    if spare >= 0:
        return [*line, (" " * spare, "")]
    room, kept = width - len(signs.cut), []
    for text, style in line:
        kept.append((text[:room], style))
        room -= len(kept[-1][0])
    return [*kept, (signs.cut, "")]


def _ends(left: Line, right: str, width: int, signs: _Signs) -> Line:
    """One line, its parts at either end; where both do not fit, the left one is cut."""
    return [*_fitted(left, width - len(right) - 2, signs), ("  ", ""), (right, "")]


def _p_histogram(p: PHistogram, levels: str) -> str:
    """From 0 to 1, each bin as a level; blank where there is none."""
    most = max(p.bins)
    line = "".join(levels[math.ceil(n / most * len(levels)) - 1] if n else " " for n in p.bins)
    return f"P 0 {line} 1 {f'mean {as_p(mean_p(p))} n {as_short(p.count)}' if p.count else 'model not asked'}"


def _late(x: Latency) -> bool:
    return x.p95_ms is not None and x.p95_ms > x.budget_ms
