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


# Ten samples of unlike length, worked out by hand. Blocks: 0-3 | 4-6 | 7-9, which begin at 40 and at 70.
UNEVEN_START = np.array([0, 10, 20, 30, 40, 50, 60, 70, 80, 90])
UNEVEN_END = np.array([45, 12, 29, 31, 60, 52, 75, 71, 99, 95])


@pytest.mark.parametrize(
    ("expanding", "gap", "embargo", "expected"),
    [
        # Spans overlap nothing of the block: 0 ends at 45 > 40, 6 at 75 > 70.
        (True, 0, 0, ([1, 2, 3], [0, 1, 2, 3, 4, 5])),
        # Ends by 30 and by 60: 3 ends at 31, 4 at 60 exactly.
        (True, 4, 6, ([1, 2], [0, 1, 2, 3, 4, 5])),
        # By 29 and by 59: 2 ends at 29 exactly, 4 goes.
        (True, 4, 7, ([1, 2], [0, 1, 2, 3, 5])),
        (True, 11, 0, ([1, 2], [0, 1, 2, 3, 5])),
        (True, 0, 12, ([1], [0, 1, 2, 3, 5])),
        # The same, of the last four before the block: 0-3, then 3-6.
        (False, 0, 0, ([1, 2, 3], [3, 4, 5])),
        (False, 4, 6, ([1, 2], [3, 4, 5])),
        (False, 4, 7, ([1, 2], [3, 5])),
        (False, 0, 40, ([], [])),
    ],
)
def test_golden_by_hand(expanding, gap, embargo, expected):
    wf = PurgedWalkForward(2, expanding=expanding, gap_ns=gap, embargo_ns=embargo)
    assert lists(wf, UNEVEN_START, UNEVEN_END) == [(expected[0], [4, 5, 6]), (expected[1], [7, 8, 9])]


