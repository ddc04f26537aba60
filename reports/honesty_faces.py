"""The honesty check as tables: on the terminal, in docs/honesty.md, and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from feature_repo.errors import InputError
from feature_repo.paths import atomic_path

from .console import wide_console
from .honesty import GOALS, MIN_RUNS
from .honesty_picture import draw_honesty
from .tables.cell import DASH, Table, number

__all__ = ["MARKS", "check_docs", "honesty_tables", "print_honesty", "write_honesty"]

MARKS = ("<!-- table: begin -->", "<!-- table: end -->")
_BANNER = (
    "SIMULATED DATA, edge 0 and edge 1: says how far the machinery can be believed, and nothing about a real market"
)
_STYLE = {"PASS": "green", "FAIL": "red", "N/A": "yellow"}


def honesty_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Claims, coverage and calibration, from ``reports.honesty.summarise``."""
    return [_claims(summary["claims"]), _coverage(summary["coverage"]), _calibration(summary["calibration"])]


def _judged(met: bool | None) -> str:
    return "N/A" if met is None else "PASS" if met else "FAIL"


def _share(cell: Mapping[str, Any]) -> str:
    if cell["rate"] is None:
        return DASH
    band = f"[{100 * cell['low']:.0f}, {100 * cell['high']:.0f}]"
    return f"{cell['hits']} of {cell['n']}, {100 * cell['rate']:.0f} % {band}"


def _table(title: str, heads: Sequence[str], words: int, rows: Sequence[Sequence[str]], note: str) -> Table:
    """The first ``words`` columns are words, the others numbers."""
    numeric = tuple(i >= words for i in range(len(heads)))
    return Table(title, tuple(heads), numeric, tuple(map(tuple, rows)), ("",) * len(rows), note)


