"""The 100 ms feature engine: one kernel for batch and stream, over one state.

Rows of the tape that share (local_ts, exch_ts) are one message. Its book rows are applied as they come, but best
quotes and order flow are judged only once it is complete: when an event of another message arrives or a window
closes. So no cut of the event stream into batches changes a bit.

The book is good when a snapshot has been seen since the last gap, both sides hold levels, and they do not cross.
After a break of the book: scores, medians, VWAP, regime and ATR keep their memory; returns, ranges and the running
ATR bar do not reach across it; rows are valid again after the warm-up.
"""

from __future__ import annotations

import numpy as np

from .book import clear_levels, set_level
from .closing import SOURCES, close_window
from .constants import ENGINE, SECOND_NS, WINDOW_NS, EngineDefaults
from .events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EXCH,
    FUNDING,
    GAP,
    KIND_MASK,
    LIQUIDATION,
    LOCAL,
    SELL,
    TRADE,
)  # fmt: skip
from .instruments import Instrument
from .jit import kernel_jit
from .state import BOOK_LEVELS, REJECTIONS, allocate

__all__ = ["Engine"]

_jit = kernel_jit(__file__, *SOURCES)

_SIDES = BUY | SELL
_PASSES = EXCH | LOCAL
_LARGEST = 1e15
_WEEK_NS = 7 * 86_400 * SECOND_NS
_MINUTE_NS = 60 * SECOND_NS
(_UNKNOWN, _TIME, _LATE, _JUMP, _SIDE, _PRICE, _QUANTITY, _OVERFLOW, _FUNDING, _NOT_LOCAL) = range(len(REJECTIONS))


@_jit
def _ofi(prev_key, prev_qty, key, qty):
    """Flow on one side's level: what was added at a better or equal price less what was there before.

    Cont, Kukanov and Stoikov (2014), eq. 3; a larger key is a better price on either side.
    """
    flow = 0.0
    if key >= prev_key:
        flow += qty
    if key <= prev_key:
        flow -= prev_qty
    return flow


@_jit
def _write_quote(s, F, I, quote):
    """The best quotes as they stand, or NaN without a good book."""
    quote.local_ts = s.m_local
    quote.exch_ts = s.quote_exch
    if s.book_ok:
        bid, ask = I[s.o_bk + s.nb - 1], -I[s.o_ak + s.na - 1]
        quote.bid = bid / s.inv if s.inv > 0.0 else bid * s.tick
        quote.ask = ask / s.inv if s.inv > 0.0 else ask * s.tick
        quote.bid_qty, quote.ask_qty = F[s.o_bq + s.nb - 1], F[s.o_aq + s.na - 1]
    else:
        quote.bid = quote.ask = quote.bid_qty = quote.ask_qty = np.nan


@_jit
def _complete(s, F, I, quotes, made):
    """Judge the pending message: validity, order flow of levels 1 to 3, best quotes. Returns the quotes written."""
    s.dirty = 0
    was_ok = s.book_ok
    good = s.synced and s.nb > 0 and s.na > 0 and I[s.o_bk + s.nb - 1] < -I[s.o_ak + s.na - 1]
    s.book_ok = 1 if good else 0
    s.quote_exch = max(s.quote_exch, s.m_exch)
    if not good:
        if was_ok:
            _write_quote(s, F, I, quotes[made])
            made += 1
        return made
    changed = not was_ok
    if not was_ok:
        s.valid_since = s.m_local
    nb, na = min(s.nb, 3), min(s.na, 3)
    top_k, top_q = I[s.o_topk : s.o_topk + 6], F[s.o_top : s.o_top + 6]
    for level in range(3):
        weight = s.w1 if level == 0 else (s.w2 if level == 1 else s.w3)
        flow = 0.0
        if level < nb:
            key, qty = I[s.o_bk + s.nb - 1 - level], F[s.o_bq + s.nb - 1 - level]
            if was_ok and level < s.top_nb:
                flow += _ofi(top_k[level], top_q[level], key, qty)
            changed = changed or (level == 0 and (key != top_k[0] or qty != top_q[0]))
            top_k[level], top_q[level] = key, qty
        if level < na:
            key, qty = I[s.o_ak + s.na - 1 - level], F[s.o_aq + s.na - 1 - level]
            if was_ok and level < s.top_na:
                flow -= _ofi(top_k[3 + level], top_q[3 + level], key, qty)
            changed = changed or (level == 0 and (key != top_k[3] or qty != top_q[3]))
            top_k[3 + level], top_q[3 + level] = key, qty
        if level == 0:
            s.w_ofi += flow
        s.w_ofi3 += weight * flow
    s.top_nb, s.top_na = nb, na
    if changed:
        _write_quote(s, F, I, quotes[made])
        made += 1
    return made


