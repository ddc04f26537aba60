"""The engine against plain oracles, under any cut of the stream, and against events of the future."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.build import build_features
from feature_repo.constants import ENGINE, EngineDefaults
from feature_repo.engine import Engine
from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    FUNDING,
    GAP,
    LIQUIDATION,
    SELL,
    TRADE,
)
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.table import QUOTE_DTYPE

from ..oracles import oracle_rows
from .streams import ETH, SHORT, START_NS, StreamTape, random_events

REAL = Path(__file__).parents[3] / "shared" / "data" / "binance_usdm_ethusdt"


class Run:
    """An engine fed in pieces, with all that it wrote."""

    def __init__(self, config: EngineDefaults = SHORT) -> None:
        self.engine = Engine(ETH, config)
        self.rows, self.market, self.quotes = [], [], []

    def feed(self, events: np.ndarray, *, room: int = 64) -> Run:
        X, market, quotes = np.zeros((room, 24), np.float32), np.zeros(room, MARKET_DTYPE), np.zeros(room, QUOTE_DTYPE)
        used = 0
        while used < len(events):
            taken, closed, quoted = self.engine.process(events[used:], X, market, quotes)
            used += taken
            self.rows.append(X[:closed].copy())
            self.market.append(market[:closed].copy())
            self.quotes.append(quotes[:quoted].copy())
        return self

    def bits(self) -> tuple[bytes, bytes, bytes]:
        return tuple(np.concatenate(parts).tobytes() for parts in (self.rows, self.market, self.quotes))


def assert_equals_oracle(events: np.ndarray, config: EngineDefaults) -> None:
    table, oracle = build_features(StreamTape(events), config=config), oracle_rows(events, ETH, config)
    assert table.rejected == {}
    assert len(table.X) == len(oracle.X)
    assert np.isfinite(table.X).all()
    for i, name in enumerate(CHANNELS):
        np.testing.assert_allclose(table.X[:, i], oracle.X[:, i], rtol=1e-5, atol=2e-6, err_msg=name)
    for name in MARKET_DTYPE.names:
        np.testing.assert_allclose(table.market[name], oracle.market[name], rtol=1e-9, atol=1e-9, err_msg=name)
    # The table also holds the quotes after the last closed window.
    assert len(oracle.quotes) <= len(table.quotes) <= len(oracle.quotes) + 50
    for i, name in enumerate(QUOTE_DTYPE.names):
        expected = [quote[i] for quote in oracle.quotes]
        np.testing.assert_allclose(table.quotes[name][: len(expected)], expected, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_channel_and_market_field_equals_the_oracle_on_a_random_stream(seed):
    events = random_events(seed, 90.0)
    assert_equals_oracle(events, SHORT)


def test_the_random_stream_reaches_what_it_should():
    events = random_events(1, 90.0)
    table = build_features(StreamTape(events), config=SHORT)
    market = table.market
    assert market["warm"].any()
    assert (~market["valid"]).any()
    assert np.isnan(table.quotes["bid"]).any()
    assert np.isfinite(market["atr"]).any()
    assert (np.abs(table.X).max(axis=0)[[i for i, name in enumerate(CHANNELS) if name != "session_flag"]] > 0).all()


def test_hand_over_windows():
    events = random_events(4, 310.0, rate=3.0, breaks=False)
    flags = build_features(StreamTape(events), config=SHORT)
    inside = flags.t_ns[flags.X[:, CHANNELS.index("session_flag")] == 1]
    assert inside.max() == 1_767_578_399_900_000_000  # 01:59:59.9; at 02:00:00.0 the window is over
    assert flags.t_ns[-1] > inside.max()


def test_a_slow_stream_with_the_default_memories_equals_the_oracle():
    assert_equals_oracle(random_events(5, 100.0, rate=4.0), ENGINE)


@pytest.mark.skipif(not REAL.exists(), reason="the ETHUSDT recording is not beside the project")
def test_the_real_recording_equals_the_oracle():
    from feature_repo.market.tape import read_tape

    events = read_tape(REAL).events
    assert_equals_oracle(events[events["local_ts"] < events["local_ts"][0] + 68_000_000_000], ENGINE)


def _event(kind: int, at_ms: float, px: float = 0.0, qty: float = 0.0, fval: float = 0.0, delay_ms: float = 5.0):
    local = START_NS - 30_000_000 + int(at_ms * 1e6)
    return (kind, local - int(delay_ms * 1e6), local, px, qty, 0, 0, fval)


def _events(*rows) -> np.ndarray:
    return np.array(list(rows), EVENT_DTYPE)


SNAPSHOT = (
    _event(DEPTH_SNAPSHOT | BUY, 1, 100.00, 5.0),
    _event(DEPTH_SNAPSHOT | BUY, 1, 99.99, 7.0),
    _event(DEPTH_SNAPSHOT | BUY, 1, 99.98, 9.0),
    _event(DEPTH_SNAPSHOT | SELL, 1, 100.01, 4.0),
    _event(DEPTH_SNAPSHOT | SELL, 1, 100.02, 6.0),
    _event(DEPTH_SNAPSHOT | SELL, 1, 100.03, 8.0),
)


def test_order_flow_by_hand():
    """Four messages on a known book; sums worked out on paper from Cont, Kukanov and Stoikov's definition."""
    run = Run().feed(
        _events(
            *SNAPSHOT,
            # Best bid 5 -> 8: +3 at level 1.
            _event(DEPTH | BUY, 10, 100.00, 8.0),
            # Best ask goes: level 1 price up, +4; level 2 (6 -> level 100.03) +6; level 3 has no successor.
            _event(DEPTH | SELL, 20, 100.01, 0.0),
            # One message of two rows: bid 100.01 appears with 2 at level 1 (+2), 100.00 becomes level 2 (+8), 99.99
            # level 3 (+7); the ask of 100.02 grows from 6 to 10: -4.
            _event(DEPTH | BUY, 30, 100.01, 2.0),
            _event(DEPTH | SELL, 30, 100.02, 10.0),
            # The bid of 100.01 goes: -2, level 2 back to 99.99 (-8), level 3 back to 99.98 (-7).
            _event(DEPTH | BUY, 40, 100.01, 0.0),
            _event(TRADE | BUY, 60, 100.02, 1.0),
        )
    )
    s = run.engine.state.scalars[0]
    assert s["w_ofi"] == 3 + 4 + (2 - 4) - 2
    assert s["w_ofi3"] == 3 + (4 + 0.5 * 6) + (2 - 4 + 0.5 * 8 + 0.25 * 7) - (2 + 0.5 * 8 + 0.25 * 7)
    quotes = np.concatenate(run.quotes)
    assert quotes[["bid", "ask", "bid_qty", "ask_qty"]].tolist() == [
        (100.00, 100.01, 5.0, 4.0),
        (100.00, 100.01, 8.0, 4.0),
        (100.00, 100.02, 8.0, 6.0),
        (100.01, 100.02, 2.0, 10.0),
        (100.00, 100.02, 8.0, 10.0),
    ]


