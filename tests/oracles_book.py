"""The book part of the oracle: a dictionary a side, message by message, and what it says at the close of each window.

Nothing here shares code with the engine but event codes and dtypes. Each side also keeps its prices in one sorted
Python list, so that a whole day takes seconds. The input must be free of events that the engine would reject.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass

import numpy as np

from feature_repo.constants import ORDER, EngineDefaults
from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, KIND_MASK, SELL
from feature_repo.instruments import Instrument
from feature_repo.table import QUOTE_DTYPE

__all__ = ["CLOSE_DTYPE", "BookSeries", "book_series"]

W = 100_000_000
S = 1_000_000_000
_ROWS = 200_000  # turned into Python lists at a time

CLOSE_DTYPE = np.dtype(
    [
        ("t_ns", "i8"),
        ("ok", "?"),  # the book is good
        ("since", "i8"),  # local_ts from which it has been
        ("newest", "i8"),  # exch_ts of the newest applied row, 0 before the first
        ("bid", "i8"),  # ticks
        ("ask", "i8"),
        ("bid_qty", "f8"),
        ("ask_qty", "f8"),
        ("below", "f8"),  # value of the best five bids, quote currency
        ("above", "f8"),
        ("buy", "f8"),  # cost of a base order in bps, inf if the side is too thin
        ("sell", "f8"),
        ("ofi", "f8"),  # this window's order flow at level 1
        ("ofi3", "f8"),  # weighted over three levels
    ]
)


@dataclass
class BookSeries:
    """``closes`` CLOSE_DTYPE [K], ``quotes`` QUOTE_DTYPE [M] (the last message's included), ``breaks`` by reason."""

    closes: np.ndarray
    quotes: np.ndarray
    breaks: dict[str, int]


class _Side:
    """Sizes by key, larger keys being better: ticks of bids, minus the ticks of asks."""

    def __init__(self) -> None:
        self.sizes: dict[int, float] = {}
        self.keys: list[int] = []
        self.changes = 0

    def put(self, key: int, size: float) -> None:
        self.changes += 1
        if size > 0:
            if key not in self.sizes:
                insort(self.keys, key)
            self.sizes[key] = size
        elif key in self.sizes:
            del self.sizes[key]
            del self.keys[bisect_left(self.keys, key)]

    def clear(self, through: int | None = None) -> None:
        """Forget every level, or those from the best one through a key."""
        self.changes += 1
        at = 0 if through is None else bisect_left(self.keys, through)
        for key in self.keys[at:]:
            del self.sizes[key]
        del self.keys[at:]

    def top(self, n: int) -> list[tuple[int, float]]:
        return [(key, self.sizes[key]) for key in self.keys[: -n - 1 : -1]]


def _flow(old: list[tuple[int, float]], new: list[tuple[int, float]]) -> list[float]:
    """Order flow of each level that both have: e = 1{P' >= P} q' - 1{P' <= P} q (Cont, Kukanov, Stoikov 2014)."""
    return [(q1 if p1 >= p0 else 0.0) - (q0 if p1 <= p0 else 0.0) for (p0, q0), (p1, q1) in zip(old, new, strict=False)]


class _Book:
    def __init__(self, instrument: Instrument, config: EngineDefaults, first: int, windows: int) -> None:
        self.instrument, self.config, self.first = instrument, config, first
        self.bids, self.asks = _Side(), _Side()
        self.synced = False
        self.since: int | None = None
        self.newest_local = self.newest_exch = self.quote_exch = 0
        self.best: list[list] = [[], []]
        self.known: list = [None, None]  # of each side: changes it was judged at
        self.valued: list = [None, None]  # and changes it was valued at, with the values
        self.flows = np.zeros((windows, 2))
        self.quotes: list[tuple] = []
        self.breaks: Counter[str] = Counter()
        self.states: list[tuple] = []  # (window, what it says from that close on)
        self.closed = 0
        self.touched = True

    def apply(self, kind: int, sides: int, exch: int, local: int, px: float, qty: float) -> bool:
        """Take in one row; says whether it counts."""
        if kind == GAP:
            self.bids.clear()
            self.asks.clear()
            self.synced = False
            return True
        if kind == DEPTH and not self.synced:
            return False
        self.synced = self.synced or kind == DEPTH_SNAPSHOT
        self.newest_local, self.newest_exch = local, exch
        tick = self.instrument.tick
        if kind == DEPTH_CLEAR:
            through = round(px / tick) if px > 0 and px / tick < 1e15 else 0
            if sides != SELL:
                self.bids.clear(through or None)
            if sides != BUY:
                self.asks.clear(-through or None)
        elif sides == BUY:
            self.bids.put(round(px / tick), qty)
        else:
            self.asks.put(-round(px / tick), qty)
        return True

    def judge(self, local: int, exch: int, is_gap: bool) -> None:
        """A message is whole: is the book good, and what flowed?"""
        if not is_gap:
            self.quote_exch = max(self.quote_exch, exch)
        was_good = self.since is not None
        filled = bool(self.bids.keys) and bool(self.asks.keys)
        if not (self.synced and filled and self.bids.keys[-1] < -self.asks.keys[-1]):
            if was_good:
                self._break("gap" if is_gap else "crossed" if filled else "emptied", local)
            return
        self.touched = True
        if not was_good:
            self.since = local
        k, quoted = (local - self.first) // W + 1, not was_good
        for i, (side, sign) in enumerate(((self.bids, 1), (self.asks, -1))):
            if side.changes == self.known[i]:
                continue
            self.known[i], old, now = side.changes, self.best[i], side.top(3)
            self.best[i] = now
            if was_good and old != now:
                quoted = quoted or old[0] != now[0]
                flow = _flow(old, now)
                if k < len(self.flows):
                    pairs = zip(self.config.ofi_level_weights, flow, strict=False)
                    self.flows[k, 0] += sign * flow[0]
                    self.flows[k, 1] += sign * sum(weight * e for weight, e in pairs)
        if quoted:
            (bid, bid_qty), (ask, ask_qty) = self.best[0][0], self.best[1][0]
            tick = self.instrument.tick
            self.quotes.append((local, self.quote_exch, bid * tick, -ask * tick, bid_qty, ask_qty))

    def _break(self, why: str, local: int) -> None:
        self.since, self.touched = None, True
        self.breaks[why] += 1
        self.quotes.append((local, self.quote_exch, *[math.nan] * 4))

    def close_to(self, k: int) -> None:
        """Close the windows before number ``k``; nothing happens in between but silence."""
        if k <= self.closed:
            return
        if self.since is not None:
            quiet = -(-(self.newest_local + self.config.silence_s * S - self.first) // W)
            if quiet < k:
                self._note(self.closed)
                self._break("silence", self.first + quiet * W)
                self.closed = quiet
        self._note(self.closed)
        self.closed = k

    def _note(self, k: int) -> None:
        if not self.touched and self.states[-1][4] == self.newest_exch:
            return
        self.touched = False
        if self.since is None:
            self.states.append((k, 0, False, 0, self.newest_exch, 0, 0, *[math.nan] * 4, math.inf, math.inf))
            return
        for i, side in enumerate((self.bids, self.asks)):
            if self.valued[i] is None or self.valued[i][0] != side.changes:
                worth = sum(self._value(key, size) for key, size in side.top(5))
                self.valued[i] = side.changes, worth, self._average(side)
        bid, ask = self.bids.keys[-1], -self.asks.keys[-1]
        (_, below, sold), (_, above, bought) = self.valued
        mid = (bid + ask) / 2 * self.instrument.tick
        cost = [abs(price - mid) / mid * 1e4 for price in (bought, sold)]
        sums = (self.bids.sizes[bid], self.asks.sizes[-ask], below, above, *cost)
        self.states.append((k, 0, True, self.since, self.newest_exch, bid, ask, *sums))

    def _value(self, key: int, quantity: float) -> float:
        """Quote currency: a contract of an inverse one is worth the same at any price."""
        of_one = self.instrument.contract_value if self.instrument.inverse else abs(key) * self.instrument.tick
        return of_one * quantity

    def _average(self, side: _Side) -> float:
        """Money spent for each coin received when a base order goes through a side; infinite if it is too thin."""
        coins, left = 0.0, ORDER.base_size_usd
        for key in reversed(side.keys):
            price, value = abs(key) * self.instrument.tick, self._value(key, side.sizes[key])
            if value >= left:
                return ORDER.base_size_usd / (coins + left / price)
            coins += value / price
            left -= value
        return math.inf


def book_series(events: np.ndarray, instrument: Instrument, config: EngineDefaults) -> BookSeries:
    """The book of a tape at the close of every window that ends by its latest event."""
    local, kind = events["local_ts"], (events["ev"] & np.uint64(KIND_MASK)).astype(np.int64)
    first = int(local[0]) // W * W + W
    windows = int(local.max()) // W - first // W + 1
    book = _Book(instrument, config, first, max(windows, 0))
    # Rows that share both times and follow each other are one message; a gap stands alone.
    new = np.ones(len(events), bool)
    new[1:] = (np.diff(local) != 0) | (np.diff(events["exch_ts"]) != 0) | (kind[1:] == GAP) | (kind[:-1] == GAP)
    number = np.cumsum(new)
    rows = np.flatnonzero(np.isin(kind, (DEPTH, DEPTH_SNAPSHOT, DEPTH_CLEAR, GAP)))
    last, counts, pending = -1, False, (0, 0, False)
    for low in range(0, len(rows), _ROWS):
        at = rows[low : low + _ROWS]
        part = events[at]
        columns = number[at], kind[at], part["ev"] & np.uint64(BUY | SELL), part["exch_ts"], part["local_ts"]
        for message, what, sides, exch, now, px, qty in zip(
            *(c.tolist() for c in (*columns, part["px"], part["qty"])), strict=True
        ):
            if message != last:
                if counts:
                    book.judge(*pending)
                book.close_to(min((now - first) // W + 1, windows))
                last, counts, pending = message, False, (now, exch, what == GAP)
            counts = book.apply(what, sides, exch, now, px, qty) or counts
    if counts:
        book.judge(*pending)
    book.close_to(windows)
    return BookSeries(_closes(book, first, windows), np.array(book.quotes, QUOTE_DTYPE), dict(book.breaks))


def _closes(book: _Book, first: int, windows: int) -> np.ndarray:
    """Every window says what the last noted one before it says."""
    closes = np.zeros(max(windows, 0), CLOSE_DTYPE)
    if windows > 0:
        states = np.array([(*state[1:], 0.0, 0.0) for state in book.states], CLOSE_DTYPE)
        at = np.searchsorted([state[0] for state in book.states], np.arange(windows), side="right") - 1
        closes[:] = states[at]
        closes["t_ns"] = first + W * np.arange(windows)
        closes["ofi"], closes["ofi3"] = book.flows.T
    return closes
