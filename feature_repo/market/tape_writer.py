"""Any stream of events to a tape folder: in one piece, in flat memory, the same bytes for the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..events import EVENT_DTYPE
from ..replaced import replaced_folder, told
from .day_files import DAY_FILE, DayWriter
from .manifest import MANIFEST_NAME, RowFacts, dump_manifest
from .stream import EventStream

__all__ = ["RowOrder", "write_stream"]


def write_stream(stream: EventStream, root: Path, *, progress: Callable[[float], None] | None = None) -> Path:
    """Write ``root/<venue>/<symbol>/<YYYY-MM-DD>.parquet`` and its manifest.

    Memory does not grow with the length of the stream. The folder is written beside its place and then renamed, so that
    no reader meets half a tape; see ``replaced_folder``. A tape that was there before is replaced whole. The same rows
    and facts give the same bytes, however the rows are cut.

    Parameters
    ----------
    progress : called with the fraction done, 0..1, for a stream that has a number of ``rows``; others tell themselves

    Returns
    -------
    Path of the tape folder

    Raises
    ------
    InputError
        For a stream without rows or out of order, when the folder holds files that are no tape's or cannot be written,
        and for whatever the stream raises. The tape that was there before is then untouched.
    """
    chunks = iter(stream.chunks())
    first = next(chunks, None)
    if first is None:
        raise InputError(
            f"the tape of {stream.symbol} has no rows", "at least one event", "Give a recording with market data"
        )
    venue, symbol = stream.venue, stream.symbol
    order, facts = RowOrder(f"the tape of {symbol}"), RowFacts()
    order.check(first)
    target = Path(root) / venue / symbol
    _refuse_foreign(target)
    total = getattr(stream, "rows", 0)
    with replaced_folder(target) as staging:
        writer = DayWriter(staging, venue, symbol, simulated=stream.simulated)
        try:
            while first is not None:
                facts.update(first)
                writer.write(first)
                if progress is not None and total:
                    progress(min(1.0, facts.rows / total))
                first = next(chunks, None)
                if first is not None:
                    order.check(first)
            derived = facts.manifest(venue, symbol, simulated=stream.simulated)
            manifest = {**stream.facts(), **derived, "days": writer.close()}
        finally:
            writer.abandon()
        with told(target):
            dump_manifest(manifest, staging / MANIFEST_NAME)
    return target


class RowOrder:
    """Checks that rows are events in the order of local_ts, across chunks."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._rows = 0
        self._last_ns: int | None = None

    def check(self, events: np.ndarray) -> None:
        """Take EVENT_DTYPE [n], n >= 1; InputError at the first row that goes back."""
        if events.dtype != EVENT_DTYPE:
            raise InputError(
                f"{self._where} has rows of {events.dtype}", f"{EVENT_DTYPE}", "Build the rows with events.EVENT_DTYPE"
            )
        self.check_times(events["local_ts"])

    def check_times(self, local: np.ndarray) -> None:
        """Take the local_ts of n >= 1 rows: int64 [n]; InputError as ``check``."""
        back = np.flatnonzero(local[1:] < local[:-1]) + 1
        if self._last_ns is not None and local[0] < self._last_ns:
            back = np.zeros(1, np.int64)
        if len(back):
            raise InputError(
                f"{self._where} goes back in local_ts at row {self._rows + back[0]}",
                "rows sorted by local_ts",
                "Sort the rows",
            )
        self._rows += len(local)
        self._last_ns = int(local[-1])


def _refuse_foreign(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target} is no folder of its own", "a free place for a tape folder", "Give another root")
    names = sorted(p.name for p in target.iterdir()) if target.exists() else []
    foreign = [n for n in names if n != MANIFEST_NAME and not DAY_FILE.fullmatch(n)]
    if foreign:
        raise InputError(
            f"{target} also holds {foreign[0]}",
            "only <day>.parquet and manifest.json there",
            "Move it or give another root",
        )
