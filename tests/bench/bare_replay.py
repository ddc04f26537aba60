"""What both replays are measured against: hftbacktest keeps its book and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from feature_repo.instruments import Instrument

__all__ = ["BARE", "bare_replay"]

BARE = "hftbacktest, bare replay in steps of 100 ms"
_LATENCY_NS = 20_000_000


def bare_replay(events: np.ndarray, facts: Instrument) -> Callable[[], None]:
    """A function that replays the rows of ``to_hftbacktest`` once, compiled at its first call."""
    from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
    from numba import njit

    @njit
    def step_through(backtest) -> int:
        n = 0
        while backtest.elapse(100_000_000) == 0:
            n += 1
        return n

    def run() -> None:
        asset = (
            BacktestAsset()
            .data([events])
            .linear_asset(1.0)
            .constant_order_latency(_LATENCY_NS, _LATENCY_NS)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 0.0)
            .tick_size(facts.tick)
            .lot_size(facts.lot)
        )
        backtest = HashMapMarketDepthBacktest([asset])
        step_through(backtest)
        backtest.close()

    return run
