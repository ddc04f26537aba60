"""The triple barrier again, by brute force: the clock ticks one by one, and every price is an exact fraction.

Nothing of the project is imported. Times are whole ticks of any length; quotes and trades are plain dictionaries. The
uniqueness weights are here too, one elementary interval at a time.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

TARGET, STOP, TIMEOUT, UNFILLED, INVALID = 0, 1, 2, 3, 4
NO_DATA = (INVALID, None, None, None, None)
NOT_FILLED = (UNFILLED, None, None, None, None)


def exact(x):
    """A float that was written as a decimal, as that decimal."""
    return Fraction(repr(float(x)))


def is_book(q):
    """Whether a quote row has both sides."""
    return q is not None and not math.isnan(q["bid"]) and not math.isnan(q["ask"])


def left_exchange(row):
    """What has been seen was there before, whatever its stamp says."""
    return min(row["exch_ts"], row["local_ts"])


def here(quotes, t):
    """The quote that a person sees at t."""
    found = None
    for q in quotes:
        if q["local_ts"] <= t:
            found = q
    return found


def there(quotes, t):
    """The quote that an order meets at t."""
    found = None
    for q in quotes:
        if left_exchange(q) <= t:
            found = q
    return found


def oracle_label(
    quotes,
    trades,
    *,
    t_send,
    side,
    R_bps,
    latency,
    horizon,
    end,
    R_target=0.9,
    R_stop=1.1,
    slices=1,
    gap=0,
    size=10_000.0,
    lot=0.0,
    limit=None,
    expiry=0,
    face=0.0,
):
    """(outcome, t_fill, t_end, entry price, exit price), prices as fractions; None without a trade.

    ``limit`` makes it a maker. ``face``: quote value of one inverse contract; its mean price is the money spent for
    each coin received. ``lot``: smallest step of a quantity, 0 for none.
    """
    if not 0 < R_bps < math.inf:
        return NO_DATA
    if limit is None:
        entry = sliced(quotes, t_send, side, latency, end, slices, gap, size, lot, face)
    else:
        entry = rested(quotes, trades, t_send, side, exact(limit), latency, expiry, end, size, lot, face)
    if len(entry) > 3:
        return entry
    t_fill, price, answer = entry
    leave = "bid" if side > 0 else "ask"
    unit = price * exact(R_bps) / 10_000
    up, down = exact(R_target) * unit, -exact(R_stop) * unit
    outcome = None
    for t in range(t_send, max(t_fill + horizon, answer) + 1):
        arrived = [q for q in quotes if q["local_ts"] == t]
        if t > t_send and not all(is_book(q) for q in arrived):
            return NO_DATA
        if t == answer:  # the one that is in force then
            arrived = [here(quotes, t)]
        if t >= answer:
            moves = [side * (exact(q[leave]) - price) for q in arrived]
            if any(m <= down for m in moves):
                outcome = STOP
            elif any(m >= up for m in moves):
                outcome = TARGET
            if outcome is not None:
                break
    else:
        outcome = TIMEOUT
    q = there(quotes, t + latency)
    if t + latency > end or not is_book(q):
        return NO_DATA
    return outcome, t_fill, t + latency, price, exact(q[leave])


def whole_lots(quantity, lot):
    return quantity if lot == 0 else math.floor(quantity / exact(lot)) * exact(lot)


def sliced(quotes, t_send, side, latency, end, slices, gap, size, lot, face):
    """(first fill, mean price, last answer), or a label without a trade."""
    fills = []
    for s in range(slices):
        t = t_send + s * gap
        seen, met = here(quotes, t), there(quotes, t + latency)
        if t + latency > end or not is_book(seen) or not is_book(met):
            return NO_DATA
        one = exact(face) if face else (exact(seen["bid"]) + exact(seen["ask"])) / 2
        offered = exact(seen["ask_qty" if side > 0 else "bid_qty"])
        quantity = whole_lots(min(exact(size) / slices / one, offered), lot)
        if quantity > 0:
            fills.append((t + latency, quantity, exact(met["ask" if side > 0 else "bid"])))
    if not fills:
        return NOT_FILLED
    whole = sum(q for _, q, _ in fills)
    if face:
        price = whole / sum(q / p for _, q, p in fills)
    else:
        price = sum(q * p for _, q, p in fills) / whole
    return fills[0][0], price, t_send + (slices - 1) * gap + 2 * latency


def rested(quotes, trades, t_send, side, limit, latency, expiry, end, size, lot, face):
    """(fill, limit, answer), or a label without a trade."""
    own, other = ("bid", "ask") if side > 0 else ("ask", "bid")

    def would_take(q):
        return side * (limit - exact(q[other])) >= 0

    def is_best(q):
        return exact(q[own]) == limit

    def is_better_than_all(q):
        return side * (limit - exact(q[own])) > 0

    seen = here(quotes, t_send)
    if not is_book(seen):
        return NO_DATA
    if would_take(seen):
        limit = exact(seen[own])
    if whole_lots(exact(size) / (exact(face) if face else limit), lot) <= 0:
        return NOT_FILLED
    arrive = t_send + latency
    met = there(quotes, arrive)
    if arrive > end or not is_book(met):
        return NO_DATA
    if would_take(met):
        return NOT_FILLED
    queue = math.inf
    if is_best(met):
        queue = exact(met[own + "_qty"])
    elif is_better_than_all(met):
        queue = 0
    for t in range(arrive + 1, arrive + expiry + 1):
        for trade in trades:
            if left_exchange(trade) != t or trade["side"] != -side:
                continue
            if side * (limit - exact(trade["px"])) > 0:
                return t, limit, t + latency
            if exact(trade["px"]) == limit:
                queue -= exact(trade["qty"])
                if queue < 0:
                    return t, limit, t + latency
        for q in quotes:
            if left_exchange(q) != t:
                continue
            if not is_book(q):
                return NO_DATA
            if would_take(q):
                return t, limit, t + latency
            if is_best(q):
                queue = min(queue, exact(q[own + "_qty"]))
            elif is_better_than_all(q):
                queue = min(queue, 0)
    return NO_DATA if arrive + expiry > end else NOT_FILLED


def oracle_uniqueness(start, end):
    """Mean of 1 / alive over each span, one elementary interval at a time."""
    knots = sorted(set(start) | set(end))
    out = []
    for a, b in zip(start, end, strict=True):
        if a == b:
            out.append(1.0 / sum(s <= a <= e for s, e in zip(start, end, strict=True)))
            continue
        total = 0.0
        for lo, hi in itertools.pairwise(knots):
            if a <= lo and hi <= b:
                total += (hi - lo) / sum(s <= lo and hi <= e for s, e in zip(start, end, strict=True))
        out.append(total / (b - a))
    return out
