"""The order book that a replay server answers from: prices and quantities as the texts that were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from feature_repo.market.sequence import BookSequence, Verdict

__all__ = ["TextBook"]


class _TextDiff(NamedTuple):
    """What ``BookSequence`` judges a depthUpdate by, and its levels, price to quantity."""

    exch_ns: int  # ms here; only compared
    first_id: int
    final_id: int
    prev_id: int | None
    bids: dict[str, str]
    asks: dict[str, str]
    times: dict[str, int]


class TextBook:
    """Snapshot and diffs of one contract, by Binance's sequence rule.

    Messages that lack a field are passed over; after a diff like that the next one does not continue the book.
    """

    def __init__(self) -> None:
        self._sequence = BookSequence()
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._last_id = 0
        self._times: dict[str, int] = {}  # E and T, of futures

    @property
    def valid(self) -> bool:
        """Whether there was a snapshot, and no diff is missing since."""
        return self._sequence.valid

    def snapshot(self, message: Mapping[str, Any]) -> None:
        """Take a REST snapshot; one that the book already holds changes nothing."""
        try:
            last_id, bids, asks = int(message["lastUpdateId"]), _side(message["bids"]), _side(message["asks"])
        except (KeyError, TypeError, ValueError):
            return
        held = self._sequence.snapshot(last_id)
        if held is None:
            return
        self._bids, self._asks, self._last_id = bids, asks, last_id
        self._times = {name: message[name] for name in ("E", "T") if name in message}
        for diff in held:
            self._apply(diff)

    def diff(self, data: Mapping[str, Any]) -> None:
        """Take the ``data`` of a depthUpdate."""
        try:
            diff = _TextDiff(
                int(data.get("T", data["E"])),
                int(data["U"]),
                int(data["u"]),
                int(data["pu"]) if "pu" in data else None,
                _side(data["b"]),
                _side(data["a"]),
                {name: data[name] for name in ("E", "T") if name in data and "pu" in data},
            )
        except (KeyError, TypeError, ValueError):
            return
        self._apply(diff)

    def _apply(self, diff: _TextDiff) -> None:
        if self._sequence.judge(diff) is not Verdict.APPLY:
            return
        for side, levels in ((self._bids, diff.bids), (self._asks, diff.asks)):
            for price, quantity in levels.items():
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self._last_id, self._times = diff.final_id, diff.times

    def answer(self, limit: int) -> bytes:
        """The best ``limit`` levels a side as REST gives them; only of a valid book."""
        bids = sorted(self._bids.items(), key=lambda level: -float(level[0]))
        asks = sorted(self._asks.items(), key=lambda level: float(level[0]))
        return orjson.dumps({"lastUpdateId": self._last_id, **self._times, "bids": bids[:limit], "asks": asks[:limit]})


def _side(levels: Any) -> dict[str, str]:
    """Price to quantity; ValueError or TypeError where one is no number."""
    side = dict(levels)
    for price, quantity in side.items():
        float(price), float(quantity)
    return side
