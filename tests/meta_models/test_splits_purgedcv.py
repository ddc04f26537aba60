"""Agreement with the package purgedcv on random intervals.

It pads the test labels on both sides (``purge_horizon``) and drops what begins in the embargo after them, so a hole of
gap + embargo before and after the block is its ``purge_horizon`` of that much. Three things are its own: times must be
sorted, spans of no length overlap nothing whatever the padding, and its sliding window counts what is left after the
purge, ours what was there before.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import purgedcv
from hypothesis import given, settings
from hypothesis import strategies as st

from meta_models import PurgedWalkForward
from meta_models.splits import InnerPurgedFolds

spans = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90)), min_size=8, max_size=60)
holes = st.integers(0, 40)


def columns(rows):
    start = np.array([a for a, _ in rows])
    return start, start + np.array([b for _, b in rows])


def theirs(kind, start, end, hole, **kw):
    """Its folds, as row numbers of the columns given: it wants them in the order of time."""
    order = np.lexsort((end, start))
    times = {
        "prediction_times": start[order].astype("datetime64[ns]"),
        "evaluation_times": end[order].astype("datetime64[ns]"),
    }
    splitter = kind(purge_horizon=pd.Timedelta(hole, "ns"), **times, **kw)
    return [(order[train].tolist(), order[test].tolist()) for train, test in splitter.split(start)]


def ours(splitter, start, end):
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(start, t_start=start, t_end=end)]


def shape(n, n_splits):
    size = n // (n_splits + 1)
    return size, n - n_splits * size


@settings(deadline=None, max_examples=60)
@given(spans, st.integers(1, 6), holes, holes)
def test_expanding_agrees(rows, n_splits, gap, embargo):
    start, end = columns(rows)
    size, _ = shape(len(rows), n_splits)
    expected = theirs(purgedcv.WalkForwardSplit, start, end, gap + embargo, n_splits=n_splits, test_size=size)
    assert ours(PurgedWalkForward(n_splits, gap_ns=gap, embargo_ns=embargo), start, end) == expected


@settings(deadline=None, max_examples=60)
@given(spans, st.integers(1, 6), holes, holes)
def test_rolling_agrees_within_its_window(rows, n_splits, gap, embargo):
    start, end = columns(rows)
    size, first = shape(len(rows), n_splits)
    order = np.lexsort((end, start))
    wf = PurgedWalkForward(n_splits, expanding=False, gap_ns=gap, embargo_ns=embargo)
    kw = {"n_splits": n_splits, "test_size": size}
    expanding = theirs(purgedcv.WalkForwardSplit, start, end, gap + embargo, **kw)
    sliding = theirs(purgedcv.WalkForwardSplit, start, end, gap + embargo, window="sliding", train_size=first, **kw)
    for k, (train, test) in enumerate(ours(wf, start, end)):
        window = set(order[k * size : first + k * size].tolist())
        assert train == [i for i in expanding[k][0] if i in window]
        assert test == sliding[k][1]
        # Its window reaches further back by as many as the purge took.
        assert train == sliding[k][0][len(sliding[k][0]) - len(train) :]


@settings(deadline=None, max_examples=60)
@given(spans, st.integers(2, 6), holes, holes)
def test_inner_folds_agree_with_its_k_fold(rows, n_splits, gap, embargo):
    start, end = columns(rows)
    expected = theirs(purgedcv.PurgedKFold, start, end, gap + embargo, n_splits=n_splits)
    assert ours(InnerPurgedFolds(n_splits, gap, embargo), start, end) == expected


@settings(deadline=None, max_examples=60)
@given(spans, st.integers(2, 6), holes, holes)
def test_its_own_embargo_keeps_no_less_than_ours(rows, n_splits, gap, embargo):
    """Lopez de Prado's embargo begins where the test labels end and stands beside the purge, not on top of it."""
    start, end = columns(rows)
    wide = theirs(purgedcv.PurgedKFold, start, end, gap, n_splits=n_splits, embargo=pd.Timedelta(embargo, "ns"))
    for (train, test), (more, same) in zip(
        ours(InnerPurgedFolds(n_splits, gap, embargo), start, end), wide, strict=True
    ):
        assert test == same
        # It drops what begins exactly where the embargo ends; half-open spans that far away do not touch.
        edge = max(end[test]) + embargo
        assert set(train) <= set(more) | {i for i in train if gap == 0 and start[i] == edge}
