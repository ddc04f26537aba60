"""Labels and shadow run place the same orders: outcomes must agree, and parents must not meet each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feature_repo.build import build_features
from feature_repo.events import BUY, DEPTH, EVENT_DTYPE, EXCH, KIND_MASK, LOCAL, SELL, TRADE
from feature_repo.instruments import INSTRUMENTS, FeeTier
from feature_repo.market.tape import Tape, read_tape, to_hftbacktest
from feature_repo.table import QUOTE_DTYPE
from meta_models.labels import INVALID, STOP, TARGET, TIMEOUT, label_candidates
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.shadow import OK, ORDER_DTYPE, blind_spans, replay

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process

MS = 1_000_000
ETH = INSTRUMENTS[("binance_usdm", "ETHUSDT")]
FEE = FeeTier("test", 2.0, 5.0)
RECORDING = Path(__file__).parents[3] / "shared" / "data" / "binance_usdm_ethusdt"


def random_tape(seed, n=30_000):
    """A book of three levels a side that walks, with late and bunched feeds, and trades at the touch."""
    rng = np.random.default_rng(seed)
    rows, t, tick = [], 10_000 * MS, 200_000
    local = t
    book = {}
    for step in range(n):
        t += int(rng.exponential(4 * MS)) + 1
        local = max(local, t + int(rng.gamma(2.0, 2.0) * MS))
        if step == 0 or rng.random() < 0.3:
            tick += int(rng.integers(-3, 4))
        if rng.random() < 0.2:
            up = rng.random() < 0.5
            px = (
                max(b for (f, b) in book if f == BUY)
                if not up and book
                else min((b for (f, b) in book if f == SELL), default=tick)
            )
            rows.append((TRADE | (BUY if up else SELL), t, local, px * 0.01, float(rng.integers(1, 30)), 0, 0, 0.0))
            continue
        want = {(BUY, tick - 1 - k): float(rng.integers(1, 60)) for k in range(3)}
        want |= {(SELL, tick + 1 + k): float(rng.integers(1, 60)) for k in range(3)}
        for side, px in [k for k in book if k not in want]:
            rows.append((DEPTH | side, t, local, px * 0.01, 0.0, 0, 0, 0.0))
        rows += [(DEPTH | side, t, local, px * 0.01, q, 0, 0, 0.0) for (side, px), q in want.items()]
        book = want
    events = np.array(rows, EVENT_DTYPE)
    events["ev"] |= np.uint64(LOCAL | EXCH)
    return Tape("binance_usdm", "ETHUSDT", events, {})


def best_quotes(events):
    """QUOTE rows of a `random_tape`, by its own bookkeeping; the engine has no part in it."""
    out, book = [], {BUY: {}, SELL: {}}
    for (t, local), rows in _messages(events):
        for ev, px, qty in rows:
            if ev & KIND_MASK == DEPTH:
                side = book[BUY if ev & BUY else SELL]
                side.pop(px, None)
                if qty:
                    side[px] = qty
        if book[BUY] and book[SELL]:
            bid, ask = max(book[BUY]), min(book[SELL])
            out.append((local, t, bid, ask, book[BUY][bid], book[SELL][ask]))
    return np.array(out, QUOTE_DTYPE)


def _messages(events):
    start = 0
    for i in range(1, len(events) + 1):
        if i == len(events) or events["exch_ts"][i] != events["exch_ts"][start]:
            part = events[start:i]
            rows = zip(part["ev"].tolist(), part["px"].tolist(), part["qty"].tolist(), strict=True)
            yield (int(part["exch_ts"][0]), int(part["local_ts"][0])), rows
            start = i


def compare(tape, hft, quotes, ts, entry, R_bps, seed=0):
    """(labels, trades, share of equal outcomes) for the same random orders."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1, 1], len(ts))
    at = np.searchsorted(quotes["local_ts"], ts, side="right") - 1
    price = np.where(side > 0, quotes["bid"][at], quotes["ask"][at])
    o = np.zeros(len(ts), ORDER_DTYPE)
    o["ts_ns"], o["side"], o["entry"], o["price"], o["R_bps"], o["notional"] = ts, side, entry, price, R_bps, 10_000.0
    candidates = [
        Candidate(int(t), "ETHUSDT", int(s), SigType.MOMENTUM, Tier.A, float(p), R_bps, R_bps, 1.0, entry, int(t) + 1)
        for t, s, p in zip(ts, side, price, strict=True)
    ]
    trades = tape.events[(tape.events["ev"] & KIND_MASK) == TRADE]
    labels = label_candidates(quotes, trades, candidates, FEE, instrument=ETH, end_ns=tape.span_ns[1])
    got = replay(hft, ETH, o, fee=FEE, one_at_a_time=False, blind=blind_spans(quotes))
    return labels, got, float(np.mean(labels["outcome"] == got["outcome"]))


