"""A second opinion on recordings: made-up sessions, damage to them, and a dict book by the documented rule."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection

import numpy as np

from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, KIND_MASK

from .binance_messages import MS, T0

__all__ = ["SYMBOLS", "DictBook", "RowBook", "damage", "session"]

SYMBOLS = {"usdm": "ETHUSDT", "coinm": "ETHUSD_PERP", "spot": "NEXOUSDT"}
START = T0 * MS + 10 * MS


def session(
    rng: random.Random,
    venue: str,
    n: int,
    *,
    wrap: bool = True,
    blanks: bool = False,
    snapshots: Collection[int] | None = None,
    gaps: float = 0.0,
) -> list[bytes]:
    """Lines of a recording without damage; local_ts has 19 digits.

    ``snapshots``: before which messages one comes, as old as the request for it; otherwise a new one among the first.
    ``gaps``: share of diffs before which others were lost.
    """
    spot, symbol = venue == "spot", SYMBOLS[venue]
    extra = {"ps": "ETHUSD"} if venue == "coinm" else {}
    u, trade_id, t, trades = rng.randrange(10**3, 10**13), rng.randrange(10**9), T0, rng.choice(["trade", "aggTrade"])
    first = u + 1
    lines, separators = [], None if blanks else (",", ":")

    def px():
        return f"{3400 + rng.randrange(-300, 300) / 100:.{rng.choice([2, 2, 8])}f}"

    def qty(zero=0.3):
        return "0.000" if rng.random() < zero else f"{rng.randrange(1, 10**6) / 1000:.3f}"

    def side():
        return [[px(), qty()] for _ in range(rng.randrange(0, 5))]

    def put(stream, data):
        message = data if stream is None or not wrap else {"stream": f"{symbol.lower()}@{stream}", "data": data}
        lines.append(f"{START + (t - T0) * MS + len(lines)} {json.dumps(message, separators=separators)}".encode())

    at = {rng.randrange(0, 6)} if snapshots is None else {*snapshots}
    for k in range(n):
        t += rng.randrange(0, 40)
        if k in at:
            age = 0 if snapshots is None else rng.randrange(30)
            whole = {"lastUpdateId": u - age, "bids": side(), "asks": side()}
            put(None, whole if spot else {**whole, "E": t, "T": t})
        what = rng.random()
        if what < 0.45:
            u += rng.randrange(1, 99) if rng.random() < gaps else 0
            last, u = u, u + rng.randrange(1, 9)
            ids = {"U": last + 1, "u": u} if spot else {"U": last + rng.randrange(1, u - last + 1), "u": u, "pu": last}
            times = {"E": t} if spot else {"E": t, "T": t - rng.randrange(3)}
            put("depth@100ms", {"e": "depthUpdate", **times, "s": symbol, **extra, **ids, "b": side(), "a": side()})
        elif what < 0.65:
            data = {"u": u, "s": symbol, **extra, "b": px(), "B": qty(0), "a": px(), "A": qty(0)}
            put("bookTicker", data if spot else {"e": "bookTicker", **data, "T": t, "E": t})
        elif what < 0.93:
            trade_id += 1 + (rng.random() < 0.05)
            ids = {"t": trade_id} if trades == "trade" else {"a": trade_id, "f": 1, "l": 2}
            tail = {"m": rng.random() < 0.5, "M": True} if spot else {"X": "MARKET", "m": rng.random() < 0.5}
            data = {"e": trades, "E": t, "s": symbol, **ids, "p": px(), "q": qty(0.02), "T": t, **tail}
            put(trades, data)
            if rng.random() < 0.1:
                other = "trade" if trades == "aggTrade" else "aggTrade"
                put(other, {**data, "e": other, "t": trade_id, "a": trade_id})
        elif what < 0.96 and not spot:
            put("markPrice@1s", {"e": "markPriceUpdate", "E": t, "s": symbol, "p": px(), "r": "0.0001", "T": t + 10**6})
        elif what < 0.98 and not spot:
            order = {"s": symbol, "S": rng.choice(["SELL", "BUY"]), "p": px(), "ap": px(), "q": "5", "z": "4", "T": t}
            put("forceOrder", {"e": "forceOrder", "E": t, "o": order})
        else:
            put("kline_1m", {"e": "kline", "E": t, "s": symbol})
    assert first <= u + 1
    return lines


def damage(rng: random.Random, lines: list[bytes], times: int) -> list[bytes]:
    """Flip, cut, drop, repeat, swap, retime: what happens to files and networks."""
    lines = list(lines)
    for _ in range(times):
        k = rng.randrange(len(lines))
        line = lines[k]
        what = rng.randrange(9)
        at = rng.randrange(len(line)) if line else 0
        if what == 0 and line:
            lines[k] = line[:at] + bytes([rng.randrange(256)]).replace(b"\n", b" ") + line[at + 1 :]
        elif what == 1 and line:
            lines[k] = line[:at] + line[at + rng.randrange(1, 6) :]
        elif what == 2:
            lines[k] = line[:at]
        elif what == 3 and len(lines) > 2:
            del lines[k]
        elif what == 4:
            lines.insert(min(len(lines), k + rng.randrange(1, 4)), line)
        elif what == 5 and k:
            lines[k - 1], lines[k] = lines[k], lines[k - 1]
        elif what == 6:
            numbers = [*re.finditer(rb"\d+", line)]
            if numbers:
                spot = rng.choice(numbers)
                new = str(rng.choice([0, 1, 10**15, 10**17 + 1, 2**63, 2**64, 10**19 - 1, rng.randrange(10**14)]))
                lines[k] = line[: spot.start()] + new.encode() + line[spot.end() :]
        elif what == 7:
            odd = [b"", b" ", b"{}", b"1 {}", b'"', b"\\", b"-", b"e5", b"\xff", b"\r", b"null", b",", b"]", b"}"]
            lines[k] = line[:at] + rng.choice(odd) + line[at:]
        else:
            digit = [m.start() for m in re.finditer(rb"\d", line)]
            if digit:
                at = rng.choice(digit)
                lines[k] = line[:at] + str(rng.randrange(10)).encode() + line[at + 1 :]
    return lines


class RowBook:
    """The book that tape rows make."""

    def __init__(self) -> None:
        self.valid = False
        self.sides: dict[str, dict[float, float]] = {"b": {}, "a": {}}

    def take(self, rows: np.ndarray) -> None:
        for row in rows:
            kind, side = int(row["ev"]) & KIND_MASK, "b" if int(row["ev"]) & BUY else "a"
            if kind == GAP:
                self.valid = False
            elif kind == DEPTH_CLEAR:
                self.sides[side], self.valid = {}, True
            elif kind in (DEPTH, DEPTH_SNAPSHOT):
                assert self.valid, "a depth row without a book"
                _set(self.sides[side], float(row["px"]), float(row["qty"]))


class DictBook:
    """The book by the rule in the documentation, from the lines themselves; written without a look at the parser.

    A diff that cannot be read is as good as lost.
    """

    def __init__(self, venue: str, digits: int = 19) -> None:
        self.spot, self.symbol, self.digits = venue == "spot", SYMBOLS[venue], digits
        self.valid, self.fresh, self.last, self.last_ms = False, False, -1, 0
        self.sides: dict[str, dict[float, float]] = {"b": {}, "a": {}}
        self.waiting: list[dict] = []
        self.local_ns, self.exch_ns = 0, -1

    def take(self, line: bytes) -> None:
        message, local_ns = self._read(line)
        if message is None:
            return
        held = max(local_ns, self.local_ns)  # what a reader thinks the time is
        data = message.get("data", message)
        stream = message.get("stream", "")
        depth = (
            data.get("e") == "depthUpdate"
            and "rpiDepth" not in stream
            and not re.search(r"@depth(5|10|20)(@|$)", stream)
        )
        if "lastUpdateId" in data and "e" not in data:
            taken = self._snapshot(data, held)
        else:
            taken = depth and self._usable(data, held) and self._diff(data)
        if taken:
            self.local_ns = held

    def note(self, local_ns: int, exch_ns: int = -1) -> None:
        """What the reader knows of both clocks; other messages move them too."""
        self.local_ns, self.exch_ns = max(self.local_ns, local_ns), exch_ns

    def _read(self, line):
        head, _, body = line.partition(b" ")
        if not re.fullmatch(rb"[1-9]\d{%d}" % (self.digits - 1), head) or int(head) >= 2**62:
            return None, 0
        try:
            message = json.loads(body.decode(), parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError):
            return None, 0
        if not isinstance(message, dict) or not isinstance(message.get("data", message), dict):
            return None, 0
        return (message, int(head)) if isinstance(message.get("stream", ""), str) else (None, 0)

    @staticmethod
    def _good(pairs):
        def decimal(x, low):
            return isinstance(x, str) and re.fullmatch(r"[0-9.eE+-]+", x) and _number(x) is not None and low(_number(x))

        return isinstance(pairs, list) and all(
            isinstance(p, list)
            and len(p) == 2
            and decimal(p[0], lambda v: 0 < v <= 1e12)
            and decimal(p[1], lambda v: 0 <= v <= 1e15)
            for p in pairs
        )

    @staticmethod
    def _ids(*values):
        return all(type(v) is int and 0 <= v < 2**62 for v in values)

    @staticmethod
    def _ints(*values):
        return all(type(v) is int and -(2**63) <= v < 2**64 for v in values)

    def _near(self, stamp, local_ns):
        if not self._ints(stamp):
            return False
        ns = stamp * 10**6 if stamp < 10**14 else stamp * 1000
        return abs(local_ns - ns) < 86_400 * 10**9

    def _usable(self, d, local_ns):
        futures = "T" in d or "pu" in d
        ids = [d.get("U"), d.get("u")] + ([d.get("pu")] if futures else [])
        return (
            futures != self.spot
            and self._ids(*ids)
            and d["U"] <= d["u"]
            and self._near(d.get("T" if futures else "E"), local_ns)
            and self._good(d.get("b"))
            and self._good(d.get("a"))
            and d.get("s") == self.symbol
        )

    def _ms(self, d):
        stamp = d["E" if self.spot else "T"]
        return stamp if stamp < 10**14 else stamp / 1000

    def _seen(self, d, u, ms):
        return d["u"] <= u and (self.spot or self._ms(d) <= ms)

    def _snapshot(self, d, local_ns):
        if not (self._ids(d["lastUpdateId"]) and self._good(d.get("bids")) and self._good(d.get("asks"))):
            return False
        if not self._near(d["T"] if "T" in d else self.exch_ns // 10**6, local_ns) and ("T" in d or self.exch_ns >= 0):
            return False
        if self.valid and d["lastUpdateId"] <= self.last:
            return True
        self.sides = {"b": {}, "a": {}}
        for side, name in (("b", "bids"), ("a", "asks")):
            for px, qty in d[name]:
                _set(self.sides[side], float(px), float(qty))
        self.valid = self.fresh = True
        self.last = d["lastUpdateId"]
        waiting, self.waiting = self.waiting, []
        for diff in waiting:
            self._diff(diff)
        return True

    def _diff(self, d) -> bool:
        if not self.valid:
            if self.waiting and self._seen(d, self.waiting[-1]["u"], self._ms(self.waiting[-1])):
                return False
            self.waiting.append(d)
            return True
        if self.fresh:
            if d["u"] <= self.last if self.spot else d["u"] < self.last:
                return True
            want = self.last + 1 if self.spot else self.last
            fits = d["U"] <= want <= d["u"] or (not self.spot and d["pu"] == self.last)
        else:
            if self._seen(d, self.last, self.last_ms):
                return False
            fits = d["u"] > self.last and (d["U"] == self.last + 1 if self.spot else d["pu"] == self.last)
        if not fits:
            self.valid, self.waiting = False, [d]
            return True
        self.fresh, self.last, self.last_ms = False, d["u"], self._ms(d)
        for side in "ba":
            for px, qty in d[side]:
                _set(self.sides[side], float(px), float(qty))
        return True


def _finite(text):
    if not np.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None


def _set(side, px, qty):
    if qty:
        side[px] = qty
    else:
        side.pop(px, None)
