"""A plain book over a finished tape, to find what no single message shows: crossed books."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, KIND_MASK

__all__ = ["best_quotes"]


@njit(cache=True)
def _find(keys, n, key):
    """First place in the ascending ``keys[:n]`` that is not below ``key``."""
    lo, hi = 0, n
    while lo < hi:
        mid = (lo + hi) >> 1
        if keys[mid] < key:
            lo = mid + 1
        else:
            hi = mid
    return lo


@njit(cache=True)
def _walk(ev, exch, local, px, qty, last_row, bid, ask):
    # Asks are kept as negative prices: then the best of both sides is last, where inserting moves the fewest levels.
    book = np.empty((2, 4096))
    size = np.zeros(2, np.int64)
    touched = False
    out = 0
    rows = len(ev)
    for i in range(rows):
        kind = ev[i] & np.uint64(KIND_MASK)
        side = 0 if ev[i] & np.uint64(BUY) else 1
        if kind == GAP:
            size[:] = 0
        elif kind == DEPTH_CLEAR:
            size[side] = 0
            touched = True
        elif kind in (DEPTH, DEPTH_SNAPSHOT):
            touched = True
            key = px[i] if side == 0 else -px[i]
            n = size[side]
            at = _find(book[side], n, key)
            known = at < n and book[side, at] == key
            if qty[i] == 0 and known:
                for j in range(at, n - 1):
                    book[side, j] = book[side, j + 1]
                size[side] = n - 1
            elif qty[i] > 0 and not known:
                if n == book.shape[1]:
                    wider = np.empty((2, 2 * n))
                    wider[:, :n] = book
                    book = wider
                for j in range(n, at, -1):
                    book[side, j] = book[side, j - 1]
                book[side, at] = key
                size[side] = n + 1
        if touched and (i + 1 == rows or local[i + 1] != local[i] or exch[i + 1] != exch[i]):
            last_row[out] = i
            bid[out] = book[0, size[0] - 1] if size[0] else np.nan
            ask[out] = -book[1, size[1] - 1] if size[1] else np.nan
            out += 1
            touched = False
    return out


def best_quotes(events: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best prices after each depth message, from diffs and snapshots alone.

    Parameters
    ----------
    events : EVENT_DTYPE [N] of a tape

    Returns
    -------
    last_row : int64 [M], the last row of each depth message
    bid, ask : float64 [M], quote currency; NaN for an empty side, as after a gap
    """
    n = len(events)
    last_row, bid, ask = np.empty(n, np.int64), np.empty(n), np.empty(n)
    # Contiguous copies: strided and contiguous columns would be two compilations.
    columns = [np.ascontiguousarray(events[c]) for c in ("ev", "exch_ts", "local_ts", "px", "qty")]
    m = _walk(*columns, last_row, bid, ask)
    return last_row[:m].copy(), bid[:m].copy(), ask[:m].copy()
