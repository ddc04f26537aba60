"""Streaming statistics on slices of the engine's flat arrays: each equals its naive form at every step."""

from __future__ import annotations

import numpy as np

from .jit import kernel_jit

__all__ = ["extremes", "median", "rank", "replace_sorted", "sum_ring", "z_score"]

_jit = kernel_jit(__file__)


@_jit
def z_score(memory, x, decay, floor, clip):
    """Score ``x`` against what came before it, then take it in.

    Parameters
    ----------
    memory : float64 [3]: sum of weights, weighted mean, weighted sum of squared deviations; zeros at the start
    decay : weight of a value against the one after it
    floor : least deviation

    Returns
    -------
    (x - mean) / max(deviation, floor), clipped to +-clip; 0 for the first value. Weights are decay**age over their own
    sum, so that the first values are not pulled towards zero (West 1979, in exponentially weighted form).
    """
    weight, mean, squares = memory[0], memory[1], memory[2]
    z = 0.0
    if weight > 0.0:
        z = (x - mean) / max(np.sqrt(squares / weight), floor)
        z = min(max(z, -clip), clip)
    weight = decay * weight + 1.0
    delta = x - mean
    mean += delta / weight
    memory[0] = weight
    memory[1] = mean
    memory[2] = decay * squares + delta * (x - mean)
    return z


@_jit
def _lower(values, n, x):
    """First place in sorted ``values[:n]`` that is not below ``x``."""
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


@_jit
def replace_sorted(ordered, n, old, new):
    """Take ``old`` out of sorted ``ordered[:n]`` and put ``new`` in; NaN stands for none. Returns the new length.

    ``old``, unless NaN, must be one of the values.
    """
    if old == old:
        if new == old:
            return n
        out = _lower(ordered, n, old)
        if new == new:
            into = _lower(ordered, n, new)
            if into > out:
                for i in range(out, into - 1):
                    ordered[i] = ordered[i + 1]
                ordered[into - 1] = new
            else:
                for i in range(out, into, -1):
                    ordered[i] = ordered[i - 1]
                ordered[into] = new
            return n
        for i in range(out, n - 1):
            ordered[i] = ordered[i + 1]
        return n - 1
    if new == new:
        into = _lower(ordered, n, new)
        for i in range(n, into, -1):
            ordered[i] = ordered[i - 1]
        ordered[into] = new
        return n + 1
    return n


@_jit
def median(ordered, n):
    """Median of sorted ``ordered[:n]``; the mean of the middle two for even n, NaN for none."""
    if n == 0:
        return np.nan
    return 0.5 * (ordered[(n - 1) >> 1] + ordered[n >> 1])


@_jit
def rank(ordered, n, x):
    """Share of sorted ``ordered[:n]`` below ``x``, equals counted half; 0.5 for none."""
    if n == 0:
        return 0.5
    less = _lower(ordered, n, x)
    equal = less
    while equal < n and ordered[equal] == x:
        equal += 1
    return (less + 0.5 * (equal - less)) / n


@_jit
def sum_ring(ring):
    """Sum in four interleaved parts: the same value on every call, and the additions need not wait for each other."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    n = len(ring)
    whole = n - n % 4
    for i in range(0, whole, 4):
        a += ring[i]
        b += ring[i + 1]
        c += ring[i + 2]
        d += ring[i + 3]
    for i in range(whole, n):
        a += ring[i]
    return (a + b) + (c + d)


@_jit
def extremes(ring, position, count):
    """Least and greatest of the ``count`` int64 values that end before ``position`` of a ring; count >= 1."""
    n = len(ring)
    first = position - count
    low = high = ring[position - 1 if position > 0 else n - 1]
    for i in range(max(first, 0), position):
        low = min(low, ring[i])
        high = max(high, ring[i])
    if first < 0:
        for i in range(n + first, n):
            low = min(low, ring[i])
            high = max(high, ring[i])
    return low, high
