"""Depth snapshots by REST, asked for when the book is not valid, in a thread of its own."""

from __future__ import annotations

import math
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

import orjson

from .inbox import Inbox

__all__ = ["SENT_HEADER", "STAMP_HEADER", "Snapshots"]

STAMP_HEADER = "X-Local-Ts"
"""Of a replay: the local time at which the recording has the snapshot."""
SENT_HEADER = "X-Sent-Ts"
"""Of a replay: the local time of the last message sent before it. It may still be on its way, by another connection."""
_LARGEST = 16 << 20
_LEAST_S, _MOST_S = 0.5, 30.0
_LONGEST_BAN_S = 3_600.0
_BEHIND_S, _LOOK_S = 2.0, 0.001


class Snapshots:
    """Fetches a snapshot whenever one is wanted, no more often than the venue bears.

    After a failure the next try waits, twice as long each time; a ``Retry-After`` is kept to.

    Parameters
    ----------
    url : of the depth snapshot
    inbox : gets the answer as it came
    on_failure : called with a sentence
    timeout_s : of one request
    """

    def __init__(
        self,
        url: str,
        inbox: Inbox,
        *,
        on_failure: Callable[[str], None] = lambda _: None,
        timeout_s: float = 15.0,
        least_s: float = _LEAST_S,
    ) -> None:
        self._url, self._inbox, self._on_failure, self._timeout_s = url, inbox, on_failure, timeout_s
        self._least_s = least_s
        self._wanted, self._stop = threading.Event(), threading.Event()
        self._delivered_ns = 0  # local time of the last answer
        self._thread = threading.Thread(target=self._serve, name="depth snapshots", daemon=True)
        self._thread.start()

    def want(self, local_ns: int) -> None:
        """Ask for one, unless an answer waits in the inbox.

        ``local_ns`` is of the last message that the asker has met.
        """
        if local_ns >= self._delivered_ns:
            self._wanted.set()

    def close(self) -> None:
        """Ask no more; a request that is under way comes to nothing."""
        self._stop.set()
        self._wanted.set()

    def _serve(self) -> None:
        wait_s = self._least_s
        while True:
            self._wanted.wait()
            if self._stop.is_set():
                return
            self._wanted.clear()
            try:
                self._fetch()
                # What was asked for while this one was under way; whoever still needs another asks again.
                self._wanted.clear()
                wait_s = self._least_s
                pause_s = self._least_s
            except Exception as e:  # whatever a server or a network may do; it is told, and tried again
                self._on_failure(f"no depth snapshot: {e}")
                pause_s = max(wait_s, _told_to_wait(e))
                wait_s = min(2 * wait_s, _MOST_S)
                self._wanted.set()
            if self._stop.wait(pause_s):
                return

    def _fetch(self) -> None:
        with urllib.request.urlopen(self._url, timeout=self._timeout_s) as answer, _kept_open(answer):
            body = answer.read(_LARGEST)
            told = orjson.loads(body)
            if not isinstance(told, dict) or "lastUpdateId" not in told:
                raise ValueError(f"the answer is no snapshot: {body[:80]!r}")
            stamp = answer.headers.get(STAMP_HEADER)
            self._wait_for(int(answer.headers.get(SENT_HEADER, 0)))
            # Inside, so that a replay which waits for the end of this connection sends nothing before it is taken.
            self._delivered_ns = self._inbox.put(body.strip(), None if stamp is None else int(stamp))

    def _wait_for(self, sent_ns: int) -> None:
        """Until the inbox has the message of that time, or for as long as one that was lost is worth."""
        give_up_s = time.monotonic() + _BEHIND_S
        while self._inbox.last_ns < sent_ns and time.monotonic() < give_up_s and not self._stop.wait(_LOOK_S):
            pass


@contextmanager
def _kept_open(answer: HTTPResponse) -> Iterator[None]:
    """The connection stays open to the end of the block: the response itself closes it with the last byte read."""
    held = os.dup(answer.fileno())
    try:
        yield
    finally:
        os.close(held)


def _told_to_wait(error: Exception) -> float:
    """Seconds of a Retry-After, 0 without one."""
    if not isinstance(error, urllib.error.HTTPError):
        return 0.0
    try:
        seconds = float(error.headers.get("Retry-After", "0"))
    except ValueError:
        return 0.0
    return min(seconds, _LONGEST_BAN_S) if math.isfinite(seconds) and seconds > 0 else 0.0
