"""The rules of a promotion, from promotion.json or from the decision itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from reports.kpis import kpi_text

from .cell import DASH, Table, cut

__all__ = ["rule_table", "rule_value"]

_MOST_RULES = 200


def rule_table(promotion: Mapping) -> Table:
    """One row a rule. ``promotion`` may be what a damaged file held: what is missing is a dash."""
    found = promotion.get("rules")
    rules = [r for r in found if isinstance(r, Mapping)] if isinstance(found, list | tuple) else []
    rows = tuple(
        (
            _text(r, "title"),
            _text(r, "threshold"),
            rule_value(r),
            _text(r, "status"),
            _text(r, "note", "") if r.get("blocks") is not False else f"does not block; {_text(r, 'note', '')}",
        )
        for r in rules[:_MOST_RULES]
    )
    simulated = "SIMULATED DATA: " if promotion.get("simulated") is not False else ""
    word = "promoted" if promotion.get("promoted") is True else "stays a candidate"
    return Table(
        f"{simulated}rules of a promotion: {word}",
        ("rule", "wanted", "value", "", "note"),
        (False, False, True, False, False),
        rows,
        tuple("na" if row[3] == "N/A" else "" for row in rows),
        "each is judged from metrics.json; N/A stands against a promotion like FAIL"
        if rows
        else "N/A: no rule was judged",
    )


def rule_value(rule: Mapping) -> str:
    """The value in the unit of its threshold, a dash where there is none."""
    value, threshold = rule.get("value"), str(rule.get("threshold"))
    # A damaged file may hold an integer that no float can.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return DASH
    if "bps" in threshold:
        return f"{value:+.3g} bps"
    if rule.get("key") == "verdict":
        return f"{value:.0f} reasons"
    return kpi_text(str(rule.get("key")), threshold, value)


def _text(rule: Mapping, name: str, other: str = DASH) -> str:
    value = rule.get(name)
    return cut(value) if isinstance(value, str) else other
