"""Average uniqueness of overlapping labels."""

from __future__ import annotations

import numpy as np

__all__ = ["average_uniqueness"]


def average_uniqueness(start_ns: np.ndarray, end_ns: np.ndarray) -> np.ndarray:
    """Mean of 1 / (number of spans alive) over each span, in continuous time.

    Lopez de Prado (2018), Advances in Financial Machine Learning, ch. 4, with bars of zero length. One symbol a call.
    Sorting the end points makes it O(n log n).

    Parameters
    ----------
    start_ns, end_ns : int64 [N], end_ns >= start_ns; a span of no length counts at its instant, ends included

    Returns
    -------
    float64 [N] in (0, 1]; 1 where nothing overlaps

    Raises
    ------
    ValueError
        When a span ends before it starts.
    """
    start = np.asarray(start_ns, dtype=np.int64)
    end = np.asarray(end_ns, dtype=np.int64)
    if start.shape != end.shape or np.any(end < start):
        raise ValueError("every span needs one start and one end that is not before it")
    if start.size == 0:
        return np.empty(0)
    knots, inverse = np.unique(np.concatenate([start, end]), return_inverse=True)
    first, last = inverse[: start.size], inverse[start.size :]
    opened = np.bincount(first, minlength=knots.size)
    closed = np.bincount(last, minlength=knots.size)
    alive_after = np.cumsum(opened - closed)  # on the open interval (knot i, knot i + 1)
    width = np.diff(knots).astype(np.float64)
    # Alive is at least 1 wherever a span covers the interval; gaps between spans are never summed over.
    area = np.concatenate([[0.0], np.cumsum(width / np.maximum(alive_after[:-1], 1))])
    length = (end - start).astype(np.float64)
    alive_at = np.cumsum(opened) - np.concatenate([[0], np.cumsum(closed)[:-1]])  # ends included
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (area[last] - area[first]) / length
    return np.where(length > 0, mean, 1.0 / alive_at[first])
