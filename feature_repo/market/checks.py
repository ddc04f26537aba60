"""Checked values of an exchange message."""

from __future__ import annotations

from math import inf, isfinite, nan
from typing import Any

__all__ = ["BadRow", "levels", "number"]


class BadRow(Exception):
    """A message that cannot be used; its text names the field and is the reason that is counted."""


def number(text: Any, kind: str, name: str, *, zero: bool = False) -> float:
    """A finite positive float; zero too if ``zero``."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = nan
    if not (0 < value < inf or (zero and value == 0)):
        raise BadRow(f"{kind}: field {name!r} is no {'' if zero else 'positive '}number")
    return value


def levels(pairs: Any, kind: str, name: str) -> tuple[list[float], list[float]]:
    """Prices and quantities of ``[["px", "qty"], ...]``; one bad level spoils all: half a diff would spoil the book."""
    if type(pairs) is not list:
        raise BadRow(f"{kind}: field {name!r} is no list of levels")
    if not pairs:
        return [], []
    try:
        px = [float(level[0]) for level in pairs]
        qty = [float(level[1]) for level in pairs]
    except (TypeError, ValueError, LookupError) as error:
        raise BadRow(f"{kind}: field {name!r} has a level that is no pair of numbers") from error
    # A sum is finite only if every term is; min alone would let a NaN through.
    if not (min(px) > 0 and min(qty) >= 0 and isfinite(sum(px)) and isfinite(sum(qty))):
        raise BadRow(f"{kind}: field {name!r} has a price that is not positive or a quantity that is negative")
    return px, qty