@_jit
def _refusal(s, ev, kind, exch, local, px, qty, rate):
    """Why this event must not be applied, or -1."""
    if ev & _PASSES == EXCH:
        return _NOT_LOCAL
    if kind not in (DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_BBO, LIQUIDATION, FUNDING, GAP):
        return _UNKNOWN
    if local <= 0 or (exch <= 0 and kind != GAP):
        return _TIME
    if s.started:
        if local < s.last_local or local < s.t_next - WINDOW_NS:
            return _LATE
        if local - s.last_local > _WEEK_NS:
            return _JUMP
    if kind == GAP:
        return -1
    if exch - local > _MINUTE_NS:
        return _JUMP
    if kind in (DEPTH_CLEAR, DEPTH_BBO):
        return -1
    if kind == FUNDING:
        return -1 if np.isfinite(rate) else _FUNDING
    sides = ev & _SIDES
    if kind != TRADE and (sides == 0 or sides == _SIDES):
        return _SIDE
    if not px > 0.0 or px == np.inf:
        return _PRICE
    if not qty >= 0.0 or qty == np.inf or (qty == 0.0 and kind in (TRADE, LIQUIDATION)):
        return _QUANTITY
    if px / s.tick > _LARGEST or qty > _LARGEST:
        return _OVERFLOW
    return -1


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
        sides = ev & _SIDES
        if sides == BUY:
            s.w_dv += qty
        elif sides == SELL:
            s.w_dv -= qty
    elif kind == LIQUIDATION:
        worth = qty * s.contract if s.contract > 0.0 else px * qty
        if ev & BUY:
            s.w_lb += worth
        else:
            s.w_ls += worth
    elif kind == FUNDING:
        s.funding = rate
    if kind in (TRADE, DEPTH):
        delay = local - exch
        at = s.o_sec + s.p_sec * 6 + 5
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
    sides = ev & _SIDES
    if kind == DEPTH_CLEAR:
        # As hftbacktest does: through the price given, or all of the side without one.
        ticks = np.int64(np.rint(px / s.tick)) if px > 0.0 and px / s.tick < _LARGEST else np.int64(0)
        if sides != SELL:
            s.nb = clear_levels(I[s.o_bk : s.o_bk + s.cap], s.nb, ticks) if ticks > 0 else 0
        if sides != BUY:
            s.na = clear_levels(I[s.o_ak : s.o_ak + s.cap], s.na, -ticks) if ticks > 0 else 0
        return
    ticks = np.int64(np.rint(px / s.tick))
    if sides == BUY:
        s.nb = set_level(I[s.o_bk : s.o_bk + s.cap], F[s.o_bq : s.o_bq + s.cap], s.nb, ticks, qty)
    else:
        s.na = set_level(I[s.o_ak : s.o_ak + s.cap], F[s.o_aq : s.o_aq + s.cap], s.na, -ticks, qty)


@_jit
def _gap(s, F, I, local, quotes, made):
    """The sequence broke: nothing of the book is known until the next snapshot."""
    s.synced = s.nb = s.na = 0
    if s.book_ok:
        s.book_ok = 0
        s.m_local = local
        _write_quote(s, F, I, quotes[made])
        made += 1
    return made


@_jit
def _close_until(s, F, I, now, X, M, quotes, row, made):
    """Close the windows that end at or before ``now``, as long as there is room. Returns rows and quotes written."""
    while s.t_next <= now and row < len(M):
        if s.dirty:
            made = _complete(s, F, I, quotes, made)
        close_window(s, F, I, s.t_next, X[row], M[row])
        s.t_next += WINDOW_NS
        row += 1
    return row, made


@_jit
def _process(S, F, I, events, now, X, M, quotes):
    """Apply events in order, then close the windows that end at or before ``now``.

    Returns how many events were used, and the rows and quotes written; stops where room runs out.
    """
    s = S[0]
    row = made = 0
    for i in range(len(events)):
        e = events[i]
        ev, exch, local, px, qty = np.int64(e.ev), e.exch_ts, e.local_ts, e.px, e.qty
        kind = ev & KIND_MASK
        if kind == GAP and s.started:
            # The one event that is never too late: a book that may be broken is not trusted, whatever the clock says.
            earliest = max(s.last_local, s.t_next - WINDOW_NS)
            if local < earliest or local - s.last_local > _WEEK_NS:
                local = earliest
        reason = _refusal(s, ev, kind, exch, local, px, qty, e.fval)
        if reason >= 0:
            I[s.o_rej + reason] += 1
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
            made = _complete(s, F, I, quotes, made)
        s.last_local = local
        if kind == GAP:
            made = _gap(s, F, I, local, quotes, made)
        elif kind in (DEPTH, DEPTH_SNAPSHOT, DEPTH_CLEAR):
            _book_event(s, F, I, ev, kind, exch, local, px, qty)
        _flow_event(s, F, ev, kind, exch, local, px, qty, e.fval)
    if s.started and made < len(quotes):
        row, made = _close_until(s, F, I, now, X, M, quotes, row, made)
    return len(events), row, made


class Engine:
    """The kernel and its state for one symbol.

    Parameters
    ----------
    instrument : tick, lot, kind and value of a contract
    config : windows and memories
    book_levels : levels kept per side
    """

    def __init__(
        self, instrument: Instrument, config: EngineDefaults = ENGINE, *, book_levels: int = BOOK_LEVELS
    ) -> None:
        self.instrument, self.config = instrument, config
        self.state = allocate(instrument, config, book_levels=book_levels)
        self._arrays = (self.state.scalars, self.state.floats, self.state.ints)

    def process(
        self, events: np.ndarray, rows: np.ndarray, market: np.ndarray, quotes: np.ndarray, *, now_ns: int = 0
    ) -> tuple[int, int, int]:
        """Apply EVENT_DTYPE [n] in order, then close the windows with t_k <= now_ns; write what closes and changes.

        Returns
        -------
        used, rows written to ``rows`` float32 [r, 24] and ``market`` MARKET_DTYPE [r], and quotes written to ``quotes``
        QUOTE_DTYPE [q]. ``used < n``, or rows == r, when room ran out (``q >= 2`` is needed at all): call again with
        the rest.
        """
        if events.flags.writeable:
            # To numba, read-only arrays are a signature of their own: compile that one only.
            events = events.view()
            events.flags.writeable = False
        return _process(*self._arrays, events, now_ns, rows, market, quotes)

    @property
    def rejected(self) -> dict[str, int]:
        """Events that were not applied, by reason; only reasons that occurred."""
        at = int(self.state.scalars["o_rej"][0])
        counts = self.state.ints[at : at + len(REJECTIONS)]
        return {name: int(count) for name, count in zip(REJECTIONS, counts, strict=True) if count}
