"""Statistics of the 100 ms windows that a walk over a tape gives: order flow and returns in longer windows."""

from __future__ import annotations

import numpy as np

__all__ = [
    "FEW",
    "MIN",
    "Series",
    "autocorrelation",
    "fano",
    "kurtosis",
    "mean_r2",
    "mean_range_bps",
    "r2",
    "within_r2",
]

MIN = 30
"""Fewer windows, orders or pairs than this give no figure."""
FEW = 6
"""The same for what needs no regression."""
_NAN = float("nan")


class Series:
    """Order flow and mid of one source of best quotes, ready to be cut into longer windows."""

    def __init__(self, w: np.ndarray, source: int) -> None:
        self.k = w["k"]
        self.mid = (w["bid"][:, source] + w["ask"][:, source]) / 2
        self.ofi = np.concatenate(([0.0], np.cumsum(w["ofi"][:, source])))
        self.broken = np.concatenate(([0], np.cumsum(w["broken"][:, source])))

    def blocks(self, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Windows of ``m`` x 100 ms with known quotes all along: number int64, OFI, return in bps.

        The return needs the mid at the end of the window before, so the first one has none.
        """
        last, flow, ret = self._between(*_runs(self.k, m))
        return (self.k[last] + 1) // m - 1, flow, ret

    def overlapping(self, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same for windows that begin at any step: start modulo ``m`` instead of the number."""
        last = np.arange(m, len(self.k))
        last = last[self.k[m:] - self.k[:-m] == m]
        last, flow, ret = self._between(last - m, last)
        return (self.k[last] + 1) % m, flow, ret

    def _between(self, ends: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        good = (self.broken[last + 1] == self.broken[ends + 1]) & np.isfinite(self.mid[ends])
        ends, last = ends[good], last[good]
        return last, self.ofi[last + 1] - self.ofi[ends + 1], np.log(self.mid[last] / self.mid[ends]) * 1e4


def _runs(k: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each window of ``m`` whole steps: the step before its first, and its last."""
    ends = np.flatnonzero((k + 1) % m == 0)
    whole = (np.diff(ends) == m) & (np.diff(k[ends]) == m)
    return ends[:-1][whole], ends[1:][whole]


def r2(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of ``y`` that a straight line in ``x`` explains; NaN where there is none to explain."""
    if len(x) < MIN:
        return _NAN
    xx, yy, xy, _ = _sums(np.zeros(len(x), np.int64), x, y, 1)
    return float(xy[0] ** 2 / (xx[0] * yy[0])) if xx[0] > 0.0 and yy[0] > 0.0 else _NAN


def mean_r2(series: Series, m: int) -> float:
    """R2 of each possible start of the windows, averaged."""
    start, x, y = series.overlapping(m)
    if len(x) < MIN * m:
        return _NAN
    xx, yy, xy, _ = _sums(start, x, y, m)
    return float(np.mean(xy**2 / (xx * yy))) if (xx > 0.0).all() and (yy > 0.0).all() else _NAN


def within_r2(group: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """1 - residual / total variation, each group with its own line and mean; NaN below two full groups."""
    if len(x) == 0:
        return _NAN
    xx, yy, xy, n = _sums(group - group[0], x, y, int(group[-1] - group[0]) + 1)
    used = (n >= MIN) & (xx > 0.0)
    if np.count_nonzero(used) < 2 or yy[used].sum() == 0.0:
        return _NAN
    return float((xy[used] ** 2 / xx[used]).sum() / yy[used].sum())


def _sums(group: np.ndarray, x: np.ndarray, y: np.ndarray, groups: int) -> tuple[np.ndarray, ...]:
    """Centred sums of squares and products of each group, and its size."""
    n = np.bincount(group, minlength=groups)
    size = np.maximum(n, 1)
    x = x - (np.bincount(group, x, groups) / size)[group]
    y = y - (np.bincount(group, y, groups) / size)[group]
    return *(np.bincount(group, v, groups) for v in (x * x, y * y, x * y)), n


def kurtosis(x: np.ndarray) -> float:
    """Excess kurtosis of the sample, 0 for a normal distribution."""
    if len(x) < MIN:
        return _NAN
    x = x - x.mean()
    variance = float(np.mean(x**2))
    return float(np.mean(x**4)) / variance**2 - 3.0 if variance > 0.0 else _NAN


def autocorrelation(k: np.ndarray, x: np.ndarray, lag: int) -> float:
    """Autocorrelation at ``lag`` blocks, pairs that lie apart by exactly that much."""
    at = np.searchsorted(k, k + lag)
    pair = at < len(k)
    pair[pair] = k[at[pair]] == k[pair] + lag
    if np.count_nonzero(pair) < MIN:
        return _NAN
    x = x - x.mean()
    variance = float(np.mean(x**2))
    return float(np.mean(x[pair] * x[at[pair]])) / variance if variance > 0.0 else _NAN


def fano(w: np.ndarray, m: int) -> float:
    """Variance by mean of the market orders in ``m`` x 100 ms."""
    ends, last = _runs(w["k"], m)
    total = np.concatenate(([0], np.cumsum(w["orders"], dtype=np.int64)))
    counts = total[last + 1] - total[ends + 1]
    if len(counts) < FEW or counts.sum() == 0:
        return _NAN
    return float(counts.var(ddof=1) / counts.mean())


def mean_range_bps(w: np.ndarray, source: int) -> float:
    """Highest to lowest mid at the 100 ms marks of a minute, bps, mean over minutes that begin 6 s apart."""
    starts = np.flatnonzero(np.diff(w["k"] // 60, prepend=-1))
    mid = (w["bid"][:, source] + w["ask"][:, source]) / 2
    high, low = np.maximum.reduceat(mid, starts), np.minimum.reduceat(mid, starts)
    whole = np.diff(starts, append=len(w)) == 60
    high[~whole] = low[~whole] = np.nan
    if len(starts) < 10:
        return _NAN
    high, low = (np.lib.stride_tricks.sliding_window_view(v, 10) for v in (high, low))
    ratio = high.max(axis=1) / low.min(axis=1)
    number = w["k"][starts] // 60
    ratio = ratio[(number[9:] - number[:-9] == 9) & np.isfinite(ratio)]
    return float(np.mean(ratio - 1.0) * 1e4) if len(ratio) else _NAN
