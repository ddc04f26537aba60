"""The book's sides against a dictionary, with a window and a table small enough to be left and filled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.book import ASKS, BIDS, best_key, clear_levels, levels_below, next_level, quantity_at, set_level
from feature_repo.constants import ENGINE
from feature_repo.depth import value_of_top, walk_bps
from feature_repo.state import NO_LEVEL, allocate

from .streams import ETH

NEAR, FAR = 256, 64


class Side:
    """One side of a book on the engine's arrays."""

    def __init__(self, side=BIDS, *, instrument=ETH, far=FAR):
        state = allocate(instrument, ENGINE, near_ticks=NEAR, far_levels=far)
        self.s, self.F, self.I, self.side = state.scalars[0], state.floats, state.ints, side

    def set(self, key, quantity):
        set_level(self.s, self.F, self.I, self.side, np.int64(key), float(quantity))

    def clear(self, key=NO_LEVEL):
        clear_levels(self.s, self.F, self.I, self.side, np.int64(key))

    def held(self):
        """{key: quantity}, best first: walked through the window, then the table."""
        out, key = {}, best_key(self.s, self.I, self.side)
        while key != NO_LEVEL:
            out[int(key)] = quantity_at(self.s, self.F, self.I, self.side, np.int64(key))
            key = next_level(self.s, self.F, self.I, self.side, np.int64(key))
        keys, sizes = levels_below(self.s, self.F, self.I, self.side)
        return out | dict(zip(keys.tolist(), sizes.tolist(), strict=True))

    def value(self, levels):
        return value_of_top(self.s, self.F, self.I, self.side, levels)

    def walk(self, size, mid):
        return walk_bps(self.s, self.F, self.I, self.side, size, mid)


KEYS = st.one_of(st.integers(-90, 90), st.integers(-1500, 1500), st.sampled_from([10**15, -(10**15), 10**9]))


@given(st.lists(st.tuples(KEYS, st.sampled_from([0.0, 1.0, 2.5])), max_size=120), st.sampled_from([BIDS, ASKS]))
@settings(deadline=None, max_examples=80)
def test_a_side_holds_what_a_dictionary_holds(updates, which):
    side, plain = Side(which, far=128), {}
    for key, quantity in updates:
        side.set(key, quantity)
        plain.pop(key, None)
        if quantity:
            plain[key] = quantity
        assert list(side.held().items()) == sorted(plain.items(), reverse=True)
        if plain:
            assert best_key(side.s, side.I, which) == max(plain)


@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=60))
@settings(deadline=None, max_examples=60)
def test_clearing_goes_from_the_best_through_the_key(steps):
    side, plain = Side(), {}
    for key, clear in steps:
        if clear:
            side.clear(key)
            plain = {k: q for k, q in plain.items() if k < key}
        else:
            side.set(key, 1.5)
            plain[key] = 1.5
        assert list(side.held()) == sorted(plain, reverse=True)
    side.clear()
    assert side.held() == {}


@pytest.mark.slow
def test_a_full_table_loses_its_farthest_levels_and_never_those_of_the_window():
    side, keys = Side(), []
    rng = np.random.default_rng(3)
    side.set(0, 1.0)
    for key in rng.permutation(2_000):
        side.set(-int(key), 1.0)
        keys.append(-int(key))
        held = list(side.held())
        assert len(held) <= NEAR + 2 * FAR
        # The window reaches at least a quarter of it below the best; a table at most half full drops nothing.
        wanted = sorted(set(keys) | {0}, reverse=True)
        near = [k for k in wanted if k > -NEAR // 4]
        sure = near + [k for k in wanted if k <= -NEAR // 4][: FAR // 2]
        assert held[: len(sure)] == sure
    assert len(held) < 2_000


def test_a_price_that_jumps_and_comes_back_loses_nothing():
    side = Side()
    for key in range(1000, 1050):
        side.set(key, float(key))
    before = side.held()
    for jump in (5_000, 300, -4_000, 10**12):
        side.set(1050 + jump, 9.0)
        side.set(1050 + jump, 0.0)
        assert side.held() == before


def hand_made(instrument=ETH):
    # Asks, keys negated: 10 at 100.00, 20 at 100.01, and 30 at 150.00, far outside the window.
    side = Side(ASKS, instrument=instrument)
    for key, quantity in ((-10_001, 20.0), (-15_000, 30.0), (-10_000, 10.0)):
        side.set(key, quantity)
    return side


def test_value_and_walk_by_hand():
    side = hand_made()
    assert side.value(2) == 10 * 100.0 + 20 * 100.01
    assert side.value(5) == 10 * 100.0 + 20 * 100.01 + 30 * 150.0
    assert side.walk(1000.0, 99.995) == (100.0 - 99.995) / 99.995 * 1e4
    # 1,000 at 100.00 and 1,000 at 100.01: the average is 2,000 / (10 + 1000 / 100.01).
    for size, coins in ((2000.0, 10.0 + 1000.0 / 100.01), (4500.2, 30.0 + 1500.0 / 150.0)):
        assert side.walk(size, 99.995) == pytest.approx((size / coins - 99.995) / 99.995 * 1e4, rel=1e-12)
    assert side.walk(1e6, 99.995) == np.inf


def test_an_inverse_contract_is_worth_its_face_value():
    side = hand_made(replace(ETH, inverse=True, contract_value=10.0))
    assert side.value(5) == 600.0
    assert side.walk(100.0, 100.0) == 0.0
    assert side.walk(601.0, 100.0) == np.inf
