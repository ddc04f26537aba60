"""The kernel of the 100 ms feature engine: one for batch and stream, over one state.

Rows of the tape that share (local_ts, exch_ts) are one message. Its book rows are applied as they come, but best
quotes and order flow are judged only once it is complete: when an event of another message arrives or a window
closes. So no cut of the event stream into batches changes a bit.

The book is good when a snapshot has been seen since the last gap, both sides hold levels, they do not cross, and the
last book event is not a minute old. After a break of the book: scores, medians, VWAP, regime and ATR keep their
memory; returns, ranges and the running ATR bar do not reach across it; rows are valid again after the warm-up.
"""

from __future__ import annotations

import numpy as np

from .book import ASKS, BIDS, clear_levels, set_level
from .closing import close_window
from .constants import WINDOW_NS
from .depth import worth
from .events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    FUNDING,
    GAP,
    KIND_MASK,
    LIQUIDATION,
    SELL,
    TRADE,
)
from .fields import MARKET_DTYPE
from .jit import kernel_jit
from .message import BY_GAP, BY_SILENCE, break_book, complete
from .refusal import PASSES, SIDES, WEEK_NS, refuse
from .state import LARGEST, NO_LEVEL, SECOND_COLUMNS, STATE_DTYPE
from .table import QUOTE_DTYPE

__all__ = ["process_holding", "process_releasing"]

_jit = kernel_jit(__file__)

_SIDE_SHIFT = 28  # SELL is this bit, BUY the next: 1 asks, 2 bids


@_jit
def _flow_event(s, F, ev, kind, exch, local, px, qty, rate):
    """Trades, forced orders, funding, and the delay that depth and trade rows show."""
    if kind == TRADE:
        if s.anchor == 0.0:
            s.anchor = px
        shift = px - s.anchor
        s.w_vol += qty
        s.w_pd += qty * shift
        s.w_pdd += qty * shift * shift
        sides = ev & SIDES
        if sides == BUY:
            s.w_dv += qty
        elif sides == SELL:
            s.w_dv -= qty
    elif kind == LIQUIDATION:
        value = worth(s, px, qty)
        if ev & BUY:
            s.w_lb += value
        else:
            s.w_ls += value
    elif kind == FUNDING:
        s.funding = rate
    if kind in (TRADE, DEPTH):
        delay = local - exch
        at = s.o_sec + (s.p_sec + 1) * SECOND_COLUMNS - 1
        F[at] = min(F[at], delay)
        if s.ewma_t == 0:
            s.ewma = delay
        elif local > s.ewma_t:
            s.ewma += (1.0 - np.exp((s.ewma_t - local) / s.tau_ns)) * (delay - s.ewma)
        s.ewma_t = local


@_jit
def _book_event(s, F, I, ev, kind, exch, local, px, qty):
    """Apply one row to the book; what it means is judged when its message is complete."""
    if kind == DEPTH and not s.synced:
        return  # a diff without the book it belongs to
    if kind == DEPTH_SNAPSHOT:
        s.synced = 1
    s.dirty, s.m_local, s.m_exch, s.newest_exch = 1, local, exch, exch
    sides = ev & SIDES
    if kind == DEPTH_CLEAR:
        # As hftbacktest does: through the price given, or all of the side without one.
        ticks = np.int64(np.rint(px * s.per_tick)) if px > 0.0 and px <= s.most_px else np.int64(0)
        if sides != SELL:
            clear_levels(s, F, I, BIDS, ticks if ticks > 0 else NO_LEVEL)
        if sides != BUY:
            clear_levels(s, F, I, ASKS, -ticks if ticks > 0 else NO_LEVEL)
        return
    side = BIDS if sides == BUY else ASKS
    ticks = np.int64(np.rint(px * s.per_tick))
    set_level(s, F, I, side, ticks if side == BIDS else -ticks, qty)


