"""What a live process knows about itself: kept by the threads that work, read by those that show it."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from ..budget import E2E_BUDGET_MS
from ..candidate import Candidate, SigType, is_sound
from ..decision import Decision, Reason
from .vitals_view import P_EDGES, Health, LastDecision, Latency, PHistogram, Quantiles, VitalsView

__all__ = ["Vitals"]

_KEPT, _SHOWN = 1_000, 12
_RATE_NS, _SAMPLE_NS = 10_000_000_000, 250_000_000
_LONGEST = 200


class Vitals:
    """One account of the process. Every method may be called from any thread, takes microseconds and does no I/O.

    Counters that the feed and the recorder keep themselves are given as totals, with :meth:`feed` and :meth:`recorder`;
    the others are counted here. Every time is an argument, ns UTC on the clock that the events carry; in a replay that
    is the replay's.

    Parameters
    ----------
    source : "online store" or "in process"
    replay : a recording instead of a feed; simulated : of no real market
    release : tag of the one that serves, empty without
    """

    def __init__(
        self,
        symbol: str,
        venue: str,
        *,
        profile: str,
        source: str,
        release: str = "",
        replay: bool = False,
        simulated: bool = False,
    ) -> None:
        self.symbol, self.venue, self.profile, self.source = symbol, venue, profile, source
        self.replay, self.simulated = replay, simulated
        self._lock = threading.Lock()
        self._release, self._release_error = release, None
        self._connected: dict[str, bool] = {}
        self._messages: dict[str, int] = {}
        self._received: deque[tuple[int, int]] = deque()  # (time, messages so far), for the rate
        self._reconnects = self._gaps = self._snapshots = self._snapshot_failures = 0
        self._last_message_ns: int | None = None
        self._book_valid, self._book_since_ns = False, None
        self._clock_offset_ns: int | None = None
        self._windows, self._last_window_ns = 0, None
        self._decisions = 0
        self._by_reason: Counter[Reason] = Counter()
        self._p_bins, self._p_sum = [0] * (len(P_EDGES) - 1), 0.0
        self._cost_share: deque[float] = deque(maxlen=_KEPT)
        self._e2e_ms: dict[SigType, deque[float]] = {t: deque(maxlen=_KEPT) for t in SigType}
        self._last: deque[LastDecision] = deque(maxlen=_SHOWN)
        self._recording, self._lines, self._lost, self._lost_ns = False, 0, 0, None
        self._recorder_error: str | None = None
        self._pushes, self._push_failures, self._push_ms = 0, 0, None
        self._push_error: str | None = None
        self._saved_ns: int | None = None
        self._log_error: str | None = None

    def feed(
        self,
        *,
        connected: Mapping[str, bool] | None = None,
        reconnects: int | None = None,
        messages: Mapping[str, int] | None = None,
        last_message_ns: int | None = None,
        gaps: int | None = None,
        snapshots: int | None = None,
        snapshot_failures: int | None = None,
        clock_offset_ns: int | None = None,
    ) -> None:
        """Set what the feed knows of itself, as totals since the start; what is not given stays as it was."""
        with self._lock:
            if connected is not None:
                self._connected = dict(connected)
            if messages is not None:
                self._messages = dict(messages)
            if last_message_ns is not None:
                self._last_message_ns = last_message_ns
                if self._book_since_ns is None:
                    self._book_since_ns = last_message_ns
                self._sample(last_message_ns)
            self._reconnects = _given(reconnects, self._reconnects)
            self._gaps = _given(gaps, self._gaps)
            self._snapshots = _given(snapshots, self._snapshots)
            self._snapshot_failures = _given(snapshot_failures, self._snapshot_failures)
            self._clock_offset_ns = _given(clock_offset_ns, self._clock_offset_ns)

    def book(self, valid: bool, now_ns: int) -> None:
        """Whether the book is valid at ``now_ns``; until told otherwise it is not, from the first message on."""
        with self._lock:
            if valid != self._book_valid or self._book_since_ns is None:
                self._book_valid, self._book_since_ns = valid, now_ns

    def window(self, t_ns: int) -> None:
        """A window has closed, valid or not; ``t_ns`` is its t_k."""
        with self._lock:
            self._windows += 1
            self._last_window_ns = t_ns

    def decided(
        self, candidate: Candidate, decision: Decision, e2e_ms: float | None, cost_share: float | None = None
    ) -> None:
        """Count an answer of the gate. Of a candidate that is not sound, only the reason counts.

        Parameters
        ----------
        e2e_ms : from the event that closed the window to the decision in hand; None where not measured
        cost_share : (fee + slippage) / expected reward, a ratio; None, NaN and infinity stay out of the quantiles
        """
        sound = is_sound(candidate)
        with self._lock:
            self._decisions += 1
            self._by_reason[decision.reason] += 1
            if 0.0 <= decision.p <= 1.0:
                self._p_bins[max(0, bisect_left(P_EDGES, decision.p) - 1)] += 1
                self._p_sum += decision.p
            if not sound:
                return
            if cost_share is not None and math.isfinite(cost_share):
                self._cost_share.append(cost_share)
            if e2e_ms is not None and math.isfinite(e2e_ms):
                self._e2e_ms[candidate.sig_type].append(e2e_ms)
            self._last.appendleft(
                LastDecision(
                    candidate.ts_ns,
                    candidate.symbol,
                    candidate.sig_type,
                    candidate.side,
                    candidate.price,
                    decision.reason,
                    decision.allow,
                    decision.p,
                    decision.size,
                    e2e_ms,
                )
            )

    def recorder(self, *, lines: int, lost: int, now_ns: int, error: str | None = None) -> None:
        """Set what the recorder knows of itself, as totals since the start; ``error`` None while it writes."""
        with self._lock:
            if lost > self._lost:
                self._lost_ns = now_ns
            self._recording, self._lines, self._lost, self._recorder_error = True, lines, lost, _line(error)

    def pushed(self, ms: float) -> None:
        """A window has reached the online store."""
        with self._lock:
            self._pushes += 1
            self._push_ms, self._push_error = ms, None

    def push_failed(self, error: str) -> None:
        """A window has not reached the online store; this is trouble until the next one does."""
        with self._lock:
            self._push_failures += 1
            self._push_error = _line(error) or "no reason given"

    def saved(self, now_ns: int) -> None:
        """The engine's state has been saved."""
        with self._lock:
            self._saved_ns = now_ns

    def logged(self, error: str | None) -> None:
        """Whether decisions are being written: the log's last error, None while they are."""
        with self._lock:
            self._log_error = _line(error)

    def released(self, release: str, error: str | None = None) -> None:
        """The release that serves, and why a newer one was not taken up; None while it is the newest."""
        with self._lock:
            self._release, self._release_error = release, _line(error)

    def health(self, now_ns: int) -> Health:
        """As :meth:`VitalsView.health` at this moment."""
        return self.snapshot(now_ns).health()

    def snapshot(self, now_ns: int) -> VitalsView:
        """All of it at this moment; the lock is held for the copies only, the quantiles are found afterwards."""
        with self._lock:
            cost_share = list(self._cost_share)
            e2e_ms = {sig_type: list(values) for sig_type, values in self._e2e_ms.items()}
            kept = {
                "release": self._release,
                "connected": dict(self._connected),
                "reconnects": self._reconnects,
                "messages": dict(self._messages),
                "messages_per_s": self._rate(now_ns),
                "last_message_ns": self._last_message_ns,
                "book_valid": self._book_valid,
                "book_since_ns": self._book_since_ns,
                "gaps": self._gaps,
                "snapshots": self._snapshots,
                "snapshot_failures": self._snapshot_failures,
                "clock_offset_ns": self._clock_offset_ns,
                "windows": self._windows,
                "last_window_ns": self._last_window_ns,
                "decisions": self._decisions,
                "by_reason": {reason: self._by_reason[reason] for reason in Reason},
                "p": PHistogram(tuple(self._p_bins), sum(self._p_bins), self._p_sum),
                "recording": self._recording,
                "recorded_lines": self._lines,
                "lost_lines": self._lost,
                "lost_ns": self._lost_ns,
                "recorder_error": self._recorder_error,
                "pushes": self._pushes,
                "push_failures": self._push_failures,
                "push_ms": self._push_ms,
                "push_error": self._push_error,
                "saved_ns": self._saved_ns,
                "log_error": self._log_error,
                "release_error": self._release_error,
                "last": tuple(self._last),
            }
        last_ns = kept["last_message_ns"]
        return VitalsView(
            now_ns=now_ns,
            symbol=self.symbol,
            venue=self.venue,
            profile=self.profile,
            source=self.source,
            replay=self.replay,
            simulated=self.simulated,
            # A message may come between the caller's look at the clock and this one at the vitals.
            feed_age_ms=None if last_ns is None else max(0.0, (now_ns - last_ns) / 1e6),
            cost_share=_quantiles(np.array(cost_share)),
            e2e={sig_type: _latency(np.array(ms), E2E_BUDGET_MS[sig_type]) for sig_type, ms in e2e_ms.items()},
            **kept,
        )

    def _sample(self, now_ns: int) -> None:
        received = self._received
        if received and 0 <= now_ns - received[-1][0] < _SAMPLE_NS:
            return
        received.append((now_ns, sum(self._messages.values())))
        while len(received) > 1 and received[1][0] <= now_ns - _RATE_NS:
            received.popleft()

    def _rate(self, now_ns: int) -> float | None:
        """Messages per second since the newest sample that is 10 s old, or the oldest there is."""
        if not self._received:
            return None
        old = [s for s in self._received if s[0] <= now_ns - _RATE_NS]
        since_ns, before = old[-1] if old else self._received[0]
        elapsed_ns = now_ns - since_ns
        return (sum(self._messages.values()) - before) / elapsed_ns * 1e9 if elapsed_ns >= _SAMPLE_NS else None


def _given(value: int | None, before: int | None) -> int | None:
    return before if value is None else value


def _line(text: str | None) -> str | None:
    """One line that a terminal can show, whatever a server or a library has written."""
    if text is None:
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _quantiles(values: np.ndarray) -> Quantiles:
    if not len(values):
        return Quantiles(0, None, None, None)
    return Quantiles(len(values), *np.percentile(values, (50, 95, 99)).tolist())


def _latency(values: np.ndarray, budget_ms: float) -> Latency:
    q = _quantiles(values)
    within = np.count_nonzero(values <= budget_ms) / q.n if q.n else None
    return Latency(q.n, q.p50, q.p95, q.p99, within, budget_ms)
