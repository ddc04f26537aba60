"""Binance's rule for a local book: which depth diffs continue a snapshot, and when the sequence is broken.

Reference: Binance API documentation, "How to manage a local order book correctly" (spot and futures).
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

__all__ = ["BookSequence", "DepthDiff", "Verdict"]

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


class Verdict(Enum):
    """What to do with a diff."""

    APPLY = "apply"
    HELD = "held"  # no valid book: kept for the next snapshot
    STALE = "stale"  # the snapshot already holds it
    BREAK = "break"  # messages are missing before it: the book is invalid from here on


class BookSequence:
    """The state machine of one book.

    Spot: diffs with u <= the book's id are stale; the first applied one has U <= lastUpdateId + 1 <= u; each later one
    U == previous u + 1. Futures: stale is u < lastUpdateId, the first has U <= lastUpdateId <= u, each later one
    pu == previous u. A futures diff whose pu is the snapshot's lastUpdateId continues it by the latter rule.

    Diffs that arrive without a valid book are held, so that a snapshot which was requested after the stream was opened
    finds the ones newer than itself. After a break the diffs from the breaking one on are held in the same way.
    """

    __slots__ = ("_fresh", "_held", "_last_id", "_valid")

    def __init__(self) -> None:
        self._held: deque[DepthDiff] = deque(maxlen=_HELD)
        self._valid = False
        self._fresh = False  # a snapshot was taken, no diff applied to it yet
        self._last_id = -1

    @property
    def valid(self) -> bool:
        """Whether the book can be trusted now."""
        return self._valid

    def snapshot(self, last_id: int) -> list[DepthDiff] | None:
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

    def judge(self, diff: DepthDiff) -> Verdict:
        """Decide on the next diff, in the order received."""
        if not self._valid:
            self._held.append(diff)
            return Verdict.HELD
        spot = diff.prev_id is None
        if diff.final_id <= self._last_id if spot else self._fresh and diff.final_id < self._last_id:
            return Verdict.STALE
        if not self._continues(diff, spot):
            self._valid = False
            self._held.append(diff)
            return Verdict.BREAK
        self._last_id = diff.final_id
        self._fresh = False
        return Verdict.APPLY

    def _continues(self, diff: DepthDiff, spot: bool) -> bool:
        if self._fresh:
            straddles = diff.first_id <= self._last_id + spot <= diff.final_id
            return straddles or diff.prev_id == self._last_id
        return diff.first_id == self._last_id + 1 if spot else diff.prev_id == self._last_id
