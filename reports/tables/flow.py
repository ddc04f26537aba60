"""Where candidates go: the funnel, and the reasons of the denials."""

from __future__ import annotations

from collections.abc import Mapping

from reports.funnel import STAGES
from reports.records import REASONS

from .cell import DASH, Table, arm_name, find_arm

__all__ = ["funnel_table", "funnel_totals", "reason_rate_table", "reason_table"]

_STAGE_TITLES = ("found", "in tier", "data", "liquidity", "signal", "slippage", "EV", "P", "filled")
_FUNNEL_NUMERIC = (True,) * len(STAGES)


def funnel_totals(metrics: Mapping) -> Table:
    """All signal types together, one row an arm."""
    rows, marks = [], []
    for f in metrics["funnel"]:
        total = next((r for r in f["rows"] if r["sig_type"] == "all"), None)
        rows.append((arm_name(f), *((DASH,) * len(STAGES) if total is None else _stages(total))))
        marks.append("na" if total is None else "")
    return Table(
        "Funnel: candidates left after each check",
        ("arm", *_STAGE_TITLES),
        (False, *_FUNNEL_NUMERIC),
        tuple(rows),
        tuple(marks),
        "found: in the test folds; signal: reclaim complete, reward known; P: allowed; filled: one a time, label exit",
    )


def _stages(row: Mapping) -> tuple[str, ...]:
    return tuple(f"{row[s]:,}" for s in STAGES)


def funnel_table(metrics: Mapping, key: Mapping) -> Table:
    """One arm by signal type."""
    found = find_arm(metrics["funnel"], key)
    rows = [(r["sig_type"], *_stages(r)) for r in (found["rows"] if found else [])]
    return Table(
        f"Funnel by signal: {arm_name(key)}",
        ("signal", *_STAGE_TITLES),
        (False, *_FUNNEL_NUMERIC),
        tuple(rows),
        tuple("head" if r[0] == "all" else "" for r in rows),
        "" if rows else f"N/A: {found['na'] if found else 'no such arm'}",
    )


def reason_table(metrics: Mapping) -> Table:
    """Decisions by reason, one row an arm that was run; reasons in the order of the gate."""
    arms = [a for a in metrics["matrix"] if a.get("reasons")]
    seen = {reason for a in arms for reason in a["reasons"]}
    order = [r.value for r in REASONS if r.value in seen]
    return Table(
        "Decisions by reason",
        ("arm", *order),
        (False, *(True,) * len(order)),
        tuple((arm_name(a), *(f"{a['reasons'].get(r, 0):,}" for r in order)) for a in arms),
        ("",) * len(arms),
        "counts of all candidates; tier: looser than the profile takes" if arms else "N/A: nothing was decided",
    )


def reason_rate_table(metrics: Mapping) -> Table:
    """Denials by reason as shares of the arm's own candidates."""
    arms = [a for a in metrics["matrix"] if a.get("reason_rates") is not None and a["candidates"]]
    seen = {reason for a in arms for reason in a["reason_rates"]}
    order = [r.value for r in REASONS if r.value in seen]
    rows = tuple(
        (
            arm_name(a),
            f"{a['candidates']:,}",
            *(f"{a['reason_rates'].get(r, 0.0):.1%}" for r in order),
            f"{a['rejection_total']:.1%}",
        )
        for a in arms
    )
    return Table(
        "Rejection rate by reason",
        ("arm", "in tier", *order, "all"),
        (False, *(True,) * (len(order) + 2)),
        rows,
        ("",) * len(rows),
        "shares of the candidates in the profile's tiers; the first check that failed is counted"
        if rows
        else "N/A: nothing was decided",
    )
