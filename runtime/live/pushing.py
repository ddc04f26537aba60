"""Windows on their way to the online store: pushed in a thread of their own, and awaited by who reads them back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..window_source import Found, WindowSource

__all__ = ["PushedWindow", "Pusher"]

_WAIT_S = 0.005


class Store(WindowSource, Protocol):
    """The part of OnlineWindow that is needed here."""

    def push(self, x: np.ndarray, market_row: np.void) -> bool: ...


class Pusher:
    """Pushes the newest window; one that a newer one overtakes while it waits is never pushed.

    Parameters
    ----------
    on_push : called with the milliseconds that a push took
    on_failure : called with why one failed
    """

    def __init__(
        self,
        store: Store,
        *,
        on_push: Callable[[float], None] = lambda _: None,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store, self._on_push, self._on_failure = store, on_push, on_failure
        self._next: tuple[np.ndarray, np.void] | None = None
        self._changed = threading.Condition()
        self._stop = False
        self._done_ns = -1  # t_ns of the newest push that is over
        self._thread = threading.Thread(target=self._serve, name="window pusher", daemon=True)
        self._thread.start()

    def offer(self, x: np.ndarray, market_row: np.void) -> None:
        """Have a window pushed; returns at once."""
        with self._changed:
            self._next = (x, market_row)
            self._changed.notify_all()

    def wait(self, t_ns: int, timeout_s: float) -> bool:
        """Wait until the push of the window of ``t_ns``, or of a later one, is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self._done_ns >= t_ns, timeout_s)

    def close(self) -> None:
        """End the thread, once the push it is in has come back."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join(1.0)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._stop)
                if self._stop:
                    return
                (x, market_row), self._next = self._next, None
            began = time.perf_counter()
            try:
                self._store.push(x, market_row)
                self._on_push((time.perf_counter() - began) * 1e3)
            except Exception as e:  # a store may fail in any way; the gate finds no window, and denies
                self._on_failure(str(e))
            with self._changed:
                self._done_ns = int(market_row["t_ns"])
                self._changed.notify_all()


class PushedWindow:
    """A source of windows: what the store holds once the push of the wanted one is over.

    Waiting for the push instead of reading again and again leaves the processor to the push. Meant to be read through
    ``runtime.budget.WaitingSource``, which keeps to the signal's budget.
    """

    def __init__(self, pusher: Pusher, store: Store) -> None:
        self._pusher, self._store = pusher, store

    def snapshot_at(self, t_ns: int) -> Found:
        """What the store gives; whether it is the window asked for, its ``t_ns`` says."""
        self._pusher.wait(t_ns, _WAIT_S)
        return self._store.snapshot_at(t_ns)
