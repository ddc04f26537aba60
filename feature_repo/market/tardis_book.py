"""Columns of Tardis CSV lines to event rows: books, best quotes, trades, liquidations and funding.

Each converter keeps what it must know of the lines before, over blocks and day files. A row whose exchange time Tardis
did not get (it then repeats local_timestamp) leaves here with exch_ts 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from ..events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    FUNDING,
    GAP,
    LOCAL,
    SELL,
    TRADE,
)
from ..jit import kernel_jit
from .tardis_lines import Columns

__all__ = ["PAUSE_US", "SNAPSHOT_PAUSE_US", "Converter", "Depth", "Fills", "Funding", "Quotes", "Snapshots"]

_jit = kernel_jit(__file__)

PAUSE_US = 10_000_000
"""A day file of incremental_book_L2 that begins this long after the one before does not continue its book."""
SNAPSHOT_PAUSE_US = 600_000_000
"""The same for book_snapshot files, which have a row only where one of their levels changes."""

_SEEN = LOCAL | EXCH
_SLICE = 1_024  # book snapshots converted at once: each may become 4 rows a level
# State of both kinds of book.
_VALID, _NEW_FILE, _LAST, _LAST_EXCH = range(4)
_LOST = 4  # the line before the next one could not be used
_SNAPSHOT_IN_FILE, _IN_SNAPSHOT, _SNAPSHOT_TIME, _SPOILED = range(5, 9)
_EARLY, _AFTER_GAP, _SNAPSHOTS, _SPOILED_SNAPSHOTS, _EMPTY = range(9, 14)
_STATES = 14


class Converter(Protocol):
    """Event rows of one data type."""

    @property
    def depth(self) -> Counter[str]:
        """What became of diffs and snapshots, by name."""
        ...

    def new_file(self) -> None:
        """The next rows are those of another day file."""

    def rows(self, lines: Columns) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n], n >= 1, of the next lines."""
        ...


class _Stateless:
    """A data type whose rows do not depend on the file they are in."""

    def __init__(self) -> None:
        self.depth: Counter[str] = Counter()

    def new_file(self) -> None:
        """Nothing to do."""


