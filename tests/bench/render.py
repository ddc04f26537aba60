"""docs/benchmarks.md and the table on the terminal, from the rows of bench.json and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .harness import Bench

__all__ = ["figure", "markdown", "print_table"]

_STYLE = {"PASS": "green", "FAIL": "red", "N/A": "yellow", "": ""}
_HEAD = """# Benchmarks

Written by `make bench` from reports/bench.json; not edited by hand. Both sides of a row are measured in one run, in
turns, the best of several rounds each, with compiled code and file cache warm. One core is a process bound to one CPU,
judged by its CPU time: on a quiet machine that is the time one waits, and a busy one does not distort the ratio.
Absolute figures depend on the machine, ratios travel.

| what | ours | peer | ratio | goal | |
| --- | --- | --- | --- | --- | --- |
"""


def figure(value: float | None, unit: str = "") -> str:
    """A number that a person reads: thousands separated, three digits where small."""
    if value is None:
        return "-"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _judged(row: Bench) -> str:
    if row.met is None:
        return "" if row.goal is None and row.ours is not None else "N/A"
    return "PASS" if row.met else "FAIL"


def _goal(row: Bench) -> str:
    if row.goal is None:
        return "-"
    subject, sign, number = row.goal.split()
    text = f"{float(number):,.10g}"
    return f"{sign} {text}" if subject == "ours" else f"ratio {sign} {text}"


def _peer(row: Bench) -> str:
    return "-" if row.peer is None else f"{figure(row.peer)} ({row.peer_name})"


def _cells(row: Bench) -> tuple[str, ...]:
    return (
        row.name,
        figure(row.ours, row.unit),
        _peer(row),
        "-" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"{row.ratio:.2g}",
        _goal(row),
        _judged(row),
    )


def markdown(rows: Sequence[Bench]) -> str:
    """The whole page."""
    table = "".join(f"| {' | '.join(_cells(r))} |\n" for r in rows)
    how = "".join(f"- **{r.name}**: {r.how}.\n" for r in rows)
    return f"{_HEAD}{table}\n## How each was measured\n\n{how}"


def print_table(rows: Sequence[Bench], console: Console | None = None) -> None:
    """The same table on a terminal."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("what", "ours", "peer", "ratio", "goal", ""):
        table.add_column(title, justify="right" if title in ("ours", "ratio") else "left", overflow="fold")
    for row in rows:
        *cells, judged = _cells(row)
        table.add_row(*cells, f"[{_STYLE[judged]}]{judged}[/]" if judged else "")
    (console or Console()).print(table)
