"""The kernel of ``walk.py``: a plain book, best quotes, order flow and trades, row by row."""

from __future__ import annotations

import numpy as np

from ..constants import MS_NS, SECOND_NS
from ..events import BUY, DEPTH, DEPTH_BBO, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, KIND_MASK, SELL, TRADE
from ..jit import kernel_jit

__all__ = ["SILENCE_NS", "STEP_NS", "WINDOW_DTYPE", "new_state", "run", "run_end"]

STEP_NS = 100 * MS_NS
SILENCE_NS = 60 * SECOND_NS
"""A time without any row that is longer is left out instead of being filled with the last quotes."""

WINDOW_DTYPE = np.dtype(
    [
        ("k", "i8"),  # the window is [k, k + 1) x 100 ms from the tape's first local_ts on
        ("bid", "f8", 2),  # at its end, by the depth messages and by the best-quote messages; NaN where unknown
        ("ask", "f8", 2),
        ("ofi", "f8", 2),  # level 1, base units
        ("broken", "i4", 2),  # 1: best quotes were unknown for some of the time
        ("bid_qty", "f4"),  # at its end, by the depth messages, base units
        ("ask_qty", "f4"),
        ("bid_qty5", "f4"),  # best five levels
        ("ask_qty5", "f4"),
        ("buy_qty", "f4"),  # traded, by aggressor
        ("sell_qty", "f4"),
        ("orders", "i4"),  # market orders
    ],
    align=True,
)

_jit = kernel_jit(__file__)
SPREADS = 1024
RING = 1024
_BOOK, _QUOTE = 0, 1  # sources of best quotes
# Integers of the state; the first three are pairs, one a source.
_GOOD, _TOUCHED, _SINCE = 0, 2, 4
_SYNCED, _CUT, _BEGUN, ORIGIN, LOCAL, _EXCH, AT, _ORDER_EXCH, _SIGN, ORDERS = range(6, 16)
TRADES, DEPTHS, QUOTES, SIGN_SUM, _INTS = range(16, 21)
# Floats of a source: bid, its size, ask, its size; spread x time; rows of a message not yet judged.
_BID, _BID_QTY, _ASK, _ASK_QTY, SPREAD_BPS, _NEW_BID, _NEW_BID_QTY, _NEW_ASK, _NEW_ASK_QTY, STEP, _FLOATS = range(11)


@_jit
def _move(source, target, up):
    """Copy onto an overlapping slice. Two slices with one plain loop: that compiles to one block move."""
    if up:
        for j in range(len(source) - 1, -1, -1):
            target[j] = source[j]
    else:
        for j in range(len(source)):
            target[j] = source[j]


@_jit
def _set_level(keys, sizes, n, key, qty, step):
    """Set one level of a side (ascending keys, asks negated; the best lies last). Returns levels and smallest step."""
    low, high, reach = n, n, 1
    while low > 0:
        low = max(low - reach, 0)
        if keys[low] < key:
            break
        high = low
        reach *= 2
    # All below low are smaller than the key, all from high on are not.
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < n and keys[low] == key:
        if qty > 0.0:
            sizes[low] = qty
            return n, step
        _move(keys[low + 1 : n], keys[low : n - 1], False)
        _move(sizes[low + 1 : n], sizes[low : n - 1], False)
        return n - 1, step
    if qty <= 0.0:
        return n, step
    _move(keys[low:n], keys[low + 1 : n + 1], True)
    _move(sizes[low:n], sizes[low + 1 : n + 1], True)
    keys[low] = key
    sizes[low] = qty
    if low > 0:
        step = min(step, key - keys[low - 1])
    if low < n:
        step = min(step, keys[low + 1] - key)
    return n + 1, step


@_jit
def _flow(key0, qty0, key1, qty1):
    """Order flow on one side's best level; a larger key is a better price. Cont, Kukanov, Stoikov (2014), eq. (3)."""
    return (qty1 if key1 >= key0 else 0.0) - (qty0 if key1 <= key0 else 0.0)