def test_a_message_is_judged_only_when_whole():
    """Within one message the book may cross; no quote and no break may come of it."""
    run = Run().feed(
        _events(
            *SNAPSHOT,
            _event(DEPTH | BUY, 10, 100.01, 3.0),
            _event(DEPTH | SELL, 10, 100.01, 0.0),
            _event(TRADE | BUY, 60, 100.02, 1.0),
        )
    )
    assert np.concatenate(run.quotes)[["bid", "ask"]].tolist() == [(100.00, 100.01), (100.01, 100.02)]


def test_a_gap_writes_an_empty_quote_and_diffs_wait_for_a_snapshot():
    run = Run().feed(
        _events(
            *SNAPSHOT,
            _event(GAP, 20),
            _event(DEPTH | BUY, 30, 100.00, 1.0),
            _event(DEPTH | SELL, 30, 100.01, 1.0),
            _event(DEPTH_SNAPSHOT | BUY, 40, 99.00, 1.0),
            _event(DEPTH_SNAPSHOT | SELL, 40, 99.01, 2.0),
            _event(TRADE | BUY, 60, 99.01, 1.0),
        )
    )
    quotes = np.concatenate(run.quotes)
    np.testing.assert_array_equal(quotes["bid"], [100.0, np.nan, 99.0])
    np.testing.assert_array_equal(quotes["ask_qty"], [4.0, np.nan, 2.0])
    assert run.engine.state.scalars["w_ofi"][0] == 0.0


