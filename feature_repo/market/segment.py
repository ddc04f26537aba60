"""One reader's rows on the corrected clock: held back until the clock's constant is known, never longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..constants import BASE_LATENCY_NS, CLOCK_SPAN_NS, MS_NS
from .clock import ClockOffset
from .stream import Reader

__all__ = ["Segment"]

_UNTIMED_ROWS = 1 << 21  # without any exchange time among so many rows the clock is left as it is
_DELAY_MS = 1 << 16  # the histogram of delays spans half of this on either side of the first one


class Segment:
    """The rows of one reader, held back until its clock is settled and then corrected.

    Parameters
    ----------
    report : called with each chunk
    clock : a settled one, of the recording that this one goes on with
    live : keep no account of delays (``clock_facts``), whose cost a small chunk would feel
    """

    def __init__(
        self,
        reader: Reader,
        report: Callable[[], None] = lambda: None,
        *,
        clock: ClockOffset | None = None,
        live: bool = False,
    ) -> None:
        self.reader = reader
        self.clock = ClockOffset() if clock is None else clock
        self.delays = None if live else _Delays()
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.negative = 0
        self._report = report
        self._first_exch_ns: int | None = None
        self._times = (0, 0)  # of the last row
        self._seen = 0

    def chunks(self) -> Iterator[np.ndarray]:
        held: list[np.ndarray] = []
        settled = self.clock.settled
        for rows in self.reader.chunks():
            # Ours to change: a reader gives new arrays.
            chunk = rows if rows.flags.writeable else rows.copy()
            if self.delays is not None or not settled:
                settled = self._measure(chunk) or settled
            self._report()
            held.append(chunk)
            while settled and held:
                yield self._correct(held.pop(0))
        while held:
            yield self._correct(held.pop(0))

    def _measure(self, chunk: np.ndarray) -> bool:
        """Take uncorrected delays, one a message; returns whether the clock's constant stands."""
        local, exch = np.ascontiguousarray(chunk["local_ts"]), np.ascontiguousarray(chunk["exch_ts"])
        first = np.empty(len(chunk), bool)
        first[0] = (local[0], exch[0]) != self._times
        np.logical_or(local[1:] != local[:-1], exch[1:] != exch[:-1], out=first[1:])
        first &= exch != 0
        self._times = (local[-1], exch[-1])
        at = np.flatnonzero(first)
        seen, self._seen = self._seen, self._seen + len(chunk)
        if len(at):
            local, exch = local[at], exch[at]
            if self.delays is not None:
                self.delays.update(local - exch)
            if self._first_exch_ns is None and seen + at[0] < _UNTIMED_ROWS:
                self._first_exch_ns = int(exch[0])
        if self._first_exch_ns is None:
            return self._seen >= _UNTIMED_ROWS
        return self.clock.update(local, exch) if len(at) else self.clock.settled

    def _correct(self, chunk: np.ndarray) -> np.ndarray:
        local, exch = chunk["local_ts"], chunk["exch_ts"]
        local += self.clock.offset_ns
        if not exch.all():
            untimed = exch == 0
            times = local[untimed] - BASE_LATENCY_NS
            exch[untimed] = times if self._first_exch_ns is None else np.minimum(times, self._first_exch_ns)
        self.negative += int(np.count_nonzero(local < exch))
        if self.first_ns is None:
            self.first_ns = int(local[0])
        self.last_ns = int(local[-1])
        return chunk

    def clock_facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Manifest fields of the clock, with what the reader's ``facts`` say of it; after the last chunk only."""
        clock = self.clock
        if self.delays is None:
            raise RuntimeError("a live segment keeps no account of its clock")
        return {
            "offset_ns": clock.offset_ns,
            "base_latency_ns": BASE_LATENCY_NS,
            "span_ns": CLOCK_SPAN_NS,
            "samples": clock.samples,
            "local_ts_unit": facts.get("local_ts_unit", "ns"),
            "raw_delay_min_ns": self.delays.min_ns,
            "raw_delay_median_ns": self.delays.median_ns,
            "negative_delay_rows": self.negative,
            "local_backwards": facts.get("local_backwards", 0),
        }


class _Delays:
    """Smallest and median delay, the median from a histogram of 1 ms: memory does not grow with the count."""

    def __init__(self) -> None:
        self.min_ns: int | None = None
        self._low_ms = 0
        self._counts = np.zeros(_DELAY_MS, np.int64)

    def update(self, delay_ns: np.ndarray) -> None:
        """Take int64 [n], n >= 1."""
        low = int(delay_ns.min())
        if self.min_ns is None:
            self.min_ns, self._low_ms = low, int(delay_ns[0]) // MS_NS - _DELAY_MS // 2
        self.min_ns = min(self.min_ns, low)
        bins = np.clip(delay_ns // MS_NS - self._low_ms, 0, _DELAY_MS - 1)
        self._counts += np.bincount(bins, minlength=_DELAY_MS)

    @property
    def median_ns(self) -> int | None:
        """Middle of the millisecond that holds the lower median; None without a delay."""
        total = int(self._counts.sum())
        if total == 0:
            return None
        bin_ = int(np.searchsorted(np.cumsum(self._counts), (total + 1) // 2))
        return (self._low_ms + bin_) * MS_NS + MS_NS // 2
