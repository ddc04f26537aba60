"""The compiled triple barrier: executions at the exchange's quotes, barriers on the quotes seen locally."""

from __future__ import annotations

import numpy as np

from feature_repo.jit import kernel_jit

__all__ = ["INVALID", "STOP", "TARGET", "TIMEOUT", "UNFILLED", "label_spans"]

TARGET, STOP, TIMEOUT, UNFILLED, INVALID = 0, 1, 2, 3, 4

_jit = kernel_jit(__file__)

# Far below a tick and far above rounding: prices arrive as decimals on one side and as ticks x size on the other.
_PX_EPS = 1e-11
_QTY_EPS = 1e-9


@_jit
def _last_at(times, t):
    """Index of the last element <= t, -1 if there is none."""
    lo, hi = 0, times.shape[0]
    while lo < hi:
        m = (lo + hi) // 2
        if times[m] <= t:
            lo = m + 1
        else:
            hi = m
    return lo - 1


@_jit
def _known(bid, ask, i):
    return i >= 0 and bid[i] > 0.0 and ask[i] > 0.0  # False for NaN


@_jit
def _whole_lots(quantity, lot):
    return np.floor(quantity / lot + 1e-6) * lot


@_jit
def _take(q_local, q_exch, bid, ask, bid_qty, ask_qty, t_send, side, n, gap, latency, size, lot, contract, end):
    """Sliced IOC -> (outcome so far, first fill at the exchange, mean price, last response).

    Inverse contracts cost coins, face value / price each: their mean price is the harmonic one.
    """
    qty = 0.0
    paid = 0.0
    t_fill = np.int64(-1)
    for s in range(n):
        send = t_send + s * gap
        i = _last_at(q_local, send)
        j = _last_at(q_exch, send + latency)
        if send + latency > end or not _known(bid, ask, i) or not _known(bid, ask, j):
            return INVALID, t_fill, np.nan, send
        worth = contract if contract > 0.0 else 0.5 * (bid[i] + ask[i])
        want = min(size / n / worth, ask_qty[i] if side > 0 else bid_qty[i])
        if lot > 0.0:
            want = _whole_lots(want, lot)
        if not want > 0.0:
            continue
        if t_fill < 0:
            t_fill = send + latency
        qty += want
        px = ask[j] if side > 0 else bid[j]
        paid += want / px if contract > 0.0 else want * px
    last = t_send + (n - 1) * gap + 2 * latency
    if qty == 0.0:
        return UNFILLED, t_fill, np.nan, last
    return TIMEOUT, t_fill, qty / paid if contract > 0.0 else paid / qty, last


@_jit
def _rest(
    q_local,
    q_exch,
    bid,
    ask,
    bid_qty,
    ask_qty,
    tr_exch,
    tr_px,
    tr_qty,
    tr_side,
    t_send,
    side,
    price,
    latency,
    expiry,
    size,
    lot,
    contract,
    end,
):
    """Post-only limit -> (outcome so far, fill or end of rest at the exchange, limit)."""
    i = _last_at(q_local, t_send)
    if not _known(bid, ask, i) or not price > 0.0:
        return INVALID, t_send, np.nan
    limit = price
    if side > 0 and limit >= ask[i] * (1.0 - _PX_EPS):
        limit = bid[i]
    elif side < 0 and limit <= bid[i] * (1.0 + _PX_EPS):
        limit = ask[i]
    if lot > 0.0 and not _whole_lots(size / (contract if contract > 0.0 else limit), lot) > 0.0:
        return UNFILLED, t_send, limit  # not even one lot: nothing is sent
    eps = _PX_EPS * limit
    arrive = t_send + latency
    j = _last_at(q_exch, arrive)
    if arrive > end or not _known(bid, ask, j):
        return INVALID, arrive, limit
    if (side > 0 and ask[j] <= limit + eps) or (side < 0 and bid[j] >= limit - eps):
        return UNFILLED, arrive, limit  # would take: the exchange expires it
    ahead = (limit - bid[j]) if side > 0 else (ask[j] - limit)
    if ahead > eps:
        queue = 0.0
    elif ahead >= -eps:
        queue = bid_qty[j] if side > 0 else ask_qty[j]
    else:
        queue = np.inf  # behind the best level: unseen until it is the best
    a = _last_at(tr_exch, arrive) + 1
    b = j + 1
    until = arrive + expiry
    while True:
        more_a = a < tr_exch.shape[0] and tr_exch[a] <= until
        more_b = b < q_exch.shape[0] and q_exch[b] <= until
        if not more_a and not more_b:
            break
        if more_a and (not more_b or tr_exch[a] <= q_exch[b]):  # a trade comes before the quote it leaves
            if tr_side[a] * side < 0:
                through = (limit - tr_px[a]) * side
                if through > eps:
                    return TIMEOUT, tr_exch[a], limit
                if through >= -eps:
                    queue -= tr_qty[a]
                    if queue < -_QTY_EPS:
                        return TIMEOUT, tr_exch[a], limit
            a += 1
            continue
        if not _known(bid, ask, b):
            return INVALID, q_exch[b], limit
        if (side > 0 and ask[b] <= limit + eps) or (side < 0 and bid[b] >= limit - eps):
            return TIMEOUT, q_exch[b], limit
        ahead = (limit - bid[b]) if side > 0 else (ask[b] - limit)
        if ahead > eps:
            queue = min(queue, 0.0)
        elif ahead >= -eps:
            queue = min(queue, bid_qty[b] if side > 0 else ask_qty[b])  # never more ahead than the level holds
        b += 1
    if until > end:
        return INVALID, until, limit
    return UNFILLED, until, limit