@_jit
def _settle(source, good, I, F, spreads, tick, window):
    """A message that touched the best quotes is complete: time at the spread before it, order flow, new quotes."""
    S = F[source]
    local = I[LOCAL]
    was = I[_GOOD + source] == 1
    if was:
        held = local - I[_SINCE + source]
        if held <= SILENCE_NS:
            spread = S[_ASK] - S[_BID]
            spreads[source, min(int(spread / tick + 0.5), SPREADS - 1)] += held
            S[SPREAD_BPS] += held * 2e4 * spread / (S[_ASK] + S[_BID])
    I[_SINCE + source] = local
    I[_GOOD + source] = 1 if good else 0
    if not good or I[_CUT] == 1:
        window.broken[source] = 1
    if not good:
        return
    if was and I[_CUT] == 0:
        window.ofi[source] += _flow(S[_BID], S[_BID_QTY], S[_NEW_BID], S[_NEW_BID_QTY]) - _flow(
            -S[_ASK], S[_ASK_QTY], -S[_NEW_ASK], S[_NEW_ASK_QTY]
        )
    S[_BID : _ASK_QTY + 1] = S[_NEW_BID : _NEW_ASK_QTY + 1]


@_jit
def _judge(keys, sizes, count, I, F, spreads, tick, window):
    """The pending message is complete."""
    if I[_TOUCHED] == 1:
        nb, na = count[0], count[1]
        good = I[_SYNCED] == 1 and nb > 0 and na > 0 and keys[0, nb - 1] < -keys[1, na - 1]
        if good:
            S = F[_BOOK]
            S[_NEW_BID], S[_NEW_BID_QTY] = keys[0, nb - 1], sizes[0, nb - 1]
            S[_NEW_ASK], S[_NEW_ASK_QTY] = -keys[1, na - 1], sizes[1, na - 1]
        _settle(_BOOK, good, I, F, spreads, tick, window)
        I[DEPTHS] += 1
    if I[_TOUCHED + 1] == 1:
        # False for NaN, too: a side that no row has told yet.
        good = F[_QUOTE, _NEW_BID] < F[_QUOTE, _NEW_ASK]
        _settle(_QUOTE, good, I, F, spreads, tick, window)
        I[QUOTES] += 1
    I[_TOUCHED] = I[_TOUCHED + 1] = I[_CUT] = 0


@_jit
def _top(sizes, n, levels):
    total = 0.0
    for j in range(max(n - levels, 0), n):
        total += sizes[j]
    return total


@_jit
def _close(sizes, count, I, F, window):
    """Write the state at a window's end into it."""
    for source in range(2):
        if I[_GOOD + source] == 1:
            window.bid[source], window.ask[source] = F[source, _BID], F[source, _ASK]
        else:
            window.broken[source] = 1
            window.bid[source] = window.ask[source] = np.nan
    if I[_GOOD] == 1:
        window.bid_qty, window.ask_qty = F[_BOOK, _BID_QTY], F[_BOOK, _ASK_QTY]
        window.bid_qty5, window.ask_qty5 = _top(sizes[0], count[0], 5), _top(sizes[1], count[1], 5)
    else:
        window.bid_qty = window.ask_qty = window.bid_qty5 = window.ask_qty5 = np.nan


@_jit
def _open(I, window, k):
    window.k = k
    window.buy_qty = window.sell_qty = 0.0
    window.orders = 0
    for source in range(2):
        window.ofi[source] = 0.0
        window.broken[source] = 1 - I[_GOOD + source]


@_jit
def _count_sign(sign, I, ring, lags, products, pairs):
    """One more market order."""
    n = I[ORDERS]
    for j in range(len(lags)):
        if lags[j] > n:
            break
        products[j] += sign * ring[(n - lags[j]) % RING]
        pairs[j] += 1
    ring[n % RING] = sign
    I[ORDERS] = n + 1
    I[SIGN_SUM] += sign


@_jit
def _advance(sizes, count, I, F, windows, k, silent):
    """Close windows until the one numbered ``k`` is open; a silence is left out."""
    _close(sizes, count, I, F, windows[I[AT]])
    for j in range(k if silent else windows[I[AT]].k + 1, k + 1):
        I[AT] += 1
        _open(I, windows[I[AT]], j)
        if j < k:
            _close(sizes, count, I, F, windows[I[AT]])


