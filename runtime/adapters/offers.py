"""Candidates that wait for an engine to want an entry, and one answer for each."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..candidate import Candidate, is_sound
from ..decision import Decision, Gate

__all__ = ["Offers"]


class Offers:
    """The newest candidate of each symbol and side.

    A candidate is asked about once; its answer holds for the entry it was made for, until it is taken or the candidate
    expires. Without a candidate there is no entry.

    Parameters
    ----------
    gate : what decides
    clock_ns : the time on the corrected local clock, ns UTC, such as ``time.time_ns``
    """

    def __init__(self, gate: Gate, clock_ns: Callable[[], int]) -> None:
        self._gate, self._clock_ns = gate, clock_ns
        self._waiting: dict[tuple[str, int], tuple[Candidate, Decision | None]] = {}
        self._lock = threading.Lock()  # signals and entries may come from different threads

    def offer(self, candidate: Candidate) -> None:
        """Let a candidate wait in place of the one before it; what is no candidate is left out."""
        if is_sound(candidate):
            with self._lock:
                self._waiting[candidate.symbol, int(candidate.side)] = candidate, None

    def look(self, symbol: str, side: int) -> Decision | None:
        """The answer for the waiting candidate, which goes on waiting; None without one, or when it has expired."""
        return self._answer((symbol, side), take=False)

    def take(self, symbol: str, side: int) -> Decision | None:
        """As ``look``, and the candidate is gone: one entry for one candidate."""
        return self._answer((symbol, side), take=True)

    def _answer(self, key: tuple[str, int], *, take: bool) -> Decision | None:
        with self._lock:
            if key not in self._waiting:
                return None
            candidate, decision = self._waiting[key]
            now_ns = self._clock_ns()
            if not now_ns <= candidate.expiry_ns:
                del self._waiting[key]
                return None
            if decision is None:
                decision = self._gate.allow(candidate, now_ns)
                self._waiting[key] = candidate, decision
            if take:
                del self._waiting[key]
            return decision
