"""What the gate would allow on a tape, event by event, with the code that runs live. Never places an order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    events: np.ndarray,
    window: FeatureWindow,
    detector: SignalDetector,
    gate: Gate,
    *,
    on_window: Callable[[np.ndarray, np.void], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[tuple[Candidate, Decision]]:
    """Feed events in the order in which they were seen and ask the gate about each candidate.

    Parameters
    ----------
    events : EVENT_DTYPE [N], sorted by local_ts
    window : the feature window that the gate reads, or that feeds the store which the gate reads
    on_window : called with (x [T, C], market row) when a candidate fired, before the gate is asked: the place to push
        to an online store

    Yields
    ------
    (candidate, decision), in time order
    """
    if len(events) == 0:
        return
    local = events["local_ts"]
    first, last = int(local[0]) // WINDOW_NS + 1, int(local[-1]) // WINDOW_NS
    closes = np.arange(first, last + 1, dtype=np.int64) * WINDOW_NS
    ends = np.searchsorted(local, closes, side="left")
    begin = 0
    for k, (close_ns, end) in enumerate(zip(closes, ends, strict=True)):
        if end > begin:
            window.update(events[begin:end])
            begin = end
        window.advance_to(int(close_ns))
        market, row = window.market, window.row
        if market is not None and (candidate := detector.update(row, market)) is not None:
            snapshot = window.snapshot()
            if on_window is not None and snapshot is not None:
                on_window(snapshot, market)
            yield candidate, gate.allow(candidate, int(close_ns) + ORDER.compute_ms * MS_NS)
        if progress is not None and k % 4096 == 0:
            progress(k / len(closes))
