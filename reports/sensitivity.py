"""What the result hangs on: net bps of an arm when one knob is turned and the rest stays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .statistics import Interval
from .tables.cell import Table, arm_name, interval_text, number

__all__ = ["KNOBS", "SensitivityPoint", "sensitivity_rows", "sensitivity_table"]

KNOBS = {
    "tau": "tau",
    "latency_ms": "order latency, ms",
    "fee_bps": "taker fee of a leg, bps",
    "base_size_usd": "base size, USD",
}
"""Title of each knob, in the order in which they are shown."""


@dataclass(frozen=True)
class SensitivityPoint:
    """One arm at one setting of one knob.

    Attributes
    ----------
    knob : a key of ``KNOBS``; value : its setting, NaN where no single number says it
    label : names a setting that no number says, such as "tape's feed latency"; empty otherwise
    fee_tier : empty along fees, where the value says it
    trades : filled trades of the portfolio book
    net_bps : mean net bps a trade with its 95 % bounds, NaN where there is too little
    filled_share : filled notional / wanted notional, NaN where nothing was wanted or it is not known
    pnl_usd : result in quote currency

    Raises
    ------
    ValueError
        For an unknown knob.
    """

    knob: str
    value: float
    label: str
    fee_tier: str
    profile: str
    model: bool
    trades: int
    net_bps: Interval
    filled_share: float
    pnl_usd: float

    def __post_init__(self) -> None:
        if self.knob not in KNOBS:
            raise ValueError(f"sensitivity has no knob {self.knob!r}; known are {', '.join(KNOBS)}")


def sensitivity_rows(points: Sequence[SensitivityPoint]) -> list[dict[str, object]]:
    """The points for metrics.json, by knob, arm and value; what is not finite is None."""
    known = list(KNOBS)

    def order(p: SensitivityPoint) -> tuple:
        # What has no value comes last, so that a curve's points follow each other.
        last = math.isnan(p.value)
        return known.index(p.knob), p.fee_tier, p.profile, p.model, last, 0.0 if last else p.value, p.label

    return [_row(p) for p in sorted(points, key=order)]


def _row(p: SensitivityPoint) -> dict[str, object]:
    return {
        "knob": p.knob,
        "value": _finite(p.value),
        "label": p.label,
        "fee_tier": p.fee_tier,
        "profile": p.profile,
        "model": bool(p.model),
        "trades": int(p.trades),
        "net_bps": {bound: _finite(v) for bound, v in p.net_bps._asdict().items()},
        "filled_share": _finite(p.filled_share),
        "pnl_usd": _finite(p.pnl_usd),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def sensitivity_table(metrics: Mapping) -> Table:
    """Every point as text; no rows where nothing was computed."""
    section = metrics.get("sensitivity") or {}
    rows = tuple(
        (
            KNOBS[p["knob"]],
            p["label"] or number(p["value"], ",g"),
            arm_name(p).strip(),
            f"{p['trades']:,}",
            interval_text(p["net_bps"]),
            number(p["filled_share"], ".0%"),
            number(p["pnl_usd"], "+,.0f"),
        )
        for p in section.get("points", ())
    )
    return Table(
        "Sensitivity",
        ("knob", "setting", "arm", "trades", "net bps [95 %]", "filled", "P&L, USD"),
        (False, True, False, *(True,) * 4),
        rows,
        ("",) * len(rows),
        (section.get("note") or "") if rows else "N/A: sensitivity was not computed",
    )
