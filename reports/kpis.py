"""The KPIs of one arm with one exit, each PASS, FAIL or N/A with its value and sample size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from feature_repo.constants import JUDGE

from .arm_stats import ExitStats
from .calibration_report import CalibrationReport
from .funnel import Rejection
from .kpi_limits import MIN_JUDGED, KpiLimit, kpi_limits
from .overfitting import Overfitting
from .statistics import deflated_sharpe

__all__ = ["MIN_JUDGED", "Kpi", "KpiContext", "Status", "kpi_text", "kpis"]

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


def _kpi(key: str, limit: KpiLimit, value: float, n: int) -> Kpi:
    status, note = _judge(limit.holds(value), value, n, limit.least)
    return Kpi(key, limit.title, status, float(value), limit.text, n, note)


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
    limits, n = kpi_limits(profile), stats.trades
    of = {t.sig_type: t for t in stats.by_type}
    momentum, divergence = of["momentum"], of["divergence"]
    plain = {
        "trades": (n, n),
        "ir_trade": (stats.ir_trade.value, n),
        "ir_stressed": (stats.ir_stressed.value, n),
        "ir_day": (stats.ir_day.value, stats.days),
        "win_rate_momentum": (momentum.win_rate, momentum.trades),
        "payoff_momentum": (momentum.payoff, momentum.trades),
        "win_rate_divergence": (divergence.win_rate, divergence.trades),
        "cost_share": (stats.cost_share, n),
        "rejection": (rejected.rate, rejected.passed_liquidity),
        "handover": (stats.handover_share, stats.divergence_trades),
    }
    return (
        *(_kpi(key, limits[key], *of_key) for key, of_key in plain.items()),
        _latency_kpi(limits["e2e_p95"], latency),
        _ece_kpi(limits["ece"], model, context.calibration),
        _dsr_kpi(limits["dsr"], stats, context),
        _pbo_kpi(limits["pbo"], context.pbo),
    )


def _na(key: str, limit: KpiLimit, why: str, n: int = 0, *, measured: bool = False) -> Kpi:
    return Kpi(key, limit.title, "N/A", float("nan"), limit.text, n, why, measured)


def _latency_kpi(limit: KpiLimit, latency: Mapping[str, Mapping]) -> Kpi:
    if not latency:
        return _na("e2e_p95", limit, "no end-to-end latency was measured for this arm", measured=True)
    n = sum(int(row["n"]) for row in latency.values())
    name, worst = max(latency.items(), key=lambda item: item[1]["p95_ms"] / item[1]["budget_ms"])
    ok = worst["p95_ms"] <= worst["budget_ms"]
    status, why = _judge(ok, worst["p95_ms"], n, limit.least)
    note = why or f"{name}, budget {worst['budget_ms']:g} ms; event to decision"
    return Kpi("e2e_p95", limit.title, status, float(worst["p95_ms"]), limit.text, n, note, measured=True)


def _ece_kpi(limit: KpiLimit, model: bool, calibration: CalibrationReport) -> Kpi:
    if not model:
        return _na("ece", limit, "no model in this arm")
    if calibration.reason_na:
        return _na("ece", limit, calibration.reason_na)
    return _kpi("ece", limit, calibration.ece, calibration.n)


def _dsr_kpi(limit: KpiLimit, stats: ExitStats, context: KpiContext) -> Kpi:
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
    kpi = _kpi("dsr", limit, value, stats.trades)
    return replace(kpi, note=kpi.note or f"{tried} trials counted")


def _pbo_kpi(limit: KpiLimit, pbo: Overfitting | None) -> Kpi:
    if pbo is None:
        return _na("pbo", limit, "not computed")
    if pbo.reason_na:
        return _na("pbo", limit, pbo.reason_na, pbo.n_blocks)
    note = f"{pbo.n_strategies} strategies of this fee tier, {pbo.n_blocks} blocks of {JUDGE.block_s // 60} min"
    status: Status = "PASS" if limit.holds(pbo.value) else "FAIL"
    return Kpi("pbo", limit.title, status, pbo.value, limit.text, pbo.n_blocks, note)
