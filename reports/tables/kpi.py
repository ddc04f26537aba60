"""The KPIs of one arm."""

from __future__ import annotations

from collections.abc import Mapping

from reports.kpis import kpi_text

from .cell import Table, arm_name, find_arm

__all__ = ["kpi_table"]


def kpi_table(metrics: Mapping, key: Mapping) -> Table:
    """The KPIs of one arm, both exits side by side."""
    both = [find_arm(metrics["kpis"], key, exit=e) for e in ("label", "runner")]
    title = f"KPIs: {arm_name(key)}"
    columns = ("KPI", "wanted", "label", "", "runner", "", "n", "note")
    numeric = (False, False, True, False, True, False, True, False)
    if None in both:
        arm = find_arm(metrics["matrix"], key)
        return Table(title, columns, numeric, (), (), f"N/A: {arm['na'] if arm else 'no such arm'}")
    measured = {m["key"]: m for m in metrics["measured"]["kpis"] if find_arm([m], key)}
    rows = []
    for a, b in zip(both[0]["rows"], both[1]["rows"], strict=True):
        if a["measured"]:
            a = b = measured.get(a["key"], a)
        n = f"{a['n']:,}" if a["n"] == b["n"] else f"{a['n']:,} / {b['n']:,}"
        note = b["note"] if b["note"] == a["note"] or not a["note"] else f"{a['note']}; {b['note']}".strip("; ")
        rows.append(
            (
                a["title"] + (" (measured)" if a["measured"] else ""),
                a["threshold"],
                kpi_text(a["key"], a["threshold"], a["value"]),
                a["status"],
                kpi_text(b["key"], b["threshold"], b["value"]),
                b["status"],
                n,
                note,
            )
        )
    return Table(title, columns, numeric, tuple(rows), ("",) * len(rows))
