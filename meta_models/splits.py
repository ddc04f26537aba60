"""Splits for labels that take time: purged by the clock, not by the row.

A sample is a span: its features begin at ``t_start`` and its label is known at ``t_end``. Two samples whose spans touch
share information, whatever their row numbers are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from feature_repo.constants import MODEL, SECOND_NS
from feature_repo.errors import InputError

__all__ = ["EMBARGO_NS", "GAP_NS", "InnerPurgedFolds", "PurgedWalkForward", "sample_spans"]

GAP_NS = MODEL.gap_s * SECOND_NS
EMBARGO_NS = MODEL.embargo_s * SECOND_NS


def sample_spans(t_start: np.ndarray, t_end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checked spans and their time order.

    Parameters
    ----------
    t_start, t_end : int64 or datetime64 [N], ns UTC

    Returns
    -------
    t_start, t_end : int64 [N]
    order : int64 [N], stable, by t_start, then t_end

    Raises
    ------
    InputError
        When the lengths differ, a time is not an integer number of ns, or a span ends before it starts.
    """
    start, end = _as_ns(t_start, "t_start"), _as_ns(t_end, "t_end")
    if start.shape != end.shape:
        raise InputError(
            f"{start.size} values of t_start and {end.size} of t_end", "one of each per sample", "Pass whole columns"
        )
    backward = np.flatnonzero(end < start)
    if backward.size:
        i = int(backward[0])
        raise InputError(
            f"sample {i} ends at {end[i]} ns, before it starts at {start[i]} ns",
            "t_end >= t_start",
            "Check the labels' t_end column",
        )
    return start, end, np.lexsort((end, start))


@dataclass(frozen=True, slots=True)
class PurgedWalkForward:
    """Train on the past, test on the next block, with a hole between them.

    The samples in time order are cut into ``n_splits + 1`` blocks; the first is only ever trained on and takes the
    remainder, each later one is a test block. A training sample is kept only if its span ends at least
    ``gap_ns + embargo_ns`` before the earliest start in the test block (spans are half-open: a distance of exactly that
    much is kept). Rows may come in any order; indices refer to the rows as given, each side in time order.

    Parameters
    ----------
    n_splits : test blocks, >= 1
    expanding : train on everything before, or (rolling) on at most as many samples as the first block has
    gap_ns, embargo_ns : the hole, in ns
    min_train : fewer training samples than this after the purge is an error; 0 lets a fold come out empty

    References
    ----------
    Lopez de Prado (2018), Advances in Financial Machine Learning, ch. 7 (purging, embargo) and 12 (walk-forward).
    """

    n_splits: int = MODEL.folds
    expanding: bool = True
    gap_ns: int = GAP_NS
    embargo_ns: int = EMBARGO_NS
    min_train: int = 0

    def __post_init__(self) -> None:
        _check_parameters(self.n_splits, 1, self.gap_ns, self.embargo_ns)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Number of test blocks; the arguments are scikit-learn's and unused."""
        return self.n_splits

    def split(
        self,
        X: np.ndarray,
        y: np.ndarray | None = None,
        t_start: np.ndarray | None = None,
        t_end: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``(train_idx, test_idx)``, int64, in the order of the test blocks.

        Parameters
        ----------
        X : anything with a length N (only that is used)
        y : unused, scikit-learn's
        t_start, t_end : int64 or datetime64 [N], ns UTC

        Raises
        ------
        InputError
            No times, lengths that differ, fewer samples than blocks, or a fold below ``min_train``.
        """
        start, end, order = _order_of(X, t_start, t_end)
        n, blocks = order.size, self.n_splits + 1
        if n < blocks:
            raise InputError(
                f"{n} samples for {self.n_splits} folds",
                f"at least {blocks} samples (one block to train on, {self.n_splits} to test)",
                "Use a longer recording or fewer folds",
            )
        size = n // blocks
        first = n - self.n_splits * size
        for k in range(self.n_splits):
            begin = first + k * size
            test = order[begin : begin + size]
            before = order[0 if self.expanding else begin - first : begin]
            train = before[end[before] <= start[test[0]] - (self.gap_ns + self.embargo_ns)]
            if train.size < self.min_train:
                raise InputError(
                    f"fold {k} keeps {train.size} of {before.size} training samples after the purge",
                    f"at least {self.min_train}",
                    "Use a longer recording, fewer folds or a smaller gap",
                )
            yield train, test


@dataclass(frozen=True, slots=True)
class InnerPurgedFolds:
    """K consecutive blocks, each predicted from all the others, with the hole on both sides of it.

    For out-of-fold predictions inside a training span, where "later" is still the past of the test block outside.
    A training sample is kept if its span lies at least ``gap_ns + embargo_ns`` away from the block's, which reaches
    from its earliest start to its latest end.

    Parameters
    ----------
    n_splits : blocks, >= 2; sizes differ by at most one, the larger first
    gap_ns, embargo_ns : the hole, in ns
    """

    n_splits: int = 3
    gap_ns: int = GAP_NS
    embargo_ns: int = EMBARGO_NS

    def __post_init__(self) -> None:
        _check_parameters(self.n_splits, 2, self.gap_ns, self.embargo_ns)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Number of blocks; the arguments are scikit-learn's and unused."""
        return self.n_splits

    def split(
        self,
        X: np.ndarray,
        y: np.ndarray | None = None,
        t_start: np.ndarray | None = None,
        t_end: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``(train_idx, test_idx)`` as `PurgedWalkForward.split` does; a training side may come out empty."""
        start, end, order = _order_of(X, t_start, t_end)
        if order.size < self.n_splits:
            raise InputError(
                f"{order.size} samples for {self.n_splits} inner folds",
                f"at least {self.n_splits}",
                "Use a longer recording",
            )
        hole = self.gap_ns + self.embargo_ns
        for test in np.array_split(order, self.n_splits):
            far = (end[order] <= start[test[0]] - hole) | (start[order] >= end[test].max() + hole)
            # Spans of no length could equal the border and still be the block's own.
            far &= ~np.isin(order, test)
            yield order[far], test


def _order_of(
    X: np.ndarray, t_start: np.ndarray | None, t_end: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if t_start is None or t_end is None:
        raise InputError(
            "a split without times",
            "t_start and t_end of every sample, int64 ns UTC",
            "Call split(X, y, t_start=..., t_end=...)",
        )
    start, end, order = sample_spans(t_start, t_end)
    if len(X) != start.size:
        raise InputError(f"{len(X)} samples and {start.size} spans", "one span per sample", "Pass whole columns")
    return start, end, order


def _as_ns(times: np.ndarray, name: str) -> np.ndarray:
    times = np.asarray(times)
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise InputError(f"{name} holds NaT", "a time for every sample", "Drop rows without a time")
        times = times.astype("datetime64[ns]").astype(np.int64)
    if times.ndim != 1 or times.dtype.kind not in "iu":
        raise InputError(
            f"{name} of dtype {times.dtype} and {times.ndim} dimensions",
            "a column of int64 ns or datetime64",
            "Convert it first; floats lose nanoseconds",
        )
    return times.astype(np.int64)


def _check_parameters(n_splits: int, least: int, gap_ns: int, embargo_ns: int) -> None:
    if n_splits < least:
        raise InputError(f"n_splits = {n_splits}", f"an integer >= {least}", "Ask for more folds")
    if gap_ns < 0 or embargo_ns < 0:
        raise InputError(f"gap_ns = {gap_ns}, embargo_ns = {embargo_ns}", "values >= 0", "Give non-negative times")
