"""Where the gross result goes: fees, slippage as estimated and as realised, funding."""

from __future__ import annotations

from collections.abc import Mapping

from .cell import Table, arm_name, number
from .matrix import few_note, run_arms, tone, trade_count

__all__ = ["cost_table"]


def cost_table(metrics: Mapping, exit_: str) -> Table:
    """One row an arm that was run, means a filled trade in bps."""
    found = run_arms(metrics, exit_)
    rows = tuple(
        (
            arm_name(arm),
            trade_count(s),
            number(s["gross_bps"]),
            number(s["fee_bps"], ".2f"),
            number(s["est_slip_bps"], ".2f"),
            number(s["slip_bps"], ".2f"),
            number(s["funding_bps"]),
            number(s["net_bps"]["value"]),
            number(s["cost_share"], ".0%"),
            number(s["handover_trades_share"], ".0%"),
        )
        for arm, s in found
    )
    return Table(
        f"Costs, {exit_} exit",
        ("arm", "trades", "gross", "fees", "slip est.", "slip real.", "funding", "net", "cost share", "hand-over"),
        (False, *(True,) * 9),
        rows,
        tuple(tone(metrics, arm) for arm, _ in found),
        (
            "means a filled trade in bps; net = gross - fees - realised slippage - funding; slip est.: the gate's; "
            "cost share: of the expected reward; hand-over: share of trades inside hand-over windows"
            + few_note([s for _, s in found])
        )
        if rows
        else "N/A: no arm was run",
    )
