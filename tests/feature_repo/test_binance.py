"""Binance messages: the snapshot and sequence rules, each channel, and everything that is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EXCH,
    FUNDING,
    GAP,
    KIND_MASK,
    LIQUIDATION,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.market.binance import BinanceParser

from .binance_messages import BOOK, MS, T0, feed, kinds, snap, spot, trade, usdm

# --- the snapshot and sequence rules -------------------------------------------------------------------------------


def test_futures_first_diff_straddles_the_snapshot_and_pu_chains():
    parser, rows = feed(
        [
            usdm(80, 90, 79, [["50.0", "5"]]),  # older than the snapshot
            usdm(91, 105, 90, [["99.5", "3"]]),  # U <= 100 <= u: held, then replayed
            BOOK,
            usdm(110, 120, 105, (), [["100.5", "4"]]),  # ids jump, pu does not
        ]
    )
    assert kinds(rows) == [DEPTH_CLEAR, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_SNAPSHOT, DEPTH, DEPTH]
    assert rows["px"].tolist() == [0, 0, 99.0, 101.0, 99.5, 100.5]
    assert rows["qty"].tolist() == [0, 0, 1, 2, 3, 4]
    # Replayed rows are seen when the snapshot is, in local order.
    assert (rows["local_ts"] // MS - T0).tolist() == [12, 12, 12, 12, 12, 13]
    assert parser.depth == {"depth_before_snapshot": 2, "depth_stale": 1, "depth_replayed": 1, "snapshots": 1}
    side = np.uint64(BUY | SELL)
    assert (rows["ev"] & side).tolist() == [BUY, SELL, BUY, SELL, BUY, SELL]
    assert all(rows["ev"] & np.uint64(LOCAL | EXCH) == LOCAL | EXCH)


@pytest.mark.parametrize(
    ("diff", "row"),
    [
        (usdm(95, 99, 94, [["98.0", "1"]]), None),  # u < 100: stale
        (usdm(95, 100, 94, [["98.0", "1"]]), DEPTH),
        (usdm(100, 104, 99, [["98.0", "1"]]), DEPTH),
        (usdm(103, 104, 100, [["98.0", "1"]]), DEPTH),  # pu says that nothing lies between
        (usdm(101, 104, 99, [["98.0", "1"]]), GAP),
        (spot(95, 100, [["98.0", "1"]]), None),  # u <= 100: stale
        (spot(95, 101, [["98.0", "1"]]), DEPTH),
        (spot(101, 104, [["98.0", "1"]]), DEPTH),
        (spot(102, 104, [["98.0", "1"]]), GAP),
    ],
)
def test_first_diff_after_a_snapshot(diff, row):
    _, rows = feed([BOOK, diff])
    assert kinds(rows)[4:] == ([] if row is None else [row])


@pytest.mark.parametrize(
    ("second", "row"),
    [
        (usdm(107, 109, 105, [["98.0", "1"]]), DEPTH),
        (usdm(106, 109, 104, [["98.0", "1"]]), GAP),
        (usdm(110, 112, 109, [["98.0", "1"]]), GAP),
        (spot(106, 109, [["98.0", "1"]]), DEPTH),
        (spot(107, 109, [["98.0", "1"]]), GAP),
        (spot(104, 105, [["98.0", "1"]]), None),  # already in the book
    ],
)
def test_every_later_diff_continues_the_one_before(second, row):
    first = usdm(99, 105, 98) if "pu" in second else spot(99, 105)
    _, rows = feed([BOOK, first, second])
    assert kinds(rows)[4:] == ([] if row is None else [row])


def test_a_break_drops_depth_until_the_next_snapshot_and_replays_what_that_lacks():
    parser, rows = feed(
        [
            BOOK,
            usdm(100, 105, 99, [["98.0", "1"]]),
            usdm(120, 130, 119, [["97.0", "1"]], t=T0 + 3),  # 105 -> 119 is missing
            usdm(131, 140, 130, [["96.0", "1"]]),
            trade(),  # trades go on
            snap(135, [["95.0", "1"]], [["102.0", "1"]]),
            usdm(141, 150, 140, [["94.0", "1"]]),
        ]
    )
    assert kinds(rows)[4:] == [
        DEPTH,
        GAP,
        TRADE,
        DEPTH_CLEAR,
        DEPTH_CLEAR,
        DEPTH_SNAPSHOT,
        DEPTH_SNAPSHOT,
        DEPTH,
        DEPTH,
    ]
    gap = rows[5]
    assert (gap["ev"], gap["exch_ts"], gap["local_ts"]) == (GAP, (T0 + 3) * MS, (T0 + 12) * MS)
    assert rows["px"][-4:].tolist() == [95.0, 102.0, 96.0, 94.0]
    assert parser.depth["depth_after_gap"] == 2
    assert parser.depth["depth_replayed"] == 1


def test_the_breaking_diff_itself_is_kept_for_the_next_snapshot():
    late = usdm(120, 130, 119, [["97.0", "1"]])
    _, rows = feed([BOOK, usdm(100, 105, 99), late, snap(125, [["95.0", "1"]], [["102.0", "1"]])])
    assert kinds(rows)[4:] == [GAP, DEPTH_CLEAR, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_SNAPSHOT, DEPTH]


def test_a_spot_snapshot_is_not_after_the_held_diff_that_continues_it():
    trades = {**trade(t=T0 + 5, s="NEXOUSDT"), "M": True}
    book = snap(100, [["1.2", "1"]], [["1.3", "1"]], t=None)
    _, rows = feed([spot(90, 95, t=T0 - 1), spot(96, 101, [["1.1", "1"]]), trades, book])
    assert kinds(rows) == [TRADE, DEPTH_CLEAR, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_SNAPSHOT, DEPTH]
    assert (rows["exch_ts"] // MS - T0).tolist() == [5, 0, 0, 0, 0, 0]


def test_a_snapshot_that_the_book_already_holds_does_not_turn_it_back():
    parser, rows = feed([BOOK, usdm(100, 105, 99, [["98.0", "1"]]), snap(103, [["90.0", "1"]], [["110.0", "1"]])])
    assert kinds(rows)[4:] == [DEPTH]
    assert parser.depth["snapshots_redundant"] == 1
    # A newer one, as after a restart of the recorder, is taken.
    _, rows = feed([BOOK, usdm(100, 105, 99), snap(300, [["90.0", "1"]], [["110.0", "1"]]), usdm(299, 310, 280)])
    assert kinds(rows)[4:] == [DEPTH_CLEAR, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_SNAPSHOT]


def test_no_depth_row_before_any_snapshot():
    parser, rows = feed([usdm(1, 2, 0, [["98.0", "1"]]), usdm(3, 4, 2, [["98.0", "1"]]), trade()])
    assert kinds(rows) == [TRADE]
    assert parser.depth == {"depth_before_snapshot": 2}


def test_a_malformed_diff_shows_as_a_gap_at_the_next():
    bad = usdm(106, 110, 105, [["98.0", "-1"]])
    parser, rows = feed([BOOK, usdm(100, 105, 99), bad, usdm(111, 115, 110, [["98.0", "1"]])])
    assert kinds(rows)[4:] == [GAP]
    assert sum(parser.bad_rows.values()) == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_missing_diff_goes_unnoticed(data):
    """Whatever diffs are lost, the rows are those of an unbroken run followed by one gap, or of all."""
    n, is_spot = 8, data.draw(st.booleans())
    lost = data.draw(st.sets(st.integers(1, n - 1)))
    level = [["98.0", "1"]]
    diffs = [
        spot(101 + k, 101 + k, level) if is_spot else usdm(100 + 5 * k, 104 + 5 * k, 99 + 5 * k, level)
        for k in range(n)
    ]
    _, rows = feed([BOOK, *(d for k, d in enumerate(diffs) if k not in lost)])
    first = min((k for k in lost if k < max(set(range(n)) - lost)), default=None)
    expected = [DEPTH] * (n - len(lost)) if first is None else [DEPTH] * first + [GAP]
    assert kinds(rows)[4:] == expected


# --- each channel --------------------------------------------------------------------------------------------------


def test_trades_carry_the_aggressor_and_only_market_trades_count():
    messages = [
        trade("100.5", "2", m=True),
        trade("100.6", "3", m=False),
        trade(X="INSURANCE_FUND"),
        trade(qty="0"),
        {**trade(), "e": "aggTrade"},
    ]
    parser, rows = feed(messages)
    flags = np.uint64(KIND_MASK | BUY | SELL)
    assert (rows["ev"] & flags).tolist() == [TRADE | SELL, TRADE | BUY]
    assert rows["px"].tolist() == [100.5, 100.6]
    assert parser.skipped == {
        "trade of type INSURANCE_FUND": 1,
        "trade of quantity zero": 1,
        "aggTrade beside trade": 1,
    }


def test_agg_trades_count_where_there_are_no_others():
    agg = {"e": "aggTrade", "E": T0, "T": T0 - 1, "s": "ETHUSDT", "a": 1, "p": "100.5", "q": "2", "m": True}
    _, rows = feed([agg, agg])
    assert kinds(rows) == [TRADE, TRADE]
    assert rows["exch_ts"].tolist() == [(T0 - 1) * MS] * 2


def test_liquidation_and_funding_rows():
    order = {"s": "ETHUSDT", "S": "SELL", "p": "99", "ap": "98.5", "q": "5", "z": "4", "X": "FILLED", "T": T0}
    mark = {"e": "markPriceUpdate", "E": T0 + 2, "s": "ETHUSDT", "p": "100.1", "i": "1", "r": "0.0001", "T": T0 + 999}
    _, rows = feed([{"e": "forceOrder", "E": T0 + 1, "o": order}, mark])
    assert rows["ev"].tolist() == [LIQUIDATION | SELL, FUNDING]
    assert (rows["px"].tolist(), rows["qty"].tolist()) == ([98.5, 100.1], [4.0, 0.0])
    # T of a mark price is the next settlement, in the future.
    assert rows["exch_ts"].tolist() == [T0 * MS, (T0 + 2) * MS]
    assert (rows["ival"][1], rows["fval"][1]) == ((T0 + 999) * MS, 0.0001)


def test_best_quotes_and_the_missing_time_of_spot():
    ticker = {"u": 5, "s": "NEXOUSDT", "b": "1.2", "B": "3", "a": "1.3", "A": "4"}
    messages = [ticker, spot(1, 2, t=T0 + 5), ticker]
    _, rows = feed([{"stream": "nexousdt@bookTicker", "data": m} for m in messages])
    assert kinds(rows) == [DEPTH_BBO] * 4
    assert rows["px"].tolist() == [1.2, 1.3, 1.2, 1.3]
    # Before any exchange time: local less the base latency. Then the time of the message before.
    assert (rows["exch_ts"] // MS - T0).tolist() == [5, 5, 5, 5]
    futures = {"e": "bookTicker", "T": T0 + 7, "E": T0 + 8, **ticker, "s": "ETHUSDT"}
    _, rows = feed([futures])
    assert (rows["exch_ts"] // MS - T0).tolist() == [7, 7]


def test_partial_depth_and_unknown_streams_are_no_diffs():
    wrapped = [
        {"stream": "ethusdt@depth20@100ms", "data": usdm(100, 105, 99, [["98.0", "1"]])},
        {"stream": "ethusdt@kline_1m", "data": {"e": "kline", "s": "ETHUSDT"}},
        {"result": None, "id": 1},
    ]
    parser, rows = feed([BOOK, *wrapped])
    assert len(rows) == 4
    assert parser.skipped == {"partial depth stream": 1, "kline": 1, "control or unnamed message": 1}


@pytest.mark.parametrize(
    ("messages", "venue"),
    [
        ([usdm(1, 2, 0)], "binance_usdm"),
        ([usdm(1, 2, 0, s="ETHUSD_PERP")], "binance_coinm"),
        ([spot(1, 2)], "binance_spot"),
        ([{k: v for k, v in trade(s="NEXOUSDT").items() if k != "X"}, spot(1, 2)], "binance_spot"),
        ([{**trade(s="NEXOUSDT"), "M": True}], "binance_spot"),
        ([trade()], "binance_usdm"),
    ],
)
def test_venue_is_read_off_the_messages(messages, venue):
    assert feed(messages)[0].venue == venue


def test_a_live_feed_gives_the_same_rows_as_the_file():
    messages = [usdm(91, 105, 90, [["99.5", "3"]]), BOOK, trade(), usdm(110, 120, 105, (), [["100.5", "4"]])]
    parser = BinanceParser()
    live = [parser.feed(T0 * MS + (10 + k) * MS, json.dumps(m).encode()) for k, m in enumerate(messages)]
    assert [len(r) for r in live] == [0, 5, 1, 1]
    np.testing.assert_array_equal(np.concatenate(live), feed(messages)[1])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({k: v for k, v in usdm(1, 2, 0).items() if k != "U"}, "depthUpdate: field 'U' is missing"),
        ({k: v for k, v in usdm(1, 2, 0).items() if k != "pu"}, "depthUpdate: field 'pu' is missing"),
        ({**usdm(1, 2, 0), "u": "2"}, "depthUpdate: field 'U', 'u' or 'pu' is no whole number"),
        (usdm(1, 2, 0, [["0", "1"]]), "depthUpdate: field 'b' has a price that is not positive"),
        (usdm(1, 2, 0, (), [["nan", "1"]]), "depthUpdate: field 'a' has a price that is not positive"),
        (usdm(1, 2, 0, (), [["1", "1"], ["2", "nan"]]), "depthUpdate: field 'a' has a price"),
        (usdm(1, 2, 0, (), [["1", "inf"]]), "depthUpdate: field 'a' has a price"),
        (usdm(1, 2, 0, None), "depthUpdate: field 'b' is no list of levels"),
        (usdm(1, 2, 0, [["1"]]), "depthUpdate: field 'b' has a level that is no pair of numbers"),
        (trade("-1"), "trade: field 'p' is no positive number"),
        (trade("x"), "trade: field 'p' is no positive number"),
        ({"e": "forceOrder", "E": T0, "o": 3}, "forceOrder: a field has the wrong type"),
        ({"e": [1]}, "field 'e' is no text"),
        (trade(qty="nan"), "trade: field 'q' is no number"),
        (trade(m=None), "trade: field 'm' is neither true nor false"),
        (trade(t=str(T0)), "trade: field 'T' is no time"),
        (trade(t=T0 + 2 * 86_400_000), "trade: field 'T' is more than a day from local_ts"),
        ([1], "the message is no JSON object"),
        ({"stream": "x", "data": 3}, "field 'data' is no JSON object"),
    ],
)
def test_bad_messages_give_no_rows_and_a_reason(message, reason):
    parser, rows = feed([message])
    assert len(rows) == 0
    assert [r.startswith(reason) for r in parser.bad_rows] == [True], parser.bad_rows


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "1", "ETHUSDT", "SELL"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("spqbaBATUumo"), inner, max_size=3),
    max_leaves=6,
)
EVENTS = ["depthUpdate", "trade", "bookTicker", "forceOrder", "markPriceUpdate", "snapshot"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([usdm(1, 2, 0), trade(), BOOK]), st.sampled_from(EVENTS), st.dictionaries(st.text(), JSON), JSON)
def test_no_message_breaks_the_parser(base, event, more, value):
    """Any field of any message may be anything: rows, a counted reason or an InputError, never another exception."""
    parser = BinanceParser()
    for name in (*base, "lastUpdateId", "o"):
        message = {**base, "e": event, **more, name: value}
        if "lastUpdateId" in base:
            message.pop("e")
        try:
            rows = parser.feed(T0 * MS, json.dumps(message).encode())
        except InputError:
            continue
        assert np.all(np.isfinite(rows["px"]))
        assert np.all(np.isfinite(rows["qty"]))
