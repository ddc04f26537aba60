"""Intervals and tests that do not flatter: bootstraps, false discovery control, shrinkage, deflated Sharpe ratio."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from arch.bootstrap import StationaryBootstrap, optimal_block_length

from feature_repo.constants import JUDGE, SECOND_NS
from runtime.metrics import ir_trade

__all__ = [
    "MIN_BLOCKS",
    "MIN_BOOTSTRAP",
    "DeflatedSharpe",
    "Interval",
    "PairedDifference",
    "Shrunk",
    "benjamini_hochberg",
    "deflated_sharpe",
    "joint_intervals",
    "mean_and_ir_intervals",
    "paired_block_bootstrap",
    "shrink",
]

MIN_BOOTSTRAP = 20
"""Trades below which no interval is given: resampling fewer understates the spread."""
MIN_BLOCKS = 10
"""Time blocks below which no interval is given."""
_LEVEL = 0.95
_NORMAL = NormalDist()
_EULER = 0.5772156649015329


class Interval(NamedTuple):
    """A value with its 95 % bounds; NaN bounds where there is too little data."""

    value: float
    low: float
    high: float


class PairedDifference(NamedTuple):
    """Model minus no model over the same candidates, and the model on its own.

    Attributes
    ----------
    difference : bps a candidate, denied candidates counting 0
    model_mean, none_mean : net bps a trade of each arm
    blocks : time blocks that hold a candidate
    n, n_model, n_none : candidates, and the trades of each arm
    beats : the lower bounds of the difference and of the model's own mean are both above 0
    """

    difference: Interval
    model_mean: Interval
    none_mean: Interval
    blocks: int
    n: int
    n_model: int
    n_none: int

    @property
    def beats(self) -> bool:
        return bool(self.difference.low > 0.0 and self.model_mean.low > 0.0)


class Shrunk(NamedTuple):
    """Means pulled towards their common parent; arrays of [G]. NaN where a group is empty.

    Attributes
    ----------
    mean : shrunken mean
    low : one-sided lower bound
    p_value : one-sided, of a mean that is not above 0
    weight : of the group's own data, 0 (all parent) to 1
    """

    mean: np.ndarray
    low: np.ndarray
    p_value: np.ndarray
    weight: np.ndarray


class DeflatedSharpe(NamedTuple):
    """Threshold that luck alone reaches among the trials, and the probability of being above it."""

    sr0: float
    value: float


def mean_and_ir_intervals(
    net_bps: np.ndarray, *, draws: int = JUDGE.bootstrap_draws, seed: int = 7
) -> tuple[Interval, Interval]:
    """``joint_intervals`` of one series, float64 [n], in time order: (mean, IR)."""
    return joint_intervals(np.asarray(net_bps, np.float64)[:, None], draws=draws, seed=seed)[0]


def joint_intervals(
    series: np.ndarray, *, draws: int = JUDGE.bootstrap_draws, seed: int = 7
) -> tuple[tuple[Interval, Interval], ...]:
    """Stationary-bootstrap intervals of the mean and of mean / std, all series drawn together.

    The mean block length is that of the first series with spread (Politis, White 2004). Percentile bounds, so the
    interval of the mean holds the sign of a skewed sample better than a normal one.

    Parameters
    ----------
    series : float64 [n, k], k results of the same n trades (or days) in time order, finite

    Returns
    -------
    (mean, IR) of each series; values NaN without data, bounds NaN below ``MIN_BOOTSTRAP`` rows or without spread
    """
    x = np.ascontiguousarray(series, np.float64)
    nan = float("nan")
    means = [float(c.mean()) if len(c) else nan for c in x.T]
    irs = np.array([ir_trade(c) for c in x.T])
    spread_out = np.flatnonzero(np.isfinite(irs))
    if len(x) < MIN_BOOTSTRAP or not len(spread_out):
        return tuple((Interval(m, nan, nan), Interval(float(ir), nan, nan)) for m, ir in zip(means, irs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        block = float(optimal_block_length(x[:, spread_out[0]])["stationary"].iloc[0])
    block = min(max(block if math.isfinite(block) else 1.0, 1.0), len(x) / 4.0)

    # The rows to draw are arch's; the figures of many draws are then taken at once, which is three times as fast.
    rows = StationaryBootstrap(block, x, seed=np.random.default_rng(seed))
    drawn = np.empty((draws, 2, x.shape[1]))
    done = 0
    for size in _chunks(draws, max(1, 500_000 // len(x))):
        chosen = np.stack([rows.update_indices() for _ in range(size)])
        for j, column in enumerate(x.T):
            sample = column[chosen]
            centre, spread = sample.mean(axis=1), sample.std(axis=1, ddof=1)
            some = spread > 0
            drawn[done : done + size, :, j] = np.stack(
                [centre, np.where(some, centre / np.where(some, spread, 1.0), irs[j])], axis=1
            )
        done += size
    tail = 50.0 * (1.0 - _LEVEL)
    low, high = np.percentile(drawn, [tail, 100.0 - tail], axis=0)
    low[:, ~np.isfinite(irs)] = high[:, ~np.isfinite(irs)] = nan
    return tuple(
        (
            Interval(means[j], float(low[0, j]), float(high[0, j])),
            Interval(float(irs[j]), float(low[1, j]), float(high[1, j])),
        )
        for j in range(x.shape[1])
    )


def paired_block_bootstrap(
    ts_ns: np.ndarray,
    model_bps: np.ndarray,
    none_bps: np.ndarray,
    *,
    block_s: int = JUDGE.block_s,
    draws: int = JUDGE.bootstrap_draws,
    seed: int = 7,
) -> PairedDifference:
    """Joint time-block bootstrap of two arms over the same candidates, at equal notional.

    Blocks of clock time are drawn with replacement, both arms together, so what the arms share (a move that hits
    several candidates at once) cancels in the difference and widens the interval of the means.

    Parameters
    ----------
    ts_ns : int64 [N], decision times
    model_bps, none_bps : float64 [N], net bps of the candidate's own trade, NaN where the arm has none (denied,
        unfilled): it counts 0 in the difference and nothing in the arm's own mean

    Raises
    ------
    ValueError
        When the lengths differ.
    """
    ts = np.asarray(ts_ns, np.int64)
    m, b = np.asarray(model_bps, np.float64), np.asarray(none_bps, np.float64)
    if not len(ts) == len(m) == len(b):
        raise ValueError(f"paired arms need the same candidates: {len(ts)} times, {len(m)} model, {len(b)} no model")
    traded_m, traded_b = np.isfinite(m), np.isfinite(b)
    m0, b0 = np.where(traded_m, m, 0.0), np.where(traded_b, b, 0.0)
    keys, at = np.unique(ts // (block_s * SECOND_NS), return_inverse=True)
    sums = np.stack(
        [
            np.bincount(at, weights=w, minlength=len(keys))
            for w in (m0 - b0, np.ones(len(ts)), m0, traded_m, b0, traded_b)
        ],
        axis=1,
    )
    value = _ratios(sums.sum(axis=0)[None, :])[0]
    bounds = np.full((3, 2), np.nan)
    if len(keys) >= MIN_BLOCKS:
        rng = np.random.default_rng(seed)
        drawn = np.concatenate(
            [
                _ratios(sums[rng.integers(0, len(keys), (size, len(keys)))].sum(axis=1))
                for size in _chunks(draws, max(1, 4_000_000 // (6 * len(keys))))
            ]
        )
        tail = 50.0 * (1.0 - _LEVEL)
        for j in range(3):
            # A draw without any trade of the arm has no mean; where those are common, neither has the arm.
            some = drawn[np.isfinite(drawn[:, j]), j]
            # A handful of trades in a few blocks resamples into an interval that is far too narrow.
            traded, in_blocks = sums[:, 2 * j + 1].sum(), int((sums[:, 2 * j + 1] > 0).sum())
            if len(some) >= 0.95 * draws and traded >= MIN_BOOTSTRAP and in_blocks >= MIN_BLOCKS:
                bounds[j] = np.percentile(some, [tail, 100.0 - tail])
    parts = [Interval(float(value[j]), float(bounds[j, 0]), float(bounds[j, 1])) for j in range(3)]
    return PairedDifference(*parts, len(keys), len(ts), int(traded_m.sum()), int(traded_b.sum()))


def _ratios(sums: np.ndarray) -> np.ndarray:
    """[D, 6] sums of (difference, candidates, model, model trades, none, none trades) -> [D, 3] means."""
    top, count = sums[:, 0::2], sums[:, 1::2]
    return np.where(count > 0, top / np.maximum(count, 1.0), np.nan)


def _chunks(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def benjamini_hochberg(p_values: np.ndarray, rate: float) -> np.ndarray:
    """Which hypotheses are rejected at a false discovery rate (Benjamini, Hochberg 1995).

    Parameters
    ----------
    p_values : float64 [G], NaN is never rejected and not counted

    Returns
    -------
    bool [G]
    """
    p = np.asarray(p_values, np.float64)
    out = np.zeros(len(p), bool)
    real = np.flatnonzero(np.isfinite(p))
    ordered = real[np.argsort(p[real], kind="stable")]
    passed = np.flatnonzero(p[ordered] <= rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1))
    if len(passed):
        out[ordered[: passed[-1] + 1]] = True
    return out


def shrink(groups: Sequence[np.ndarray]) -> Shrunk:
    """Empirical-Bayes means of groups that share a parent.

    The groups' variance inside is pooled, the variance between them is DerSimonian and Laird's (1986); each mean moves
    towards the parent's by what its own noise is worth. The parent's uncertainty is carried into the bound.

    Parameters
    ----------
    groups : float64 [n_g] each, net bps of the trades of one group

    Returns
    -------
    Shrunk of [G], its bound at ``JudgeDefaults.bucket_level``; all NaN when the pooled variance cannot be estimated
    """
    n = np.array([len(g) for g in groups], np.float64)
    filled = n > 0
    nan = np.full(len(groups), np.nan)
    freedom = float((n[filled] - 1).sum())
    if not filled.any() or freedom <= 0:
        return Shrunk(nan, nan, nan, nan)
    means = np.array([float(np.mean(g)) if len(g) else np.nan for g in groups])
    inside = (
        sum(float(((np.asarray(g) - m) ** 2).sum()) for g, m in zip(groups, means, strict=True) if len(g)) / freedom
    )
    if not inside > 0:
        return Shrunk(nan, nan, nan, nan)
    m, w0 = means[filled], n[filled] / inside
    grand = float((w0 * m).sum() / w0.sum())
    spread = float((w0 * (m - grand) ** 2).sum()) - (len(m) - 1)
    scale = float(w0.sum() - (w0**2).sum() / w0.sum())
    between = max(0.0, spread / scale) if scale > 0 else 0.0
    w1 = 1.0 / (inside / n[filled] + between)
    parent, parent_var = float((w1 * m).sum() / w1.sum()), 1.0 / float(w1.sum())
    own = between / (between + inside / n[filled])
    centre = own * m + (1.0 - own) * parent
    deviation = np.sqrt(own * inside / n[filled] + (1.0 - own) ** 2 * parent_var)
    out = Shrunk(nan.copy(), nan.copy(), nan.copy(), nan.copy())
    out.mean[filled] = centre
    out.low[filled] = centre - _NORMAL.inv_cdf(JUDGE.bucket_level) * deviation
    out.p_value[filled] = [_NORMAL.cdf(-c / d) for c, d in zip(centre, deviation, strict=True)]
    out.weight[filled] = own
    return out


def deflated_sharpe(
    sharpe: float, n_obs: int, *, n_trials: int, trials_variance: float, skew: float = 0.0, kurtosis: float = 3.0
) -> DeflatedSharpe:
    """Probability that the true Sharpe ratio beats what the best of many lucky trials shows.

    Closed form of Bailey, Lopez de Prado (2014). Everything is per observation, not annualised.

    Parameters
    ----------
    sharpe : mean / std of one observation (a trade, a day)
    n_obs : observations behind it
    n_trials : strategies tried, this one included
    trials_variance : of the trials' Sharpe ratios
    kurtosis : not excess; 3 for a normal

    Returns
    -------
    DeflatedSharpe, NaN value with fewer than two observations or where the standard error does not exist
    """
    if n_trials > 1 and trials_variance > 0:
        z1 = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
        z2 = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
        sr0 = math.sqrt(trials_variance) * ((1.0 - _EULER) * z1 + _EULER * z2)
    else:
        sr0 = 0.0
    variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if n_obs < 2 or not math.isfinite(sharpe) or not variance > 0:
        return DeflatedSharpe(sr0, float("nan"))
    return DeflatedSharpe(sr0, _NORMAL.cdf((sharpe - sr0) * math.sqrt(n_obs - 1) / math.sqrt(variance)))
