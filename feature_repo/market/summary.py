"""What a person wants to know of market data before using it: span, rows, gaps, spread, tick, clock, damage, impact.

Works on anything that gives rows in chunks: a stored tape, a tape in memory, an import on its way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..constants import MS_NS, SECOND_NS
from ..errors import InputError
from ..events import BUY, DEPTH, DEPTH_SNAPSHOT, FUNDING, GAP, KIND_MASK, LIQUIDATION, TRADE
from ..instruments import Instrument, instrument
from .manifest import count_kinds
from .stream import EventStream
from .stylised import Facts, facts_of
from .walk import TapeWalk

__all__ = ["DELAY_QUANTILES", "Gap", "Marks", "Summary", "summarise", "utc_text"]

DELAY_QUANTILES = (0.0, 0.01, 0.5, 0.99, 1.0)
# A snapshot and, on spot, a best quote carry no exchange time of their own.
_TIMED = (DEPTH, TRADE, LIQUIDATION, FUNDING)
_DELAY_STEP_NS = MS_NS // 10
_DELAY_STEPS = 100_000  # 10 s to either side; longer ones count as that
_MARKS = 300
_GAPS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without a book: local_ts of the break of the sequence and of the next snapshot (None: it never came)."""

    start_ns: int
    end_ns: int | None


@dataclass(frozen=True, slots=True)
class Marks:
    """The largest events of a kind: local_ts ns, price, size in base units, +1 bought or -1 sold by the aggressor."""

    t_ns: np.ndarray
    px: np.ndarray
    qty: np.ndarray
    side: np.ndarray


