"""Parameters of the simulated market, and how they go with its rate of events."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

__all__ = ["ACTIVITY", "DEFAULT_RATE", "SimConfig", "kernel_parameters"]

DEFAULT_RATE = 50.0
"""Rows a second of the quiet default, on average over a day."""
_NIGHT = (1.0, 0.9, 0.55, 0.5, 0.5, 0.55, 0.7, 1.2, 1.2, 0.9, 0.8, 0.8)
ACTIVITY = (*_NIGHT, 1.0, 1.9, 2.0, 1.8, 1.5, 1.3, 1.1, 1.0, 0.9, 0.8, 0.7, 0.7)
"""Activity by UTC hour, busiest where sessions hand over."""


@dataclass(frozen=True, slots=True)
class SimConfig:
    """Parameters of the simulated market at ``rate`` 50. Rates are per second at activity 1, sizes medians in ETH."""

    price: float = 3500.0
    gap_ticks: float = 13.0  # between neighbouring levels, on average
    queue_eth: float = 2.9  # that makers want at a best quote, without fleeting orders
    queue_sd: float = 0.2  # of its logarithm
    thinning: float = 0.25  # the queue goes with activity to this power, downwards
    deep_share: float = 1.0  # of deeper levels to the best one
    paid_queues: float = 1.35  # of balance that a level costs
    wide_share: float = 0.06  # of moves that leave a spread of some ticks
    wide_ticks: float = 4.0
    repairs: float = 8.0
    chase_share: float = 0.05  # of moves after which the next quote in the way is pulled too
    chases: float = 4.0
    trades: float = 7.0
    trade_eth: float = 1.6
    trade_spread: float = 0.8  # of the logarithm of sizes
    meta_tail: float = 1.6  # Pareto exponent of the pieces of a metaorder
    pulls: float = 7.0  # that shift the balance of the best queues, either way alike
    pull_eth: float = 1.6
    evens: float = 7.0
    even_share: float = 0.5
    fleeting: float = 5.0
    fleeting_queues: float = 0.2
    fleeting_spread: float = 1.3
    fleeting_s: float = 0.3
    refresh_share: float = 0.35  # of the way to the size that makers want
    refresh_reach: float = 4.0  # levels from the best, on average
    requote_share: float = 0.15
    branch_fast: float = 0.25  # trades that one trade excites, by memory
    fast_s: float = 0.5
    branch_slow: float = 0.35
    slow_heat_s: float = 25.0
    slow_s: float = 7_200.0  # memory and deviation of log activity
    slow_sd: float = 0.45
    quick_s: float = 150.0
    quick_sd: float = 0.7
    base_max: float = 6.0  # of activity
    bursts: float = 0.012
    burst_queues: float = 5.0
    burst_spread: float = 0.4
    burst_heat: float = 0.4
    tail_trades: float = 6.0
    tail_s: float = 1.2
    tail_eth: float = 6.0
    forced_bursts: float = 0.08
    episodes: float = 52.0  # a day
    episode_s: float = 48.0
    forced_share: float = 0.3
    children: float = 8.0
    child_eth: float = 3.3
    unanswered: float = 0.6  # of a piece, at most
    steers: float = 8.0
    steer_eth: float = 2.0
    value_s: float = 1_200.0  # memory of the price that episodes tend back to
    value_bps: float = 15.0  # distance from it at which they do
    value_share: float = 0.42  # more than half, at most
    defences: float = 0.45  # while the price is at its extreme of a minute or two
    defence_eth: float = 4.0
    contest: float = 10.0  # times as many bursts, of either side, while makers give way
    tilt: float = 1.3  # log ratio by which makers thin the book ahead and thicken it behind
    mood_sd: float = 0.3  # the same for no reason
    mood_s: float = 8.0
    funding_every_s: float = 3.0
    spikes_per_hour: float = 12.0  # of feed delay


_PER_RATE = {
    "trades": 0.2,
    "trade_eth": 0.1,
    "pulls": 0.5,
    "pull_eth": -0.05,
    "fleeting": 0.7,
    "fleeting_s": -0.3,
    "fleeting_queues": 0.08,
    **dict.fromkeys(("evens", "children", "steers", "tail_trades"), 0.4),
    **dict.fromkeys(("tail_eth", "child_eth", "steer_eth"), -0.2),
    "gap_ticks": -0.2,
    "burst_queues": 0.1,
}
"""How parameters go with the rate: count x size**2 of what moves the price, in gaps, stays as it was."""


def kernel_parameters(config: SimConfig, *, edge: float, mechanism: int, rate: float) -> np.void:
    """What ``sim_kernel.run`` reads as ``cfg``: every parameter at ``rate``, and what follows from them."""
    scale = rate / DEFAULT_RATE
    values = asdict(config)
    for name, power in _PER_RATE.items():
        values[name] *= scale**power
    # The rows that orders and best quotes leave are fixed; deeper levels make up the rest.
    values["levels"] = max(scale**0.6, 1.0)
    rest = rate - 8.0 - 24.0 * scale**0.6
    values["refreshes"] = max(rest, 2.0) / (values["levels"] * 1.15)
    # Activity is 1 on average: what is not excited by orders (Hawkes 1971) or by bursts comes of itself.
    values["rest_heat"] = 1.0 - config.branch_fast - config.branch_slow
    values["rest_heat"] -= config.burst_heat * config.bursts * config.slow_heat_s
    values |= {"edge": edge, "mechanism": float(mechanism)}
    return np.array([tuple(values.values())], [(name, "f8") for name in values])[0]
