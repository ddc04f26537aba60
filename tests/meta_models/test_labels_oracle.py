"""The compiled labels against the brute-force ones on random toy tapes; the clock ticks in milliseconds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.constants import LABEL, MS_NS, ORDER
from feature_repo.instruments import FeeTier, Instrument
from feature_repo.table import QUOTE_DTYPE
from meta_models.labels import (
    INVALID,
    OUTCOMES,
    STOP,
    TARGET,
    TIMEOUT,
    UNFILLED,
    label_candidates,
    tri_barrier_label,
)
from runtime.candidate import Candidate, Entry, SigType, Tier
from tests.meta_models.label_oracle import left_exchange, oracle_label
from tests.meta_models.test_labels import TRADE_ROW

STYLES = ("taker", "ioc", "maker")
FACES = (0.0, 700.0)
FEE = FeeTier("test", 2.0, 5.0)


@dataclass(frozen=True)
class Draw:
    """One order on one tape; times in ms."""

    quotes: np.ndarray
    trades: np.ndarray
    t_send: int
    side: int
    price: float
    R_bps: float
    R_target: float
    latency: int
    gap: int
    expiry: int
    horizon: int
    end: int
    size: float
    lot: float


def draw(seed):
    """A dense tape with holes, one-sided books, equal stamps, clocks that are ahead, thin levels; and an order."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    q = np.zeros(n, QUOTE_DTYPE)
    q["local_ts"] = np.sort(rng.integers(0, 400, n))
    q["exch_ts"] = np.maximum.accumulate(q["local_ts"] - rng.integers(-2 if rng.random() < 0.2 else 0, 12, n))
    mid = 1000 + np.cumsum(rng.integers(-3, 4, n) + rng.choice([-1, 0, 1]))
    q["bid"] = mid - rng.integers(1, 3, n)
    q["ask"] = mid + rng.integers(1, 3, n)
    q["bid_qty"], q["ask_qty"] = rng.integers(1, 9, n), rng.integers(1, 9, n)
    if rng.random() < 0.3:
        for row in rng.integers(0, n, rng.integers(1, 3)):
            gone = [("bid", "bid_qty"), ("ask", "ask_qty"), ("bid", "ask", "bid_qty", "ask_qty")][rng.integers(0, 3)]
            for name in gone:
                q[name][row] = np.nan
    m = int(rng.integers(0, 80))
    t = np.zeros(m, TRADE_ROW)
    t["exch_ts"] = np.sort(rng.integers(0, 400, m))
    t["local_ts"] = t["exch_ts"] + 5
    t["px"] = 1000 + rng.integers(-8, 9, m)
    t["qty"], t["side"] = rng.integers(1, 5, m), rng.choice([-1, 1], m)
    # Sizes above and below what a level holds; R of whole and half ticks, so that barriers meet quotes exactly.
    return Draw(
        quotes=q,
        trades=t,
        t_send=int(rng.integers(0, 120)),
        side=int(rng.choice([-1, 1])),
        price=1000.0 + int(rng.integers(-4, 5)) + float(rng.choice([0.0, 0.4])),
        R_bps=float(rng.choice([10.0, 25.0, 40.0, np.nan], p=[0.3, 0.4, 0.27, 0.03])),
        R_target=float(rng.choice([0.8, 0.9, 1.0])),
        latency=int(rng.integers(0, 15)),
        gap=int(rng.integers(0, 12)),
        expiry=int(rng.choice([20, 100])),
        horizon=int(rng.choice([1, 100])),
        end=int(rng.integers(50, 420)),
        size=float(rng.choice([3_000.0, 30_000.0])),
        lot=float(rng.choice([0.0, 0.25, 2.0, 5.0])),
    )


def in_ns(rows):
    out = rows.copy()
    for name in ("local_ts", "exch_ts"):
        out[name] *= MS_NS
    return out


def as_lists(rows):
    return [dict(zip(rows.dtype.names, (v.item() for v in row), strict=True)) for row in rows]