@_jit
def _rest_of_message(s, F, I, events, at):
    """Apply the depth rows from ``at`` on that continue the pending message and cannot be refused.

    What is done once a message is done; returns where the rest begins. This is where the time of a day goes.
    """
    local, exch = s.m_local, s.m_exch
    per_tick, most_px = s.per_tick, s.most_px
    while at < len(events):
        e = events[at]
        ev, px, qty = np.int64(e.ev), e.px, e.qty
        sides = (ev & SIDES) >> _SIDE_SHIFT
        if (
            ev & KIND_MASK != DEPTH
            or e.local_ts != local
            or e.exch_ts != exch
            or ev & PASSES == EXCH
            or sides == 0
            or sides == 3
            or not (px * per_tick > 0.5 and px <= most_px and qty >= 0.0 and qty <= LARGEST)
        ):
            return at
        side = 2 - sides
        ticks = np.int64(np.rint(px * per_tick))
        set_level(s, F, I, side, ticks * (1 - 2 * side), qty)
        at += 1
    return at


@_jit
def _close_until(s, F, I, now, X, M, quotes, row, made):
    """Close the windows that end at or before ``now``, as long as there is room. Returns rows and quotes written."""
    while s.t_next <= now and row < len(M):
        if s.dirty:
            made = complete(s, F, I, quotes, made)
        if s.book_ok and s.t_next - s.m_local >= s.silence_ns:
            made = break_book(s, F, I, s.t_next, BY_SILENCE, quotes, made)
        close_window(s, F, I, s.t_next, X[row], M[row])
        s.t_next += WINDOW_NS
        row += 1
    return row, made


def _process(S, F, I, events, now, X, M, quotes):
    """Apply events in order, then close the windows that end at or before ``now``.

    Structured arrays come as bytes: numba looks at the type of those three times as fast. Returns how many events were
    used, and the rows and quotes written; stops where room runs out.
    """
    s = S.view(STATE_DTYPE)[0]
    events, M, quotes = events.view(EVENT_DTYPE), M.view(MARKET_DTYPE), quotes.view(QUOTE_DTYPE)
    row = made = i = np.int64(0)
    while i < len(events):
        e = events[i]
        ev, exch, local, px, qty = np.int64(e.ev), e.exch_ts, e.local_ts, e.px, e.qty
        kind = ev & KIND_MASK
        if kind == GAP and s.started:
            # The one event that is never too late: a book that may be broken is not trusted, whatever the clock says.
            earliest = max(s.last_local, s.t_next - WINDOW_NS)
            if local < earliest or local - s.last_local > WEEK_NS:
                local = earliest
        reason = refuse(s, ev, kind, exch, local, px, qty, e.fval)
        if reason >= 0:
            I[s.o_rej + reason] += 1
            i += 1
            continue
        if made + 2 > len(quotes):
            return i, row, made
        if not s.started:
            s.started = 1
            s.t_next = local - local % WINDOW_NS + WINDOW_NS
        if local >= s.t_next:
            row, made = _close_until(s, F, I, local, X, M, quotes, row, made)
            if local >= s.t_next:
                return i, row, made
        if s.dirty and (local != s.m_local or exch != s.m_exch or kind == GAP):
            made = complete(s, F, I, quotes, made)
        s.last_local = local
        _flow_event(s, F, ev, kind, exch, local, px, qty, e.fval)
        i += 1
        if kind == GAP:
            # Nothing of the book is known until the next snapshot.
            s.synced = 0
            clear_levels(s, F, I, BIDS, NO_LEVEL)
            clear_levels(s, F, I, ASKS, NO_LEVEL)
            made = break_book(s, F, I, local, BY_GAP, quotes, made)
        elif kind in (DEPTH, DEPTH_SNAPSHOT, DEPTH_CLEAR):
            _book_event(s, F, I, ev, kind, exch, local, px, qty)
            if kind == DEPTH and s.synced:
                i = _rest_of_message(s, F, I, events, i)
    if s.started and made + 2 <= len(quotes):
        row, made = _close_until(s, F, I, now, X, M, quotes, row, made)
    return len(events), row, made


process_releasing = kernel_jit(__file__, nogil=True)(_process)
"""For a batch: other threads run meanwhile."""
process_holding = kernel_jit(__file__)(_process)
"""For a live process, which must not wait for other threads after every event: keeps the interpreter's lock."""
