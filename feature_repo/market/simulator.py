"""A made-up ETH perpetual, event by event, with a planted edge.

What is modelled: a limit order book of at least 26 levels a side on the tick grid, whose price moves only because
best levels are eaten or pulled and new ones are quoted; market orders with remembered signs and self-excitation;
makers that refresh size and spacing; slow activity regimes and a pattern by hour of the day; bursts of one-sided flow
that mostly give back what they moved; liquidations, funding and mark price; feed delay with spikes.

What is planted (``sim_script.EPISODES``): metaorders, liquidation cascades, failed stop runs and absorbed declines that
carry the price some tens of bps within a minute. Seconds before, and while they last, small market orders lean to
their side, makers thin the side ahead, and bursts keep the ground they win. False starts, exhausted liquidations,
fizzled reversals and noise bursts show some of the same for a while and lead nowhere.

What is not: other venues, a spot leg, latency races, hidden orders, and any likeness of the edge to a real market.
Results on this tape say that the machinery finds an edge where there is one. They say nothing about profit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from ..constants import ENGINE, SECOND_NS
from ..errors import InputError
from ..events import EVENT_DTYPE
from ..instruments import SIMULATED_SYMBOL
from . import sim_book, sim_kernel
from .sim_script import EPISODES, script

if TYPE_CHECKING:
    from .tape import Tape

__all__ = ["SimConfig", "simulate_tape"]

_CHUNK_NS = 600 * SECOND_NS
_ROWS_PER_S = 60
_HOURLY = (1.1, 1.0, 0.8, 0.75, 0.75, 0.8, 0.9, 1.2, 1.2, 1.0, 0.9, 0.9, 1.1, 1.5, 1.5, 1.3, 1.2, 1.1, 1.0, 0.9)
_ACTIVITY = (*_HOURLY, 0.85, 0.8, 0.85, 0.9)
"""Activity by UTC hour, busiest where sessions hand over."""


@dataclass(frozen=True, slots=True)
class SimConfig:
    """Parameters of the simulated market. Rates are per second at average activity, sizes medians in ETH."""

    edge: float = 1.0  # share of the episodes able to be real that are; 0: every push is noise
    price: float = 3500.0
    gap_ticks: float = 18.5  # between neighbouring levels, on average
    level_eth: float = 9.0
    wide_share: float = 0.3  # of one more tick of spread, up to 5
    follow_share: float = 0.8  # quotes that follow a moved price within the same message
    trades: float = 2.5
    trade_eth: float = 0.4
    sign_memory: float = 0.45  # share of market orders that repeat the sign before
    refreshes: float = 12.0
    refresh_share: float = 0.3  # of the way to the size that makers want
    moves: float = 0.8
    bursts: float = 0.012
    burst_actions: float = 22.0
    burst_eth: float = 5.0
    burst_lean: float = 0.4
    giveback_share: float = 0.75  # of noise bursts whose move is given back
    giveback_s: float = 4.0
    lean_sd: float = 0.3  # of the makers' passing log lean, noise
    lean_s: float = 1.2
    excite: float = 0.02
    hot_s: float = 6.0
    regime_sd: float = 0.25  # of log activity
    regime_s: float = 3000.0
    push_scale: float = 0.76  # on every distance of the script
    span_bps: float = 17.5  # one-minute range at which the script's distances hold; wilder hours push farther
    anchor_bps: float = 150.0  # distance from the first price at which directions begin to lean back
    stop_reach_bps: float = 18.0  # farther stops are not run for
    forced_eth: float = 3.0
    funding_every_s: float = 3.0
    spikes_per_hour: float = 12.0  # of feed delay


def simulate_tape(
    *,
    seed: int = 7,
    hours: float = 24.0,
    start: str = "2026-01-05",
    config: SimConfig | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tape:
    """Simulate a tape; the same arguments give the same bytes.

    Parameters
    ----------
    seed : of every draw
    hours : length on the local clock
    start : first instant, ISO 8601, UTC unless it says otherwise
    config : by default ``SimConfig()``
    progress : called with the fraction done, 0..1

    Returns
    -------
    Tape with venue ``simulated``, symbol ``SIMULATED_SYMBOL`` and ``manifest["simulated"]`` True

    Raises
    ------
    InputError
        For a seed below 0, hours not in (0, 744], or a start that is no time.
    """
    from .manifest import derive_manifest
    from .tape import Tape

    config = config or SimConfig()
    events, log = _simulate(seed=seed, hours=hours, start_ns=_start_ns(start), config=config, progress=progress)
    manifest = derive_manifest("simulated", SIMULATED_SYMBOL, events, simulated=True) | {
        "sources": [],
        "bad_rows": {},
        "clock_offset_ns": 0,
        "seed": seed,
        "hours": hours,
        "planted_edge": {
            "description": "pushes of some tens of bps announced by leaning flow, a thinned side and bursts that hold",
            "informed_pushes": int(log["informed"].sum()),
            "stages": {e.name: int((log["episode"] == k).sum()) for k, e in enumerate(EPISODES)},
            "parameters": asdict(config),
        },
    }
    return Tape("simulated", SIMULATED_SYMBOL, events, manifest)


def _start_ns(start: str) -> int:
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise InputError(f"start {start!r}", "a time such as 2026-01-05 or 2026-01-05T12:00", "Correct it") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND_NS


def _simulate(
    *, seed: int, hours: float, start_ns: int, config: SimConfig, progress: Callable[[float], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Events and, for tests and the manifest only, the log of stages (``sim_kernel.LOG_DTYPE``)."""
    if seed < 0:
        raise InputError(f"seed {seed}", "an integer from 0 on", "Give another seed")
    if not 0 < hours <= 744:
        raise InputError(f"hours {hours}", "more than 0 and at most 744", "Give another length")
    rng = np.random.Generator(np.random.PCG64(seed))
    cfg = np.array([astuple(config)], [(f.name, "f8") for f in fields(config)])[0]
    state = np.zeros(1, sim_kernel.STATE_DTYPE)
    st = state[0]
    for name, value in (("t", start_ns), ("stamp", start_ns + 5_500_000), ("last_local", start_ns + 5_500_000)):
        st[name] = value
    st["next_second"] = st["next_funding"] = start_ns + SECOND_NS
    st["next_episode"] = start_ns + 20 * SECOND_NS
    st["anchor"], st["sign"], st["episode"], st["funding"] = int(2 * config.price * sim_book.TICKS), 1, -1, 1e-4
    st["span"] = config.span_bps
    handover = np.array([any(lo <= h < hi for lo, hi in ENGINE.handover_hours_utc) for h in range(24)])
    by_hour = np.column_stack([np.array(_ACTIVITY), handover.astype(float)])
    px, qty = np.zeros((2, sim_book.BOOK_SLOTS), np.int64), np.zeros((2, sim_book.BOOK_SLOTS), np.int64)
    count, log = np.zeros(2, np.int64), np.zeros(int(hours * 120) + 64, sim_kernel.LOG_DTYPE)
    extremes = np.full((2, sim_kernel.STOP_MINUTES), 2 * config.price * sim_book.TICKS).astype(np.int64)
    end_ns = start_ns + int(hours * 3600 * SECOND_NS)
    # Pages that stay unwritten cost no memory.
    events = np.zeros(int(hours * 3600 * _ROWS_PER_S) + 100_000, EVENT_DTYPE)
    n = sim_book.open_market(rng, cfg, st, events, px, qty, count)
    done, stages = start_ns, script()
    while done < end_ns:
        done = min(done + _CHUNK_NS, end_ns)
        while True:
            n = sim_kernel.run(rng, cfg, st, *stages, by_hour, px, qty, count, extremes, log, events, n, done)
            if n < len(events) - sim_kernel.MARGIN:
                break
            events = np.concatenate([events, np.zeros(len(events) // 4, EVENT_DTYPE)])
        if progress is not None:
            progress((done - start_ns) / (end_ns - start_ns))
    return events[:n], log[: int(st["logged"])]
