"""The three tapes of the engine's proofs: both real recordings and a simulated day, and places on their way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from feature_repo.constants import ENGINE
from feature_repo.instruments import Instrument

from .engine_run import Run

__all__ = ["DATA", "TAPES", "Place", "Trail", "every_tape", "tape", "trail"]

DATA = Path(__file__).parents[3] / "shared" / "data"
TAPES = {
    "ethusdt": "8 minutes of the ETHUSDT perpetual, 465,257 events",
    "nexousdt": "34 hours of NEXOUSDT, 318,889 events in 1,231,241 windows",
    "simulated": "a simulated day, 864,000 windows and 2.8 million events",
}
FOLDERS = {"ethusdt": "binance_usdm_ethusdt", "nexousdt": "binance_spot_nexousdt"}
_PLACES = 6
_STRETCH_NS = 180 * 1_000_000_000

every_tape = pytest.mark.parametrize("name", TAPES)
"""The test runs on each of the three; a recording that is not there is skipped by `tape`."""


@dataclass(frozen=True)
class Place:
    """A point on the way through a tape: the state there and the events of the next minutes."""

    state: dict[str, np.ndarray]
    events: np.ndarray


@dataclass(frozen=True)
class Trail:
    """One pass over a whole tape, cut at its places: hashes of all it wrote, and the places."""

    written: tuple[str, ...]
    places: tuple[Place, ...]


@cache
def tape(name: str) -> tuple[np.ndarray, Instrument]:
    """Events and contract; skips the test where the recording is absent."""
    from feature_repo.market.simulator import simulate_tape
    from feature_repo.market.tape import read_tape

    if name == "simulated":
        # At 20 rows a second instead of 50: as many windows, and the oracle's book takes half the time.
        whole = simulate_tape(seed=11, hours=24, rate=20.0)
    elif (DATA / FOLDERS[name]).exists():
        whole = read_tape(DATA / FOLDERS[name])
    else:
        pytest.skip(f"the recording {FOLDERS[name]} is not beside the project")
    return whole.events, whole.instrument


@cache
def trail(name: str) -> Trail:
    """Cut anywhere, in the midst of messages too: at the start, within the warm-up, and at random."""
    events, instrument = tape(name)
    rng = np.random.default_rng(3)
    early = int(np.searchsorted(events["local_ts"], events["local_ts"][0] + 20 * 1_000_000_000))
    cuts = np.sort([early, *rng.integers(early, len(events), _PLACES - 1)])
    run, places = Run(instrument, ENGINE), []
    sums = [hashlib.blake2b() for _ in range(3)]
    for low, high in zip([0, *cuts], [*cuts, len(events)], strict=True):
        end = np.searchsorted(events["local_ts"], events["local_ts"][low] + _STRETCH_NS)
        places.append(Place(run.engine.state.state_dict(), events[low:end]))
        run.feed(events[low:high], room=100_000)
        for total, part in zip(sums, (run.rows, run.market, run.quotes), strict=True):
            total.update(part)
        run.forget()
    return Trail(tuple(total.hexdigest() for total in sums), tuple(places))
