"""From readers to a tape on its way: the clock's constant, the order of segments, the crossed-book audit, the account.

Memory does not grow with the length of the source: what waits for the clock's first minute is all that is held back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..constants import SECOND_NS
from ..errors import InputError
from ..events import DEPTH_SNAPSHOT, EVENT_DTYPE, GAP, KIND_MASK
from ..instruments import instrument
from .audit import BookAudit
from .manifest import RowFacts
from .segment import Segment
from .sources import CUT_OFF
from .stream import OVERLAP_NS, Reader

__all__ = ["Import"]

_CROSSED = "crossed book"
"""Reason of the depth messages after which the best bid is not below the best ask; their rows are kept."""


class Import:
    """One contract's market data as a corrected event stream; see ``stream.EventStream``.

    Each reader is a segment with one clock constant of its own. Between segments stands a GAP row, because the book
    does not continue. Rows from before the first known exchange time of a segment get ``local_ts - BASE_LATENCY_NS``,
    but no later time than the first known: a replay's exchange must see a snapshot before the diffs that continue it.

    ``facts`` gives, beside what the readers tell: kinds, lines, messages, skipped, depth, bad_rows, first_bad_row,
    max_bad_share, crossed_book, first_crossed, clock, warnings, sources, and segments where there are several.

    Parameters
    ----------
    readers : at least one, of one contract, in order of time
    progress : called with the fraction of bytes read, 0..1

    Raises
    ------
    InputError
        From ``chunks``: whatever a reader raises; segments that overlap by more than a second or are of two contracts;
        a contract that the instrument table lacks; no row at all; a crossed book after more than the permitted share of
        depth messages.
    """

    simulated = False

    def __init__(self, readers: Sequence[Reader], *, progress: Callable[[float], None] | None = None) -> None:
        self.venue = self.symbol = ""
        self._readers = list(readers)
        self._progress = progress
        self._rows = RowFacts()
        self._audit = _Crossings()
        self._segments: list[Segment] = []
        self._latest_ns = 0
        self._last_gap = self._last_snapshot = -1  # row numbers
        self._facts: dict[str, Any] | None = None

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n], n >= 1, sorted by local_ts on the corrected clock; once only."""
        if self._rows.rows:
            raise RuntimeError("an import can be taken once")
        for reader in self._readers:
            segment = Segment(reader, self._report)
            before = self._segments[-1] if self._segments else None
            for chunk in segment.chunks():
                self._identify(reader)
                if before is not None:
                    yield self._join(before, segment, chunk)
                    before = None
                if chunk["local_ts"][0] < self._latest_ns:
                    np.maximum(chunk["local_ts"], self._latest_ns, out=chunk["local_ts"])
                self._watch(chunk)
                yield chunk
            if segment.last_ns is not None:
                self._segments.append(segment)
        self._end()

    def facts(self) -> dict[str, Any]:
        """Manifest fields; after the last chunk only."""
        if self._facts is None:
            raise RuntimeError("facts() before the last chunk was taken")
        return self._facts

    def _report(self) -> None:
        if self._progress is not None:
            size = sum(r.size for r in self._readers)
            self._progress(min(1.0, sum(r.done for r in self._readers) / max(1, size)))

    def _identify(self, reader: Reader) -> None:
        """Check that the rows are of one contract that the instrument table has."""
        venue, symbol = reader.venue, reader.symbol
        if not symbol:
            raise _rowless([reader])
        if (venue, symbol) == (self.venue, self.symbol):
            return
        if self.symbol:
            raise InputError(
                f"{_names(reader)} is of {symbol} on {venue} after {self.symbol} on {self.venue}",
                "one contract a tape",
                "Give the files of one, or choose it with --symbol and --venue",
            )
        try:
            instrument(venue, symbol)
        except InputError as error:
            raise InputError(f"{_names(reader)}: {error.got}", error.accepts, error.do) from error
        self.venue, self.symbol = venue, symbol

    def _join(self, before: Segment, segment: Segment, chunk: np.ndarray) -> np.ndarray:
        """The GAP row between two segments."""
        first_ns = int(chunk["local_ts"][0])
        if first_ns < self._latest_ns - OVERLAP_NS:
            raise InputError(
                f"{_names(segment.reader)} begins {(self._latest_ns - first_ns) / SECOND_NS:.1f} s before "
                f"{_names(before.reader)} ends",
                "sources that follow each other",
                "Leave one of them out, or give them one by one",
            )
        gap = np.zeros(1, EVENT_DTYPE)
        gap["ev"], gap["exch_ts"], gap["local_ts"] = GAP, chunk["exch_ts"][0], max(first_ns, self._latest_ns)
        self._watch(gap)
        return gap

    def _watch(self, chunk: np.ndarray) -> None:
        """Take the facts of corrected rows."""
        at, counts = self._rows.rows, self._rows.counts
        gaps, snapshots = counts[GAP], counts[DEPTH_SNAPSHOT]
        self._rows.update(chunk)
        if counts[GAP] > gaps or counts[DEPTH_SNAPSHOT] > snapshots:
            kind = chunk["ev"] & np.uint64(KIND_MASK)
            if counts[GAP] > gaps:
                self._last_gap = at + int(np.flatnonzero(kind == GAP)[-1])
            if counts[DEPTH_SNAPSHOT] > snapshots:
                self._last_snapshot = at + int(np.flatnonzero(kind == DEPTH_SNAPSHOT)[-1])
        self._audit.update(chunk)
        self._latest_ns = int(chunk["local_ts"][-1])

    def _end(self) -> None:
        if not self._segments:
            raise _rowless(self._readers)
        accounts = list({id(r.bad): r.bad for r in self._readers}.values())
        share = max(a.max_share for a in accounts)
        self._audit.finish(_names(self._segments[0].reader), share)
        by_reader = {id(r): r.facts() for r in self._readers}
        told = _merged(list(by_reader.values()))
        clocks = [s.clock_facts(by_reader[id(s.reader)]) for s in self._segments]
        bad = sum((a.reasons for a in accounts), Counter[str]())
        bad[_CROSSED] += self._audit.crossed
        facts: dict[str, Any] = {
            "messages": {},
            "skipped": {},
            "depth": {},
            "sources": [],
            **told,
            "kinds": [s.reader.kind for s in self._segments],
            "lines": sum(a.rows for a in accounts),
            "bad_rows": dict(+bad),
            "first_bad_row": next((a.first for a in accounts if a.first is not None), None),
            "max_bad_share": share,
            "crossed_book": self._audit.crossed,
            "first_crossed": self._audit.first,
            "clock": clocks[0],
        }
        if len(self._segments) > 1:
            facts["segments"] = [
                {"kind": s.reader.kind, "first_local_ns": s.first_ns, "last_local_ns": s.last_ns, "clock": c}
                for s, c in zip(self._segments, clocks, strict=True)
            ]
        silent = [r for r in self._readers if all(s.reader is not r for s in self._segments)]
        facts["warnings"] = [*told.get("warnings", []), *self._warnings(facts, clocks, silent)]
        self._facts = facts

    def _warnings(self, facts: dict[str, Any], clocks: list[dict[str, Any]], silent: list[Reader]) -> list[str]:
        """Sentences that a person should read before using the tape."""
        counts = self._rows.by_name()
        out = [f"{_names(reader)} gives no row" for reader in silent]
        if "depth_snapshot" not in counts:
            held = facts["depth"].get("depth_before_snapshot", 0)
            out.append(f"no depth snapshot: the book is never valid, {held} depth messages are unused")
        if "trade" not in counts:
            out.append("no trades")
        if gaps := counts.get("gap", 0):
            tail = "" if self._last_snapshot > self._last_gap else ", after the last one to the end"
            out.append(f"{gaps} sequence gaps: no valid book until the next snapshot{tail}")
        if self._audit.crossed:
            out.append(f"the book is crossed after {self._audit.crossed} messages")
        if cut := facts["bad_rows"].get(CUT_OFF, 0):
            out.append(f"{cut} of the files is cut off; what could be read of it is used")
        if first := facts["first_bad_row"]:
            bad = sum(facts["bad_rows"].values()) - self._audit.crossed
            where = f"{first['file']}, line {first['line']}"
            out.append(f"{bad} of {facts['lines']} lines are unusable, the first is {where}: {first['reason']}")
        if not any(c["samples"] for c in clocks):
            out.append("no exchange time at the beginning: the clock is left as it is")
        if negative := sum(c["negative_delay_rows"] for c in clocks):
            out.append(f"{negative} rows are earlier than the exchange's time even after the clock constant")
        if back := sum(c["local_backwards"] for c in clocks):
            out.append(f"the local clock steps back {back} times; it is held at the latest time seen")
        return out


