"""How long a decision takes from the event that closes its window: measured on the classes that run live.

Three phases: ``update`` closes the window and asks the signals, ``snapshot`` copies out the last T rows, ``decide`` is
the gate, inference included. Times are measured and no two runs give the same; everything else is what the batch way
gives: the same candidates, and from each gate the same answers to the bit.

A core that slept is slower for a while: its clock and its caches have cooled. A process that trades sleeps between
events, so the drive sleeps too, before what it is about to time; in a loop that never stops a decision takes half.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from feature_repo.constants import MS_NS, ORDER, SECOND_NS
from feature_repo.errors import InputError
from feature_repo.window import FeatureWindow

from .arms import Decider
from .candidate import Candidate
from .decision import Decision, Reason
from .drive import Fired, KnownCandidates, Signals, drive
from .signals import SignalDetector

__all__ = ["E2E_DTYPE", "time_decisions"]

E2E_DTYPE = np.dtype(
    [
        ("ts_ns", "i8"),
        ("sig_type", "i1"),
        ("asked", "?"),  # the model was asked for P
        ("update_us", "f8"),
        ("snapshot_us", "f8"),
        ("decide_us", "f8"),
        ("e2e_us", "f8"),  # the sum of the three
    ]
)
"""One row a candidate. The times are measured, in microseconds, and not reproducible."""

_LAST = 500
_IDLE_MS = 1.0
_WATCH_S = 3_600.0

Key = tuple[str, bool]


def time_decisions(
    events: np.ndarray | Iterable[np.ndarray],
    window: FeatureWindow,
    gates: Mapping[Key, Decider],
    candidates_at: Mapping[int, Candidate] | None = None,
    *,
    ts_ns: np.ndarray,
    last: int = _LAST,
    watch_s: float = _WATCH_S,
    idle_ms: float = _IDLE_MS,
    progress: Callable[[float], None] | None = None,
    end_ns: int | None = None,
) -> dict[Key, np.ndarray]:
    """Drive a tape through the live classes and time its last candidates, each with every gate.

    The engine sees the whole tape, in bulk: a recording holds its book once, at the start, so there is no later place
    to begin from. A tape with later snapshots may be handed in from one of these on; the engine's longest memory is
    ``EngineDefaults.regime_s``.

    The first answer of each kind (P asked, or not) that a gate gives is not counted, but asked for and timed again: it
    pays for what is loaded or made at first use. The gates take turns in going first. The garbage collector stays on.

    Parameters
    ----------
    events : EVENT_DTYPE [N], sorted by local_ts; or its chunks, of which one at a time is in memory
    window : of the tape's instrument, without any events yet
    gates : (profile, model) -> its gate, asked by ``decide`` with the window in hand
    candidates_at : t_ns -> candidate, a user's own entries instead of the built-in signals; what it took to find them
        is then in no phase
    ts_ns : int64 [N], times of the candidates that there are, in time order; the rows are about those of them that the
        signals give again, which is all of them if they were found on this tape
    last : so many of ``ts_ns`` are timed, the latest ones
    watch_s : the built-in signals see the windows from this long before the first of them on; their levels reach back
        over ``SIGNAL.level_bars`` minutes
    idle_ms : sleep before a window that holds one of them closes, and again before each gate after the first
    progress : called with the fraction of the tape done
    end_ns : last local_ts, without which chunks show no progress

    Returns
    -------
    dict of E2E_DTYPE [n], one for each gate, with the same candidates in time order

    Raises
    ------
    InputError
        When ``last``, ``watch_s`` or ``idle_ms`` is out of range.
    """
    if last < 1:
        raise InputError(f"last = {last} candidates", "at least one", "Give the number of candidates to be timed")
    for name, value in (("watch_s", watch_s), ("idle_ms", idle_ms)):
        if not 0 <= value < math.inf:
            raise InputError(f"{name} = {value}", "zero or a positive number", f"Correct {name}")
    times = [int(t) for t in ts_ns[-last:]]
    stopwatch = _Stopwatch(window, gates, idle_ms / 1e3)
    if times:
        signals: Signals
        if candidates_at is None:
            signals = SignalDetector(window.instrument.symbol, window.instrument.tick)
            from_ns = times[0] - int(watch_s * SECOND_NS)
        else:
            signals, from_ns = KnownCandidates(candidates_at), times[0]
        wanted = frozenset(times)
        driven = drive(
            events,
            window,
            signals,
            from_ns=from_ns,
            before=lambda t_ns: stopwatch.rest() if t_ns in wanted else None,
            progress=progress,
            end_ns=end_ns,
        )
        for fired in driven:
            if fired.candidate.ts_ns in wanted:
                stopwatch.take(fired)
            if fired.candidate.ts_ns >= times[-1]:
                break
    if progress is not None:
        progress(1.0)
    return stopwatch.rows()


class _Stopwatch:
    """Asks every gate about a candidate, and keeps the times."""

    def __init__(self, window: FeatureWindow, gates: Mapping[Key, Decider], idle_s: float) -> None:
        self._window, self._idle_s = window, idle_s
        self._gates = deque(gates.items())
        self._rows: dict[Key, list[tuple]] = {key: [] for key in gates}
        self._met: set[tuple[Key, bool]] = set()  # the kinds of answers that each gate gave

    def rest(self) -> None:
        if self._idle_s:
            time.sleep(self._idle_s)

    def take(self, fired: Fired) -> None:
        """One row for each gate."""
        candidate = fired.candidate
        start = time.perf_counter_ns()
        x = self._window.snapshot()
        snapshot_ns = time.perf_counter_ns() - start
        for turn, (key, gate) in enumerate(self._gates):
            if turn:
                self.rest()
            decide_ns, asked = _timed(gate, candidate, x, fired.market)
            if (key, asked) not in self._met:
                self._met.add((key, asked))
                decide_ns, asked = _timed(gate, candidate, x, fired.market)
            us = (fired.update_ns / 1e3, snapshot_ns / 1e3, decide_ns / 1e3)
            self._rows[key].append((candidate.ts_ns, candidate.sig_type, asked, *us, sum(us)))
        self._gates.rotate(-1)

    def rows(self) -> dict[Key, np.ndarray]:
        return {key: np.array(rows, E2E_DTYPE) for key, rows in self._rows.items()}


def _timed(gate: Decider, candidate: Candidate, x: np.ndarray | None, market: np.void) -> tuple[int, bool]:
    """Nanoseconds that the answer took, and whether the model was asked for P."""
    start = time.perf_counter_ns()
    decision = gate.decide(candidate, candidate.ts_ns + ORDER.compute_ms * MS_NS, x, market)
    return time.perf_counter_ns() - start, _asked(decision)


def _asked(decision: Decision) -> bool:
    return not math.isnan(decision.p) or decision.reason is Reason.MODEL_ERROR
