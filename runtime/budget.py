"""How long a decision may take, by signal type, and a source of windows that nobody waits for any longer."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from feature_repo.errors import InputError

from .candidate import SigType
from .window_source import Found, WindowSource

__all__ = ["E2E_BUDGET_MS", "RESERVE_MS", "WaitingSource"]

E2E_BUDGET_MS = {
    SigType.MOMENTUM: 15.0,
    SigType.LIQUIDATION: 15.0,
    SigType.RECLAIM: 30.0,
    SigType.REVERSION: 50.0,
    SigType.DIVERGENCE: 50.0,
}
"""From the event that closes the window to the decision in hand."""
RESERVE_MS = 3.0
"""Of the budget, for inference and checks once the window is there."""


class _Request:
    """One question to the thread."""

    def __init__(self, t_ns: int, deadline: float) -> None:
        self.t_ns, self.deadline = t_ns, deadline
        self.done = threading.Event()
        self.answered = self.abandoned = False
        self.found: Found = None
        self.error: Exception | None = None


class WaitingSource:
    """Reads a store again and again until it has the window of t_k, for as long as the signal's budget lasts.

    The store is read in a thread of its own: one that hangs holds up nobody for longer than the budget, and from then
    on nobody at all until it answers again.

    Parameters
    ----------
    source : such as ``runtime.live.online.OnlineWindow``
    poll_ms : between two reads
    """

    def __init__(self, source: WindowSource, *, poll_ms: float = 0.5) -> None:
        if not 0 <= poll_ms < 1e3:
            raise InputError(f"poll_ms = {poll_ms}", "0 up to 1,000", "Correct poll_ms")
        self._source, self._poll_s = source, poll_ms / 1e3
        self._questions: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._current: _Request | None = None
        self._thread = threading.Thread(target=self._serve, name="window reader", daemon=True)
        self._thread.start()

    def snapshot_at(self, t_ns: int) -> Found:
        """``snapshot_within`` the smallest budget of all."""
        return self.snapshot_within(t_ns, min(E2E_BUDGET_MS.values()) - RESERVE_MS)

    def snapshot_within(self, t_ns: int, budget_ms: float) -> Found:
        """The window of ``t_ns`` as soon as it is there; when the budget is spent, the newest one there was.

        Raises
        ------
        TimeoutError
            When the source has not answered at all within the budget, or has not got over an earlier question yet.
        Exception
            Whatever the source raised at every read.
        """
        stuck = self._current
        if stuck is not None and stuck.abandoned:
            raise TimeoutError("the source of windows has not answered an earlier question yet")
        request = _Request(int(t_ns), time.perf_counter() + budget_ms / 1e3)
        self._current = request
        self._questions.put(request)
        if not request.done.wait(max(0.0, budget_ms / 1e3)):
            request.abandoned = True
        if request.answered:
            return request.found
        if request.error is not None:
            raise request.error
        raise TimeoutError(f"the source of windows did not answer within {budget_ms:.1f} ms")

    def close(self) -> None:
        """End the thread, once the read it is in has come back."""
        self._questions.put(None)

    def _serve(self) -> None:
        while (request := self._questions.get()) is not None:
            while not request.abandoned:
                self._read(request)
                if request.done.is_set() or time.perf_counter() + self._poll_s >= request.deadline:
                    break
                time.sleep(self._poll_s)
            request.done.set()
            if self._current is request:
                self._current = None

    def _read(self, request: _Request) -> None:
        try:
            found: Any = self._source.snapshot_at(request.t_ns)
            request.found, request.answered = found, True
            if found is not None and int(found[1]["t_ns"]) >= request.t_ns:
                request.done.set()
        except Exception as e:  # told to the one who asked, if no later read succeeds
            request.error = e
