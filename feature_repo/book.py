"""An order book of two sides, each in two parts: a window of ticks around its best level, and a table of the rest.

Keys are price ticks, negated for asks: on both sides the best level has the largest key. Nearly all that happens lies
within a few thousand ticks of the best price; there a level is an element of an array. Levels farther out are kept in a
hash table, where they cost no more, and come into the window when the best price moves towards them.

What holds after every call: the best level lies in the upper three quarters of the window; every key in the table is
below the window. Quantities are base units, or contracts where the contract is inverse; 0 is no level.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel_jit
from .state import BLOCK, FAR_FREE, HEAD, NO_LEVEL

__all__ = [
    "ASKS",
    "BIDS",
    "best_key",
    "clear_levels",
    "far_levels",
    "levels_below",
    "next_level",
    "quantity_at",
    "set_level",
]

_jit = kernel_jit(__file__)

BASE, BEST, NEAR, FAR, USED = range(HEAD)
"""Of a side's head in the state's ints: key of the window's first tick; best key; levels in the window and in the
table; slots of the table that were ever used, those of levels since removed included."""

BIDS, ASKS = np.int64(0), np.int64(1)
"""The sides. Not plain numbers: numba would compile everything once for each of those."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@_jit
def best_key(s, I, side):
    """Largest key of a side; ``NO_LEVEL`` for an empty one."""
    return I[s.o_head + side * HEAD + BEST]


@_jit
def quantity_at(s, F, I, side, key):
    """Size of a level in the window."""
    return F[s.o_near + side * s.n_near + key - I[s.o_head + side * HEAD + BASE]]


@_jit
def far_levels(s, I, side):
    """How many levels a side has outside the window, all of them worse."""
    return I[s.o_head + side * HEAD + FAR]


