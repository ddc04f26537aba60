"""One arm by signal type."""

from __future__ import annotations

from collections.abc import Mapping

from .cell import Table, arm_name, find_arm, number

__all__ = ["type_table"]


def type_table(metrics: Mapping, key: Mapping, exit_: str) -> Table:
    """Fill and win rate, payoff, and what the trades cost, by signal type."""
    arm = find_arm(metrics["matrix"], key)
    found = ((arm or {}).get("exits") or {}).get(exit_, {}).get("by_type", ())
    rows = tuple(
        (
            t["sig_type"],
            f"{t['trades']:,}",
            number(t["fill_rate"], ".0%"),
            number(t["win_rate"], ".0%"),
            number(t["payoff"], ".2f"),
            number(t["gross_bps"]),
            number(t["fee_bps"], ".2f"),
            number(t["est_slip_bps"], ".2f"),
            number(t["slip_bps"], ".2f"),
            number(t["funding_bps"]),
            number(t["net_bps"]),
            number(t["cost_share"], ".0%"),
            number(t["handover_share"], ".0%"),
        )
        for t in found
    )
    return Table(
        f"By signal: {arm_name(key)}, {exit_} exit",
        (
            *("signal", "trades", "fill", "win", "payoff", "gross", "fees", "slip est.", "slip real.", "funding"),
            *("net", "cost share", "hand-over"),
        ),
        (False, *(True,) * 12),
        rows,
        ("",) * len(rows),
        "" if rows else f"N/A: {(arm['na'] if arm else None) or 'no such arm'}",
    )
