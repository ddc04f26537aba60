"""The Parquet files of a tape, one a UTC day: how they are written and read, a row group at a time."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..constants import SECOND_NS
from ..errors import InputError
from ..events import EVENT_DTYPE
from ..replaced import told
from .sources import sha256_of

__all__ = ["AGAIN", "DAY_FILE", "ROW_GROUP", "DayFile", "DayWriter"]

ROW_GROUP = 1 << 20
"""Rows of a row group; the last one of a day holds what is left."""
DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.parquet")
AGAIN = "Import the source data again"

_DAY_NS = 86_400 * SECOND_NS
_ARROW = pa.schema([(n, pa.from_numpy_dtype(EVENT_DTYPE[n])) for n in EVENT_DTYPE.names])
_TIMES = ("exch_ts", "local_ts")
_FORMAT = {
    "compression": "zstd",
    "compression_level": 3,
    # Times grow by little; all else repeats itself.
    "use_dictionary": [n for n in EVENT_DTYPE.names if n not in _TIMES],
    "column_encoding": dict.fromkeys(_TIMES, "DELTA_BINARY_PACKED"),
}
_verified: dict[Path, tuple[tuple[int, int, int], str]] = {}  # files whose sha256 this process has computed


class DayWriter:
    """Rows to ``folder/<YYYY-MM-DD>.parquet`` by local_ts. The cuts of the rows leave no trace in the bytes."""

    def __init__(self, folder: Path, venue: str, symbol: str, *, simulated: bool) -> None:
        facts = {"venue": venue, "symbol": symbol, "simulated": "true" if simulated else "false"}
        self._folder, self._schema = folder, _ARROW.with_metadata(facts)
        self._buffer = np.empty(ROW_GROUP, EVENT_DTYPE)
        self._waiting = self._rows = 0
        self._day: int | None = None
        self._writer: pq.ParquetWriter | None = None
        self._days: dict[str, dict[str, Any]] = {}

    def write(self, events: np.ndarray) -> None:
        """Take EVENT_DTYPE [n], n >= 1, sorted by local_ts, none before the rows so far."""
        at = 0
        while at < len(events):
            day = int(events["local_ts"][at]) // _DAY_NS
            if day != self._day:
                self._end_day()
                self._day = day
            same = int(np.searchsorted(events["local_ts"], (day + 1) * _DAY_NS, side="left"))
            end = min(same, at + ROW_GROUP - self._waiting)
            self._buffer[self._waiting : self._waiting + end - at] = events[at:end]
            self._waiting += end - at
            at = end
            if self._waiting == ROW_GROUP:
                self._flush()

    def close(self) -> dict[str, dict[str, Any]]:
        """End the last day. Returns {file name: {rows, sha256}}."""
        self._end_day()
        return self._days

    def abandon(self) -> None:
        """Let go of the file that is open, if any."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    def _path(self) -> Path:
        return self._folder / f"{datetime.fromtimestamp((self._day or 0) * 86_400, UTC):%Y-%m-%d}.parquet"

    def _flush(self) -> None:
        path = self._path()
        with told(path):
            if self._writer is None:
                self._writer = pq.ParquetWriter(path, self._schema, **_FORMAT)
            rows = self._buffer[: self._waiting]
            arrays = [pa.array(np.ascontiguousarray(rows[n])) for n in EVENT_DTYPE.names]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=ROW_GROUP)
        self._rows += self._waiting
        self._waiting = 0

    def _end_day(self) -> None:
        if self._waiting:
            self._flush()
        if self._writer is None:
            return
        path = self._path()
        with told(path):
            self.abandon()
            self._days[path.name] = {"rows": self._rows, "sha256": sha256_of(path)}
        self._rows = 0


class DayFile:
    """One day of a tape, checked as far as its footer goes.

    Attributes
    ----------
    rows : as the footer says
    venue, symbol, simulated : as the writer left them there

    Raises
    ------
    InputError
        When it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with pq.ParquetFile(path) as reader:
                schema, self.rows = reader.schema_arrow, reader.metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error
        found = [f"{f.name} {f.type}" for f in schema]
        wanted = [f"{f.name} {f.type}" for f in _ARROW]
        if found != wanted:
            odd = [f for f in found if f not in wanted] or [f for f in wanted if f not in found]
            raise InputError(
                f"{path} is no tape: {(odd or ['the order of columns'])[0]} differs",
                f"the columns {', '.join(wanted)}",
                AGAIN,
            )
        facts = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
        if not {"venue", "symbol", "simulated"} <= facts.keys():
            raise InputError(
                f"{path} does not say which contract it is of", "venue, symbol and simulated in its metadata", AGAIN
            )
        self.venue, self.symbol, self.simulated = facts["venue"], facts["symbol"], facts["simulated"] == "true"
        if self.rows == 0:
            raise InputError(f"{path} has no rows or empty cells", "at least one row, every cell filled", AGAIN)

    def verify(self, sha256: str) -> None:
        """InputError unless the bytes are those of ``sha256``. A file that did not change since is not read again."""
        try:
            facts = self.path.stat()
            stamp = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            known = _verified.get(self.path)
            if known is None or known[0] != stamp:
                known = _verified[self.path] = stamp, sha256_of(self.path)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if known[1] != sha256:
            raise InputError(f"{self.path} was changed: its sha256 is new", "the one in manifest.json", AGAIN)

    def groups(self, columns: Sequence[str] = EVENT_DTYPE.names) -> Generator[dict[str, np.ndarray], None, None]:
        """The columns named, of each row group: read-only arrays [n], n >= 1; one group at a time is read.

        Raises
        ------
        InputError
            When the file cannot be read or has empty cells.
        """
        try:
            with pq.ParquetFile(self.path) as reader:
                for k in range(reader.num_row_groups):
                    table = reader.read_row_group(k, columns=list(columns), use_threads=False)
                    if any(c.null_count for c in table.columns):
                        raise InputError(
                            f"{self.path} has no rows or empty cells", "at least one row, every cell filled", AGAIN
                        )
                    if table.num_rows:
                        yield {name: table[name].to_numpy() for name in columns}
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self.path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read ({error})", "the Parquet that `write_stream` left there", AGAIN)
