"""What the gate would allow on a tape, event by event, with the code that runs live. Never places an order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np

from feature_repo.constants import MS_NS, ORDER, WINDOW_NS
from feature_repo.window import FeatureWindow

from .candidate import Candidate
from .decision import Decision
from .signals import SignalDetector

__all__ = ["dry_run"]


class Gate(Protocol):
    """The part of MetaFilter that is needed here."""

    def allow(self, candidate: Candidate, now_ns: int) -> Decision: ...


def dry_run(
    events: np.ndarray | Iterable[np.ndarray],
    window: FeatureWindow,
    detector: SignalDetector,
    gate: Gate,
    *,
    on_window: Callable[[np.ndarray, np.void], None] | None = None,
    progress: Callable[[float], None] | None = None,
    end_ns: int | None = None,
) -> Iterator[tuple[Candidate, Decision]]:
    """Feed events in the order in which they were seen and ask the gate about each candidate.

    Parameters
    ----------
    events : EVENT_DTYPE [N], sorted by local_ts; or its chunks, whose cuts change nothing
    window : the feature window that the gate reads, or that feeds the store which the gate reads
    on_window : called with (x [T, C], market row) when a candidate fired, before the gate is asked: the place to push
        to an online store
    progress : called with the fraction done
    end_ns : last local_ts, without which chunks show no progress

    Yields
    ------
    (candidate, decision), in time order
    """
    if isinstance(events, np.ndarray):
        end_ns = int(events["local_ts"][-1]) if len(events) else None
        events = [events] if len(events) else []
    first_ns = next_ns = 0
    for chunk in events:
        local = chunk["local_ts"]
        if not next_ns:
            first_ns = int(local[0])
            next_ns = (first_ns // WINDOW_NS + 1) * WINDOW_NS
        closes = np.arange(next_ns, int(local[-1]) + 1, WINDOW_NS, dtype=np.int64)
        ends = np.searchsorted(local, closes, side="left")
        begin = 0
        for k, (close_ns, end) in enumerate(zip(closes.tolist(), ends.tolist(), strict=True)):
            if end > begin:
                window.update(chunk[begin:end])
                begin = end
            window.advance_to(close_ns)
            market, row = window.market, window.row
            if market is not None and (candidate := detector.update(row, market)) is not None:
                snapshot = window.snapshot()
                if on_window is not None and snapshot is not None:
                    on_window(snapshot, market)
                yield candidate, gate.allow(candidate, close_ns + ORDER.compute_ms * MS_NS)
            if progress is not None and end_ns is not None and k % 4096 == 0:
                progress((close_ns - first_ns) / max(1, end_ns - first_ns))
        # Of the window that is still open; the next chunk may hold more of it.
        window.update(chunk[begin:])
        next_ns = int(closes[-1]) + WINDOW_NS if len(closes) else next_ns
