"""Numbers of one arm with one exit: the trades of its portfolio book, and its share of the candidate book."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.constants import JUDGE, ORDER
from runtime import metrics
from runtime.candidate import SigType

from .records import EXITS, ArmInput
from .statistics import Interval, PairedDifference, mean_and_ir_intervals, paired_block_bootstrap

__all__ = ["ExitStats", "TypeStats", "candidate_net", "exit_stats", "latency_stats", "paired", "stressed_net"]

NAN = float("nan")

E2E_BUDGET_MS = {
    SigType.MOMENTUM: 15.0,
    SigType.LIQUIDATION: 15.0,
    SigType.RECLAIM: 30.0,
    SigType.REVERSION: 50.0,
    SigType.DIVERGENCE: 50.0,
}


@dataclass(frozen=True)
class TypeStats:
    """Filled trades of one signal type."""

    sig_type: str
    trades: int
    win_rate: float
    payoff: float
    net_bps: float


@dataclass(frozen=True)
class ExitStats:
    """One arm, one exit. NaN: not defined with these trades. Returns are at equal notional unless named sized.

    Attributes
    ----------
    trades, unfilled, busy, no_data : rows of the portfolio book by status
    fill_rate : filled / orders that were sent (filled or unfilled)
    win_rate, payoff : after costs; mean win / mean loss
    gross_bps .. net_bps : means a trade
    ir_trade : mean / std of the net returns, with its interval
    stressed_bps, ir_stressed : costs x 1.5, decisions unchanged
    max_drawdown_bps : of the cumulated net returns
    cost_share : mean cost / mean expected reward of the filled trades
    handover_share, divergence_trades : divergence trades inside hand-over windows
    ir_day : of sized daily P&L / base notional, annualised; NaN below ``JudgeDefaults.min_days``
    days : UTC days spanned by the candidates
    sized_bps : net result weighted with the gate's sizes; sized_pnl in quote currency
    candidate_trades, candidate_bps : the allowed candidates, each on its own
    net : float64 [trades], and t_end_ns, in time order: for curves, not for the page
    """

    exit: str
    trades: int
    unfilled: int
    busy: int
    no_data: int
    fill_rate: float
    win_rate: float
    payoff: float
    gross_bps: float
    fee_bps: float
    slip_bps: float
    funding_bps: float
    net_bps: Interval
    ir_trade: Interval
    stressed_bps: float
    ir_stressed: float
    max_drawdown_bps: float
    cost_share: float
    divergence_trades: int
    handover_share: float
    ir_day: float
    days: int
    sized_bps: float
    sized_pnl: float
    timeout_share: float
    candidate_trades: int
    candidate_bps: float
    by_type: tuple[TypeStats, ...]
    net: np.ndarray
    t_end_ns: np.ndarray


def stressed_net(trades: np.ndarray, factor: float = JUDGE.cost_stress) -> np.ndarray:
    """Net bps with every cost ``factor`` times as large; what was earned (rebates, received funding) stays as it is."""
    return metrics.reprice(*(trades[f] for f in ("gross_bps", "slip_bps", "fee_bps", "funding_bps")), factor)


def _mean(x: np.ndarray) -> float:
    return float(np.mean(x)) if len(x) else NAN


def exit_stats(arm: ArmInput, exit_: str, *, seed: int = 7, draws: int = JUDGE.bootstrap_draws) -> ExitStats:
    """Everything the matrix and the KPIs need of one exit.

    Raises
    ------
    ValueError
        When the arm was not run, or a filled trade has a net result that is not finite.
    """
    if arm.reason_na or arm.decisions is None:
        raise ValueError(f"{arm.name} was not run: {arm.reason_na}")
    allowed = arm.decisions[arm.decisions["allow"]]
    book = arm.portfolio_book[exit_]
    filled = book["status"] == 0
    trades, taken = book[filled], allowed[filled]
    net = trades["net_bps"].astype(np.float64)
    if not np.isfinite(net).all():
        raise ValueError(
            f"{arm.name}: {int((~np.isfinite(net)).sum())} filled trades of exit {exit_!r} have no net result"
        )
    mean, ir = mean_and_ir_intervals(net, seed=seed, draws=draws)
    pnl = taken["size"] * net / 1e4
    decided = arm.decisions["ts_ns"]
    span = (int(decided[0]), int(decided[-1])) if len(decided) else None
    stressed = stressed_net(trades)
    divergence = taken["sig_type"] == SigType.DIVERGENCE
    cost_share = NAN
    if arm.facts is not None and len(net):
        reward = _mean(arm.facts["exp_reward_bps"][arm.decisions["allow"]][filled])
        cost = _mean(trades["fee_bps"] + trades["slip_bps"] + trades["funding_bps"])
        cost_share = cost / reward if reward > 0 else NAN
    own = candidate_net(arm, exit_)
    own = own[np.isfinite(own)]
    sent = int(filled.sum() + (book["status"] == 1).sum())
    by_type = []
    for sig in SigType:
        x = net[taken["sig_type"] == sig]
        by_type.append(TypeStats(sig.name.lower(), len(x), metrics.win_rate(x), metrics.payoff(x), _mean(x)))
    return ExitStats(
        exit=exit_,
        trades=len(net),
        unfilled=int((book["status"] == 1).sum()),
        busy=int((book["status"] == 2).sum()),
        no_data=int((book["status"] == 3).sum()),
        fill_rate=len(net) / sent if sent else NAN,
        win_rate=metrics.win_rate(net),
        payoff=metrics.payoff(net),
        gross_bps=_mean(trades["gross_bps"]),
        fee_bps=_mean(trades["fee_bps"]),
        slip_bps=_mean(trades["slip_bps"]),
        funding_bps=_mean(trades["funding_bps"]),
        net_bps=mean,
        ir_trade=ir,
        stressed_bps=_mean(stressed),
        ir_stressed=metrics.ir_trade(stressed),
        max_drawdown_bps=metrics.max_drawdown(net) if len(net) else NAN,
        cost_share=cost_share,
        divergence_trades=int(divergence.sum()),
        handover_share=_mean(taken["session"][divergence]),
        ir_day=metrics.ir_day(trades["t_end_ns"], pnl, ORDER.base_size_usd, span_ns=span),
        days=len(metrics.daily_pnl(trades["t_end_ns"], pnl, span_ns=span)[0]),
        sized_bps=float(pnl.sum() / taken["size"].sum() * 1e4) if taken["size"].sum() > 0 else NAN,
        sized_pnl=float(pnl.sum()),
        timeout_share=_mean(trades["outcome"] == 2),
        candidate_trades=len(own),
        candidate_bps=_mean(own),
        by_type=tuple(by_type),
        net=net,
        t_end_ns=trades["t_end_ns"].astype(np.int64),
    )


def candidate_net(arm: ArmInput, exit_: str) -> np.ndarray:
    """float64 [N]: net bps of each candidate's own trade, NaN where denied or not filled."""
    book = arm.candidate_book[exit_]
    return np.where(arm.decisions["allow"] & (book["status"] == 0), book["net_bps"], np.nan)


