"""From a tape to its feature table: the streaming kernel, fed in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .constants import ENGINE, SECOND_NS, WINDOW_NS, EngineDefaults
from .engine import Engine
from .errors import InputError
from .fields import CHANNELS, MARKET_DTYPE
from .table import QUOTE_DTYPE, FeatureTable

if TYPE_CHECKING:
    from .market.tape import StoredTape, Tape

__all__ = ["build_features"]

_CHUNK = 1_000_000
_MAX_SPAN_NS = 366 * 86_400 * SECOND_NS
"""A longer span is a broken clock, not a tape: the rows alone would fill the memory."""


def build_features(
    tape: Tape | StoredTape,
    *,
    config: EngineDefaults = ENGINE,
    chunk: int = _CHUNK,
    progress: Callable[[float], None] | None = None,
) -> FeatureTable:
    """One row for every 100 ms window that closed within the tape, from the first event's window on.

    The last window is left out: an event that ends it has not been seen, so more of it might have followed.

    Of a stored tape one chunk at a time is in memory. The table is wholly in memory: 250 bytes a row, 0.2 GB a day, and
    48 bytes for each change of the best quotes.

    Parameters
    ----------
    tape : events in local_ts order
    chunk : events handed to the kernel at a time; no row depends on it
    progress : called with the fraction done

    Raises
    ------
    InputError
        When the tape has no events or spans more than a year.
    """
    if tape.rows == 0:
        raise InputError(
            f"the tape of {tape.symbol} on {tape.venue} holds no events", "at least one", "Record or convert it again"
        )
    first, last = tape.span_ns
    if first <= 0 or last - first > _MAX_SPAN_NS:
        got = f"the tape of {tape.symbol} spans {first} to {last} ns"
        raise InputError(got, "at most a year of ns UTC", "Check the clock of the source, or split the tape")
    rows = last // WINDOW_NS - first // WINDOW_NS
    X = np.zeros((rows, len(CHANNELS)), np.float32)
    market = np.zeros(rows, MARKET_DTYPE)
    room = np.empty(2 * min(chunk, tape.rows) + 2, QUOTE_DTYPE)
    quotes: list[np.ndarray] = []
    engine = Engine(tape.instrument, config)
    seen = done = 0
    for events in tape.chunks(chunk):
        at = 0
        while at < len(events):
            used, made, quoted = engine.process(events[at:], X[done:], market[done:], room)
            quotes.append(room[:quoted].copy())
            at, done = at + used, done + made
        seen += at
        if progress is not None:
            progress(seen / tape.rows)
    return FeatureTable(
        venue=tape.venue,
        symbol=tape.symbol,
        simulated=tape.simulated,
        X=X[:done],
        market=market[:done],
        quotes=np.concatenate(quotes),
        tick=tape.instrument.tick,
        rejected=engine.rejected,
    )