@pytest.fixture(scope="module")
def made_up():
    tape = random_tape(1)
    return tape, to_hftbacktest(tape), best_quotes(tape.events)


@pytest.mark.parametrize("entry", list(Entry))
def test_outcomes_agree_with_the_labels_on_a_made_up_tape(made_up, entry):
    tape = made_up[0]
    lo, hi = tape.span_ns
    ts = np.arange(lo + 1000 * MS, hi, 250 * MS)
    labels, got, share = compare(*made_up, ts, entry, 6.0)
    assert share >= 0.99, f"{share:.4f} of {len(ts)}"
    assert len(set(labels["outcome"].tolist())) >= 4
    both = (labels["y"] >= 0) & (got["status"] == OK)
    np.testing.assert_allclose(labels["entry_px"][both], got["entry_px"][both], rtol=2e-6)


def test_parents_do_not_meet_each_other(made_up):
    tape, hft, quotes = made_up
    lo, _ = tape.span_ns
    ts = lo + np.arange(5, 65) * 300 * MS
    o = np.zeros(len(ts), ORDER_DTYPE)
    o["ts_ns"], o["side"], o["R_bps"], o["notional"] = ts, np.where(np.arange(60) % 3, 1, -1), 6.0, 10_000.0
    o["entry"], o["price"] = np.arange(60) % 2, quotes["bid"][np.searchsorted(quotes["local_ts"], ts)]
    for exit in ("label", "runner"):
        together = replay(hft, ETH, o, fee=FEE, exit=exit, one_at_a_time=False)
        alone = np.concatenate([replay(hft, ETH, o[i : i + 1], fee=FEE, exit=exit) for i in range(0, 60, 4)])
        np.testing.assert_equal(together[::4].tolist(), alone.tolist())


def test_the_same_run_twice_gives_the_same_bytes(made_up):
    tape, hft, _ = made_up
    o = np.zeros(2, ORDER_DTYPE)
    o["ts_ns"], o["side"] = tape.span_ns[0] + np.array([20_000, 21_000]) * MS, [1, -1]
    o["R_bps"], o["notional"] = 6.0, 10_000.0
    first, second = (replay(hft, ETH, o, fee=FEE).tobytes() for _ in range(2))
    assert first == second


@pytest.fixture(scope="module")
def recorded():
    if not RECORDING.exists():
        pytest.skip(f"no recording at {RECORDING}")
    tape = read_tape(RECORDING)
    return tape, to_hftbacktest(tape), build_features(tape).quotes


@pytest.mark.parametrize("entry", list(Entry))
def test_outcomes_agree_with_the_labels_on_the_recording(recorded, entry):
    tape, _, quotes = recorded
    lo, hi = int(quotes["local_ts"][0]), tape.span_ns[1]
    ts = np.arange(lo + 1000 * MS, hi, 500 * MS)
    labels, got, share = compare(*recorded, ts, entry, 5.0)
    assert len(ts) > 900
    assert share >= 0.99, f"{share:.4f} of {len(ts)}"
    assert {TARGET, STOP, TIMEOUT, INVALID} <= set(labels["outcome"].tolist())
    both = (labels["y"] >= 0) & (got["status"] == OK)
    np.testing.assert_allclose(labels["entry_px"][both], got["entry_px"][both], rtol=1e-9)
