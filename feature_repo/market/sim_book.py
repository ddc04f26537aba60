"""The simulated limit order book and everything that can be done to it; each change leaves tape rows.

Prices are ticks and sizes are lots, both int64; side 0 is the bid, side 1 the ask, ``d`` is +1 for buyers. Levels of a
side lie best first in ``px[side, :count[side]]`` and ``qty``.
"""

from __future__ import annotations

import numpy as np

from .. import events as _events
from ..events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, EXCH, FUNDING, LIQUIDATION, LOCAL, SELL, TRADE
from ..jit import kernel_jit

__all__ = [
    "BOOK_SLOTS",
    "EV_DEPTH",
    "EV_FORCED",
    "EV_FUNDING",
    "LOTS",
    "SOURCES",
    "TICKS",
    "absorb",
    "improve",
    "keep_depth",
    "market",
    "move",
    "open_market",
    "put_row",
    "refresh_levels",
    "size",
]

SOURCES = (__file__, _events.__file__)
_jit = kernel_jit(*SOURCES)

TICKS, LOTS = 100.0, 1000.0
"""Ticks per unit of quote currency and lots per base unit."""
BOOK_SLOTS, MIN_LEVELS, MAX_LEVELS = 64, 26, 44

EV_DEPTH = np.array([DEPTH | LOCAL | EXCH | BUY, DEPTH | LOCAL | EXCH | SELL], np.uint64)
EV_CLEAR = np.array([DEPTH_CLEAR | LOCAL | EXCH | BUY, DEPTH_CLEAR | LOCAL | EXCH | SELL], np.uint64)
EV_SNAPSHOT = np.array([DEPTH_SNAPSHOT | LOCAL | EXCH | BUY, DEPTH_SNAPSHOT | LOCAL | EXCH | SELL], np.uint64)
EV_TRADE = np.array([TRADE | LOCAL | EXCH | BUY, TRADE | LOCAL | EXCH | SELL], np.uint64)
EV_FORCED = np.array([LIQUIDATION | BUY, LIQUIDATION | SELL], np.uint64)
EV_FUNDING = np.uint64(FUNDING)


@_jit
def put_row(out, n, st, ev, px, lots):
    r = out[n]
    r.ev = ev
    r.exch_ts = st.t
    r.local_ts = st.stamp
    r.px = px / TICKS
    r.qty = lots / LOTS
    return n + 1


@_jit
def _insert(px, qty, count, side, i, p, lots):
    for k in range(count[side], i, -1):
        px[side, k] = px[side, k - 1]
        qty[side, k] = qty[side, k - 1]
    px[side, i] = p
    qty[side, i] = lots
    count[side] += 1


@_jit
def _erase(px, qty, count, side, i):
    count[side] -= 1
    for k in range(i, count[side]):
        px[side, k] = px[side, k + 1]
        qty[side, k] = qty[side, k + 1]


@_jit
def _gap(rng, cfg, st):
    return 1 + int(rng.standard_exponential() * cfg.gap_ticks * np.exp(0.4 * st.x))


@_jit
def _lots(rng, cfg, st, side, i):
    """Size that makers want at rank ``i``: larger behind the best, smaller in wild hours and against the lean."""
    lean = st.lean if side == 0 else -st.lean
    eth = cfg.level_eth * (0.5 + 0.1 * min(i, 9)) * np.exp(lean - 0.3 * st.x + 0.45 * rng.standard_normal())
    return 1 + int(eth * LOTS)


@_jit
def keep_depth(rng, cfg, st, out, n, px, qty, count):
    """Bring the number of levels of both sides back within its bounds; every message ends with it."""
    for side in range(2):
        away = -1 if side == 0 else 1
        while count[side] < MIN_LEVELS:
            k = count[side]
            _insert(px, qty, count, side, k, px[side, k - 1] + away * _gap(rng, cfg, st), _lots(rng, cfg, st, side, k))
            n = put_row(out, n, st, EV_DEPTH[side], px[side, k], qty[side, k])
        while count[side] > MAX_LEVELS:
            count[side] -= 1
            n = put_row(out, n, st, EV_DEPTH[side], px[side, count[side]], 0)
    return n


@_jit
def improve(rng, cfg, st, out, n, px, qty, count, side):
    """A new best quote a few ticks from the other side."""
    toward = 1 if side == 0 else -1
    spread = 1
    while spread < 5 and rng.random() < cfg.wide_share:
        spread += 1
    p = px[1 - side, 0] - toward * spread
    if (p - px[side, 0]) * toward > 0:
        if count[side] >= MAX_LEVELS:  # a long sweep improves the other side again and again within one message
            count[side] -= 1
            n = put_row(out, n, st, EV_DEPTH[side], px[side, count[side]], 0)
        _insert(px, qty, count, side, 0, p, 1 + int(0.6 * _lots(rng, cfg, st, side, 0)))
        n = put_row(out, n, st, EV_DEPTH[side], p, qty[side, 0])
    return n


