"""The triple barrier by hand: timing, fills, makers, lots, inverse contracts, and nothing seen past the end."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.constants import LABEL
from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH, EVENT_DTYPE, SELL, TRADE
from feature_repo.instruments import FeeTier, Instrument
from feature_repo.table import QUOTE_DTYPE
from meta_models.labels import INVALID, STOP, TARGET, TIMEOUT, UNFILLED, label_candidates, tri_barrier_label
from runtime.candidate import Candidate, Entry, SigType, Tier

MS = 1_000_000
FEE = FeeTier("test", 2.0, 5.0)
TRADE_ROW = np.dtype([("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("side", "i8")])


def quotes(*rows, delay=5):
    """(local ms, bid, ask[, bid_qty, ask_qty]) with the exchange ``delay`` ms earlier."""
    out = np.zeros(len(rows), QUOTE_DTYPE)
    for o, (t, bid, ask, *qty) in zip(out, rows, strict=True):
        o["local_ts"], o["exch_ts"], o["bid"], o["ask"] = t * MS, (t - delay) * MS, bid, ask
        o["bid_qty"], o["ask_qty"] = qty or (1000.0, 1000.0)
    return out


def trades(*rows, delay=5):
    """(local ms, px, qty, aggressor)."""
    return np.array([((t - delay) * MS, t * MS, px, qty, side) for t, px, qty, side in rows], TRADE_ROW)


# R = 100 bps of 100.1: the long's target lies at 101.0009, its stop at 98.9989.
START = (100, 100.0, 100.1)
LATE = (90_000, 100.0, 100.1)


def long(*rows, **kw):
    q = quotes(START, *rows, LATE)
    return tri_barrier_label(q, 1000 * MS, 1, R_bps=100.0, latency_ns=20 * MS, entry="taker", fee=FEE, **kw)


def test_target():
    got = long((3000, 101.0, 101.1), (4000, 101.01, 101.1), (4016, 101.2, 101.3), (4030, 102.0, 102.1))
    assert (got.outcome, got.y, got.t_fill_ns, got.t_end_ns) == (TARGET, 1, 1020 * MS, 4020 * MS)
    # The exit reaches the exchange at 4020 and meets the quote of exchange time 4011.
    assert (got.entry_px, got.exit_px) == (100.1, 101.2)
    gross = (101.2 / 100.1 - 1) * 1e4
    assert got.gross_bps == pytest.approx(gross, abs=1e-9)
    assert got.net_bps == pytest.approx(gross - 5 - 5 * 101.2 / 100.1, abs=1e-9)
    assert (got.ts_ns, got.weight) == (1000 * MS, 1.0)


def test_target_just_missed_is_a_timeout():
    got = long((4000, 101.0, 101.1))
    assert (got.outcome, got.y, got.t_end_ns, got.exit_px) == (TIMEOUT, 0, (1020 + 60_000 + 20) * MS, 101.0)


def test_stop():
    got = long((4000, 98.99, 99.1))
    assert (got.outcome, got.y, got.t_end_ns, got.exit_px) == (STOP, 0, 4020 * MS, 98.99)


def test_stop_of_a_short_is_judged_on_the_ask():
    q = quotes(START, (4000, 100.9, 101.2), LATE)
    got = tri_barrier_label(q, 1000 * MS, -1, R_bps=100.0, latency_ns=20 * MS, entry="taker")
    assert (got.outcome, got.entry_px, got.exit_px) == (STOP, 100.0, 101.2)
    assert got.gross_bps == pytest.approx(-120.0)
    assert got.net_bps == got.gross_bps


def test_both_inside_one_event_is_a_stop():
    assert long((4000, 102.0, 102.1), (4000, 98.0, 98.1)).outcome == STOP
    assert long((4000, 98.0, 98.1), (4000, 102.0, 102.1)).outcome == STOP


def test_an_inverse_contract_earns_coins():
    q = quotes(START, (4000, 110.0, 110.1), LATE)
    kw = {"R_bps": 100.0, "latency_ns": 20 * MS, "entry": "taker", "fee": FEE, "face_value": 10.0}
    got = tri_barrier_label(q, 1000 * MS, 1, **kw)
    # 1,000 contracts of 10 dollars: 99.90 coins go in at 100.1, 90.91 come back at 110.
    bought, sold = 10_000 / 100.1, 10_000 / 110.0
    assert (got.outcome, got.entry_px, got.exit_px) == (TARGET, 100.1, 110.0)
    assert got.gross_bps == pytest.approx((bought - sold) / bought * 1e4, rel=1e-12)
    assert got.gross_bps == pytest.approx((1 - 100.1 / 110.0) * 1e4, rel=1e-12)
    fees = 5e-4 * (bought + sold)
    assert got.net_bps == pytest.approx((bought - sold - fees) / bought * 1e4, rel=1e-12)
    short = tri_barrier_label(q, 1000 * MS, -1, **kw)
    assert (short.outcome, short.entry_px, short.exit_px) == (STOP, 100.0, 110.1)
    assert short.gross_bps == pytest.approx(-(1 - 100.0 / 110.1) * 1e4, rel=1e-12)


def test_slices_of_an_inverse_contract_are_whole_contracts_at_their_harmonic_mean():
    q = quotes(START, (1150, 100.0, 100.2, 500.0, 10.0), (1300, 100.0, 100.4, 500.0, 500.0), LATE)
    facts = Instrument("binance_coinm", "ETHUSD_PERP", 0.01, 1.0, 8, inverse=True, contract_value=10.0)
    (got,) = label_candidates(q, trades(), [candidate(1000 * MS, R_bps=300.0)], FEE, instrument=facts)
    # A third of 10,000 is 333 whole contracts of 10; the second slice sees 10 of them.
    contracts, px = np.array([333.0, 10.0, 333.0]), np.array([100.1, 100.2, 100.4])
    assert got["entry_px"] == pytest.approx(contracts.sum() / (contracts / px).sum(), rel=1e-12)
    assert got["gross_bps"] == pytest.approx((1 - got["entry_px"] / 100.0) * 1e4, rel=1e-9)


def test_nothing_is_judged_before_the_answer_is_back():
    # Local 1039 is before the answer at 1040; the quote is still in force at 1040 in the second case only.
    assert long((1030, 102.0, 102.1), (1039, 100.0, 100.1)).outcome == TIMEOUT
    got = long((1030, 102.0, 102.1))
    assert (got.outcome, got.t_end_ns) == (TARGET, 1060 * MS)


def test_touch_on_the_horizon_counts_and_after_it_does_not():
    assert long((61_020, 102.0, 102.1)).outcome == TARGET
    assert long((61_021, 102.0, 102.1)).outcome == TIMEOUT


def test_a_gap_in_the_span_is_invalid():
    hole = (math.nan, math.nan)
    for rows in ([(500, *hole), (600, 100.0, 100.1)], [(2000, 102.0, 102.1), (3000, *hole)]):
        assert long(*rows).y >= 0
    for rows in ([(900, *hole), (1001, 100.0, 100.1)], [(1010, *hole), (1015, 100.0, 100.1)], [(3000, *hole)]):
        got = long(*rows)
        assert (got.outcome, got.y, got.t_fill_ns, got.weight) == (INVALID, -1, -1, 0.0)
        assert math.isnan(got.net_bps)


def test_past_the_end_of_the_tape_is_invalid_and_no_timeout():
    q = quotes(START, (61_000, 100.0, 100.1))
    kw = {"R_bps": 100.0, "latency_ns": 20 * MS, "entry": "taker"}
    assert tri_barrier_label(q, 1000 * MS, 1, **kw).outcome == INVALID
    assert tri_barrier_label(q, 1000 * MS, 1, end_ns=61_039 * MS, **kw).outcome == INVALID
    assert tri_barrier_label(q, 1000 * MS, 1, end_ns=61_040 * MS, **kw).outcome == TIMEOUT
    assert tri_barrier_label(quotes((1, 1.0, 1.1))[:0], 0, 1, **kw).outcome == INVALID


def test_unknown_R_is_invalid():
    q = quotes(START, LATE)
    assert tri_barrier_label(q, 1000 * MS, 1, R_bps=math.nan, latency_ns=0, entry="taker").outcome == INVALID


def test_slices_are_weighted_by_what_the_best_level_held():
    # 10,000 in three slices of about 33.3 units; the second sees 10 units only.
    q = quotes(START, (1150, 100.0, 100.2, 500.0, 10.0), (1300, 100.0, 100.4, 500.0, 500.0), LATE)
    got = tri_barrier_label(q, 1000 * MS, 1, R_bps=300.0, latency_ns=20 * MS, entry="ioc")
    sizes = [10_000 / 3 / 100.05, 10.0, 10_000 / 3 / 100.2]
    assert got.entry_px == pytest.approx(np.average([100.1, 100.2, 100.4], weights=sizes), abs=1e-12)
    assert got.t_fill_ns == 1020 * MS


# Long limit at 100.0 = the best bid of 50 units when it arrives at 1020; it rests until 6020.
def resting(*tr, rows=(), price=100.0):
    q = quotes((100, 100.0, 100.2, 50.0, 50.0), *rows, LATE)
    return tri_barrier_label(
        q, 1000 * MS, 1, R_bps=100.0, latency_ns=20 * MS, entry="maker", price=price, trades=trades(*tr), fee=FEE
    )


def test_maker_fills_once_trades_exceed_the_queue():
    assert resting((3005, 100.0, 50.0, -1)).outcome == UNFILLED
    assert resting((3005, 100.0, 50.1, 1)).outcome == UNFILLED  # buyers lift the offer, not us
    got = resting((2005, 100.0, 50.0, -1), (3005, 100.0, 0.1, -1))
    assert (got.outcome, got.t_fill_ns, got.entry_px) == (TIMEOUT, 3000 * MS, 100.0)
    assert got.t_end_ns == 63_020 * MS
    assert got.net_bps == pytest.approx(-2 - 5, abs=1e-9)


def test_maker_fills_on_trade_or_quote_through():
    assert resting((3005, 99.9, 0.1, -1)).t_fill_ns == 3000 * MS
    assert resting(rows=[(3005, 99.8, 100.0)]).t_fill_ns == 3000 * MS


def test_maker_queue_never_exceeds_the_level():
    rows = [(2000, 100.0, 100.2, 5.0, 50.0), (2100, 100.0, 100.2, 80.0, 50.0)]
    assert resting((3005, 100.0, 5.0, -1), rows=rows).outcome == UNFILLED
    assert resting((3005, 100.0, 5.1, -1), rows=rows).t_fill_ns == 3000 * MS


def test_maker_meets_a_trade_before_the_quote_it_leaves():
    # 50 ahead, 6 traded, 5 left at the level: first 44, then 5. The other way round it would be filled.
    assert resting((3005, 100.0, 6.0, -1), rows=[(3005, 100.0, 100.2, 5.0, 50.0)]).outcome == UNFILLED


def test_maker_unfilled_after_its_expiry():
    got = resting((6026, 99.0, 9.0, -1))
    assert (got.outcome, got.y, got.t_fill_ns, got.t_end_ns, got.weight) == (UNFILLED, -1, -1, 6020 * MS, 0.0)
    assert resting((6025, 99.0, 9.0, -1)).t_fill_ns == 6020 * MS


def test_maker_that_would_take_is_pulled_back_or_expires():
    # At or through the opposite quote when sent: joins the best bid. Crossed on its way: the exchange expires it.
    assert resting((3005, 100.0, 50.1, -1), price=101.0).entry_px == 100.0
    got = resting(rows=[(1010, 99.0, 100.1)], price=100.1)
    assert (got.outcome, got.t_end_ns) == (UNFILLED, 1020 * MS)


def test_bad_arguments_are_refused():
    q = quotes(START, LATE)
    kw = {"R_bps": 10.0, "latency_ns": 0, "entry": "taker"}
    for bad in ({"R_target": 0.79}, {"R_target": 1.01}, {"R_stop": 0.0}, {"horizon_ms": 0}, {"latency_ns": -1}):
        with pytest.raises(InputError, match="Expected"):
            tri_barrier_label(q, 0, 1, **{**kw, **bad})
    for bad in ({"entry": "market"}, {"entry": "maker"}):
        with pytest.raises(InputError):
            tri_barrier_label(q, 0, 1, **{**kw, **bad})
    with pytest.raises(InputError, match="side"):
        tri_barrier_label(q, 0, 0, **kw)
    with pytest.raises(InputError, match="goes back"):
        tri_barrier_label(q[::-1], 0, 1, **kw)
    with pytest.raises(InputError, match="quotes without bid_qty, ask_qty"):
        tri_barrier_label(q[["local_ts", "exch_ts", "bid", "ask"]], 0, 1, **kw)
    with pytest.raises(InputError, match="quotes without local_ts"):
        tri_barrier_label(np.zeros((3, 6)), 0, 1, **kw)


def shake(q, t, after, rng):
    """Everything that is seen, or happens at the exchange, after an instant becomes something else."""
    q, t = q.copy(), t.copy()
    late = (q["local_ts"] > after) & (q["exch_ts"] > after)
    for name in ("bid", "ask"):
        q[name][late] *= rng.uniform(0.5, 2.0)
    t["px"][t["exch_ts"] > after] *= rng.uniform(0.5, 2.0)
    return q, t


def test_no_label_looks_past_its_end():
    rng = np.random.default_rng(5)
    q = quotes(*[(100 * i, 100 + w, 100.1 + w) for i, w in enumerate(rng.normal(0, 0.05, 2000).cumsum())])
    t = trades(
        *[
            (100 * i + 50, 100.0 + w, 3.0, s)
            for i, (w, s) in enumerate(zip(rng.normal(0, 2, 1990), rng.choice([-1, 1], 1990), strict=True))
        ]
    )
    changed = 0
    for k in range(40):
        style = ("taker", "ioc", "maker")[k % 3]
        t0, side = int(rng.integers(1, 120)) * 1000 * MS, int(rng.choice([-1, 1]))
        args = {"R_bps": 20.0, "latency_ns": 20 * MS, "entry": style, "price": 100.0, "end_ns": 200_000 * MS}
        got = tri_barrier_label(q, t0, side, trades=t, **args)
        q2, t2 = shake(q, t, got.t_end_ns, rng)
        np.testing.assert_equal(tuple(tri_barrier_label(q2, t0, side, trades=t2, **args)), tuple(got))
        q3, t3 = shake(q, t, (t0 + got.t_end_ns) // 2, rng)
        changed += tuple(tri_barrier_label(q3, t0, side, trades=t3, **args)) != tuple(got)
    assert changed > 20  # the probe can see a look-ahead


def candidate(ts_ns, side=1, price=100.0, R_bps=50.0, entry=Entry.IOC, symbol="ETHUSDT"):
    return Candidate(ts_ns, symbol, side, SigType.MOMENTUM, Tier.A, price, R_bps, 45.0, 1.0, entry, ts_ns + 1000 * MS)


def drifting(seed=11, n=4000):
    rng = np.random.default_rng(seed)
    w = rng.normal(0, 0.03, n).cumsum().round(2)
    q = quotes(*[(100 * i, 100 + x, 100.01 + x, *rng.integers(1, 200, 2)) for i, x in enumerate(w)])
    side = rng.choice([-1, 1], n)
    t = trades(*[(100 * i + 50, 100 + x, 30.0, s) for i, (x, s) in enumerate(zip(w, side, strict=True))])
    cs = [
        candidate(
            int(rng.integers(1, n - 1000)) * 100 * MS,
            int(s),
            float(100 + x),
            float(rng.choice([40.0, 400.0])),
            Entry(int(m)),
        )
        for k, s, x, m in zip(
            rng.integers(1, n - 1000, 60),
            rng.choice([-1, 1], 60),
            rng.normal(0, 1, 60).round(2),
            rng.integers(0, 2, 60),
            strict=True,
        )
    ]
    return q, t, cs


def test_batch_equals_scalar():
    q, t, cs = drifting()
    got = label_candidates(q, t, cs, FEE)
    for row, c in zip(got, cs, strict=True):
        one = tri_barrier_label(
            q, c.ts_ns + 2 * MS, c.side, R_bps=c.R_bps, latency_ns=20 * MS, entry=c.entry, price=c.price, trades=t,
            fee=FEE,
        )  # fmt: skip
        np.testing.assert_equal(row.item()[1:-1], tuple(one)[1:-1])
        assert row["ts_ns"] == c.ts_ns
    assert len(set(got["outcome"].tolist())) >= 4
    assert np.all((got["weight"] > 0) == (got["y"] >= 0))
    assert got["weight"].max() <= 1.0


def test_trades_may_come_as_tape_events():
    q, t, cs = drifting()
    events = np.zeros(len(t) + 1, EVENT_DTYPE)
    events[:-1]["ev"] = TRADE | np.where(t["side"] > 0, BUY, SELL)
    for name in ("exch_ts", "local_ts", "px", "qty"):
        events[name][:-1] = t[name]
    events[-1] = (DEPTH | BUY, t["exch_ts"][-1], t["local_ts"][-1], 1.0, 1e9, 0, 0, 0.0)
    want = label_candidates(q, t, cs, FEE)
    np.testing.assert_equal(label_candidates(q, events, cs, FEE).tolist(), want.tolist())


def test_progress_and_empty_and_mixed_symbols():
    q, t, cs = drifting()
    seen = []
    label_candidates(q, t, cs, FEE, progress=seen.append)
    assert seen[-1] == 1.0
    assert len(label_candidates(q, t, [], FEE)) == 0
    with pytest.raises(InputError, match="one symbol"):
        label_candidates(q, t, [cs[0], candidate(0, symbol="BTCUSDT")], FEE)
    with pytest.raises(InputError, match="R_target"):
        label_candidates(q, t, cs, FEE, label=replace(LABEL, R_target=1.2))


def test_lots_and_ticks_of_an_instrument():
    q, t, _ = drifting()
    coarse = Instrument("binance_usdm", "ETHUSDT", 0.5, 0.5, 8)
    got = label_candidates(q, t, [candidate(1000 * MS, price=99.7, entry=Entry.MAKER)], FEE, instrument=coarse)
    fine = label_candidates(q, t, [candidate(1000 * MS, price=99.5, entry=Entry.MAKER)], FEE)
    np.testing.assert_equal(got.tolist(), fine.tolist())


@pytest.mark.parametrize(
    ("entry", "lot", "sent"), [(0, 33.0, True), (0, 34.0, False), (1, 99.0, True), (1, 101.0, False)]
)
def test_less_than_a_lot_is_never_sent(entry, lot, sent):
    # 10,000 at 100: a limit of 100 units, or slices of 33.3.
    q = quotes((100, 100.0, 100.1), (1500, 99.0, 99.1), LATE)
    facts = Instrument("binance_usdm", "ETHUSDT", 0.1, lot, 8)
    (got,) = label_candidates(
        q, trades(), [candidate(1000 * MS, price=100.0, entry=Entry(entry))], FEE, instrument=facts
    )
    assert (got["outcome"] != UNFILLED) == sent
    if not sent:
        assert (got["y"], got["t_fill_ns"], got["weight"]) == (-1, -1, 0.0)
        # A maker is given up when it would leave, slices when the last answer would be back.
        assert got["t_end_ns"] == (1002 if entry else 1002 + 400 + 40) * MS


def test_an_exchange_stamp_after_its_arrival_is_not_believed():
    # Seen at 1015, stamped 1100: it was there by 1015, and the order that arrives at 1020 meets it.
    q = quotes(START, (1015, 100.5, 100.6), LATE)
    q["exch_ts"][1] = 1100 * MS
    got = tri_barrier_label(q, 1000 * MS, 1, R_bps=500.0, latency_ns=20 * MS, entry="taker")
    assert (got.outcome, got.entry_px) == (TIMEOUT, 100.6)
    late = trades((3005, 99.9, 0.1, -1))
    late["exch_ts"] += 60 * MS
    q = quotes((100, 100.0, 100.2, 50.0, 50.0), LATE)
    kw = {"R_bps": 100.0, "latency_ns": 20 * MS, "entry": "maker", "price": 100.0}
    assert tri_barrier_label(q, 1000 * MS, 1, trades=late, **kw).t_fill_ns == 3005 * MS