@_jit
def next_level(s, F, I, side, key):
    """The largest key below ``key`` in the window, ``NO_LEVEL`` if there is none."""
    base = I[s.o_head + side * HEAD + BASE]
    first, count = s.o_near + side * s.n_near, s.o_count + side * (s.n_near // BLOCK)
    at = min(key - base, s.n_near) - 1
    while at >= 0:
        if at % BLOCK == BLOCK - 1 and I[count + at // BLOCK] == 0:
            at -= BLOCK
        elif F[first + at] > 0.0:
            return base + at
        else:
            at -= 1
    return NO_LEVEL


@_jit
def levels_below(s, F, I, side):
    """The table's levels, best first: keys int64 [n] and sizes float64 [n]. Slow; for books thinner than a window."""
    n, first = 0, side * s.n_far
    keys, sizes = np.empty(s.n_far, np.int64), np.empty(s.n_far)
    for slot in range(first, first + s.n_far):
        if F[s.o_far + slot] > 0.0:
            keys[n], sizes[n] = I[s.o_far_key + slot], F[s.o_far + slot]
            n += 1
    # Shell's sort: numba's argsort takes seconds to compile, in every function that comes to it.
    step = n // 2
    while step > 0:
        for i in range(step, n):
            key, size, at = keys[i], sizes[i], i
            while at >= step and keys[at - step] < key:
                keys[at], sizes[at] = keys[at - step], sizes[at - step]
                at -= step
            keys[at], sizes[at] = key, size
        step //= 2
    return keys[:n], sizes[:n]


@_jit
def set_level(s, F, I, side, key, quantity):
    """Set the size of one level; 0 removes it.

    Parameters
    ----------
    s : record STATE_DTYPE; F, I : the engine's arrays
    side : 0 bids, 1 asks
    key : price ticks, negated for asks
    """
    head = s.o_head + side * HEAD
    at = key - I[head + BASE]
    if at < 0 or at >= s.n_near:
        _set_outside(s, F, I, side, key, quantity)
        return
    place = s.o_near + side * s.n_near + at
    old = F[place]
    F[place] = quantity
    if quantity > 0.0:
        if old == 0.0:
            _count(s, I, side, at, 1)
            if key > I[head + BEST]:
                I[head + BEST] = key
                if at < s.n_near // 4:
                    _centre(s, F, I, side, key)
    elif old > 0.0:
        _count(s, I, side, at, -1)
        if key == I[head + BEST]:
            _find_best(s, F, I, side)


@_jit
def clear_levels(s, F, I, side, key):
    """Forget the levels from the best one through ``key``, as hftbacktest clears; all of a side for ``NO_LEVEL``."""
    head = s.o_head + side * HEAD
    base = I[head + BASE]
    if key < base + s.n_near:
        low = max(key - base, 0)
        for at in range(low, s.n_near):
            place = s.o_near + side * s.n_near + at
            if F[place] > 0.0:
                F[place] = 0.0
                _count(s, I, side, at, -1)
    if key < base:
        for slot in range(side * s.n_far, (side + 1) * s.n_far):
            if I[s.o_far_key + slot] >= key and F[s.o_far + slot] > 0.0:
                F[s.o_far + slot] = 0.0
                I[head + FAR] -= 1
    if I[head + BEST] >= key:
        _find_best(s, F, I, side)


@_jit
def _count(s, I, side, at, change):
    """One level more or less in the window, and in its block of ticks."""
    I[s.o_head + side * HEAD + NEAR] += change
    I[s.o_count + side * (s.n_near // BLOCK) + at // BLOCK] += change


@_jit
def _find_best(s, F, I, side):
    """The best level is gone: find the next one, and move the window if it lies low or below."""
    head = s.o_head + side * HEAD
    if I[head + NEAR] > 0:
        best = next_level(s, F, I, side, I[head + BASE] + s.n_near)
    elif I[head + FAR] > 0:
        best = NO_LEVEL
        for slot in range(side * s.n_far, (side + 1) * s.n_far):
            if F[s.o_far + slot] > 0.0:
                best = max(best, I[s.o_far_key + slot])
    else:
        best = NO_LEVEL
    I[head + BEST] = best
    if best != NO_LEVEL and best - I[head + BASE] < s.n_near // 4:
        _centre(s, F, I, side, best)


@_jit
def _set_outside(s, F, I, side, key, quantity):
    """A level outside the window: a better one moves it, a farther one belongs into the table."""
    head = s.o_head + side * HEAD
    if key < I[head + BASE] and I[head + BEST] != NO_LEVEL:
        _set_far(s, F, I, side, key, quantity)
    elif quantity > 0.0:
        _centre(s, F, I, side, key)
        at = key - I[head + BASE]
        F[s.o_near + side * s.n_near + at] = quantity
        _count(s, I, side, at, 1)
        I[head + BEST] = key


@_jit
def _centre(s, F, I, side, best):
    """Move the window so that ``best``, at least the best key, lies at three quarters of it."""
    head, n = s.o_head + side * HEAD, s.n_near
    old_base = I[head + BASE]
    base = best - 3 * n // 4
    first = s.o_near + side * n
    if I[head + NEAR] > 0:
        held = F[first : first + n].copy()
        F[first : first + n] = 0.0
        I[head + NEAR] = 0
        I[s.o_count + side * (n // BLOCK) : s.o_count + (side + 1) * (n // BLOCK)] = 0
        I[head + BASE] = base
        for at in range(n):
            if held[at] > 0.0:
                key = old_base + at
                if key >= base:
                    F[first + key - base] = held[at]
                    _count(s, I, side, key - base, 1)
                else:
                    _set_far(s, F, I, side, key, held[at])
    I[head + BASE] = base
    if I[head + FAR] > 0 and base < old_base:
        for slot in range(side * s.n_far, (side + 1) * s.n_far):
            key = I[s.o_far_key + slot]
            if key >= base and F[s.o_far + slot] > 0.0:
                F[first + key - base] = F[s.o_far + slot]
                F[s.o_far + slot] = 0.0
                I[head + FAR] -= 1
                _count(s, I, side, key - base, 1)


@_jit
def _set_far(s, F, I, side, key, quantity):
    """Set the size of one level of the table."""
    if quantity > 0.0 and 4 * (I[s.o_head + side * HEAD + USED] + 1) > 3 * s.n_far:
        _shrink(s, F, I, side)
    _put_far(s, F, I, side, key, quantity)


@_jit
def _put_far(s, F, I, side, key, quantity):
    """The slot of ``key``, found by linear probing, takes the quantity; there is a free slot."""
    head, first = s.o_head + side * HEAD, side * s.n_far
    # Multiplicative hashing (Knuth, The Art of Computer Programming 6.4): the top bits of the product are well mixed.
    slot = np.int64((np.uint64(key) * _GOLDEN) >> np.uint64(s.far_shift))
    while I[s.o_far_key + first + slot] != key:
        if I[s.o_far_key + first + slot] == FAR_FREE:
            if quantity == 0.0:
                return
            I[s.o_far_key + first + slot] = key
            I[head + USED] += 1
            break
        slot = (slot + 1) & (s.n_far - 1)
    old = F[s.o_far + first + slot]
    F[s.o_far + first + slot] = quantity
    I[head + FAR] += np.int64(quantity > 0.0) - np.int64(old > 0.0)


@_jit
def _shrink(s, F, I, side):
    """Put the table's levels into it anew; of more than half a table the farthest quarter is dropped."""
    head, first = s.o_head + side * HEAD, side * s.n_far
    keys, sizes = levels_below(s, F, I, side)
    n = len(keys)
    if 2 * n > s.n_far:
        n -= n // 4
    I[s.o_far_key + first : s.o_far_key + first + s.n_far] = FAR_FREE
    F[s.o_far + first : s.o_far + first + s.n_far] = 0.0
    I[head + USED] = I[head + FAR] = 0
    for i in range(n):
        _put_far(s, F, I, side, keys[i], sizes[i])
