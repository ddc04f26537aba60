"""The KPIs of one arm with one exit, each PASS, FAIL or N/A with its value and sample size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from feature_repo.constants import JUDGE
from runtime.candidate import SigType

from .arm_stats import ExitStats
from .calibration_report import MIN_CALIBRATION, CalibrationReport
from .funnel import Rejection
from .overfitting import Overfitting
from .statistics import deflated_sharpe

__all__ = ["MIN_JUDGED", "REJECTION_BANDS", "Kpi", "KpiContext", "kpi_text", "kpis"]

MIN_JUDGED = JUDGE.bucket_min_trades
"""Trades (or decisions) below which a rate or a ratio is shown but not judged."""
REJECTION_BANDS = {"A": (0.70, 0.90), "B": (0.50, 0.70), "C": (0.40, 0.60)}

DSR_MIN = 0.95
PBO_MAX = 0.2
WIN_RATE_MIN = {SigType.DIVERGENCE: 0.30, SigType.MOMENTUM: 0.45}
PAYOFF_MIN = 1.2
COST_SHARE_MAX = 0.40
HANDOVER_MIN = 0.60

Status = Literal["PASS", "FAIL", "N/A"]


@dataclass(frozen=True)
class Kpi:
    """One judged number.

    Attributes
    ----------
    key : stable name for machines; title : for people
    value : NaN where there is none; threshold : as text, with its relation
    n : sample size behind the value
    measured : depends on this machine's speed, not reproducible
    note : why it is N/A, or how to read it
    """

    key: str
    title: str
    status: Status
    value: float
    threshold: str
    n: int
    note: str = ""
    measured: bool = False


@dataclass(frozen=True)
class KpiContext:
    """What the KPIs need beside the arm's own trades.

    Attributes
    ----------
    trial_sharpes : mean / std a trade of the strategies tried at the same fees, with enough trades to mean anything
    n_trials : how many were tried in all, counted by the caller; never below the known ones
    pbo : of the strategies at the same fees, None where it was not computed
    """

    calibration: CalibrationReport
    trial_sharpes: Sequence[float] = ()
    n_trials: int = 0
    pbo: Overfitting | None = None


def kpi_text(key: str, threshold: str, value: float | None) -> str:
    """The value in the unit of its threshold, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    if key == "trades":
        return f"{value:,.0f}"
    if key == "e2e_p95":
        return f"{value:.2f} ms"
    return f"{value:.1%}" if "%" in threshold else f"{value:.3f}"


def _judge(ok: bool, value: float, n: int, least: int) -> tuple[Status, str]:
    if n < least:
        return "N/A", f"{n} of at least {least} needed"
    if not math.isfinite(value):
        return "N/A", "not defined for these trades"
    return ("PASS" if ok else "FAIL"), ""


def _kpi(key: str, title: str, ok: bool, value: float, threshold: str, n: int, least: int = MIN_JUDGED) -> Kpi:
    status, note = _judge(ok, value, n, least)
    return Kpi(key, title, status, float(value), threshold, n, note)


def kpis(
    profile: str,
    model: bool,
    stats: ExitStats,
    rejected: Rejection,
    latency: Mapping[str, Mapping],
    context: KpiContext,
) -> tuple[Kpi, ...]:
    """All KPIs of one arm with one exit, always the same keys in the same order.

    Parameters
    ----------
    latency : ``latency_stats`` of this profile and model; empty where nothing was timed
    """
    n = stats.trades
    out = [
        _kpi("trades", "shadow trades", n >= JUDGE.min_trades, float(n), f">= {JUDGE.min_trades}", n, 0),
        _kpi("ir_trade", "after-cost IR a trade", stats.ir_trade.value >= 0, stats.ir_trade.value, ">= 0", n),
        _kpi(
            "ir_stressed",
            f"IR a trade at costs x {JUDGE.cost_stress:g}",
            stats.ir_stressed.value >= 0,
            stats.ir_stressed.value,
            ">= 0",
            n,
        ),
        _kpi(
            "ir_day",
            "IR of days, annualised",
            stats.ir_day.value >= 0,
            stats.ir_day.value,
            ">= 0",
            stats.days,
            JUDGE.min_days,
        ),
    ]
    for t in stats.by_type:
        sig = SigType[t.sig_type.upper()]
        if sig in WIN_RATE_MIN:
            least = WIN_RATE_MIN[sig]
            title = f"win rate, {t.sig_type}"
            ok = t.win_rate >= least
            out.append(_kpi(f"win_rate_{t.sig_type}", title, ok, t.win_rate, f">= {least:.0%}", t.trades))
        if sig is SigType.MOMENTUM:
            out.append(
                _kpi(
                    "payoff_momentum", "payoff, momentum", t.payoff > PAYOFF_MIN, t.payoff, f"> {PAYOFF_MIN}", t.trades
                )
            )
    band = REJECTION_BANDS[profile[:1]]
    out += [
        _kpi(
            "cost_share",
            "cost / expected reward",
            stats.cost_share <= COST_SHARE_MAX,
            stats.cost_share,
            f"<= {COST_SHARE_MAX:.0%}",
            n,
        ),
        _kpi(
            "rejection",
            "rejected by slippage, EV or P",
            band[0] <= rejected.rate <= band[1],
            rejected.rate,
            f"{band[0]:.0%} to {band[1]:.0%}",
            rejected.passed_liquidity,
        ),
        _kpi(
            "handover",
            "divergence trades in hand-over windows",
            stats.handover_share >= HANDOVER_MIN,
            stats.handover_share,
            f">= {HANDOVER_MIN:.0%}",
            stats.divergence_trades,
        ),
        _latency_kpi(latency),
        _ece_kpi(model, context.calibration),
        _dsr_kpi(stats, context),
        _pbo_kpi(context.pbo),
    ]
    return tuple(out)


