"""The compiled labels against the brute-force ones on random toy tapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.constants import ORDER
from feature_repo.table import QUOTE_DTYPE
from meta_models.labels import INVALID, STOP, TARGET, TIMEOUT, UNFILLED, tri_barrier_label
from tests.meta_models.label_oracle import oracle_label
from tests.meta_models.test_labels import MS, TRADE_ROW


def tape_of(seed):
    """A dense toy tape with holes, equal stamps and thin levels, and one order on it."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 60))
    q = np.zeros(n, QUOTE_DTYPE)
    q["local_ts"] = np.sort(rng.integers(0, 400, n))
    q["exch_ts"] = np.maximum.accumulate(q["local_ts"] - rng.integers(0, 12, n))
    mid = 1000 + np.cumsum(rng.integers(-3, 4, n))
    q["bid"] = mid - rng.integers(1, 3, n)
    q["ask"] = mid + rng.integers(1, 3, n)
    q["bid_qty"], q["ask_qty"] = rng.integers(1, 9, n), rng.integers(1, 9, n)
    if rng.random() < 0.3:
        hole = rng.integers(0, n)
        for name in ("bid", "ask", "bid_qty", "ask_qty"):
            q[name][hole] = np.nan
    m = int(rng.integers(0, 80))
    t = np.zeros(m, TRADE_ROW)
    t["exch_ts"] = np.sort(rng.integers(0, 400, m))
    t["local_ts"] = t["exch_ts"] + 5
    t["px"] = 1000 + rng.integers(-8, 9, m)
    t["qty"], t["side"] = rng.integers(1, 5, m), rng.choice([-1, 1], m)
    # The size is a draw above and below what a level holds; R is whole and half ticks, so that barriers meet quotes.
    order = {
        "t_send": int(rng.integers(0, 120)),
        "side": int(rng.choice([-1, 1])),
        "R_bps": float(rng.choice([10.0, 25.0, 40.0])),
        "latency": int(rng.integers(0, 15)),
        "gap_ms": int(rng.integers(0, 2)),
        "end": int(rng.integers(200, 420)),
        "size": float(rng.choice([3_000.0, 30_000.0])),
    }
    return q, t, order


def as_lists(q):
    return [dict(zip(q.dtype.names, (v.item() for v in row), strict=True)) for row in q]


SCALE = MS // 100  # the toy clock ticks in 10 us, so that a horizon of whole ms is 100 ticks


def check(q, t, o, style, face=0.0):
    q, t = q.copy(), t.copy()
    for name in ("local_ts", "exch_ts"):
        q[name] *= SCALE
        t[name] *= SCALE
    t_send, latency, end = (o[k] * SCALE for k in ("t_send", "latency", "end"))
    order = replace(ORDER, base_size_usd=o["size"], slice_gap_ms=o["gap_ms"], maker_expiry_ms=1)
    limit = None
    slices = 3 if style == "ioc" else 1
    if style == "maker":
        limit = 1000.0 + (o["t_send"] % 9 - 4)
    want = oracle_label(
        as_lists(q), as_lists(t), t_send=t_send, side=o["side"], R_bps=o["R_bps"], latency=latency, horizon=MS, end=end,
        slices=slices, gap=o["gap_ms"] * MS, size=o["size"], limit=limit, expiry=MS,
        face=face,
    )  # fmt: skip
    got = tri_barrier_label(
        q, t_send, o["side"], horizon_ms=1, R_bps=o["R_bps"], latency_ns=latency, entry=style, price=limit, trades=t,
        order=order, face_value=face, end_ns=end,
    )  # fmt: skip
    assert got.outcome == want[0]
    if want[1] is not None:
        assert got.t_fill_ns == want[1]
        assert got.entry_px == pytest.approx(want[2], rel=1e-12)
        assert got.exit_px == want[3]
    return got


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["taker", "ioc", "maker"]), st.sampled_from([0.0, 700.0]))
def test_equals_the_oracle(seed, style, face):
    check(*tape_of(seed), style, face)


def test_the_random_tapes_reach_every_outcome():
    seen = {(style, check(*tape_of(seed), style).outcome) for seed in range(300) for style in ("taker", "maker")}
    outcomes = (TARGET, STOP, TIMEOUT, INVALID)
    assert seen == {(s, k) for s in ("taker", "maker") for k in outcomes} | {("maker", UNFILLED)}
