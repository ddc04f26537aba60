"""Probability of backtest overfitting: how often the best strategy of one half of the time is below the other's median.

Combinatorially symmetric cross-validation (CSCV) of Bailey, Borwein, Lopez de Prado, Zhu (2015), "The probability of
backtest overfitting".
"""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from feature_repo.constants import JUDGE

__all__ = ["GROUPS", "MIN_PBO_BLOCKS", "MIN_STRATEGY_TRADES", "Overfitting", "pbo", "sharpe"]

GROUPS = 16
"""Contiguous groups of blocks, as in the paper: C(16, 8) = 12,870 splits."""
MIN_GROUP = 4
"""Blocks of a group below which there is no PBO: fewer say nothing of it."""
MIN_PBO_BLOCKS = MIN_GROUP * GROUPS
MIN_STRATEGY_TRADES = JUDGE.bucket_min_trades
"""Trades below which a strategy does not take part: its Sharpe ratio in half of the time is noise by construction."""
_TIE = 1e-9
_FLAT = 1e-6  # of the mean: below it a deviation is rounding


class Overfitting(NamedTuple):
    """``value`` in [0, 1], NaN with ``reason_na``.

    Attributes
    ----------
    n_strategies : distinct strategies that took part
    splits : ways to cut the groups into two halves; 0 where nothing was computed
    """

    value: float
    n_strategies: int
    n_blocks: int
    splits: int
    reason_na: str = ""


def pbo(net_bps: np.ndarray, trades: np.ndarray, *, groups: int = GROUPS) -> Overfitting:
    """Share of the splits in which the best strategy of one half is not above the median of the other.

    The blocks are cut into contiguous groups (sizes differ by one at most); each way to take half of them is one split.
    The strategy with the highest Sharpe ratio (mean / std over blocks) inside is ranked outside: relative rank
    w = rank / (strategies + 1), logit ln(w / (1 - w)); the value is the share of logits <= 0.

    Ties: strategies with the same result in every block are one strategy; several that are best inside count by equal
    shares; a tie outside takes the middle rank. A half without any trade has Sharpe ratio 0: it risks nothing.

    Parameters
    ----------
    net_bps : float64 [B, K], summed result of K strategies in B blocks of time, in time order, finite
    trades : int [K], trades behind each
    groups : even; the paper's S

    Returns
    -------
    Overfitting; N/A below ``MIN_GROUP`` blocks a group or two distinct strategies of ``MIN_STRATEGY_TRADES`` trades

    Raises
    ------
    ValueError
        When the lengths differ or a result is not finite.
    """
    x, trades = np.asarray(net_bps, np.float64), np.asarray(trades)
    if x.ndim != 2 or x.shape[1:] != trades.shape:
        raise ValueError(f"results {x.shape} and trades {trades.shape}: give [blocks, strategies] and [strategies]")
    if not np.isfinite(x).all():
        raise ValueError("results that are not finite: a block without a trade has the result 0")
    many = x[:, trades >= MIN_STRATEGY_TRADES]
    x = np.unique(many, axis=1) if many.size else many
    blocks, strategies = x.shape
    nan = math.nan
    if strategies < 2:
        return Overfitting(
            nan, strategies, blocks, 0, f"{strategies} distinct strategies of {MIN_STRATEGY_TRADES} trades, 2 needed"
        )
    if blocks < MIN_GROUP * groups:
        return Overfitting(nan, strategies, blocks, 0, f"{blocks} blocks of time, {MIN_GROUP * groups} needed")
    inside, outside = _halves(x, groups)
    best = inside >= _less(inside.max(axis=1, keepdims=True))
    below = np.zeros(len(best))
    for k in range(strategies):
        at = np.flatnonzero(best[:, k])
        own = outside[at, k, None]
        less, not_more = outside[at] < _less(own), outside[at] <= -_less(-own)
        # Middle rank among equals, itself included, from 1: logit <= 0 exactly when twice the rank <= strategies + 1.
        twice_rank = less.sum(axis=1) + not_more.sum(axis=1) + 1
        below[at] += twice_rank <= strategies + 1
    return Overfitting(float((below / best.sum(axis=1)).mean()), strategies, blocks, len(best))


def sharpe(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """mean / std, 0 where nothing was earned nor risked, infinite where the same was earned in every block."""
    deviation = np.sqrt(np.maximum(variance, 0.0))
    flat = deviation <= _FLAT * np.abs(mean)
    out = mean / np.where(flat, 1.0, deviation)
    out[flat & (mean != 0.0)] = np.copysign(np.inf, mean[flat & (mean != 0.0)])
    return out


def _halves(x: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Sharpe ratios [splits, K] of each half and of what it leaves; x [B, K]."""
    starts = [int(g[0]) for g in np.array_split(np.arange(len(x)), groups)]
    size = np.diff([*starts, len(x)]).astype(np.float64)
    total, squares = np.add.reduceat(x, starts), np.add.reduceat(x * x, starts)
    out = []
    for taken in (_splits(groups), ~_splits(groups)):
        n = (taken @ size)[:, None]
        mean = (taken @ total) / n
        out.append(sharpe(mean, (taken @ squares - n * mean**2) / (n - 1.0)))
    return out[0], out[1]


@cache
def _splits(groups: int) -> np.ndarray:
    """bool [C(groups, groups / 2), groups]: each way to take half of them."""
    chosen = np.array(list(combinations(range(groups), groups // 2)))
    taken = np.zeros((len(chosen), groups), bool)
    np.put_along_axis(taken, chosen, True, axis=1)
    taken.flags.writeable = False
    return taken


def _less(value: np.ndarray) -> np.ndarray:
    """A little below, so that what differs by rounding is a tie."""
    return np.where(np.isfinite(value), value - _TIE * np.maximum(np.abs(value), 1.0), value)