@_jit
def _watch(q_local, own, other, i, side, target, stop, t_watch, deadline):
    """Walk the local quotes from row i, in force at t_watch -> (outcome, trigger time).

    own : the side of the book that the position is sold to or bought from, other : the opposite one
    """
    low, high = side * stop + _PX_EPS * stop, side * target - _PX_EPS * target
    last = _last_at(q_local, deadline)
    r = i
    # Most rows only have to be passed over; whatever is not known fails here, NaN too.
    while low < side * own[r] < high and own[r] > 0.0 and other[r] > 0.0:
        r += 1
        if r > last:
            return TIMEOUT, max(deadline, t_watch)
    now = t_watch if r == i else q_local[r]
    hit_stop = False
    # One event: everything that arrives at one instant, of the first only what is in force.
    while True:
        if not _known(own, other, r):
            return INVALID, now
        hit_stop = hit_stop or side * own[r] <= low
        r += 1
        if r == i + 1 or r >= q_local.shape[0] or q_local[r] != now:
            return (STOP if hit_stop else TARGET), now


@_jit
def label_spans(
    q_local,
    q_exch,
    bid,
    ask,
    bid_qty,
    ask_qty,
    tr_exch,
    tr_px,
    tr_qty,
    tr_side,
    t_send,
    side,
    R_bps,
    price,
    maker,
    R_target,
    R_stop,
    horizon,
    latency,
    slices,
    gap,
    expiry,
    size,
    lot,
    contract,
    end,
    outcome,
    t_fill,
    t_end,
    entry_px,
    exit_px,
):
    """Fill the last five arrays for candidates that send their first order at ``t_send`` (all arrays [N]).

    contract : quote value of one inverse contract, 0 for a linear one
    """
    for k in range(t_send.shape[0]):
        s = side[k]
        outcome[k] = INVALID
        t_fill[k] = -1
        t_end[k] = t_send[k]
        entry_px[k] = np.nan
        exit_px[k] = np.nan
        R = R_bps[k] * 1e-4
        if not (R > 0.0 and np.inf > R):
            continue
        if maker[k]:
            code, filled, px = _rest(
                q_local, q_exch, bid, ask, bid_qty, ask_qty, tr_exch, tr_px, tr_qty, tr_side,
                t_send[k], s, price[k], latency, expiry, size, lot, contract, end,
            )  # fmt: skip
            seen = filled + latency
        else:
            code, filled, px, seen = _take(
                q_local, q_exch, bid, ask, bid_qty, ask_qty, t_send[k], s, slices, gap, latency, size, lot, contract,
                end,
            )  # fmt: skip
        if code != TIMEOUT:
            outcome[k] = code
            t_end[k] = filled if maker[k] else seen
            continue
        i = _last_at(q_local, seen)
        whole = True
        for r in range(max(_last_at(q_local, t_send[k]), 0), i):
            whole = whole and _known(bid, ask, r)
        if not whole:
            t_end[k] = seen
            continue
        target = px * (1.0 + s * R_target * R)
        stop = px * (1.0 - s * R_stop * R)
        own, other = (bid, ask) if s > 0 else (ask, bid)
        code, trigger = _watch(q_local, own, other, i, s, target, stop, seen, filled + horizon)
        t_end[k] = trigger + latency
        j = _last_at(q_exch, trigger + latency)
        if code == INVALID or trigger + latency > end or not _known(bid, ask, j):
            continue
        outcome[k] = code
        t_fill[k] = filled
        entry_px[k] = px
        exit_px[k] = bid[j] if s > 0 else ask[j]
