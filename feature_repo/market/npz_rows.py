"""Rows of hftbacktest's arrays to rows of a tape."""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path
from typing import Any

import numpy as np

from ..constants import SECOND_NS
from ..events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    FUNDING,
    KIND_MASK,
    KIND_NAMES,
    LOCAL,
    SELL,
    TRADE,
)
from ..instruments import known_instruments
from .stream import BadRows

__all__ = ["NpzRows"]

_INDEX, _MARK, _RATE, _BEST_BID, _BEST_ASK = 100, 101, 102, 103, 104
"""What hftbacktest's converter of Binance futures writes under opt 'm' and 't'."""
_ORDERS = {10: "add order", 11: "cancel order", 12: "modify order", 13: "fill"}
_KNOWN = (DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_BBO)
_SIDED = (DEPTH, TRADE, DEPTH_SNAPSHOT, DEPTH_BBO)
_SIDES = BUY | SELL
_FAR_NS = 86_400 * SECOND_NS
_HOUR_NS = 3_600 * SECOND_NS
_WAITING = 1 << 17  # exchange-only rows that are kept for their local twin


class NpzRows:
    """Turns pieces of an array into EVENT_DTYPE rows, in order; the state between them is kept here.

    - A row that only the exchange's side of a replay sees is dropped: its twin for the local side is the tape's row. In
      the old layout (and what ``migration2`` makes of it) the twin lacks the exchange time; it is found again in the
      exchange's row of the same kind, side, price and quantity that waits longest. Without one, the time of the row
      before it holds.
    - DEPTH_CLEAR clears whole sides, as everywhere in a tape: px becomes 0. hftbacktest clears through a price, so that
      levels beyond a snapshot's last one stay; nobody knows whether they are still there. Without a side it is two
      rows.
    - Converter codes 103 and 104 are best bid and ask. 101 (mark price) and 102 (rate) of one message are a FUNDING
      row. Their exch_ts is the next settlement (the converter takes the message's T), and becomes ival; the exchange
      time is that of the row before. 100 (index price) and orders of a market-by-order feed are skipped by name.
    - Unusable rows are counted in ``bad`` and dropped, but one whose local time goes back is held at the latest.

    Attributes
    ----------
    untimed : rows without a time (an initial snapshot) that wait for the first row that has one
    last_local_ns, last_exch_ns : latest local time given, and latest exchange time known; 0 before
    """

    def __init__(self, venue: str, symbol: str, bad: BadRows) -> None:
        self.untimed: list[np.ndarray] = []
        self.last_local_ns = self.last_exch_ns = 0
        self._bad = bad
        self._path = Path()
        self._row = 0
        self._given: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._exchange_only = self._recovered = self._backwards = 0
        self._twins: dict[tuple[int, float, float], deque[int]] = {}
        self._waiting = 0
        self._mark: tuple[int, int, float] | None = None
        facts = known_instruments().get((venue, symbol))
        self._settle_ns = (facts.funding_interval_h if facts is not None and facts.funding_interval_h else 1) * _HOUR_NS

    def begin(self, path: Path) -> None:
        """The next rows are those of another file."""
        self._path, self._row = path, 0

    def facts(self) -> dict[str, Any]:
        """Counts for the manifest."""
        return {
            "messages": dict(self._given),
            "skipped": dict(self._skipped),
            "exchange_only_rows": self._exchange_only,
            "exchange_times_recovered": self._recovered,
            "local_backwards": self._backwards,
        }

    def gap(self, kind: int, first_ns: int) -> np.ndarray:
        """A row of ``kind`` at ``first_ns`` that says that messages are missing."""
        out = np.zeros(1, EVENT_DTYPE)
        self.last_local_ns = max(self.last_local_ns, first_ns)
        out["ev"], out["exch_ts"], out["local_ts"] = kind, self.last_exch_ns, self.last_local_ns
        return out

    def take(self, part: np.ndarray, unit_ns: int) -> np.ndarray:
        """EVENT_DTYPE [m], m >= 0, of one piece: structured [n], or float64 [n, 6] of the old layout."""
        rows, sound = _columns(part, unit_ns)
        number = self._row + np.arange(1, len(rows) + 1)
        self._row += len(rows)
        kind = (rows["ev"] & np.uint64(KIND_MASK)).astype(np.int64)
        seen = rows["ev"] & np.uint64(LOCAL) != 0
        twin = ~seen & (rows["ev"] & np.uint64(EXCH) != 0) & sound
        self._exchange_only += int(np.count_nonzero(twin))
        blank = (kind == DEPTH_SNAPSHOT) | (kind == DEPTH_CLEAR)
        blank &= (rows["local_ts"] == 0) & (rows["exch_ts"] == 0) & (self.last_local_ns == 0)
        blank &= ~np.logical_or.accumulate(rows["local_ts"] > 0)
        keep = self._judge(rows, kind, number, judged=~twin, seen=seen | blank, blank=blank, sound=sound)
        lost = keep & (rows["exch_ts"] <= 0) & ~blank
        if lost.any() or np.any(rows["local_ts"][twin] <= 0):
            self._recover(rows, twin & (rows["exch_ts"] > 0) & (rows["local_ts"] <= 0), lost)
        if blank.any():
            self.untimed.append(rows[keep & blank])
            keep &= ~blank
        for code in (_INDEX, *_ORDERS):
            n = int(np.count_nonzero(keep & (kind == code)))
            if n:
                self._skipped["index price" if code == _INDEX else f"{_ORDERS[code]} (market by order)"] += n
        keep &= np.isin(kind, (*_KNOWN, _MARK, _RATE, _BEST_BID, _BEST_ASK))
        rows, kind, number = rows[keep], kind[keep], number[keep]
        if not len(rows):
            return rows
        self._hold(rows, kind, number)
        out = self._tape_rows(rows, kind)
        if self.untimed and len(out):
            out = np.concatenate((self._initial(out), out))
        for code, n in zip(*np.unique(out["ev"] & np.uint64(KIND_MASK), return_counts=True), strict=True):
            self._given[KIND_NAMES[int(code)]] += int(n)
        return out

    def _judge(
        self,
        rows: np.ndarray,
        kind: np.ndarray,
        number: np.ndarray,
        *,
        judged: np.ndarray,
        seen: np.ndarray,
        blank: np.ndarray,
        sound: np.ndarray,
    ) -> np.ndarray:
        """Which of the ``judged`` rows can be used; counts the others by the first reason that holds."""
        ok = judged.copy()
        found: list[tuple[int, int, str]] = []

        def refuse(wrong: np.ndarray, reason: str) -> None:
            wrong = ok & wrong
            if wrong.any():
                found.append((int(number[np.argmax(wrong)]), int(np.count_nonzero(wrong)), reason))
                ok[wrong] = False

        px, qty, sides = rows["px"], rows["qty"], rows["ev"] & np.uint64(_SIDES)
        refuse(~sound, "a field is no finite number")
        for code in np.unique(kind[ok]).tolist():
            if code not in _KNOWN and code not in _ORDERS and not _INDEX <= code <= _BEST_ASK:
                refuse(kind == code, f"unknown kind {code}")
        refuse(~seen, "neither the local nor the exchange side sees it")
        refuse((rows["local_ts"] <= 0) & ~blank, "field 'local_ts' is no time")
        delay = rows["local_ts"] - rows["exch_ts"]
        apart = (rows["exch_ts"] > 0) & ((delay <= -_FAR_NS) | (delay >= _FAR_NS))
        refuse(apart, "field 'exch_ts' is more than a day from local_ts")
        for code in (*_KNOWN, _BEST_BID, _BEST_ASK):
            this = kind == code
            if not this.any():
                continue
            name = KIND_NAMES.get(code, "best_quote")
            if code in _SIDED:
                refuse(this & ((sides == 0) | (sides == np.uint64(_SIDES))), f"{name}: no side")
            if code != DEPTH_CLEAR:
                refuse(this & ~((px > 0) & np.isfinite(px)), f"{name}: field 'px' is no positive number")
                least = qty > 0 if code == TRADE else qty >= 0
                refuse(this & ~(least & np.isfinite(qty)), f"{name}: field 'qty' is no {_quantity(code)}")
        refuse((kind == _MARK) & ~((px > 0) & np.isfinite(px)), "mark price: field 'px' is no positive number")
        refuse((kind == _RATE) & ~np.isfinite(px), "funding rate: field 'px' is no number")
        for row, n, reason in sorted(found):
            self._bad.add(self._path, row, reason, n)
        return ok

    def _recover(self, rows: np.ndarray, twin: np.ndarray, lost: np.ndarray) -> None:
        """Give local-only rows the exchange time of their exchange-only twin, first come, first served."""
        at = np.flatnonzero(twin | lost)
        part = rows[at]
        # NaN (a clear without a price) equals nothing, not even itself.
        px, qty = np.nan_to_num(part["px"]).tolist(), np.nan_to_num(part["qty"]).tolist()
        sides = (part["ev"] & np.uint64(KIND_MASK | _SIDES)).tolist()
        exch = part["exch_ts"].tolist()
        for i, (key, waits) in enumerate(zip(zip(sides, px, qty, strict=True), twin[at].tolist(), strict=True)):
            if waits:
                if self._waiting >= _WAITING:
                    self._twins.clear()
                    self._waiting = 0
                self._twins.setdefault(key, deque()).append(exch[i])
                self._waiting += 1
            elif key in self._twins:
                exch[i] = self._twins[key].popleft()
                self._recovered += 1
                self._waiting -= 1
                if not self._twins[key]:
                    del self._twins[key]
        rows["exch_ts"][at] = exch

    def _hold(self, rows: np.ndarray, kind: np.ndarray, number: np.ndarray) -> None:
        """Local times that never fall, and an exchange time for each row."""
        local = np.maximum(np.maximum.accumulate(rows["local_ts"]), self.last_local_ns)
        back = rows["local_ts"] < local
        if back.any():
            n = int(np.count_nonzero(back))
            self._backwards += n
            self._bad.add(self._path, int(number[np.argmax(back)]), "local time steps back", n)
        rows["local_ts"] = local
        self.last_local_ns = int(local[-1])
        # Of the custom kinds mark price and rate, exch_ts is the settlement.
        known = (rows["exch_ts"] > 0) & (kind != _MARK) & (kind != _RATE)
        at = np.maximum.accumulate(np.where(known, np.arange(len(rows)), -1))
        latest = np.where(at >= 0, rows["exch_ts"][np.maximum(at, 0)], self.last_exch_ns)
        # Kept for `_tape_rows`: what a funding row says of its settlement.
        rows["ival"] = np.where(known, 0, rows["exch_ts"])
        rows["exch_ts"] = latest
        self.last_exch_ns = int(latest[-1])

    def _tape_rows(self, rows: np.ndarray, kind: np.ndarray) -> np.ndarray:
        settlement = rows["ival"].copy()
        rows["ival"] = 0
        sides = rows["ev"] & np.uint64(_SIDES)
        sides[kind == _BEST_BID], sides[kind == _BEST_ASK] = BUY, SELL
        kind = np.where((kind == _BEST_BID) | (kind == _BEST_ASK), DEPTH_BBO, kind)
        rows["ev"] = kind.astype(np.uint64) | sides | np.uint64(LOCAL | EXCH)
        clear = kind == DEPTH_CLEAR
        rows["px"][clear] = rows["qty"][clear] = 0.0
        keep = np.ones(len(rows), bool)
        for i in np.flatnonzero((kind == _MARK) | (kind == _RATE)).tolist():
            keep[i] = self._funding(rows, i, int(kind[i]), int(settlement[i]))
        both = clear & ((sides == 0) | (sides == np.uint64(_SIDES)))
        if both.any():
            times = np.where(both, 2, 1)
            second = np.cumsum(times)[both] - 1
            rows, keep = np.repeat(rows, times), np.repeat(keep, times)
            rows["ev"][second - 1] = DEPTH_CLEAR | BUY | LOCAL | EXCH
            rows["ev"][second] = DEPTH_CLEAR | SELL | LOCAL | EXCH
        return rows if keep.all() else rows[keep]

    def _funding(self, rows: np.ndarray, i: int, kind: int, settlement: int) -> bool:
        """Make the rate's row the FUNDING row of its message; whether row ``i`` stays."""
        local_ns, px = int(rows["local_ts"][i]), float(rows["px"][i])
        if kind == _MARK:
            if self._mark is not None:
                self._skipped["mark price without a funding rate"] += 1
            self._mark = (local_ns, settlement, px)
            return False
        mark, self._mark = self._mark, None
        if mark is None or mark[:2] != (local_ns, settlement):
            self._skipped["funding rate without a mark price"] += 1
            self._skipped["mark price without a funding rate"] += mark is not None
            return False
        if settlement % _HOUR_NS:
            # Somebody corrected the array: a time of its own, from which the next settlement follows.
            settlement = -(-settlement // self._settle_ns) * self._settle_ns
        rows["ev"][i], rows["px"][i], rows["qty"][i] = FUNDING, mark[2], 0.0
        rows["ival"][i], rows["fval"][i] = settlement, px
        return True

    def _initial(self, following: np.ndarray) -> np.ndarray:
        """The rows without a time, as a message just before ``following``."""
        rows = np.concatenate(self.untimed)
        self.untimed = []
        kind = (rows["ev"] & np.uint64(KIND_MASK)).astype(np.int64)
        rows = rows[kind == DEPTH_SNAPSHOT]
        out = np.zeros(len(rows) + 2, EVENT_DTYPE)
        out[2:] = rows
        out["ev"][:2] = DEPTH_CLEAR | BUY, DEPTH_CLEAR | SELL
        out["ev"] |= np.uint64(LOCAL | EXCH)
        out["local_ts"] = following["local_ts"][0]
        timed = following["exch_ts"][following["exch_ts"] > 0]
        out["exch_ts"] = timed.min() if len(timed) else 0
        return out


def _quantity(kind: int) -> str:
    return "positive number" if kind == TRADE else "number from 0 up"


def _flag(where: np.ndarray, flag: int) -> np.ndarray:
    return np.where(where, np.uint64(flag), np.uint64(0))


def _columns(part: np.ndarray, unit_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """The piece as EVENT_DTYPE [n] with times in ns, and which rows have a kind, side and times at all."""
    rows = np.zeros(len(part), EVENT_DTYPE)
    if part.dtype.names:
        for name in ("ev", "exch_ts", "local_ts", "px", "qty"):
            rows[name] = part[name]
        rows["exch_ts"] *= unit_ns
        rows["local_ts"] *= unit_ns
        return rows, np.ones(len(part), bool)
    with np.errstate(invalid="ignore"):
        sound = np.isfinite(part[:, :4]).all(axis=1) & (np.abs(part[:, :4]) < 2.0**62 / unit_ns).all(axis=1)
        sound &= part[:, 0] >= 0
        whole = np.where(sound[:, None], part[:, :4], 0.0)
    ev = whole[:, 0].astype(np.uint64)
    ev |= _flag(whole[:, 3] == 1, BUY) | _flag(whole[:, 3] == -1, SELL)
    # Times in whole units first: their product with 1,000 would no longer be exact in float64.
    exch, local = whole[:, 1].astype(np.int64), whole[:, 2].astype(np.int64)
    rows["ev"] = (
        ev | np.where(exch > 0, np.uint64(EXCH), np.uint64(0)) | np.where(local > 0, np.uint64(LOCAL), np.uint64(0))
    )
    rows["exch_ts"], rows["local_ts"] = exch * unit_ns, local * unit_ns
    rows["px"], rows["qty"] = part[:, 4], part[:, 5]
    return rows, sound
