"""A tape through the classes that run live, window by window: what a trading process does, without the waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from feature_repo.constants import WINDOW_NS
from feature_repo.window import FeatureWindow

from .candidate import Candidate

__all__ = ["Fired", "KnownCandidates", "Signals", "drive"]

_PROGRESS_EVERY = 4_096  # windows


class Signals(Protocol):
    """Where candidates come from: SignalDetector, KnownCandidates, or a strategy of the user's own."""

    def update(self, row_x: np.ndarray, market_row: np.void) -> Candidate | None: ...


class KnownCandidates:
    """Candidates that are there beforehand, each at the window that ends with its time.

    Parameters
    ----------
    candidates_at : t_ns -> the candidate; one whose time ends no window of the tape is never given
    """

    def __init__(self, candidates_at: Mapping[int, Candidate]) -> None:
        self._candidates_at = candidates_at

    def update(self, row_x: np.ndarray, market_row: np.void) -> Candidate | None:
        """The candidate of the window that just closed."""
        return self._candidates_at.get(int(market_row["t_ns"]))


class Fired(NamedTuple):
    """A candidate, while the window that fired it is the last that the FeatureWindow closed.

    Attributes
    ----------
    market : MARKET_DTYPE scalar of that window
    update_ns : measured, from the event that closed the window to the candidate in hand
    """

    candidate: Candidate
    market: np.void
    update_ns: int


def drive(
    events: np.ndarray | Iterable[np.ndarray],
    window: FeatureWindow,
    signals: Signals,
    *,
    from_ns: int = 0,
    before: Callable[[int], None] | None = None,
    progress: Callable[[float], None] | None = None,
    end_ns: int | None = None,
) -> Iterator[Fired]:
    """Feed events in the order in which they were seen, and stop wherever a candidate fires.

    A window is closed by the first event at or after its end. That event is applied before the signals are asked: it
    belongs to the next window, and changes nothing that they or the gate read. Where it closes several windows,
    each is shown by itself, and it is applied with the last. A feature window that has closed some goes on with the
    next.

    Parameters
    ----------
    events : EVENT_DTYPE [N], sorted by local_ts; or its chunks, whose cuts change nothing
    from_ns : windows that end before it are fed in bulk and not shown to the signals
    before : called with t_k once all events before t_k are fed, and before the one that closes the window
    progress : called with the fraction done
    end_ns : last local_ts, without which chunks show no progress

    Yields
    ------
    Fired, in time order
    """
    if window.as_of_ns:
        from_ns = max(from_ns, window.as_of_ns + WINDOW_NS)
    if isinstance(events, np.ndarray):
        end_ns = int(events["local_ts"][-1]) if len(events) else None
        events = [events]
    first_ns = next_ns = 0

    def tell(now_ns: int) -> None:
        if progress is not None and end_ns is not None:
            progress((now_ns - first_ns) / max(1, end_ns - first_ns))

    for chunk in events:
        if not len(chunk):
            continue
        local = chunk["local_ts"]
        if not next_ns:
            first_ns = int(local[0])
            next_ns = -(-from_ns // WINDOW_NS) * WINDOW_NS
            if not window.as_of_ns:
                next_ns = max((first_ns // WINDOW_NS + 1) * WINDOW_NS, next_ns)
        if int(local[-1]) < next_ns:
            window.update(chunk)
            tell(int(local[-1]))
            continue
        closes = np.arange(next_ns, int(local[-1]) + 1, WINDOW_NS, dtype=np.int64)
        closers = np.searchsorted(local, closes, side="left")
        applies = np.diff(closers, append=len(local)) > 0  # the event closes no later window
        begin = 0
        for k, (close_ns, closer, last) in enumerate(
            zip(closes.tolist(), closers.tolist(), applies.tolist(), strict=True)
        ):
            if closer > begin:
                window.update(chunk[begin:closer])
                begin = closer
            event = chunk[closer]
            if before is not None:
                before(close_ns)
            start = time.perf_counter_ns()
            window.advance_to(close_ns)
            if last:
                window.update_from_event(event)
                begin = closer + 1
            market, row = window.market, window.row
            candidate = None if market is None else signals.update(row, market)
            update_ns = time.perf_counter_ns() - start
            if candidate is not None:
                yield Fired(candidate, market, update_ns)
            if k % _PROGRESS_EVERY == 0:
                tell(close_ns)
        # Of the window that is still open; the next chunk may hold more of it.
        window.update(chunk[begin:])
        next_ns = int(closes[-1]) + WINDOW_NS if len(closes) else next_ns
        tell(int(local[-1]))
