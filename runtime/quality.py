"""How good a probability is: ranking, log loss, Brier score, reliability, calibration error. Arrays in, numbers out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = [
    "BrierParts",
    "ReliabilityBins",
    "auc_pr",
    "auc_roc",
    "brier",
    "brier_parts",
    "ece_debiased",
    "ece_plain",
    "log_loss",
    "reliability_bins",
]

DEFAULT_BINS = 15
_P_FLOOR = 1e-7


class ReliabilityBins(NamedTuple):
    """Bins of about equal mass in ascending order of p; equal probabilities always share a bin.

    Attributes
    ----------
    n : int64 [B], rows of the bin, at least 1
    p_mean : float64 [B], mean forecast
    y_rate : float64 [B], share of y = 1
    p_low, p_high : float64 [B], smallest and largest forecast
    """

    n: np.ndarray
    p_mean: np.ndarray
    y_rate: np.ndarray
    p_low: np.ndarray
    p_high: np.ndarray


class BrierParts(NamedTuple):
    """Brier score = reliability - resolution + uncertainty + within; NaN each without rows.

    Attributes
    ----------
    reliability : mean squared gap between a bin's forecast and its frequency, 0 is best
    resolution : variance of the bins' frequencies, the larger the better
    uncertainty : variance of y, the score of answering the base rate; no forecast changes it
    within : what the bins hide, forecast variance less twice the covariance with y inside the bins; below 0 where the
        forecast still ranks the rows of one bin
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def _checked(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, y = np.asarray(p, np.float64), np.asarray(y, np.float64)
    if p.ndim != 1 or p.shape != y.shape:
        raise ValueError(f"p {p.shape} and y {y.shape} must be one-dimensional and of one length")
    if not np.all((p >= 0.0) & (p <= 1.0)):
        raise ValueError("p must lie in [0, 1] and be finite: leave rows without a forecast out")
    if not np.all((y == 0.0) | (y == 1.0)):
        raise ValueError("y must be 0 or 1: leave rows without a label out")
    return p, y


def auc_roc(p: np.ndarray, y: np.ndarray) -> float:
    """Chance that a row with y = 1 has the larger forecast than one with y = 0, ties counted half (Mann, Whitney 1947).

    Parameters
    ----------
    p : float [N] in [0, 1]
    y : [N], 0 or 1

    Returns
    -------
    float in [0, 1], 0.5 for knowing nothing; NaN unless both classes occur
    """
    p, y = _checked(p, y)
    ones = int(y.sum())
    zeros = len(y) - ones
    if not ones or not zeros:
        return float("nan")
    _, at, count = np.unique(p, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - 0.5 * (count - 1)  # of a run of equal forecasts: the mean of its places
    return float((rank[at][y == 1].sum() - 0.5 * ones * (ones + 1)) / (ones * zeros))


def auc_pr(p: np.ndarray, y: np.ndarray) -> float:
    """Average precision: the step sum of precision over recall; ties share one step.

    Parameters
    ----------
    p : float [N]
    y : 0/1 [N]

    Returns
    -------
    float in (0, 1], NaN without a positive; knowing nothing gives the base rate
    """
    p, y = np.asarray(p, float), np.asarray(y, float)
    if not y.any():
        return float("nan")
    order = np.argsort(-p, kind="stable")
    last = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))  # a threshold can only lie between unequal values
    hits = np.cumsum(y[order])[last]
    precision, recall = hits / (last + 1), hits / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log likelihood in nats; p is kept 1e-7 away from 0 and 1. NaN without rows."""
    p, y = np.clip(np.asarray(p, float), _P_FLOOR, 1 - _P_FLOOR), np.asarray(y, float)
    return float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean()) if len(p) else float("nan")


def brier(p: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean squared error of the forecast.

    Parameters
    ----------
    p : float [N] in [0, 1]
    y : [N], 0 or 1
    weight : float [N] >= 0, optional

    Returns
    -------
    float, NaN without rows or without weight
    """
    p, y = _checked(p, y)
    w = np.ones(len(p)) if weight is None else np.asarray(weight, np.float64)
    total = w.sum()
    return float((w * (p - y) ** 2).sum() / total) if total > 0 else float("nan")


