"""Model minus no model."""

from __future__ import annotations

from collections.abc import Mapping

from .cell import Table, interval_text

__all__ = ["model_table"]


def model_table(metrics: Mapping) -> Table:
    """Model minus no model on the candidate book."""
    rows = []
    for d in metrics["model_vs_none"]:
        rows.append(
            (
                f"{d['fee_tier']} {d['profile']}",
                d["exit"],
                f"{d['candidates']:,}",
                interval_text(d["difference"]),
                f"{d['model_trades']:,}",
                interval_text(d["model_mean"]),
                f"{d['none_trades']:,}",
                interval_text(d["none_mean"]),
                "yes" if d["model_beats_none"] else "no",
            )
        )
    return Table(
        "Model minus no model, candidate book",
        ("arms", "exit", "cand", "difference", "trades", "model", "trades", "no model", "beats"),
        (False, False, *(True,) * 6, False),
        tuple(rows),
        ("",) * len(rows),
        "bps, 95 % intervals (10 min blocks, both arms drawn together); the difference is a candidate, denied = 0;\n"
        "beats: both lower bounds, of the difference and of the model, are above 0"
        if rows
        else "N/A: no profile was run both with and without a model",
    )
