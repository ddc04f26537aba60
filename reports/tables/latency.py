"""End-to-end latency by signal type, as measured here."""

from __future__ import annotations

from collections.abc import Mapping

from .cell import Table

__all__ = ["latency_table"]


def latency_table(metrics: Mapping) -> Table:
    """Percentiles, the budget and the share within it, a row for each profile, model and signal type."""
    rows = tuple(
        (
            f"{timed['profile']} {'model' if timed['model'] else 'no model'}",
            sig,
            f"{s['n']:,}",
            *(f"{s[f'{q}_ms']:.3f}" for q in ("p50", "p95", "p99")),
            f"{s['budget_ms']:g}",
            f"{s['share_in_budget']:.1%}",
        )
        for timed in metrics["measured"].get("latency") or ()
        for sig, s in timed["by_type"].items()
    )
    return Table(
        "End-to-end latency, ms",
        ("arm", "signal", "n", "P50", "P95", "P99", "budget", "in budget"),
        (False, False, *(True,) * 6),
        rows,
        ("",) * len(rows),
        "from the event that closes the window to the decision in hand; measured on this machine, not reproducible"
        if rows
        else "N/A: no end-to-end latency was measured",
    )
