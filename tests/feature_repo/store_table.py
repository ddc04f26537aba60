"""A small feature table with known numbers, for the store's tests."""

from __future__ import annotations

import numpy as np

from feature_repo.constants import WINDOW_NS
from feature_repo.fields import CHANNELS, CTX_NAMES, MARKET_DTYPE
from feature_repo.instruments import SIMULATED_SYMBOL
from feature_repo.offline import candidate_id
from feature_repo.table import QUOTE_DTYPE, FeatureTable

START_NS = 1_767_571_200_000_000_000  # 2026-01-05 00:00 UTC
DAY_NS = 86_400_000_000_000


def make_table(
    rows: int = 400,
    *,
    symbol: str = SIMULATED_SYMBOL,
    seed: int = 1,
    invalid: slice = slice(0, 20),
    start_ns: int = START_NS + WINDOW_NS,
) -> FeatureTable:
    """Random channels; the rows in ``invalid`` are not valid. The first row's window begins at midnight."""
    rng = np.random.default_rng(seed)
    market = np.zeros(rows, MARKET_DTYPE)
    for name in MARKET_DTYPE.names:
        if MARKET_DTYPE[name].kind == "f":
            market[name] = rng.standard_normal(rows)
    market["t_ns"] = start_ns + np.arange(rows) * WINDOW_NS
    market["valid"] = True
    market["valid"][invalid] = False
    market["vwap"][::3] = np.nan
    market["slip_buy_bps"][::5] = np.inf
    X = rng.standard_normal((rows, len(CHANNELS)), dtype=np.float32)
    X[::7, 3] = -0.0
    X[::11, 4] = np.float32(1e-42)  # subnormal
    return FeatureTable("simulated", symbol, True, X, market, np.zeros(0, QUOTE_DTYPE), 0.01)


def some_candidates(table: FeatureTable, rows: list[int], *, seed: int = 2):
    """Keys, times and contexts of candidates at these rows of the table."""
    ts = table.t_ns[rows]
    ids = [candidate_id(table.symbol, t, 1 if i % 2 else -1) for i, t in enumerate(ts)]
    ctx = np.random.default_rng(seed).standard_normal((len(rows), len(CTX_NAMES)), dtype=np.float32)
    return ids, ts, ctx
