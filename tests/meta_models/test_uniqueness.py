"""Average uniqueness by hand, and against one elementary interval at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta_models.uniqueness import average_uniqueness
from tests.meta_models.label_oracle import oracle_uniqueness

span = st.tuples(st.integers(0, 40), st.integers(0, 15))


def test_literal():
    # 0-10 alone until 4, shared 4-10; 4-12 shared 4-10, alone 10-12; 20-21 alone.
    got = average_uniqueness(np.array([0, 4, 20]), np.array([10, 12, 21]))
    np.testing.assert_allclose(got, [(4 + 6 / 2) / 10, (6 / 2 + 2) / 8, 1.0])


def test_nothing_overlaps_after_touching_ends():
    np.testing.assert_allclose(average_uniqueness(np.array([0, 10]), np.array([10, 20])), [1.0, 1.0])


def test_nanosecond_stamps_lose_nothing():
    t0 = 1_700_000_000_000_000_000
    got = average_uniqueness(t0 + np.array([0, 1]), t0 + np.array([2, 3]))
    np.testing.assert_allclose(got, [0.75, 0.75])


def test_empty_and_backward():
    assert average_uniqueness(np.array([], int), np.array([], int)).size == 0
    with pytest.raises(ValueError, match="not before"):
        average_uniqueness(np.array([2]), np.array([1]))
    with pytest.raises(ValueError, match="one start and one end"):
        average_uniqueness(np.array([1, 2]), np.array([3]))


@settings(deadline=None, max_examples=150)
@given(st.lists(span, min_size=1, max_size=25))
def test_equals_the_oracle(spans):
    start = np.array([a for a, _ in spans])
    end = np.array([a + d for a, d in spans])
    np.testing.assert_allclose(
        average_uniqueness(start, end), oracle_uniqueness(start.tolist(), end.tolist()), rtol=1e-12
    )
