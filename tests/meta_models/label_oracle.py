"""The triple barrier and the uniqueness weights again, slowly: plain lists, no binary search, no early exit shared."""

from __future__ import annotations

import itertools
import math

TARGET, STOP, TIMEOUT, UNFILLED, INVALID = 0, 1, 2, 3, 4
NOTHING = (INVALID, None, None, None)


def in_force(quotes, clock, t):
    """The last quote whose time on that clock is <= t, or None when there is none or the book was invalid."""
    found = None
    for q in quotes:
        if q[clock] <= t:
            found = q
    if found is None or math.isnan(found["bid"]) or math.isnan(found["ask"]):
        return None
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
    limit=None,
    expiry=0,
    face=0.0,
):
    """(outcome, t_fill, entry_px, exit_px); the last three are None without a label. ``limit`` makes it a maker.

    ``face``: quote value of one inverse contract. Its mean price is money spent for each coin received.
    """
    if math.isnan(R_bps):
        return NOTHING
    enter = "ask" if side > 0 else "bid"
    leave = "bid" if side > 0 else "ask"
    if limit is None:
        fills = []
        for s in range(slices):
            here = in_force(quotes, "local_ts", t_send + s * gap)
            there = in_force(quotes, "exch_ts", t_send + s * gap + latency)
            if here is None or there is None or t_send + s * gap + latency > end:
                return NOTHING
            one = face if face else (here["bid"] + here["ask"]) / 2
            want = min(size / slices / one, here[enter + "_qty"])
            fills.append((t_send + s * gap + latency, want, there[enter]))
        t_fill = fills[0][0]
        if face:
            entry = sum(w * face for _, w, _ in fills) / sum(w * face / p for _, w, p in fills)
        else:
            entry = sum(w * p for _, w, p in fills) / sum(w for _, w, _ in fills)
        watch = t_send + (slices - 1) * gap + 2 * latency
    else:
        t_fill = rest(quotes, trades, t_send, side, limit, latency, expiry, end)
        if t_fill in (INVALID, UNFILLED):
            return (t_fill, None, None, None)
        t_fill, entry = t_fill
        watch = t_fill + latency
    for q in quotes:
        if t_send < q["local_ts"] <= watch and math.isnan(q["bid"]):
            return NOTHING
    deadline = max(t_fill + horizon, watch)
    instants = sorted({watch} | {q["local_ts"] for q in quotes if watch < q["local_ts"] <= deadline})
    outcome, trigger = TIMEOUT, deadline
    for t in instants:
        seen = [in_force(quotes, "local_ts", t)] if t == watch else [q for q in quotes if q["local_ts"] == t]
        if any(q is None or math.isnan(q["bid"]) for q in seen):
            return NOTHING
        moves = [side * (q[leave] / entry - 1.0) * 1e4 / R_bps for q in seen]
        if any(m <= -R_stop + 1e-9 for m in moves):
            outcome, trigger = STOP, t
            break
        if any(m >= R_target - 1e-9 for m in moves):
            outcome, trigger = TARGET, t
            break
    last = in_force(quotes, "exch_ts", trigger + latency)
    if trigger + latency > end or last is None:
        return NOTHING
    return (outcome, t_fill, entry, last[leave])


def rest(quotes, trades, t_send, side, limit, latency, expiry, end):
    """(t_fill, limit), or UNFILLED or INVALID."""
    own, other = ("bid", "ask") if side > 0 else ("ask", "bid")
    here = in_force(quotes, "local_ts", t_send)
    arrive, until = t_send + latency, t_send + latency + expiry
    there = in_force(quotes, "exch_ts", arrive)
    if here is None or there is None or arrive > end:
        return INVALID
    if side * (limit - here[other]) >= 0:
        limit = here[own]
    if side * (limit - there[other]) >= 0:
        return UNFILLED
    ahead = math.inf
    if there[own] == limit:
        ahead = there[own + "_qty"]
    elif side * (limit - there[own]) > 0:
        ahead = 0.0
    events = [(t["exch_ts"], 0, n, t) for n, t in enumerate(trades) if arrive < t["exch_ts"] <= until]
    after = [n for n, q in enumerate(quotes) if q["exch_ts"] > arrive]
    events += [(quotes[n]["exch_ts"], 1, n, quotes[n]) for n in after if quotes[n]["exch_ts"] <= until]
    for t, kind, _, row in sorted(events, key=lambda e: e[:3]):
        if kind == 0:
            if row["side"] != -side:
                continue
            if side * (limit - row["px"]) > 0:
                return t, limit
            if row["px"] == limit:
                ahead -= row["qty"]
                if ahead < -1e-9:
                    return t, limit
        else:
            if math.isnan(row["bid"]):
                return INVALID
            if side * (limit - row[other]) >= 0:
                return t, limit
            if row[own] == limit:
                ahead = min(ahead, row[own + "_qty"])
            elif side * (limit - row[own]) > 0:
                ahead = min(ahead, 0.0)
    return INVALID if until > end else UNFILLED


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
