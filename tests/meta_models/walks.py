"""Made-up spans that resemble real ones: a price that follows a persistent flow, barriers on it, windows that overlap.

Ten channels know something of the past: flow, what it did to the price, how busy it is. Fourteen are noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import lfilter

from feature_repo.constants import LABEL, SECOND_NS, WINDOW_NS
from feature_repo.fields import CHANNELS, CTX_NAMES
from meta_models.uniqueness import average_uniqueness

T = 32
_ROWS_S = SECOND_NS // WINDOW_NS
_HORIZON = 60 * _ROWS_S
_WARM = 600 * _ROWS_S
_R = 45.0  # barrier unit, in steps of the price
_T0_NS = 1_767_571_200 * SECOND_NS


@dataclass(frozen=True)
class Walk:
    x: np.ndarray
    ctx: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    ts_ns: np.ndarray
    t_start: np.ndarray
    t_end: np.ndarray
    gross_R: np.ndarray
    side: np.ndarray
    price: np.ndarray
    at: np.ndarray  # row of the price of each decision

    def ahead(self, seconds: float) -> np.ndarray:
        """Return of the next so many seconds, in R towards the side, from each row of the window on: [N, T]."""
        rows = self.at[:, None] - np.arange(T - 1, -1, -1)
        return self.side[:, None] * (self.price[rows + round(seconds * _ROWS_S)] - self.price[rows]) / _R

    def with_x(self, x: np.ndarray) -> Walk:
        return replace(self, x=x)

    def with_y(self, y: np.ndarray) -> Walk:
        return replace(self, y=y)

    def with_weight(self, weight: np.ndarray) -> Walk:
        return replace(self, weight=weight)


def walk(n: int, *, seed: int, edge: float = 1.0, cluster: int = 1) -> Walk:
    """`n` candidates, one in 12 s on average, `cluster` at a time a window apart; flow moves the price by `edge`."""
    rng = np.random.default_rng(seed)
    rows = _WARM + 12 * _ROWS_S * n + 2 * _HORIZON
    busy = np.exp(0.3 * _slow(rng, rows, 1_800))
    flow = _slow(rng, rows, 30)
    price = np.cumsum(busy * (rng.standard_normal(rows) + edge * 0.13 * flow))
    past = {s: price - np.concatenate([np.zeros(s * _ROWS_S), price[: -s * _ROWS_S]]) for s in (1, 10, 60)}
    known = {
        "ofi_z": flow + 2.0 * rng.standard_normal(rows),
        "ofi_top3_z": flow + 1.8 * rng.standard_normal(rows),
        "ofi_roll": flow + 0.7 * rng.standard_normal(rows),
        "cvd_z": flow + 1.5 * rng.standard_normal(rows),
        "depth_imbalance": flow + 3.0 * rng.standard_normal(rows),
        "ret_1s_bps": past[1],
        "range_pos": past[60],
        "vwap_dev_signed": past[10],
    }
    neutral = {"rv_60s_bps": busy, "regime_q": np.argsort(np.argsort(busy)) / rows}

    first = rng.choice((rows - _WARM - 2 * _HORIZON) // cluster, -(-n // cluster), replace=False) * cluster
    at = np.sort((_WARM + first[:, None] + np.arange(cluster)).ravel()[:n])
    side = np.where(known["ofi_roll"][at] + rng.standard_normal(n) > 0, 1, -1)
    seen = at[:, None] - np.arange(T - 1, -1, -1)
    x = rng.standard_normal((n, T, len(CHANNELS)))
    for name, values in (known | neutral).items():
        x[:, :, CHANNELS.index(name)] = values[seen] * (side[:, None] if name in known else 1)
    path = side[:, None] * (price[at[:, None] + np.arange(1, _HORIZON + 1)] - price[at][:, None]) / _R
    out = np.where(path >= LABEL.R_target, 1, np.where(path <= -LABEL.R_stop, -1, 0))
    end = np.where(out.any(axis=1), (out != 0).argmax(axis=1), _HORIZON - 1)
    ts_ns = _T0_NS + at * WINDOW_NS
    t_end = ts_ns + (end + 1) * WINDOW_NS
    ctx = np.zeros((n, len(CTX_NAMES)), np.float32)
    ctx[:, 0] = 1.0
    return Walk(
        x.astype(np.float32), ctx, (out[np.arange(n), end] == 1).astype(np.int64), average_uniqueness(ts_ns, t_end),
        ts_ns, ts_ns - T * WINDOW_NS, t_end, path[np.arange(n), end], side, price, at,
    )  # fmt: skip


def _slow(rng: np.random.Generator, rows: int, seconds: float) -> np.ndarray:
    """A stationary series of mean 0 and deviation 1 that forgets in so many seconds."""
    keep = np.exp(-1 / (seconds * _ROWS_S))
    return lfilter([np.sqrt(1 - keep**2)], [1, -keep], rng.standard_normal(rows))
