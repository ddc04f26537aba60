"""The compiled replay: every parent order is a small state machine, all of them served in one pass of the tape.

    ENTER (slices leaving, answers pending) --all answered--> WATCH | done (nothing filled)
    REST  (post-only limit)                 --filled--------> WATCH | done (expired, cancelled)
    WATCH (barriers on local quotes)        --touch, time---> EXIT
    EXIT  (IOC after IOC until sold)        --flat----------> done  | WATCH (runner: the rest is trailed)

Arms are followed in the same pass: each holds one parent at a time, and one that it allows meanwhile is busy for it.

Functions that touch the backtest cannot be cached, so this compiles once a process.
"""

from __future__ import annotations

import numpy as np
from hftbacktest.order import CANCELED, EXPIRED, FILLED, GTX, IOC, LIMIT, NONE
from numba import njit

from .shadow_latency import round_trip
from .shadow_types import BUSY, NO_DATA, OK, STOP, TARGET, TIMEOUT, UNFILLED

__all__ = ["advance"]

_ENTER, _REST, _WATCH, _EXIT, _DONE = 1, 2, 3, 4, 5
_NEVER = np.int64(2**62)
# An answer that is not there when it was reckoned to be is looked for again after this long.
_LATE = np.int64(1_000_000)
# Far below a tick and far above rounding: exec prices are ticks x size, barriers are products.
_PX_EPS = 1e-11
# An IOC limit this far through the touch always meets it.
_THROUGH = 0.1


@njit
def _lots(qty, lot):
    return np.floor(qty / lot + 1e-6) * lot


@njit
def _size(notional, price, r):
    """Quantity of a notional: base units, or inverse contracts."""
    return notional / (r.contract if r.contract > 0.0 else price)


@njit
def _worth(qty, price, contract):
    """What a quantity is paid with: quote currency, or (inverse) coins in units of one contract's face value."""
    return qty / price if contract > 0.0 else qty * price


@njit
def _submit(hbt, c, side, price, qty, time_in_force):
    """Send a limit order and return its id."""
    c.order_id += 1
    if side > 0:
        code = hbt.submit_buy_order(0, c.order_id, price, qty, time_in_force, LIMIT, False)
    else:
        code = hbt.submit_sell_order(0, c.order_id, price, qty, time_in_force, LIMIT, False)
    if code != 0:
        c.failed = code
    return c.order_id


@njit
def _take(hbt, c, side, qty, bid, ask, tick):
    """An IOC that meets the opposite quote whatever it is by then."""
    price = ask * (1.0 + _THROUGH) if side > 0 else bid * (1.0 - _THROUGH)
    return _submit(hbt, c, side, np.round(price / tick) * tick, qty, IOC)


@njit
def _answer(hbt, order_id):
    """(status, quantity, price, exchange time) of one order as known locally."""
    order = hbt.orders(0).get(order_id)
    if order is None:
        return np.int64(EXPIRED), 0.0, np.nan, np.int64(0)
    return np.int64(order.status), order.exec_qty, order.exec_price, np.int64(order.exch_timestamp)


@njit
def _pending(hbt, order_id):
    """Whether a request of this order has not been answered."""
    order = hbt.orders(0).get(order_id)
    return order is not None and order.req != NONE


@njit
def _done(p, status):
    p.status = status
    p.phase = _DONE


