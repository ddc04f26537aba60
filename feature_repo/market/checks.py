"""Checked values of an exchange message."""

from __future__ import annotations

import re
from math import nan
from typing import Any

__all__ = ["PX_END", "QTY_END", "BadRow", "levels", "number"]

PX_END = 1e12
"""No contract trades at a higher price: such a number is damage."""
QTY_END = 1e15
"""No level holds more, in whatever unit."""

# Of what float() takes, only what an exchange sends: no nan, inf, blanks, underscores or digits of other scripts.
_ODD = re.compile(r"[^0-9.eE+-]").search


class BadRow(Exception):
    """A message that cannot be used; its text names the field and is the reason that is counted."""


def number(text: Any, kind: str, name: str, *, zero: bool = False, end: float = PX_END) -> float:
    """A decimal string as a float in (0, ``end``]; zero too if ``zero``."""
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        value = nan
    if type(text) is not str or not (value > 0 or (zero and value == 0)) or _ODD(text):
        raise BadRow(f"{kind}: field {name!r} is no {'' if zero else 'positive '}number")
    if value > end:
        raise BadRow(f"{kind}: field {name!r} is out of range")
    return value


def levels(pairs: Any, kind: str, name: str) -> tuple[list[float], list[float]]:
    """Prices and quantities of ``[["px", "qty"], ...]``; one bad level spoils all: half a diff would spoil the book."""
    if type(pairs) is not list:
        raise BadRow(f"{kind}: field {name!r} is no list of levels")
    if not pairs:
        return [], []
    try:
        # A string of two characters would unpack as well.
        if {*map(type, pairs)} != {list}:
            raise TypeError
        px_text, qty_text = zip(*pairs, strict=True)
        px, qty = [*map(float, px_text)], [*map(float, qty_text)]
        text = "".join(px_text) + "".join(qty_text)  # fails where a level holds anything but strings
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRow(f"{kind}: field {name!r} has a level that is no pair of numbers") from error
    # Without odd characters there is no NaN, which min and max would miss.
    if _ODD(text) or not (min(px) > 0 and max(px) <= PX_END and min(qty) >= 0 and max(qty) <= QTY_END):
        raise BadRow(f"{kind}: field {name!r} has a price or a quantity out of range")
    return px, qty
