"""Tardis CSV in the plainest Python, whole files at once: what the reader must equal. And small files to read."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from feature_repo import events as e

START_US = 1_722_470_400_000_000  # 2024-08-01
BOOK = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
QUOTES = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"
TICKER = (
    "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,predicted_funding_rate,open_interest,"
    "last_price,index_price,mark_price"
)
ORDER = ("trades", "liquidations", "derivative_ticker", "quotes", "book_snapshot", "incremental_book_L2")
ROW_NAMES = {"trades": "trade", "liquidations": "liquidation", "quotes": "quote"}
_SEEN = e.LOCAL | e.EXCH


def book_header(levels: int) -> str:
    """Of ``book_snapshot_<levels>``."""
    names = [f"{s}[{n}].{f}" for n in range(levels) for s in ("asks", "bids") for f in ("price", "amount")]
    return ",".join(["exchange", "symbol", "timestamp", "local_timestamp", *names])


def line(ms: float, *fields: object, exchange: str = "binance-futures", symbol: str = "ETHUSDT") -> str:
    """A line whose message left the exchange at START_US + ms and came 2 ms later."""
    exch = START_US + round(ms * 1_000)
    return ",".join([exchange, symbol, str(exch), str(exch + 2_000), *map(str, fields)])


def write(path: Path, header: str, lines: Sequence[str], *, end: str = "\n") -> Path:
    """A file, packed if its name ends so."""
    text = ("\n".join([header, *lines]) + end).encode("latin-1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, 1) if path.suffix == ".gz" else text)
    return path


class _Bad(Exception):
    pass


def plain_rows(
    chains: dict[str, list[str]], *, exchange: str = "binance-futures", symbol: str = "ETHUSDT"
) -> tuple[np.ndarray, Counter[str], int]:
    """Rows, bad rows by reason, and trades of quantity zero.

    Parameters
    ----------
    chains : by data type, the text of its day files in order of time
    """
    bad: Counter[str] = Counter()
    rows: list[tuple] = []
    zero = 0
    for data_type in sorted(chains, key=_place):
        latest, last_id, number = 0, "", -1
        convert = _CONVERTERS.get(data_type, _Book)(data_type)
        for text in chains[data_type]:
            convert.new_file()
            table = text.split("\n")
            names = table[0].split(",")
            whole = table[-1] == ""
            for n, raw in enumerate(table[1:-1] if whole else table[1:], 1):
                last = not whole and n == len(table) - 1
                try:
                    fields = _fields(raw.removesuffix("\r"))
                    row = _checked(fields, names, data_type, exchange, symbol)
                    name = row.get("id", "")
                    digits = exchange.startswith("binance") and name.isascii() and name.isdigit() and len(name) <= 18
                    if (name and name == last_id) or (digits and int(name) <= number):
                        raise _Bad("duplicate id")
                except _Bad as reason:
                    label = ROW_NAMES.get(data_type, data_type)
                    if str(reason) == "zero":
                        zero += 1
                    else:
                        bad["the file is cut off" if last else f"{label}: {reason}"] += 1
                        rows += convert.lose()
                    continue
                if row["local"] < latest:
                    bad["local time steps back"] += 1
                    row["local"] = latest
                latest, last_id = row["local"], name
                number = max(number, int(name)) if digits else number
                rows += convert.rows(row)
    rows.sort(key=lambda r: r[2])  # stable: the data types are in their order at equal times
    out = np.array(rows, e.EVENT_DTYPE)
    exch_ns = 0
    for n in range(len(out)):
        exch_ns = out["exch_ts"][n] = out["exch_ts"][n] or exch_ns
    return out, bad, zero


def _fields(raw: str) -> list[str]:
    if "\r" in raw:  # the csv module would take it for the end of a line
        return raw.split(",")
    return next(csv.reader(io.StringIO(raw), quoting=csv.QUOTE_NONE), [])


def _place(data_type: str) -> int:
    return ORDER.index("book_snapshot" if data_type.startswith("book_snapshot") else data_type)


def _number(name: str, text: str, *, signed: bool = False, zero: bool = True, most: float = math.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _Bad(f"{name} is no number") from None
    if text != text.strip():
        raise _Bad(f"{name} is no number")
    if not math.isfinite(value):
        raise _Bad(f"{name} is not finite")
    # What float takes and no exchange writes.
    if re.search(r"[_\s+]", text.split("e")[0].split("E")[0]) or text.split(".")[0] in ("", "-") or "_" in text:
        raise _Bad(f"{name} is no number")
    if re.search(r"\.($|[eE])|[^0-9eE.+-]", text):
        raise _Bad(f"{name} is no number")
    if not signed and text.startswith("-"):
        raise _Bad(f"{name} is negative")
    if not zero and value == 0:
        raise _Bad(f"{name} is zero")
    if value > most:
        raise _Bad(f"{name} is too large")
    return value


def _time(name: str, text: str) -> int:
    if len(text) != 16 or not (text.isascii() and text.isdigit()) or not "1" <= text[0] <= "8":
        raise _Bad(f"{name} is no time in us")
    return int(text)


def _checked(fields: list[str], names: list[str], data_type: str, exchange: str, symbol: str) -> dict:
    if len(fields) != len(names):
        raise _Bad("wrong number of fields")
    if fields[0] != exchange:
        raise _Bad("another exchange")
    if fields[1] != symbol:
        raise _Bad("another symbol")
    row: dict = {"exch": _time("timestamp", fields[2]), "local": _time("local_timestamp", fields[3])}
    if abs(row["exch"] - row["local"]) > 86_400_000_000:
        raise _Bad("timestamp is more than a day from local_timestamp")
    trade = data_type in ("trades", "liquidations")
    maybe = not trade and data_type != "incremental_book_L2"
    for name, text in zip(names[4:], fields[4:], strict=True):
        if name == "id":
            row[name] = text
        elif name in ("is_snapshot", "side"):
            words = {"is_snapshot": ("true", "false"), "side": ("buy", "sell") if trade else ("bid", "ask")}[name]
            if text not in words:
                raise _Bad(f"{name} is neither {words[0]} nor {words[1]}")
            row[name] = text
        elif name in ("predicted_funding_rate", "open_interest", "last_price", "index_price"):
            continue
        elif maybe and text == "":
            row[name] = None
        elif name == "funding_timestamp":
            row[name] = _time(name, text)
        elif name == "funding_rate":
            row[name] = _number(name, text, signed=True)
        elif name.endswith("price"):
            row[name] = _number(name, text, zero=trade, most=1e12)
        else:
            row[name] = _number(name, text, most=1e15)
    if trade and row["amount"] == 0:
        raise _Bad("zero")
    if trade and row["price"] == 0:
        raise _Bad("price is zero")
    for side, sign in (("bid", -1), ("ask", 1)):
        row[side + "s"] = _levels(row, side, sign)
    return row


def _levels(row: dict, side: str, sign: int) -> list[tuple[float, float]]:
    if f"{side}_price" in row:
        pairs = [(row[f"{side}_price"], row[f"{side}_amount"])]
    else:
        depth = sum(1 for name in row if name.startswith(f"{side}s[")) // 2
        pairs = [(row[f"{side}s[{n}].price"], row[f"{side}s[{n}].amount"]) for n in range(depth)]
    # The first fault from the best level on.
    last, ended = -math.inf, False
    for px, qty in pairs:
        if (px is None) != (qty is None):
            raise _Bad("a level has a price or an amount, but not both")
        if px is None:
            ended = True
            continue
        if ended or sign * px <= last:
            raise _Bad("levels are not in order")
        last = sign * px
    return [(px, qty) for px, qty in pairs if px is not None]


def _row(ev: int, row: dict, px: float = 0.0, qty: float = 0.0, ival: int = 0, fval: float = 0.0) -> tuple:
    own = ev & e.KIND_MASK in e.OWN_KINDS
    exch = 0 if row["exch"] == row["local"] else row["exch"] * 1_000
    return (ev | (0 if own else _SEEN), exch, row["local"] * 1_000, px, qty, 0, ival, fval)


class _Convert:
    def __init__(self, data_type: str) -> None:
        self.data_type = data_type
        self.last: tuple | dict | None = None
        self.valid = self.fresh = self.seen = self.lost = self.spoiled = False
        self.time, self.before = 0, {}
        self.run: int | None = None

    def new_file(self) -> None:
        self.fresh, self.seen, self.run, self.lost = True, False, None, False

    def lose(self) -> list[tuple]:
        return []


class _Fill(_Convert):
    def rows(self, row: dict) -> list[tuple]:
        kind = e.TRADE if self.data_type == "trades" else e.LIQUIDATION
        return [_row(kind | (e.BUY if row["side"] == "buy" else e.SELL), row, row["price"], row["amount"])]


class _Quote(_Convert):
    def rows(self, row: dict) -> list[tuple]:
        return [
            _row(e.DEPTH_BBO | side, row, *level)
            for side, name in ((e.BUY, "bids"), (e.SELL, "asks"))
            for level in row[name]
        ]


class _Ticker(_Convert):
    def rows(self, row: dict) -> list[tuple]:
        if row["mark_price"] is None or row["funding_rate"] is None:
            return []
        now = (row["mark_price"], row["funding_rate"], row["funding_timestamp"] or 0)
        if now == self.last:
            return []
        self.last = now
        return [_row(e.FUNDING, row, now[0], 0.0, now[2] * 1_000, now[1])]


class _Depth(_Convert):
    def lose(self) -> list[tuple]:
        valid, self.valid, self.lost = self.valid, False, True
        return [_row(e.GAP, self.before)] if valid else []

    def rows(self, row: dict) -> list[tuple]:
        snapshot = row["is_snapshot"] == "true"
        begins = snapshot and row["local"] != self.run
        away = self.fresh and row["local"] - self.time >= 10_000_000
        out = []
        if self.valid and (away or (begins and self.seen)):
            out.append(_row(e.GAP, row))
            self.valid = False
        if begins:
            self.spoiled = False
        if snapshot and self.lost:
            self.spoiled = True
        self.run = row["local"] if snapshot else None
        self.seen = self.seen or snapshot
        self.fresh = self.lost = False
        self.time, self.before = row["local"], row
        side = e.BUY if row["side"] == "bid" else e.SELL
        if not snapshot:
            return out + [_row(e.DEPTH | side, row, row["price"], row["amount"])] * self.valid
        if self.spoiled:
            return out
        if begins:
            self.valid = True
            out += [_row(e.DEPTH_CLEAR | e.BUY, row), _row(e.DEPTH_CLEAR | e.SELL, row)]
        return out + [_row(e.DEPTH_SNAPSHOT | side, row, row["price"], row["amount"])] * (row["amount"] > 0)


class _Book(_Convert):
    def rows(self, row: dict) -> list[tuple]:
        paused = self.fresh and row["local"] - self.time >= 600_000_000
        self.fresh, self.time = False, row["local"]
        books = {e.BUY: dict(row["bids"]), e.SELL: dict(row["asks"])}
        before, self.last = self.last, books
        if before is None or paused:
            out = [_row(e.GAP, row)] * (before is not None)
            out += [_row(e.DEPTH_CLEAR | side, row) for side in books]
            levels = [(side, px, qty) for side, book in books.items() for px, qty in book.items() if qty]
            return out + [_row(e.DEPTH_SNAPSHOT | side, row, px, qty) for side, px, qty in levels]
        out = []
        for side, book in books.items():
            for px in sorted({*book, *before[side]}, reverse=side == e.BUY):
                qty = book.get(px, 0.0)
                if px not in before[side] or before[side][px] != qty or px not in book:
                    out.append(_row(e.DEPTH | side, row, px, qty))
        return out


_CONVERTERS = {
    "trades": _Fill,
    "liquidations": _Fill,
    "quotes": _Quote,
    "derivative_ticker": _Ticker,
    "incremental_book_L2": _Depth,
}