@njit
def _enter(hbt, p, ids, dues, now, bid, ask, bid_qty, ask_qty, r, c, lat):
    """Slices out, answers in."""
    while p.sent < r.slices and p.next_send <= now:
        if not bid > 0.0 or not ask > 0.0:
            _done(p, NO_DATA)
            return
        best = ask_qty if p.side > 0 else bid_qty
        qty = _lots(min(_size(p.notional / r.slices, 0.5 * (bid + ask), r), best), r.lot)
        if qty > 0.0:
            ids[p.sent] = _take(hbt, c, p.side, qty, bid, ask, r.tick)
        # Also where nothing was sent: the watch starts when the answer would have come.
        dues[p.sent] = p.next_send + round_trip(lat, p.next_send, r.latency)
        p.sent += 1
        p.next_send = p.next_send + r.gap if p.sent < r.slices else _NEVER
    waiting = p.sent < r.slices
    for s in range(p.sent):
        if dues[s] > now:
            waiting = True
        elif dues[s] > 0 and ids[s] > 0 and _pending(hbt, ids[s]):
            dues[s] = now + _LATE
            waiting = True
        elif dues[s] > 0:
            dues[s] = 0
            if ids[s] > 0:
                status, qty, price, exch = _answer(hbt, ids[s])
                if status == FILLED:
                    p.qty += qty
                    p.paid += _worth(qty, price, r.contract)
                    p.t_fill = exch if p.t_fill < 0 else p.t_fill
    if not waiting:
        if p.qty > 0.0:
            p.phase = _WATCH
        else:
            p.t_end = now
            _done(p, UNFILLED)


@njit
def _rest(hbt, p, now, bid, ask, r, c):
    """The post-only limit: sent, watched, cancelled."""
    if p.order_id == 0:
        if p.next_send > now:
            return
        if not bid > 0.0 or not ask > 0.0:
            _done(p, NO_DATA)
            return
        price = p.price
        half = 0.5 * r.tick
        if p.side > 0 and price > ask - half:
            price = bid
        elif p.side < 0 and price < bid + half:
            price = ask
        qty = _lots(_size(p.notional, price, r), r.lot)
        if not qty > 0.0:
            p.t_end = now
            _done(p, UNFILLED)
            return
        p.order_id = _submit(hbt, c, p.side, price, qty, GTX)
        p.next_send = _NEVER
        p.due = now + r.expiry
        return
    status, qty, price, exch = _answer(hbt, p.order_id)
    if status == FILLED:
        p.qty = qty
        p.paid = _worth(qty, price, r.contract)
        p.t_fill = exch
        p.order_id = 0
        p.phase = _WATCH
    elif status in (EXPIRED, CANCELED):
        p.t_end = exch
        _done(p, UNFILLED)
    elif now >= p.due and _pending(hbt, p.order_id):
        p.due = now + _LATE
    elif now >= p.due:
        p.due = _NEVER
        code = hbt.cancel(0, p.order_id, False)
        if code != 0:
            c.failed = code


@njit
def _trigger(p, outcome, goal, mid):
    p.outcome = outcome
    p.goal = goal
    p.trigger_mid = mid
    p.order_id = 0
    p.due = _NEVER
    p.phase = _EXIT


@njit
def _watch(p, now, bid, ask, r):
    """Barriers at the quotes known now."""
    if p.deadline == 0:
        p.left = p.qty
        p.deadline = p.t_fill + r.horizon
        p.due = _NEVER
    entry = p.qty / p.paid if r.contract > 0.0 else p.paid / p.qty
    known = bid > 0.0 and ask > 0.0
    mid = 0.5 * (bid + ask)
    if known:
        q = bid if p.side > 0 else ask
        if p.half == 0:
            if (q - entry * (1.0 - p.side * r.R_stop * p.R)) * p.side <= _PX_EPS * entry:
                _trigger(p, STOP, p.left, mid)
                return
            if (q - entry * (1.0 + p.side * r.R_target * p.R)) * p.side >= -_PX_EPS * entry:
                if r.runner == 0:
                    _trigger(p, TARGET, p.left, mid)
                    return
                p.half = 1
                p.peak = q
                first = _lots(0.5 * p.qty, r.lot)
                if first > 0.0:
                    _trigger(p, TARGET, first, mid)
                    return
                p.outcome = TARGET
        if p.half == 1:
            p.peak = max(p.peak * p.side, q * p.side) * p.side
            # The peak is at least the target, so this starts at break-even and only moves away from it.
            stop = p.peak - p.side * r.R_target * p.R * entry
            if (q - stop) * p.side <= _PX_EPS * entry:
                _trigger(p, TARGET, p.left, mid)
                return
    if now >= p.deadline and known:
        _trigger(p, TARGET if p.half == 1 else TIMEOUT, p.left, mid)


