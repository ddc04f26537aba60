"""Bad input, each kind with its documented outcome: docs/bad-input.md names the tests of this file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.build import build_features
from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    FUNDING,
    GAP,
    LIQUIDATION,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.fields import CHANNELS
from feature_repo.market.tape import Tape
from feature_repo.table import FeatureTable

from ..oracles_series import series_rows
from .engine_run import NOTHING, Run
from .streams import ETH, IMPATIENT, SHORT, START_NS, StreamTape, random_events

STREAM = random_events(11, 25.0)
WHOLE = Run().feed(STREAM)
SECOND = 1_000_000_000
INT_MAX, INT_MIN = 2**63 - 1, -(2**63)


def event(kind: int, at_ms: float, px: float = 0.0, qty: float = 0.0, fval: float = 0.0, delay_ms: float = 5.0):
    local = START_NS - 30_000_000 + int(at_ms * 1e6)
    return (kind, local - int(delay_ms * 1e6), local, px, qty, 0, 0, fval)


def rows_of(*rows) -> np.ndarray:
    return np.array(list(rows), EVENT_DTYPE)


def book(at_ms: float, *, bid: float = 100.0, ask: float = 100.01) -> list[tuple]:
    sides = ((BUY, bid, -0.01), (SELL, ask, 0.01))
    return [event(DEPTH_SNAPSHOT | s, at_ms, px + i * step, 5.0 + i) for s, px, step in sides for i in range(3)]


BAD = [
    ("unknown_kind", event(77 | BUY, 30, 100.0, 1.0)),
    ("unknown_kind", event(0, 30, 100.0, 1.0)),
    ("late", event(TRADE | BUY, -40, 100.0, 1.0)),
    ("time_jump", event(TRADE | BUY, 8 * 86_400_000.0, 100.0, 1.0)),
    ("time_jump", event(DEPTH | BUY, 30, 100.0, 1.0, delay_ms=-120_000.0)),
    ("time_jump", (TRADE | BUY, INT_MAX, START_NS, 100.0, 1.0, 0, 0, 0.0)),
    ("time", (TRADE | BUY, 0, START_NS + 10**8, 100.0, 1.0, 0, 0, 0.0)),
    ("time", (TRADE | BUY, INT_MIN, START_NS + 10**8, 100.0, 1.0, 0, 0, 0.0)),
    ("time", (TRADE | BUY, START_NS, -5, 100.0, 1.0, 0, 0, 0.0)),
    ("time", (TRADE | BUY, START_NS, INT_MIN, 100.0, 1.0, 0, 0, 0.0)),
    ("time", (TRADE | BUY, START_NS, INT_MAX, 100.0, 1.0, 0, 0, 0.0)),
    ("side", event(DEPTH, 30, 100.0, 1.0)),
    ("side", event(DEPTH_SNAPSHOT | BUY | SELL, 30, 100.0, 1.0)),
    ("side", event(LIQUIDATION | SELL | BUY, 30, 100.0, 1.0)),
    ("price", event(DEPTH | BUY, 30, float("nan"), 1.0)),
    ("price", event(TRADE | SELL, 30, 0.0, 1.0)),
    ("price", event(TRADE | SELL, 30, -3.0, 1.0)),
    ("price", event(TRADE | SELL, 30, float("inf"), 1.0)),
    ("price", event(DEPTH | BUY, 30, 0.004, 1.0)),  # no tick at all
    ("price", event(DEPTH | SELL, 30, 5e-324, 1.0)),
    ("quantity", event(DEPTH | BUY, 30, 100.0, -1.0)),
    ("quantity", event(TRADE | SELL, 30, 100.0, 0.0)),
    ("quantity", event(DEPTH | BUY, 30, 100.0, float("inf"))),
    ("quantity", event(LIQUIDATION | SELL, 30, 100.0, float("nan"))),
    ("overflow", event(DEPTH | BUY, 30, 100.0, 1e30)),
    ("overflow", event(TRADE | BUY, 30, 1e20, 1.0)),
    ("funding", event(FUNDING, 30, 100.0, 0.0, float("inf"))),
    ("not_local", event(TRADE | BUY | EXCH, 30, 100.0, 1.0)),
]


@pytest.mark.parametrize(("reason", "row"), BAD)
def test_an_unusable_event_is_counted_and_changes_nothing_else(reason, row):
    good = Run().feed(rows_of(*book(1), event(TRADE | BUY, 20, 100.01, 1.0)))
    state = good.engine.state
    before = state.state_dict()
    good.feed(rows_of(row))
    assert good.engine.rejected == {reason: 1}
    assert good.engine.breaks == {}
    after = state.state_dict()
    counters = slice(int(state.scalars["o_rej"][0]), None)
    after["ints"][counters] = before["ints"][counters]
    assert all(after[name].tobytes() == before[name].tobytes() for name in before)


def _spoil(row: np.void, what: str, rng: np.random.Generator) -> None:
    """Make one row unusable in a way of its own."""
    kind = DEPTH | (BUY if rng.random() < 0.5 else SELL)
    row["ev"] = kind
    row["px"], row["qty"] = 3_000.0, 1.0
    if what == "price":
        row["px"] = rng.choice([np.nan, 0.0, -0.0, -3_000.0, np.inf, -np.inf, 0.004])
    elif what == "quantity":
        row["qty"] = rng.choice([np.nan, -1.0, -np.inf, np.inf, -5e-324])
    elif what == "overflow":
        row["px"], row["qty"] = (3_000.0, 10.0 ** rng.uniform(15.1, 300)) if rng.random() < 0.5 else (1e200, 1.0)
    elif what == "side":
        row["ev"] = rng.choice([DEPTH, DEPTH_SNAPSHOT | BUY | SELL, LIQUIDATION])
    elif what == "unknown_kind":
        row["ev"] = rng.choice([0, 6, 19, 23, 255]) | BUY | int(rng.integers(0, 2**20)) << 8
    elif what == "funding":
        row["ev"], row["fval"] = FUNDING, rng.choice([np.nan, np.inf, -np.inf])
    elif what == "not_local":
        row["ev"] = kind | EXCH
    elif what == "time":
        row["exch_ts"] = rng.choice([0, -1, INT_MIN])
    elif what == "late":
        row["local_ts"] -= 10 ** int(rng.integers(1, 18))
    elif what == "time_jump":
        row["local_ts"] += 8 * 86_400 * SECOND if rng.random() < 0.5 else 2**61


REASONS = ["price", "quantity", "overflow", "side", "unknown_kind", "funding", "not_local", "time", "late", "time_jump"]


@given(st.lists(st.tuples(st.integers(1, len(STREAM)), st.sampled_from(REASONS)), max_size=40), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_unusable_events_anywhere_in_a_stream_are_counted_and_change_no_bit(places, seed):
    rng = np.random.default_rng(seed)
    places.sort(key=lambda place: place[0])
    extra = STREAM[[at - 1 for at, _ in places]].copy()
    for row, (_, what) in zip(extra, places, strict=True):
        _spoil(row, what, rng)
    run = Run().feed(np.insert(STREAM, [at for at, _ in places], extra))
    assert run.bits() == WHOLE.bits()
    assert sum(run.engine.rejected.values()) == len(places)
    assert set(run.engine.rejected) == {what for _, what in places}


def test_time_going_backwards_is_late_and_a_gap_never_is():
    events = rows_of(*book(1), event(TRADE | BUY, 500, 100.01, 1.0), event(TRADE | BUY, 250, 100.01, 1.0))
    run = Run().feed(events)
    assert run.engine.rejected == {"late": 1}
    assert run.feed(rows_of(event(GAP, -5_000))).engine.rejected == {"late": 1}
    assert run.engine.breaks == {"gap": 1}
    assert np.isnan(run.quotes["bid"][-1])
    assert run.quotes["local_ts"][-1] == events["local_ts"][-2], "as of the newest event"


def test_an_event_of_a_closed_window_is_late():
    run = Run().feed(rows_of(*book(1))).feed(NOTHING, now_ns=START_NS + 70_000_000)
    assert len(run.rows) == 1
    run.feed(rows_of(event(TRADE | BUY, 99, 100.01, 1.0)))
    assert run.engine.rejected == {"late": 1}


@pytest.mark.parametrize("first", [INT_MAX, INT_MAX - 10**8, 2**62])
def test_a_first_event_at_the_end_of_time_is_refused(first):
    run = Run().feed(rows_of((TRADE | BUY, 5, first, 100.0, 1.0, 0, 0, 0.0)))
    assert run.engine.rejected == {"time": 1}
    assert len(run.feed(rows_of(*book(1))).feed(NOTHING, now_ns=START_NS + 10**9).rows) == 10


@given(st.integers(1, 2**64 - 1), st.booleans())
@settings(deadline=None, max_examples=30)
def test_flag_bits_that_mean_nothing_change_nothing(bits, passes):
    events = STREAM.copy()
    events["ev"] |= np.uint64(bits & ~(0xFF | BUY | SELL | EXCH | LOCAL))
    events["ev"] |= np.uint64(LOCAL | EXCH if passes else LOCAL)
    run = Run().feed(events)
    assert run.bits() == WHOLE.bits()
    assert run.engine.rejected == {}


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([k | s for k in range(1, 6) for s in (BUY, SELL)])),
            st.one_of(st.integers(INT_MIN, INT_MAX), st.just(START_NS)),
            st.one_of(st.integers(0, 10**9), st.just(0), st.integers(INT_MIN, 0)),
            st.one_of(st.floats(), st.floats(2_999.0, 3_001.0), st.floats(0.01, 1e13)),
            st.one_of(st.floats(), st.floats(0.0, 1e15)),
            st.floats(),
        ),
        max_size=20,
    ),
    st.integers(300, len(STREAM)),
)
@settings(deadline=None, max_examples=100)
def test_no_event_whatever_makes_a_valid_row_that_is_not_finite(garbage, at):
    now = int(STREAM["local_ts"][at - 1])
    rows = rows_of(
        *[
            (ev, exch, now + step, px, qty, 0, 0, fval)
            for ev, exch, step, px, qty, fval in garbage
            if now + step >= INT_MIN
        ]
    )
    run = Run().feed(STREAM[:at]).feed(rows).feed(STREAM[at:], room=4096)
    run.feed(NOTHING, now_ns=int(run.engine.state.scalars["t_next"][0]) + 5 * SECOND)
    valid = run.market["valid"]
    assert valid.any()
    assert np.isfinite(run.rows).all()
    assert (run.rows[~valid] == 0).all()
    for name in ("bid", "ask", "mid", "spread_bps", "depth_top5", "data_age_ms", "drift_bps"):
        assert np.isfinite(run.market[name][valid]).all(), name
    assert (run.market["bid"] < run.market["ask"])[valid].all()


def _breaks(*rows: tuple) -> tuple[Run, dict[str, int]]:
    run = Run().feed(rows_of(*book(1), *rows))
    return run, run.engine.breaks


def test_a_crossed_book_is_no_book_until_it_is_uncrossed():
    run, breaks = _breaks(
        event(DEPTH | BUY, 10, 100.05, 3.0), event(DEPTH | BUY, 40, 100.05, 0.0), event(TRADE | BUY, 60, 100.0, 1.0)
    )
    assert breaks == {"crossed": 1}
    np.testing.assert_array_equal(run.quotes["bid"], [100.0, np.nan, 100.0])
    assert run.engine.rejected == {}


def test_a_locked_book_counts_as_crossed():
    assert _breaks(event(DEPTH | BUY, 10, 100.01, 3.0), event(TRADE | BUY, 60, 100.0, 1.0))[1] == {"crossed": 1}


@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_side_without_levels_is_no_book_until_it_has_some(side):
    px = 100.0 if side == BUY else 100.01
    run, breaks = _breaks(
        event(DEPTH_CLEAR | side, 10), event(DEPTH | side, 40, px, 2.0), event(TRADE | BUY, 60, 100.0, 1.0)
    )
    assert breaks == {"emptied": 1}
    assert np.isnan(run.quotes["bid"]).tolist() == [False, True, False]


def test_a_gap_is_no_book_until_a_snapshot():
    run, breaks = _breaks(
        event(GAP, 10), event(DEPTH | BUY, 20, 100.0, 1.0), *book(40, bid=99.0), event(TRADE | BUY, 60, 100.0, 1.0)
    )
    assert breaks == {"gap": 1}
    np.testing.assert_array_equal(run.quotes["bid"], [100.0, np.nan, 99.0])
    again = Run().feed(rows_of(*book(1), event(GAP, 10), event(GAP, 11), event(GAP, 12)))
    assert again.engine.breaks == {"gap": 1}, "a book that is not good cannot cease to be"


def test_a_silence_is_no_book_from_the_close_that_sees_it_until_the_next_book_message():
    config = replace(SHORT, silence_s=5, warm_up_s=2)
    run = Run(config=config).feed(rows_of(*book(1)))
    last = START_NS - 29_000_000
    # Trades and best quotes are no book events.
    run.feed(rows_of(event(TRADE | BUY, 4_000, 100.0, 1.0), event(DEPTH_BBO | BUY, 4_500, 100.0, 1.0)))
    run.feed(NOTHING, now_ns=last + 20 * SECOND)
    t = -(-(last + 5 * SECOND) // 10**8) * 10**8
    assert run.engine.breaks == {"silence": 1}
    assert run.quotes["local_ts"].tolist() == [last, t]
    assert np.isnan(run.quotes["bid"][1])
    market = run.market
    assert market["valid"][market["t_ns"] == t - 10**8].all()
    assert not market["valid"][market["t_ns"] >= t].any()
    # One row of the book is enough: nothing says that the levels kept are wrong.
    again = last + 30 * SECOND
    run.feed(rows_of((DEPTH | BUY, again, again, 99.98, 1.0, 0, 0, 0.0)))
    run.feed(NOTHING, now_ns=again + 3 * SECOND)
    assert run.quotes[["local_ts", "bid"]][-1].tolist() == (again, 100.0)
    valid = run.market["t_ns"][run.market["valid"]]
    assert valid[valid > t][0] == -(-(again + 2 * SECOND) // 10**8) * 10**8


def test_a_silence_just_short_of_the_limit_is_none():
    config = replace(SHORT, silence_s=5)
    first = START_NS // 10**8 * 10**8 + 10**8
    rows = [(kind, first, first + 1, px, 1.0, 0, 0, 0.0) for kind, *_, px, _, _, _, _ in book(1)]
    run = Run(config=config).feed(rows_of(*rows))
    run.feed(NOTHING, now_ns=first + 5 * SECOND)  # closes at 4.999999999 s
    assert run.engine.breaks == {}
    run.feed(NOTHING, now_ns=first + 5 * SECOND + 10**8)
    assert run.engine.breaks == {"silence": 1}


def test_the_same_snapshot_again_changes_nothing_but_the_age():
    rows = book(40)
    clear = [event(DEPTH_CLEAR | BUY, 40), event(DEPTH_CLEAR | SELL, 40)]
    run, breaks = _breaks(*clear, *rows, event(TRADE | BUY, 60, 100.0, 1.0))
    assert (breaks, len(run.quotes), run.engine.rejected) == ({}, 1, {})
    assert run.engine.state.scalars["w_ofi"][0] == run.engine.state.scalars["w_ofi3"][0] == 0.0
    assert run.engine.state.scalars["newest_exch"][0] == rows[0][1]


def test_prices_that_halve_and_come_back_within_a_window_stay_exact():
    """The squared return of a window counts up to 10 % squared; every other channel takes the move as it is."""
    rng = np.random.default_rng(1)
    rows, at, price = [], 1.0, 100.0
    for k in range(60):
        rows += [event(DEPTH_CLEAR | side, at) for side in (BUY, SELL)] + book(
            at, bid=price, ask=round(price + 0.01, 2)
        )
        rows.append(event(TRADE | BUY, at + 20, price, float(rng.exponential())))
        at, price = at + 137.0, 50.0 if k % 4 == 1 else 100.0
    run, oracle = Run(), series_rows(rows_of(*rows), ETH, IMPATIENT)
    run.feed(rows_of(*rows))
    np.testing.assert_allclose(run.rows, oracle.X, rtol=1e-5, atol=2e-6)
    assert run.rows[:, CHANNELS.index("rv_60s_bps")].max() > 1_000


def test_an_empty_tape_says_so():
    with pytest.raises(InputError, match="holds no events"):
        build_features(StreamTape(STREAM[:0]))


def test_a_symbol_without_instrument_facts_says_where_to_put_them(monkeypatch, tmp_path):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"unknown symbol 'NOPEUSDT' on venue 'binance_usdm'.*instruments\.json"):
        build_features(Tape("binance_usdm", "NOPEUSDT", STREAM, {}))


def test_what_was_refused_and_what_broke_is_written_with_the_table(tmp_path):
    events = np.concatenate([rows_of(*book(1), BAD[2][1], BAD[14][1], event(GAP, 300)), STREAM[-1:]])
    table = build_features(StreamTape(events), config=SHORT)
    assert (table.rejected, table.breaks) == ({"late": 1, "price": 1}, {"gap": 1})
    loaded = FeatureTable.load(table.save(tmp_path))
    assert (loaded.rejected, loaded.breaks) == (table.rejected, table.breaks)


def test_the_page_names_tests_that_exist():
    text = (Path(__file__).parents[2] / "docs" / "bad-input.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    written = (file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))
    there = {name for text in written for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)}
    assert len(named) > 10
    assert named <= there, named - there


def test_a_stream_with_nothing_bad_counts_nothing():
    engine = Run().feed(random_events(7, 10.0, breaks=False)).engine
    assert (engine.rejected, engine.breaks) == ({}, {})