def _latency_kpi(latency: Mapping[str, Mapping]) -> Kpi:
    title, threshold = "end-to-end latency P95", "<= 15 / 30 / 50 ms by type"
    n = sum(int(row["n"]) for row in latency.values())
    if not latency:
        return Kpi(
            "e2e_p95",
            title,
            "N/A",
            float("nan"),
            threshold,
            0,
            "no end-to-end latency was measured for this arm",
            measured=True,
        )
    name, worst = max(latency.items(), key=lambda item: item[1]["p95_ms"] / item[1]["budget_ms"])
    ok = worst["p95_ms"] <= worst["budget_ms"]
    status, why = _judge(ok, worst["p95_ms"], n, MIN_JUDGED)
    note = why or f"{name}, budget {worst['budget_ms']:g} ms; event to decision"
    return Kpi("e2e_p95", title, status, float(worst["p95_ms"]), threshold, n, note, measured=True)


def _ece_kpi(model: bool, calibration: CalibrationReport) -> Kpi:
    title, threshold = "calibration error (debiased)", f"<= {JUDGE.ece_max}"
    if not model:
        return Kpi("ece", title, "N/A", float("nan"), threshold, 0, "no model in this arm")
    if calibration.reason_na:
        return Kpi("ece", title, "N/A", float("nan"), threshold, 0, calibration.reason_na)
    return _kpi(
        "ece", title, calibration.ece <= JUDGE.ece_max, calibration.ece, threshold, calibration.n, MIN_CALIBRATION
    )


def _dsr_kpi(stats: ExitStats, context: KpiContext) -> Kpi:
    known = np.array([s for s in context.trial_sharpes if math.isfinite(s)])
    tried = max(context.n_trials, len(known), 1)
    variance = float(known.var(ddof=1)) if len(known) > 1 else 0.0
    value = float("nan")
    if stats.trades > 2 and math.isfinite(stats.ir_trade.value):
        z = (stats.net - stats.net.mean()) / stats.net.std()
        value = deflated_sharpe(
            stats.ir_trade.value,
            stats.trades,
            n_trials=tried,
            trials_variance=variance,
            skew=float((z**3).mean()),
            kurtosis=float((z**4).mean()),
        ).value
    kpi = _kpi("dsr", "deflated Sharpe ratio", value >= DSR_MIN, value, f">= {DSR_MIN}", stats.trades)
    return Kpi(**{**kpi.__dict__, "note": kpi.note or f"{tried} trials counted"})


def _pbo_kpi(pbo: Overfitting | None) -> Kpi:
    title, threshold = "probability of backtest overfitting", f"<= {PBO_MAX}"
    if pbo is None:
        return Kpi("pbo", title, "N/A", float("nan"), threshold, 0, "not computed")
    if pbo.reason_na:
        return Kpi("pbo", title, "N/A", float("nan"), threshold, pbo.n_blocks, pbo.reason_na)
    note = f"{pbo.n_strategies} strategies of this fee tier, {pbo.n_blocks} blocks of {JUDGE.block_s // 60} min"
    return Kpi("pbo", title, "PASS" if pbo.value <= PBO_MAX else "FAIL", pbo.value, threshold, pbo.n_blocks, note)
