"""A plain book over a tape, to find what no single message shows: crossed books."""

from __future__ import annotations

import numpy as np

from ..events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, KIND_MASK
from ..jit import kernel_jit

__all__ = ["BookAudit"]

_jit = kernel_jit(__file__)
_SLOTS = 1 << 14  # of a side, to begin with; a power of two
_EMPTY, _GONE, _LIVE, _LOOSE = range(4)  # of a slot; a gone level still waits in the heap, a loose one does not
_SEEN, _TOUCHED, _LOCAL, _EXCH = range(4)  # of the memo: rows so far, whether the open message is of depth, its times


@_jit
def _slot(keys, flags, key):
    """Where ``key`` is in the hash table of a side, or would be."""
    mask = len(keys) - 1
    at = np.int64((np.float64(key).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while flags[at] != _EMPTY and keys[at] != key:
        at = (at + 1) & mask
    return at


@_jit
def _push(heap, n, key):
    while n > 0 and heap[(n - 1) >> 1] < key:
        heap[n] = heap[(n - 1) >> 1]
        n = (n - 1) >> 1
    heap[n] = key


@_jit
def _pop(heap, n):
    """Take the greatest of ``heap[:n]`` off."""
    key, at = heap[n - 1], 0
    n -= 1
    while 2 * at + 1 < n:
        child = 2 * at + 1
        if child + 1 < n and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key


@_jit
def _best(keys, flags, heap, sizes):
    """Greatest live key of a side, NaN for none."""
    while sizes[1] > 0:
        at = _slot(keys, flags, heap[0])
        if flags[at] == _LIVE:
            return heap[0]
        flags[at] = _LOOSE
        _pop(heap, sizes[1])
        sizes[1] -= 1
    return np.nan


@_jit
def _quote(keys, flags, heap, sizes, row, out, last_row, bid, ask):
    """Write the best prices as they stand."""
    last_row[out] = row
    bid[out] = _best(keys[0], flags[0], heap[0], sizes[0])
    ask[out] = -_best(keys[1], flags[1], heap[1], sizes[1])


@_jit
def _walk(events, at, out, keys, flags, heap, sizes, memo, last_row, bid, ask):
    """Rows from ``at`` on, until the end or until a table is half full; returns the next row and the quotes written."""
    # Asks are negative: then the best of both sides is the greatest.
    room = keys.shape[1] >> 1
    for i in range(at, len(events)):
        if sizes[0, 0] >= room or sizes[1, 0] >= room:
            return i, out
        local, exch = events[i].local_ts, events[i].exch_ts
        if memo[_TOUCHED] and (local != memo[_LOCAL] or exch != memo[_EXCH]):
            _quote(keys, flags, heap, sizes, memo[_SEEN] - 1, out, last_row, bid, ask)
            out += 1
            memo[_TOUCHED] = 0
        memo[_LOCAL], memo[_EXCH] = local, exch
        memo[_SEEN] += 1
        kind = events[i].ev & np.uint64(KIND_MASK)
        side = 0 if events[i].ev & np.uint64(BUY) else 1
        if kind == GAP:
            flags[:] = _EMPTY
            sizes[:] = 0
        elif kind == DEPTH_CLEAR:
            flags[side] = _EMPTY
            sizes[side] = 0
            memo[_TOUCHED] = 1
        elif kind in (DEPTH, DEPTH_SNAPSHOT):
            memo[_TOUCHED] = 1
            key = events[i].px if side == 0 else -events[i].px
            if key != key:
                continue
            place = _slot(keys[side], flags[side], key)
            flag = flags[side, place]
            if events[i].qty > 0:
                if flag == _EMPTY:
                    keys[side, place] = key
                    sizes[side, 0] += 1
                if flag != _LIVE and flag != _GONE:
                    _push(heap[side], sizes[side, 1], key)
                    sizes[side, 1] += 1
                flags[side, place] = _LIVE
            elif events[i].qty == 0 and flag == _LIVE:
                flags[side, place] = _GONE
    return len(events), out


@_jit
def _refill(keys, flags, heap, sizes, old_keys, old_flags):
    """Put the live levels of one side into new, empty tables."""
    for k in range(len(old_keys)):
        if old_flags[k] == _LIVE:
            at = _slot(keys, flags, old_keys[k])
            keys[at], flags[at] = old_keys[k], _LIVE
            _push(heap, sizes[1], old_keys[k])
            sizes += 1


class BookAudit:
    """Best prices after each depth message, from diffs and snapshots alone, with one book across chunks.

    A message is the run of rows that share both times; the last one of a chunk is judged once the next chunk, or
    ``finish``, tells that it is complete. So no cut of the rows changes what comes out.

    Levels are in a hash table, and their prices in a heap that forgets a level only when it comes to the top: of each
    row the cost hardly depends on the depth of the book.
    """

    def __init__(self) -> None:
        self._tables = self._allocate(_SLOTS)
        self._memo = np.zeros(4, np.int64)

    @staticmethod
    def _allocate(slots: int) -> tuple[np.ndarray, ...]:
        """keys, flags, heap [2, slots] of both sides; sizes [2, 2]: slots in use and length of the heap."""
        return np.empty((2, slots)), np.zeros((2, slots), np.uint8), np.empty((2, slots)), np.zeros((2, 2), np.int64)

    def update(self, events: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take rows in the order of the tape.

        Parameters
        ----------
        events : EVENT_DTYPE [n]

        Returns
        -------
        last_row : int64 [m], the last row of each depth message now complete, counted from the first row ever taken
        bid, ask : float64 [m], quote currency; NaN for an empty side, as after a gap
        """
        n = len(events) + 1
        last_row, bid, ask = np.empty(n, np.int64), np.empty(n), np.empty(n)
        if events.flags.writeable:
            # To numba, read-only arrays are a signature of their own: compile that one only.
            events = events.view()
            events.flags.writeable = False
        at = m = 0
        while at < len(events):
            at, m = _walk(events, at, m, *self._tables, self._memo, last_row, bid, ask)
            if at < len(events):
                self._clean()
        return last_row[:m], bid[:m], ask[:m]

    def _clean(self) -> None:
        """Forget the levels that are gone; make room if that is not enough."""
        keys, flags, _, _ = self._tables
        live = int(np.count_nonzero(flags == _LIVE, axis=1).max())
        slots = _SLOTS
        while slots < 8 * live:
            slots *= 2
        self._tables = self._allocate(slots)
        for side in (0, 1):
            _refill(*(t[side] for t in self._tables), keys[side], flags[side])

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The message that was open at the end, if any: as ``update``."""
        last_row, bid, ask = np.empty(1, np.int64), np.empty(1), np.empty(1)
        m = int(self._memo[_TOUCHED])
        if m:
            _quote(*self._tables, self._memo[_SEEN] - 1, 0, last_row, bid, ask)
            self._memo[_TOUCHED] = 0
        return last_row[:m], bid[:m], ask[:m]
