"""What each fold earned: one good stretch is not a strategy."""

from __future__ import annotations

from collections.abc import Mapping

from .cell import Table, arm_name, interval_text

__all__ = ["fold_results_table"]


def fold_results_table(metrics: Mapping, exit_: str) -> Table:
    """The headline arms and those without a model beside them, a row a fold, portfolio book with one exit."""
    wanted = set(metrics["verdict"]["headline"])
    found = [
        r for r in metrics.get("fold_results") or () if r["exit"] == exit_ and arm_name({**r, "model": True}) in wanted
    ]
    found.sort(key=lambda r: (r["fee_tier"], r["profile"], r["model"], r["fold"]))
    rows = tuple(
        (
            arm_name(r),
            f"fold {r['fold']}",
            f"{r['candidates']:,}",
            f"{r['allowed']:,}",
            f"{r['trades']:,}",
            interval_text(r["net_bps"]),
            interval_text(r["ir_trade"], "+.3f"),
        )
        for r in found
    )
    return Table(
        f"Result by fold, {exit_} exit",
        ("arm", "fold", "cand", "allow", "trades", "net bps [95 %]", "IR [95 %]"),
        (False, False, *(True,) * 5),
        rows,
        tuple("head" if r["model"] else "" for r in found),
        "portfolio book, cut by the fold of the candidate; net bps a trade at equal notional; no brackets: too few "
        "trades for an interval"
        if rows
        else "N/A: the result was not cut by folds",
    )
