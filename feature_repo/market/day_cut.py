"""One UTC day of a longer stream, opened by the book as it stood at midnight: a tape that needs none before it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from ..constants import SECOND_NS
from ..errors import InputError
from ..events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, EVENT_DTYPE, EXCH, GAP, KIND_MASK, LOCAL, SELL
from .stream import EventStream

__all__ = ["DayCut", "day_span_ns"]

_DAY_NS = 86_400 * SECOND_NS
_SIDES = (BUY, SELL)
_NEAR = 10_000
"""Rows among which an exchange time may be out of order."""


def day_span_ns(day: date) -> tuple[int, int]:
    """First instant of a UTC day and of the next one, ns."""
    first = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND_NS
    return first, first + _DAY_NS


class DayCut:
    """The rows of a stream whose local_ts lies in one UTC day; see ``stream.EventStream``.

    Where the stream has a valid book at midnight, the day opens with it: a clear and a snapshot of both sides, stamped
    with the first row's local time. Rows before midnight serve for nothing else. Rows after the day are left out.

    Parameters
    ----------
    stream : its rows in order of local_ts; taken once
    day : UTC

    Raises
    ------
    InputError
        From ``chunks``: whatever the stream raises, and where it has no row in that day.
    """

    def __init__(self, stream: EventStream, day: date) -> None:
        self._stream, self.day = stream, day
        self._before_ns: int | None = None
        self.simulated = stream.simulated

    @property
    def venue(self) -> str:
        """As the stream's, known once the first chunk has been given."""
        return self._stream.venue

    @property
    def symbol(self) -> str:
        """As the stream's."""
        return self._stream.symbol

    def facts(self) -> dict[str, Any]:
        """The stream's own, with all lines of the files that it was read from, and ``opened_from_ns``.

        That is the time of the last row before the day, by which its opening book is known; None without one.
        """
        return {**self._stream.facts(), "opened_from_ns": self._before_ns}

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n], n >= 1, sorted by local_ts; once only."""
        first_ns, end_ns = day_span_ns(self.day)
        book, began, before_ns = _Book(), False, None
        for chunk in self._stream.chunks():
            lo, hi = np.searchsorted(chunk["local_ts"], [first_ns, end_ns])
            if not began:
                book.update(chunk[:lo])
                before_ns = int(chunk["local_ts"][lo - 1]) if lo else before_ns
            part = chunk[lo:hi]
            if not len(part):
                continue
            if not began:
                began = True
                # No later than any diff that follows: the exchange's side of a replay is in order of exch_ts.
                opening = book.opening(int(part["exch_ts"][:_NEAR].min()), int(part["local_ts"][0]))
                if len(opening):
                    self._before_ns = before_ns
                    yield opening
            yield part
        if not began:
            raise InputError(
                f"no row of {self.symbol or 'this source'} on {self.day.isoformat()} (UTC)",
                "market data of that day",
                "Give another day, or record it",
            )


class _Book:
    """Both sides by price, from rows of a tape; only the whole book is ever asked for."""

    def __init__(self) -> None:
        self._px: list[np.ndarray] = [np.zeros(0), np.zeros(0)]
        self._qty: list[np.ndarray] = [np.zeros(0), np.zeros(0)]
        self._known = False

    def update(self, rows: np.ndarray) -> None:
        """Take EVENT_DTYPE [n] in the order of the tape."""
        if not len(rows):
            return
        kind = rows["ev"] & np.uint64(KIND_MASK)
        broken = np.flatnonzero(kind == GAP)
        if len(broken):
            self._known = False
            self._px, self._qty = [np.zeros(0), np.zeros(0)], [np.zeros(0), np.zeros(0)]
            rows, kind = rows[broken[-1] + 1 :], kind[broken[-1] + 1 :]
        if not self._known:
            # A diff without the book it belongs to is none of it, here as in the engine.
            first = np.flatnonzero(kind == DEPTH_SNAPSHOT)[:1]
            self._known = bool(len(first))
            rows, kind = (rows[first[0] :], kind[first[0] :]) if self._known else (rows[:0], kind[:0])
        for side, flag in enumerate(_SIDES):
            mine = (rows["ev"] & np.uint64(flag)) != 0
            cleared = np.flatnonzero(mine & (kind == DEPTH_CLEAR))
            after = np.arange(len(rows)) > cleared[-1] if len(cleared) else np.ones(len(rows), bool)
            levels = mine & after & ((kind == DEPTH) | (kind == DEPTH_SNAPSHOT))
            px, qty = rows["px"][levels], rows["qty"][levels]
            if not len(cleared):
                px, qty = np.concatenate([self._px[side], px]), np.concatenate([self._qty[side], qty])
            # The last row of a price is what stands there; quantity 0 takes the level away.
            price, last = np.unique(px[::-1], return_index=True)
            quantity = qty[::-1][last]
            self._px[side], self._qty[side] = price[quantity > 0], quantity[quantity > 0]

    def opening(self, exch_ns: int, local_ns: int) -> np.ndarray:
        """The book as rows, best level first; none where it is not known."""
        if not self._known or not all(len(px) for px in self._px):
            return np.zeros(0, EVENT_DTYPE)
        rows = np.zeros(2 + sum(len(px) for px in self._px), EVENT_DTYPE)
        rows["exch_ts"], rows["local_ts"] = exch_ns, local_ns
        at = 2
        for side, flag in enumerate(_SIDES):
            rows["ev"][side] = DEPTH_CLEAR | flag | LOCAL | EXCH
            best_first = np.argsort(self._px[side])[:: -1 if flag == BUY else 1]
            part = slice(at, at + len(best_first))
            rows["ev"][part] = DEPTH_SNAPSHOT | flag | LOCAL | EXCH
            rows["px"][part], rows["qty"][part] = self._px[side][best_first], self._qty[side][best_first]
            at = part.stop
        return rows