class _Crossings:
    """Depth messages after which the book is crossed."""

    def __init__(self) -> None:
        self.crossed = self.messages = 0
        self.first: dict[str, Any] | None = None
        self._book = BookAudit()
        self._rows = self._last_ns = 0

    def update(self, chunk: np.ndarray) -> None:
        """Take corrected rows."""
        self._judge(chunk, *self._book.update(chunk))
        self._rows += len(chunk)
        self._last_ns = int(chunk["local_ts"][-1])

    def _judge(self, chunk: np.ndarray, last_row: np.ndarray, bid: np.ndarray, ask: np.ndarray) -> None:
        self.messages += len(last_row)
        at = np.flatnonzero(bid >= ask)
        self.crossed += len(at)
        if self.first is None and len(at):
            row, k = int(last_row[at[0]]), at[0]
            # The message may have ended with the chunk before this one.
            local_ns = int(chunk["local_ts"][row - self._rows]) if row >= self._rows else self._last_ns
            self.first = {"row": row, "local_ns": local_ns, "bid": float(bid[k]), "ask": float(ask[k])}

    def finish(self, name: str, max_share: float) -> None:
        """Judge the last message, then the whole; InputError past the permitted share."""
        self._judge(np.empty(0, EVENT_DTYPE), *self._book.finish())
        first = self.first
        if first is not None and self.crossed > max_share * self.messages:
            raise InputError(
                f"{name}: the book is crossed after {self.crossed} of {self.messages} depth messages, first at row "
                f"{first['row']} ({first['local_ns']} ns): bid {first['bid']:g}, ask {first['ask']:g}",
                f"at most {max_share:g} of them",
                "Repair or cut the source, or raise --max-bad-share",
            )


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Facts of all segments: counts add up, lists follow each other, of anything else the first stands."""
    out: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if name in ("local_ts_unit", "local_backwards"):
                continue  # told with the clock
            have = out.get(name)
            if have is None:
                out[name] = value
            elif isinstance(value, bool):
                out[name] = have or value
            elif isinstance(value, dict):
                out[name] = dict(Counter(have) + Counter(value))
            elif isinstance(value, int | list):
                out[name] = have + value
    return out


def _names(reader: Reader) -> str:
    files: Sequence[Path] = reader.files
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]}{more}"


def _rowless(readers: list[Reader]) -> InputError:
    facts = _merged([r.facts() for r in readers])
    left = Counter(facts.get("skipped", {})) + Counter(facts.get("depth", {}))
    shown = ", ".join(f"{n} {name}" for name, n in sorted(left.items())) or "no message"
    lines = sum(a.rows for a in {id(r.bad): r.bad for r in readers}.values())
    return InputError(
        f"{', '.join(_names(r) for r in readers[:3])}: none of {lines} lines gives a row of a named symbol ({shown})",
        "depth with a snapshot, and trades, of one symbol",
        "Record these streams",
    )
