"""The engine by hand: order flow, messages, gaps, clears and bars worked out on paper; what a stream must reach."""

from __future__ import annotations

import numpy as np

from feature_repo.build import build_features
from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, EVENT_DTYPE, GAP, SELL, TRADE
from feature_repo.fields import CHANNELS

from .engine_run import Run
from .streams import SHORT, START_NS, StreamTape, random_events


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
    quotes = run.quotes
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
    assert run.quotes[["bid", "ask"]].tolist() == [(100.00, 100.01), (100.01, 100.02)]


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
    quotes = run.quotes
    np.testing.assert_array_equal(quotes["bid"], [100.0, np.nan, 99.0])
    np.testing.assert_array_equal(quotes["ask_qty"], [4.0, np.nan, 2.0])
    assert run.engine.state.scalars["w_ofi"][0] == 0.0


def test_a_clear_with_a_price_forgets_the_levels_through_it():
    run = Run().feed(
        _events(*SNAPSHOT, _event(DEPTH_CLEAR | SELL, 10, 100.02), _event(TRADE | BUY, 60, 100.02, 1.0)),
    )
    assert run.quotes["ask"].tolist() == [100.01, 100.03]


def test_true_range_reaches_back_to_the_last_close():
    """Two 15 s bars that do not move inside, a jump of 1.00 between them: ranges 0 and 1, so an ATR of 0.5."""
    jump = 30_001.0
    moved = [(DEPTH | BUY, jump, 101.00, 3.0), (DEPTH | SELL, jump, 101.01, 3.0)]
    gone = [(DEPTH | SELL, jump, px, 0.0) for px in (100.01, 100.02, 100.03)]
    events = _events(*SNAPSHOT, *(_event(*row) for row in gone + moved), _event(TRADE | BUY, 46_000, 101.0, 1.0))
    market = Run(config=SHORT).feed(events).market
    at = {int(t - START_NS) // 10**9: atr for t, atr in zip(market["t_ns"], market["atr"], strict=True)}
    assert np.isnan(at[28])  # the bar of 01:55:00 began without a book; the next ends at 30 s
    assert at[31] == 0.0
    np.testing.assert_allclose(at[45], 0.5, rtol=1e-12)
