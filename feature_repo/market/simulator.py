"""SIMULATED: a made-up ETH perpetual, event by event, with an edge that is a knob. What it is: docs/simulator.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..constants import SECOND_NS
from ..errors import InputError
from ..events import EVENT_DTYPE
from ..instruments import SIMULATED_SYMBOL, Instrument, instrument
from . import sim_book, sim_kernel
from .sim_config import ACTIVITY, DEFAULT_RATE, SimConfig, kernel_parameters

if TYPE_CHECKING:
    from .tape import Tape

__all__ = ["MECHANISMS", "SimConfig", "Simulation", "simulate_tape"]

MECHANISMS = ("flow", "book")
"""What gives an edge away: a large order that goes on, or the way in which makers quote after a burst."""
_MAX_HOURS = 744.0
_CHUNK = 1_000_000


class Simulation:
    """A simulated tape on its way: an ``EventStream`` (stream.py) that is made as it is read, in flat memory.

    Parameters
    ----------
    seed : of every draw
    hours, days : length on the local clock, one of both; 24 hours by default
    edge : 0, nothing says which way the price goes, to 1, see ``mechanism``
    mechanism : one of `MECHANISMS`
    rate : rows a second on average; ``DEFAULT_RATE`` by default. Volatility does not depend on it.
    start : first instant, ISO 8601, UTC unless it says otherwise
    config : by default ``SimConfig()``
    progress : called with the fraction done, 0..1

    Raises
    ------
    InputError
        For an argument out of its range.
    """

    venue = "simulated"
    symbol = SIMULATED_SYMBOL
    simulated = True

    def __init__(
        self,
        *,
        seed: int = 7,
        hours: float | None = None,
        days: float | None = None,
        edge: float = 1.0,
        mechanism: str = "flow",
        rate: float | None = None,
        start: str = "2026-01-05",
        config: SimConfig | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.seed, self.hours = _checked_seed(seed), _checked_hours(hours, days)
        self.edge, self.mechanism = edge, mechanism
        if not 0.0 <= edge <= 1.0:
            raise InputError(f"edge {edge}", "a number from 0 to 1", "Give another edge")
        if mechanism not in MECHANISMS:
            raise InputError(f"mechanism {mechanism!r}", " or ".join(MECHANISMS), "Give one of these names")
        self.rate = DEFAULT_RATE if rate is None else rate
        if not 20.0 <= self.rate <= 5_000.0:
            raise InputError(f"rate {rate}", "20 to 5000 rows a second", "Give another rate")
        self.start_ns = _start_ns(start)
        self.end_ns = self.start_ns + int(self.hours * 3600) * SECOND_NS + int(self.hours * 3600 % 1 * SECOND_NS)
        self.config = config or SimConfig()
        self._progress = progress
        self._log: list[NDArray[np.void]] = []

    def chunks(self) -> Iterator[NDArray[np.void]]:
        """EVENT_DTYPE [n], n up to a million, sorted by local_ts; always from the beginning."""
        self._log = []
        market = _Market(self)
        out = np.zeros(_CHUNK, EVENT_DTYPE)
        while not market.done:
            n = market.fill(out)
            if n:
                yield out[:n].copy()
            if self._progress is not None:
                self._progress(market.share)

    def facts(self) -> dict[str, Any]:
        """Manifest fields beside those that follow from the rows."""
        return {
            "sources": [],
            "bad_rows": {},
            "clock_offset_ns": 0,
            "seed": self.seed,
            "hours": self.hours,
            "edge": self.edge,
            "mechanism": self.mechanism,
            "rate": self.rate,
            "planted_edge": {
                "description": _DESCRIPTION[self.mechanism],
                "episodes": int(sum(len(part) for part in self._log)),
                "parameters": asdict(self.config),
            },
        }

    @property
    def instrument(self) -> Instrument:
        """Tick, lot and funding interval."""
        return instrument(self.venue, self.symbol)

    @property
    def log(self) -> NDArray[np.void]:
        """The episodes so far (``sim_kernel.LOG_DTYPE``), for tests: nothing else may look behind the scenes."""
        return np.concatenate(self._log) if self._log else np.zeros(0, sim_kernel.LOG_DTYPE)


_DESCRIPTION = {
    "flow": "SIMULATED: large orders go on for tens of seconds; makers leave their flow unanswered to the degree edge",
    "book": "SIMULATED: makers give way after a burst, ahead of where they lean, to the degree edge",
}


class _Market:
    """The kernel's state, from the opening on."""

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation
        streams = np.random.SeedSequence(simulation.seed).spawn(2)
        self._weather, self._rng = (np.random.Generator(np.random.PCG64(s)) for s in streams)
        self._cfg = kernel_parameters(
            simulation.config,
            edge=simulation.edge,
            mechanism=MECHANISMS.index(simulation.mechanism),
            rate=simulation.rate,
        )
        state = np.zeros(1, sim_kernel.STATE_DTYPE)
        self._st = st = state[0]
        self._state = state
        start, config = simulation.start_ns, simulation.config
        for name, value in (("t", start), ("stamp", start + 5_500_000), ("last_local", start + 5_500_000)):
            st[name] = value
        st["next_second"] = st["next_funding"] = start + SECOND_NS
        st["next_episode"] = start + 20 * SECOND_NS
        st["funding"], st["base"], st["queue"] = 1e-4, 1.0, config.queue_eth * sim_book.LOTS
        st["fast_heat"], st["slow_heat"] = config.branch_fast, config.branch_slow
        self._hours = np.array(ACTIVITY)
        self._px, self._qty = (np.zeros((2, sim_book.BOOK_SLOTS), np.int64) for _ in range(2))
        self._count = np.zeros(2, np.int64)
        self.done = False

    def fill(self, out: NDArray[np.void]) -> int:
        """Rows written to the start of ``out``; once ``done``, no more will come."""
        log = np.zeros(4_096, sim_kernel.LOG_DTYPE)
        end_ns = self._sim.end_ns
        book = (self._px, self._qty, self._count)
        n = int(sim_kernel.run(self._weather, self._rng, self._cfg, self._st, self._hours, *book, log, out, end_ns))
        logged = int(self._state["logged"][0])
        self._sim._log.append(log[:logged].copy())
        if n and out["local_ts"][n - 1] >= end_ns:
            self.done = True
            n = int(np.searchsorted(out["local_ts"][:n], end_ns))
        return n

    @property
    def share(self) -> float:
        """Of the time that is simulated."""
        start, end = self._sim.start_ns, self._sim.end_ns
        return 1.0 if self.done else (int(self._state["last_local"][0]) - start) / (end - start)


