"""Lines of a Tardis CSV: what a header says, and one line in plain Python, which is what every other way must equal.

Columns and their meaning: Tardis' documentation of its downloadable CSV files. Times are whole microseconds UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan

import numpy as np

__all__ = ["SKIPPED_ZERO", "STEPPED_BACK", "Columns", "Layout", "Row", "layout_of", "read_line"]

# What a column is.
SKIP, SNAPSHOT, BOOK_SIDE, TRADE_SIDE, ID, PRICE, TRADE_PRICE, AMOUNT = range(8)
MAYBE_PRICE, MAYBE_AMOUNT, MAYBE_RATE, MAYBE_TIME = range(8, 12)  # fields that may be empty

_FIRST = ("exchange", "symbol", "timestamp", "local_timestamp")
_BOOK = {"is_snapshot": (SNAPSHOT, 0), "side": (BOOK_SIDE, 0), "price": (PRICE, 0), "amount": (AMOUNT, 1)}
_TRADE = {"id": (ID, 0), "side": (TRADE_SIDE, 0), "price": (TRADE_PRICE, 0), "amount": (AMOUNT, 1)}
_QUOTE = {
    "bid_price": (MAYBE_PRICE, 0),
    "bid_amount": (MAYBE_AMOUNT, 1),
    "ask_price": (MAYBE_PRICE, 2),
    "ask_amount": (MAYBE_AMOUNT, 3),
}
_TICKER = {"mark_price": (MAYBE_PRICE, 0), "funding_rate": (MAYBE_RATE, 1), "funding_timestamp": (MAYBE_TIME, 2)}
_TYPES = (("incremental_book_L2", _BOOK), ("trades", _TRADE), ("quotes", _QUOTE), ("derivative_ticker", _TICKER))
_LEVEL = re.compile(r"(asks|bids)\[(\d+)\]\.(price|amount)")

DAY_US = 86_400_000_000
LARGEST_PRICE, LARGEST_AMOUNT = 1e12, 1e15
_TIME = re.compile(rb"[1-8]\d{15}")  # us, from 2001 to 2255: what fits into ns
_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_NO_NUMBER = re.compile(rb"[+-]?(nan|inf|infinity)", re.IGNORECASE)

SKIPPED_ZERO = "trade of quantity zero"
"""Not a bad row: exchanges send such trades."""
STEPPED_BACK = "local time steps back"
"""The one reason of a line that is used all the same."""


@dataclass(frozen=True)
class Layout:
    """Which column holds what.

    Attributes
    ----------
    data_type : Tardis' name; ``trades`` for liquidations too, and ``quotes`` for book_ticker: their headers are equal
    columns : int64 [n, 2], what each column after the first four is and where its value goes
    slots : values a row has. Books and quotes: price and amount of each bid level, best first, then of each ask level
    levels : book levels of a side; 0 where a row is no book
    """

    data_type: str
    names: tuple[str, ...]
    columns: np.ndarray
    slots: int
    levels: int = 0


@dataclass
class Columns:
    """Rows of one block. Times in us; side 0: bid or buy, 1: ask or sell; values NaN where a field was empty."""

    exch: np.ndarray  # int64 [n]
    local: np.ndarray  # int64 [n], never falls
    side: np.ndarray  # int8 [n]
    snapshot: np.ndarray  # bool [n]
    values: np.ndarray  # float64 [n, slots]
    lost: np.ndarray  # int64 [m], ascending: a line before row ``lost[k]`` could not be used

    def __len__(self) -> int:
        return len(self.exch)

    @classmethod
    def room(cls, n: int, slots: int) -> Columns:
        """Room for ``n`` rows, values unset."""
        exch, local, lost = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(0, np.int64)
        return cls(exch, local, np.empty(n, np.int8), np.empty(n, np.bool_), np.empty((n, slots)), lost)

    def first(self, n: int, lost: list[int]) -> Columns:
        """The first ``n`` rows, as views, and where lines between them were lost."""
        sides = self.side[:n], self.snapshot[:n]
        return Columns(self.exch[:n], self.local[:n], *sides, self.values[:n], np.array(lost, np.int64))


def layout_of(header: bytes) -> Layout | None:
    """The layout that a header line names; None if it is not Tardis'."""
    names = tuple(header.rstrip(b"\r\n").decode("latin-1").split(","))
    if names[:4] != _FIRST or len(set(names)) != len(names):
        return None
    rest = names[4:]
    for data_type, known in _TYPES:
        # Another type may have one of the names too, and a ticker has columns that we do not use.
        if known.keys() <= set(rest) and (data_type == "derivative_ticker" or len(rest) == len(known)):
            columns = np.array([known.get(name, (SKIP, 0)) for name in rest], np.int64)
            levels = 1 if data_type == "quotes" else 0
            return Layout(data_type, names, columns, 1 + max(slot for _, slot in known.values()), levels)
    found = [_LEVEL.fullmatch(name) for name in rest]
    levels = len(rest) // 4
    wanted = {(s, n, f) for s in ("asks", "bids") for n in range(levels) for f in ("price", "amount")}
    if not rest or not all(found) or {(m[1], int(m[2]), m[3]) for m in found if m} != wanted:
        return None
    columns = np.array(
        [
            (
                MAYBE_PRICE if m[3] == "price" else MAYBE_AMOUNT,
                (2 * levels if m[1] == "asks" else 0) + 2 * int(m[2]) + (m[3] == "amount"),
            )
            for m in found
            if m
        ],
        np.int64,
    )
    return Layout(f"book_snapshot_{levels}", names, columns, 4 * levels, levels)


