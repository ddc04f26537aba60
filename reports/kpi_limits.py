"""What each KPI must be, and from which sample size on it is judged: one table for the report and the promotion."""

from __future__ import annotations

import math
from dataclasses import dataclass

from feature_repo.constants import JUDGE

from .calibration_report import MIN_CALIBRATION
from .overfitting import MIN_PBO_BLOCKS

__all__ = ["MIN_JUDGED", "PBO_MAX", "REJECTION_BANDS", "KpiLimit", "kpi_limits"]

MIN_JUDGED = JUDGE.bucket_min_trades
"""Trades (or decisions) below which a rate or a ratio is shown but not judged."""
REJECTION_BANDS = {"A": (0.70, 0.90), "B": (0.50, 0.70), "C": (0.40, 0.60)}

DSR_MIN = 0.95
PBO_MAX = 0.2
WIN_RATE_MOMENTUM_MIN = 0.45
WIN_RATE_DIVERGENCE_MIN = 0.30
PAYOFF_MIN = 1.2
COST_SHARE_MAX = 0.40
HANDOVER_MIN = 0.60


@dataclass(frozen=True)
class KpiLimit:
    """Bounds of one KPI.

    Attributes
    ----------
    title : for people
    text : the bounds, with their relation and unit
    low, high : inclusive; ``strict``: the value must be above ``low``
    least : sample size below which the KPI is N/A
    """

    title: str
    text: str
    low: float = -math.inf
    high: float = math.inf
    strict: bool = False
    least: int = MIN_JUDGED

    def holds(self, value: float) -> bool:
        """Whether the value is within the bounds; NaN is not."""
        return bool((value > self.low if self.strict else value >= self.low) and value <= self.high)


def kpi_limits(profile: str) -> dict[str, KpiLimit]:
    """Bounds by key, in the order of the KPIs. Each type's latency has its own budget: ``e2e_p95`` has none here.

    Parameters
    ----------
    profile : "A", "B" or "C", with or without a variant's name
    """
    low, high = REJECTION_BANDS[profile[:1]]
    return {
        "trades": KpiLimit("shadow trades", f">= {JUDGE.min_trades}", JUDGE.min_trades, least=0),
        "ir_trade": KpiLimit("after-cost IR a trade", ">= 0", 0.0),
        "ir_stressed": KpiLimit(f"IR a trade at costs x {JUDGE.cost_stress:g}", ">= 0", 0.0),
        "ir_day": KpiLimit("IR of days, annualised", ">= 0", 0.0, least=JUDGE.min_days),
        "win_rate_momentum": _rate("win rate, momentum", WIN_RATE_MOMENTUM_MIN),
        "payoff_momentum": KpiLimit("payoff, momentum", f"> {PAYOFF_MIN}", PAYOFF_MIN, strict=True),
        "win_rate_divergence": _rate("win rate, divergence", WIN_RATE_DIVERGENCE_MIN),
        "cost_share": KpiLimit("cost / expected reward", f"<= {COST_SHARE_MAX:.0%}", high=COST_SHARE_MAX),
        "rejection": KpiLimit("rejected by slippage, EV or P", f"{low:.0%} to {high:.0%}", low, high),
        "handover": _rate("divergence trades in hand-over windows", HANDOVER_MIN),
        "e2e_p95": KpiLimit("end-to-end latency P95", "<= 15 / 30 / 50 ms by type"),
        "ece": KpiLimit(
            "calibration error (debiased)", f"<= {JUDGE.ece_max}", high=JUDGE.ece_max, least=MIN_CALIBRATION
        ),
        "dsr": KpiLimit("deflated Sharpe ratio", f">= {DSR_MIN}", DSR_MIN),
        "pbo": KpiLimit("probability of backtest overfitting", f"<= {PBO_MAX}", high=PBO_MAX, least=MIN_PBO_BLOCKS),
    }


def _rate(title: str, least: float) -> KpiLimit:
    return KpiLimit(title, f">= {least:.0%}", least)
