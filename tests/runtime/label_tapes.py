"""Made-up tapes on which labels and replay must agree, and their best quotes by other bookkeeping than the engine's."""

from __future__ import annotations

import numpy as np

from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    GAP,
    KIND_MASK,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.market.tape import Tape
from feature_repo.table import QUOTE_DTYPE

__all__ = ["MS", "best_quotes", "random_tape", "rough_tape"]

MS = 1_000_000


def _tape(rows):
    events = np.array(rows, EVENT_DTYPE)
    events["ev"] |= np.uint64(LOCAL | EXCH)
    return Tape("binance_usdm", "ETHUSDT", events, {})


def _levels(rng, tick):
    """Three levels a side, one tick around ``tick``."""
    want = {(BUY, tick - 1 - k): float(rng.integers(1, 60)) for k in range(3)}
    return want | {(SELL, tick + 1 + k): float(rng.integers(1, 60)) for k in range(3)}


def _touch(rng, book, tick):
    """Flag and price of a trade at the best quote it hits."""
    up = rng.random() < 0.5
    hit = [px for flag, px in book if flag == (SELL if up else BUY)]
    return (BUY if up else SELL), (min if up else max)(hit, default=tick)


def random_tape(seed, n=30_000):
    """A book of three levels a side that walks, with late and bunched feeds, and trades at the touch."""
    rng = np.random.default_rng(seed)
    rows, t, tick = [], 10_000 * MS, 200_000
    local = t
    book = {}
    for step in range(n):
        t += int(rng.exponential(4 * MS)) + 1
        local = max(local, t + int(rng.gamma(2.0, 2.0) * MS))
        if step == 0 or rng.random() < 0.3:
            tick += int(rng.integers(-3, 4))
        if book and rng.random() < 0.2:
            flag, px = _touch(rng, book, tick)
            rows.append((TRADE | flag, t, local, px * 0.01, float(rng.integers(1, 30)), 0, 0, 0.0))
            continue
        want = _levels(rng, tick)
        for side, px in [k for k in book if k not in want]:
            rows.append((DEPTH | side, t, local, px * 0.01, 0.0, 0, 0, 0.0))
        rows += [(DEPTH | side, t, local, px * 0.01, q, 0, 0, 0.0) for (side, px), q in want.items()]
        book = want
    return _tape(rows)


def rough_tape(seed, n=30_000):
    """The same walk with everything that labels and replay may see in different ways.

    Messages that overtook others on their way, clocks that go wrong, levels that cross between the rows of a message,
    trades and quotes of one instant, and gaps that a snapshot heals.
    """
    rng = np.random.default_rng(seed)
    rows, t, tick = [], 10_000 * MS, 200_000
    local, book, quiet_until = t, {}, 0
    for step in range(n):
        t += int(rng.exponential(4 * MS)) + 1
        local = max(local, t + int(rng.gamma(2.0, 2.0) * MS))
        exch = t
        if rng.random() < 0.02:
            exch -= int(rng.integers(1, 40)) * MS  # overtaken on its way
        elif rng.random() < 0.02:
            exch += int(rng.integers(1, 40)) * MS  # by a clock that is ahead
        if rng.random() < 0.3:
            tick += int(rng.integers(-3, 4))
        if step and step % 3_000 == 0:
            rows.append((GAP | BUY, exch, local, 0.0, 0.0, 0, 0, 0.0))
            book, quiet_until = {}, t + 200 * MS
        if t < quiet_until:
            continue
        if book and rng.random() < 0.2:
            flag, px = _touch(rng, book, tick)
            rows.append((TRADE | flag, exch, local, px * 0.01, float(rng.integers(1, 30)), 0, 0, 0.0))
            if rng.random() < 0.7:
                continue  # else the book changes at the same instant
        want = _levels(rng, tick)
        kind = DEPTH if book else DEPTH_SNAPSHOT
        if not book:
            rows += [(DEPTH_CLEAR | side, exch, local, 0.0, 0.0, 0, 0, 0.0) for side in (BUY, SELL)]
        rows += [(kind | side, exch, local, px * 0.01, q, 0, 0, 0.0) for (side, px), q in want.items()]
        for side, px in [k for k in book if k not in want]:  # last: until then the book may be crossed
            rows.append((DEPTH | side, exch, local, px * 0.01, 0.0, 0, 0, 0.0))
        book = want
    return _tape(rows)


def best_quotes(events):
    """QUOTE rows of a `random_tape`, by its own bookkeeping; the engine has no part in it."""
    out, book = [], {BUY: {}, SELL: {}}
    for (t, local), rows in _messages(events):
        for ev, px, qty in rows:
            if ev & KIND_MASK == DEPTH:
                side = book[BUY if ev & BUY else SELL]
                side.pop(px, None)
                if qty:
                    side[px] = qty
        if book[BUY] and book[SELL]:
            bid, ask = max(book[BUY]), min(book[SELL])
            out.append((local, t, bid, ask, book[BUY][bid], book[SELL][ask]))
    return np.array(out, QUOTE_DTYPE)


def _messages(events):
    start = 0
    for i in range(1, len(events) + 1):
        if i == len(events) or events["exch_ts"][i] != events["exch_ts"][start]:
            part = events[start:i]
            rows = zip(part["ev"].tolist(), part["px"].tolist(), part["qty"].tolist(), strict=True)
            yield (int(part["exch_ts"][0]), int(part["local_ts"][0])), rows
            start = i