def simulate_tape(
    *,
    seed: int = 7,
    hours: float | None = None,
    days: float | None = None,
    edge: float = 1.0,
    mechanism: str = "flow",
    rate: float | None = None,
    start: str = "2026-01-05",
    config: SimConfig | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tape:
    """SIMULATED: a whole `Simulation` in memory; parameters and errors as there.

    Returns
    -------
    Tape with venue ``simulated``, symbol ``SIMULATED_SYMBOL`` and ``manifest["simulated"]`` True. The same arguments
    give the same bytes, and a shorter tape is the beginning of a longer one.
    """
    from .manifest import derive_manifest
    from .tape import Tape

    simulation = Simulation(
        seed=seed, hours=hours, days=days, edge=edge, mechanism=mechanism, rate=rate, start=start, config=config
    )
    # Written in place: pages that stay untouched cost no memory.
    expected = simulation.rate * simulation.hours * 3600
    events: NDArray[np.void] = np.zeros(int(1.3 * expected) + 2 * sim_kernel.MARGIN + 10_000, EVENT_DTYPE)
    market, n = _Market(simulation), 0
    while not market.done:
        if len(events) - n < 2 * sim_kernel.MARGIN:
            events = np.concatenate([events, np.zeros(len(events) // 4 + 2 * sim_kernel.MARGIN, EVENT_DTYPE)])
        n += market.fill(events[n : n + _CHUNK])
        if progress is not None:
            progress(market.share)
    events = events[:n]
    manifest = derive_manifest("simulated", SIMULATED_SYMBOL, events, simulated=True) | simulation.facts()
    return Tape("simulated", SIMULATED_SYMBOL, events, manifest)


def _checked_seed(seed: int) -> int:
    if seed < 0:
        raise InputError(f"seed {seed}", "an integer from 0 on", "Give another seed")
    return seed


def _checked_hours(hours: float | None, days: float | None) -> float:
    if hours is not None and days is not None:
        raise InputError(f"hours {hours} and days {days}", "one of both", "Leave one out")
    length = 24.0 * days if days is not None else 24.0 if hours is None else hours
    if not (math.isfinite(length) and 0.0 < length <= _MAX_HOURS):
        what = f"hours {hours}" if days is None else f"days {days}"
        raise InputError(what, "more than 0 and at most 744 hours, 31 days", "Give another length")
    return float(length)


def _start_ns(start: str) -> int:
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise InputError(f"start {start!r}", "a time such as 2026-01-05 or 2026-01-05T12:00", "Correct it") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND_NS
