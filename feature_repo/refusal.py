"""Events that must not be applied: damaged, impossible, or too late."""

from __future__ import annotations

import numpy as np

from .constants import SECOND_NS, WINDOW_NS
from .events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EXCH,
    FUNDING,
    GAP,
    LIQUIDATION,
    LOCAL,
    SELL,
    TRADE,
)
from .jit import kernel_jit
from .state import LARGEST, REJECTIONS

__all__ = ["PASSES", "SIDES", "WEEK_NS", "refuse"]

_jit = kernel_jit(__file__)

WEEK_NS = 7 * 86_400 * SECOND_NS
_MINUTE_NS = 60 * SECOND_NS
_END_NS = 2**62  # the year 2116: times are added to without a check
SIDES, PASSES = BUY | SELL, EXCH | LOCAL
(_UNKNOWN, _TIME, _LATE, _JUMP, _SIDE, _PRICE, _QUANTITY, _OVERFLOW, _FUNDING, _NOT_LOCAL) = range(len(REJECTIONS))


@_jit
def refuse(s, ev, kind, exch, local, px, qty, rate):
    """Why this event must not be applied, or -1."""
    if ev & PASSES == EXCH:
        return _NOT_LOCAL
    if kind not in (DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_BBO, LIQUIDATION, FUNDING, GAP):
        return _UNKNOWN
    if local <= 0 or local >= _END_NS or (exch <= 0 and kind != GAP):
        return _TIME
    if s.started:
        if local < s.last_local or local < s.t_next - WINDOW_NS:
            return _LATE
        if local - s.last_local > WEEK_NS:
            return _JUMP
    if kind == GAP:
        return -1
    if exch - local > _MINUTE_NS:
        return _JUMP
    if kind in (DEPTH_CLEAR, DEPTH_BBO):
        return -1
    if kind == FUNDING:
        return -1 if np.isfinite(rate) else _FUNDING
    sides = ev & SIDES
    if kind != TRADE and (sides == 0 or sides == SIDES):
        return _SIDE
    if not px * s.per_tick > 0.5 or px == np.inf:  # half a tick would round to none
        return _PRICE
    if not qty >= 0.0 or qty == np.inf or (qty == 0.0 and kind in (TRADE, LIQUIDATION)):
        return _QUANTITY
    if px > s.most_px or qty > LARGEST:
        return _OVERFLOW
    return -1
