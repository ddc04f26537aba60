"""Binance market data messages to tape rows: one parser for the live websocket and for its recording on disk.

Spot, USD-M and COIN-M. Channels: depthUpdate, trade, aggTrade, bookTicker, forceOrder, markPriceUpdate, partial depth
and the REST depth snapshot. Reference: Binance API documentation, websocket market streams of the three venues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import orjson

from ..constants import MS_NS
from ..errors import InputError
from ..events import (
    BUY,
    DEPTH_BBO,
    FUNDING,
    LIQUIDATION,
    SELL,
    TRADE,
)
from .binance_book import BinanceBook, depth_diff, is_id
from .binance_contract import BinanceContract
from .binance_kinds import other_kind
from .checks import QTY_END, BadRow, levels, number
from .rows import EventRows
from .sequence import BookState, RawDiff, Verdict

__all__ = ["FEED_LOST", "NO_JSON", "STEPS_BACK", "BinanceParser", "Progress"]

NO_JSON = "the message is no JSON"
FEED_LOST = b'{"ofi_meta":"feed lost"}'
"""What our own recorder writes where the depth stream was cut or the recorder stopped: the book is unknown from here
on, also where other messages come before the first diff."""
STEPS_BACK = "local time steps back"
"""The one reason for a bad row that does not cost its rows: they are kept, at the latest local time seen."""

_SETTLEMENT_END_MS = 9 * 10**12  # more does not fit in ns
_FAR_NS = 86_400_000 * MS_NS
_MS_END = 10**14  # a larger time is in us


class Progress(NamedTuple):
    """How far a parser is: what the next plain message is judged by.

    Attributes
    ----------
    local_ns, exch_ns : of the last message; exch_ns -1 where none has told the exchange's time
    futures : None while the venue is a guess
    book : which rule is for the next diff
    book_id, book_exch_ns : u and time of the last diff applied, or held without a valid book; book_id -1 before that
    trade_kind, trade_id : of the last trade; None before the first
    """

    local_ns: int
    exch_ns: int
    futures: bool | None
    book: BookState
    book_id: int
    book_exch_ns: int
    trade_kind: str | None
    trade_id: int


class BinanceParser:
    """Messages of one contract, in the order received, to EVENT_DTYPE rows.

    The venue and symbol are read off the messages. Rows keep the order of local time: a local clock that steps back is
    held at the latest time seen. Exchange time is the matching engine's (T) where the message has one, else the sending
    time (E). A message without any (spot bookTicker, spot snapshot) takes the exchange time of the message before it,
    and 0 before the first one.

    The book is that of the depth diffs, once one continues a REST snapshot. Until then partial depth (@depth5, 10, 20)
    is the book where it is recorded, as differences between one message and the next: the top n levels and no more.
    Without the stream's name partial depth of futures cannot be told from diffs, and spot's is a snapshot each time.

    Not market data, skipped and counted by name: trades of quantity zero, USD-M trades that are no MARKET trades
    (insurance fund, ADL), partial depth beside diffs, a second partial depth stream, RPI depth, aggTrade beside trade
    or the other way round (the first seen counts, or volume would count twice), acknowledgements, and the streams of
    ``NOT_MODELLED``.

    ``FEED_LOST`` is a gap without a message that shows it.

    A message that cannot be used gives no rows and is counted in ``bad_rows``: one that is damaged, of a kind that
    Binance does not have, or received before (a trade's id or a diff's u that does not exceed the last). A damaged
    depthUpdate therefore shows as a gap at the next one. The exception is ``STEPS_BACK``.

    Attributes
    ----------
    messages : messages of each kind that could be read
    skipped, bad_rows : what was left out, by reason
    depth : what became of diffs and snapshots: depth_before_snapshot, depth_after_gap (held without a valid book),
        depth_replayed (held, then applied after a snapshot), depth_stale, snapshots, snapshots_redundant
    trade_ids_missing : ids between the first and the last trade that were not received
    """

    def __init__(self) -> None:
        self._contract = BinanceContract()
        self.messages: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.bad_rows: Counter[str] = Counter()
        self.trade_ids_missing = 0
        self._rows = EventRows()
        self._book = BinanceBook(self._rows)
        self.depth = self._book.depth
        self._stream = ""  # of the message at hand
        self._last_local_ns = 0
        self._last_exch_ns: int | None = None
        self._trade_kind: str | None = None
        self._last_trade_id = -1
        self._by_name: dict[str, Callable[[dict[str, Any], int], None]] = {
            "depthUpdate": self._on_depth,
            "trade": self._on_trade,
            "aggTrade": self._on_trade,
            "bookTicker": self._on_ticker,
            "forceOrder": self._on_force_order,
            "markPriceUpdate": self._on_mark_price,
        }
        self._handlers = self._by_name | {  # names of ours, which no message may take for its own
            "snapshot": self._on_snapshot,
            "partialDepth": self._on_partial,
            "feed lost": self._on_lost,
        }

    @property
    def venue(self) -> str | None:
        """None until known."""
        return self._contract.venue

    @property
    def symbol(self) -> str | None:
        """None until known."""
        return self._contract.symbol

    @property
    def book_valid(self) -> bool:
        """Whether depth diffs make up a book now."""
        return self._book.sequence.valid

    @property
    def local_backwards(self) -> int:
        """Messages whose local time was before that of an earlier one."""
        return self.bad_rows[STEPS_BACK]

    def feed(self, local_ts_ns: int, payload: bytes) -> np.ndarray:
        """Take one message and give its rows.

        Parameters
        ----------
        local_ts_ns : when it was received, ns UTC; the rows carry this clock
        payload : the JSON text, with or without the ``{"stream", "data"}`` wrapper

        Returns
        -------
        EVENT_DTYPE [n], n >= 0

        Raises
        ------
        InputError
            For a symbol that the instrument table lacks, or a second symbol of the table.
        """
        self.parse(local_ts_ns, payload)
        return self.take()

    def take(self) -> np.ndarray:
        """All rows since the last call, EVENT_DTYPE [n]."""
        return self._rows.take()

    def parse(self, local_ts_ns: int, payload: bytes) -> str | None:
        """As ``feed``, but the rows wait for ``take``; returns the reason if the message is bad."""
        try:
            self._dispatch(local_ts_ns, payload)
        except BadRow as bad:
            self.bad_rows[str(bad)] += 1
            return str(bad)
        return None

    def progress(self) -> Progress:
        """Where the parser is."""
        return Progress(
            self._last_local_ns,
            -1 if self._last_exch_ns is None else self._last_exch_ns,
            self._contract.futures,
            *self._book.sequence.progress,
            self._trade_kind,
            self._last_trade_id,
        )

    def advance(self, to: Progress, *, trade_ids_missing: int, held: Sequence[RawDiff] = ()) -> None:
        """Take it that plain messages were read elsewhere up to here; their rows and counters are the caller's.

        Venue, symbol, state of the book and kind of trades are as before. ``held`` are the diffs that were read, all of
        them, if there is no valid book.
        """
        self._last_local_ns = to.local_ns
        self._last_exch_ns = None if to.exch_ns < 0 else to.exch_ns
        if held:
            self._book.hold(held, to.book_id, to.book_exch_ns)
        elif to.book is BookState.STEADY:
            self._book.sequence.advance(to.book_id, to.book_exch_ns)
        self._last_trade_id = to.trade_id
        self.trade_ids_missing += trade_ids_missing

    def resume(self, venue: str, symbol: str, at: Progress) -> None:
        """Go on in a new parser where an earlier one of the same contract was; its counters begin at nothing.

        Raises
        ------
        InputError
            For a contract that the instrument table lacks, or while a snapshot waits for its first diff (FRESH).
        """
        if at.book is BookState.FRESH:
            raise InputError("a place just behind a snapshot", "one that a diff has followed", "Save a moment later")
        self._contract.resume(venue, symbol, sure=at.futures is not None)
        self._last_local_ns = at.local_ns
        self._last_exch_ns = None if at.exch_ns < 0 else at.exch_ns
        self._book.resume(at.book, at.book_id, at.book_exch_ns)
        self._trade_kind, self._last_trade_id = at.trade_kind, at.trade_id

    def _dispatch(self, local_ns: int, payload: bytes) -> None:
        try:
            message = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise BadRow(NO_JSON) from error
        if not isinstance(message, dict):
            raise BadRow("the message is no JSON object")
        data, stream = message.get("data", message), message.get("stream", "")
        if type(stream) is not str:
            raise BadRow("field 'stream' is no text")
        if not isinstance(data, dict):
            if type(data) is list and stream.startswith("!"):
                self.skipped[stream] += 1  # all symbols at once
                return
            raise BadRow("field 'data' is no JSON object")
        kind = data.get("e")
        handler = self._by_name.get(kind) if type(kind) is str else None
        if handler is None or (kind == "depthUpdate" and stream):
            kind, unused = other_kind(message, data, stream)
            if kind is None:
                self.skipped[unused] += 1
                return
            handler = self._handlers[kind]
        back = local_ns < self._last_local_ns
        if back:
            local_ns = self._last_local_ns
        self._stream = stream
        try:
            handler(data, local_ns)
        except InputError:
            raise
        except KeyError as error:
            raise BadRow(f"{kind}: field {error} is missing") from error
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise BadRow(f"{kind}: a field has the wrong type") from error
        self._last_local_ns = local_ns
        self.messages[kind] += 1
        if back:
            raise BadRow(STEPS_BACK)

    def _time(self, ms: Any, local_ns: int, kind: str, name: str) -> int:
        """Exchange time in ns; ms, or us from a spot stream opened with timeUnit=MICROSECOND."""
        if type(ms) is not int:
            raise BadRow(f"{kind}: field {name!r} is no time")
        exch_ns = ms * MS_NS if ms < _MS_END else ms * 1_000
        if not -_FAR_NS < local_ns - exch_ns < _FAR_NS:
            raise BadRow(f"{kind}: field {name!r} is more than a day from local_ts")
        return exch_ns

    def _time_or_previous(self, data: dict[str, Any], local_ns: int, kind: str) -> int:
        """Exchange time of a message that need not have one; notes it if it has."""
        if "T" in data:
            exch_ns = self._time(data["T"], local_ns, kind, "T")
            self._last_exch_ns = exch_ns
            return exch_ns
        exch_ns = self._last_exch_ns
        if exch_ns is None:
            return 0
        # Nothing else would notice a damaged local_ts, and all later ones would be held at it.
        if not -_FAR_NS < local_ns - exch_ns < _FAR_NS:
            raise BadRow(f"{kind}: local_ts is more than a day from the last exchange time")
        return exch_ns

    def _on_depth(self, data: dict[str, Any], local_ns: int) -> None:
        futures = "T" in data or "pu" in data
        name = "T" if futures else "E"
        exch_ns = self._time(data[name], local_ns, "depthUpdate", name)
        diff = depth_diff(data, exch_ns, futures=futures)
        self._contract.same_market(futures, "depthUpdate")
        self._contract.identify(data["s"], futures, sure=True)
        if self._book.diff(diff, local_ns) is Verdict.DUPLICATE:
            raise BadRow("depthUpdate: duplicate id")
        self._last_exch_ns = exch_ns

    def _on_snapshot(self, data: dict[str, Any], local_ns: int) -> None:
        last_id = data["lastUpdateId"]
        if not is_id(last_id):
            raise BadRow("snapshot: field 'lastUpdateId' is no whole number")
        bid, ask = levels(data["bids"], "snapshot", "bids"), levels(data["asks"], "snapshot", "asks")
        exch_ns = self._time_or_previous(data, local_ns, "snapshot")
        self._book.snapshot(last_id, exch_ns, local_ns, bid, ask, timed="T" in data)

    def _on_lost(self, _: dict[str, Any], local_ns: int) -> None:
        self._book.lose(self._last_exch_ns or 0, local_ns)

    def _on_partial(self, data: dict[str, Any], local_ns: int) -> None:
        spot = "lastUpdateId" in data
        last_id, names = data["lastUpdateId" if spot else "u"], ("bids", "asks") if spot else ("b", "a")
        if not is_id(last_id):
            raise BadRow("partialDepth: its id is no whole number")
        bid, ask = (levels(data[name], "partialDepth", name) for name in names)
        unused = self._book.takes_partial(self._stream)
        if unused is not None:
            self.skipped[unused] += 1
            return
        if last_id < self._book.partial_id():
            raise BadRow("partialDepth: duplicate id")
        self._contract.same_market(not spot, "partialDepth")
        # Spot names the symbol in the stream only.
        symbol = self._stream.partition("@")[0].upper() if spot else data["s"]
        exch_ns = self._time_or_previous(data, local_ns, "partialDepth")
        self._contract.identify(symbol, not spot, sure=True)
        self._book.partial(self._stream, last_id, exch_ns, local_ns, bid, ask)

    def _on_trade(self, data: dict[str, Any], local_ns: int) -> None:
        kind = data["e"]
        exch_ns = self._time(data["T"], local_ns, kind, "T")
        if self._trade_kind not in (None, kind):
            self.skipped[f"{kind} beside {self._trade_kind}"] += 1
            return
        name = "t" if kind == "trade" else "a"
        trade_id = data[name]
        if not is_id(trade_id):
            raise BadRow(f"{kind}: field {name!r} is no whole number")
        if trade_id <= self._last_trade_id:
            raise BadRow(f"{kind}: duplicate id")
        if data.get("X", "MARKET") != "MARKET":
            self.skipped[f"trade of type {str(data['X'])[:40]}"] += 1
            self._note_trade(kind, trade_id)
            return
        qty = number(data["q"], kind, "q", zero=True, end=QTY_END)
        if qty == 0:
            self.skipped["trade of quantity zero"] += 1
            self._note_trade(kind, trade_id)
            return
        px = number(data["p"], kind, "p")
        seller = data["m"]
        if type(seller) is not bool:
            raise BadRow(f"{kind}: field 'm' is neither true nor false")
        # Of the three venues only spot has the field M.
        self._contract.identify(data["s"], "M" not in data, sure=False)
        self._last_exch_ns = exch_ns
        self._note_trade(kind, trade_id)
        self._rows.one(TRADE | (SELL if seller else BUY), exch_ns, local_ns, px, qty)

    def _note_trade(self, kind: str, trade_id: int) -> None:
        if self._trade_kind is not None:
            self.trade_ids_missing += trade_id - self._last_trade_id - 1
        self._trade_kind, self._last_trade_id = kind, trade_id

    def _on_ticker(self, data: dict[str, Any], local_ns: int) -> None:
        bid, ask = number(data["b"], "bookTicker", "b"), number(data["a"], "bookTicker", "a")
        bid_qty = number(data["B"], "bookTicker", "B", zero=True, end=QTY_END)
        ask_qty = number(data["A"], "bookTicker", "A", zero=True, end=QTY_END)
        symbol, futures = data["s"], "T" in data
        exch_ns = self._time_or_previous(data, local_ns, "bookTicker")
        self._contract.identify(symbol, futures, sure=False)
        self._rows.one(DEPTH_BBO | BUY, exch_ns, local_ns, bid, bid_qty)
        self._rows.one(DEPTH_BBO | SELL, exch_ns, local_ns, ask, ask_qty)

    def _on_force_order(self, data: dict[str, Any], local_ns: int) -> None:
        order = data["o"]
        exch_ns = self._time(order["T"], local_ns, "forceOrder", "T")
        # Filled quantity at its average price; an order not yet filled counts with what it asks for.
        filled = number(order["z"], "forceOrder", "z", zero=True, end=QTY_END) if "z" in order else 0.0
        average = number(order["ap"], "forceOrder", "ap", zero=True) if "ap" in order else 0.0
        qty = filled or number(order["q"], "forceOrder", "q", end=QTY_END)
        px = average or number(order["p"], "forceOrder", "p")
        side = {"SELL": SELL, "BUY": BUY}.get(order["S"])
        if side is None:
            raise BadRow("forceOrder: field 'S' is neither SELL nor BUY")
        self._contract.identify(order["s"], True, sure=True)
        self._last_exch_ns = exch_ns
        self._rows.one(LIQUIDATION | side, exch_ns, local_ns, px, qty)

    def _on_mark_price(self, data: dict[str, Any], local_ns: int) -> None:
        # T is the next settlement here, not the time of the message.
        exch_ns = self._time(data["E"], local_ns, "markPriceUpdate", "E")
        px = number(data["p"], "markPriceUpdate", "p")
        rate = float(data["r"] or 0.0)  # empty on delivery contracts
        settlement = data["T"]
        if not isfinite(rate) or type(settlement) is not int or not 0 <= settlement < _SETTLEMENT_END_MS:
            raise BadRow("markPriceUpdate: field 'r' is no number or 'T' no time")
        self._contract.identify(data["s"], True, sure=True)
        self._last_exch_ns = exch_ns
        self._rows.one(FUNDING, exch_ns, local_ns, px, 0.0)
        self._rows.extra(settlement * MS_NS, rate)
