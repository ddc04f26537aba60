"""What a live process knew about itself at one moment, and whether that is healthy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..candidate import SigType
from ..decision import Reason

__all__ = ["P_EDGES", "STARTING", "Health", "LastDecision", "Latency", "PHistogram", "Quantiles", "VitalsView"]

P_EDGES = tuple(i / 20 for i in range(21))
"""Bin k holds P in (P_EDGES[k], P_EDGES[k + 1]], the first one 0 as well."""
SILENT_S = 5.0
"""Without a message for longer than this, the feed is silent."""
BOOK_S = 30.0
"""A new snapshot takes seconds; a book that is not valid for longer than this will not mend by itself."""
STALLED_S = 10.0
"""While messages come and the book is valid, a window closes every 100 ms."""
LOST_S = 60.0
"""For so long a loss of recorded lines counts as trouble; it stays in the total for ever."""
STARTING = "Starting: "
"""How a reason begins that goes away by itself."""

Health = tuple[bool, list[str]]
"""Healthy or not, and why not as sentences."""


class LastDecision(NamedTuple):
    """One answer of the gate. ``p`` is NaN where the model was not asked, ``e2e_ms`` None where not measured."""

    ts_ns: int
    symbol: str
    sig_type: SigType
    side: int
    price: float
    reason: Reason
    allow: bool
    p: float
    size: float
    e2e_ms: float | None


class PHistogram(NamedTuple):
    """Every P that the model answered: 20 counts between ``P_EDGES``, their number and their sum."""

    bins: tuple[int, ...]
    count: int
    sum: float


class Quantiles(NamedTuple):
    """Of the last n values, linearly interpolated; None without any."""

    n: int
    p50: float | None
    p95: float | None
    p99: float | None


class Latency(NamedTuple):
    """Quantiles of the last n end-to-end times of a signal type; ``within`` is the share of them in budget, 0 to 1."""

    n: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    within: float | None
    budget_ms: float


@dataclass(frozen=True, slots=True)
class VitalsView:
    """The vitals of one moment, all of it read at once. None is "not known yet"; errors are one printable line.

    Attributes
    ----------
    now_ns : the time it was taken, ns UTC on the clock that the events carry
    release : tag, empty without a release
    source : where the gate reads its windows, "online store" or "in process"
    connected : whether each route of the feed is up
    messages, messages_per_s : count of each kind; rate of all kinds over the last 10 s
    feed_age_ms : since the last message of any kind
    book_since_ns : since when the book is valid, or is not
    by_reason : every reason of the enum in its order, ALLOW among them; they add up to ``decisions``
    cost_share : (fee + slippage) / expected reward of the last 1,000 candidates, as a ratio
    e2e : by signal type, all five, of the last 1,000 each
    recording : whether there is a recorder at all
    lost_ns : when lines were last lost
    push_ms : how long the last push to the online store took
    push_error, recorder_error, log_error, release_error : None while all is well
    last : the last 12 decisions, newest first
    """

    now_ns: int
    symbol: str
    venue: str
    release: str
    profile: str
    source: str
    replay: bool
    simulated: bool
    connected: Mapping[str, bool]
    reconnects: int
    messages: Mapping[str, int]
    messages_per_s: float | None
    last_message_ns: int | None
    feed_age_ms: float | None
    book_valid: bool
    book_since_ns: int | None
    gaps: int
    snapshots: int
    snapshot_failures: int
    clock_offset_ns: int | None
    windows: int
    last_window_ns: int | None
    decisions: int
    by_reason: Mapping[Reason, int]
    p: PHistogram
    cost_share: Quantiles
    e2e: Mapping[SigType, Latency]
    recording: bool
    recorded_lines: int
    lost_lines: int
    lost_ns: int | None
    recorder_error: str | None
    pushes: int
    push_failures: int
    push_ms: float | None
    push_error: str | None
    saved_ns: int | None
    log_error: str | None
    release_error: str | None
    last: tuple[LastDecision, ...]

    def health(self) -> Health:
        """Healthy, or the reasons why not as sentences, the feed's before the process's own."""
        reasons = [*self._feed_reasons(), *self._own_reasons()]
        return not reasons, reasons

    def _since_s(self, t_ns: int) -> float:
        return (self.now_ns - t_ns) / 1e9

    def _feed_reasons(self) -> Iterable[str]:
        # A replay has no connection and no clock of its own; its messages and its book are judged as ever.
        if not self.connected and not self.replay:
            yield f"{STARTING}no connection has been opened yet."
        for route, up in self.connected.items():
            if not up:
                yield f"No connection: the route {route} is down."
        silent = self.last_message_ns is not None and self._since_s(self.last_message_ns) > SILENT_S
        if self.last_message_ns is None:
            yield f"{STARTING}no message has come yet."
        elif silent:
            yield f"No message for {self._since_s(self.last_message_ns):,.0f} s."
        if self.book_since_ns is not None:
            lasts_s = self._since_s(self.book_since_ns)
            if not self.book_valid and lasts_s > BOOK_S:
                yield f"The book has not been valid for {lasts_s:,.0f} s."
            if self.book_valid and not silent and self.last_window_ns is not None:
                stalled_s = min(lasts_s, self._since_s(self.last_window_ns))
                if stalled_s > STALLED_S:
                    yield f"No window for {stalled_s:,.0f} s, although messages come."
        if self.clock_offset_ns is None and not self.replay:
            yield f"{STARTING}the clock offset is not settled yet."

    def _own_reasons(self) -> Iterable[str]:
        if self.lost_ns is not None and (ago_s := self._since_s(self.lost_ns)) <= LOST_S:
            yield f"{self.lost_lines:,} recorded lines are lost, the last {max(0.0, ago_s):,.0f} s ago."
        if self.recorder_error:
            yield _sentence("The recorder failed", self.recorder_error)
        if self.push_error:
            yield _sentence("Windows do not reach the online store", self.push_error)
        if self.log_error:
            yield _sentence("Decisions are not being written", self.log_error)
        if self.release_error:
            yield _sentence("The new release was not taken up", self.release_error)


def _sentence(what: str, why: str) -> str:
    return f"{what}: {why.rstrip('.')}."