@_jit
def run(ev, exch, local, px, qty, keys, sizes, count, I, F, spreads, tick, ring, lags, products, pairs, windows):
    """Take the rows of one chunk; the state lies in the arrays. Returns the book's arrays, which may have grown."""
    for i in range(len(ev)):
        if local[i] != I[LOCAL] or exch[i] != I[_EXCH] or I[_BEGUN] == 0:
            if I[_TOUCHED] == 1 or I[_TOUCHED + 1] == 1:
                _judge(keys, sizes, count, I, F, spreads, tick, windows[I[AT]])
            if I[_BEGUN] == 0:
                I[_BEGUN], I[ORIGIN] = 1, local[i]
                _open(I, windows[0], 0)
            elif local[i] - I[ORIGIN] >= (windows[I[AT]].k + 1) * STEP_NS:
                k = (local[i] - I[ORIGIN]) // STEP_NS
                _advance(sizes, count, I, F, windows, k, local[i] - I[LOCAL] > SILENCE_NS)
            I[LOCAL], I[_EXCH] = local[i], exch[i]
        kind = np.int64(ev[i] & np.uint64(KIND_MASK))
        side = 0 if ev[i] & np.uint64(BUY) else 1
        if kind in (DEPTH, DEPTH_SNAPSHOT):
            I[_TOUCHED] = 1
            if kind == DEPTH_SNAPSHOT:
                I[_SYNCED] = 1
            if count[side] == keys.shape[1]:
                wide_keys, wide_sizes = np.empty((2, 2 * keys.shape[1])), np.empty((2, 2 * keys.shape[1]))
                wide_keys[:, : keys.shape[1]] = keys
                wide_sizes[:, : keys.shape[1]] = sizes
                keys, sizes = wide_keys, wide_sizes
            key = px[i] if side == 0 else -px[i]
            count[side], F[0, STEP] = _set_level(keys[side], sizes[side], count[side], key, qty[i], F[0, STEP])
        elif kind == DEPTH_BBO:
            I[_TOUCHED + 1] = 1
            at = _NEW_BID if side == 0 else _NEW_ASK
            F[_QUOTE, at], F[_QUOTE, at + 1] = px[i], qty[i]
        elif kind == TRADE:
            I[TRADES] += 1
            sign = 1 if side == 0 else (-1 if ev[i] & np.uint64(SELL) else 0)
            window = windows[I[AT]]
            if sign > 0:
                window.buy_qty += qty[i]
            elif sign < 0:
                window.sell_qty += qty[i]
            # The fills of one market order share its exchange time.
            if sign != 0 and (sign != I[_SIGN] or exch[i] != I[_ORDER_EXCH]):
                _count_sign(sign, I, ring, lags, products, pairs)
                window.orders += 1
                I[_SIGN], I[_ORDER_EXCH] = sign, exch[i]
        elif kind == DEPTH_CLEAR:
            I[_TOUCHED] = 1
            count[side] = 0
        elif kind == GAP:
            count[:] = 0
            I[_SYNCED] = 0
            F[_QUOTE, _NEW_BID] = F[_QUOTE, _NEW_ASK] = np.nan
            I[_TOUCHED] = I[_CUT] = 1
            I[_TOUCHED + 1] = 1 if I[QUOTES] > 0 else I[_TOUCHED + 1]
    return keys, sizes


@_jit
def run_end(keys, sizes, count, I, F, spreads, tick, windows):
    if I[_TOUCHED] == 1 or I[_TOUCHED + 1] == 1:
        _judge(keys, sizes, count, I, F, spreads, tick, windows[I[AT]])
    _close(sizes, count, I, F, windows[I[AT]])


def new_state() -> tuple[np.ndarray, np.ndarray]:
    """Integers and floats of a walk that has seen nothing."""
    I, F = np.zeros(_INTS, np.int64), np.zeros((2, _FLOATS))
    I[_ORDER_EXCH] = np.iinfo(np.int64).min
    F[_QUOTE, _NEW_BID] = F[_QUOTE, _NEW_ASK] = np.nan
    F[0, STEP] = np.inf
    return I, F