def reliability_bins(p: np.ndarray, y: np.ndarray, bins: int = DEFAULT_BINS) -> ReliabilityBins:
    """Equal-mass bins of the forecast.

    Ties are never split, so the result does not depend on the order of the rows; a calibrator that answers with few
    distinct values gives fewer bins.

    Parameters
    ----------
    p : float [N] in [0, 1]
    y : [N], 0 or 1
    bins : largest number of bins
    """
    p, y = _checked(p, y)
    if len(p) == 0:
        empty = np.empty(0)
        return ReliabilityBins(np.empty(0, np.int64), empty, empty, empty, empty)
    order = np.argsort(p, kind="stable")
    ps, ys = p[order], y[order]
    # A bin may only begin where the forecast changes; each wanted cut moves to the nearest such place.
    places = np.concatenate([[0], np.flatnonzero(np.diff(ps)) + 1])
    wanted = np.arange(bins) * len(ps) / bins
    after = np.clip(np.searchsorted(places, wanted), 1, max(len(places) - 1, 1))
    lower, upper = places[after - 1], places[np.minimum(after, len(places) - 1)]
    starts = np.unique(np.where(wanted - lower <= upper - wanted, lower, upper))
    n = np.diff(np.append(starts, len(ps)))
    return ReliabilityBins(
        n.astype(np.int64),
        np.add.reduceat(ps, starts) / n,
        np.add.reduceat(ys, starts) / n,
        ps[starts],
        ps[np.append(starts[1:], len(ps)) - 1],
    )


def brier_parts(p: np.ndarray, y: np.ndarray, bins: int = DEFAULT_BINS) -> BrierParts:
    """Decomposition of the Brier score over equal-mass bins (Murphy 1973).

    Murphy's three parts add up to the score of the binned forecast, in which each row answers its bin's mean; the
    fourth is the rest, computed and not left over (Stephenson, Coelho, Jolliffe 2008).

    Parameters
    ----------
    p : float [N] in [0, 1]
    y : [N], 0 or 1
    bins : largest number of bins, as `reliability_bins`
    """
    p, y = _checked(p, y)
    if len(p) == 0:
        return BrierParts(*[float("nan")] * 4)
    b = reliability_bins(p, y, bins)
    at = np.searchsorted(b.p_low, p, side="right") - 1  # equal forecasts share a bin: the value names it
    base, share = y.mean(), b.n / len(p)
    p_rest, y_rest = p - b.p_mean[at], y - b.y_rate[at]
    return BrierParts(
        float((share * (b.p_mean - b.y_rate) ** 2).sum()),
        float((share * (b.y_rate - base) ** 2).sum()),
        float(base * (1.0 - base)),
        float((p_rest**2 - 2.0 * p_rest * y_rest).mean()),
    )


def ece_plain(p: np.ndarray, y: np.ndarray, bins: int = DEFAULT_BINS) -> float:
    """Expected calibration error: mass-weighted mean of |forecast - frequency|. Biased upwards; NaN without rows."""
    b = reliability_bins(p, y, bins)
    if len(b.n) == 0:
        return float("nan")
    return float((b.n * np.abs(b.p_mean - b.y_rate)).sum() / b.n.sum())


def ece_debiased(p: np.ndarray, y: np.ndarray, bins: int = DEFAULT_BINS) -> float:
    """Calibration error without the part that sampling noise alone would show.

    Root of the debiased squared error over equal-mass bins: each bin's squared gap less the estimated variance of its
    frequency, floored at 0 in total (Kumar, Liang, Ma 2019; "debiased" in Roelofs et al. 2022). The plain error of a
    perfect forecast is about sqrt(2 bins p (1 - p) / (pi N)); this one is about 0.

    Parameters
    ----------
    p : float [N] in [0, 1]
    y : [N], 0 or 1

    Returns
    -------
    float, NaN when no bin holds two rows
    """
    b = reliability_bins(p, y, bins)
    enough = b.n >= 2
    if not enough.any():
        return float("nan")
    n, gap = b.n[enough], (b.p_mean - b.y_rate)[enough]
    noise = b.y_rate[enough] * (1.0 - b.y_rate[enough]) / (n - 1)
    return float(np.sqrt(max(0.0, float((n * (gap**2 - noise)).sum() / n.sum()))))
