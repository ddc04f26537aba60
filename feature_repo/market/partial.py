"""A book that is sent whole, n levels a side at a time, as the differences between one message and the next."""

from __future__ import annotations

from itertools import chain

__all__ = ["Levels", "PartialBook"]

Levels = tuple[list[float], list[float]]
"""Prices and quantities of one side."""


class PartialBook:
    """The last top n levels that were sent.

    Each message replaces the one before. What a message no longer holds has left the top n, traded or not: it is
    removed, for nothing more will be heard of it.
    """

    __slots__ = ("_ask", "_bid", "last_id")

    def __init__(self) -> None:
        self._bid: dict[float, float] | None = None  # price to quantity
        self._ask: dict[float, float] = {}
        self.last_id = -1  # id of the last message

    def update(self, last_id: int, bid: Levels, ask: Levels) -> tuple[bool, Levels, Levels]:
        """Take the next message: its id and (prices, quantities) of each side.

        Returns
        -------
        Whether it is the first one, then what changed on each side: the levels that left with quantity 0, followed by
        the new or changed ones in the order sent. Of a first message all levels are new.
        """
        first = self._bid is None
        new_bid, new_ask = dict(zip(*bid, strict=True)), dict(zip(*ask, strict=True))
        changes = _changes(self._bid or {}, new_bid), _changes(self._ask, new_ask)
        self.last_id, self._bid, self._ask = last_id, new_bid, new_ask
        return first, *changes


def _changes(old: dict[float, float], new: dict[float, float]) -> Levels:
    gone = [px for px in old if px not in new]
    changed = [px for px, qty in new.items() if old.get(px) != qty]
    return [*chain(gone, changed)], [*chain([0.0] * len(gone), (new[px] for px in changed))]