def test_inner_golden_by_hand():
    # The blocks reach from 0 to 45, 40 to 75, 70 to 99; a hole of 6 on either side: 5 begins at 50, 8 at 80.
    assert lists(InnerPurgedFolds(3, 2, 4), UNEVEN_START, UNEVEN_END) == [
        ([6, 7, 8, 9], [0, 1, 2, 3]),
        ([1, 2, 3, 9], [4, 5, 6]),
        ([0, 1, 2, 3, 4, 5], [7, 8, 9]),
    ]
    # One of 5 just lets them stay.
    assert lists(InnerPurgedFolds(3, 2, 3), UNEVEN_START, UNEVEN_END)[:2] == [
        ([5, 6, 7, 8, 9], [0, 1, 2, 3]),
        ([1, 2, 3, 8, 9], [4, 5, 6]),
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


def test_a_label_over_a_whole_test_block_and_beyond_is_in_no_training_set():
    end = UNEVEN_END.copy()
    end[3] = 95  # over the block from 40 to 75, into the last one
    assert lists(PurgedWalkForward(2, gap_ns=0, embargo_ns=0), UNEVEN_START, end) == [
        ([1, 2], [4, 5, 6]),
        ([0, 1, 2, 4, 5], [7, 8, 9]),
    ]
    # Inside: its own block reaches to 95 and so leaves nothing to train on; the others do without it.
    assert lists(InnerPurgedFolds(3, 0, 0), UNEVEN_START, end) == [
        ([], [0, 1, 2, 3]),
        ([1, 2, 8, 9], [4, 5, 6]),
        ([0, 1, 2, 4, 5], [7, 8, 9]),
    ]


def test_equal_times_fall_on_both_sides_of_a_border_and_the_hole_parts_them():
    start = np.full(6, 50)
    assert lists(PurgedWalkForward(2, gap_ns=0, embargo_ns=0), start, start + 1) == [([], [2, 3]), ([], [4, 5])]
    # Spans of no length touch nothing: without a hole they stay, with one of a nanosecond they go.
    assert lists(PurgedWalkForward(2, gap_ns=0, embargo_ns=0), start, start)[1] == ([0, 1, 2, 3], [4, 5])
    assert lists(PurgedWalkForward(2, gap_ns=1, embargo_ns=0), start, start)[1] == ([], [4, 5])
    # A block of spans without length never trains on itself.
    assert lists(InnerPurgedFolds(3, 0, 0), start, start)[0] == ([2, 3, 4, 5], [0, 1])


def test_a_duplicated_sample_is_never_on_both_sides():
    start, end = np.repeat(UNEVEN_START, 2), np.repeat(UNEVEN_END, 2)
    for splitter in (PurgedWalkForward(5, gap_ns=0, embargo_ns=0), InnerPurgedFolds(6, 0, 0)):
        for train, test in splitter.split(start, t_start=start, t_end=end):
            assert not set((train // 2).tolist()) & set((test // 2).tolist())


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


def test_datetimes_of_a_coarser_unit_are_the_same_times():
    seconds, hole = START.astype("datetime64[s]"), 5 * 10**9
    wf = PurgedWalkForward(3, gap_ns=hole, embargo_ns=0)
    assert lists(wf, seconds, END.astype("datetime64[s]")) == lists(wf, START * 10**9, END * 10**9)


def test_defaults_are_a_minute_and_five():
    wf = PurgedWalkForward()
    assert (wf.n_splits, wf.gap_ns, wf.embargo_ns, wf.get_n_splits()) == (3, 60 * 10**9, 300 * 10**9, 3)


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [
        (None, None, "without times"),
        (None, END, "without times"),
        (START, None, "without times"),
        (START[:3], END[:3], "3 samples for 3 folds"),
        (START.astype(float), END, "float64"),
        (START, END[:5], "12 values of t_start and 5 of t_end"),
        (END, START, "before it starts"),
        (START, END[:, None], "2 dimensions"),
        # A border less a hole would wrap around to the other end of int64, and keep everything.
        (START, END + (2**63 - 1 - END.max()), "t_end of sample 0 is 92233"),
        (START - 2**62 - 200, END, "t_start of sample 0 is -4611"),
        (START.astype(np.uint64) + np.uint64(2**63), END, "2\\*\\*62"),
        (START, np.full(12, "3000-01-01", "datetime64[D]"), "nanoseconds cannot hold"),
        (START, np.array(["NaT"] * 12, "datetime64[ns]"), "t_end holds NaT"),
    ],
)
def test_refusals_say_what_was_wrong(start, end, part):
    with pytest.raises(InputError, match=part):
        list(PurgedWalkForward(3).split(START if start is None else start, t_start=start, t_end=end))


def test_fewer_samples_than_inner_folds_are_refused():
    with pytest.raises(InputError, match="2 samples for 3 inner folds"):
        list(InnerPurgedFolds(3).split(START[:2], t_start=START[:2], t_end=END[:2]))


def test_fewer_samples_than_spans_are_refused():
    with pytest.raises(InputError, match="11 samples and 12 spans"):
        list(PurgedWalkForward(3).split(START[:-1], t_start=START, t_end=END))


def test_a_fold_that_the_purge_empties_is_empty_or_refused_as_asked():
    everywhere = np.full(12, 1_000)
    assert [len(train) for train, _ in lists(PurgedWalkForward(3), START, everywhere)] == [0, 0, 0]
    with pytest.raises(InputError, match="fold 0 keeps 0 of 3 training samples after the purge"):
        lists(PurgedWalkForward(3, min_train=1), START, everywhere)
    with pytest.raises(InputError, match="fold 0 keeps 2 of 3"):
        lists(PurgedWalkForward(3, gap_ns=0, embargo_ns=0, min_train=3))


@pytest.mark.parametrize("splitter", [PurgedWalkForward, InnerPurgedFolds])
@pytest.mark.parametrize(
    "bad",
    [
        {"n_splits": 0},
        {"n_splits": 2.5},
        {"n_splits": True},
        {"gap_ns": -1},
        {"gap_ns": float("nan")},
        {"embargo_ns": -1},
        {"embargo_ns": 2**62, "gap_ns": 1},
    ],
)
def test_bad_parameters(splitter, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        splitter(**bad)


def test_one_block_cannot_be_predicted_from_the_others():
    with pytest.raises(InputError, match="n_splits = 1"):
        InnerPurgedFolds(1)


def test_min_train_is_a_whole_number():
    with pytest.raises(InputError, match="min_train"):
        PurgedWalkForward(min_train=-1)


spans = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), min_size=8, max_size=60)


@settings(deadline=None, max_examples=100)
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


@settings(deadline=None, max_examples=100)
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