@dataclass(frozen=True)
class Summary:
    """The facts of one tape.

    Attributes
    ----------
    rows_by_kind : names of ``events.KIND_NAMES``
    gaps : the first 10,000; ``n_gaps`` counts every break, and several may lie in one of these times
    book_share : of the 100 ms windows that have a good book, uncrossed and after a snapshot, all along
    delay_ms : local - exchange time of messages with one, after the clock constant, at ``DELAY_QUANTILES``, in steps of
        0.1 ms; within 10 s
    negative_delays : messages whose local time is still the earlier one
    clock, bad_rows, first_bad_row, skipped, sources, segments, warnings : as in the manifest; ``warnings`` also holds
        what was found here
    walk, trades, liquidations : for the picture
    """

    venue: str
    symbol: str
    simulated: bool
    first_ns: int
    last_ns: int
    rows: int
    rows_by_kind: dict[str, int]
    gaps: list[Gap]
    n_gaps: int
    book_share: float
    tick: float
    price_step: float
    delay_ms: list[float]
    negative_delays: int
    clock: dict[str, Any]
    bad_rows: dict[str, int]
    first_bad_row: dict[str, Any] | None
    skipped: dict[str, int]
    sources: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    warnings: list[str]
    facts: Facts
    walk: TapeWalk = field(repr=False)
    trades: Marks = field(repr=False)
    liquidations: Marks = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN and infinity become None, times also stand as ISO 8601."""
        out = {n: getattr(self, n) for n in self.__dataclass_fields__ if n not in ("walk", "trades", "liquidations")}
        out["gaps"] = [{**asdict(g), "start": utc_text(g.start_ns), "end": utc_text(g.end_ns)} for g in self.gaps]
        out["delay_ms"] = dict(zip((f"{q:g}" for q in DELAY_QUANTILES), self.delay_ms, strict=True))
        out["facts"] = asdict(self.facts)
        return _plain({**out, "first": utc_text(self.first_ns), "last": utc_text(self.last_ns)})


def utc_text(t_ns: int | None, digits: int = 3) -> str | None:
    """2024-07-19 00:05:00.123 for a time in ns UTC."""
    if t_ns is None:
        return None
    whole, rest = divmod(int(t_ns), SECOND_NS)
    fraction = f".{rest // 10 ** (9 - digits):0{digits}d}" if digits else ""
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}{fraction}"


def summarise(stream: EventStream, *, progress: Callable[[float], None] | None = None) -> Summary:
    """Read a tape or an import to its end, a chunk at a time.

    Parameters
    ----------
    stream : stream.EventStream, such as a StoredTape, a Tape or an Import
    progress : called with the fraction done, 0..1, where the stream has a number of ``rows``; an import tells its own

    Raises
    ------
    InputError
        For an unknown symbol, a row of an unknown kind, or a stream without rows.
    """
    survey: _Survey | None = None
    rows = getattr(stream, "rows", 0)
    for chunk in stream.chunks():
        if survey is None:
            survey = _Survey(instrument(stream.venue, stream.symbol))
        survey.update(chunk)
        if progress is not None and rows:
            progress(min(1.0, survey.walk.rows / rows))
    if survey is None:
        raise InputError(f"{stream.symbol or 'the source'} has no rows", "at least one event", "Give another path")
    return survey.finish(stream, stream.facts())


class _Survey:
    """What one pass over the rows collects beside the walk."""

    def __init__(self, of: Instrument) -> None:
        self.instrument = of
        self.walk = TapeWalk(of.tick)
        self.kinds: dict[str, int] = {}
        self.gaps: list[Gap] = []
        self.n_gaps = 0
        self.open_gap: int | None = None
        self.delays = np.zeros(2 * _DELAY_STEPS + 1, np.int64)
        self.least_delay_ns = np.iinfo(np.int64).max
        self.negative = 0
        self.first_ns = self.last_ns = 0
        self.before: tuple[int, int] | None = None
        self.largest = {TRADE: _no_marks(), LIQUIDATION: _no_marks()}

    def update(self, events: np.ndarray) -> None:
        """Take the next rows."""
        if self.walk.rows == 0:
            self.first_ns = int(events["local_ts"][0])
        self.last_ns = int(events["local_ts"][-1])
        self.walk.update(events)
        for name, n in count_kinds(events).items():
            self.kinds[name] = self.kinds.get(name, 0) + n
        kind = events["ev"] & np.uint64(KIND_MASK)
        self._note_gaps(events["local_ts"], kind)
        self._note_delays(events, np.isin(kind, _TIMED))
        for which in (TRADE, LIQUIDATION):
            self.largest[which] = _larger(self.largest[which], events[kind == which])

    def _note_gaps(self, local: np.ndarray, kind: np.ndarray) -> None:
        breaks = np.flatnonzero(kind == GAP)
        self.n_gaps += len(breaks)
        if self.open_gap is None and len(breaks) == 0:
            return
        snapshots = np.flatnonzero(kind == DEPTH_SNAPSHOT)
        closed = 0  # rows before this one are settled
        if self.open_gap is not None:
            closed = self._close_gap(local, snapshots, 0)
        for i in breaks:
            # A further break before the snapshot is part of the same time without a book.
            if self.open_gap is None and i >= closed:
                self.open_gap = int(local[i])
                closed = self._close_gap(local, snapshots, int(i))

    def _close_gap(self, local: np.ndarray, snapshots: np.ndarray, row: int) -> int:
        """End the open gap at the first snapshot from ``row`` on, and return that one's row."""
        at = np.searchsorted(snapshots, row)
        if at == len(snapshots):
            return len(local)
        self._keep_gap(int(local[snapshots[at]]))
        return int(snapshots[at])

    def _keep_gap(self, end_ns: int | None) -> None:
        if self.open_gap is not None and len(self.gaps) < _GAPS_KEPT:
            self.gaps.append(Gap(self.open_gap, end_ns))
        self.open_gap = None

    def _note_delays(self, events: np.ndarray, timed: np.ndarray) -> None:
        local, exch = events["local_ts"], events["exch_ts"]
        # One row of each message: a message of a hundred rows has one delay.
        fresh = np.ones(len(events), bool)
        fresh[1:] = (local[1:] != local[:-1]) | (exch[1:] != exch[:-1])
        if self.before is not None:
            fresh[0] = self.before != (int(local[0]), int(exch[0]))
        self.before = int(local[-1]), int(exch[-1])
        delay = (local - exch)[fresh & timed & (exch > 0)]
        if len(delay) == 0:
            return
        self.least_delay_ns = min(self.least_delay_ns, int(delay.min()))
        self.negative += int(np.count_nonzero(delay < 0))
        steps = np.clip(delay // _DELAY_STEP_NS, -_DELAY_STEPS, _DELAY_STEPS) + _DELAY_STEPS
        self.delays += np.bincount(steps, minlength=len(self.delays))

    def finish(self, stream: EventStream, manifest: dict[str, Any]) -> Summary:
        """Put it together."""
        self._keep_gap(None)
        walk = self.walk.finish()
        return Summary(
            venue=stream.venue,
            symbol=stream.symbol,
            simulated=bool(stream.simulated),
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            rows=walk.rows,
            rows_by_kind=self.kinds,
            gaps=self.gaps,
            n_gaps=self.n_gaps,
            book_share=float(np.mean(walk.windows["broken"][:, 0] == 0)),
            tick=self.instrument.tick,
            price_step=walk.price_step,
            delay_ms=self._quantiles(),
            negative_delays=self.negative,
            clock=dict(manifest.get("clock") or {}),
            bad_rows=dict(manifest.get("bad_rows") or {}),
            first_bad_row=manifest.get("first_bad_row"),
            skipped=dict(manifest.get("skipped") or {}),
            sources=list(manifest.get("sources") or []),
            segments=list(manifest.get("segments") or []),
            warnings=[*(manifest.get("warnings") or []), *self._warnings()],
            facts=facts_of(walk),
            walk=walk,
            trades=_marks(self.largest[TRADE]),
            liquidations=_marks(self.largest[LIQUIDATION]),
        )

    def _quantiles(self) -> list[float]:
        n = int(self.delays.sum())
        if n == 0:
            return [float("nan")] * len(DELAY_QUANTILES)
        total = np.cumsum(self.delays)
        steps = [int(np.searchsorted(total, max(q * n, 1.0))) - _DELAY_STEPS for q in DELAY_QUANTILES]
        # The clock constant is judged by the least delay: that one is exact.
        return [self.least_delay_ns / MS_NS, *(s * _DELAY_STEP_NS / MS_NS for s in steps[1:])]

    def _warnings(self) -> list[str]:
        step, tick = self.walk.price_step, self.instrument.tick
        if not math.isfinite(step) or math.isclose(step, tick, rel_tol=1e-6):
            return []
        why = "the table's tick is too large" if step < tick else "the tick may have been larger then"
        return [f"the smallest price step seen is {step:g}, the table of instruments says {tick:g}: {why}"]


def _no_marks() -> np.ndarray:
    return np.empty(0, [("t", "i8"), ("px", "f8"), ("qty", "f8"), ("side", "i1")])


def _larger(kept: np.ndarray, events: np.ndarray) -> np.ndarray:
    """The largest of those kept and the new ones; of equal ones the earlier."""
    if len(events) == 0:
        return kept
    new = np.empty(len(events), kept.dtype)
    new["t"], new["px"], new["qty"] = events["local_ts"], events["px"], events["qty"]
    new["side"] = np.where(events["ev"] & np.uint64(BUY), 1, -1)
    both = np.concatenate([kept, new])
    if len(both) <= _MARKS:
        return both
    return both[np.sort(np.argsort(-both["qty"], kind="stable")[:_MARKS])]


def _marks(kept: np.ndarray) -> Marks:
    return Marks(kept["t"], kept["px"], kept["qty"], kept["side"])


def _plain(value: Any) -> Any:
    """Values that JSON has."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