Row = tuple[int, int, int, bool, bytes | None, list[float]]


def read_line(text: bytes, layout: Layout, exchange: bytes, symbol: bytes) -> Row | str:
    """One line without its newline: (timestamp, local_timestamp, side, is_snapshot, id, values), or what is wrong."""
    fields = text.removesuffix(b"\r").split(b",")
    if len(fields) != len(layout.names):
        return "wrong number of fields"
    if fields[0] != exchange:
        return "another exchange"
    if fields[1] != symbol:
        return "another symbol"
    for name, field in zip(_FIRST[2:], fields[2:4], strict=True):
        if not _TIME.fullmatch(field):
            return f"{name} is no time in us"
    exch, local = int(fields[2]), int(fields[3])
    if abs(local - exch) > DAY_US:
        return "timestamp is more than a day from local_timestamp"
    side, snapshot, name_of, values = 0, False, None, [nan] * layout.slots
    for (code, slot), name, field in zip(layout.columns.tolist(), layout.names[4:], fields[4:], strict=True):
        if code == SKIP:
            continue
        if code == SNAPSHOT:
            if field not in (b"true", b"false"):
                return f"{name} is neither true nor false"
            snapshot = field == b"true"
        elif code in (BOOK_SIDE, TRADE_SIDE):
            sides = (b"bid", b"ask") if code == BOOK_SIDE else (b"buy", b"sell")
            if field not in sides:
                return f"{name} is neither {sides[0].decode()} nor {sides[1].decode()}"
            side = sides.index(field)
        elif code == ID:
            name_of = field
        elif field or code < MAYBE_PRICE:
            value = _value(field, code, name)
            if isinstance(value, str):
                return value
            values[slot] = value
    if layout.data_type == "trades":
        if values[1] == 0.0:
            return SKIPPED_ZERO
        if values[0] == 0.0:
            return "price is zero"
    return _level_fault(values, layout.levels) or (exch, local, side, snapshot, name_of, values)


def _value(field: bytes, code: int, name: str) -> float | str:
    """A number of a column, or what is wrong with it."""
    if code == MAYBE_TIME:
        return float(field) if _TIME.fullmatch(field) else f"{name} is no time in us"
    if not _NUMBER.fullmatch(field):
        return f"{name} is not finite" if _NO_NUMBER.fullmatch(field) else f"{name} is no number"
    value = float(field)
    if not isfinite(value):
        return f"{name} is not finite"
    if code == MAYBE_RATE:
        return value
    if field.startswith(b"-"):
        return f"{name} is negative"
    if value == 0.0 and code in (PRICE, MAYBE_PRICE):
        return f"{name} is zero"
    largest = LARGEST_AMOUNT if code in (AMOUNT, MAYBE_AMOUNT) else LARGEST_PRICE
    return f"{name} is too large" if value > largest else value


def _level_fault(values: list[float], levels: int) -> str | None:
    """What is wrong with the levels of a book or quote."""
    for first, sign in ((0, -1.0), (2 * levels, 1.0)):
        last, ended = -inf, False
        for at in range(first, first + 2 * levels, 2):
            if isnan(values[at]) != isnan(values[at + 1]):
                return "a level has a price or an amount, but not both"
            if isnan(values[at]):
                ended = True
            elif ended or not sign * values[at] > last:
                return "levels are not in order"
            else:
                last = sign * values[at]
    return None
