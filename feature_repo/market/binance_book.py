"""The book of one Binance contract as rows: diffs by the sequence rule, snapshots, and partial depth before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from ..events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, SELL
from .checks import BadRow, levels
from .partial import Levels, PartialBook
from .rows import EventRows
from .sequence import BookSequence, BookState, DepthDiff, RawDiff, Verdict

__all__ = ["BinanceBook", "depth_diff", "is_id", "parsed"]

_ID_END = 2**62


class BinanceBook:
    """What of the depth messages becomes rows.

    The diffs are the book from the first one on that continues a REST snapshot. Until then it is partial depth, if
    there is any; a snapshot that no diff has followed yet is kept, for the diffs to start from.

    Parameters
    ----------
    rows : where the rows go

    Attributes
    ----------
    depth : what became of diffs and snapshots, as in ``BinanceParser``
    sequence : the rule's state
    """

    def __init__(self, rows: EventRows) -> None:
        self.depth: Counter[str] = Counter()
        self.sequence = BookSequence()
        self._rows = rows
        self._by_diffs = False
        self._seen_snapshot = False
        self._base: tuple[Levels, Levels] | None = None
        self._partial = PartialBook()
        self._partial_stream: str | None = None

    def diff(self, diff: DepthDiff, local_ns: int, *, counted: bool = False) -> Verdict:
        """Take the next diff, and write its rows if it is to be applied.

        Parameters
        ----------
        counted : it was held before, and counted then if it is held again
        """
        verdict = self.sequence.judge(diff)
        if verdict is Verdict.APPLY:
            if not self._by_diffs:
                self._take_over(diff.exch_ns, local_ns)
            self._rows.run(DEPTH | BUY, diff.exch_ns, local_ns, diff.bid_px, diff.bid_qty)
            self._rows.run(DEPTH | SELL, diff.exch_ns, local_ns, diff.ask_px, diff.ask_qty)
        elif verdict is Verdict.STALE:
            self.depth["depth_stale"] += 1
        elif verdict is Verdict.BREAK:
            # Where partial depth still is the book, that one has no gap.
            if self._by_diffs or self._partial_stream is None:
                self._rows.one(GAP, diff.exch_ns, local_ns, 0.0, 0.0)
            self.depth["depth_after_gap"] += not counted
        elif verdict is Verdict.HELD:
            self.depth[self._unused] += not counted
        return verdict

    def resume(self, state: BookState, last_id: int, exch_ns: int) -> None:
        """Go on from a saved place in the diffs; see ``BookSequence.resume``."""
        self.sequence.resume(state, last_id, exch_ns)
        self._by_diffs = self._seen_snapshot = state is BookState.STEADY

    def lose(self, exch_ns: int, local_ns: int) -> None:
        """Take it that messages may have been missed; a book that was valid has a gap here."""
        if self.sequence.lose() and (self._by_diffs or self._partial_stream is None):
            self._rows.one(GAP, exch_ns, local_ns, 0.0, 0.0)

    def hold(self, held: Sequence[RawDiff], last_id: int, exch_ns: int) -> None:
        """Take diffs that came while there was no valid book, were found good and are no duplicates.

        Parameters
        ----------
        last_id, exch_ns : u and exchange time of the last of them
        """
        self.sequence.advance(last_id, exch_ns, held)
        self.depth[self._unused] += len(held)

    @property
    def _unused(self) -> str:
        """What a diff that is held counts as."""
        return "depth_after_gap" if self._seen_snapshot else "depth_before_snapshot"

    def snapshot(self, last_id: int, exch_ns: int, local_ns: int, bid: Levels, ask: Levels, *, timed: bool) -> None:
        """Take a REST snapshot and the held diffs that continue it.

        Parameters
        ----------
        timed : whether exch_ns is its own, and not that of the message before
        """
        waiting = self.sequence.snapshot(last_id)
        if waiting is None:
            self.depth["snapshots_redundant"] += 1
            return
        held = [parsed(diff) for diff in waiting]
        if not timed:
            # The exchange side of a replay must not see the snapshot after a diff that continues it.
            exch_ns = min([exch_ns, *(d.exch_ns for d in held if d.final_id >= last_id)])
        self._seen_snapshot = True
        self.depth["snapshots"] += 1
        if self._by_diffs or self._partial_stream is None:
            self._whole(exch_ns, local_ns, bid, ask)
        if not self._by_diffs:
            self._base = bid, ask
        for diff in held:
            if self.diff(diff, local_ns, counted=True) is Verdict.APPLY:
                self.depth["depth_replayed"] += 1

    def takes_partial(self, stream: str) -> str | None:
        """Why a partial depth message of this stream is not used; None if it is."""
        if self._by_diffs:
            return "partial depth stream"
        if self._partial_stream not in (None, stream):
            return f"partial depth stream beside {self._partial_stream}"
        return None

    def partial_id(self) -> int:
        """Id of the last partial depth message, -1 before the first."""
        return self._partial.last_id

    def partial(self, stream: str, last_id: int, exch_ns: int, local_ns: int, bid: Levels, ask: Levels) -> None:
        """Take the top n levels: whole at first, then what changed."""
        self._partial_stream = stream
        first, bid, ask = self._partial.update(last_id, bid, ask)
        if first:
            self._whole(exch_ns, local_ns, bid, ask)
            return
        self._rows.run(DEPTH | BUY, exch_ns, local_ns, *bid)
        self._rows.run(DEPTH | SELL, exch_ns, local_ns, *ask)

    def _take_over(self, exch_ns: int, local_ns: int) -> None:
        self._by_diffs = True
        if self._partial_stream is not None and self._base is not None:
            self._whole(exch_ns, local_ns, *self._base)
        self._base = None

    def _whole(self, exch_ns: int, local_ns: int, bid: Levels, ask: Levels) -> None:
        self._rows.one(DEPTH_CLEAR | BUY, exch_ns, local_ns, 0.0, 0.0)
        self._rows.one(DEPTH_CLEAR | SELL, exch_ns, local_ns, 0.0, 0.0)
        self._rows.run(DEPTH_SNAPSHOT | BUY, exch_ns, local_ns, *bid)
        self._rows.run(DEPTH_SNAPSHOT | SELL, exch_ns, local_ns, *ask)


def depth_diff(data: dict[str, Any], exch_ns: int, *, futures: bool) -> DepthDiff:
    """The ids and levels of a depthUpdate; BadRow, or KeyError for a field that is missing."""
    first_id, final_id, previous = data["U"], data["u"], data["pu"] if futures else None
    if not (is_id(first_id) and is_id(final_id) and (not futures or is_id(previous))):
        raise BadRow("depthUpdate: field 'U', 'u' or 'pu' is no whole number")
    bid_px, bid_qty = levels(data["b"], "depthUpdate", "b")
    ask_px, ask_qty = levels(data["a"], "depthUpdate", "a")
    if first_id > final_id:
        raise BadRow("depthUpdate: field 'U' exceeds 'u'")
    return DepthDiff(exch_ns, first_id, final_id, previous, bid_px, bid_qty, ask_px, ask_qty)


def parsed(diff: DepthDiff | RawDiff) -> DepthDiff:
    """A held diff that was not parsed yet, parsed."""
    if isinstance(diff, DepthDiff):
        return diff
    message = orjson.loads(diff.payload)
    data = message.get("data", message)
    return depth_diff(data, diff.exch_ns, futures="pu" in data)


def is_id(value: Any) -> bool:
    """Whether it is an id of Binance's: a whole number that fits into 62 bits."""
    return type(value) is int and 0 <= value < _ID_END
