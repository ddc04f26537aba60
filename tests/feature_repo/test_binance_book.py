"""The book of a Binance recording: the sequence rule, repeated messages, held clocks, partial depth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EXCH,
    GAP,
    KIND_MASK,
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


def test_a_lost_feed_is_a_gap_at_once_and_what_was_held_before_it_is_gone():
    lost = {"ofi_meta": "feed lost"}
    parser, rows = feed(
        [
            lost,  # without a book nothing is lost
            BOOK,
            usdm(100, 105, 99, [["98.0", "1"]]),
            lost,
            trade(),
            usdm(106, 110, 105, [["97.0", "1"]]),  # continues the book by its id, and is held all the same
            lost,
            usdm(121, 130, 120, [["96.0", "1"]]),
            snap(125, [["95.0", "1"]], [["102.0", "1"]]),
        ]
    )
    assert kinds(rows)[4:] == [DEPTH, GAP, TRADE, DEPTH_CLEAR, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_SNAPSHOT, DEPTH]
    assert rows["local_ts"][5] == (T0 + 13) * MS
    assert rows["px"][-1] == 96.0
    assert parser.book_valid
    assert parser.messages["feed lost"] == 3
    assert not parser.bad_rows


def test_a_snapshot_from_before_the_gap_does_not_count_the_held_diffs_again():
    parser, rows = feed(
        [
            BOOK,
            usdm(100, 105, 99, [["98.0", "1"]]),
            usdm(120, 130, 119, [["97.0", "1"]]),
            usdm(131, 140, 130, [["96.0", "1"]]),
            *([snap(107, [["95.0", "1"]], [["102.0", "1"]])] * 3),
        ]
    )
    assert parser.depth["depth_after_gap"] == 2
    assert kinds(rows)[-1] == GAP


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


# --- messages received before, and clocks that step back ------------------------------------------------------------


@pytest.mark.parametrize("make", [usdm, spot])
def test_a_repeated_diff_is_dropped_and_the_book_goes_on(make):
    more = (99,) if make is usdm else ()
    first = make(100, 105, *more, [["98.0", "1"]])
    second = make(106, 110, *([105] if more else []), [["97.0", "1"]])
    parser, rows = feed([BOOK, first, first, second, first, second])
    assert kinds(rows)[4:] == [DEPTH, DEPTH]
    assert parser.bad_rows == {"depthUpdate: duplicate id": 3}


def test_futures_ids_that_start_again_later_are_a_break_and_no_duplicate():
    parser, rows = feed([BOOK, usdm(100, 105, 99), usdm(3, 7, 2, [["97.0", "1"]], t=T0 + 1)])
    assert kinds(rows)[4:] == [GAP]
    assert not parser.bad_rows
    # Not even where pu fits: ids must rise.
    _, rows = feed([BOOK, usdm(100, 105, 99), usdm(100, 104, 105, [["97.0", "1"]], t=T0 + 1)])
    assert kinds(rows)[4:] == [GAP]


def test_a_repeated_diff_is_noticed_while_diffs_are_held():
    early = usdm(91, 105, 90, [["99.5", "3"]])
    parser, rows = feed([early, early, BOOK, usdm(110, 120, 105, (), [["100.5", "4"]])])
    assert kinds(rows)[4:] == [DEPTH, DEPTH]
    assert parser.bad_rows == {"depthUpdate: duplicate id": 1}


def test_trade_ids_must_rise_and_missing_ones_are_counted():
    a, b = trade(), trade()
    later = {**trade(), "t": b["t"] + 4}
    parser, rows = feed([a, a, b, a, later, {**later, "p": "101.0"}])
    assert kinds(rows) == [TRADE] * 3
    assert parser.bad_rows == {"trade: duplicate id": 3}
    assert parser.trade_ids_missing == 3


def test_a_clock_that_steps_back_is_held_and_counted():
    parser = BinanceParser()
    stamps = [T0 + 10, T0 + 8, T0 + 9, T0 + 12]
    reasons = [parser.parse(t * MS, json.dumps(trade()).encode()) for t in stamps]
    assert reasons == [None, "local time steps back", "local time steps back", None]
    assert (parser.take()["local_ts"] // MS - T0).tolist() == [10, 10, 10, 12]
    assert parser.local_backwards == parser.bad_rows["local time steps back"] == 2


def test_a_local_time_far_off_does_not_hold_up_what_follows():
    ticker = {"u": 5, "s": "NEXOUSDT", "b": "1.2", "B": "3", "a": "1.3", "A": "4"}
    parser, _ = feed([spot(1, 2)])
    far = parser.parse((T0 + 2 * 86_400_000) * MS, json.dumps(ticker).encode())
    assert far == "bookTicker: local_ts is more than a day from the last exchange time"
    assert parser.parse((T0 + 20) * MS, json.dumps(ticker).encode()) is None


# --- partial depth -------------------------------------------------------------------------------------------------


def partial(k, bids, asks, levels=20):
    return {"stream": f"ethusdt@depth{levels}@100ms", "data": usdm(k, k, k - 1, bids, asks)}


def spot_partial(k, bids, asks):
    return {"stream": "nexousdt@depth5", "data": {"lastUpdateId": k, "bids": bids, "asks": asks}}


@pytest.mark.parametrize("make", [partial, spot_partial])
def test_partial_depth_alone_is_the_book_as_differences(make):
    parser, rows = feed(
        [
            make(5, [["99.0", "1"], ["98.0", "2"]], [["101.0", "3"]]),
            make(7, [["99.0", "1"], ["98.5", "4"]], [["101.0", "5"]]),
            make(7, [["99.0", "1"], ["98.5", "4"]], [["101.0", "5"]]),
            make(6, [["90.0", "1"]], [["101.0", "5"]]),
            make(9, [], [["101.0", "5"]]),
        ]
    )
    side = rows["ev"] & np.uint64(BUY)
    assert [(k, px, qty) for k, px, qty in zip(kinds(rows), rows["px"], rows["qty"], strict=True)] == [
        (DEPTH_CLEAR, 0, 0),
        (DEPTH_CLEAR, 0, 0),
        (DEPTH_SNAPSHOT, 99.0, 1),
        (DEPTH_SNAPSHOT, 98.0, 2),
        (DEPTH_SNAPSHOT, 101.0, 3),
        (DEPTH, 98.0, 0),
        (DEPTH, 98.5, 4),
        (DEPTH, 101.0, 5),
        (DEPTH, 99.0, 0),
        (DEPTH, 98.5, 0),
    ]
    assert (side != 0).tolist() == [True, False, True, True, False, True, True, False, True, True]
    assert parser.bad_rows == {"partialDepth: duplicate id": 1}
    assert parser.messages == {"partialDepth": 4}
    assert (parser.venue, parser.symbol) == (
        ("binance_usdm", "ETHUSDT") if make is partial else ("binance_spot", "NEXOUSDT")
    )


def test_a_second_partial_depth_stream_is_skipped():
    parser, rows = feed([partial(5, [["99.0", "1"]], []), partial(6, [["98.0", "1"]], [], levels=5)])
    assert len(rows) == 3
    assert parser.skipped == {"partial depth stream beside ethusdt@depth20@100ms": 1}


def test_partial_depth_serves_until_a_diff_continues_a_snapshot():
    """Whichever stream came first, and wherever the snapshot lies."""
    part = partial(80, [["99.0", "1"]], [["101.0", "1"]])
    early, late = usdm(91, 105, 90, [["99.5", "3"]]), usdm(106, 110, 105, [["99.0", "0"]])
    again = partial(111, [["50.0", "1"]], [["151.0", "1"]])
    for messages in (
        [part, early, BOOK, late, again],
        [early, part, BOOK, late, again],
        [BOOK, part, early, late, again],
    ):
        parser, rows = feed(messages)
        last_clear = np.flatnonzero(rows["ev"] & np.uint64(KIND_MASK) == DEPTH_CLEAR)[-1]
        tail = rows[last_clear + 1 :]
        assert kinds(tail) == [DEPTH_SNAPSHOT, DEPTH_SNAPSHOT, DEPTH, DEPTH]
        assert tail["px"].tolist() == [99.0, 101.0, 99.5, 99.0]
        assert DEPTH_SNAPSHOT in kinds(rows[:last_clear])
        assert GAP not in kinds(rows)
        assert parser.skipped == {"partial depth stream": 1}


def test_partial_depth_has_no_gap_where_the_unused_diffs_have_one():
    part = partial(80, [["99.0", "1"]], [["101.0", "1"]])
    parser, rows = feed([part, BOOK, usdm(200, 205, 199), partial(210, [["99.0", "2"]], [["101.0", "1"]])])
    assert kinds(rows) == [DEPTH_CLEAR, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_SNAPSHOT, DEPTH]
    assert parser.depth["depth_after_gap"] == 1
