"""A Binance recording, `<local_ts> <json>` a line, to a tape: lines, clock, checks and manifest."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..constants import BASE_LATENCY_NS, CLOCK_SPAN_NS, SECOND_NS
from ..errors import InputError
from ..events import DEPTH_SNAPSHOT, GAP, KIND_MASK
from ..instruments import instrument
from .audit import best_quotes
from .binance import NO_JSON, BinanceParser
from .clock import ClockOffset
from .manifest import derive_manifest
from .sources import Source, find_sources, open_lines
from .tape import Tape

__all__ = ["MAX_BAD_SHARE", "read_recording"]

MAX_BAD_SHARE = 0.01
"""With more unusable lines than this a recording is refused."""

_FORMAT = "`<local_ts> <json>` a line"
_REPORT_LINES = 8_192
_OVERLAP_NS = SECOND_NS


class _Import:
    """What one pass over the lines collects."""

    def __init__(self) -> None:
        self.parser = BinanceParser()
        self.clock = ClockOffset()
        self.lines = 0
        self.bad = Counter[str]()
        self.first_bad: dict[str, Any] | None = None
        self.latest_ns = 0
        self.local, self.exch = array("q"), array("q")  # uncorrected, of each message with an exchange time

    def read(self, source: Source, report: Callable[[int], None] | None) -> int:
        """Take one file's lines; returns how many."""
        if source.first_ns < self.latest_ns - _OVERLAP_NS:
            raise InputError(
                f"{source.path} begins before the file before it ends",
                "files that continue each other",
                "Put recordings of the same time into folders of their own",
            )
        parse, parser, clock, unit_ns = self.parser.parse, self.parser, self.clock, source.unit_ns
        # Of the same number of digits as the first line: anything else is another unit or no time.
        low = 10 ** (len(str(source.first_ns // unit_ns)) - 1)
        settled, n = clock.settled, 0
        raw, lines = open_lines(source)
        with raw:
            for n, line in enumerate(lines, 1):
                head, _, payload = line.partition(b" ")
                if not head.isdigit() or not low <= (stamp := int(head)) < 10 * low:
                    if line.strip():
                        raise _no_line(source, n, f"local_ts is no whole number of {source.unit}")
                    continue
                local_ns = stamp * unit_ns
                try:
                    reason = parse(local_ns, payload)
                except InputError as error:
                    raise InputError(f"{source.path}, line {n}: {error.got}", error.accepts, error.do) from error
                if reason == NO_JSON:
                    raise _no_line(source, n, reason)
                if reason is not None:
                    self._note(source, n, reason)
                    continue
                self.latest_ns = max(self.latest_ns, local_ns)
                exch_ns = parser.exch_ns
                if exch_ns is not None:
                    self.local.append(local_ns)
                    self.exch.append(exch_ns)
                    if not settled:
                        settled = clock.update(local_ns, exch_ns)
                if report is not None and n % _REPORT_LINES == 0:
                    report(raw.tell())
        self.lines += n
        return n

    def _note(self, source: Source, line: int, reason: str) -> None:
        self.bad[reason] += 1
        if self.first_bad is None:
            self.first_bad = {"file": source.path.name, "line": line, "reason": reason}


def _no_line(source: Source, n: int, why: str) -> InputError:
    """A line that is not of the format at all: the file is damaged, which no share of bad rows excuses."""
    return InputError(f"{source.path}, line {n}: {why}", _FORMAT, "Repair the line or cut the recording there")


def read_recording(path: Path, *, progress: Callable[[float], None] | None = None) -> Tape:
    """Import one file, or a folder of files that continue each other, as one recording with one clock constant.

    Parameters
    ----------
    path : see ``find_sources`` for the files that a folder may hold
    progress : called with the fraction of bytes read

    Returns
    -------
    Tape; manifest fields beside those of ``derive_manifest``: sources, lines, messages, skipped, bad_rows,
    first_bad_row, depth, crossed_book, clock, warnings

    Raises
    ------
    InputError
        For anything that is no complete recording of one known symbol, a line that is not of the format, or more than
        1 % of messages with unusable fields; it names the file and, where there is one, the line and the field.
    """
    path = Path(path)
    sources = find_sources(path)
    total, done, entries = sum(s.size for s in sources), 0, []
    run = _Import()
    for source in sources:
        report = None if progress is None else _reporter(progress, done, total)
        lines = run.read(source, report)
        done += source.size
        entries.append({"name": source.path.name, "size": source.size, "sha256": source.sha256, "lines": lines})
    _refuse_bad(run, path)
    parser, events = run.parser, run.parser.take()
    if len(events) == 0 or parser.symbol is None or parser.venue is None:
        left = ", ".join(f"{n} {name}" for name, n in sorted((parser.skipped + parser.depth).items()))
        raise InputError(
            f"{path}: none of {run.lines} lines gives a row of a named symbol ({left or 'no message'})",
            "depth diffs with a REST snapshot, and trades, of one symbol",
            "Record these streams",
        )
    try:
        instrument(parser.venue, parser.symbol)
    except InputError as error:
        raise InputError(f"{path}: {error.got}", error.accepts, error.do) from error
    _correct(events, run)
    manifest = {
        **derive_manifest(parser.venue, parser.symbol, events, simulated=False),
        "sources": entries,
        "lines": run.lines,
        "messages": dict(parser.messages),
        "skipped": dict(parser.skipped),
        "bad_rows": dict(run.bad),
        "first_bad_row": run.first_bad,
        "depth": dict(parser.depth),
        "crossed_book": _crossed(events),
        "clock": _clock_facts(events, run, sources[0].unit),
    }
    manifest["warnings"] = _warnings(manifest, events)
    return Tape(parser.venue, parser.symbol, events, manifest)


def _reporter(progress: Callable[[float], None], done: int, total: int) -> Callable[[int], None]:
    return lambda at: progress(min(1.0, (done + at) / total))


def _refuse_bad(run: _Import, path: Path) -> None:
    bad = run.bad.total()
    if run.first_bad is None or bad <= MAX_BAD_SHARE * run.lines:
        return
    first = run.first_bad
    where = path / first["file"] if path.is_dir() else path
    raise InputError(
        f"{where}, line {first['line']}: {first['reason']} (the first of {bad} unusable lines among {run.lines})",
        f"{_FORMAT}, with at most {MAX_BAD_SHARE:.0%} unusable",
        "Repair or cut the recording",
    )


def _correct(events: np.ndarray, run: _Import) -> None:
    """Shift local times by the recording's constant; give rows from before the first known exchange time one."""
    events["local_ts"] += run.clock.offset_ns
    n = run.parser.rows_before_time
    if n and len(run.exch):
        # Never after the first known one: the replay's exchange must see a snapshot before the diffs that continue it.
        events["exch_ts"][:n] = np.minimum(events["local_ts"][:n] - BASE_LATENCY_NS, run.exch[0])


def _crossed(events: np.ndarray) -> int:
    _, bid, ask = best_quotes(events)
    return int(np.count_nonzero(bid >= ask))


def _clock_facts(events: np.ndarray, run: _Import, unit: str) -> dict[str, Any]:
    delay = np.frombuffer(run.local, "i8") - np.frombuffer(run.exch, "i8")
    return {
        "offset_ns": run.clock.offset_ns,
        "base_latency_ns": BASE_LATENCY_NS,
        "span_ns": CLOCK_SPAN_NS,
        "samples": run.clock.samples,
        "local_ts_unit": unit,
        "raw_delay_min_ns": int(delay.min()) if len(delay) else None,
        "raw_delay_median_ns": int(np.median(delay)) if len(delay) else None,
        "negative_delay_rows": int(np.count_nonzero(events["local_ts"] < events["exch_ts"])),
        "local_backwards": run.parser.local_backwards,
    }


def _warnings(manifest: dict[str, Any], events: np.ndarray) -> list[str]:
    """Sentences that a person should read before using the tape."""
    out = []
    counts, clock = manifest["counts"], manifest["clock"]
    if "depth_snapshot" not in counts:
        held = manifest["depth"].get("depth_before_snapshot", 0)
        out.append(f"no depth snapshot: the book is never valid, {held} depth messages are unused")
    if "trade" not in counts:
        out.append("no trades")
    if manifest["gaps"]:
        kind = events["ev"] & np.uint64(KIND_MASK)
        last = np.flatnonzero(kind == GAP)[-1]
        tail = "" if np.any(kind[last:] == DEPTH_SNAPSHOT) else ", after the last one to the end"
        out.append(f"{manifest['gaps']} sequence gaps: no valid book until the next snapshot{tail}")
    if manifest["crossed_book"]:
        out.append(f"the book is crossed after {manifest['crossed_book']} messages")
    if manifest["first_bad_row"]:
        first, bad = manifest["first_bad_row"], sum(manifest["bad_rows"].values())
        where = f"{first['file']}, line {first['line']}"
        out.append(f"{bad} of {manifest['lines']} lines are unusable, the first is {where}: {first['reason']}")
    if clock["negative_delay_rows"]:
        out.append(
            f"{clock['negative_delay_rows']} rows are earlier than the exchange's time even after the clock constant"
        )
    if clock["local_backwards"]:
        out.append(f"the local clock steps back {clock['local_backwards']} times; it is held at the latest time seen")
    return out
