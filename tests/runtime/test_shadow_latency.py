"""Order latency from the tape's own feed: how it is sampled, and that the replay's orders take as long."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.constants import MS_NS, SECOND_NS
from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH, EVENT_DTYPE, EXCH, LOCAL
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.hft_files import write_hft
from runtime.candidate import Entry
from runtime.shadow import replay
from runtime.shadow_account import account
from runtime.shadow_latency import ORDER_LATENCY_DTYPE, feed_latency, round_trip
from runtime.shadow_types import OK

from .label_tapes import random_tape
from .test_shadow import ETH, FEE, ONE, Script, orders

pytestmark = pytest.mark.slow


def events_at(*exch_and_local_ms, flags=EXCH | LOCAL):
    out = np.zeros(len(exch_and_local_ms), EVENT_DTYPE)
    out["ev"] = DEPTH | BUY | flags
    out["exch_ts"], out["local_ts"] = (np.array(column) * MS_NS for column in zip(*exch_and_local_ms, strict=True))
    return out


def table(*rows_ms):
    out = np.zeros(len(rows_ms), ORDER_LATENCY_DTYPE)
    for row, times in zip(out, rows_ms, strict=True):
        row["req_ts"], row["exch_ts"], row["resp_ts"] = (t * MS_NS for t in times)
    return out


def test_rows_are_those_of_hftbacktest():
    from hftbacktest.data.utils.feed_order_latency import order_latency_dtype

    assert order_latency_dtype == ORDER_LATENCY_DTYPE


def test_the_newest_message_of_each_second_says_how_long_it_takes():
    got = feed_latency(events_at((100, 110), (900, 930), (1200, 1201), (3000, 3050)))
    # 30 ms; 1 ms counts as the least, 5 ms; the third second had no message; 50 ms.
    want = table((930, 960, 990), (1201, 1206, 1211), (3050, 3100, 3150))
    assert got.tolist() == want.tolist()


def test_a_row_seen_at_one_end_only_says_nothing():
    both = events_at((100, 110))
    one_end = events_at((900, 930), flags=EXCH)
    assert feed_latency(np.concatenate([both, one_end])).tolist() == table((110, 120, 130)).tolist()
    assert len(feed_latency(one_end)) == 0


def test_no_request_overtakes_an_earlier_one():
    got = feed_latency(events_at((500, 900), (1000, 1010), (2000, 2020)), every_ns=SECOND_NS // 10)
    for name in ("req_ts", "exch_ts", "resp_ts"):
        assert (np.diff(got[name]) > 0).all()
    assert got["exch_ts"][1] == got["exch_ts"][0] + 1  # 400 ms, then 10 ms a tenth later


def test_the_files_of_a_tape_give_the_same(tmp_path):
    tape = random_tape(5)
    whole = feed_latency(to_hftbacktest(tape))
    assert len(whole) > 50
    assert feed_latency(write_hft(tape, tmp_path, rows=9_000)).tolist() == whole.tolist()


def test_a_round_trip_is_linear_between_the_rows():
    lat = table((1000, 1010, 1030), (2000, 2030, 2040))
    there = np.interp([500, 1000, 1500, 1999, 2500], [1000, 2000], [10, 30])  # by the time of the request
    for t, way in zip((500, 1000, 1500, 1999, 2500), there, strict=True):
        back = np.interp(t + way, [1010, 2030], [20, 10])  # by the time at the exchange
        assert round_trip(lat, t * MS_NS, 7) == pytest.approx((way + back) * MS_NS, abs=2)
    assert round_trip(lat[:0], 500, 7) == 14


def quiet():
    return Script().quote(100, 100.0, 100.1).quote(40_000, 101.5, 101.6)


def test_orders_take_as_long_as_the_table_says():
    slow = table((0, 20, 40), (1000, 1020, 1040), (2000, 2120, 2240), (300_000, 300_120, 300_240))
    o = orders((500, 1), (1500, 1))
    made = account(replay(quiet().events(), ETH, o, order=ONE, latency=slow), FEE, ETH)
    assert (made["status"] == OK).all()
    assert made["t_fill_ns"].tolist() == [(500 + 20) * MS_NS, (1500 + 70) * MS_NS]
    # The exits leave at 40,000.
    assert made["t_end_ns"].tolist() == [40_120 * MS_NS] * 2


def test_a_constant_table_is_the_constant():
    tape = random_tape(4)
    events, lo = to_hftbacktest(tape), tape.span_ns[0] // MS_NS
    o = orders(*((lo + 1000 + 300 * k, 1 if k % 3 else -1, k % 2, 2000.0, 6.0) for k in range(200)))
    lat = table((0, 20, 40), (10**6, 10**6 + 20, 10**6 + 40))
    constant, given = (replay(events, ETH, o, latency=latency).parents for latency in (None, lat))
    assert constant.tobytes() == given.tobytes()
    assert (constant["status"] == OK).sum() > 50


def test_an_answer_that_takes_longer_than_the_limit_rests():
    """The cancel waits for the answer to the order: it cannot be cancelled before it is known."""
    late = table((0, 6000, 12_000), (300_000, 306_000, 312_000))
    o = orders((500, 1, Entry.MAKER, 99.0), (700, 1))
    made = replay(quiet().events(), ETH, o, order=ONE, latency=late).parents
    assert made["t_fill"][1] == 6_700 * MS_NS
    assert made["t_fill"][0] == -1
    assert made["t_end"][0] >= (500 + 12_000 + 6_000) * MS_NS  # cancelled at the exchange after the answer was here


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(0, ORDER_LATENCY_DTYPE),
        table((1000, 990, 1010)),
        table((1000, 1010, 1010)),
        table((1000, 1010, 1020), (1000, 1011, 1021)),
        np.zeros(3, [("req_ts", "i8")]),
    ],
)
def test_tables_that_go_back_are_refused(bad):
    with pytest.raises(InputError, match="order latencies of"):
        replay(quiet().events(), ETH, orders((500, 1)), latency=bad)
