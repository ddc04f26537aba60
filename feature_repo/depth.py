"""What lies in the book beyond its best price: the value of the top levels, and the cost of walking down them."""

from __future__ import annotations

from .book import best_key, far_levels, levels_below, next_level, quantity_at
from .jit import kernel_jit
from .state import NO_LEVEL

__all__ = ["price_of", "value_of_top", "walk_bps", "worth"]

_jit = kernel_jit(__file__)


@_jit
def price_of(s, key):
    """Price of a level of either side, in quote currency."""
    ticks = abs(key)
    return ticks / s.inv if s.inv > 0.0 else ticks * s.tick


@_jit
def worth(s, price, quantity):
    """Value of a level in quote currency."""
    return quantity * s.contract if s.contract > 0.0 else price * quantity


@_jit
def value_of_top(s, F, I, side, levels):
    """Value of the best ``levels`` levels in quote currency."""
    total, key = 0.0, best_key(s, I, side)
    while key != NO_LEVEL and levels > 0:
        total += worth(s, price_of(s, key), quantity_at(s, F, I, side, key))
        key = next_level(s, F, I, side, key)
        levels -= 1
    if levels > 0 and far_levels(s, I, side) > 0:
        keys, sizes = levels_below(s, F, I, side)
        for i in range(min(levels, len(keys))):
            total += worth(s, price_of(s, keys[i]), sizes[i])
    return total


@_jit
def walk_bps(s, F, I, side, size, mid):
    """Cost of taking ``size`` quote currency from a side, average price against ``mid``, in bps; inf if too thin."""
    left, base = size, 0.0
    key = best_key(s, I, side)
    while key != NO_LEVEL and left > 0.0:
        price = price_of(s, key)
        taken = min(left, worth(s, price, quantity_at(s, F, I, side, key)))
        base += taken / price
        left -= taken
        key = next_level(s, F, I, side, key)
    if left > 0.0 and far_levels(s, I, side) > 0:
        keys, sizes = levels_below(s, F, I, side)
        i = 0
        while i < len(keys) and left > 0.0:
            price = price_of(s, keys[i])
            taken = min(left, worth(s, price, sizes[i]))
            base += taken / price
            left -= taken
            i += 1
    if left > 0.0:
        return float("inf")
    return abs(size / base - mid) / mid * 1e4
