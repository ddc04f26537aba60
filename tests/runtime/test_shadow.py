"""The replay's state machine on tapes of a few quotes: times, prices and outcomes that a reader can check by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.constants import ORDER
from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH, EVENT_DTYPE, EXCH, LOCAL, SELL, TRADE
from feature_repo.instruments import INSTRUMENTS, FeeTier
from feature_repo.table import QUOTE_DTYPE
from runtime.candidate import Entry
from runtime.shadow import blind_spans, replay
from runtime.shadow_types import BUSY, NO_DATA, OK, ORDER_DTYPE, TRADE_DTYPE, UNFILLED
from tests.runtime.shadow_run import trades_of

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process

MS = 1_000_000
TARGET, STOP, TIMEOUT = 0, 1, 2
ETH = INSTRUMENTS[("binance_usdm", "ETHUSDT")]
FEE = FeeTier("test", 2.0, 5.0)
ONE = replace(ORDER, ioc_slices=1, compute_ms=0)
RECORDING = Path(__file__).parents[3] / "shared" / "data" / "binance_usdm_ethusdt"


class Script:
    """Best quotes and trades by hand; the exchange is 5 ms before the local clock."""

    def __init__(self):
        self.rows, self.now = [], {BUY: None, SELL: None}

    def row(self, kind, ms, px, qty, flag):
        self.rows.append((kind | flag | EXCH | LOCAL, (ms - 5) * MS, ms * MS, px, qty, 0, 0, 0.0))

    def quote(self, ms, bid, ask, bid_qty=1000.0, ask_qty=1000.0):
        # The old levels go first: a bid above a standing ask would pass for a trade-through.
        for flag, px in ((BUY, bid), (SELL, ask)):
            if self.now[flag] not in (None, px):
                self.row(DEPTH, ms, self.now[flag], 0.0, flag)
        for flag, px, qty in ((BUY, bid, bid_qty), (SELL, ask, ask_qty)):
            self.row(DEPTH, ms, px, qty, flag)
            self.now[flag] = px
        return self

    def trade(self, ms, px, qty, flag):
        self.row(TRADE, ms, px, qty, flag)
        return self

    def events(self, end=400_000):
        if not self.rows or self.rows[-1][2] < end * MS:
            self.trade(end, 100.0, 1e-3, BUY)
        return np.array(self.rows, EVENT_DTYPE)


def orders(*rows):
    """(ms, side[, entry, price, R_bps, notional])"""
    out = np.zeros(len(rows), ORDER_DTYPE)
    defaults = (0, 1, Entry.IOC, 0.0, 100.0, 10_000.0)
    for o, row in zip(out, rows, strict=True):
        ms, *rest = (*row, *defaults[len(row) :])
        o["ts_ns"] = ms * MS
        o["side"], o["entry"], o["price"], o["R_bps"], o["notional"] = rest
    return out


def run(script, *rows, **kw):
    kw = {"fee": FEE, "order": ONE, **kw}
    return trades_of(script.events(), ETH, orders(*rows), **kw)


def rally():
    return (
        Script()
        .quote(100, 100.0, 100.1)
        .quote(3000, 101.0, 101.1)
        .quote(4000, 101.01, 101.1)
        .quote(4016, 101.2, 101.3)
        .quote(4030, 102.0, 102.1)
    )


def test_one_trade_to_the_nanosecond_and_the_cent():
    (got,) = run(rally(), (1000, 1))
    assert (got["status"], got["outcome"]) == (OK, TARGET)
    assert (got["t_fill_ns"], got["t_end_ns"]) == (1020 * MS, 4020 * MS)
    # The exit reaches the exchange at 4020, where the quote of exchange time 4011 stands.
    assert got["entry_px"] == pytest.approx(100.1, abs=1e-9)
    assert got["exit_px"] == pytest.approx(101.2, abs=1e-9)
    assert got["qty"] == pytest.approx(99.95, abs=1e-9)  # 10,000 / 100.05 in lots of 0.001
    gross = (101.055 - 100.05) / 100.1 * 1e4
    assert got["gross_bps"] == pytest.approx(gross, abs=1e-6)
    assert got["slip_bps"] == pytest.approx(0.05 / 100.1 * 1e4 + (101.055 - 101.2) / 100.1 * 1e4, abs=1e-6)
    assert got["fee_bps"] == pytest.approx(5 + 5 * 101.2 / 100.1, abs=1e-9)
    assert got["funding_bps"] == 0.0
    assert got["net_bps"] == pytest.approx((101.2 / 100.1 - 1) * 1e4 - 5 - 5 * 101.2 / 100.1, abs=1e-6)


def test_an_order_leaves_when_the_decision_is_computed():
    slow = replace(ONE, compute_ms=7)
    (got,) = run(rally(), (1000, 1), order=slow)
    assert got["t_fill_ns"] == 1027 * MS
    queue = Script().quote(100, 100.0, 100.2, 50.0, 50.0)
    (got,) = run(queue, (1000, 1, Entry.MAKER, 100.0), order=slow)
    assert (got["status"], got["t_end_ns"]) == (UNFILLED, 6027 * MS)


def test_short_stop_and_timeout():
    script = Script().quote(100, 100.0, 100.1).quote(4000, 100.9, 101.2)
    stop, timeout = run(script, (1000, -1), (5000, -1), one_at_a_time=False)
    assert (stop["outcome"], stop["t_end_ns"], stop["exit_px"]) == (STOP, 4020 * MS, pytest.approx(101.2))
    assert (timeout["outcome"], timeout["t_end_ns"]) == (TIMEOUT, (5020 + 60_000 + 20) * MS)
    assert timeout["gross_bps"] == 0.0
    assert timeout["slip_bps"] == pytest.approx(0.3 / 100.9 * 1e4, abs=1e-6)


def test_slices_take_no_more_than_the_best_level():
    script = Script().quote(100, 100.0, 100.1).quote(1150, 100.0, 100.2, 500.0, 10.0).quote(1300, 100.0, 100.4)
    (got,) = run(script, (1000, 1, Entry.IOC, 0.0, 300.0), order=replace(ONE, ioc_slices=3))
    sizes = [33.316, 10.0, 33.266]  # 3,333.3 over each slice's mid, in lots; the second sees 10 units
    assert got["qty"] == pytest.approx(sum(sizes), abs=1e-9)
    assert got["entry_px"] == pytest.approx(np.average([100.1, 100.2, 100.4], weights=sizes), abs=1e-9)
    assert got["t_fill_ns"] == 1020 * MS


def test_the_exit_sells_level_by_level():
    script = Script().quote(100, 100.0, 100.1).quote(4000, 101.5, 101.6, 40.0).quote(4050, 101.4, 101.5, 50.0)
    (got,) = run(script, (1000, 1))
    # 40 at 101.5, answered at 4040; 40 more leave then and meet the new quote, as do the last 19.95.
    assert got["exit_px"] == pytest.approx((40 * 101.5 + 59.95 * 101.4) / 99.95, abs=1e-9)
    assert got["t_end_ns"] == 4100 * MS


def test_runner_sells_half_and_trails_the_rest():
    script = rally().quote(6000, 103.0, 103.1).quote(7000, 102.1, 102.2).quote(8000, 102.05, 102.15)
    (got,) = run(script, (1000, 1), exit="runner")
    # The peak bid 103.0 less 0.9 R = 0.9009 is 102.0991: 102.1 holds, 102.05 does not.
    assert (got["outcome"], got["t_end_ns"]) == (TARGET, 8020 * MS)
    half = 49.975
    assert got["exit_px"] == pytest.approx((half * 101.2 + half * 102.05) / 99.95, abs=1e-9)
    mids = (half * 101.055 + half * 102.1) / 99.95
    assert got["gross_bps"] == pytest.approx((mids - 100.05) / 100.1 * 1e4, abs=1e-6)


def test_runner_stops_at_break_even_at_least():
    script = rally().quote(6000, 101.02, 101.1).quote(7000, 100.11, 100.2).quote(8000, 100.1, 100.2)
    early = run(script, (1000, 1), exit="runner")[0]
    # Peak 102.0 (known locally at 4030, while the half is under way) trails to 101.0991: out at 6000.
    assert early["t_end_ns"] == 6020 * MS
    low = Script().quote(100, 100.0, 100.1).quote(4000, 101.01, 101.1).quote(7000, 100.11, 100.2)
    low.quote(8000, 100.1, 100.2)
    late = run(low, (1000, 1), exit="runner")[0]
    # Peak 101.01 trails to 100.1091, above break-even at 100.1.
    assert late["t_end_ns"] == 8020 * MS
    assert late["outcome"] == TARGET


def test_runner_trails_a_peak_seen_while_the_half_is_under_way():
    script = Script().quote(100, 100.0, 100.1).quote(4000, 101.01, 101.1)
    script.quote(4010, 103.0, 103.1).quote(4035, 102.3, 102.4).quote(5000, 102.05, 102.1)
    (got,) = run(script, (1000, 1), exit="runner")
    assert got["t_end_ns"] == 5020 * MS  # 103.0 trails to 102.0991; 102.3 would to 101.3991


def test_runner_has_a_cap_and_a_stop():
    flat = Script().quote(100, 100.0, 100.1)
    (got,) = run(flat, (1000, 1), exit="runner")
    assert (got["outcome"], got["t_end_ns"]) == (TIMEOUT, (1020 + 300_000 + 20) * MS)
    (got,) = run(Script().quote(100, 100.0, 100.1).quote(70_000, 98.9, 99.0), (1000, 1), exit="runner")
    assert (got["outcome"], got["t_end_ns"]) == (STOP, 70_020 * MS)


def test_maker_fills_behind_its_queue_and_pays_the_maker_fee():
    script = Script().quote(100, 100.0, 100.2, 50.0, 50.0).trade(2005, 100.0, 50.0, SELL).trade(3005, 100.0, 0.1, SELL)
    (got,) = run(script, (1000, 1, Entry.MAKER, 100.0))
    assert (got["status"], got["outcome"], got["t_fill_ns"]) == (OK, TIMEOUT, 3000 * MS)
    assert got["t_end_ns"] == 63_060 * MS  # 100 units leave through a level of 50: two children
    assert got["fee_bps"] == pytest.approx(2 + 5, abs=1e-9)
    assert got["gross_bps"] == 0.0
    assert got["slip_bps"] == pytest.approx(0.0, abs=1e-9)  # bought at the bid, sold at the bid
    assert got["qty"] == pytest.approx(100.0)


def test_maker_unfilled_expired_and_filled_while_the_cancel_is_under_way():
    queue = Script().quote(100, 100.0, 100.2, 50.0, 50.0)
    (got,) = run(queue, (1000, 1, Entry.MAKER, 100.0))
    assert (got["status"], got["outcome"], got["t_end_ns"]) == (UNFILLED, 3, 6020 * MS)
    assert math.isnan(got["net_bps"])
    crossed = Script().quote(100, 100.0, 100.2).quote(1010, 99.0, 100.1)
    (got,) = run(crossed, (1000, 1, Entry.MAKER, 100.1))
    assert (got["status"], got["t_end_ns"]) == (UNFILLED, 1020 * MS)
    late = Script().quote(100, 100.0, 100.2, 50.0, 50.0).trade(6015, 99.0, 1.0, SELL)
    (got,) = run(late, (1000, 1, Entry.MAKER, 100.0))
    assert (got["status"], got["t_fill_ns"]) == (OK, 6010 * MS)


def test_maker_limits_are_whole_ticks_and_never_take():
    script = Script().quote(100, 100.0, 100.2, 50.0, 50.0).trade(3005, 100.0, 50.1, SELL)
    for price in (100.009, 105.0):  # floored to the tick; pulled back to the best bid
        (got,) = run(script, (1000, 1, Entry.MAKER, price))
        assert (got["status"], got["entry_px"]) == (OK, pytest.approx(100.0))


def test_funding_is_paid_on_what_was_held():
    flat = Script().quote(100, 100.0, 100.1)
    paid = [(1020 * MS, 9.0), (30_000 * MS, 0.0001), (61_040 * MS, 0.0002), (61_041 * MS, 9.0)]
    long, short = run(flat, (1000, 1), (1000, -1), one_at_a_time=False, funding=paid)
    assert long["funding_bps"] == pytest.approx(3.0, abs=1e-9)
    assert short["funding_bps"] == pytest.approx(-3.0, abs=1e-9)
    assert long["net_bps"] == pytest.approx(run(flat, (1000, 1))[0]["net_bps"] - 3.0, abs=1e-9)
    # Half of a runner is out before the settlement at 5 s.
    script = rally().quote(8000, 100.0, 100.1)
    (got,) = run(script, (1000, 1), exit="runner", funding=[(5000 * MS, 0.0001)])
    assert got["funding_bps"] == pytest.approx(0.5, abs=1e-9)


def test_one_position_at_a_time():
    rows = ((1000, 1), (2000, 1), (4039, -1), (4040, 1))
    assert run(rally(), *rows)["status"].tolist() == [OK, BUSY, BUSY, OK]  # the exit is known at 4040
    assert run(rally(), *rows, one_at_a_time=False)["status"].tolist() == [OK, OK, OK, OK]
    assert run(rally(), (1000, 1), (1000, -1))["status"].tolist() == [OK, BUSY]


def test_orders_come_back_in_their_own_order():
    rows = ((4040, 1), (1000, 1), (2000, 1))
    assert run(rally(), *rows)["status"].tolist() == [OK, OK, BUSY]


def test_no_data_before_the_tape_and_after_it():
    got = run(rally(), (50, 1), (399_000, 1), (500_000, 1), one_at_a_time=False)
    assert got["status"].tolist() == [NO_DATA] * 3
    assert np.isnan(got["net_bps"]).all()
    # The last fill must lie within the tape: the timeout of this one is 20 ms too late.
    script = Script().quote(100, 100.0, 100.1)
    assert trades_of(script.events(61_039), ETH, orders((1000, 1)), fee=FEE, order=ONE)["status"].tolist() == [NO_DATA]
    script = Script().quote(100, 100.0, 100.1)
    assert trades_of(script.events(61_040), ETH, orders((1000, 1)), fee=FEE, order=ONE)["status"].tolist() == [OK]


def test_blind_spans_void_what_they_touch():
    q = np.zeros(6, QUOTE_DTYPE)
    q["local_ts"], q["bid"], q["ask"] = [1, 2, 3, 4, 5, 6], [np.nan, 1, np.nan, np.nan, 1, np.nan], 2.0
    assert blind_spans(q).tolist() == [[1, 2], [3, 5], [6, np.iinfo(np.int64).max]]
    assert blind_spans(q[:0]).shape == (0, 2)
    spans = np.array([[0, 1000 * MS], [4020 * MS, 4021 * MS], [90_000 * MS, 91_000 * MS]])
    got = run(rally(), (1000, 1), (5000, 1), (20_000, 1), (29_000, 1), one_at_a_time=False, blind=spans)
    assert got["status"].tolist() == [NO_DATA, OK, OK, OK]
    assert run(rally(), (29_999, 1), one_at_a_time=False, blind=spans)["status"].tolist() == [NO_DATA]


def test_too_small_for_a_lot_is_unfilled():
    assert run(rally(), (1000, 1, Entry.IOC, 0.0, 100.0, 0.01))["status"].tolist() == [UNFILLED]
    assert run(rally(), (1000, 1, Entry.MAKER, 100.0, 100.0, 0.01))["status"].tolist() == [UNFILLED]


def test_no_orders():
    got = run(rally())
    assert got.dtype == TRADE_DTYPE
    assert len(got) == 0


def test_progress_reaches_one():
    seen = []
    run(rally(), (1000, 1), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ((1000, 0), "side"),
        ((1000, 1, 7), "entry"),
        ((1000, 1, Entry.IOC, 0.0, math.nan), "R_bps"),
        ((1000, 1, Entry.IOC, 0.0, 100.0, 0.0), "notional"),
        ((1000, 1, Entry.MAKER, math.nan), "price"),
    ],
)
def test_orders_that_the_gate_would_not_send(row, field):
    with pytest.raises(InputError, match=f"order 1 with {field}"):
        run(rally(), (1000, 1), row)


def test_settings_that_cannot_be_used():
    with pytest.raises(InputError, match="runner"):
        run(rally(), (1000, 1), exit="hold")
    with pytest.raises(InputError, match="expiry"):
        run(rally(), (1000, 1), order=replace(ONE, maker_expiry_ms=30))
    with pytest.raises(InputError, match="0 slices"):
        run(rally(), (1000, 1), order=replace(ONE, ioc_slices=0))
    for events in (rally().events()[:0], rally().events()[["ev", "local_ts"]]):
        with pytest.raises(InputError, match="to_hftbacktest"):
            replay(events, ETH, orders((1000, 1)))
