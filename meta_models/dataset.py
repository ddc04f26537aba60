"""From labels and the feature store's answer to the arrays that a walk-forward takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, align
from feature_repo.offline import TrainingSet

from .sample_check import check_samples

__all__ = ["Dataset", "build_dataset"]


@dataclass(frozen=True)
class Dataset:
    """One row a candidate, in the labels' order.

    Attributes
    ----------
    x : float32 [N, T, C], aligned to each candidate's side, not normalised; NaN where not found
    ctx : float32 [N, 8]
    y : int64 [N], 1 target, 0 stop or time-out, -1 no label
    ts_ns : int64 [N], decision, ns
    found : bool [N], whether the store had the candidate's window and context
    """

    x: np.ndarray
    ctx: np.ndarray
    y: np.ndarray
    ts_ns: np.ndarray
    found: np.ndarray


def build_dataset(labels: np.ndarray, side: np.ndarray, training: TrainingSet, *, T: int) -> Dataset:
    """Align the windows to each candidate's side and put the label beside them.

    Parameters
    ----------
    labels : LABEL_DTYPE [N]
    side : int [N], +1 buys, -1 sells
    training : of the same candidates in the same order
    T : windows a net sees; of longer stored windows the newest T rows are taken

    Raises
    ------
    InputError
        Columns of different length, another number of channels, windows shorter than T, a side that is neither, a
        candidate that comes twice, no candidate found at all, or what `check_samples` refuses.
    """
    side = np.asarray(side, np.int64)
    n, x = len(labels), training.x
    if not n == len(side) == len(x) == len(training.ctx) == len(training.found):
        raise InputError(
            f"{n} labels, {len(side)} sides and {len(x)} windows", "as many of each", "Ask the store for all labels"
        )
    if x.ndim != 3 or x.shape[2] != len(CHANNELS):
        raise InputError(
            f"windows of shape {x.shape}",
            f"[N, T, {len(CHANNELS)}] in the catalogue's order",
            "Build the features again",
        )
    if n and x.shape[1] < T:
        raise InputError(
            f"stored windows of {x.shape[1]} rows", f"at least T = {T}", "Give a smaller --t, or fill the store again"
        )
    wrong = np.flatnonzero(np.abs(side) != 1)
    if wrong.size:
        raise InputError(f"side {side[wrong[0]]} of candidate {wrong[0]}", "+1 or -1", "Correct the candidates")
    if repeated := _first_repeated(labels["ts_ns"], side):
        raise InputError(
            f"candidate {repeated[1]} of the time and side of candidate {repeated[0]}",
            "one candidate a time and side",
            "Drop the repetition",
        )
    found = np.asarray(training.found, bool)
    if n and not found.any():
        raise InputError(
            f"a feature store that knows none of the {n} candidates",
            "their windows and contexts",
            "Label this tape again: that fills the store",
        )
    x = x[:, -T:]
    x = np.where((side > 0)[:, None, None], x, align(x, -1))
    ts_ns = labels["ts_ns"].astype(np.int64)
    check_samples(x, training.ctx, labels, ts_ns, found, T=T, C=len(CHANNELS))
    return Dataset(
        x=np.ascontiguousarray(x, np.float32),
        ctx=np.asarray(training.ctx, np.float32),
        y=labels["y"].astype(np.int64),
        ts_ns=ts_ns,
        found=found,
    )


def _first_repeated(ts_ns: np.ndarray, side: np.ndarray) -> tuple[int, int] | None:
    """The earliest candidate that comes again, and where it does."""
    order = np.lexsort((side, ts_ns))  # stable: of equal ones the first row comes first
    at = np.flatnonzero((np.diff(ts_ns[order]) == 0) & (np.diff(side[order]) == 0))
    return (int(order[at[0]]), int(order[at[0] + 1])) if at.size else None