@_jit
def move(rng, cfg, st, out, n, px, qty, count, d, traded):
    """The best level in direction ``d`` goes, ``traded`` lots of it by a market order and the rest by cancellation."""
    hit = 1 if d > 0 else 0
    if traded > 0:
        n = put_row(out, n, st, EV_TRADE[1 - hit], px[hit, 0], min(traded, qty[hit, 0]))
    n = put_row(out, n, st, EV_DEPTH[hit], px[hit, 0], 0)
    _erase(px, qty, count, hit, 0)
    if rng.random() < cfg.follow_share or px[1, 0] - px[0, 0] > 3 * cfg.gap_ticks:
        n = improve(rng, cfg, st, out, n, px, qty, count, 1 - hit)
    return n


@_jit
def market(rng, cfg, st, out, n, px, qty, count, d, lots):
    """A market order that walks the book."""
    hit = 1 if d > 0 else 0
    while lots > 0 and count[hit] > 2:
        there = qty[hit, 0]
        if lots >= there:
            n = move(rng, cfg, st, out, n, px, qty, count, d, there)
            lots -= there
        else:
            n = put_row(out, n, st, EV_TRADE[1 - hit], px[hit, 0], lots)
            qty[hit, 0] = there - lots
            n = put_row(out, n, st, EV_DEPTH[hit], px[hit, 0], qty[hit, 0])
            lots = 0
    return n


@_jit
def absorb(rng, cfg, st, out, n, px, qty, d, lots):
    """A market order meets a quote that is filled up again at once: the price stands."""
    hit = 1 if d > 0 else 0
    n = put_row(out, n, st, EV_TRADE[1 - hit], px[hit, 0], min(lots, qty[hit, 0]))
    qty[hit, 0] = 2 * _lots(rng, cfg, st, hit, 0)
    return put_row(out, n, st, EV_DEPTH[hit], px[hit, 0], qty[hit, 0])


@_jit
def refresh_levels(rng, cfg, st, out, n, px, qty, count):
    """Makers bring a few levels nearer to the size and spacing they want."""
    gap = cfg.gap_ticks * np.exp(0.4 * st.x)
    for _ in range(1 + int(2.5 * rng.random())):
        side = 0 if rng.random() < 0.5 else 1
        i = min(int(3.0 * rng.standard_exponential()), count[side] - 1)
        behind = abs(px[side, i] - px[side, i - 1]) if i > 0 else 0
        if i > 0 and behind < 0.3 * gap and rng.random() < 0.3:
            n = put_row(out, n, st, EV_DEPTH[side], px[side, i], 0)
            _erase(px, qty, count, side, i)
        elif i > 0 and behind > 2.0 * gap:
            p = min(px[side, i], px[side, i - 1]) + 1 + int(rng.random() * (behind - 1))
            _insert(px, qty, count, side, i, p, _lots(rng, cfg, st, side, i))
            n = put_row(out, n, st, EV_DEPTH[side], p, qty[side, i])
        else:
            lots = qty[side, i] + int(cfg.refresh_share * (_lots(rng, cfg, st, side, i) - qty[side, i]))
            if lots != qty[side, i]:
                qty[side, i] = lots
                n = put_row(out, n, st, EV_DEPTH[side], px[side, i], lots)
    return n


@_jit
def size(rng, median_eth, spread):
    return 1 + int(median_eth * np.exp(spread * rng.standard_normal()) * LOTS)


@_jit
def open_market(rng, cfg, st, out, px, qty, count):
    """The first message: both sides cleared, then a snapshot."""
    n = 0
    bid = int(cfg.price * TICKS)
    for side in range(2):
        px[side, 0] = bid + side
        count[side] = 1
        away = -1 if side == 0 else 1
        for k in range(MIN_LEVELS + 4):
            if k > 0:
                px[side, k] = px[side, k - 1] + away * _gap(rng, cfg, st)
            qty[side, k] = _lots(rng, cfg, st, side, k)
        count[side] = MIN_LEVELS + 4
        n = put_row(out, n, st, EV_CLEAR[side], px[side, count[side] - 1], 0)
    for side in range(2):
        for k in range(count[side]):
            n = put_row(out, n, st, EV_SNAPSHOT[side], px[side, k], qty[side, k])
    return n
