"""A trade under way when the tape ends, or when its book goes: no label, no trade, and never a time-out.

What the whole command makes of such tapes is in tests/flows/test_bad_shadow.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.events import (
    BUY,
    DEPTH_CLEAR,
    EVENT_DTYPE,
    EXCH,
    KIND_MASK,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.market.simulator import simulate_tape
from meta_models.labels import INVALID, LABEL_DTYPE, TIMEOUT
from meta_models.labels import UNFILLED as LABEL_UNFILLED
from reports.funnel import funnel
from runtime.candidate import Entry
from runtime.shadow_types import NO_DATA, OK, UNFILLED

from .shadow_tapes import MS, S, calm, one_no_data, own, same, says_nothing, shadow

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process


@pytest.fixture(scope="module")
def events():
    """SIMULATED: half an hour."""
    return simulate_tape(seed=3, hours=0.5).events


@pytest.fixture(scope="module")
def whole(events):
    seen = shadow(events)
    assert len(seen.candidates) > 100
    assert seen.decisions["allow"].sum() > 50
    return seen


@pytest.fixture(scope="module", params=[893, 921, 1_500])
def cut(request, events):
    """The same tape, ended so many seconds after its beginning; candidates stand shortly before each end."""
    return shadow(events[events["local_ts"] < events["local_ts"][0] + request.param * S])


def test_a_trade_that_the_tape_does_not_finish_is_invalid_and_never_a_time_out(whole, cut):
    n = len(cut.candidates)
    assert same(cut.candidates, whole.candidates[:n])  # what comes later changes no candidate
    # The orders' answer is what the tape must still hold, 20 ms after the last fill.
    late = whole.labels["t_end_ns"][:n] + 20 * MS > cut.end_ns
    unfinished = late & (whole.labels["y"][:n] >= 0)
    sure = whole.labels["t_end_ns"][:n] + 100 * MS < cut.end_ns
    assert unfinished.sum() >= 2
    says_nothing(cut.labels[unfinished], cut.trades[unfinished])
    fields = [name for name in LABEL_DTYPE.names if name != "weight"]  # what overlaps is another matter
    assert same(cut.labels[fields][sure], whole.labels[fields][:n][sure])
    assert same(cut.trades[sure], whole.trades[:n][sure])
    assert set(cut.labels["outcome"][~sure]) == {INVALID}


def test_the_report_counts_what_the_tape_did_not_finish(whole, cut):
    allowed = cut.decisions["allow"]
    lost = (cut.trades["status"] == NO_DATA) & allowed
    assert lost.sum() >= 1
    assert one_no_data(cut.arm) == lost.sum()
    assert funnel(cut.arm)[-1].survivors[-1] == (allowed & (cut.trades["status"] == OK)).sum()
    # Decisions are made before the end is known: they are the whole tape's.
    np.testing.assert_array_equal(cut.decisions["reason"], whole.decisions["reason"][: len(cut.candidates)])


def until(events, last_ns):
    """The events before a time, and one trade at it: the tape's last sign of life."""
    end = np.array([(TRADE | BUY | LOCAL | EXCH, last_ns - 5 * MS, last_ns, 2000.01, 0.001, 0, 0, 0.0)], EVENT_DTYPE)
    return np.concatenate([events[events["local_ts"] < last_ns], end])


def test_the_last_fill_must_lie_within_the_tape_to_the_nanosecond():
    events = calm(200.0)
    taker = own(int(events["local_ts"][0]) // (100 * MS) * 100 * MS + 100 * S)
    whole = shadow(events, taker)
    (t_end,) = whole.trades["t_end_ns"].tolist()
    assert whole.labels["t_end_ns"].tolist() == [t_end]
    just, short = (shadow(until(events, t), taker) for t in (t_end, t_end - 1))
    for seen in (whole, just):
        assert (seen.labels["outcome"].tolist(), seen.trades["outcome"].tolist()) == ([TIMEOUT], [TIMEOUT])
        assert seen.trades["status"].tolist() == [OK]
    says_nothing(short.labels, short.trades)


def test_a_limit_that_may_still_fill_when_the_tape_ends_is_no_data_and_not_unfilled():
    events = calm(180.0)
    first = int(events["local_ts"][0]) // (100 * MS) * 100 * MS
    early, late = ([replace(own(first + t * S)[0], entry=Entry.MAKER)] for t in (170, 178))
    seen = shadow(events, early)
    assert (seen.labels["outcome"].tolist(), seen.trades["status"].tolist()) == ([LABEL_UNFILLED], [UNFILLED])
    seen = shadow(events, late)  # it rests for 5 s
    says_nothing(seen.labels, seen.trades)


@pytest.fixture(scope="module")
def stretch(events):
    """Asks are gone from minute 15 to minute 16; the tape and (from, to)."""
    lo = int(events["local_ts"][0]) + 900 * S
    hi = lo + 60 * S
    kind = events["ev"] & np.uint64(KIND_MASK)
    ask = (kind != TRADE) & ((events["ev"] & np.uint64(SELL)) > 0)
    kept = events[~(ask & (events["local_ts"] >= lo) & (events["local_ts"] < hi))]
    at = np.searchsorted(kept["local_ts"], lo)
    gone = np.array([(DEPTH_CLEAR | SELL | LOCAL | EXCH, lo - 5 * MS, lo, 0.0, 0.0, 0, 0, 0.0)], EVENT_DTYPE)
    return shadow(np.concatenate([kept[:at], gone, kept[at:]])), lo, hi


def test_without_asks_no_row_is_valid_and_nothing_fires(whole, stretch):
    seen, lo, hi = stretch
    t = seen.table.t_ns
    assert seen.table.breaks == {"emptied": 1}
    assert not seen.table.market["valid"][(t > lo) & (t < hi + 60 * S)].any()  # 60 s of a good book come before a row
    assert seen.table.market["valid"][t > hi + 61 * S].all()
    assert not ((seen.ts > lo) & (seen.ts < hi + 60 * S)).any()
    assert ((whole.ts > lo) & (whole.ts < hi + 60 * S)).sum() > 20


def test_a_trade_that_loses_its_book_is_invalid_and_no_data(whole, stretch):
    seen, lo, _ = stretch
    n = int((seen.ts < lo).sum())
    assert same(seen.candidates[:n], whole.candidates[:n])
    before = whole.labels["t_end_ns"][:n] + 100 * MS < lo
    into = (whole.labels["t_end_ns"][:n] > lo) & (whole.labels["y"][:n] >= 0)
    assert into.sum() >= 3
    says_nothing(seen.labels[:n][into], seen.trades[:n][into])
    assert same(seen.trades[:n][before], whole.trades[:n][before])
    lost = seen.decisions["allow"] & (seen.trades["status"] == NO_DATA)
    assert one_no_data(seen.arm) == lost.sum() >= 1
