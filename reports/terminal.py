"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from .console import wide_console
from .records import JUDGED_EXIT
from .shown import shown_arms
from .tables import (
    Table,
    fold_summary,
    funnel_totals,
    kpi_table,
    matrix_table,
    member_table,
    model_table,
    no_model_reason,
    selection_table,
    tier_summary,
)
from .training_rows import unbeaten_line
from .transfer import transfer_table

__all__ = ["print_report"]

_STATUS_STYLE = {"PASS": "green", "FAIL": "red", "N/A": "yellow"}
_ROW_STYLE = {"na": "dim", "head": "bold", "": ""}


def print_report(metrics: Mapping, console: Console | None = None) -> None:
    """Print banner, matrix, model against none, folds, fee tiers, funnel, KPIs and verdict; the page shows the rest.

    Where no net beats the logistic baseline, that is said before the first table.

    Parameters
    ----------
    metrics : ``Report.metrics``, or metrics.json as read back
    """
    console = wide_console(console)

    def show(table: Table) -> None:
        console.print(_rich(table, console.width))

    if metrics["banner"]:
        console.print(Panel(Text(metrics["banner"], "bold black on yellow", justify="center"), style="yellow"))
    if unbeaten := unbeaten_line(metrics.get("training")):
        console.print(Text(unbeaten, "bold red"))
    for exit_ in ("label", "runner"):
        show(matrix_table(metrics, exit_))
    show(model_table(metrics))
    if (transfer := transfer_table(metrics)).rows:
        show(transfer)
    show(fold_summary(metrics))
    if not no_model_reason(metrics):
        show(member_table(metrics))
    show(tier_summary(metrics))
    show(funnel_totals(metrics))
    for key in shown_arms(metrics):
        show(kpi_table(metrics, key))
    show(selection_table(metrics, (JUDGED_EXIT,)))
    for note in metrics["run"]["notes"]:
        console.print(Text(f"Note: {note}", "dim"))
    console.print(_verdict(metrics))


def _rich(table: Table, width: int) -> Group:
    widest = [max(map(len, cells)) for cells in zip(table.columns, *table.rows, strict=True)]
    # A table that is too wide gives up the space between its columns: a number that is cut off is misread.
    space = 1 if sum(widest) + 2 * len(widest) + 1 <= width else 0
    out = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, space, 0, 0)
    )
    for i, (name, numeric) in enumerate(zip(table.columns, table.numeric, strict=True)):
        # Only words may wrap: a number or an arm's name broken over two lines is misread.
        out.add_column(
            name, justify="right" if numeric else "left", no_wrap=numeric or i == 0 or name == "exit", overflow="fold"
        )
    for row, mark in zip(table.rows, table.marks, strict=True):
        out.add_row(*(Text(cell, _STATUS_STYLE.get(cell, "")) for cell in row), style=_ROW_STYLE[mark])
    parts: list[object] = [out] if table.rows else [Text(table.title, "bold")]
    if table.note:
        parts.append(Text(table.note, "dim"))
    return Group(*parts, Text(""))


def _verdict(metrics: Mapping) -> Panel:
    verdict = metrics["verdict"]
    style = "green" if verdict["go"] else "red"
    lines = [Text(verdict["word"], f"bold {style}")]
    lines += [Text(f"- {reason}") for reason in verdict["reasons"]]
    return Panel(Group(*lines), title="Verdict", border_style=style, title_align="left")
