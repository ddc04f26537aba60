"""Streaming statistics against their naive form at every step."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.streaming import median, rank, replace_sorted, slide_extremes, sum_ring, z_score

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(VALUES, st.floats(0.5, 0.999))
@settings(deadline=None, max_examples=40)
def test_z_score(values, decay):
    memory = np.zeros(3)
    for n, x in enumerate(values):
        z = z_score(memory, x, decay, 1.0, 8.0)
        if n == 0:
            assert z == 0.0
            continue
        past, weights = np.array(values[:n]), decay ** np.arange(n - 1, -1, -1)
        mean = np.average(past, weights=weights)
        deviation = np.sqrt(np.average((past - mean) ** 2, weights=weights))
        np.testing.assert_allclose(z, np.clip((x - mean) / max(deviation, 1.0), -8, 8), rtol=1e-6, atol=1e-6)


@given(st.lists(st.one_of(st.integers(0, 9).map(float), st.just(float("nan"))), min_size=1, max_size=80))
@settings(deadline=None, max_examples=60)
def test_rolling_median_and_rank(values):
    length = 7
    ring, ordered, n = np.full(length, np.nan), np.zeros(length), 0
    for i, x in enumerate(values):
        n = replace_sorted(ordered, n, ring[i % length], x)
        ring[i % length] = x
        known = ring[~np.isnan(ring)]
        assert ordered[:n].tolist() == sorted(known.tolist())
        np.testing.assert_equal(median(ordered, n), np.median(known) if n else np.nan)
        expected = ((known < 5).sum() + 0.5 * (known == 5).sum()) / n if n else 0.5
        assert rank(ordered, n, 5.0) == expected


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 19)), min_size=1, max_size=120), st.integers(1, 9))
@settings(deadline=None, max_examples=80)
def test_sliding_extremes_of_an_unbroken_sequence(values, span):
    """A break, one value in twenty, starts the sequence anew."""
    memory, ring, sequence = np.zeros(4, np.int64), np.zeros(11, np.int64), []
    for i, (value, draw) in enumerate(values):
        sequence = [value] if draw == 0 else [*sequence, value]
        ring[i % 11] = value
        slide_extremes(memory, ring, (i + 1) % 11, len(sequence), span)
        assert (memory[0], memory[2]) == (max(sequence[-span:]), min(sequence[-span:]))


@given(VALUES)
@settings(deadline=None, max_examples=40)
def test_sum(values):
    np.testing.assert_allclose(sum_ring(np.array(values)), np.sum(values), rtol=1e-9, atol=1e-6)
