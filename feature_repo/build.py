"""From tapes to their feature tables: the streaming kernel, fed in chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .constants import ENGINE, SECOND_NS, WINDOW_NS, EngineDefaults
from .engine import Engine
from .errors import InputError
from .fields import CHANNELS, MARKET_DTYPE
from .market.stream import MAX_BAD_SHARE
from .refusal import WEEK_NS
from .side_by_side import side_by_side
from .table import QUOTE_DTYPE, FeatureTable

if TYPE_CHECKING:
    from .market.tape import StoredTape, Tape

__all__ = ["build_features", "build_many"]

_CHUNK = 1 << 16
_READ = ("ev", "exch_ts", "local_ts", "px", "qty", "fval")
"""The columns of a tape that the kernel looks at."""
_MORE_QUOTES = 1 << 18
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

    Of a stored tape two row groups at most are in memory. The table is wholly in memory: 250 bytes a row, 0.2 GB a day,
    and 48 bytes for each change of the best quotes.

    Parameters
    ----------
    tape : events in local_ts order
    chunk : events handed to the kernel at a time; no row depends on it
    progress : called with the fraction done

    Raises
    ------
    InputError
        When the tape has no events, spans more than a year, has events behind a hole of over a week (the engine
        takes that for a broken clock, and would leave them all out), or an event is later than its last.
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
    quotes = np.empty(0, QUOTE_DTYPE)
    engine = Engine(tape.instrument, config)
    seen = done = quoted = 0
    for events in tape.chunks(chunk, _READ):
        at = 0
        while at < len(events):
            if len(quotes) < quoted + 2:
                # In place where the system can: a longer copy beside it would double the table's memory.
                quotes.resize(quoted + 2 + min(_MORE_QUOTES, 2 * tape.rows), refcheck=False)
            used, made, changes = engine.process(events[at:], X[done:], market[done:], quotes[quoted:])
            if used == made == changes == 0:
                got = f"the tape of {tape.symbol} holds an event later than its last"
                raise InputError(got, "events sorted by local_ts", "Sort them")
            at, done, quoted = at + used, done + made, quoted + changes
        seen += at
        if progress is not None:
            progress(seen / tape.rows)
    used_ns, lost = int(engine.state.scalars["last_local"][0]), engine.rejected.get("time_jump", 0)
    if last - used_ns > WEEK_NS and lost > MAX_BAD_SHARE * tape.rows:
        when = np.datetime64(used_ns // SECOND_NS, "s")
        got = f"the tape of {tape.symbol} has no event for over a week after {when} UTC"
        raise InputError(got, "events that follow each other", "Make tapes of what lies before and after it")
    quotes.resize(quoted, refcheck=False)
    return FeatureTable(
        venue=tape.venue,
        symbol=tape.symbol,
        simulated=tape.simulated,
        X=X[:done],
        market=market[:done],
        quotes=quotes,
        tick=tape.instrument.tick,
        rejected=engine.rejected,
        breaks=engine.breaks,
    )


def build_many(
    tapes: Sequence[Tape | StoredTape],
    *,
    config: EngineDefaults = ENGINE,
    workers: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> list[FeatureTable | InputError | OSError]:
    """``build_features`` of independent tapes side by side; the days of one tape follow each other in one table.

    Parameters
    ----------
    workers : tapes at a time; None: one for each CPU
    progress : called with the number of a tape and its fraction done, from any thread

    Returns
    -------
    Of each tape its table, all of them in memory, or the error that refused it: the others go on.
    """

    def build(tape: Tape | StoredTape, advance: Callable[[float], None]) -> FeatureTable:
        return build_features(tape, config=config, progress=advance)

    return side_by_side(build, tapes, workers=workers, progress=progress)
