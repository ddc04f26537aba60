"""One side of the book against a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.book import clear_levels, set_level, value_of_top, walk_bps


def _side(levels: int = 64) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(levels, np.int64), np.zeros(levels)


@given(st.lists(st.tuples(st.integers(-40, 40), st.sampled_from([0.0, 1.0, 2.5])), max_size=300))
@settings(deadline=None, max_examples=80)
def test_the_side_holds_what_a_dictionary_holds(updates):
    keys, quantities = _side(128)
    n, plain = 0, {}
    for key, quantity in updates:
        n = set_level(keys, quantities, n, key, quantity)
        plain.pop(key, None)
        if quantity:
            plain[key] = quantity
        assert list(zip(keys[:n].tolist(), quantities[:n].tolist(), strict=True)) == sorted(plain.items())


@given(st.lists(st.integers(-1000, 1000), max_size=200))
@settings(deadline=None, max_examples=50)
def test_a_full_side_loses_its_farthest_levels_and_never_its_best(updates):
    keys, quantities = _side(16)
    n, seen = 0, set()
    for key in updates:
        n = set_level(keys, quantities, n, key, float(abs(key) + 1))
        seen.add(key)
        held = keys[:n].tolist()
        assert held == sorted(set(held))
        assert held[-1] == max(seen)
        assert quantities[:n].tolist() == [abs(k) + 1 for k in held]
        # A quarter goes at once: the 12 best of all are always there once there are so many.
        assert held[-12:][-min(len(seen), 8) :] == sorted(seen)[-min(len(seen), 8) :]


def test_clearing_goes_from_the_best_through_the_key():
    keys = np.array([1, 3, 5, 7], np.int64)
    assert clear_levels(keys, 4, 5) == 2
    assert clear_levels(keys, 4, 6) == 3
    assert clear_levels(keys, 4, 8) == 4
    assert clear_levels(keys, 4, -9) == 0


def test_value_and_walk_by_hand():
    # Asks, keys negated: 10 at 100.00, 20 at 100.01, 30 at 100.05.
    keys, quantities = np.array([-10005, -10001, -10000], np.int64), np.array([30.0, 20.0, 10.0])
    assert value_of_top(keys, quantities, 3, 2, 100.0, 0.01, 0.0) == 10 * 100.0 + 20 * 100.01
    assert value_of_top(keys, quantities, 3, 5, 100.0, 0.01, 0.0) == 10 * 100.0 + 20 * 100.01 + 30 * 100.05
    assert walk_bps(keys, quantities, 3, 1000.0, 99.995, 100.0, 0.01, 0.0) == (100.0 - 99.995) / 99.995 * 1e4
    # 1,000 at 100.00 and 1,000 at 100.01: the average is 2,000 / (10 + 1000 / 100.01).
    average = 2000.0 / (10.0 + 1000.0 / 100.01)
    np.testing.assert_allclose(
        walk_bps(keys, quantities, 3, 2000.0, 99.995, 100.0, 0.01, 0.0), (average - 99.995) / 99.995 * 1e4, rtol=1e-12
    )
    assert walk_bps(keys, quantities, 3, 1e6, 99.995, 100.0, 0.01, 0.0) == np.inf


def test_an_inverse_contract_is_worth_its_face_value():
    keys, quantities = np.array([10000], np.int64), np.array([25.0])
    assert value_of_top(keys, quantities, 1, 5, 100.0, 0.01, 10.0) == 250.0
    assert walk_bps(keys, quantities, 1, 250.0, 100.0, 100.0, 0.01, 10.0) == 0.0
    assert walk_bps(keys, quantities, 1, 251.0, 100.0, 100.0, 0.01, 10.0) == np.inf
