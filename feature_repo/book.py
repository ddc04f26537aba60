"""One side of an order book in two sorted arrays.

Keys are price ticks, negated for asks: on both sides the best level has the largest key and lies at the END, where
most updates fall and little has to be moved. Quantities lie beside them: base units, or contracts where the contract
is inverse.
"""

from __future__ import annotations

from .jit import kernel_jit

__all__ = ["clear_levels", "set_level", "value_of_top", "walk_bps"]

_jit = kernel_jit(__file__)


@_jit
def _copy_up(source, target):
    """Copy onto an overlapping slice that begins later. Two plain slices: numba makes one fast block move of it."""
    for i in range(len(source) - 1, -1, -1):
        target[i] = source[i]


@_jit
def _copy_down(source, target):
    """Copy onto an overlapping slice that begins earlier."""
    for i in range(len(source)):
        target[i] = source[i]


@_jit
def set_level(keys, quantities, n, key, quantity):
    """Set the size of one level; 0 removes it.

    Parameters
    ----------
    keys : int64 [cap], ascending in [0, n)
    quantities : float64 [cap]
    n : levels in use

    Returns
    -------
    levels in use afterwards. On a full side the farthest quarter is dropped first; a new level farther than all others
    is then kept, for it is the farthest of what is left.
    """
    # Gallop from the best level outwards: the place is nearly always within a few steps.
    low, high, step = n, n, 1
    while low > 0:
        probe = max(low - step, 0)
        if keys[probe] < key:
            low = probe
            break
        high = probe
        low = probe
        step *= 2
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < n and keys[low] == key:
        if quantity > 0.0:
            quantities[low] = quantity
            return n
        _copy_down(keys[low + 1 : n], keys[low : n - 1])
        _copy_down(quantities[low + 1 : n], quantities[low : n - 1])
        return n - 1
    if quantity <= 0.0:
        return n
    if n == len(keys):
        drop = max(n // 4, 1)
        _copy_down(keys[drop:n], keys[: n - drop])
        _copy_down(quantities[drop:n], quantities[: n - drop])
        n -= drop
        low = max(low - drop, 0)
    _copy_up(keys[low:n], keys[low + 1 : n + 1])
    _copy_up(quantities[low:n], quantities[low + 1 : n + 1])
    keys[low] = key
    quantities[low] = quantity
    return n + 1


@_jit
def clear_levels(keys, n, key):
    """Forget the levels from the best one through ``key``, as hftbacktest clears; returns the levels left."""
    while n > 0 and keys[n - 1] >= key:
        n -= 1
    return n


@_jit
def _worth(price, quantity, contract):
    """Value of a level in quote currency; ``contract``: ``Instrument.face_value``, 0 for a linear one."""
    return quantity * contract if contract > 0.0 else price * quantity


@_jit
def _price(key, inv, tick):
    """Price of a level of either side."""
    ticks = abs(key)
    return ticks / inv if inv > 0.0 else ticks * tick


@_jit
def value_of_top(keys, quantities, n, levels, inv, tick, contract):
    """Value of the best ``levels`` levels in quote currency."""
    total = 0.0
    for i in range(n - 1, max(n - levels, 0) - 1, -1):
        total += _worth(_price(keys[i], inv, tick), quantities[i], contract)
    return total


@_jit
def walk_bps(keys, quantities, n, size, mid, inv, tick, contract):
    """Cost of taking ``size`` quote currency from this side, average price against ``mid``, in bps; inf if too thin."""
    left = size
    base = 0.0
    for i in range(n - 1, -1, -1):
        price = _price(keys[i], inv, tick)
        taken = min(left, _worth(price, quantities[i], contract))
        base += taken / price
        left -= taken
        if left <= 0.0:
            return abs(size / base - mid) / mid * 1e4
    return float("inf")
