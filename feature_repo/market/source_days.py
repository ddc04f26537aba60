"""Which files of a folder one UTC day is made from: its own, and as many before as it takes to know the book."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ..constants import SECOND_NS
from .day_cut import DayCut
from .detect import Found, import_files
from .sources import CutOffError, head_of, open_blocks
from .stream import MAX_BAD_SHARE

__all__ = ["day_stream", "days_of", "files_for"]

_PEEK_LINES = 20_000
"""A recording opens with its book when a snapshot stands among these."""


def days_of(files: Sequence[Found]) -> list[date]:
    """Every UTC day from the first row to the last, also those in which no file begins.

    To know how far the last recording reaches, it is read to its end.
    """
    timed = [f for f in files if f.first_ns]
    if not timed:
        return []
    first = min(_day(f) for f in timed)
    last = max(max(_day(f) for f in timed), *(_last_day(f) for f in timed[-1:]))
    return [first + timedelta(days=k) for k in range((last - first).days + 1)]


def files_for(files: Sequence[Found], day: date) -> list[Found]:
    """The files to read for one day, by time.

    A recording is read from its last file before the day on, whose end may lie in the day; and from further back as
    long as the first file to be read does not open with a snapshot. Other sources open each file with their book.

    Parameters
    ----------
    files : of one contract, by their first local time
    """
    timeless = [f for f in files if not f.first_ns]
    own = [f for f in files if f.first_ns and _day(f) == day]
    before = [f for f in files if f.first_ns and _day(f) < day and f.kind == "binance"]
    chosen: list[Found] = [before.pop()] if before and _may_reach(before[-1], own, day) else []
    head = (chosen or own)[:1]
    while before and head and head[0].kind == "binance" and not _opens_with_book(head[0].path):
        head = [before.pop()]
        chosen = head + chosen
    return [*timeless, *chosen, *own]


def day_stream(
    files: Sequence[Found],
    day: date,
    *,
    max_bad_share: float = MAX_BAD_SHARE,
    venue_assumed: bool = True,
    progress: Callable[[float], None] | None = None,
) -> DayCut:
    """One day on its way to a tape; parameters as of ``detect.import_files``, errors as of ``DayCut``."""
    chosen = files_for(files, day)
    made = import_files(chosen, max_bad_share=max_bad_share, venue_assumed=venue_assumed, progress=progress)
    return DayCut(made, day)


def _day(file: Found) -> date:
    return _date(file.first_ns)


def _date(t_ns: int) -> date:
    return datetime.fromtimestamp(t_ns // SECOND_NS, UTC).date()


def _last_day(file: Found) -> date:
    """Of the last line of a recording; of other files the first one, as they are files of a day."""
    if file.kind != "binance":
        return _day(file)
    source, tail = head_of(file.path), b""
    blocks = open_blocks(file.path)
    try:
        for block in blocks:
            tail = block
    except CutOffError:
        pass  # what could be read tells; the reader tells of the cut
    finally:
        blocks.close()
    for line in reversed(tail.splitlines()):
        stamp = line.partition(b" ")[0]
        if source is not None and stamp.isdigit() and len(stamp) == source.digits:
            return max(_day(file), _date(int(stamp) * source.unit_ns))
    return _day(file)


def _may_reach(before: Found, own: Sequence[Found], day: date) -> bool:
    """Whether a file that begins before the day can hold rows of it: nothing else may, or none began at midnight."""
    if not own:
        return True
    return own[0].kind == "binance" and _day(before) == day - timedelta(days=1)


def _opens_with_book(path: Path) -> bool:
    lines = 0
    blocks = open_blocks(path)
    try:
        for block in blocks:
            if b'"lastUpdateId"' in block:
                return True
            lines += block.count(b"\n")
            if lines >= _PEEK_LINES:
                return False
    except CutOffError:
        pass  # what could be read tells; the reader tells of the cut
    finally:
        blocks.close()
    return False
