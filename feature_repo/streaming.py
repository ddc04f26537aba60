"""Streaming statistics on slices of the engine's flat arrays: each equals its naive form at every step."""

from __future__ import annotations

import numpy as np

from .jit import kernel_jit
from .memory_move import move

__all__ = ["median", "rank", "replace_sorted", "slide_extremes", "sum_ring", "z_score"]

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
    """How many of sorted ``values[:n]`` are below ``x``."""
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


@_jit
def _upper(values, n, x):
    """How many of sorted ``values[:n]`` are not above ``x``."""
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if values[middle] <= x:
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
                into -= 1
                move(ordered, out, out + 1, into - out)
            else:
                move(ordered, into + 1, into, out - into)
            ordered[into] = new
            return n
        move(ordered, out, out + 1, n - 1 - out)
        return n - 1
    if new == new:
        into = _lower(ordered, n, new)
        move(ordered, into + 1, into, n - into)
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
    less, within = _lower(ordered, n, x), _upper(ordered, n, x)
    return 0.5 * (less + within) / n


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
def slide_extremes(memory, ring, position, run, span):
    """Take the newest value into the least and greatest of the last ``min(run, span)`` ones.

    Parameters
    ----------
    memory : int64 [4]: greatest value, for how many more values it counts, and the same of the least
    ring : int64 [n], n >= span; the newest value lies before ``position``
    run : values of the present sequence, the newest included; 1 starts anew
    """
    n = len(ring)
    new = ring[position - 1 if position > 0 else n - 1]
    for part in range(2):
        sign = 1 - 2 * part
        memory[2 * part + 1] -= 1
        if run == 1 or sign * new >= sign * memory[2 * part]:
            memory[2 * part], memory[2 * part + 1] = new, span
        elif memory[2 * part + 1] == 0:
            best = new
            for age in range(min(run, span)):
                value = ring[position - 1 - age if position > age else n + position - 1 - age]
                if age == 0 or sign * value > sign * best:
                    best = value
                    memory[2 * part + 1] = span - age
            memory[2 * part] = best
