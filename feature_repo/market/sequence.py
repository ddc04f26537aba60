"""Binance's rule for a local book: which depth diffs continue a snapshot, and when the sequence is broken.

Reference: Binance API documentation, "How to manage a local order book correctly" (spot, USD-M and COIN-M).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum, IntEnum
from typing import NamedTuple

__all__ = ["BookSequence", "BookState", "DepthDiff", "RawDiff", "Verdict"]

_HELD = 10_000
"""Diffs kept while no snapshot covers them; a REST answer is never that late."""


class DepthDiff(NamedTuple):
    """One depthUpdate. ``prev_id`` (pu) is None on spot, which has none."""

    exch_ns: int
    first_id: int  # U
    final_id: int  # u
    prev_id: int | None  # pu
    bid_px: list[float]
    bid_qty: list[float]
    ask_px: list[float]
    ask_qty: list[float]


class RawDiff(NamedTuple):
    """A depthUpdate that was found good elsewhere, and is parsed only if a snapshot asks for it."""

    exch_ns: int
    payload: bytes


class BookState(IntEnum):
    """What the next diff is judged by."""

    FRESH = 0  # a snapshot that no diff has followed yet
    STEADY = 1  # the last diff applied
    HOLDING = 2  # no valid book: the last diff held


class Verdict(Enum):
    """What to do with a diff."""

    APPLY = "apply"
    HELD = "held"  # no valid book: kept for the next snapshot
    STALE = "stale"  # the snapshot already holds it
    DUPLICATE = "duplicate"  # received before; the book stays as it is
    BREAK = "break"  # messages are missing before it: the book is invalid from here on


class BookSequence:
    """The state machine of one book.

    Spot: diffs with u <= the snapshot's lastUpdateId are stale; the first applied one has U <= lastUpdateId + 1 <= u;
    each later one U == previous u + 1. Futures: stale is u < lastUpdateId, the first has U <= lastUpdateId <= u, each
    later one pu == previous u. A futures diff whose pu is the snapshot's lastUpdateId continues it by the latter rule.

    Once a diff is applied, one whose u does not exceed the last is a duplicate: on futures only if its exchange time is
    not later either, for ids that start again at the exchange are no repetition but a break.

    Diffs that arrive without a valid book are held, so that a snapshot which was requested after the stream was opened
    finds the ones newer than itself. After a break the diffs from the breaking one on are held in the same way.
    """

    __slots__ = ("_fresh", "_held", "_last_exch_ns", "_last_id", "_valid")

    def __init__(self) -> None:
        self._held: deque[DepthDiff | RawDiff] = deque(maxlen=_HELD)
        self._valid = False
        self._fresh = False  # a snapshot was taken, no diff applied to it yet
        self._last_id = -1  # of the snapshot, or of the last diff applied or held
        self._last_exch_ns = 0  # of that diff

    @property
    def valid(self) -> bool:
        """Whether the book can be trusted now."""
        return self._valid

    @property
    def progress(self) -> tuple[BookState, int, int]:
        """The state, and u and exchange time of the last diff applied or held; u is -1 before the first, and FRESH."""
        if not self._valid:
            return BookState.HOLDING, self._last_id, self._last_exch_ns
        if self._fresh:
            return BookState.FRESH, -1, self._last_exch_ns
        return BookState.STEADY, self._last_id, self._last_exch_ns

    def advance(self, last_id: int, exch_ns: int, held: Iterable[RawDiff] = ()) -> None:
        """Take it that diffs were judged elsewhere, each by the rule above, up to this one; the state is the same.

        ``held`` are those that were, oldest first; without a valid book that is all of them.
        """
        self._last_id, self._last_exch_ns = last_id, exch_ns
        self._held.extend(held)

    def resume(self, state: BookState, last_id: int, exch_ns: int) -> None:
        """Go on from a saved ``progress``, without the diffs that were held then.

        Not from FRESH, which lacks its id.
        """
        self._valid, self._fresh = state is BookState.STEADY, False
        self._last_id, self._last_exch_ns = last_id, exch_ns
        self._held.clear()

    def snapshot(self, last_id: int) -> list[DepthDiff | RawDiff] | None:
        """Take a REST snapshot with its lastUpdateId.

        Returns
        -------
        The held diffs, oldest first, to be put to ``judge`` now; None when the book is valid and already holds the
        snapshot, which then must not be applied: it would turn the book back.
        """
        if self._valid and last_id <= self._last_id:
            return None
        held = list(self._held)
        self._held.clear()
        self._valid = self._fresh = True
        self._last_id = last_id
        return held

    def lose(self) -> bool:
        """Take it that diffs may have been missed: no valid book until the next snapshot.

        Returns whether there was one. What was held is of no use any more: it cannot continue what comes now.
        """
        was, self._valid, self._fresh = self._valid, False, False
        self._held.clear()
        return was

    def judge(self, diff: DepthDiff) -> Verdict:
        """Decide on the next diff, in the order received."""
        if not self._valid:
            if self._repeats(diff, self._last_id, self._last_exch_ns):
                return Verdict.DUPLICATE
            self._hold(diff)
            return Verdict.HELD
        if self._fresh:
            # Spot numbers single changes, so that lastUpdateId itself is in the snapshot; futures may straddle it.
            if diff.final_id < self._last_id + (diff.prev_id is None):
                return Verdict.STALE
        elif self._repeats(diff, self._last_id, self._last_exch_ns):
            return Verdict.DUPLICATE
        if not self._continues(diff):
            self._valid = False
            self._hold(diff)
            return Verdict.BREAK
        self._last_id, self._last_exch_ns = diff.final_id, diff.exch_ns
        self._fresh = False
        return Verdict.APPLY

    def _hold(self, diff: DepthDiff) -> None:
        self._held.append(diff)
        self._last_id, self._last_exch_ns = diff.final_id, diff.exch_ns

    @staticmethod
    def _repeats(diff: DepthDiff, last_id: int, last_exch_ns: int) -> bool:
        return diff.final_id <= last_id and (diff.prev_id is None or diff.exch_ns <= last_exch_ns)

    def _continues(self, diff: DepthDiff) -> bool:
        spot = diff.prev_id is None
        if self._fresh:
            straddles = diff.first_id <= self._last_id + spot <= diff.final_id
            return straddles or diff.prev_id == self._last_id
        if diff.final_id <= self._last_id:
            return False
        return diff.first_id == self._last_id + 1 if spot else diff.prev_id == self._last_id
