"""What the rows of a training must be. Checked once, before anything is fitted or written."""

from __future__ import annotations

import numpy as np

from feature_repo.errors import InputError
from feature_repo.fields import CTX_NAMES

from .normalise import channel_names
from .samples import spans_of
from .splits import sample_spans

__all__ = ["LARGEST", "check_samples"]

LARGEST = 1e32
"""Of a window or context: sums over a window then stay within float32. No book that the engine takes has more."""


def check_samples(
    x: np.ndarray,
    ctx: np.ndarray,
    labels: np.ndarray,
    ts_ns: np.ndarray,
    found: np.ndarray | None = None,
    *,
    T: int,
    C: int,
) -> np.ndarray:
    """Refuse rows that do not belong together or hold what no label, weight, time or window can be.

    Rows may come in any order and times may repeat. Values up to ``LARGEST`` are taken: the scale pulls in the tails,
    the graph cuts what is left. Rows that were not found may hold anything, NaN too.

    Parameters
    ----------
    x : float [N, T, C]
    ctx : float [N, 8]
    labels : LABEL_DTYPE [N]
    ts_ns : int64 [N], decision times, ns UTC: those of the labels
    found : bool [N], None: all
    T, C : what the nets take

    Returns
    -------
    bool [N]
        ``found``.

    Raises
    ------
    InputError
        Naming the first row, channel or column that is wrong.
    """
    n = len(ts_ns)
    found = np.ones(n, bool) if found is None else np.asarray(found, bool)
    if {len(a) for a in (x, ctx, labels, found)} != {n} or x.shape[1:] != (T, C) or ctx.shape[1:] != (len(CTX_NAMES),):
        raise InputError(
            f"windows {x.shape}, context {ctx.shape}, {len(labels)} labels and {n} times",
            f"windows [N, {T}, {C}], context [N, {len(CTX_NAMES)}], and as many of each",
            "Build them with meta_models.dataset.build_dataset",
        )
    known = slice(None) if found.all() else found  # a slice copies nothing
    _usable("windows", x[known], channel_names(C))
    _usable("contexts", ctx[known], CTX_NAMES)
    _labels(labels)
    other = np.flatnonzero(labels["ts_ns"] != ts_ns)
    if other.size:
        i = int(other[0])
        raise InputError(
            f"row {i} at {ts_ns[i]} ns beside a label of {labels['ts_ns'][i]} ns",
            "each row's own label",
            "Put both in one order",
        )
    sample_spans(*spans_of(labels, ts_ns, T))
    return found


def _usable(what: str, values: np.ndarray, names: tuple[str, ...]) -> None:
    rows = tuple(range(values.ndim - 1))
    low, high = (extreme(axis=rows, initial=0.0) for extreme in (values.min, values.max))
    bad = np.flatnonzero(~((low >= -LARGEST) & (high <= LARGEST)))  # NaN is neither
    if not bad.size:
        return
    wrong = "that are not finite" if not np.isfinite(values[..., bad]).all() else f"beyond {LARGEST:g}"
    raise InputError(
        f"{what} with values {wrong} in {', '.join(names[c] for c in bad)}",
        f"finite values up to {LARGEST:g}",
        "Build the features again, or mark such rows as not found",
    )


def _labels(labels: np.ndarray) -> None:
    y, weight = labels["y"], labels["weight"]
    wrong = np.flatnonzero((y < -1) | (y > 1))
    if wrong.size:
        raise InputError(
            f"y = {y[wrong[0]]} in row {wrong[0]}", "1 target, 0 not, -1 no label", "Make the labels again"
        )
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if wrong.size:
        raise InputError(
            f"weight {weight[wrong[0]]} in row {wrong[0]}", "a finite weight >= 0", "Make the labels again"
        )
