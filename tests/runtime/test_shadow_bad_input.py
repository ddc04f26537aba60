"""Tapes and orders that cannot be used, from candidates to trades: each ends in a stated outcome, and none in a number.

A book of one side, a tape that ends inside a trade, one too short for a single window, candidates without one, orders
that are none. What the whole command makes of such tapes is in tests/flows/test_bad_shadow.py.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.build import build_features
from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    KIND_MASK,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.instruments import INSTRUMENTS, FeeTier
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.simulator import simulate_tape
from feature_repo.market.tape import Tape
from feature_repo.table import FeatureTable
from meta_models.labels import INVALID, LABEL_DTYPE, TIMEOUT, label_candidates
from meta_models.labels import UNFILLED as LABEL_UNFILLED
from reports.funnel import funnel, reason_counts, rejection
from reports.records import EXITS, ArmInput
from runtime.arms import DECISION_DTYPE, candidate_orders, decide_all, rows_of_orders
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.decision import Reason
from runtime.gate import GuardsOnly
from runtime.shadow import blind_spans
from runtime.shadow_types import NO_DATA, OK, ORDER_DTYPE, TRADE_DTYPE, UNFILLED
from runtime.signals import find_candidates
from runtime.sizing import round_to_lot

from .shadow_run import trades_of

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process

MS, S = 1_000_000, 1_000_000_000
ETH = INSTRUMENTS[("binance_usdm", "ETHUSDT")]
FEE = FeeTier("test", 0.0, 1.7)
NAN, INF = math.nan, math.inf
PRICES = ("entry_px", "exit_px", "gross_bps", "net_bps")


@dataclass(frozen=True)
class Seen:
    """What the parts of a shadow run make of one tape."""

    table: FeatureTable
    candidates: list[Candidate]
    labels: np.ndarray
    decisions: np.ndarray
    trades: np.ndarray  # each candidate on its own
    end_ns: int

    @property
    def ts(self) -> np.ndarray:
        return np.array([c.ts_ns for c in self.candidates], np.int64)

    @property
    def arm(self) -> ArmInput:
        """As the report gets it; every allowed one is tried on its own."""
        alone = dict.fromkeys(EXITS, self.trades)
        taken = dict.fromkeys(EXITS, self.trades[self.decisions["allow"]])
        return ArmInput("C", False, FEE, self.decisions, alone, taken)


def shadow(events, candidates=None) -> Seen:
    """Candidates (or a person's own), labels, decisions without a model, and the candidate book."""
    tape = Tape(ETH.venue, ETH.symbol, events, {})
    table = build_features(tape)
    if candidates is None:
        candidates = find_candidates(table)
    ts = np.array([c.ts_ns for c in candidates], np.int64)
    labels = label_candidates(
        table.quotes, tape.of_kind(TRADE), candidates, FEE, instrument=ETH, end_ns=tape.span_ns[1]
    )
    x, found = table.windows(ts)
    # A window that is not there has no row either; which one stands in for it must not matter.
    market = np.zeros(len(ts), table.market.dtype)
    there = np.isin(ts, table.t_ns)
    market[there] = table.market[np.searchsorted(table.t_ns, ts[there])]
    gate = GuardsOnly("C", fee=FEE, symbol=ETH.symbol, tick=ETH.tick, lot=ETH.lot)
    decisions = decide_all([gate] * len(ts), candidates, x, found, market, np.ones(len(ts), bool))
    orders, rows = candidate_orders(candidates, np.full(len(ts), 10_000.0))
    blind = blind_spans(table.quotes)
    alone = trades_of(to_hftbacktest(tape), ETH, orders, fee=FEE, one_at_a_time=False, blind=blind)
    return Seen(table, candidates, labels, decisions, rows_of_orders(alone, rows, candidates), tape.span_ns[1])


def own(*ts_ns: int) -> list[Candidate]:
    """A person's entries at these times, taker and maker in turn."""
    return [
        Candidate(
            ts_ns=t,
            symbol=ETH.symbol,
            side=1,
            sig_type=SigType.MOMENTUM,
            tier=Tier.A,
            price=2000.0,
            R_bps=20.0,
            exp_reward_bps=18.0,
            est_slip_bps=0.5,
            entry=Entry(k % 2),
            expiry_ns=t + S,
        )
        for k, t in enumerate(ts_ns)
    ]


def calm(seconds=90.0, sides=(BUY, SELL), start=1_767_571_200 * S) -> np.ndarray:
    """Five levels a side, told again ten times a second; their sizes go to and fro, their prices do not move.

    The first message is a snapshot.
    """
    rows = [
        (
            (DEPTH if k else DEPTH_SNAPSHOT) | side | LOCAL | EXCH,
            *(start + k * 100 * MS, start + (k * 100 + 5) * MS),
            *(px, 50.0 + k % 2, 0, 0, 0.0),
        )
        for k in range(int(seconds * 10))
        for side in sides
        for px in ((2000.0 - 0.01 * n) if side == BUY else (2000.01 + 0.01 * n) for n in range(5))
    ]
    return np.array(rows, EVENT_DTYPE)


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


def same(a, b) -> bool:
    """Equal to the last bit; a NaN equals a NaN."""
    a, b = (v.tolist() if isinstance(v, np.ndarray) else v for v in (a, b))
    return repr(a) == repr(b)


def says_nothing(labels, trades):
    """No label and no trade: stated outcomes, and not one number to take for a result."""
    assert (labels["outcome"] == INVALID).all()
    assert (labels["y"] == -1).all()
    assert (labels["weight"] == 0).all()
    assert all(np.isnan(labels[name]).all() for name in PRICES)
    assert (trades["status"] == NO_DATA).all()
    assert (trades["outcome"] == 4).all()
    assert all(np.isnan(trades[name]).all() for name in (*PRICES, "fee_bps", "slip_bps", "funding_bps"))


def one_no_data(arm: ArmInput) -> int:
    """What the report counts as allowed, but without data."""
    return funnel(arm)[-1].no_data


# A tape that ends inside a trade.


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


# A book of one side.


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


# Tapes on which nothing can be judged: a person's own entries on them are denied, unlabelled and not traded.


def two_ways(events, *after_s):
    first = int(events["local_ts"][0]) // (100 * MS) * 100 * MS
    return shadow(events, own(*(first + int(s * 10) * 100 * MS for s in after_s)))


ONLY = {
    "bids": lambda: two_ways(calm(sides=(BUY,)), 30, 65, 80),
    "asks": lambda: two_ways(calm(sides=(SELL,)), 30, 65, 80),
    "trades": lambda: two_ways(trades_only(), 30, 65, 80),
}


def trades_only():
    rows = calm()
    rows["ev"] = rows["ev"] & ~np.uint64(KIND_MASK) | np.uint64(TRADE)
    return rows


@pytest.mark.parametrize("side", ONLY)
def test_a_tape_of_one_side_has_no_row_no_candidate_no_label_and_no_trade(side):
    seen = ONLY[side]()
    assert len(seen.table.market) > 800
    assert not seen.table.market["valid"].any()
    assert not seen.table.X.any()
    assert find_candidates(seen.table) == []
    assert reason_counts(seen.arm) == {"no_window": 3}
    says_nothing(seen.labels, seen.trades)


def test_a_tape_of_a_single_event():
    seen = two_ways(calm()[:1], 0.1, 30)
    assert len(seen.table.market) == 0
    assert find_candidates(seen.table) == []
    assert reason_counts(seen.arm) == {"no_window": 2}
    says_nothing(seen.labels, seen.trades)


def test_a_tape_shorter_than_the_warm_up_has_no_valid_row():
    seen = two_ways(calm(59.0), 20, 58)
    assert len(seen.table.market) > 580
    assert not seen.table.market["valid"].any()
    assert reason_counts(seen.arm) == {"no_window": 2}


def test_candidates_before_the_first_whole_window_are_all_denied_for_it():
    """Rows are valid from 60 s on, a window of 64 rows stands 6.4 s later."""
    early, late = two_ways(calm(180.0), 60.5, 62, 66), two_ways(calm(180.0), 67, 68)
    assert early.table.market["valid"][610:].all()
    assert reason_counts(early.arm) == {"no_window": 3}
    assert Reason.NO_WINDOW.value not in reason_counts(late.arm)
    in_stages = dict(zip(("candidates", "in_tier", "data"), funnel(early.arm)[-1].survivors, strict=False))
    assert in_stages == {"candidates": 3, "in_tier": 3, "data": 0}
    assert math.isnan(rejection(early.arm).rate)  # nothing passed liquidity, so nothing could be rejected after it
    assert rejection(early.arm).total_rate == 1.0


def test_entries_outside_the_tape_are_denied_and_never_traded():
    seen = two_ways(calm(180.0), -100, -0.1, 181, 86_400)
    assert reason_counts(seen.arm) == {"no_window": 4}
    says_nothing(seen.labels, seen.trades)


def test_a_tape_without_a_candidate_gives_empty_parts_of_the_right_kind():
    seen = shadow(calm(180.0))
    assert seen.table.market["valid"].sum() > 1_100
    assert seen.candidates == []
    assert (seen.labels.dtype, len(seen.labels)) == (LABEL_DTYPE, 0)
    assert (seen.decisions.dtype, len(seen.decisions)) == (DECISION_DTYPE, 0)
    assert (seen.trades.dtype, len(seen.trades)) == (TRADE_DTYPE, 0)
    assert reason_counts(seen.arm) == {}
    assert {row.survivors for row in funnel(seen.arm)} == {(0,) * 9}


def test_a_tape_without_events_is_refused():
    with pytest.raises(InputError, match="holds no events"):
        shadow(calm()[:0])
    with pytest.raises(InputError, match="neither depth nor trades"):
        to_hftbacktest(Tape(ETH.venue, ETH.symbol, calm()[:0], {}))


# Orders that are none.


def an_order(ts_ns, **changes):
    out = np.zeros(1, ORDER_DTYPE)
    out[0] = (ts_ns, 1, Entry.MAKER, 2000.0, 20.0, 10_000.0)
    for name, value in changes.items():
        out[name] = value
    return out


@pytest.fixture(scope="module")
def quiet():
    """Ten minutes without a move, as hftbacktest wants them, and a time within."""
    made = calm(600.0)
    return to_hftbacktest(Tape(ETH.venue, ETH.symbol, made, {})), int(made["local_ts"][0]) + 60 * S


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("notional", v) for v in (0.0, -0.0, -10_000.0, NAN, INF, -INF)),
        *(("R_bps", v) for v in (0.0, -0.0, -20.0, NAN, INF, -INF)),
        *(("price", v) for v in (0.0, -2000.0, NAN, INF, -INF)),
        *(("side", v) for v in (0, 2, -128)),
        *(("entry", v) for v in (-1, 2, 127)),
    ],
)
def test_an_order_that_is_none_is_refused_by_its_row(quiet, field, value):
    hft, t = quiet
    # Given out of time order: the row is where the caller put it, not where the replay sorts it to.
    orders = np.concatenate(
        [an_order(t + 9 * S), an_order(t + 8 * S), an_order(t + S, **{field: value}), an_order(t - S)]
    )
    with pytest.raises(InputError, match=re.escape(f"order 2 with {field} {orders[field][2]}")):
        trades_of(hft, ETH, orders, fee=FEE)
    orders[2] = an_order(t + 200 * S)[0]
    assert len(trades_of(hft, ETH, orders, fee=FEE)) == 4