def _claims(rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = ["model", "fees", "exit"]
    for edge in (0, 1):
        heads += [f"claims, edge {edge}", "no interval", "trades", "goal"]
    cells = []
    for row in rows:
        line = [row["model"], row["fee_tier"], row["exit"]]
        for edge in (0, 1):
            cell = row[f"edge_{edge}"]
            judged = _judged(cell["met"]) if row["decides"] else ""
            line += [_share(cell), str(cell["no_interval"]), number(cell["trades_median"], ".0f"), judged]
        cells.append(line)
    note = (
        f"Claim: the lower bounds of the difference and of the model's own mean are both above 0. Goal: at most "
        f"{100 * GOALS['claims_edge_0']:.0f} % on edge 0, at least {100 * GOALS['claims_edge_1']:.0f} % on edge 1, "
        f"judged from {MIN_RUNS} runs of an edge on, for the tier and exit that decide. No interval: too few trades, "
        "and so no claim. Trades: median a run, with the model, each candidate on its own. In brackets: 95 % bands "
        "(Wilson)."
    )
    return _table("How often a run claims that the model beats no model", heads, 3, cells, note)


def _coverage(rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = ["model", "fees", "exit", "edge"]
    for what in ("difference", "with the model", "no model"):
        heads += [what, "bps"]
    cells = []
    for row in rows:
        line = [row["model"], row["fee_tier"], row["exit"], f"{row['edge']:g}"]
        for part in ("difference", "model_mean", "none_mean"):
            cell = row[part]
            line += [_share(cell), number(cell["pooled_bps"])]
        cells.append(line)
    note = (
        "The truth is the expectation over simulated days: each interval is held against the mean of the other seeds, "
        "pooled over their candidates or trades. Day-to-day variation counts. That mean is an estimate too, and all "
        "intervals of a row share it: the band, which takes them as independent, is a rough one. Runs without an "
        "interval are left out. bps: the mean, pooled over all seeds."
    )
    return _table("How many of the 95 % intervals hold the truth", heads, 4, cells, note)


def _calibration(rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = ["model", "edge", "runs", "labels", "base rate", "ECE", "goal", "Brier", "logistic", "base"]
    cells = []
    for row in rows:
        line = [row["model"], f"{row['edge']:g}", str(row["runs"]), f"{row['n']:,}", number(row["base_rate"], ".3f")]
        judged = _judged(row["met"]) if row["edge"] == 1.0 else ""
        line += [number(row["ece"], ".4f"), judged]
        line += [number(row[name], ".4f") for name in ("brier", "brier_logistic", "brier_base")]
        cells.append(line)
    note = (
        "Out-of-sample labels of all seeds pooled. ECE: debiased, 15 bins of equal mass; goal at most "
        f"{GOALS['ece']:g} on edge 1. logistic, base: Brier score of the baselines on the same rows."
    )
    return _table("Calibration, pooled over seeds", heads, 1, cells, note)


def _lines(summary: Mapping[str, Any]) -> list[str]:
    """What the tables are made of, and what is missing."""
    runs = summary["runs"]
    models = ", ".join(dict.fromkeys(r["model"] for r in summary["claims"]))
    seeds = "; ".join(f"edge {e}: {_span(s)}" for e, s in runs["seeds"].items() if s)
    lines = [
        f"{runs['done']} of {runs['planned']} runs; seeds {seeds}; {summary['candidates']:,} candidates a run, "
        f"{summary['folds']} folds, models {models}, profile {summary['deciding']['profile']}; code {summary['code']}."
    ]
    if summary["failed"]:
        lines.append(f"Failed and left out: {', '.join(summary['failed'])}.")
    if summary["notes"]:
        lines.append(f"Folds without a model, and other notes of the runs: {len(summary['notes'])}, in honesty.json.")
    if summary["short"]:
        lines.append("Short form: it shows that everything works and judges nothing.")
    return lines


def _span(seeds: Sequence[int]) -> str:
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]}" if whole and len(seeds) > 2 else ", ".join(map(str, seeds))


def print_honesty(summary: Mapping[str, Any]) -> None:
    """The tables on a terminal."""
    console = wide_console()
    console.width = max(console.width, 150)
    console.print(Text(_BANNER, "bold black on yellow"))
    for table in honesty_tables(summary):
        shown = RichTable(
            title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        for name, numeric in zip(table.columns, table.numeric, strict=True):
            shown.add_column(name, justify="right" if numeric else "left", no_wrap=True)
        for row in table.rows:
            shown.add_row(*(Text(cell, _STYLE.get(cell, "")) for cell in row))
        console.print(shown, Text(table.note, "dim"), "", sep="\n")
    for line in _lines(summary):
        console.print(Text(line))


def _markdown(summary: Mapping[str, Any]) -> str:
    parts = [f"**{_BANNER}.**", *_lines(summary)]
    for table in honesty_tables(summary):
        ruler = " | ".join("--:" if numeric else "---" for numeric in table.numeric)
        rows = "".join(f"| {' | '.join(row)} |\n" for row in table.rows)
        parts += [f"### {table.title}", f"| {' | '.join(table.columns)} |\n| {ruler} |\n{rows}".rstrip(), table.note]
    return "\n\n".join(parts)


def check_docs(page: Path) -> None:
    """Refuse, before any work, a page whose table cannot be written anew.

    Raises
    ------
    InputError
        Where there is no such page, or it lacks the marks.
    """
    _around(page)


def _around(page: Path) -> tuple[str, str]:
    """The text before the table and the one after it, marks included."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise InputError(f"the page {page}", f"a file with the lines {MARKS[0]} and {MARKS[1]}", "Put them there")
    return before + begin, end + after


def write_honesty(summary: Mapping[str, Any], out: Path, *, docs: Path | None = None) -> dict[str, Path]:
    """Write honesty.json and honesty.png into ``out`` (of the short form honesty-short.*), and the table into ``docs``.

    Each file is replaced whole or not at all; the same results give the same bytes.
    """
    name = "honesty-short" if summary["short"] else "honesty"
    files = {"json": Path(out) / f"{name}.json", "picture": Path(out) / f"{name}.png"}
    with atomic_path(files["json"]) as beside:
        beside.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draw_honesty(summary, files["picture"])
    if docs is not None:
        before, after = _around(docs)
        with atomic_path(docs) as beside:
            beside.write_text(f"{before}\n\n{_markdown(summary)}\n\n{after}", encoding="utf-8")
        files["docs"] = Path(docs)
    return files
