"""A tape of eleven rows to test with."""

from __future__ import annotations

import numpy as np

from feature_repo.constants import SECOND_NS
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    FUNDING,
    GAP,
    LIQUIDATION,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.market.tape import Tape

__all__ = ["DAY", "SEEN", "START", "rows", "small"]

DAY = 86_400 * SECOND_NS
START = 19_923 * DAY - SECOND_NS  # one second before 2024-07-19
SEEN = LOCAL | EXCH


def rows(*items):
    """Rows from (ev, exch offset, local offset, px, qty), offsets in ns from START."""
    out = np.zeros(len(items), EVENT_DTYPE)
    for k, (ev, exch, local, px, qty) in enumerate(items):
        out[k] = (ev, START + exch, START + local, px, qty, 0, 0, 0)
    return out


def small(symbol="ETHUSDT", venue="binance_usdm", **manifest):
    """A tape over two days: book, trade, gap, liquidation, funding, best quotes."""
    events = rows(
        (DEPTH_CLEAR | BUY | SEEN, 1, 5, 0, 0),
        (DEPTH_CLEAR | SELL | SEEN, 1, 5, 0, 0),
        (DEPTH_SNAPSHOT | BUY | SEEN, 1, 5, 99, 1),
        (DEPTH_SNAPSHOT | SELL | SEEN, 1, 5, 101, 2),
        (DEPTH | BUY | SEEN, 20, 30, 100, 3),
        (DEPTH_BBO | BUY | SEEN, 25, 30, 100, 3),
        (TRADE | SELL | SEEN, 10, 40, 99, 1),
        (GAP, 50, 60, 0, 0),
        (LIQUIDATION | SELL, 55, 65, 98, 4),
        (FUNDING, SECOND_NS, SECOND_NS + 7, 99.5, 0),
        (TRADE | BUY | SEEN, SECOND_NS + 9, SECOND_NS + 8, 101, 1),
    )
    events["ival"][9], events["fval"][9] = START + 5, 1e-4
    return Tape(venue, symbol, events, manifest)