@njit
def _exit(hbt, p, now, bid, ask, bid_qty, ask_qty, r, c, fund_t, fund_rate, lat):
    """IOC children, each at most the best level, until the goal is sold."""
    if p.half == 1 and bid > 0.0 and ask > 0.0:
        p.peak = max(p.peak * p.side, (bid if p.side > 0 else ask) * p.side) * p.side
    if p.order_id > 0:
        if p.due > now:
            return
        if now != _NEVER and _pending(hbt, p.order_id):
            p.due = now + _LATE
            return
        status, qty, price, exch = _answer(hbt, p.order_id)
        if status == FILLED:
            p.got += _worth(qty, price, r.contract)
            p.mid_exit += _worth(qty, p.trigger_mid, r.contract)
            p.left -= qty
            p.goal -= qty
            p.t_end = exch
            for i in range(fund_t.shape[0]):
                if p.t_fill < fund_t[i] <= p.t_end:
                    p.funding += qty * fund_rate[i]
        p.order_id = 0
        p.due = _NEVER
        if p.left < 0.5 * r.lot:
            _done(p, OK)
            return
        if p.goal < 0.5 * r.lot:
            p.phase = _WATCH
            return
    if bid > 0.0 and ask > 0.0 and c.ended == 0:
        best = bid_qty if p.side > 0 else ask_qty
        qty = min(max(_lots(best, r.lot), r.lot), _lots(p.goal + 0.5 * r.lot, r.lot))
        p.order_id = _take(hbt, c, -p.side, qty, bid, ask, r.tick)
        p.due = now + round_trip(lat, now, r.latency)


@njit
def _serve(hbt, p, ids, dues, now, bid, ask, bid_qty, ask_qty, r, c, fund_t, fund_rate, lat):
    """Take every step that is due at this instant."""
    if p.phase == _ENTER:
        _enter(hbt, p, ids, dues, now, bid, ask, bid_qty, ask_qty, r, c, lat)
    elif p.phase == _REST:
        _rest(hbt, p, now, bid, ask, r, c)
    elif p.phase == _EXIT:
        _exit(hbt, p, now, bid, ask, bid_qty, ask_qty, r, c, fund_t, fund_rate, lat)
    if p.phase == _WATCH:
        _watch(p, now, bid, ask, r)
        if p.phase == _EXIT:
            _exit(hbt, p, now, bid, ask, bid_qty, ask_qty, r, c, fund_t, fund_rate, lat)


@njit
def _next_due(p, dues):
    """(next instant at which something happens by the clock, whether every feed must be looked at)."""
    if p.phase == _ENTER:
        t = p.next_send
        for s in range(p.sent):
            if dues[s] > 0:
                t = min(t, dues[s])
        return t, False
    if p.phase == _REST:
        return min(p.next_send, p.due), p.order_id > 0
    if p.phase == _WATCH:
        return p.deadline, True
    return p.due, p.order_id == 0 or p.half == 1


@njit
def _take_up(parents, i, allowed, busy, holds, r):
    """Which arms take parent ``i``, and whether it is replayed at all."""
    wanted = r.every == 1
    for a in range(allowed.shape[0]):
        if allowed[a, i]:
            if holds[a] >= 0 and parents[holds[a]].phase != _DONE:
                busy[a, i] = True
            else:
                holds[a] = i
                wanted = True
    return wanted


