"""Nothing that happens at or after t moves a row up to t, or a quote before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.constants import ENGINE, WINDOW_NS
from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, EVENT_DTYPE, FUNDING, GAP, SELL, TRADE

from .engine_run import Run
from .streams import START_NS, random_events
from .three_tapes import every_tape, tape, trail

STREAM = random_events(11, 25.0)


def _dropped(future: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    return future[rng.random(len(future)) < rng.choice([0.0, 0.5, 0.9])]


def _changed(future: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    future = future.copy()
    future["px"] *= rng.uniform(0.9, 1.1, len(future))
    future["qty"] *= rng.uniform(0, 2, len(future))
    future["exch_ts"] += rng.integers(-(10**9), 10**9, len(future))
    return future


def _swapped(future: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    return future[rng.permutation(len(future))]


def _moved(future: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    """Everything happens at t already."""
    future = future.copy()
    future["local_ts"] = t
    return future


def _flooded(future: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    """Random bytes as events, but for the time: an event before t may move the row of t."""
    garbage = np.frombuffer(rng.bytes(64 * 300), EVENT_DTYPE).copy()
    garbage["local_ts"] = np.where(rng.random(300) < 0.5, t + rng.integers(0, 10**9, 300), rng.integers(t, 2**62, 300))
    kinds = rng.choice([DEPTH | BUY, DEPTH | SELL, TRADE | BUY, DEPTH_SNAPSHOT | SELL, DEPTH_CLEAR, FUNDING, GAP], 300)
    garbage["ev"] = np.where(rng.random(300) < 0.7, kinds, garbage["ev"])
    garbage["exch_ts"] = np.where(rng.random(300) < 0.7, t - 5_000_000, garbage["exch_ts"])
    garbage["px"] = np.where(rng.random(300) < 0.7, rng.uniform(1, 1e5, 300), garbage["px"])
    garbage["qty"] = np.where(rng.random(300) < 0.7, rng.exponential(10.0, 300), garbage["qty"])
    return np.concatenate([garbage, future])


def _added(*kinds: int) -> Callable[[np.ndarray, int, np.random.Generator], np.ndarray]:
    def add(future: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
        rows = [(kind, t - 1, t, 2_900.0 + 200.0 * rng.random(), 1e6, 0, 0, 1e-3) for kind in kinds]
        return np.concatenate([np.array(rows, EVENT_DTYPE), future])

    return add


def _joined(future: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    """Rows that carry the exchange time of the message before t, as if they belonged to it."""
    more = future[:1].copy() if len(future) else np.zeros(1, EVENT_DTYPE)
    more["ev"], more["local_ts"], more["px"], more["qty"] = DEPTH | BUY, t, 1e5, 1.0
    return np.concatenate([more, future])


CHANGES = {
    "dropped": _dropped,
    "changed": _changed,
    "swapped": _swapped,
    "moved": _moved,
    "flooded": _flooded,
    "joined": _joined,
    "a gap": _added(GAP),
    "a clear": _added(DEPTH_CLEAR, DEPTH_CLEAR | BUY),
    "a snapshot": _added(DEPTH_CLEAR, DEPTH_SNAPSHOT | BUY, DEPTH_SNAPSHOT | SELL),
    "a trade and a rate": _added(TRADE | BUY, FUNDING),
}


def assert_the_future_moves_nothing(make: Callable[[], Run], events: np.ndarray, t: int, what: str, seed: int) -> int:
    """Returns how many valid rows there are up to t."""
    past, future = events[events["local_ts"] < t], events[events["local_ts"] >= t]
    alone = make().feed(past, now_ns=t)
    changed = CHANGES[what](future, t, np.random.default_rng(seed))
    assert len(changed) == 0 or changed["local_ts"].min() >= t
    # Far more room than time: garbage that jumps days ahead closes windows by the hundred thousand.
    near = changed[changed["local_ts"] < t + 20_000_000_000]
    for later in (changed[:0], future, near):
        assert make().feed(past).feed(later, now_ns=t).bits_until(t) == alone.bits_until(t)
    assert alone.market["t_ns"][-1] == t
    return int(alone.market["valid"].sum())


@given(st.integers(1, 240), st.sampled_from(list(CHANGES)), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=80)
def test_nothing_at_or_after_t_moves_a_row_up_to_t_or_a_quote_before_it(window, what, seed):
    t = START_NS // WINDOW_NS * WINDOW_NS + window * WINDOW_NS
    assert_the_future_moves_nothing(Run, STREAM, t, what, seed)


@every_tape
@pytest.mark.slow
def test_nothing_at_or_after_t_of_a_tape_moves_a_row_up_to_t(name):
    instrument, rng, valid = tape(name)[1], np.random.default_rng(9), 0
    for place in trail(name).places:
        first = int(place.events["local_ts"][0])
        for what in CHANGES:
            t = first // WINDOW_NS * WINDOW_NS + WINDOW_NS * int(rng.integers(1, 600))
            near = place.events[place.events["local_ts"] < t + 5_000_000_000]
            state = place.state
            valid += assert_the_future_moves_nothing(
                lambda state=state: Run(instrument, ENGINE, state=state), near, t, what, int(rng.integers(2**32))
            )
    assert valid > 1_000