def test_a_lot_that_costs_more_than_the_notional_is_unfilled_and_too_small_for_the_gate(quiet):
    hft, t = quiet
    taker = an_order(t, entry=Entry.IOC)
    for lot, status in (
        (40.0, UNFILLED),
        (5.1, UNFILLED),
        (2.0, UNFILLED),
        (1.6, OK),
    ):  # the whole buys 5.0, a slice of a third 1.67
        instrument = replace(ETH, lot=lot, min_notional=0.0)
        (trade,) = trades_of(hft, instrument, taker, fee=FEE)
        assert trade["status"] == status
        assert math.isnan(trade["net_bps"]) == (status == UNFILLED)
    (candidate,) = own(t)
    assert round_to_lot(10_000.0, candidate.price, 5.1) == 0.0


@pytest.mark.parametrize("notional", [0.0, -10_000.0, NAN, INF, -INF])
def test_a_size_that_is_no_number_is_no_order(notional):
    assert round_to_lot(notional, 2000.0, 0.001) == 0.0
    assert round_to_lot(10_000.0, notional, 0.001) == 0.0
    assert round_to_lot(10_000.0, 2000.0, notional) == 0.0


def test_the_page_names_these_tests():
    """docs/bad-input.md names what is shown here, by file and test."""
    root = Path(__file__).parents[2]
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (root / "docs" / "bad-input.md").read_text(encoding="utf-8"))
    assert len(named) > 15
    for file, test in named:
        (found,) = (root / "tests").rglob(file)
        assert re.search(rf"^def {test}\(", found.read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{test}"
