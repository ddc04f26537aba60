"""The simulated limit order book and everything that can be done to it; each change leaves tape rows.

Prices are ticks and sizes are lots, both int64; side 0 is the bid, side 1 the ask, ``d`` is +1 for buyers. Levels of a
side lie best first in ``px[side, :count[side]]`` and ``qty``.

The best queue of a side is ``core`` plus ``fleet``: orders that mean to stay, and fleeting ones that are pulled when
the core is gone (Hasbrouck and Saar 2009). Price moves when a core is used up, and only then. A move costs the balance
of the two cores a fixed amount; what is left goes on to the new queues. So the balance is one running sum of flow.
"""

from __future__ import annotations

import numpy as np

from ..events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, EXCH, FUNDING, LIQUIDATION, LOCAL, SELL, TRADE
from ..jit import kernel_jit

__all__ = [
    "BOOK_SLOTS",
    "EV_FORCED",
    "EV_FUNDING",
    "LOTS",
    "MAX_LEVELS",
    "MIN_LEVELS",
    "TICKS",
    "chase",
    "even_out",
    "flicker",
    "keep_depth",
    "market",
    "open_market",
    "pull",
    "put_row",
    "refresh",
    "repair",
]

_jit = kernel_jit(__file__)

TICKS, LOTS = 100.0, 1000.0
"""Ticks per unit of quote currency and lots per base unit."""
BOOK_SLOTS, MIN_LEVELS, MAX_LEVELS = 64, 26, 44
_SWEPT = 12  # levels that one message takes at most
_GAP_SHAPE = 3.0  # of the gamma distribution of gaps: R2 of return on order flow tends to 3 / 4 with the horizon

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
    r.order_id = 0
    r.ival = 0
    r.fval = 0.0
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
def _gap(rng, cfg):
    return 1 + int(rng.standard_gamma(_GAP_SHAPE) / _GAP_SHAPE * (cfg.gap_ticks - 0.5))


@_jit
def _fresh(rng, cfg, st):
    """Size that makers put at a new best quote: the same on both sides, whatever they know."""
    return 1 + int(st.queue * np.exp(cfg.queue_sd * rng.standard_normal() - 0.5 * cfg.queue_sd * cfg.queue_sd))


@_jit
def _deep(rng, cfg, st, side, i):
    """Size that makers want at rank ``i`` > 0; their lean shows here."""
    lean = st.lean if side == 0 else -st.lean
    return 1 + int(st.queue * cfg.deep_share * (0.8 + 0.06 * i) * np.exp(lean + 0.4 * rng.standard_normal()))


@_jit
def keep_depth(rng, cfg, st, out, n, px, qty, count):
    """Bring the number of levels of both sides back within its bounds; every message ends with it."""
    for side in range(2):
        away = -1 if side == 0 else 1
        while count[side] < MIN_LEVELS:
            k = count[side]
            _insert(px, qty, count, side, k, px[side, k - 1] + away * _gap(rng, cfg), _deep(rng, cfg, st, side, k))
            n = put_row(out, n, st, EV_DEPTH[side], px[side, k], qty[side, k])
        while count[side] > MAX_LEVELS:
            count[side] -= 1
            n = put_row(out, n, st, EV_DEPTH[side], px[side, count[side]], 0)
    return n


@_jit
def _show(st, out, n, px, qty, side):
    """The best level's size after a change of its core or of its fleeting orders."""
    lots = st.core[side] + st.fleet[side]
    if lots != qty[side, 0]:
        qty[side, 0] = lots
        n = put_row(out, n, st, EV_DEPTH[side], px[side, 0], lots)
    return n


