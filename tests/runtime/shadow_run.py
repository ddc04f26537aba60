"""One replay as a table of trades, the way most tests want it."""

from __future__ import annotations

import numpy as np

from runtime.shadow import replay
from runtime.shadow_account import account, portfolio

__all__ = ["trades_of"]


def trades_of(events, instrument, orders, *, fee, one_at_a_time=True, **settings):
    """TRADE_DTYPE [N]: a single arm that allows every order and holds one at a time, or each order on its own."""
    if not one_at_a_time:
        return account(replay(events, instrument, orders, **settings), fee, instrument)
    allowed = np.ones((1, len(orders)), bool)
    replayed = replay(events, instrument, orders, allowed=allowed, every=False, **settings)
    return portfolio(account(replayed, fee, instrument), allowed[0], replayed.busy[0])
