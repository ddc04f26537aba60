"""What a complete message means: whether the book is good, its order flow, and its best quotes."""

from __future__ import annotations

import numpy as np

from .book import ASKS, BIDS, best_key, far_levels, levels_below, next_level, quantity_at
from .depth import price_of
from .jit import kernel_jit
from .state import BREAKS, NO_LEVEL

__all__ = ["BY_GAP", "BY_SILENCE", "break_book", "complete"]

_jit = kernel_jit(__file__)

(BY_GAP, _CROSSED, _EMPTIED, BY_SILENCE) = range(len(BREAKS))


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
def _write_quote(s, F, I, local, quote):
    """The best quotes as they stand, or NaN without a good book."""
    quote.local_ts = local
    quote.exch_ts = s.quote_exch
    if s.book_ok:
        bid, ask = best_key(s, I, BIDS), best_key(s, I, ASKS)
        quote.bid, quote.ask = price_of(s, bid), price_of(s, ask)
        quote.bid_qty, quote.ask_qty = quantity_at(s, F, I, BIDS, bid), quantity_at(s, F, I, ASKS, ask)
    else:
        quote.bid = quote.ask = quote.bid_qty = quote.ask_qty = np.nan


@_jit
def break_book(s, F, I, local, reason, quotes, made):
    """The book ceases to be good, if it was. Returns the quotes written."""
    if s.book_ok:
        s.book_ok = 0
        I[s.o_brk + reason] += 1
        _write_quote(s, F, I, local, quotes[made])
        made += 1
    return made


@_jit
def _best_three(s, F, I, side, keys, sizes):
    """Fill in the best levels of a side, as many as there are up to three. Returns their number."""
    n, key = 0, best_key(s, I, side)
    while key != NO_LEVEL and n < 3:
        keys[n], sizes[n] = key, quantity_at(s, F, I, side, key)
        n += 1
        if n < 3:
            key = next_level(s, F, I, side, key)
    if n < 3 and far_levels(s, I, side) > 0:
        far_keys, far_sizes = levels_below(s, F, I, side)
        for i in range(min(3 - n, len(far_keys))):
            keys[n], sizes[n] = far_keys[i], far_sizes[i]
            n += 1
    return n


@_jit
def complete(s, F, I, quotes, made):
    """Judge the pending message: validity, order flow of levels 1 to 3, best quotes. Returns the quotes written."""
    s.dirty = 0
    was_ok = s.book_ok
    s.quote_exch = max(s.quote_exch, s.m_exch)
    bid, ask = best_key(s, I, BIDS), best_key(s, I, ASKS)
    if bid == NO_LEVEL or ask == NO_LEVEL:
        return break_book(s, F, I, s.m_local, _EMPTIED, quotes, made)
    if bid >= -ask:
        return break_book(s, F, I, s.m_local, _CROSSED, quotes, made)
    if not s.synced:
        return made
    s.book_ok = 1
    changed = not was_ok
    if not was_ok:
        s.valid_since = s.m_local
    keys, sizes = I[s.o_now_key : s.o_now_key + 6], F[s.o_now : s.o_now + 6]
    top_k, top_q = I[s.o_topk : s.o_topk + 6], F[s.o_top : s.o_top + 6]
    nb, na = _best_three(s, F, I, BIDS, keys, sizes), _best_three(s, F, I, ASKS, keys[3:], sizes[3:])
    for level in range(3):
        weight = s.w1 if level == 0 else (s.w2 if level == 1 else s.w3)
        flow = 0.0
        if level < nb:
            if was_ok and level < s.top_nb:
                flow += _ofi(top_k[level], top_q[level], keys[level], sizes[level])
            changed = changed or (level == 0 and (keys[0] != top_k[0] or sizes[0] != top_q[0]))
        if level < na:
            ask = 3 + level
            if was_ok and level < s.top_na:
                flow -= _ofi(top_k[ask], top_q[ask], keys[ask], sizes[ask])
            changed = changed or (level == 0 and (keys[3] != top_k[3] or sizes[3] != top_q[3]))
        if level == 0:
            s.w_ofi += flow
        s.w_ofi3 += weight * flow
    top_k[:], top_q[:] = keys, sizes
    s.top_nb, s.top_na = nb, na
    if changed:
        _write_quote(s, F, I, s.m_local, quotes[made])
        made += 1
    return made
