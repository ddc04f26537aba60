"""Binance messages: each channel, venue and symbol, and everything that is left out."""

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
    FUNDING,
    KIND_MASK,
    LIQUIDATION,
    SELL,
    TRADE,
)
from feature_repo.market.binance import BinanceParser
from feature_repo.market.binance_kinds import is_coinm

from .binance_messages import BOOK, MS, T0, feed, kinds, snap, spot, trade, usdm

ORDER = {"s": "ETHUSDT", "S": "SELL", "p": "99", "ap": "98.5", "q": "5", "z": "4", "X": "FILLED", "T": T0}
MARK = {"e": "markPriceUpdate", "E": T0 + 2, "s": "ETHUSDT", "p": "100.1", "i": "1", "r": "0.0001", "T": T0 + 999}

# --- each channel --------------------------------------------------------------------------------------------------


def test_trades_carry_the_aggressor_and_only_market_trades_count():
    messages = [
        trade("100.5", "2", m=True),
        trade("100.6", "3", m=False),
        trade(X="INSURANCE_FUND"),
        trade(qty="0"),
        {**trade(), "e": "aggTrade", "a": 1},
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
    _, rows = feed([agg, {**agg, "a": 2}])
    assert kinds(rows) == [TRADE, TRADE]
    assert rows["exch_ts"].tolist() == [(T0 - 1) * MS] * 2


def test_liquidation_and_funding_rows():
    _, rows = feed([{"e": "forceOrder", "E": T0 + 1, "o": ORDER}, MARK])
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
    # Before any exchange time: none. Then the time of the message before.
    assert rows["exch_ts"].tolist() == [0, 0, (T0 + 5) * MS, (T0 + 5) * MS]
    futures = {"e": "bookTicker", "T": T0 + 7, "E": T0 + 8, **ticker, "s": "ETHUSDT"}
    _, rows = feed([futures])
    assert (rows["exch_ts"] // MS - T0).tolist() == [7, 7]


def test_partial_depth_and_unknown_streams_are_no_diffs():
    wrapped = [
        {"stream": "ethusdt@depth20@100ms", "data": usdm(100, 105, 99, [["98.0", "1"]])},
        {"stream": "ethusdt@kline_1m", "data": {"e": "kline", "s": "ETHUSDT"}},
        {"result": None, "id": 1},
    ]
    diff = usdm(100, 105, 99, [["98.0", "1"]])
    rpi = {"stream": "ethusdt@rpiDepth@500ms", "data": usdm(106, 107, 105, [["97.0", "1"]])}
    parser, rows = feed([BOOK, diff, rpi, *wrapped])
    assert kinds(rows)[4:] == [DEPTH]
    assert parser.skipped == {
        "RPI depth stream": 1,
        "partial depth stream": 1,
        "kline": 1,
        "control or unnamed message": 1,
    }
    assert not parser.bad_rows


def test_coinm_channels():
    symbol = "ETHUSD_PERP"
    more = {"ps": "ETHUSD"}
    order = {"s": symbol, **more, "S": "BUY", "p": "99", "ap": "98.5", "q": "5", "z": "4", "X": "FILLED", "T": T0}
    messages = [
        {"e": "markPriceUpdate", "E": T0, "s": symbol, "p": "100.1", "P": "100.2", "r": "", "T": 0},
        snap(100, [["99.0", "1"]], [["101.0", "2"]]),
        {**usdm(100, 105, 99, [["98.0", "1"]], s=symbol), **more},
        {"e": "aggTrade", "E": T0, "a": 5, "s": symbol, "p": "100", "q": "2", "f": 1, "l": 2, "T": T0, "m": True},
        {"e": "bookTicker", "u": 5, "s": symbol, **more, "b": "99", "B": "1", "a": "101", "A": "2", "T": T0, "E": T0},
        {"e": "forceOrder", "E": T0, "o": order},
        {"e": "indexPriceUpdate", "E": T0, "i": "ETHUSD", "p": "100"},
    ]
    parser, rows = feed(messages)
    assert parser.venue == "binance_coinm"
    assert kinds(rows) == [
        FUNDING,
        *[DEPTH_CLEAR] * 2,
        *[DEPTH_SNAPSHOT] * 2,
        DEPTH,
        TRADE,
        *[DEPTH_BBO] * 2,
        LIQUIDATION,
    ]
    assert parser.skipped == {"indexPriceUpdate": 1}


@pytest.mark.parametrize(
    ("symbol", "coinm"),
    [("ETHUSD_PERP", True), ("ETHUSD_240927", True), ("ETHUSDT", False), ("ETHUSDT_240927", False), ("ETHUSDC", False)],
)
def test_coinm_is_told_by_the_symbol(symbol, coinm):
    assert is_coinm(symbol) == coinm


def test_a_second_symbol():
    with pytest.raises(InputError, match="one symbol a recording"):
        feed([usdm(1, 2, 0), usdm(1, 2, 0, s="BTCUSDT")])
    parser, _ = feed([usdm(1, 2, 0), usdm(1, 2, 0, s="ETHUSDV")])
    assert parser.bad_rows == {"field 's' is another symbol": 1}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([spot(1, 2), usdm(3, 4, 2, s="NEXOUSDT")], "depthUpdate: of futures in a spot recording"),
        ([usdm(1, 2, 0), spot(3, 4, s="ETHUSDT")], "depthUpdate: of spot in a futures recording"),
    ],
)
def test_a_message_of_another_market_is_counted_and_gives_no_rows(messages, reason):
    parser, rows = feed([BOOK, *messages])
    assert len(rows) == len(feed([BOOK, messages[0]])[1])
    assert parser.bad_rows == {reason: 1}


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
        (usdm(1, 2, 0, [["0", "1"]]), "depthUpdate: field 'b' has a price or a quantity out of range"),
        (usdm(1, 2, 0, (), [["nan", "1"]]), "depthUpdate: field 'a' has a price or a quantity out of range"),
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
        (trade("1_00"), "trade: field 'p' is no positive number"),
        (usdm(1, 2, 0, s=3), "field 's' is no text"),
        ({**BOOK, "lastUpdateId": "100"}, "snapshot: field 'lastUpdateId' is no whole number"),
        ({"stream": "ethusdt@depth5", "data": usdm(1, "2", 0)}, "partialDepth: its id is no whole number"),
        ({"e": "forceOrder", "E": T0, "o": {**ORDER, "S": "NONE"}}, "forceOrder: field 'S' is neither SELL nor BUY"),
        *(
            ({**MARK, **wrong}, "markPriceUpdate: field 'r' is no number or 'T' no time")
            for wrong in ({"r": "nan"}, {"r": "inf"}, {"T": str(T0)}, {"T": -1}, {"T": 10**18})
        ),
        (trade(t=str(T0)), "trade: field 'T' is no time"),
        (trade(t=T0 + 2 * 86_400_000), "trade: field 'T' is more than a day from local_ts"),
        (usdm(1, 2, 0, [["1000000000001", "1"]]), "depthUpdate: field 'b' has a price or a quantity out of range"),
        (usdm(1, 2, 0, [["1", "1e16"]]), "depthUpdate: field 'b' has a price or a quantity out of range"),
        (usdm(1, 2, 0, [["1_0", "1"]]), "depthUpdate: field 'b' has a price or a quantity out of range"),
        (usdm(1, 2, 0, ["12"]), "depthUpdate: field 'b' has a level that is no pair of numbers"),
        (usdm(1, 2, 0, [[True, "1"]]), "depthUpdate: field 'b' has a level that is no pair of numbers"),
        (usdm(1, 2, 0, [["1", "2", "3"]]), "depthUpdate: field 'b' has a level that is no pair of numbers"),
        (usdm(3, 2, 0), "depthUpdate: field 'U' exceeds 'u'"),
        (trade("1e13"), "trade: field 'p' is out of range"),
        (trade(qty="1e16"), "trade: field 'q' is out of range"),
        (trade(qty=5), "trade: field 'q' is no number"),
        ({**trade(), "t": "x"}, "trade: field 't' is no whole number"),
        ({"e": "tarde", "E": T0}, "unknown kind 'tarde'"),
        ({"e": "feed lost", "E": T0}, "unknown kind 'feed lost'"),  # a name of ours, not of the venue's
        ({"x": 1}, "unknown kind: no field 'e'"),
        ({"stream": 3, "data": {}}, "field 'stream' is no text"),
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


@pytest.mark.slow
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
