"""Where messages wait for the thread that decides: stamped and recorded in the order in which they are put."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

__all__ = ["Inbox", "Message"]

_FULL = 20_000


class Recorder(Protocol):
    def put(self, local_ns: int, payload: bytes) -> None: ...


class Message(NamedTuple):
    """One message as received.

    Attributes
    ----------
    local_ns : ns UTC on the uncorrected local clock, never falling
    received_ns : ``time.perf_counter_ns`` then; what E2E is counted from, also where local_ns is a replay's
    """

    local_ns: int
    received_ns: int
    payload: bytes


class Inbox:
    """Takes messages from several threads, and gives them to one.

    Parameters
    ----------
    clock_ns : the local clock
    recorder : gets every message before anybody else
    after_ns : no message is stamped with an earlier time
    """

    def __init__(self, clock_ns: Callable[[], int], recorder: Recorder | None = None, *, after_ns: int = 0) -> None:
        self._clock_ns, self._recorder = clock_ns, recorder
        self._waiting: deque[Message] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._last_ns = after_ns

    def put(self, payload: bytes, local_ns: int | None = None) -> int:
        """Take a message; ``local_ns`` is now, unless a replay says otherwise. Returns its stamp."""
        with self._ready:
            if self._closed:
                return self._last_ns
            stamp = self._clock_ns() if local_ns is None else local_ns
            self._last_ns = stamp = max(stamp, self._last_ns)
            if self._recorder is not None:
                self._recorder.put(stamp, payload)
            self._waiting.append(Message(stamp, time.perf_counter_ns(), payload))
            self._ready.notify()
            return stamp

    def take(self, timeout_s: float) -> bool:
        """Wait for a message. False once the inbox is closed and empty; True else, also after the time is over."""
        with self._ready:
            if not self._waiting and not self._closed:
                self._ready.wait(timeout_s)
            return bool(self._waiting) or not self._closed

    def pop(self) -> Message | None:
        """The oldest message, if there is one."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def close(self) -> None:
        """Take no more; what is waiting can still be taken."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    @property
    def last_ns(self) -> int:
        """The stamp of the newest message."""
        return self._last_ns

    @property
    def full(self) -> bool:
        """Whether who fills it should pause: the network holds back the rest."""
        return len(self._waiting) >= _FULL

    def __len__(self) -> int:
        return len(self._waiting)
