"""The market row as one array, as the feature store keeps it: one feature is read in half the time of 22."""

from __future__ import annotations

import numpy as np

from .fields import MARKET_DTYPE

__all__ = ["MARKET_VALUES", "pack_market", "unpack_market"]

MARKET_VALUES = tuple(name for name in MARKET_DTYPE.names or () if name != "t_ns")
"""Order of the array: every market field but ``t_ns``, which is a feature of its own."""


def pack_market(rows: np.ndarray | np.void) -> np.ndarray:
    """float64 [..., 22] of MARKET_DTYPE [...]; exact, flags are 0 or 1."""
    return np.stack([rows[name].astype(np.float64) for name in MARKET_VALUES], axis=-1)


def unpack_market(t_ns: int, values: np.ndarray) -> np.void:
    """MARKET_DTYPE scalar of a time and float64 [22]."""
    return np.array((t_ns, *values), MARKET_DTYPE)[()]
