"""The tape's row: hftbacktest's event fields and codes, and the kinds that hftbacktest lacks.

Written out here so that the gate's base install needs no hftbacktest; a test compares both.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "BUY",
    "DEPTH",
    "DEPTH_BBO",
    "DEPTH_CLEAR",
    "DEPTH_SNAPSHOT",
    "EVENT_DTYPE",
    "EXCH",
    "FUNDING",
    "GAP",
    "KIND_MASK",
    "KIND_NAMES",
    "LIQUIDATION",
    "LOCAL",
    "OWN_KINDS",
    "SELL",
    "TRADE",
]

EVENT_DTYPE = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
"""One exchange event. Times in ns UTC, px in quote currency, qty in base units, or in
contracts where the contract is inverse (0 removes a depth level)."""

KIND_MASK = 0xFF
DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_BBO = 1, 2, 3, 4, 5
# Ours; dropped on the way to hftbacktest.
LIQUIDATION, FUNDING, GAP = 20, 21, 22
"""LIQUIDATION: a forced order (SELL: a long is sold). FUNDING: px = mark price, fval = rate of the next settlement,
ival = settlement time ns. GAP: the sequence broke; the book is invalid until the next snapshot."""
OWN_KINDS = (LIQUIDATION, FUNDING, GAP)
KIND_NAMES = {
    DEPTH: "depth",
    TRADE: "trade",
    DEPTH_CLEAR: "depth_clear",
    DEPTH_SNAPSHOT: "depth_snapshot",
    DEPTH_BBO: "best_quote",
    LIQUIDATION: "liquidation",
    FUNDING: "funding",
    GAP: "gap",
}

SELL, BUY, LOCAL, EXCH = 1 << 28, 1 << 29, 1 << 30, 1 << 31
"""Side of a depth row (BUY: bid) or of the aggressor; LOCAL and EXCH: seen by the local and the exchange processor."""
