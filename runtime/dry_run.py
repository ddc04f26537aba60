"""What the gate would allow on a tape, event by event, with the code that runs live. Never places an order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from feature_repo.constants import MS_NS, ORDER
from feature_repo.window import FeatureWindow

from .candidate import Candidate
from .decision import Decision, Gate
from .drive import Signals, drive

__all__ = ["dry_run"]


def dry_run(
    events: np.ndarray | Iterable[np.ndarray],
    window: FeatureWindow,
    detector: Signals,
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
    for candidate, market, _ in drive(events, window, detector, progress=progress, end_ns=end_ns):
        if on_window is not None and (snapshot := window.snapshot()) is not None:
            on_window(snapshot, market)
        yield candidate, gate.allow(candidate, window.as_of_ns + ORDER.compute_ms * MS_NS)
