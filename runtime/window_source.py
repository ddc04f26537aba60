"""Where a gate reads its windows, what of an answer can be used at all, and what the guards are told of it."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from feature_repo.fields import MARKET_DTYPE

__all__ = ["Found", "WindowSource", "fits", "told"]

Found = tuple[NDArray[np.float32], np.void] | None
"""A window, float32 [T, C] unaligned, and its last MARKET_DTYPE row; None without one."""

_FLOAT32 = np.dtype(np.float32)
_MAX_SQUARES = float(np.float32(1e24))  # sum over a window; no channel comes near 1e12: beyond it is damage
_FIELDS = MARKET_DTYPE.names or ()
_VALID, _T_NS = _FIELDS.index("valid"), _FIELDS.index("t_ns")
_NUMBERS = ("data_age_ms", "spread_bps", "spread_median_bps", "depth_top5", "depth_median", "bid", "ask", "mid")
_numbers = itemgetter(*map(_FIELDS.index, _NUMBERS))  # the last of GuardInputs, in their order


class WindowSource(Protocol):
    """Where ``allow`` reads the candidate's window: a FeatureWindow in the process, or the online store."""

    def snapshot_at(self, t_ns: int) -> Found:
        """The window wanted at ``t_ns``: float32 [T, C] unaligned, and its last MARKET_DTYPE row; None without one.

        A window of another time may be returned: the gate judges it by the row's ``t_ns``. A source that also has
        ``snapshot_within(t_ns, budget_ms)`` is asked that way, with what the signal's budget leaves for it
        (`runtime.budget.WaitingSource`).
        """
        ...


def fits(x: Any, market_row: Any, shape: tuple[int, int]) -> bool:
    """Whether these are a window of this shape and a market row, by shape and type."""
    return (
        isinstance(x, np.ndarray)
        and (x.dtype is _FLOAT32 or x.dtype == _FLOAT32)
        and x.shape == shape
        and (isinstance(market_row, np.void) or (isinstance(market_row, np.ndarray) and market_row.ndim == 0))
        and (market_row.dtype is MARKET_DTYPE or market_row.dtype == MARKET_DTYPE)
    )


def told(x: NDArray[np.float32], market_row: np.void | NDArray[np.void]) -> tuple[Any, ...]:
    """What the guards see of two that fit: ``GuardInputs`` from ``store_answered`` on, in its order."""
    row, flat = market_row.item(), x.ravel()
    # One pass in which whatever is not finite spreads to the sum.
    sane = float(np.dot(flat, flat)) <= _MAX_SQUARES
    return (True, row[_VALID], row[_T_NS], sane, *_numbers(row))