@_jit
def _follow(rng, cfg, st, out, n, px, qty, count, side, core, points):
    """A side follows a price that went ``points`` levels away from it: a new best quote, most often one tick off.

    Levels are points on a line, ``gap`` apart, that the two sides share. Those that are passed over here are drawn by
    the law of points between gamma gaps (Dirichlet), so that the book behind a move has the gaps of the book ahead.
    """
    toward = 1 if side == 0 else -1
    p, low = px[1 - side, 0] - toward, px[side, 0]
    for missing in range(points - 1, 0, -1):
        room = abs(p - low)
        step = 1 + int(rng.beta(_GAP_SHAPE, _GAP_SHAPE * missing) * room)
        if step < room:
            low += toward * step
            _insert(px, qty, count, side, 0, low, _deep(rng, cfg, st, side, 1))
            n = put_row(out, n, st, EV_DEPTH[side], low, qty[side, 0])
    if rng.random() < cfg.wide_share:
        off = 1 + int(cfg.wide_ticks * rng.standard_exponential())
        p -= toward * min(off, (abs(p - low) - 1) // 2)
    st.core[side], st.fleet[side], st.fleets[side] = core, 0, 0
    _insert(px, qty, count, side, 0, p, core)
    return put_row(out, n, st, EV_DEPTH[side], p, core)


@_jit
def _deplete(rng, cfg, st, out, n, px, qty, count, hit, unprinted):
    """The core of side ``hit`` is used up, and more: levels go, the price moves, and the other side follows.

    A level costs ``paid`` lots of balance. What is left of the balance goes on to the new queues, so that price plus
    balance over ``paid`` never jumps: nothing is gained or lost on the way, whatever the steps in which flow comes.
    """
    paid = cfg.paid_queues * st.queue
    left = st.core[1 - hit] - st.core[hit] - paid
    points = 1
    while left > 0.6 * paid and points < _SWEPT:
        left -= paid
        points += 1
    for taken in range(points):
        if taken > 0 and unprinted > 0:
            printed = min(unprinted, qty[hit, 0])
            n = put_row(out, n, st, EV_TRADE[1 - hit], px[hit, 0], printed)
            unprinted -= printed
            st.printed += printed
        n = put_row(out, n, st, EV_DEPTH[hit], px[hit, 0], 0)
        _erase(px, qty, count, hit, 0)
    st.core[hit] = _fresh(rng, cfg, st) + int(max(-left, 0.0))
    st.fleet[hit] = st.fleets[hit] = 0
    n = _show(st, out, n, px, qty, hit)
    d = 1 if hit == 1 else -1
    st.chase = d if rng.random() < cfg.chase_share else 0
    return _follow(rng, cfg, st, out, n, px, qty, count, 1 - hit, _fresh(rng, cfg, st) + int(max(left, 0.0)), points)


@_jit
def _change(rng, cfg, st, out, n, px, qty, count, side, lots, unprinted):
    """Add ``lots`` (or take, below 0) to the core of one side."""
    st.core[side] += lots
    if st.core[side] <= 0:
        return _deplete(rng, cfg, st, out, n, px, qty, count, side, unprinted)
    return _show(st, out, n, px, qty, side)


@_jit
def market(rng, cfg, st, out, n, px, qty, count, d, lots, answer):
    """A market order of ``lots``; makers answer in the same message.

    ``answer`` lots are added to the asks, below 0 to the bids: the flow of market orders that they had expected.
    """
    hit = 1 if d > 0 else 0
    printed = min(lots, qty[hit, 0])
    n = put_row(out, n, st, EV_TRADE[1 - hit], px[hit, 0], printed)
    st.printed += printed
    side = 1 if answer > 0 else 0
    if side == hit:
        return _change(rng, cfg, st, out, n, px, qty, count, hit, abs(answer) - lots, lots - printed)
    if answer != 0:
        st.core[side] += abs(answer)
        n = _show(st, out, n, px, qty, side)
    return _change(rng, cfg, st, out, n, px, qty, count, hit, -lots, lots - printed)


@_jit
def pull(rng, cfg, st, out, n, px, qty, count, d, lots):
    """Makers shift the balance of the best queues towards ``d``: they cancel ahead, or add behind."""
    own = 0 if d > 0 else 1
    if rng.random() < 0.5:
        return _change(rng, cfg, st, out, n, px, qty, count, 1 - own, -lots, 0)
    return _change(rng, cfg, st, out, n, px, qty, count, own, lots, 0)


@_jit
def chase(rng, cfg, st, out, n, px, qty, count):
    """The next quote in the way of the last move is pulled as well: prices take a moment to take everything in."""
    ahead = 1 if st.chase > 0 else 0
    st.chase = 0
    return _change(rng, cfg, st, out, n, px, qty, count, ahead, -st.core[ahead], 0)


@_jit
def even_out(cfg, st, out, n, px, qty):
    """Both best queues grow or shrink by the same, towards the depth that makers want; their balance stays."""
    add = int(cfg.even_share * 0.5 * (2.0 * st.queue - st.core[0] - st.core[1]))
    add = max(add, -((min(st.core[0], st.core[1]) - 1) * 9 // 10))
    for side in range(2):
        st.core[side] += add
        n = _show(st, out, n, px, qty, side)
    return n


@_jit
def flicker(st, out, n, px, qty, side, lots):
    """A fleeting order joins the best queue (``lots`` > 0), or one of those there is pulled."""
    if lots > 0:
        st.fleet[side] += lots
        st.fleets[side] += 1
    elif st.fleets[side] > 0:
        gone = st.fleet[side] // st.fleets[side]
        st.fleet[side] -= gone
        st.fleets[side] -= 1
    return _show(st, out, n, px, qty, side)


@_jit
def repair(rng, st, out, n, px, qty):
    """A spread of more than a tick closes: all of one best queue, of either side, moves up to the other."""
    side = 1 if rng.random() < 0.5 else 0
    n = put_row(out, n, st, EV_DEPTH[side], px[side, 0], 0)
    px[side, 0] = px[1 - side, 0] + (1 if side == 1 else -1)
    return put_row(out, n, st, EV_DEPTH[side], px[side, 0], qty[side, 0])


@_jit
def refresh(rng, cfg, st, out, n, px, qty, count, levels):
    """Makers bring ``levels`` deeper levels nearer to the size they want, and now and then move one.

    A level is moved to a Beta(3, 3) share of the way between its neighbours: the conditional law of a point between
    two gamma gaps of shape 3, so that gaps keep their distribution for ever, on both sides of the price.
    """
    for _ in range(levels):
        side = 0 if rng.random() < 0.5 else 1
        i = 1 + min(int(cfg.refresh_reach * rng.standard_exponential()), count[side] - 2)
        if rng.random() < cfg.requote_share and i < count[side] - 1:
            away = -1 if side == 0 else 1
            room = abs(px[side, i + 1] - px[side, i - 1])
            p = px[side, i - 1] + away * min(1 + int(rng.beta(_GAP_SHAPE, _GAP_SHAPE) * room), room - 1)
            if p != px[side, i] and room > 1:
                n = put_row(out, n, st, EV_DEPTH[side], px[side, i], 0)
                px[side, i] = p
                qty[side, i] = _deep(rng, cfg, st, side, i)
                n = put_row(out, n, st, EV_DEPTH[side], p, qty[side, i])
        else:
            lots = qty[side, i] + int(cfg.refresh_share * (_deep(rng, cfg, st, side, i) - qty[side, i]))
            if lots != qty[side, i]:
                qty[side, i] = lots
                n = put_row(out, n, st, EV_DEPTH[side], px[side, i], lots)
    return n


@_jit
def open_market(rng, cfg, st, out, px, qty, count):
    """The first message: both sides cleared, then a snapshot."""
    n = 0
    bid = int(cfg.price * TICKS)
    for side in range(2):
        px[side, 0] = bid + side
        qty[side, 0] = st.core[side] = _fresh(rng, cfg, st)
        away = -1 if side == 0 else 1
        for k in range(1, MIN_LEVELS + 4):
            px[side, k] = px[side, k - 1] + away * _gap(rng, cfg)
            qty[side, k] = _deep(rng, cfg, st, side, k)
        count[side] = MIN_LEVELS + 4
        n = put_row(out, n, st, EV_CLEAR[side], px[side, count[side] - 1], 0)
    for side in range(2):
        for k in range(count[side]):
            n = put_row(out, n, st, EV_SNAPSHOT[side], px[side, k], qty[side, k])
    return n
