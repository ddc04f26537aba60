"""Binance market data messages to tape rows: one parser for the live websocket and for its recording on disk.

Spot, USD-M and COIN-M. Channels: depthUpdate, trade, aggTrade, bookTicker, forceOrder, markPriceUpdate and the bare
REST depth snapshot. Reference: Binance API documentation, websocket market streams of the three venues.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np
import orjson

from ..constants import BASE_LATENCY_NS, MS_NS
from ..errors import InputError
from ..events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    FUNDING,
    GAP,
    LIQUIDATION,
    SELL,
    TRADE,
)
from ..instruments import instrument
from .checks import BadRow, levels, number
from .rows import EventRows
from .sequence import BookSequence, DepthDiff, Verdict

__all__ = ["NO_JSON", "BinanceParser"]

NO_JSON = "the message is no JSON"

_COINM = re.compile(r"USD_(PERP|\d{6})$")
_PARTIAL = re.compile(r"@depth(5|10|20)(@|$)")
_FAR_NS = 86_400_000 * MS_NS
_MS_END = 10**14  # a larger time is in us


class BinanceParser:
    """Messages of one contract, in the order received, to EVENT_DTYPE rows.

    The venue and symbol are read off the messages. Rows keep the order of local time: a local clock that steps back is
    held at the latest time seen. Exchange time is the matching engine's (T) where the message has one, else the sending
    time (E). A message without any (spot bookTicker, spot snapshot) takes the exchange time of the message before it,
    and before the first one local time less the base latency.

    Not market data, skipped and counted by name: trades of quantity zero, USD-M trades that are no MARKET trades
    (insurance fund, ADL), partial depth streams (they are no diffs), aggTrade beside trade or the other way round
    (the first seen counts, or volume would count twice), acknowledgements, and every stream not named above.

    A message that cannot be used gives no rows and is counted in ``bad_rows``. A bad depthUpdate therefore shows as a
    gap at the next one.

    Attributes
    ----------
    venue, symbol : None until known
    messages : messages of each kind that could be read
    skipped, bad_rows : what was left out, by reason
    depth : what became of diffs and snapshots: depth_before_snapshot, depth_after_gap (held without a valid book),
        depth_replayed (held, then applied after a snapshot), depth_stale, snapshots, snapshots_redundant
    local_backwards : messages whose local time was before that of an earlier one
    exch_ns : exchange time of the latest message, None if it had none; what a ClockOffset is fed with
    rows_before_time : rows that were written before any message had an exchange time
    """

    def __init__(self) -> None:
        self.venue: str | None = None
        self.symbol: str | None = None
        self.messages: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.bad_rows: Counter[str] = Counter()
        self.depth: Counter[str] = Counter()
        self.local_backwards = 0
        self.exch_ns: int | None = None
        self.rows_before_time = 0
        self._rows = EventRows()
        self._sequence = BookSequence()
        self._seen_snapshot = False
        self._last_local_ns = 0
        self._last_exch_ns: int | None = None
        self._trade_kind: str | None = None
        self._sure = False
        self._handlers: dict[str, Callable[[dict[str, Any], int], None]] = {
            "depthUpdate": self._on_depth,
            "trade": self._on_trade,
            "aggTrade": self._on_trade,
            "bookTicker": self._on_ticker,
            "forceOrder": self._on_force_order,
            "markPriceUpdate": self._on_mark_price,
        }

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
            For a symbol that the instrument table lacks, or a second symbol.
        """
        self.parse(local_ts_ns, payload)
        return self.take()

    def take(self) -> np.ndarray:
        """All rows since the last call, EVENT_DTYPE [n]."""
        return self._rows.take()

    def parse(self, local_ts_ns: int, payload: bytes) -> str | None:
        """As ``feed``, but the rows wait for ``take``; returns the reason if the message is bad."""
        self.exch_ns = None
        try:
            self._dispatch(local_ts_ns, payload)
        except BadRow as bad:
            self.bad_rows[str(bad)] += 1
            return str(bad)
        return None

    def _dispatch(self, local_ns: int, payload: bytes) -> None:
        try:
            message = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise BadRow(NO_JSON) from error
        if not isinstance(message, dict):
            raise BadRow("the message is no JSON object")
        data = message.get("data", message)
        if not isinstance(data, dict):
            raise BadRow("field 'data' is no JSON object")
        kind = data.get("e")
        if kind is None:
            if "stream" not in message and "lastUpdateId" in data:
                kind = "snapshot"
            elif "B" in data and "A" in data:
                kind = "bookTicker"  # of spot, which names no event
            else:
                self.skipped["control or unnamed message"] += 1
                return
        if not isinstance(kind, str):
            raise BadRow("field 'e' is no text")
        handler = self._on_snapshot if kind == "snapshot" else self._handlers.get(kind)
        if handler is None:
            self.skipped[str(kind)] += 1
            return
        if kind == "depthUpdate" and _PARTIAL.search(str(message.get("stream", ""))):
            self.skipped["partial depth stream"] += 1
            return
        if local_ns < self._last_local_ns:
            self.local_backwards += 1
            local_ns = self._last_local_ns
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
        if self._last_exch_ns is None:
            self.rows_before_time = len(self._rows)

    def _identify(self, symbol: str, futures: bool, *, sure: bool) -> None:
        """Take symbol and venue from the first messages that tell them; refuse any other.

        Depth, liquidations and mark prices are ``sure`` of the venue. Trades and tickers only hint at it, and give way.
        """
        if symbol != self.symbol:
            if self.symbol is not None:
                raise InputError(
                    f"field 's' is {symbol!r} after {self.symbol!r}", "one symbol a recording", "Split it by symbol"
                )
            if not isinstance(symbol, str):
                raise BadRow("field 's' is no text")
            self.symbol = symbol
        if self._sure or (self.venue is not None and not sure):
            return
        self._sure = sure
        self.venue = ("binance_coinm" if _COINM.search(symbol) else "binance_usdm") if futures else "binance_spot"
        if sure:
            instrument(self.venue, symbol)

    def _time(self, ms: Any, local_ns: int, kind: str, name: str) -> int:
        """Exchange time in ns; ms, or us from a spot stream opened with timeUnit=MICROSECOND."""
        if type(ms) is not int:
            raise BadRow(f"{kind}: field {name!r} is no time")
        exch_ns = ms * MS_NS if ms < _MS_END else ms * 1_000
        if not -_FAR_NS < local_ns - exch_ns < _FAR_NS:
            raise BadRow(f"{kind}: field {name!r} is more than a day from local_ts")
        return exch_ns

    def _note_time(self, exch_ns: int) -> None:
        self.exch_ns = self._last_exch_ns = exch_ns

    def _time_or_previous(self, local_ns: int) -> int:
        return local_ns - BASE_LATENCY_NS if self._last_exch_ns is None else self._last_exch_ns

    def _on_depth(self, data: dict[str, Any], local_ns: int) -> None:
        futures = "T" in data or "pu" in data
        name = "T" if futures else "E"
        exch_ns = self._time(data[name], local_ns, "depthUpdate", name)
        first_id, final_id, previous = data["U"], data["u"], data["pu"] if futures else None
        if type(first_id) is not int or type(final_id) is not int or (futures and type(previous) is not int):
            raise BadRow("depthUpdate: field 'U', 'u' or 'pu' is no whole number")
        bid_px, bid_qty = levels(data["b"], "depthUpdate", "b")
        ask_px, ask_qty = levels(data["a"], "depthUpdate", "a")
        if self._sure and futures != (self.venue != "binance_spot"):
            raise BadRow(f"depthUpdate: field 'pu' {'in a spot' if futures else 'is missing in a futures'} recording")
        self._identify(data["s"], futures, sure=True)
        self._note_time(exch_ns)
        diff = DepthDiff(exch_ns, first_id, final_id, previous, bid_px, bid_qty, ask_px, ask_qty)
        self._apply(diff, local_ns)

    def _apply(self, diff: DepthDiff, local_ns: int) -> Verdict:
        verdict = self._sequence.judge(diff)
        if verdict is Verdict.APPLY:
            self._rows.run(DEPTH | BUY, diff.exch_ns, local_ns, diff.bid_px, diff.bid_qty)
            self._rows.run(DEPTH | SELL, diff.exch_ns, local_ns, diff.ask_px, diff.ask_qty)
        elif verdict is Verdict.STALE:
            self.depth["depth_stale"] += 1
        elif verdict is Verdict.BREAK:
            self._rows.one(GAP, diff.exch_ns, local_ns, 0.0, 0.0)
            self.depth["depth_after_gap"] += 1
        else:
            self.depth["depth_after_gap" if self._seen_snapshot else "depth_before_snapshot"] += 1
        return verdict

    def _on_snapshot(self, data: dict[str, Any], local_ns: int) -> None:
        last_id = data["lastUpdateId"]
        if type(last_id) is not int:
            raise BadRow("snapshot: field 'lastUpdateId' is no whole number")
        bid_px, bid_qty = levels(data["bids"], "snapshot", "bids")
        ask_px, ask_qty = levels(data["asks"], "snapshot", "asks")
        timed = "T" in data
        exch_ns = self._time(data["T"], local_ns, "snapshot", "T") if timed else self._time_or_previous(local_ns)
        held = self._sequence.snapshot(last_id)
        if held is None:
            self.depth["snapshots_redundant"] += 1
            return
        if timed:
            self._note_time(exch_ns)
        elif held:
            # The exchange side of a replay must not see the snapshot after a diff that continues it.
            newer = [d.exch_ns for d in held if d.final_id >= last_id]
            exch_ns = min([exch_ns, *newer])
        self._seen_snapshot = True
        self.depth["snapshots"] += 1
        self._rows.one(DEPTH_CLEAR | BUY, exch_ns, local_ns, 0.0, 0.0)
        self._rows.one(DEPTH_CLEAR | SELL, exch_ns, local_ns, 0.0, 0.0)
        self._rows.run(DEPTH_SNAPSHOT | BUY, exch_ns, local_ns, bid_px, bid_qty)
        self._rows.run(DEPTH_SNAPSHOT | SELL, exch_ns, local_ns, ask_px, ask_qty)
        for diff in held:
            if self._apply(diff, local_ns) is Verdict.APPLY:
                self.depth["depth_replayed"] += 1

    def _on_trade(self, data: dict[str, Any], local_ns: int) -> None:
        kind = data["e"]
        exch_ns = self._time(data["T"], local_ns, kind, "T")
        if self._trade_kind not in (None, kind):
            self.skipped[f"{kind} beside {self._trade_kind}"] += 1
            return
        if data.get("X", "MARKET") != "MARKET":
            self.skipped[f"trade of type {data['X']}"] += 1
            return
        qty = number(data["q"], kind, "q", zero=True)
        if qty == 0:
            self.skipped["trade of quantity zero"] += 1
            return
        px = number(data["p"], kind, "p")
        seller = data["m"]
        if type(seller) is not bool:
            raise BadRow(f"{kind}: field 'm' is neither true nor false")
        self._trade_kind = kind
        # Of the three venues only spot has the field M.
        self._identify(data["s"], "M" not in data, sure=False)
        self._note_time(exch_ns)
        self._rows.one(TRADE | (SELL if seller else BUY), exch_ns, local_ns, px, qty)

    def _on_ticker(self, data: dict[str, Any], local_ns: int) -> None:
        timed = "T" in data
        exch_ns = self._time(data["T"], local_ns, "bookTicker", "T") if timed else self._time_or_previous(local_ns)
        bid, ask = number(data["b"], "bookTicker", "b"), number(data["a"], "bookTicker", "a")
        bid_qty = number(data["B"], "bookTicker", "B", zero=True)
        ask_qty = number(data["A"], "bookTicker", "A", zero=True)
        self._identify(data["s"], timed, sure=False)
        if timed:
            self._note_time(exch_ns)
        self._rows.one(DEPTH_BBO | BUY, exch_ns, local_ns, bid, bid_qty)
        self._rows.one(DEPTH_BBO | SELL, exch_ns, local_ns, ask, ask_qty)

    def _on_force_order(self, data: dict[str, Any], local_ns: int) -> None:
        order = data["o"]
        exch_ns = self._time(order["T"], local_ns, "forceOrder", "T")
        # Filled quantity at its average price; an order not yet filled counts with what it asks for.
        filled = number(order["z"], "forceOrder", "z", zero=True) if "z" in order else 0.0
        average = number(order["ap"], "forceOrder", "ap", zero=True) if "ap" in order else 0.0
        qty = filled or number(order["q"], "forceOrder", "q")
        px = average or number(order["p"], "forceOrder", "p")
        side = {"SELL": SELL, "BUY": BUY}.get(order["S"])
        if side is None:
            raise BadRow("forceOrder: field 'S' is neither SELL nor BUY")
        self._identify(order["s"], True, sure=True)
        self._note_time(exch_ns)
        self._rows.one(LIQUIDATION | side, exch_ns, local_ns, px, qty)

    def _on_mark_price(self, data: dict[str, Any], local_ns: int) -> None:
        # T is the next settlement here, not the time of the message.
        exch_ns = self._time(data["E"], local_ns, "markPriceUpdate", "E")
        px = number(data["p"], "markPriceUpdate", "p")
        rate = float(data["r"] or 0.0)  # empty on delivery contracts
        settlement = data["T"]
        if not isfinite(rate) or type(settlement) is not int or not 0 <= settlement < _MS_END:
            raise BadRow("markPriceUpdate: field 'r' is no number or 'T' no time")
        self._identify(data["s"], True, sure=True)
        self._note_time(exch_ns)
        self._rows.one(FUNDING, exch_ns, local_ns, px, 0.0)
        self._rows.extra(settlement * MS_NS, rate)
