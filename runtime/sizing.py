"""Notional of an order: never more than asked, and a whole number of lots."""

from __future__ import annotations

import math

__all__ = ["round_to_lot", "size_usd"]

_LOT_TOLERANCE = 1e-9  # so that a whole number of lots stays one after the division


def size_usd(base_size: float, p: float, tau: float) -> float:
    """``base_size * max(0, p - tau)``, quote currency."""
    return base_size * max(0.0, p - tau)


def round_to_lot(
    notional: float, price: float, lot: float, *, face_value: float = 0.0, min_notional: float = 0.0
) -> float:
    """The largest notional of whole lots at ``price`` that does not exceed ``notional``.

    Parameters
    ----------
    notional : quote currency
    price : quote currency per base unit
    lot : base units; contracts where ``face_value`` is given
    face_value : quote value of one inverse contract, whatever the price; 0 for a linear one (`Instrument.face_value`)
    min_notional : least value that the venue takes, quote currency

    Returns
    -------
    float
        Quote currency; 0 below one lot or ``min_notional``, and 0 for anything that is not finite and positive.
    """
    if not (0 < notional < math.inf and 0 < price < math.inf and 0 < lot < math.inf):
        return 0.0
    if not (0 <= face_value < math.inf and 0 <= min_notional < math.inf):
        return 0.0
    worth = face_value if face_value > 0 else price
    rounded = math.floor(notional / worth / lot + _LOT_TOLERANCE) * lot * worth
    return rounded if rounded >= min_notional else 0.0