def test_a_clear_with_a_price_forgets_the_levels_through_it():
    run = Run().feed(
        _events(*SNAPSHOT, _event(DEPTH_CLEAR | SELL, 10, 100.02), _event(TRADE | BUY, 60, 100.02, 1.0)),
    )
    assert np.concatenate(run.quotes)["ask"].tolist() == [100.01, 100.03]


def test_true_range_reaches_back_to_the_last_close():
    """Two 15 s bars that do not move inside, a jump of 1.00 between them: ranges 0 and 1, so an ATR of 0.5."""
    jump = 30_001.0
    moved = [(DEPTH | BUY, jump, 101.00, 3.0), (DEPTH | SELL, jump, 101.01, 3.0)]
    gone = [(DEPTH | SELL, jump, px, 0.0) for px in (100.01, 100.02, 100.03)]
    events = _events(*SNAPSHOT, *(_event(*row) for row in gone + moved), _event(TRADE | BUY, 46_000, 101.0, 1.0))
    market = np.concatenate(Run().feed(events).market)
    at = {int(t - START_NS) // 10**9: atr for t, atr in zip(market["t_ns"], market["atr"], strict=True)}
    assert np.isnan(at[28])  # the bar of 01:55:00 began without a book; the next ends at 30 s
    assert at[31] == 0.0
    np.testing.assert_allclose(at[45], 0.5, rtol=1e-12)


STREAM = random_events(11, 25.0)
WHOLE = Run().feed(STREAM).bits()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.integers(2, 70))
@settings(deadline=None, max_examples=40)
def test_any_cut_gives_the_same_bits(cuts, room):
    edges = [0, *sorted(cuts), len(STREAM)]
    run = Run()
    for low, high in pairwise(edges):
        run.feed(STREAM[low:high], room=room)
    run.feed(STREAM[:0])
    assert run.bits() == WHOLE


def test_one_event_at_a_time_gives_the_same_bits():
    run = Run()
    for i in range(len(STREAM)):
        run.feed(STREAM[i : i + 1])
    assert run.bits() == WHOLE


@given(st.integers(0, len(STREAM)))
@settings(deadline=None, max_examples=25)
def test_a_saved_and_restored_state_gives_the_same_bits(cut):
    before = Run().feed(STREAM[:cut])
    after = Run()
    after.engine.state.load_state_dict(before.engine.state.state_dict())
    after.rows, after.market, after.quotes = before.rows, before.market, before.quotes
    assert after.feed(STREAM[cut:]).bits() == WHOLE


def test_a_state_of_other_settings_is_refused():
    with pytest.raises(InputError, match=r"saved engine state has .* for .floats."):
        Engine(ETH, ENGINE).state.load_state_dict(Engine(ETH, SHORT).state.state_dict())


