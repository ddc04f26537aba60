"""The live feed as a source of market data: what waits in the inbox, by the parser that reads recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.constants import WINDOW_NS
from feature_repo.market.binance import BinanceParser
from feature_repo.market.clock import ClockOffset
from feature_repo.market.stream import BadRows

from .inbox import Inbox

__all__ = ["LiveReader"]

_MOST = 256
_WAIT_S = 0.25


class LiveReader:
    """A ``stream.Reader`` that waits for its messages.

    A chunk ends with the first message past a window's end, so that a decision is made before the messages behind it
    are read.

    Parameters
    ----------
    clock : tells where windows end, once it is settled; a ``Segment`` settles it
    on_quiet : called from the thread that takes the chunks whenever all rows given so far have been used, and at
        least every quarter of a second
    """

    kind = "binance"

    def __init__(self, inbox: Inbox, clock: ClockOffset, *, on_quiet: Callable[[], None] = lambda: None) -> None:
        self.parser = BinanceParser()
        self.bad = BadRows()
        self.files: list[Path] = []
        self.size = self.done = 0
        self.last_local_ns = 0
        self._inbox, self._clock, self._on_quiet = inbox, clock, on_quiet
        self._closers: list[tuple[int, int]] = []  # (local_ns, received_ns) of this chunk's messages

    @property
    def venue(self) -> str:
        """ "" until a message tells it."""
        return self.parser.venue or ""

    @property
    def symbol(self) -> str:
        """ "" until a message tells it."""
        return self.parser.symbol or ""

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n] of a message or more each, until the inbox is closed."""
        while self._inbox.take(_WAIT_S):
            rows = self._some()
            if len(rows):
                yield rows
            self._on_quiet()

    def received_ns(self, t_ns: int) -> int | None:
        """When the message came that closed the window ending at t_ns (corrected clock), on ``time.perf_counter_ns``.

        None where none of the chunk at hand did.
        """
        local_ns = t_ns - self._clock.offset_ns
        return next((received for local, received in self._closers if local >= local_ns), None)

    def facts(self) -> dict[str, Any]:
        """Nothing: a manifest is made from the recording."""
        return {"sources": []}

    def _some(self) -> np.ndarray:
        pop, parse = self._inbox.pop, self.parser.parse
        self._closers.clear()
        offset_ns = self._clock.offset_ns if self._clock.settled else None
        window = -1
        for _ in range(_MOST):
            message = pop()
            if message is None:
                break
            local_ns, received_ns, payload = message
            parse(local_ns, payload)  # what is no message gives no rows
            self.last_local_ns = local_ns
            self._closers.append((local_ns, received_ns))
            if offset_ns is not None:
                now = (local_ns + offset_ns) // WINDOW_NS
                if window not in (-1, now):
                    break
                window = now
        return self.parser.take()
