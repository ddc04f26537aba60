"""Numbers of one arm with one exit: the trades of its portfolio book, and its share of the candidate book."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from feature_repo.constants import JUDGE, ORDER
from runtime import metrics
from runtime.candidate import SigType

from .records import EXITS, ArmInput
from .statistics import Interval, PairedDifference, joint_intervals, paired_block_bootstrap

__all__ = ["UNKNOWN", "ExitStats", "TypeStats", "candidate_net", "exit_stats", "paired", "stressed_net"]

NAN = float("nan")
UNKNOWN = Interval(NAN, NAN, NAN)
_YEAR = math.sqrt(365)  # as ``runtime.metrics.ir_day``: crypto trades every day
_COSTS = ("gross_bps", "slip_bps", "fee_bps", "funding_bps")


@dataclass(frozen=True)
class TypeStats:
    """One signal type: means a filled trade in bps, NaN without one; ``fill_rate``, ``cost_share``,
    ``handover_share`` as in ``ExitStats``.
    """

    sig_type: str
    trades: int
    fill_rate: float
    win_rate: float
    payoff: float
    gross_bps: float
    fee_bps: float
    slip_bps: float
    est_slip_bps: float
    funding_bps: float
    net_bps: float
    cost_share: float
    handover_share: float


@dataclass(frozen=True)
class ExitStats:
    """One arm, one exit. NaN: not defined with these trades. Returns are at equal notional unless named sized.

    Attributes
    ----------
    trades, unfilled, busy, no_data : rows of the portfolio book by status
    few : how many trades of ``JudgeDefaults.min_trades`` there are; empty when there are enough
    fill_rate : filled / orders that were sent (filled or unfilled)
    win_rate, payoff : after costs; mean win / mean loss
    gross_bps .. net_bps : means a trade
    est_slip_bps : mean of what the gate was told the slippage would be, of the filled trades that have an estimate
    ir_trade : mean / std of the net returns, with its interval
    stressed_bps, ir_stressed : the same at costs x 1.5, decisions unchanged, from the same draws
    max_drawdown_bps : of the cumulated net returns
    max_drawdown_pct : of the sized result, in % of the stated equity
    cost_share : mean cost / mean expected reward of the filled trades
    handover_trades_share : of all trades, inside hand-over windows
    handover_share, divergence_trades : of the divergence trades
    ir_day, ir_day_stressed : of sized daily P&L / base notional, annualised, days drawn in blocks; NaN below
        ``JudgeDefaults.min_days``
    days : UTC days spanned by the candidates; few_days: as ``few``
    sized_bps : net result weighted with the gate's sizes; sized_pnl in quote currency
    candidate_trades, candidate_bps : the allowed candidates, each on its own
    net : float64 [trades], and t_end_ns, in time order: for curves, not for the page
    """

    exit: str
    trades: int
    unfilled: int
    busy: int
    no_data: int
    few: str
    fill_rate: float
    win_rate: float
    payoff: float
    gross_bps: float
    fee_bps: float
    slip_bps: float
    est_slip_bps: float
    funding_bps: float
    net_bps: Interval
    ir_trade: Interval
    stressed_bps: Interval
    ir_stressed: Interval
    max_drawdown_bps: float
    max_drawdown_pct: float
    cost_share: float
    handover_trades_share: float
    divergence_trades: int
    handover_share: float
    ir_day: Interval
    ir_day_stressed: Interval
    days: int
    few_days: str
    sized_bps: float
    sized_pnl: float
    timeout_share: float
    candidate_trades: int
    candidate_bps: float
    by_type: tuple[TypeStats, ...]
    net: np.ndarray
    t_end_ns: np.ndarray


def stressed_net(trades: np.ndarray) -> np.ndarray:
    """Net bps at costs x ``JudgeDefaults.cost_stress``; what was earned (rebates, received funding) stays as it is."""
    return metrics.reprice(*(trades[f] for f in _COSTS), JUDGE.cost_stress)


def _mean(x: np.ndarray) -> float:
    return float(np.mean(x)) if len(x) else NAN


def _finite_mean(x: np.ndarray) -> float:
    return _mean(x[np.isfinite(x)])


def _few(have: int, needed: int, what: str) -> str:
    return "" if have >= needed else f"{have} of {needed} {what}"


def _cost_share(trades: np.ndarray, reward: np.ndarray) -> float:
    expected = _mean(reward)
    return _mean(trades["fee_bps"] + trades["slip_bps"] + trades["funding_bps"]) / expected if expected > 0 else NAN


def exit_stats(arm: ArmInput, exit_: str, *, seed: int = 7, draws: int = JUDGE.bootstrap_draws) -> ExitStats:
    """Everything the matrix and the KPIs need of one exit.

    Raises
    ------
    ValueError
        When the arm was not run, or a filled trade has a result or a cost that is not finite.
    """
    if arm.reason_na:
        raise ValueError(f"{arm.name} was not run: {arm.reason_na}")
    allowed = arm.decisions[arm.decisions["allow"]]
    book = arm.portfolio_book[exit_]
    filled = book["status"] == 0
    trades, taken = book[filled], allowed[filled]
    net = trades["net_bps"].astype(np.float64)
    broken = ~np.isfinite(np.stack([trades[f] for f in ("net_bps", *_COSTS)])).all(axis=0)
    if broken.any():
        raise ValueError(f"{arm.name}: {int(broken.sum())} filled trades of exit {exit_!r} have no net result")
    reward = slip = np.full(len(net), np.nan)
    if arm.facts is not None:
        facts = arm.facts[arm.decisions["allow"]][filled]
        reward, slip = facts["exp_reward_bps"], facts["est_slip_bps"]
    stressed = stressed_net(trades)
    (mean, ir), (mean_x, ir_x) = joint_intervals(np.stack([net, stressed], axis=1), seed=seed, draws=draws)
    pnl = taken["size"] * net / 1e4
    ends = trades["t_end_ns"].astype(np.int64)
    days, (ir_day, ir_day_x) = _ir_days(arm, ends, (pnl, taken["size"] * stressed / 1e4), seed, draws)
    divergence = taken["sig_type"] == SigType.DIVERGENCE
    own = candidate_net(arm, exit_)
    own = own[np.isfinite(own)]
    sent = filled | (book["status"] == 1)
    equity = JUDGE.equity_multiple * ORDER.base_size_usd
    return ExitStats(
        exit=exit_,
        trades=len(net),
        unfilled=int((book["status"] == 1).sum()),
        busy=int((book["status"] == 2).sum()),
        no_data=int((book["status"] == 3).sum()),
        few=_few(len(net), JUDGE.min_trades, "trades"),
        fill_rate=_mean(filled[sent]),
        win_rate=metrics.win_rate(net),
        payoff=metrics.payoff(net),
        gross_bps=_mean(trades["gross_bps"]),
        fee_bps=_mean(trades["fee_bps"]),
        slip_bps=_mean(trades["slip_bps"]),
        est_slip_bps=_finite_mean(slip),
        funding_bps=_mean(trades["funding_bps"]),
        net_bps=mean,
        ir_trade=ir,
        stressed_bps=mean_x,
        ir_stressed=ir_x,
        max_drawdown_bps=metrics.max_drawdown(net) if len(net) else NAN,
        max_drawdown_pct=100.0 * metrics.max_drawdown(pnl) / equity if len(net) else NAN,
        cost_share=_cost_share(trades, reward),
        handover_trades_share=_mean(taken["session"]),
        divergence_trades=int(divergence.sum()),
        handover_share=_mean(taken["session"][divergence]),
        ir_day=ir_day,
        ir_day_stressed=ir_day_x,
        days=days,
        few_days=_few(days, JUDGE.min_days, "days"),
        sized_bps=float(pnl.sum() / taken["size"].sum() * 1e4) if taken["size"].sum() > 0 else NAN,
        sized_pnl=float(pnl.sum()),
        timeout_share=_mean(trades["outcome"] == 2),
        candidate_trades=len(own),
        candidate_bps=_mean(own),
        by_type=tuple(
            _type_stats(
                sig, trades[at], taken["session"][at], reward[at], slip[at], filled[sent & (allowed["sig_type"] == sig)]
            )
            for sig in SigType
            for at in (taken["sig_type"] == sig,)
        ),
        net=net,
        t_end_ns=ends,
    )


def _ir_days(
    arm: ArmInput, t_end_ns: np.ndarray, pnls: tuple[np.ndarray, ...], seed: int, draws: int
) -> tuple[int, list[Interval]]:
    """UTC days of the candidates' span, and the annualised IR of each sized P&L with days drawn in blocks."""
    decided = arm.decisions["ts_ns"]
    span = (int(decided[0]), int(decided[-1])) if len(decided) else None
    daily = np.stack([metrics.daily_pnl(t_end_ns, pnl, span_ns=span)[1] for pnl in pnls], axis=1)
    if len(daily) < JUDGE.min_days:
        return len(daily), [UNKNOWN] * len(pnls)
    values = [metrics.ir_day(t_end_ns, pnl, ORDER.base_size_usd, span_ns=span) for pnl in pnls]
    drawn = joint_intervals(daily, seed=seed, draws=draws)
    return len(daily), [
        Interval(value, _YEAR * ir.low, _YEAR * ir.high) for value, (_, ir) in zip(values, drawn, strict=True)
    ]


def _type_stats(
    sig: SigType, trades: np.ndarray, session: np.ndarray, reward: np.ndarray, slip: np.ndarray, sent: np.ndarray
) -> TypeStats:
    """``trades`` and what belongs to them, of one type; ``sent`` [orders]: whether each order that was sent filled."""
    net = trades["net_bps"].astype(np.float64)
    return TypeStats(
        sig_type=sig.name.lower(),
        trades=len(net),
        fill_rate=_mean(sent),
        win_rate=metrics.win_rate(net),
        payoff=metrics.payoff(net),
        gross_bps=_mean(trades["gross_bps"]),
        fee_bps=_mean(trades["fee_bps"]),
        slip_bps=_mean(trades["slip_bps"]),
        est_slip_bps=_finite_mean(slip),
        funding_bps=_mean(trades["funding_bps"]),
        net_bps=_mean(net),
        cost_share=_cost_share(trades, reward),
        handover_share=_mean(session),
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