class Fills(_Stateless):
    """Rows of ``trades`` (side: the aggressor's) or ``liquidations`` (the forced order's; sell: a long is sold)."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        self._ev = kind | (_SEEN if kind == TRADE else 0)

    def rows(self, lines: Columns) -> Iterator[np.ndarray]:
        """One row a line."""
        if len(lines):
            yield _plain_rows(lines, self._ev | np.where(lines.side == 0, BUY, SELL), 0, 1)


class Quotes(_Stateless):
    """Rows of ``quotes`` or ``book_ticker``: best bid and best ask, where there is one."""

    def rows(self, lines: Columns) -> Iterator[np.ndarray]:
        """Up to two rows a line, bid first."""
        out = np.empty(2 * len(lines), EVENT_DTYPE)
        out[0::2] = _plain_rows(lines, DEPTH_BBO | BUY | _SEEN, 0, 1)
        out[1::2] = _plain_rows(lines, DEPTH_BBO | SELL | _SEEN, 2, 3)
        there = ~np.isnan(out["px"])
        if there.any():
            yield out if there.all() else out[there]


class Funding(_Stateless):
    """Rows of ``derivative_ticker``: where mark price, rate or settlement time changed and the first two are known."""

    def __init__(self) -> None:
        super().__init__()
        self._last = np.full((1, 3), -1.0)

    def rows(self, lines: Columns) -> Iterator[np.ndarray]:
        """At most one row a line; ival is 0 where no settlement time is known."""
        known = ~np.isnan(lines.values[:, :2]).any(axis=1)
        values = lines.values[known]
        values[np.isnan(values)] = 0.0
        before = np.concatenate((self._last, values))
        self._last = before[-1:]
        changed = (before[1:] != before[:-1]).any(axis=1)
        if not changed.any():
            return
        values = values[changed]
        out = np.zeros(len(values), EVENT_DTYPE)
        out["ev"] = FUNDING
        out["exch_ts"], out["local_ts"] = _exch_ns(lines)[known][changed], lines.local[known][changed] * 1_000
        out["px"], out["fval"], out["ival"] = values[:, 0], values[:, 1], values[:, 2].astype(np.int64) * 1_000
        yield out


class Depth:
    """Rows of ``incremental_book_L2``.

    Snapshot lines of one local_timestamp are one message: both sides are cleared, then set. A snapshot in the middle of
    a day means that the feed was cut and that messages were lost, so a GAP row stands before it. The snapshot that
    begins the next day's file is Tardis' own and no gap; a file that does not continue the one before begins with one.
    Diffs without a valid book are dropped and counted.

    A line that cannot be used may have been any change of the book: a GAP stands in its place, at the time of the line
    before, and the book is valid again from the next snapshot on. A snapshot that may lack the line, because it stands
    within or just before it, is no such snapshot and is dropped.
    """

    def __init__(self) -> None:
        self._state = np.zeros(_STATES, np.int64)

    @property
    def depth(self) -> Counter[str]:
        """depth_before_snapshot, depth_after_gap: diffs dropped for want of a valid book; snapshots, of which
        snapshots_spoiled; empty_snapshot_levels: of quantity 0, dropped."""
        return _depth_counts(self._state)

    def new_file(self) -> None:
        """The next lines are those of another day file."""
        self._state[_NEW_FILE], self._state[_LOST] = 1, 0

    def rows(self, lines: Columns) -> Iterator[np.ndarray]:
        """One row a line, and up to three for each snapshot."""
        room = len(lines) + 3 * int(np.count_nonzero(lines.snapshot)) + len(lines.lost) + 2
        out = np.empty(room, EVENT_DTYPE)
        n = _depth(lines.exch, lines.local, lines.side, lines.snapshot, lines.values, lines.lost, self._state, out)
        if n:
            yield out[:n]


class Snapshots:
    """Rows of ``book_snapshot_25`` and its like, where they are the only book there is.

    The first line sets the book; of each later one only what changed gives rows: a level that is no longer among the
    listed ones is removed. All rows of a line are one message.
    """

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._state = np.zeros(_STATES, np.int64)
        self._last = np.full(4 * levels, np.nan)

    @property
    def depth(self) -> Counter[str]:
        """snapshots: those that set the whole book."""
        return _depth_counts(self._state)

    def new_file(self) -> None:
        """The next lines are those of another day file."""
        self._state[_NEW_FILE] = 1

    def rows(self, lines: Columns) -> Iterator[np.ndarray]:
        """The changes of up to 1,024 lines at a time."""
        for lo in range(0, len(lines), _SLICE):
            exch, local, values = (c[lo : lo + _SLICE] for c in (lines.exch, lines.local, lines.values))
            out = np.empty(len(exch) * (4 * self._levels + 3), EVENT_DTYPE)
            n = _snapshots(exch, local, values, self._levels, self._last, self._state, out)
            if n:
                yield out[:n].copy()


def _depth_counts(state: np.ndarray) -> Counter[str]:
    names = (
        ("depth_before_snapshot", _EARLY),
        ("depth_after_gap", _AFTER_GAP),
        ("snapshots", _SNAPSHOTS),
        ("snapshots_spoiled", _SPOILED_SNAPSHOTS),
        ("empty_snapshot_levels", _EMPTY),
    )
    return Counter({name: int(state[at]) for name, at in names if state[at]})


def _exch_ns(lines: Columns) -> np.ndarray:
    return np.where(lines.exch == lines.local, 0, lines.exch * 1_000)


def _plain_rows(lines: Columns, ev: int | np.ndarray, px: int, qty: int) -> np.ndarray:
    out = np.zeros(len(lines), EVENT_DTYPE)
    out["ev"] = ev
    out["exch_ts"], out["local_ts"] = _exch_ns(lines), lines.local * 1_000
    out["px"], out["qty"] = lines.values[:, px], lines.values[:, qty]
    return out


@_jit
def _put(out, n, ev, exch_us, local_us, px, qty):
    row = out[n]
    row["ev"] = ev
    row["exch_ts"] = 0 if exch_us == local_us else exch_us * 1_000
    row["local_ts"] = local_us * 1_000
    row["px"] = px
    row["qty"] = qty
    row["order_id"] = 0
    row["ival"] = 0
    row["fval"] = 0.0
    return n + 1


@_jit
def _gap(out, n, state, exch_us, local_us):
    """The book ends here, if there is one."""
    if not state[_VALID]:
        return n
    state[_VALID] = 0
    return _put(out, n, GAP, exch_us, local_us, 0.0, 0.0)


@_jit
def _begin(out, n, state, exch_us, local_us):
    """Both sides cleared."""
    state[_VALID] = 1
    n = _put(out, n, DEPTH_CLEAR | BUY | _SEEN, exch_us, local_us, 0.0, 0.0)
    return _put(out, n, DEPTH_CLEAR | SELL | _SEEN, exch_us, local_us, 0.0, 0.0)


@_jit
def _depth(exch, local, side, snapshot, values, lost, state, out):
    n, k = 0, 0
    for i in range(len(exch)):
        now = local[i]
        if k < len(lost) and lost[k] <= i:
            n = _gap(out, n, state, state[_LAST_EXCH], state[_LAST])
            state[_LOST] = 1
            while k < len(lost) and lost[k] <= i:
                k += 1
        if state[_NEW_FILE]:
            if now - state[_LAST] >= PAUSE_US:
                n = _gap(out, n, state, exch[i], now)
            state[_NEW_FILE] = 0
            state[_SNAPSHOT_IN_FILE] = 0
            state[_IN_SNAPSHOT] = 0
        state[_LAST], state[_LAST_EXCH] = now, exch[i]
        broken = state[_LOST] != 0
        state[_LOST] = 0
        bit = SELL if side[i] else BUY
        if not snapshot[i]:
            state[_IN_SNAPSHOT] = 0
            if state[_VALID]:
                n = _put(out, n, DEPTH | bit | _SEEN, exch[i], now, values[i, 0], values[i, 1])
            else:
                state[_AFTER_GAP if state[_SNAPSHOTS] else _EARLY] += 1
            continue
        if not state[_IN_SNAPSHOT] or now != state[_SNAPSHOT_TIME]:
            if state[_SNAPSHOT_IN_FILE]:
                n = _gap(out, n, state, exch[i], now)
            state[_IN_SNAPSHOT] = 1
            state[_SNAPSHOT_IN_FILE] = 1
            state[_SNAPSHOT_TIME] = now
            state[_SNAPSHOTS] += 1
            state[_SPOILED] = 0
            if not broken:
                n = _begin(out, n, state, exch[i], now)
        if broken and not state[_SPOILED]:
            state[_SPOILED] = 1
            state[_SPOILED_SNAPSHOTS] += 1
        if state[_SPOILED]:
            continue
        if values[i, 1] > 0.0:
            n = _put(out, n, DEPTH_SNAPSHOT | bit | _SEEN, exch[i], now, values[i, 0], values[i, 1])
        else:
            state[_EMPTY] += 1
    if k < len(lost):
        n = _gap(out, n, state, state[_LAST_EXCH], state[_LAST])
        state[_LOST] = 1
    return n


@_jit
def _changes(out, n, bit, sign, exch_us, local_us, old, new):
    """Rows that turn the levels ``old`` into ``new``: prices and quantities in turn, best first, NaN after the last."""
    i, j = 0, 0
    while True:
        before = sign * old[i] if i < len(old) and not np.isnan(old[i]) else np.inf
        after = sign * new[j] if j < len(new) and not np.isnan(new[j]) else np.inf
        if before == np.inf and after == np.inf:
            return n
        if before < after:
            n = _put(out, n, DEPTH | bit | _SEEN, exch_us, local_us, old[i], 0.0)
            i += 2
        elif after < before:
            n = _put(out, n, DEPTH | bit | _SEEN, exch_us, local_us, new[j], new[j + 1])
            j += 2
        else:
            if old[i + 1] != new[j + 1]:
                n = _put(out, n, DEPTH | bit | _SEEN, exch_us, local_us, new[j], new[j + 1])
            i += 2
            j += 2


@_jit
def _snapshots(exch, local, values, levels, last, state, out):
    n = 0
    half = 2 * levels
    for i in range(len(exch)):
        now = local[i]
        pause = state[_NEW_FILE] != 0 and now - state[_LAST] >= SNAPSHOT_PAUSE_US
        state[_NEW_FILE] = 0
        state[_LAST] = now
        if not state[_VALID] or pause:
            n = _gap(out, n, state, exch[i], now)
            n = _begin(out, n, state, exch[i], now)
            state[_SNAPSHOTS] += 1
            for at in range(0, 2 * half, 2):
                if values[i, at + 1] > 0.0:
                    bit = BUY if at < half else SELL
                    n = _put(out, n, DEPTH_SNAPSHOT | bit | _SEEN, exch[i], now, values[i, at], values[i, at + 1])
        else:
            n = _changes(out, n, BUY, -1.0, exch[i], now, last[:half], values[i, :half])
            n = _changes(out, n, SELL, 1.0, exch[i], now, last[half:], values[i, half:])
        last[:] = values[i]
    return n
