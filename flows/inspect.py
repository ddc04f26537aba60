"""`ofi-meta tape inspect`: what lies in a tape or a source, as tables, as JSON, and as a picture."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from feature_repo.market.stylised import facts_table
from feature_repo.market.summary import DELAY_QUANTILES, Summary, summarise, utc_text
from feature_repo.market.tape import open_stream
from reports.console import wide_console

from .progress import Stages

__all__ = ["run"]

_SHOWN_GAPS = 20
_SHOWN_REASONS = 20


def run(
    path: Path,
    *,
    symbol: str | None = None,
    venue: str | None = None,
    source: str | None = None,
    plot: Path | None = None,
    json_: bool = False,
    console: Console | None = None,
) -> Summary:
    """Print what a person should know of the market data at ``path`` before using it.

    A stored tape is read as it is; any other source is imported on the way and not stored. Either way only a chunk of
    rows and the 100 ms windows are in memory.

    Parameters
    ----------
    symbol, venue, source : which contract and kind of source, where ``path`` leaves a choice
    plot : .png, .svg or .pdf to write
    json_ : one JSON object on standard output instead of the tables

    Raises
    ------
    InputError
        When nothing usable is there, or the picture could not be written; the latter is known before any work.
    """
    if plot is not None:
        # Late: loading matplotlib takes a second, and only a picture needs it.
        from reports.tape_picture import check_target

        check_target(plot)
    stages = Stages(Console(stderr=True))
    with stages.stage("reading") as advance:
        stream = open_stream(path, symbol=symbol, venue=venue, source=source, progress=advance)
        summary = summarise(stream, progress=advance)
    if plot is not None:
        from reports.tape_picture import draw_tape

        with stages.stage("picture"):
            draw_tape(summary, plot)
    if json_:
        json.dump(summary.as_json(), sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
        return summary
    _print(summary, Path(path), wide_console(console))
    if plot is not None:
        Console(stderr=True).print(Text(f"picture: {plot}"), soft_wrap=True)
    return summary


def _print(s: Summary, path: Path, console: Console) -> None:
    if s.simulated:
        console.print(Panel(Text("SIMULATED: this market is made up", "bold black on yellow", justify="center")))
    console.print(_table(f"{s.symbol} on {s.venue}, {path}", _overview(s), ("", "")))
    share = [(name, f"{n:,}", f"{n / s.rows:.1%}") for name, n in sorted(s.rows_by_kind.items(), key=lambda k: -k[1])]
    console.print(_table("Rows by kind", share, ("kind", "rows", "share"), right=(1, 2)))
    if s.gaps:
        console.print(_table("Without a book after a gap, UTC", _gaps(s), ("from", "to", "s"), right=(2,)))
    if s.bad_rows:
        worst = sorted(s.bad_rows.items(), key=lambda k: (-k[1], k[0]))[:_SHOWN_REASONS]
        console.print(_table("Bad rows", [(r, f"{n:,}") for r, n in worst], ("reason", "rows"), right=(1,)))
    name = f"{s.symbol} (SIMULATED)" if s.simulated else s.symbol
    header, *rows = facts_table({name: s.facts})
    title = "Stylised facts: OFI of level 1, return of the mid, windows on the local clock"
    console.print(_table(title, rows, header, right=(1,)))
    for warning in s.warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning), soft_wrap=True)


def _overview(s: Summary) -> list[tuple[str, str]]:
    f = s.facts
    length = (s.last_ns - s.first_ns) / 1e9
    delays = zip(DELAY_QUANTILES, s.delay_ms, strict=True)
    in_ticks, in_bps = _form(f.spread_mean_ticks, ".2f"), _form(f.spread_mean_bps, ".3f")
    rows = [
        ("span, UTC", f"{utc_text(s.first_ns)} to {utc_text(s.last_ns)} ({_length(length)})"),
        ("rows", f"{s.rows:,} ({s.rows / max(length, 1e-9):,.1f} a second)"),
        ("spread", f"one tick {_form(f.one_tick_share, '.1%')} of the time, mean {in_ticks} ticks, {in_bps} bps"),
        ("tick", f"{s.tick:g} in the table of instruments, smallest price step seen {_form(s.price_step, 'g')}"),
        ("clock", _clock(s)),
        ("delay, ms", "  ".join(f"{_quantile(q)} {_form(d, '.1f')}" for q, d in delays)),
        ("R2 of return on OFI", _by_horizon((("0.1 s", f.r2_100ms), ("1 s", f.r2_1s), ("10 s", f.r2_10s)))),
        ("of the next return", _by_horizon((("0.1 s", f.next_r2_100ms), ("1 s", f.next_r2_1s)))),
        ("gaps", f"{s.n_gaps or 'none'}, a good book {_form(s.book_share, '.2%')} of the time"),
        ("bad rows", _bad(s)),
        ("skipped", ", ".join(f"{n:,} {name}" for name, n in sorted(s.skipped.items())) or "none"),
    ]
    if s.segments:
        rows.append(("segments", _segments(s)))
    if s.sources:
        names = [str(x.get("name", "?")) for x in s.sources]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        rows.append(("sources", ", ".join(names[:5]) + more))
    return rows


def _clock(s: Summary) -> str:
    offset = s.clock.get("offset_ns")
    if offset is None:
        return "simulated" if s.simulated else "no constant is known"
    late = f"{s.negative_delays:,} messages still before their time"
    return f"{offset / 1e6:+,.3f} ms added to the recorder's clock, {late}"


def _segments(s: Summary) -> str:
    return f"{len(s.segments)}, each with a clock constant of its own: " + ", ".join(
        f"{x.get('kind', '?')} from {utc_text(x.get('first_ns'), 0) or '?'}" for x in s.segments[:5]
    )


def _bad(s: Summary) -> str:
    n = sum(s.bad_rows.values())
    if n == 0 or not s.first_bad_row:
        return f"{n:,}" if n else "none"
    first = s.first_bad_row
    return f"{n:,}, the first in {first.get('file', '?')}, line {first.get('line', '?')}: {first.get('reason', '?')}"


def _gaps(s: Summary) -> list[tuple[str, str, str]]:
    rows = []
    for gap in s.gaps[:_SHOWN_GAPS]:
        end = gap.end_ns if gap.end_ns is not None else s.last_ns
        to = utc_text(gap.end_ns) or "the end of the tape"
        rows.append((utc_text(gap.start_ns) or "", to, f"{(end - gap.start_ns) / 1e9:,.3f}"))
    if len(s.gaps) > _SHOWN_GAPS:
        rows.append((f"and {len(s.gaps) - _SHOWN_GAPS:,} more", "", ""))
    return rows


def _by_horizon(values: tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{_form(v, '.2f')} at {name}" for name, v in values)


def _quantile(q: float) -> str:
    return {0.0: "least", 0.5: "median", 1.0: "most"}.get(q, f"{q:.0%}")


def _length(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min {whole} s"


def _form(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "N/A"


def _table(title: str, rows: list[Any], columns: Any, *, right: tuple[int, ...] = ()) -> Group:
    named = any(columns)
    out = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_header=named)
    for i, name in enumerate(columns):
        out.add_column(name, justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        out.add_row(*(Text(cell) for cell in row))
    return Group(out)