def paired(
    model: ArmInput, none: ArmInput, *, seed: int = 7, draws: int = JUDGE.bootstrap_draws
) -> dict[str, PairedDifference]:
    """Model minus no model on the candidate book, for each exit, over the profile's own candidates.

    Raises
    ------
    ValueError
        When the two arms did not judge the same candidates.
    """
    m, b = model.decisions, none.decisions
    if len(m) != len(b) or any(np.any(m[f] != b[f]) for f in ("ts_ns", "side", "sig_type")):
        raise ValueError(f"{model.name} and {none.name} did not judge the same candidates: no paired difference")
    mine = model.in_tier
    return {
        exit_: paired_block_bootstrap(
            m["ts_ns"][mine],
            candidate_net(model, exit_)[mine],
            candidate_net(none, exit_)[mine],
            seed=seed,
            draws=draws,
        )
        for exit_ in EXITS
    }


def latency_stats(arm: ArmInput) -> dict[str, dict[str, float | int]]:
    """Measured milliseconds from the gate's call to its answer, by signal type, with the type's budget.

    Where P was asked at all, only the decisions in which it was are counted: a denial by an early guard costs nothing
    and would flatter the tail. Not reproducible: another machine, or another run, measures something else.
    """
    out: dict[str, dict[str, float | int]] = {}
    if arm.decisions is None:
        return out
    asked = np.isfinite(arm.decisions["p"])
    timed = arm.in_tier & asked if (arm.in_tier & asked).any() else arm.in_tier
    for sig in SigType:
        us = arm.decisions["latency_us"][timed & (arm.decisions["sig_type"] == sig)]
        ms = us[np.isfinite(us) & (us > 0)] / 1e3
        if not len(ms):
            continue
        p50, p95, p99 = np.percentile(ms, [50, 95, 99])
        budget = E2E_BUDGET_MS[sig]
        out[sig.name.lower()] = {
            "n": len(ms),
            "p50_ms": float(p50),
            "p95_ms": float(p95),
            "p99_ms": float(p99),
            "budget_ms": budget,
            "share_in_budget": float((ms <= budget).mean()),
        }
    return out
