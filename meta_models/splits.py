"""Splits for labels that take time: purged by the clock, not by the row.

A sample is a span: its features begin at ``t_start`` and its label is known at ``t_end``. Two samples whose spans touch
share information, whatever their row numbers are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_repo.constants import MODEL, SECOND_NS
from feature_repo.errors import InputError

__all__ = ["EMBARGO_NS", "GAP_NS", "InnerPurgedFolds", "PurgedWalkForward", "sample_spans"]

Times = NDArray[np.int64] | NDArray[np.datetime64]

GAP_NS = MODEL.gap_s * SECOND_NS
EMBARGO_NS = MODEL.embargo_s * SECOND_NS
_FAR_NS = 1 << 62
"""Times and holes stay within +-146 years of 1970: a border less a hole then never leaves int64."""


def sample_spans(t_start: Times, t_end: Times) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
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
        When the lengths differ, a time is not an integer number of ns within +-2**62, or a span ends before it starts.
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


class _TimedSplitter:
    """What scikit-learn asks of a splitter beside ``split``."""

    __slots__ = ()
    n_splits: int

    def get_n_splits(
        self,
        X: object = None,
        y: object = None,
        t_start: object = None,
        t_end: object = None,
        groups: object = None,
    ) -> int:
        """Number of test blocks; the arguments are those of ``split``, and unused."""
        return self.n_splits

    def get_metadata_routing(self) -> Any:
        """With scikit-learn's metadata routing on, ``t_start`` and ``t_end`` reach ``split`` by their names."""
        # Late: whoever splits without scikit-learn should not wait for it.
        from sklearn.utils.metadata_routing import MetadataRequest

        request = MetadataRequest(owner=self)
        for name in ("t_start", "t_end"):
            request.split.add_request(param=name, alias=True)
        return request


@dataclass(frozen=True, slots=True)
class PurgedWalkForward(_TimedSplitter):
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

    Notes
    -----
    Inside scikit-learn: ``cv=list(splitter.split(X, t_start=..., t_end=...))``, or with metadata routing on
    ``cross_validate(..., cv=splitter, params={"t_start": ..., "t_end": ...})``. The first block is never tested, so
    ``cross_val_predict``, which wants a partition, takes `InnerPurgedFolds` only.

    References
    ----------
    Lopez de Prado (2018), Advances in Financial Machine Learning, ch. 7 (purging, embargo) and 12 (walk-forward). There
    the embargo follows the test block; nothing after it is trained on here, so it widens the hole before it.
    """

    n_splits: int = MODEL.folds
    expanding: bool = True
    gap_ns: int = GAP_NS
    embargo_ns: int = EMBARGO_NS
    min_train: int = 0

    def __post_init__(self) -> None:
        _check_parameters(self.n_splits, 1, self.gap_ns, self.embargo_ns)
        _check_whole("min_train", self.min_train, 0, "0 lets a fold come out empty")

    def split(
        self,
        X: Sized,
        y: object = None,
        t_start: Times | None = None,
        t_end: Times | None = None,
        groups: object = None,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield ``(train_idx, test_idx)``, int64, in the order of the test blocks.

        Parameters
        ----------
        X : anything with a length N (only that is used)
        y, groups : unused, scikit-learn's
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
class InnerPurgedFolds(_TimedSplitter):
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

    def split(
        self,
        X: Sized,
        y: object = None,
        t_start: Times | None = None,
        t_end: Times | None = None,
        groups: object = None,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
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
    X: Sized, t_start: Times | None, t_end: Times | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    if t_start is None or t_end is None:
        raise InputError(
            "a split without times",
            "t_start and t_end of every sample, int64 ns UTC",
            "Call split(X, y, t_start=..., t_end=...); in scikit-learn give cv=list(splitter.split(...))",
        )
    start, end, order = sample_spans(t_start, t_end)
    if len(X) != start.size:
        raise InputError(f"{len(X)} samples and {start.size} spans", "one span per sample", "Pass whole columns")
    return start, end, order


def _as_ns(given: Times, name: str) -> NDArray[np.int64]:
    times: NDArray[Any] = np.asarray(given)
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise InputError(f"{name} holds NaT", "a time for every sample", "Drop rows without a time")
        in_ns = times.astype("datetime64[ns]")
        if (in_ns.astype(times.dtype) != times).any():
            raise InputError(
                f"{name} of dtype {times.dtype} with times that whole nanoseconds cannot hold",
                "times from 1678 to 2262",
                "Check its unit",
            )
        times = in_ns.astype(np.int64)
    if times.ndim != 1 or times.dtype.kind not in "iu":
        raise InputError(
            f"{name} of dtype {times.dtype} and {times.ndim} dimensions",
            "a column of int64 ns or datetime64",
            "Convert it first; floats lose nanoseconds",
        )
    far = np.flatnonzero((times < -_FAR_NS) | (times > _FAR_NS))
    if far.size:
        raise InputError(
            f"{name} of sample {far[0]} is {times[far[0]]}", "ns since 1970, at most 2**62 either way", "Check its unit"
        )
    return times.astype(np.int64)


def _check_parameters(n_splits: int, least: int, gap_ns: int, embargo_ns: int) -> None:
    _check_whole("n_splits", n_splits, least, "Ask for more folds")
    _check_whole("gap_ns", gap_ns, 0, "Give non-negative times in ns")
    _check_whole("embargo_ns", embargo_ns, 0, "Give non-negative times in ns")
    if gap_ns + embargo_ns > _FAR_NS:
        raise InputError(
            f"gap_ns = {gap_ns}, embargo_ns = {embargo_ns}", "at most 2**62 ns together", "Check their unit"
        )


def _check_whole(name: str, value: object, least: int, do: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} = {value!r}", f"an integer >= {least}", do)