@njit(nogil=True)
def advance(
    hbt, until, parents, ids, dues, alive, control, rule, fund_t, fund_rate, lat, allowed, busy, holds
):  # fmt: skip
    """Replay up to local time ``until`` (or the end of data); call again with a later one to go on.

    parents : PARENT_DTYPE [N] sorted by ts; ids, dues : int64 [N, slices]; alive : int64 [N] scratch;
    control, rule : one-element arrays; fund_t, fund_rate : settlements, ns and fraction; lat : ORDER_LATENCY_DTYPE [L],
    empty for constant latencies; allowed, busy : bool [A, N], decisions in and what could not be taken out;
    holds : int64 [A], the parent that each arm holds, -1 at first
    """
    c = control[0]
    r = rule[0]
    n = parents.shape[0]
    if c.started == 0:
        c.started = 1
        c.ended = hbt.elapse(0)  # only now does the clock stand at the first event
    depth = hbt.depth(0)
    while c.ended == 0 and c.failed == 0:
        now = hbt.current_timestamp
        bid, ask = depth.best_bid, depth.best_ask
        bid_qty, ask_qty = depth.best_bid_qty, depth.best_ask_qty

        k = 0
        while k < c.alive:
            i = alive[k]
            _serve(hbt, parents[i], ids[i], dues[i], now, bid, ask, bid_qty, ask_qty, r, c, fund_t, fund_rate, lat)
            if parents[i].phase == _DONE:
                c.alive -= 1
                alive[k] = alive[c.alive]
            else:
                k += 1
        while c.next < n and parents[c.next].ts <= now:
            p = parents[c.next]
            if p.ts < now or not bid > 0.0 or not ask > 0.0:
                _done(p, NO_DATA)
            elif not _take_up(parents, c.next, allowed, busy, holds, r):
                _done(p, BUSY)
            else:
                p.mid = 0.5 * (bid + ask)
                p.next_send = p.ts + r.compute
                p.phase = _REST if p.maker == 1 else _ENTER
                p.due = _NEVER
                alive[c.alive] = c.next
                c.alive += 1
                i = c.next
                _serve(hbt, p, ids[i], dues[i], now, bid, ask, bid_qty, ask_qty, r, c, fund_t, fund_rate, lat)
                if p.phase == _DONE:
                    c.alive -= 1
            c.next += 1
        if c.failed != 0 or now >= until or (c.alive == 0 and c.next == n):
            break

        wake = min(until, parents[c.next].ts) if c.next < n else until
        looking = False
        for k in range(c.alive):
            i = alive[k]
            t, feed = _next_due(parents[i], dues[i])
            if t > now:
                wake = min(wake, t)
            looking = looking or feed
        if c.order_id - c.cleared >= 256:
            c.cleared = c.order_id
            hbt.clear_inactive_orders(0)  # every answer known by now has been read above
        if not looking:
            code = hbt.elapse(wake - now)
        else:
            # Quiet feeds, which leave the best prices alone, are passed over here: most of them are.
            bid_tick, ask_tick = depth.best_bid_tick, depth.best_ask_tick
            while True:
                code = hbt.wait_next_feed(True, wake - now)
                if code != 2:
                    break
                now = hbt.current_timestamp
                if now >= wake or depth.best_bid_tick != bid_tick or depth.best_ask_tick != ask_tick:
                    break
        if code == 1:
            c.ended = 1
        elif code != 0 and code != 2 and code != 3:
            c.failed = code

    if c.ended == 1:
        # Answers that were under way when the data ended have arrived; nothing more can be sent or watched.
        for k in range(c.alive):
            p = parents[alive[k]]
            if p.phase == _EXIT and p.order_id > 0:
                _exit(hbt, p, _NEVER, np.nan, np.nan, np.nan, np.nan, r, c, fund_t, fund_rate, lat)
            elif p.phase == _REST and p.order_id > 0:
                _rest(hbt, p, np.int64(0), np.nan, np.nan, r, c)
            if p.phase != _DONE:
                _done(p, NO_DATA)
        c.alive = 0
        while c.next < n:
            _done(parents[c.next], NO_DATA)
            c.next += 1
    return c.ended == 1 or c.failed != 0 or (c.alive == 0 and c.next == n)
