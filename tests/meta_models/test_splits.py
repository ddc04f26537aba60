"""Purge by the clock: golden indices, and a brute-force oracle on random spans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.errors import InputError
from meta_models import PurgedWalkForward
from meta_models.splits import InnerPurgedFolds

# Twelve samples a second apart, each 1.5 s long: every span overlaps the next one.
START = np.arange(12) * 10
END = START + 15


def lists(splitter, start=START, end=END):
    return [(a.tolist(), b.tolist()) for a, b in splitter.split(start, t_start=start, t_end=end)]


def test_expanding_golden():
    assert lists(PurgedWalkForward(3, gap_ns=0, embargo_ns=0)) == [
        ([0, 1], [3, 4, 5]),
        ([0, 1, 2, 3, 4], [6, 7, 8]),
        ([0, 1, 2, 3, 4, 5, 6, 7], [9, 10, 11]),
    ]


def test_gap_and_embargo_add_up_and_the_border_is_kept():
    # Test begins at 30: a distance of 15 allows an end of 15 (sample 0 exactly), one of 16 none.
    assert lists(PurgedWalkForward(3, gap_ns=5, embargo_ns=10))[0] == ([0], [3, 4, 5])
    assert lists(PurgedWalkForward(3, gap_ns=6, embargo_ns=10))[0] == ([], [3, 4, 5])
    assert lists(PurgedWalkForward(3, gap_ns=6, embargo_ns=10))[1] == ([0, 1, 2], [6, 7, 8])


def test_rolling_golden():
    assert lists(PurgedWalkForward(3, expanding=False, gap_ns=0, embargo_ns=0)) == [
        ([0, 1], [3, 4, 5]),
        ([3, 4], [6, 7, 8]),
        ([6, 7], [9, 10, 11]),
    ]


def test_the_first_block_takes_the_remainder():
    start = np.arange(11) * 10
    assert lists(PurgedWalkForward(3, gap_ns=0, embargo_ns=0), start, start) == [
        ([0, 1, 2, 3, 4], [5, 6]),
        ([0, 1, 2, 3, 4, 5, 6], [7, 8]),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], [9, 10]),
    ]


def test_a_long_label_is_purged_however_early_it_began():
    end = END.copy()
    end[0] = 1_000
    assert lists(PurgedWalkForward(3, gap_ns=0, embargo_ns=0), START, end)[2][0] == [1, 2, 3, 4, 5, 6, 7]


def test_inner_golden_has_the_hole_on_both_sides():
    assert lists(InnerPurgedFolds(3, gap_ns=5, embargo_ns=0)) == [
        ([5, 6, 7, 8, 9, 10, 11], [0, 1, 2, 3]),
        ([0, 1, 2, 9, 10, 11], [4, 5, 6, 7]),
        ([0, 1, 2, 3, 4, 5, 6], [8, 9, 10, 11]),
    ]


def test_rows_in_any_order_give_the_same_samples():
    shuffled = np.random.default_rng(1).permutation(12)
    back = lists(PurgedWalkForward(3, gap_ns=0, embargo_ns=0), START[shuffled], END[shuffled])
    assert [(shuffled[a].tolist(), shuffled[b].tolist()) for a, b in back] == lists(
        PurgedWalkForward(3, gap_ns=0, embargo_ns=0)
    )


def test_datetimes_are_taken():
    start, end = START.astype("datetime64[ns]"), END.astype("datetime64[ns]")
    wf = PurgedWalkForward(3, gap_ns=0, embargo_ns=0)
    assert lists(wf, start, end) == lists(wf)


def test_defaults_are_a_minute_and_five():
    wf = PurgedWalkForward()
    assert (wf.n_splits, wf.gap_ns, wf.embargo_ns, wf.get_n_splits()) == (3, 60 * 10**9, 300 * 10**9, 3)


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [
        (None, None, "without times"),
        (START[:3], END[:3], "3 samples for 3 folds"),
        (START.astype(float), END, "float64"),
        (START, END[:5], "12 values of t_start and 5 of t_end"),
        (END, START, "before it starts"),
    ],
)
def test_refusals_say_what_was_wrong(start, end, part):
    with pytest.raises(InputError, match=part):
        list(PurgedWalkForward(3).split(START if start is None else start, t_start=start, t_end=end))


def test_min_train_and_bad_parameters():
    with pytest.raises(InputError, match="fold 0 keeps 2 of 3"):
        lists(PurgedWalkForward(3, gap_ns=0, embargo_ns=0, min_train=3))
    for bad in ({"n_splits": 0}, {"gap_ns": -1}, {"embargo_ns": -1}):
        with pytest.raises(InputError):
            PurgedWalkForward(**bad)
    with pytest.raises(InputError):
        InnerPurgedFolds(1)


spans = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), min_size=8, max_size=60)


@settings(deadline=None, max_examples=150)
@given(spans, st.integers(1, 5), st.integers(0, 30), st.integers(0, 30), st.booleans())
def test_walk_forward_equals_brute_force(rows, n_splits, gap, embargo, expanding):
    start = np.array([a for a, _ in rows])
    end = start + np.array([b for _, b in rows])
    order = sorted(range(len(rows)), key=lambda i: (start[i], end[i]))
    size = len(rows) // (n_splits + 1)
    first = len(rows) - n_splits * size
    wf = PurgedWalkForward(n_splits, expanding=expanding, gap_ns=gap, embargo_ns=embargo)
    seen = []
    for k, (train, test) in enumerate(wf.split(rows, t_start=start, t_end=end)):
        begin = first + k * size
        assert test.tolist() == order[begin : begin + size]
        pool = order[:begin] if expanding else order[begin - first : begin]
        hole = gap + embargo
        assert train.tolist() == [i for i in pool if all(start[j] - end[i] >= hole for j in test)]
        seen += test.tolist()
    assert seen == order[first:]


@settings(deadline=None, max_examples=150)
@given(spans, st.integers(2, 5), st.integers(0, 30), st.integers(0, 30))
def test_inner_folds_equal_brute_force(rows, n_splits, gap, embargo):
    start = np.array([a for a, _ in rows])
    end = start + np.array([b for _, b in rows])
    hole, seen = gap + embargo, []
    for train, test in InnerPurgedFolds(n_splits, gap, embargo).split(rows, t_start=start, t_end=end):
        lo, hi = min(start[j] for j in test), max(end[j] for j in test)
        expected = {
            i
            for i in range(len(rows))
            if i not in set(test.tolist()) and (lo - end[i] >= hole or start[i] - hi >= hole)
        }
        assert set(train.tolist()) == expected
        for i in train:  # no training span comes within the hole of any test span
            assert all(max(start[j] - end[i], start[i] - end[j]) >= hole for j in test)
        seen += test.tolist()
    assert sorted(seen) == list(range(len(rows)))
