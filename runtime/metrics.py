"""Strategy metrics on plain arrays. What cannot be said is NaN; whoever prints turns that into N/A with the count."""

from __future__ import annotations

import math

import numpy as np

from feature_repo.constants import JUDGE, SECOND_NS

__all__ = [
    "daily_pnl",
    "ir_day",
    "ir_trade",
    "max_drawdown",
    "payoff",
    "reprice",
    "win_rate",
]

_DAY_NS = 86_400 * SECOND_NS
_DAYS_A_YEAR = 365  # crypto trades every day


def ir_trade(net_bps: np.ndarray) -> float:
    """Mean over standard deviation (ddof 1) of the trades' net returns; NaN below two trades or without spread.

    Parameters
    ----------
    net_bps : float64 [N], per notional
    """
    net = np.asarray(net_bps, dtype=np.float64)
    return _ratio(net, 1.0)


def ir_day(
    t_ns: np.ndarray,
    pnl: np.ndarray,
    base_notional: float,
    *,
    span_ns: tuple[int, int] | None = None,
    min_days: int = JUDGE.min_days,
) -> float:
    """Annualised information ratio of daily results: mean / std (ddof 1) x sqrt(365).

    Parameters
    ----------
    t_ns : int64 [N], when each trade ended, ns UTC
    pnl : float64 [N], sized result in quote currency
    base_notional : quote currency that one unit of size stands for
    span_ns : first and last instant that was traded; its days without trades count as zero. By default the trades' own
    min_days : NaN below this many days

    Returns
    -------
    float, NaN below ``min_days`` days or without spread
    """
    _, daily = daily_pnl(t_ns, pnl, span_ns=span_ns)
    if daily.size < max(min_days, 2):
        return math.nan
    return _ratio(daily / base_notional, math.sqrt(_DAYS_A_YEAR))


def daily_pnl(
    t_ns: np.ndarray, pnl: np.ndarray, *, span_ns: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sum by UTC day.

    Parameters
    ----------
    t_ns : int64 [N], ns UTC
    pnl : float64 [N]
    span_ns : first and last instant; trades beyond it extend it

    Returns
    -------
    days : int64 [D], days since 1970-01-01, every one from the first to the last
    sums : float64 [D], 0 on days without trades
    """
    days = np.asarray(t_ns, dtype=np.int64) // _DAY_NS
    ends = list(days) if days.size else []
    ends += [int(t) // _DAY_NS for t in span_ns] if span_ns is not None else []
    if not ends:
        return np.empty(0, np.int64), np.empty(0)
    first, last = int(min(ends)), int(max(ends))
    sums = np.bincount(days - first, weights=np.asarray(pnl, dtype=np.float64), minlength=last - first + 1)
    return np.arange(first, last + 1), sums.astype(np.float64)


def win_rate(net_bps: np.ndarray) -> float:
    """Share of trades with a net gain; NaN without trades."""
    net = np.asarray(net_bps, dtype=np.float64)
    return float(np.mean(net > 0)) if net.size else math.nan


def payoff(net_bps: np.ndarray) -> float:
    """Mean gain over mean loss, the latter positive; a zero is neither. NaN without a gain or without a loss."""
    net = np.asarray(net_bps, dtype=np.float64)
    gains, losses = net[net > 0], net[net < 0]
    return float(gains.mean() / -losses.mean()) if gains.size and losses.size else math.nan


def max_drawdown(pnl: np.ndarray) -> float:
    """Largest fall of the cumulated result below its running high, which starts at 0.

    Parameters
    ----------
    pnl : float64 [N], in the order in which the trades ended, any unit

    Returns
    -------
    float >= 0 in the same unit; 0 without trades
    """
    equity = np.concatenate([[0.0], np.cumsum(np.asarray(pnl, dtype=np.float64))])
    return float(np.max(np.maximum.accumulate(equity) - equity))


def reprice(
    gross_bps: np.ndarray, slip_bps: np.ndarray, fee_bps: np.ndarray, funding_bps: np.ndarray, factor: float
) -> np.ndarray:
    """Net returns with costs times ``factor``, decisions unchanged.

    Parameters
    ----------
    gross_bps, slip_bps, fee_bps, funding_bps : float64 [N], costs positive
    factor : at least 1

    Returns
    -------
    float64 [N]. A negative cost (a better price, funding received) is kept as it is: stress never adds to a gain.
    """
    net = np.array(gross_bps, dtype=np.float64)
    for cost in (slip_bps, fee_bps, funding_bps):
        cost = np.asarray(cost, dtype=np.float64)
        net -= np.where(cost > 0, factor * cost, cost)
    return net


def _ratio(x: np.ndarray, scale: float) -> float:
    if x.size < 2:
        return math.nan
    deviation = float(x.std(ddof=1))
    # Equal returns leave rounding behind, and a ratio to that would be a made-up number.
    if not deviation > 1e-12 * max(1e-300, float(np.abs(x).max())):
        return math.nan
    return float(x.mean()) / deviation * scale
