"""The headline profile at every fee tier of the venue: at whose prices does it pay?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .cell import DASH, Table, interval_text, number
from .matrix import few_note, trade_count

__all__ = ["tier_summary", "tier_table"]

_NOT_COMPUTED = "N/A: the fee tiers were not computed"


def _fees(row: Mapping) -> str:
    return f"{row['maker_bps']:g} / {row['taker_bps']:g}"


def tier_summary(metrics: Mapping) -> Table:
    """One row a fee tier, no model and model side by side, with the judged exit."""
    found: Sequence[Mapping] = metrics.get("tiers") or ()
    by_tier: dict[str, dict[bool, Mapping]] = {}
    for row in found:
        by_tier.setdefault(row["fee_tier"], {})[row["model"]] = row
    exit_ = metrics["verdict"]["judged_exit"]
    rows = tuple(
        (
            tier,
            _fees(next(iter(both.values()))),
            *_short(both.get(False), exit_),
            *_short(both.get(True), exit_),
            (both.get(True) or both[False])["verdict"],
        )
        for tier, both in by_tier.items()
    )
    return Table(
        f"Profile B at each fee tier, {exit_} exit",
        ("tier", "maker / taker", "trades", "no model, net bps", "IR", "trades", "model, net bps", "IR", "verdict"),
        (False, *(True,) * 7, False),
        rows,
        ("",) * len(rows),
        ("fees of one leg in bps; the verdict is the one had that tier been named" + few_note(found))
        if rows
        else _NOT_COMPUTED,
    )


def _short(row: Mapping | None, exit_: str) -> tuple[str, str, str]:
    if row is None or row["na"]:
        return DASH, "N/A", DASH
    return trade_count(row), interval_text(row["net_bps"]), number(row["ir_trade"][exit_]["value"], "+.3f")


def tier_table(metrics: Mapping) -> Table:
    """Every arm of the ladder with its intervals, the verdict, and how many reasons stand against it."""
    rows, marks = [], []
    for row in metrics.get("tiers") or ():
        na = bool(row["na"])
        rows.append(
            (
                row["fee_tier"],
                _fees(row),
                "model" if row["model"] else "no model",
                DASH if na else trade_count(row),
                "N/A" if na else interval_text(row["net_bps"]),
                *(interval_text(row["ir_trade"][e], "+.3f") for e in ("label", "runner")),
                interval_text(row["ir_day"]),
                row["verdict"],
                f"{len(row['reasons'])}",
            )
        )
        marks.append("na" if na else "")
    return Table(
        "IR and verdict at each fee tier, profile B",
        (
            *("tier", "maker / taker", "arm", "trades", "net bps [95 %]", "IR, label exit", "IR, runner exit"),
            *("IR of days", "verdict", "reasons"),
        ),
        (False, True, False, *(True,) * 5, False, True),
        tuple(rows),
        tuple(marks),
        (
            f"trades, net bps and IR of days: {metrics['verdict']['judged_exit']} exit; fees of one leg in bps; the "
            "verdict is the one had that tier been named" + few_note(metrics.get("tiers") or ())
        )
        if rows
        else _NOT_COMPUTED,
    )
