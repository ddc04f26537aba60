"""The vitals for a person: one screen on a terminal, one line every ten seconds anywhere else."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice, zip_longest
from typing import NamedTuple, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.text import Text

from ..decision import Reason
from .vitals_view import STARTING, LastDecision, Latency, PHistogram, VitalsView

__all__ = ["NO_ORDERS", "Health", "Screen", "plain_line", "render"]

Health = tuple[bool, list[str]]
"""Healthy or not, and why not: ``VitalsView.health()``."""
NO_ORDERS = "orders are only printed, never placed"
REFRESH_HZ = 4.0
PLAIN_NS = 10_000_000_000
LEAST_WIDTH = 80
"""On a narrower terminal the right end is cut off."""

_GOOD, _BAD, _HEAD, _NOTICE = "bold green", "bold red", "bold", "black on yellow"  # readable on white and on black
_BADGES = {"healthy": "bold white on green", "starting": _NOTICE, "not healthy": "bold white on red"}
_DENIALS, _ROUTES_SHOWN = 4, 3
_WHOLE, _CUT = 2, 4
"""Up to so many reasons of ill health are shown in full; of more, so many, each cut to one line."""
_NA = "n/a"

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


def plain_line(view: VitalsView, health: Health) -> str:
    """What matters most of it in one line, for a log."""
    marks = "".join(f" {name}" for name, so in (("REPLAY", view.replay), ("SIMULATED", view.simulated)) if so)
    parts = [
        f"{_utc(view.now_ns, '%Y-%m-%dT%H:%M:%SZ')} {view.symbol} {view.venue}{marks}",
        f"{_release(view)}, profile {view.profile}",
        _why(health),
        f"feed age {_ms(view.feed_age_ms)}, messages {_rate(view.messages_per_s)}, book {_book(view)}, "
        f"gaps {view.gaps:,}, reconnects {view.reconnects:,}",
        f"{view.decisions:,} decisions, {view.by_reason[Reason.ALLOW]:,} allowed, mean P {_p(_mean(view.p))}",
        _e2e(view),
        f"{view.recorded_lines:,} lines recorded, {view.lost_lines:,} lost" if view.recording else "not recorded",
        NO_ORDERS,
    ]
    return "; ".join(part.rstrip(".") for part in parts)


class Screen:
    """Shows what it is given: on a terminal four times a second in place, elsewhere a plain line every 10 s.

    ::

        with Screen() as screen:
            view = vitals.snapshot(now_ns)
            screen.update(view, view.health())

    What else is to be seen goes through ``screen.console``, which prints above it.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._live: Live | None = None
        self._printed_ns: int | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(Text(f"Starting; {NO_ORDERS}."), console=self.console, refresh_per_second=REFRESH_HZ)

    def update(self, view: VitalsView, health: Health) -> None:
        """Show this from now on. Cheap: what is drawn is drawn by a thread of its own."""
        if self._live is not None:
            self._live.update(render(view, health, height=self.console.height - 1))
        elif self._due(view.now_ns):
            self._printed_ns = view.now_ns
            line = plain_line(view, health)
            self.console.print(Text(_ascii(line) if self.console.options.ascii_only else line), soft_wrap=True)

    def _due(self, now_ns: int) -> bool:
        last_ns = self._printed_ns  # a clock that was set back must not silence the log
        return last_ns is None or not 0 <= now_ns - last_ns < PLAIN_NS

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


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
            pieces = [(_ascii(text), style) for text, style in pieces]
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
    yield _ends(name, _utc(view.now_ns, "%Y-%m-%d %H:%M:%S UTC"), width, signs)
    release = [(_release(view), _HEAD if view.release else "")]
    yield _ends(release, f"profile {view.profile}, windows from: {view.source}", width, signs)
    state = _state(health)
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
    yield _pair("age", _ms(view.feed_age_ms))
    up, routes = sum(view.connected.values()), len(view.connected)
    if not routes:
        yield _pair("routes", "none, replay" if view.replay else "none yet")
    elif routes <= _ROUTES_SHOWN:
        for route, is_up in view.connected.items():
            yield _pair(route, "connected" if is_up else "DOWN", "" if is_up else _BAD)
    else:
        yield _pair("routes", f"{up} of {routes} up", "" if up == routes else _BAD)
    yield _pair("messages", _rate(view.messages_per_s))
    yield _pair("reconnects", _short(view.reconnects))
    yield _pair("book", _book(view), "" if view.book_valid else _BAD)
    yield _pair("gaps", _short(view.gaps))
    yield _with_failures("snapshots", view.snapshots, view.snapshot_failures)
    yield _pair("clock", "not settled" if view.clock_offset_ns is None else f"{view.clock_offset_ns / 1e6:+,.2f} ms")
    yield _pair("windows", _short(view.windows))


def _store_rows(view: VitalsView) -> Iterable[Line]:
    if view.recording:
        yield _pair("recorded", f"{_short(view.recorded_lines)} lines", _BAD if view.recorder_error else "")
        yield _pair("lost", f"{_short(view.lost_lines)} lines", _BAD if view.lost_lines else "")
    else:
        yield _pair("recorder", "off")
    if view.pushes or view.push_failures:
        yield _with_failures("pushes", view.pushes, view.push_failures)
        yield _pair("last push", "FAILED", _BAD) if view.push_error else _pair("last push", _ms(view.push_ms))
    saved_ms = None if view.saved_ns is None else max(0.0, (view.now_ns - view.saved_ns) / 1e6)
    yield _pair("saved", "not yet" if saved_ms is None else f"{_ms(saved_ms)} ago")


