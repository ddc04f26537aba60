"""The recorder's clock: one constant that puts local times after exchange times."""

from __future__ import annotations

import numpy as np

from ..constants import BASE_LATENCY_NS, CLOCK_SPAN_NS

__all__ = ["ClockOffset"]


class ClockOffset:
    """Constant added to every local_ts of a recording, so that the least delay of its first 60 s is the base latency.

    Causal, and the same live and from disk: ``update`` with the messages that carry an exchange time until
    ``settled``; from then on ``offset_ns`` no longer moves. A recording shorter than 60 s uses what it has.
    """

    __slots__ = ("_first_ns", "min_delay_ns", "samples", "settled")

    def __init__(self) -> None:
        self.min_delay_ns: int | None = None
        self.samples = 0
        self.settled = False
        self._first_ns: int | None = None

    def update(self, local_ns: np.ndarray, exch_ns: np.ndarray) -> bool:
        """Take the uncorrected times of messages, int64 [n], local times in order.

        Returns
        -------
        Whether the constant is settled; the message that settles it no longer counts.
        """
        if len(local_ns) == 0 or self.settled:
            return self.settled
        if self._first_ns is None:
            self._first_ns = int(local_ns[0])
        n = int(np.searchsorted(local_ns, self._first_ns + CLOCK_SPAN_NS, side="left"))
        if n:
            delay = int((local_ns[:n] - exch_ns[:n]).min())
            self.min_delay_ns = delay if self.min_delay_ns is None else min(self.min_delay_ns, delay)
            self.samples += n
        self.settled = n < len(local_ns)
        return self.settled

    @property
    def offset_ns(self) -> int:
        """corrected local_ts = local_ts + offset_ns; 0 before the first message with an exchange time."""
        return 0 if self.min_delay_ns is None else BASE_LATENCY_NS - self.min_delay_ns
