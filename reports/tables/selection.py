"""How much of the best result is the luck of having looked at many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reports.kpi_limits import PBO_MAX
from reports.kpis import kpi_text
from reports.records import EXITS, JUDGED_EXIT

from .cell import DASH, Table, arm_key, arm_name, find_arm, number

__all__ = ["selection_table"]


def selection_table(metrics: Mapping, exits: Sequence[str] = EXITS) -> Table:
    """Deflated Sharpe ratio of the headline arms, PBO of each fee tier, SPA against no model and against no trade.

    Parameters
    ----------
    exits : whose SPA tests are shown
    """
    selection = metrics.get("selection") or {"pbo": (), "spa": (), "trials": metrics["run"]["trials"]}
    rows = [
        *_deflated(metrics),
        *map(_overfitting, selection["pbo"]),
        *(_superior(r) for r in selection["spa"] if r["exit"] in exits),
    ]
    return Table(
        "Luck of selection: DSR, PBO, SPA",
        ("test", "of", "value", "wanted", "", "note"),
        (False, False, True, False, False, False),
        tuple(rows),
        tuple("na" if row[2] == DASH else "" for row in rows),
        f"{selection['trials']:,} trials counted, earlier runs included; DSR: chance that the Sharpe ratio is above "
        "what the best of as many worthless trials would show;\nPBO: how often the best of one half of the time is "
        "not above the median of the other half;\nSPA: p-value of the best strategy being no better than the benchmark "
        "(Hansen 2005)"
        if rows
        else "N/A: nothing was tested",
    )


def _deflated(metrics: Mapping) -> Iterator[tuple[str, ...]]:
    for arm in metrics["matrix"]:
        if arm_name(arm) not in metrics["verdict"]["headline"] or arm["na"]:
            continue
        judged = find_arm(metrics["kpis"], arm_key(arm), exit=JUDGED_EXIT)
        for k in judged["rows"] if judged else ():
            if k["key"] == "dsr":
                value = kpi_text(k["key"], k["threshold"], k["value"])
                yield "DSR", f"{arm_name(arm)}, {JUDGED_EXIT} exit", value, k["threshold"], k["status"], k["note"]


def _overfitting(row: Mapping) -> tuple[str, ...]:
    value = row["value"]
    status = "N/A" if value is None else "PASS" if value <= PBO_MAX else "FAIL"
    note = row["reason_na"] or f"{row['n_strategies']} strategies, {row['n_blocks']:,} blocks, {row['splits']:,} splits"
    return "PBO", f"{row['fee_tier']} fees", number(value, ".2f"), f"<= {PBO_MAX:g}", status, note


def _superior(row: Mapping) -> tuple[str, ...]:
    what = f"{row['fee_tier']} fees, {row['exit']} exit, against {row['benchmark']}"
    sample = f"{row['n_strategies']} strategies, {row['n_blocks']:,} blocks"
    bounds = f"p between {number(row['p_lower'], '.3f')} and {number(row['p_upper'], '.3f')}"
    note = row["reason_na"] or f"{bounds}; {sample}"
    status = "N/A" if row["p_consistent"] is None else ""
    return "SPA", what, number(row["p_consistent"], ".3f"), "", status, note