def _pair(name: str, value: str, style: str = "") -> Line:
    return [(f"{name[:10]:<11}", ""), (value, style)]


def _with_failures(name: str, done: int, failed: int) -> Line:
    return [*_pair(name, _short(done)), *([(", ", ""), (f"{_short(failed)} failed", _BAD)] if failed else [])]


def _decision_rows(view: VitalsView, width: int, signs: _Signs) -> Iterable[Line]:
    allowed, asked = view.by_reason[Reason.ALLOW], view.decisions
    share = f" ({allowed / asked:.1%})" if asked else ""
    yield [(f"{asked:,} asked, ", ""), (f"{allowed:,} allowed{share}", _GOOD if allowed else "")]
    for name, n in _denials(view):
        figures = f"{name:<14} {n:>9,} {n / asked:>6.1%} "
        yield [(figures + signs.full * math.ceil(n / asked * (width - len(figures))), "")]
    yield [(_p_histogram(view.p, signs.levels), "")]
    cost = view.cost_share
    yield [(f"cost: P50 {cost.p50:.0%}, P95 {cost.p95:.0%} of the reward" if cost.n else f"cost: {_NA}", "")]
    yield _head(_E2E, width)
    for sig_type, x in view.e2e.items():
        cells = (
            sig_type.name.lower(),
            str(x.n),
            _number(x.p50_ms),
            _number(x.p95_ms),
            _number(x.p99_ms),
            f"{x.budget_ms:.0f}",
            _share(x.within),
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
            _utc(d.ts_ns, "%H:%M:%S.%f")[:10],
            d.sig_type.name.lower(),
            "buy" if d.side > 0 else "sell",
            _price(d.price),
            _p(d.p),
            "ALLOW" if d.allow else d.reason.value,
            f"{d.size:,.0f}" if d.allow else "-",
            _number(d.e2e_ms),
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
    return f"P 0 {line} 1 {f'mean {_p(_mean(p))} n {_short(p.count)}' if p.count else 'model not asked'}"


def _share(share: float | None) -> str:
    """Whole only where it is whole."""
    if share is None:
        return "-"
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{min(share, 0.999):.1%}"


def _late(x: Latency) -> bool:
    return x.p95_ms is not None and x.p95_ms > x.budget_ms


def _state(health: Health) -> str:
    healthy, reasons = health
    if healthy:
        return "healthy"
    return "starting" if all(r.startswith(STARTING) for r in reasons) else "not healthy"


def _why(health: Health) -> str:
    reasons = [reason.removeprefix(STARTING) for reason in health[1]]
    return f"{_state(health)}: {' '.join(reasons)}" if reasons else _state(health)


def _ascii(text: str) -> str:
    """An error in another alphabet must not be an error of its own."""
    return text.encode("ascii", "replace").decode()


def _release(view: VitalsView) -> str:
    return f"release {view.release}" if view.release else "no release: guards only"


def _book(view: VitalsView) -> str:
    if view.book_valid:
        return "valid"
    if view.book_since_ns is None:
        return "none yet"
    return f"INVALID {_ms(max(0.0, (view.now_ns - view.book_since_ns) / 1e6))}"


def _e2e(view: VitalsView) -> str:
    """Of the signal type that is nearest to its budget."""
    known = [(x.p95_ms / x.budget_ms, t, x) for t, x in view.e2e.items() if x.p95_ms is not None]
    if not known:
        return f"E2E {_NA}"
    _, sig_type, x = max(known)
    return f"E2E P95 {_number(x.p95_ms)} of {x.budget_ms:.0f} ms ({sig_type.name.lower()})"


def _mean(p: PHistogram) -> float:
    return p.sum / p.count if p.count else math.nan


def _p(p: float) -> str:
    return "-" if math.isnan(p) else f"{p:.3f}"


def _number(value: float | None) -> str:
    """Milliseconds without their unit in five characters; beyond ten seconds, seconds with theirs."""
    if value is None:
        return "-"
    if value < 100:
        return f"{value:.1f}"
    return f"{value:,.0f}" if value < 10_000 else f"{value / 1e3:.0f} s"


def _price(price: float) -> str:
    return f"{price:,.2f}" if price >= 100 else f"{price:.5g}"


def _rate(per_s: float | None) -> str:
    return _NA if per_s is None else f"{_short(round(per_s))} /s"


def _ms(ms: float | None) -> str:
    """A duration in the unit that reads best."""
    if ms is None:
        return _NA
    for most, divisor, digits, unit in (
        (10, 1, 1, "ms"),
        (1e4, 1, 0, "ms"),
        (6e5, 1e3, 0, "s"),
        (3.6e7, 6e4, 0, "min"),
    ):
        if ms < most:
            return f"{ms / divisor:,.{digits}f} {unit}"
    return f"{ms / 3.6e6:,.0f} h"


def _short(n: int) -> str:
    """Up to seven characters."""
    if n < 1_000_000:
        return f"{n:,}"
    return f"{n / 1e6:,.1f} M" if n < 1_000_000_000 else f"{n / 1e9:,.1f} G"


def _utc(t_ns: int, format_: str) -> str:
    try:
        at = datetime.fromtimestamp(t_ns // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):  # a user's candidate may say anything
        return _NA
    return at.replace(microsecond=t_ns // 1_000 % 1_000_000).strftime(format_)
