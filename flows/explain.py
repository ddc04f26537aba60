"""One logged decision in the terminal: what each check saw, and whether the same release says the same again."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from reports.console import wide_console
from runtime.decision import Reason
from runtime.decision_log import find_decision
from runtime.explain import Explained, explain

__all__ = ["show"]


def show(id_: str, log: Path, releases: Path) -> int:
    """Print it; 1 where the replay gives another answer than the one that was logged.

    Raises
    ------
    InputError
        When the decision or its release is not there.
    """
    found = explain(find_decision(log, id_), releases)
    _print(found)
    return 1 if found.same is False else 0


def _print(found: Explained) -> None:
    logged, decision = found.logged, found.logged.decision
    c, console = logged.candidate, wide_console()
    at = datetime.fromtimestamp(c.ts_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    tenth = c.ts_ns // 100_000_000 % 10
    answer = f"allowed, {decision.size:,.2f} USD" if decision.allow else f"denied: {decision.reason.value}"
    p = "P not asked" if math.isnan(decision.p) else f"P {decision.p:.6f}"
    table = Table(
        title=f"{logged.id}\n{c.sig_type.name.lower()}, tier {c.tier.name}, {at}.{tenth} UTC\n{answer}, {p}",
        title_justify="left",
    )
    for name in ("check", "seen", "wanted", ""):
        table.add_column(name)
    for row in found.rows:
        mark = {True: "ok", False: "[bold red]denies[/]", None: "[dim]not asked[/]"}[row.passed]
        style = "dim" if row.passed is None else None
        table.add_row(row.reason.value, row.value, row.wanted, mark, style=style)
    console.print(table)
    console.print(
        f"release {logged.release}, profile {logged.profile}, fees {logged.fee.name} "
        f"({logged.fee.maker_bps:g} / {logged.fee.taker_bps:g} bps), break-even P {_number(decision.p_breakeven)}, "
        f"{decision.latency_us:,.0f} us",
        highlight=False,
    )
    if logged.bucket is not None:
        share = "as if rolled out in full (shadow)" if logged.shadow else f"multiplier {logged.multiplier:g}"
        console.print(f"bucket {logged.bucket}, {share}", highlight=False)
    console.print(f"window {found.window or 'none'}", highlight=False)
    console.print(_again(found), highlight=False)


def _again(found: Explained) -> str:
    if found.same is None:
        named = found.logged.decision.reason
        what = {Reason.KILL_SWITCH: "the kill switch", Reason.STORE_ERROR: "the source of windows"}.get(
            named, "an exception"
        )
        return f"replay: not possible, {what} lay outside of what is logged"
    if found.same:
        return "replay: the same answer, bit for bit"
    return f"replay: ANOTHER ANSWER: {found.again.reason.value}, P {found.again.p:.9f}, {found.again.size:,.2f} USD"


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"
