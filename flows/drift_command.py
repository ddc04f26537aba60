"""`ofi-meta drift` in the terminal: the status, what was flagged, and where the pages are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from reports.console import wide_console
from reports.drift import ALERT, NA, OK, WARN, DriftCheck
from reports.drift.check import worst
from reports.drift_file import GROUPS

from .drift import run_drift
from .progress import Stages

__all__ = ["show"]

EXIT_ALERT = 3
_STYLE = {OK: "green", WARN: "yellow", ALERT: "bold red", NA: "dim"}


def show(
    tape: Path,
    features: Path,
    labels: Path,
    release: Path,
    day: str,
    *,
    out: Path,
    decisions: Path | None = None,
    time_last: int = 0,
) -> int:
    """Make the report and print what matters of it; 3 for an ALERT, else 0. Errors as ``drift.collect``."""
    stages = Stages()
    with stages.stage(f"drift {day}") as advance:
        result = run_drift(
            release, tape, features, labels, day, out, decisions=decisions, time_last=time_last, progress=advance
        )
    console = wide_console()
    if result.simulated:
        console.print("[black on yellow] SIMULATED DATA: says nothing about a real market [/]")
    console.print(_groups(result.checks))
    loud = [c for c in result.checks if c.status in (WARN, ALERT)]
    if loud:
        console.print(_flagged(loud))
    page = str(result.path / "index.html")
    console.print(Text.assemble((result.status, _STYLE[result.status]), f" {page}"), soft_wrap=True)
    if result.status == ALERT:
        console.print("The day does not look like what the release was made from: find out why, and retrain.")
    return EXIT_ALERT if result.status == ALERT else 0


def _groups(checks: Sequence[DriftCheck]) -> Table:
    table = Table(title="by group")
    for name in ("group", "status", "judged", "checks"):
        table.add_column(name, justify="right" if name in ("judged", "checks") else "left")
    for group in GROUPS:
        of = [c for c in checks if c.group == group]
        status = worst(of)
        judged = sum(c.status != NA for c in of)
        table.add_row(group, f"[{_STYLE[status]}]{status}[/]", str(judged), str(len(of)))
    return table


def _flagged(checks: Sequence[DriftCheck]) -> Table:
    table = Table(title="flagged")
    for name in ("status", "check", "value", "threshold", "note"):
        table.add_column(name, justify="right" if name == "value" else "left")
    for c in sorted(checks, key=lambda c: c.status != ALERT):
        value = "-" if c.value is None else f"{c.value:.4g}"
        table.add_row(f"[{_STYLE[c.status]}]{c.status}[/]", c.name, value, c.threshold, c.note)
    return table
