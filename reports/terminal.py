"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from .console import wide_console
from .tables import Table, arm_name, funnel_table, funnel_totals, kpi_table, matrix_table, model_table
from .transfer import transfer_table

__all__ = ["print_report", "shown_arms"]

_STATUS_STYLE = {"PASS": "green", "FAIL": "red", "N/A": "yellow"}
_ROW_STYLE = {"na": "dim", "head": "bold", "": ""}


def shown_arms(metrics: Mapping) -> list[dict[str, object]]:
    """Arms whose details are shown: the headline arms, and where one was not run, its counterpart without a model."""
    keys: list[dict[str, object]] = []
    for arm in metrics["matrix"]:
        key = {k: arm[k] for k in ("fee_tier", "profile", "model")}
        if arm_name(arm) in metrics["verdict"]["headline"]:
            keys.append({**key, "model": False} if arm["na"] else key)
    return keys


def print_report(metrics: Mapping, console: Console | None = None) -> None:
    """Print banner, matrix, funnel, KPIs and verdict.

    Parameters
    ----------
    metrics : ``Report.metrics``, or metrics.json as read back
    """
    console = wide_console(console)
    if metrics["banner"]:
        console.print(Panel(Text(metrics["banner"], "bold black on yellow", justify="center"), style="yellow"))
    for exit_ in ("label", "runner"):
        console.print(_rich(matrix_table(metrics, exit_)))
    console.print(_rich(model_table(metrics)))
    if (transfer := transfer_table(metrics)).rows:
        console.print(_rich(transfer))
    console.print(_rich(funnel_totals(metrics)))
    for key in shown_arms(metrics):
        pair = [{**key, "model": False}, key] if key["model"] else [key]
        for one in pair:
            console.print(_rich(funnel_table(metrics, one)))
        console.print(_rich(kpi_table(metrics, key)))
    for note in metrics["run"]["notes"]:
        console.print(Text(f"Note: {note}", "dim"))
    console.print(_verdict(metrics))


def _rich(table: Table) -> Group:
    out = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for i, (name, numeric) in enumerate(zip(table.columns, table.numeric, strict=True)):
        # Only words may wrap: a number or an arm's name broken over two lines is misread.
        out.add_column(name, justify="right" if numeric else "left", no_wrap=numeric or i == 0, overflow="fold")
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