@given(st.integers(1, 240), st.sampled_from(["drop", "change", "add"]), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_nothing_at_or_after_t_moves_a_row_up_to_t(window, what, seed):
    t = START_NS // 100_000_000 * 100_000_000 + window * 100_000_000
    rng = np.random.default_rng(seed)
    past, future = STREAM[STREAM["local_ts"] < t], STREAM[STREAM["local_ts"] >= t]
    if what == "drop":
        future = future[rng.random(len(future)) < 0.5]
    elif what == "change":
        future = future.copy()
        future["px"] *= rng.uniform(0.9, 1.1, len(future))
        future["qty"] *= rng.uniform(0, 2, len(future))
    else:
        more = _events(_event(GAP, 0), _event(TRADE | BUY, 0, 3000.0, 1e6))
        more["local_ts"], more["exch_ts"] = t, t - 1
        future = np.concatenate([more, future])
    # An event long after ends every window of the past.
    end = STREAM[-1:].copy()
    end["local_ts"] += 1_000_000_000
    changed = Run().feed(np.concatenate([past, future, end]))
    whole = Run().feed(STREAM)
    count = int((np.concatenate(whole.market)["t_ns"] <= t).sum())
    assert np.concatenate(changed.rows)[:count].tobytes() == np.concatenate(whole.rows)[:count].tobytes()
    assert np.concatenate(changed.market)[:count].tobytes() == np.concatenate(whole.market)[:count].tobytes()


BAD = {
    "unknown_kind": _event(77 | BUY, 30, 100.0, 1.0),
    "late": _event(TRADE | BUY, -40, 100.0, 1.0),
    "time_jump": _event(TRADE | BUY, 8 * 86_400_000.0, 100.0, 1.0),
    "side": _event(DEPTH, 30, 100.0, 1.0),
    "price": _event(DEPTH | BUY, 30, float("nan"), 1.0),
    "quantity": _event(DEPTH | BUY, 30, 100.0, -1.0),
    "overflow": _event(DEPTH | BUY, 30, 100.0, 1e30),
    "funding": _event(FUNDING, 30, 100.0, 0.0, float("inf")),
    "not_local": _event(TRADE | BUY | EXCH, 30, 100.0, 1.0),
}
MORE_BAD = [
    ("price", _event(TRADE | SELL, 30, 0.0, 1.0)),
    ("price", _event(TRADE | SELL, 30, -3.0, 1.0)),
    ("price", _event(TRADE | SELL, 30, float("inf"), 1.0)),
    ("quantity", _event(TRADE | SELL, 30, 100.0, 0.0)),
    ("quantity", _event(LIQUIDATION | SELL, 30, 100.0, float("nan"))),
    ("side", _event(LIQUIDATION | SELL | BUY, 30, 100.0, 1.0)),
    ("overflow", _event(TRADE | BUY, 30, 1e20, 1.0)),
    ("time_jump", _event(DEPTH | BUY, 30, 100.0, 1.0, delay_ms=-120_000.0)),
    ("time", (TRADE | BUY, 0, START_NS + 10**8, 100.0, 1.0, 0, 0, 0.0)),
    ("time", (TRADE | BUY, START_NS, -5, 100.0, 1.0, 0, 0, 0.0)),
]


@pytest.mark.parametrize(("reason", "row"), [*BAD.items(), *MORE_BAD])
def test_an_unusable_event_is_counted_and_changes_nothing_else(reason, row):
    good = Run().feed(_events(*SNAPSHOT, _event(TRADE | BUY, 20, 100.01, 1.0)))
    state = good.engine.state
    before = state.state_dict()
    good.feed(_events(row))
    assert good.engine.rejected == {reason: 1}
    after = state.state_dict()
    after["ints"][int(state.scalars["o_rej"][0]) :] = 0
    assert all(after[name].tobytes() == before[name].tobytes() for name in before)


def test_an_event_of_a_closed_window_is_late():
    run = Run().feed(_events(*SNAPSHOT))
    room = np.zeros((9, 24), np.float32), np.zeros(9, MARKET_DTYPE), np.zeros(9, QUOTE_DTYPE)
    assert run.engine.process(_events(), *room, now_ns=START_NS + 70_000_000) == (0, 1, 1)
    run.feed(_events(_event(TRADE | BUY, 99, 100.01, 1.0)))
    assert run.engine.rejected == {"late": 1}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**32),
            st.integers(-(2**62), 2**62),
            st.one_of(st.just(START_NS), st.integers(START_NS, START_NS + 10**10), st.integers(-(2**63), 2**63 - 1)),
            st.floats(),
            st.floats(),
            st.floats(),
        ),
        max_size=20,
    )
)
@settings(deadline=None, max_examples=60)
def test_no_event_whatever_makes_a_valid_row_that_is_not_finite(rows):
    garbage = _events(*[(ev, exch, local, px, qty, 0, 0, fval) for ev, exch, local, px, qty, fval in rows])
    run = Run().feed(_events(*SNAPSHOT)).feed(garbage, room=4096).feed(STREAM[-1:])
    X, market = np.concatenate(run.rows), np.concatenate(run.market)
    assert np.isfinite(X).all()
    assert (X[~market["valid"]] == 0).all()


def test_an_empty_tape_says_so():
    with pytest.raises(InputError, match="holds no events"):
        build_features(StreamTape(STREAM[:0]))
