"""Tokens of JSON for a compiled kernel: each function reads one at a position and says where it ends.

A position of -1 means that the token is none of the plain form wanted here, whether or not it is valid JSON. No
function reads past a newline, so that a buffer which ends with one needs no other bound.

A decimal is taken only where its digits are an exact float64 integer to be divided by an exact power of ten, which
rounds to the same float64 as the text does (Clinger 1990, the fast path); the others are left to the caller.
"""

from __future__ import annotations

import numpy as np

from ..jit import kernel_jit
from .checks import PX_END, QTY_END

__all__ = ["blank", "decimal", "key", "levels", "same", "skip", "stream", "whole"]


_EXACT = 2**53
_POWER = np.array([float(10**k) for k in range(19)])
_TRUE, _FALSE = np.frombuffer(b"true", np.uint8), np.frombuffer(b"false", np.uint8)
_DEPTH = np.frombuffer(b"depth", np.uint8)


@kernel_jit(__file__)
def same(buf, i, text, start, end):
    """Position after ``text[start:end]`` if it stands at i, else -1. Never reads past the first difference."""
    for k in range(start, end):
        if buf[i] != text[k]:
            return -1
        i += 1
    return i


@kernel_jit(__file__)
def blank(buf, i):
    while buf[i] == 32:
        i += 1
    return i


@kernel_jit(__file__)
def whole(buf, i):
    """A JSON integer of at most 18 digits at i: value, position after it or -1."""
    value, start = 0, i
    while True:
        digit = np.int64(buf[i]) - 48
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        i += 1
    n = i - start
    if n == 0 or n > 18 or (n > 1 and buf[start] == 48):
        return 0, -1
    return value, i


@kernel_jit(__file__)
def decimal(buf, i):
    """A quoted decimal, i at its opening quote: value, position after the closing quote or -1."""
    if buf[i] != 34:
        return 0.0, -1
    i += 1
    mantissa, start = 0, i
    while True:
        digit = np.int64(buf[i]) - 48
        if digit < 0 or digit > 9:
            break
        mantissa = mantissa * 10 + digit
        i += 1
    whole = i - start
    if whole == 0 or whole > 15:
        return 0.0, -1
    places = 0
    if buf[i] == 46:
        i += 1
        zeros, start = 0, i
        while True:
            digit = np.int64(buf[i]) - 48
            if digit < 0 or digit > 9:
                break
            i += 1
            # Zeros at the end take no part: 1.21300000 is 1213 / 10**3.
            if digit == 0:
                zeros += 1
                continue
            if whole + places + zeros + 1 > 18:
                return 0.0, -1
            for _ in range(zeros):
                mantissa *= 10
            mantissa = mantissa * 10 + digit
            places += zeros + 1
            zeros = 0
        if i == start:
            return 0.0, -1
    if buf[i] != 34 or mantissa > _EXACT:
        return 0.0, -1
    return mantissa / _POWER[places], i + 1


@kernel_jit(__file__)
def skip(buf, i):
    """Position after a number, plain string, true or false that nobody reads, or -1."""
    c = buf[i]
    if c == 34:
        i += 1
        while buf[i] != 34:
            if buf[i] < 32 or buf[i] > 126 or buf[i] == 92:
                return -1
            i += 1
        return i + 1
    if c == 116:
        return same(buf, i, _TRUE, 0, 4)
    if c == 102:
        return same(buf, i, _FALSE, 0, 5)
    return whole(buf, i)[1]


@kernel_jit(__file__)
def key(buf, i):
    """A field's name of one or two letters and its colon, i at the opening quote.

    Returns
    -------
    The letters as one number, the second times 256; position of the value or -1
    """
    if buf[i] != 34:
        return 0, -1
    name, shift = 0, 1
    while buf[i + 1] != 34:
        letter = np.int64(buf[i + 1])
        if shift > 256 or not (65 <= letter <= 90 or 97 <= letter <= 122):
            return 0, -1
        name += letter * shift
        shift *= 256
        i += 1
    i = blank(buf, i + 2)
    if name == 0 or buf[i] != 58:
        return 0, -1
    return name, blank(buf, i + 1)


@kernel_jit(__file__)
def stream(buf, i):
    """A stream's name, i at its opening quote: position after the closing quote or -1, whether it is plain @depth.

    Plain: `<symbol>@depth` or `<symbol>@depth@<digit>...`, and so neither partial nor RPI depth.
    """
    if buf[i] != 34:
        return -1, False
    i += 1
    marks, plain = 0, False
    while buf[i] != 34:
        c = buf[i]
        if c < 32 or c > 126 or c == 92:
            return -1, False
        i += 1
        if c == 64:
            marks += 1
            if marks == 1:
                after = same(buf, i, _DEPTH, 0, 5)
                plain = after != -1 and (buf[after] == 64 or buf[after] == 34)
            else:
                plain = plain and marks == 2 and 48 <= buf[i] <= 57
    return i + 1, plain


@kernel_jit(__file__)
def levels(buf, i, floats, n):
    """Levels ``[["px","qty"],...]`` at i, written from row n on: position after them, rows then; -1: odd, -2: full."""
    if buf[i] != 91:
        return -1, n
    i = blank(buf, i + 1)
    if buf[i] == 93:
        return i + 1, n
    while True:
        if buf[i] != 91:
            return -1, n
        px, i = decimal(buf, blank(buf, i + 1))
        if i < 0:
            return -1, n
        i = blank(buf, i)
        if buf[i] != 44:
            return -1, n
        qty, i = decimal(buf, blank(buf, i + 1))
        if i < 0:
            return -1, n
        i = blank(buf, i)
        if buf[i] != 93 or not (0.0 < px <= PX_END) or qty > QTY_END:
            return -1, n
        if n == len(floats):
            return -2, n
        floats[n, 3], floats[n, 4] = px, qty
        n += 1
        i = blank(buf, i + 1)
        if buf[i] == 93:
            return i + 1, n
        if buf[i] != 44:
            return -1, n
        i = blank(buf, i + 1)