def expected(d, style, face):
    """What the oracle says of the draw, with the prices and returns that follow from it."""
    limit = None
    if style == "maker":
        # With an instrument the limit is a whole tick, away from the other side.
        limit = d.price if d.lot == 0 else float(math.floor(d.price) if d.side > 0 else math.ceil(d.price))
    outcome, t_fill, t_end, entry, exit = oracle_label(
        as_lists(d.quotes), as_lists(d.trades), t_send=d.t_send, side=d.side, R_bps=d.R_bps, R_target=d.R_target,
        latency=d.latency, horizon=d.horizon, end=d.end, slices=3 if style == "ioc" else 1, gap=d.gap, size=d.size,
        lot=d.lot, limit=limit, expiry=d.expiry, face=face,
    )  # fmt: skip
    if entry is None:
        return outcome, None
    ratio = entry / exit if face else exit / entry
    gross = d.side * ((1 - ratio) if face else (ratio - 1)) * 10_000
    net = gross - (2 if style == "maker" else 5) - 5 * ratio
    return outcome, (t_fill * MS_NS, t_end * MS_NS, float(entry), float(exit), float(gross), float(net))


def labelled(d, style, face):
    """The same draw through the batch form, and through the scalar one where that knows the case."""
    order = replace(
        ORDER, base_size_usd=d.size, slice_gap_ms=d.gap, maker_expiry_ms=d.expiry, order_latency_ms=d.latency,
        compute_ms=0, ioc_slices=3 if style == "ioc" else 1,
    )  # fmt: skip
    quotes, trades = in_ns(d.quotes), in_ns(d.trades)
    entry = Entry.MAKER if style == "maker" else Entry.IOC
    one = Candidate(d.t_send * MS_NS, "TOY", d.side, SigType.MOMENTUM, Tier.A, d.price, d.R_bps, d.R_bps, 0.0, entry, 0)
    facts = Instrument("toy", "TOY", 1.0, d.lot, 0, inverse=face > 0, contract_value=face or 1.0)
    barriers = replace(LABEL, R_target=d.R_target, horizon_ms=d.horizon)
    if d.lot > 0:
        return label_candidates(
            quotes, trades, [one], FEE, label=barriers, order=order, instrument=facts, end_ns=d.end * MS_NS
        )[0]
    return tri_barrier_label(
        quotes, one.ts_ns, d.side, d.R_target, LABEL.R_stop, d.horizon, R_bps=d.R_bps, latency_ns=d.latency * MS_NS,
        entry=style, price=d.price, trades=trades, fee=FEE, order=order, face_value=face, end_ns=d.end * MS_NS,
    )  # fmt: skip


def check(seed, style, face):
    d = draw(seed)
    outcome, trade = expected(d, style, face)
    got = labelled(d, style, face)
    names = got.dtype.names if isinstance(got, np.void) else got._fields
    row = dict(zip(names, got.item() if isinstance(got, np.void) else got, strict=True))
    assert OUTCOMES[row["outcome"]] == OUTCOMES[outcome]
    assert row["y"] == (1 if outcome == TARGET else 0 if outcome in (STOP, TIMEOUT) else -1)
    assert row["weight"] == (1.0 if trade else 0.0)
    if trade is None:
        assert row["t_fill_ns"] == -1
        assert all(math.isnan(row[n]) for n in ("entry_px", "exit_px", "gross_bps", "net_bps"))
        return outcome
    t_fill, t_end, entry, exit, gross, net = trade
    assert (row["t_fill_ns"], row["t_end_ns"], row["exit_px"]) == (t_fill, t_end, exit)
    assert row["entry_px"] == pytest.approx(entry, rel=1e-15)
    assert row["gross_bps"] == pytest.approx(gross, abs=1e-9)
    assert row["net_bps"] == pytest.approx(net, abs=1e-9)
    return outcome


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.sampled_from(STYLES), st.sampled_from(FACES))
def test_equals_the_oracle(seed, style, face):
    check(seed, style, face)


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("style", STYLES)
def test_300_tapes_reach_every_outcome(style, face):
    seen = Counter(check(seed, style, face) for seed in range(300))
    assert all(seen[k] >= 5 for k in (TARGET, STOP, TIMEOUT, UNFILLED, INVALID)), seen


def test_the_tapes_hold_what_they_promise():
    draws = [draw(seed) for seed in range(300)]
    ties = sum(len(np.unique(d.quotes["local_ts"])) < len(d.quotes) for d in draws)
    both = sum(bool({left_exchange(q) for q in d.quotes} & set(d.trades["exch_ts"].tolist())) for d in draws)
    ahead = sum(bool(np.any(d.quotes["exch_ts"] > d.quotes["local_ts"])) for d in draws)
    one_sided = sum(bool(np.any(np.isnan(d.quotes["bid"]) != np.isnan(d.quotes["ask"]))) for d in draws)
    inside = sum(d.t_send < d.end < d.t_send + d.horizon for d in draws)
    assert min(ties, both) > 150
    assert min(ahead, one_sided, inside) > 20
