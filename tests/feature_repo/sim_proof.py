"""How much of a simulated price can be foretold: barriers, forecasts out of sample, and intervals by time blocks.

The question is the same at every edge: which of two barriers at the same distance from the mid comes first, among the
paths that touch one? A candidate's own rules play no part in the answer, and neither does how often barriers are met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from feature_repo import build_features, simulate_tape
from runtime.signals import find_candidates

__all__ = ["Proof", "Skill", "Spots", "first_touch", "interval", "prove", "spots_of"]

LAGS = (0, 1, 2, 4, 8, 16, 32, 63)
"""Windows before the last one that the forecast sees, of 64; all 24 channels at each."""
AHEAD = 600  # windows of 100 ms
BLOCK = 6_000  # ten minutes: resampled as one


@dataclass(frozen=True)
class Spots:
    """Times at which a forecast is asked for; ``at`` counts windows, ``side`` is the candidate's (1 on a grid)."""

    x: np.ndarray  # float32 [n, len(LAGS) * 24]
    at: np.ndarray
    barrier_bps: np.ndarray
    up: np.ndarray  # 1: the upper barrier came first, 0: the lower one, -1: none within 60 s
    move_bps: np.ndarray  # of the mid over 60 s
    side: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True)
class Skill:
    """Out of sample: a value and its 99 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Proof:
    """auc: of the first barrier; corr: of the forecast and the real move over 60 s; drift: mean side x move, bps."""

    auc: Skill
    corr: Skill
    drift: Skill
    n: int
    touched: float


def first_touch(mid: np.ndarray, at: np.ndarray, barrier_bps: np.ndarray) -> np.ndarray:
    """1 where ``mid`` rises by the barrier before it falls by it within 60 s, 0 the other way round, else -1."""
    out = np.full(len(at), -1)
    log = np.log(mid) * 1e4
    for j, (i, b) in enumerate(zip(at, barrier_bps, strict=True)):
        path = log[i + 1 : i + 1 + AHEAD] - log[i]
        hit = np.flatnonzero(np.abs(path) >= b)
        if len(hit):
            out[j] = path[hit[0]] > 0
    return out


def spots_of(**simulated) -> dict[str, Spots]:
    """Candidates (barriers at R and R / 2) and a regular grid (at about the deviation of 60 s) of a simulated tape."""
    table = build_features(simulate_tape(**simulated))
    market, mid = table.market, table.market["mid"]
    found = find_candidates(table)
    at = np.searchsorted(market["t_ns"], [c.ts_ns for c in found])
    reach = np.array([c.R_bps for c in found])
    side, kinds = np.array([c.side for c in found]), np.array([c.sig_type.name.lower() for c in found])
    ok = (at > BLOCK) & (at + AHEAD + 1 < len(mid)) & np.isfinite(reach)
    at, reach, side, kinds = at[ok], reach[ok], side[ok], kinds[ok]
    grid = np.arange(BLOCK, len(mid) - AHEAD - 1, 100)
    sigma = np.maximum(0.3 * market["atr"][grid] / mid[grid] * 1e4, 3.0)

    def make(where, barrier, side, kinds):
        x = np.stack([table.X[where - lag] for lag in LAGS], 1).reshape(len(where), -1)
        move = np.log(mid[where + AHEAD] / mid[where]) * 1e4
        return Spots(x, where, barrier, first_touch(mid, where, barrier), move, side, kinds)

    return {
        "candidates, R": make(at, reach, side, kinds),
        "candidates, R / 2": make(at, reach / 2, side, kinds),
        "grid": make(grid, sigma, np.ones(len(grid)), np.full(len(grid), "")),
    }


def _resampled(at: np.ndarray, draws: int = 2_000):
    _, block = np.unique(at // BLOCK, return_inverse=True)
    n = block.max() + 1
    rng = np.random.default_rng(0)
    for _ in range(draws):
        yield np.bincount(rng.integers(0, n, n), minlength=n)[block]


def interval(values: list[float], value: float) -> Skill:
    """99 % of resampled values."""
    low, high = np.quantile(values, (0.005, 0.995))
    return Skill(float(value), float(low), float(high))


def _auc(up: np.ndarray, p: np.ndarray, at: np.ndarray) -> Skill:
    order = np.argsort(p, kind="stable")
    up, at = up[order], at[order]

    def area(w):
        # Ties are as good as absent: scores of boosted trees over continuous channels.
        below = np.cumsum(w * (1 - up))
        return float((w * up * below).sum() / ((w * up).sum() * below[-1]))

    return interval([area(w) for w in _resampled(at)], area(np.ones(len(up))))


def _correlation(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> Skill:
    def corr(w):
        n = w.sum()
        dx, dy = x - (w @ x) / n, y - (w @ y) / n
        return float((w @ (dx * dy)) / np.sqrt((w @ dx**2) * (w @ dy**2)))

    return interval([corr(w) for w in _resampled(at, 1_000)], corr(np.ones(len(x))))


def _mean(x: np.ndarray, at: np.ndarray) -> Skill:
    return interval([float(w @ x / w.sum()) for w in _resampled(at)], x.mean())


def _joined(parts: Sequence[Spots]) -> Spots:
    """Of several tapes, their windows apart by more than a day."""
    at = np.concatenate([part.at + k * 10_000_000 for k, part in enumerate(parts)])
    rest = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Spots)}
    return Spots(**rest | {"at": at})


def prove(learnt: Sequence[Spots], judged: Sequence[Spots]) -> Proof:
    """Learn from some tapes, judge on others: no label of one reaches into the other."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    train, test = _joined(learnt), _joined(judged)
    told, asked = train.up >= 0, test.up >= 0
    sure = {"learning_rate": 0.05, "random_state": 0}
    sort = HistGradientBoostingClassifier(
        max_iter=150, min_samples_leaf=40, max_leaf_nodes=15, l2_regularization=1.0, **sure
    )
    guess = HistGradientBoostingRegressor(max_iter=80, min_samples_leaf=60, max_leaf_nodes=8, **sure)
    with threadpool_limits(1):  # threads that wait for each other on a busy machine take minutes
        p = sort.fit(train.x[told], train.up[told]).predict_proba(test.x[asked])[:, 1]
        move = guess.fit(train.x, train.move_bps).predict(test.x)
    return Proof(
        _auc(test.up[asked], p, test.at[asked]),
        _correlation(move, test.move_bps, test.at),
        _mean(test.side * test.move_bps, test.at),
        int(asked.sum()),
        float(asked.mean()),
    )
