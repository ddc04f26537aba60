"""The feature table: one row for every 100 ms of a tape, in memory and as a Parquet folder.

Folder root/<venue>/<symbol>/: features/<YYYY-MM-DD>.parquet, quotes/<YYYY-MM-DD>.parquet, meta.json. Feature files
carry the 24 channels under their names and the market fields as ``market.<name>``; days are UTC days of t_ns (quotes:
of local_ts).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .constants import SECOND_NS, WINDOW_NS
from .errors import InputError
from .fields import CATALOGUE_HASH, CHANNELS, MARKET_DTYPE
from .replaced import replaced_folder

__all__ = ["QUOTE_DTYPE", "FeatureTable"]

QUOTE_DTYPE = np.dtype(
    [("local_ts", "i8"), ("exch_ts", "i8"), ("bid", "f8"), ("ask", "f8"), ("bid_qty", "f8"), ("ask_qty", "f8")]
)
"""Best quotes after each book message that changed them (price or size); all-NaN once the book becomes invalid.
Times in ns UTC, exch_ts made non-decreasing; prices in quote currency, sizes in base units, or in
contracts where the contract is inverse."""

_SCHEMA = 1
_DAY_NS = 86_400 * SECOND_NS
_ROW_GROUP = 1 << 17
"""Rows of a row group, 3.6 hours: as much of the table is copied on its way to and from the disk."""


@dataclass(frozen=True)
class FeatureTable:
    """Rows of one symbol, one every 100 ms without holes.

    Attributes
    ----------
    X : float32 [K, 24], channels in the order of ``fields.CHANNELS``; zeros where ``market["valid"]`` is false
    market : MARKET_DTYPE [K]
    quotes : QUOTE_DTYPE [M]
    tick : quote currency
    rejected : events that were not applied, by reason
    breaks : how often a good book ceased to be good, by reason
    """

    venue: str
    symbol: str
    simulated: bool
    X: np.ndarray
    market: np.ndarray
    quotes: np.ndarray
    tick: float
    rejected: Mapping[str, int] = field(default_factory=dict)
    breaks: Mapping[str, int] = field(default_factory=dict)

    @property
    def t_ns(self) -> np.ndarray:
        """int64 [K]: t_k, the end of each row's window and the time from which it is known."""
        return self.market["t_ns"]

    def windows(self, ts: np.ndarray, T: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """The T rows that end with ``t_ns == ts``, for each ``ts``.

        Parameters
        ----------
        ts : int64 [N], ns UTC

        Returns
        -------
        x : float32 [N, T, 24], oldest row first; zeros where not ``ok``
        ok : bool [N], whether all T rows exist, are valid and follow each other without a hole
        """
        ts = np.asarray(ts, dtype=np.int64)
        t_ns = self.t_ns
        x = np.zeros((len(ts), T, self.X.shape[1]), np.float32)
        if len(t_ns) < T or len(ts) == 0:
            return x, np.zeros(len(ts), bool)
        last = np.minimum(np.searchsorted(t_ns, ts), len(t_ns) - 1)
        first = np.maximum(last - (T - 1), 0)
        good = np.concatenate([[0], np.cumsum(self.market["valid"])])
        ok = (t_ns[last] == ts) & (good[last + 1] - good[first] == T) & (t_ns[first] == ts - (T - 1) * WINDOW_NS)
        # A view with one window per start row: only the windows asked for are copied.
        view = np.lib.stride_tricks.sliding_window_view(self.X, T, axis=0).transpose(0, 2, 1)
        x[ok] = view[first[ok]]
        return x, ok

    def save(self, root: Path) -> Path:
        """Write root/<venue>/<symbol>/ anew; a reader sees the old folder or the whole new one.

        Returns
        -------
        the folder written
        """
        target = Path(root) / self.venue / self.symbol
        with replaced_folder(target) as beside:
            columns = {name: self.X[:, i] for i, name in enumerate(CHANNELS)}
            columns |= {f"market.{name}": self.market[name] for name in MARKET_DTYPE.names}
            quotes = {name: self.quotes[name] for name in QUOTE_DTYPE.names}
            days = [*_days(beside / "features", self.t_ns, columns)]
            days += _days(beside / "quotes", self.quotes["local_ts"], quotes)
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                for _ in pool.map(_write_day, *zip(*days, strict=True)):
                    pass
            (beside / "meta.json").write_text(json.dumps(self._meta(), indent=1) + "\n")
        return target

    def _meta(self) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "catalogue_hash": CATALOGUE_HASH,
            "venue": self.venue,
            "symbol": self.symbol,
            "simulated": self.simulated,
            "tick": self.tick,
            "rows": len(self.market),
            "quotes": len(self.quotes),
            "rejected": dict(self.rejected),
            "breaks": dict(self.breaks),
        }

    @classmethod
    def load(cls, path: Path, *, days: Collection[str] | None = None, with_quotes: bool = True) -> FeatureTable:
        """Read a folder written by ``save``.

        Parameters
        ----------
        days : ``YYYY-MM-DD``, only these; one that the table does not have is left out
        with_quotes : False: without them, which are most of a busy day

        Raises
        ------
        InputError
            When the folder is no feature table, was made from another field catalogue, or is incomplete.
        """
        path = Path(path)
        meta = _read_meta(path)
        if days is not None:
            meta |= {"rows": _rows_of(path / "features", days), "quotes": _rows_of(path / "quotes", days)}
        rows, count = int(meta["rows"]), int(meta["quotes"]) if with_quotes else 0
        X = np.empty((rows, len(CHANNELS)), np.float32)
        market = np.empty(rows, MARKET_DTYPE)
        quotes = np.empty(count, QUOTE_DTYPE)
        into = {name: X[:, i] for i, name in enumerate(CHANNELS)}
        into |= {f"market.{name}": market[name] for name in MARKET_DTYPE.names}
        _read_days(path / "features", into, rows, days)
        if with_quotes:
            _read_days(path / "quotes", {name: quotes[name] for name in QUOTE_DTYPE.names}, count, days)
        return cls(
            venue=meta["venue"],
            symbol=meta["symbol"],
            simulated=bool(meta["simulated"]),
            X=X,
            market=market,
            quotes=quotes,
            tick=float(meta["tick"]),
            rejected=dict(meta.get("rejected", {})),
            breaks=dict(meta.get("breaks", {})),
        )


_Columns = dict[str, np.ndarray]


def _days(folder: Path, times_ns: np.ndarray, columns: _Columns) -> Iterator[tuple[Path, _Columns]]:
    """The Parquet file of each UTC day and its part of the columns; rows must be in time order."""
    folder.mkdir()
    days = times_ns // _DAY_NS
    for day in np.unique(days):
        lo, hi = np.searchsorted(days, [day, day + 1])
        file = folder / f"{np.datetime64(int(day), 'D')}.parquet"
        yield file, {name: values[lo:hi] for name, values in columns.items()}


def _write_day(file: Path, columns: _Columns) -> None:
    schema = pa.schema([(name, pa.from_numpy_dtype(values.dtype)) for name, values in columns.items()])
    rows = len(next(iter(columns.values())))
    with pq.ParquetWriter(file, schema, compression="zstd", compression_level=1) as writer:
        for at in range(0, rows, _ROW_GROUP):
            parts = [pa.array(np.ascontiguousarray(values[at : at + _ROW_GROUP])) for values in columns.values()]
            writer.write_table(pa.Table.from_arrays(parts, schema=schema))


def _read_meta(path: Path) -> dict[str, Any]:
    do = "Build the features again with `ofi-meta features`"
    try:
        meta = json.loads((path / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"no readable feature table at {path} ({error})", "a folder with meta.json", do) from error
    needed = ("schema", "catalogue_hash", "venue", "symbol", "simulated", "tick", "rows", "quotes")
    missing = [name for name in needed if not isinstance(meta, dict) or name not in meta]
    if missing:
        raise InputError(f"{path / 'meta.json'} lacks {', '.join(missing)}", "the meta.json of a feature table", do)
    if meta["schema"] != _SCHEMA:
        raise InputError(f"{path} has table schema {meta['schema']}", f"schema {_SCHEMA}", do)
    if meta["catalogue_hash"] != CATALOGUE_HASH:
        got = f"{path} was made from field catalogue {str(meta['catalogue_hash'])[:12]}"
        raise InputError(got, f"catalogue {CATALOGUE_HASH[:12]}", do)
    return meta


def _files(folder: Path, days: Collection[str] | None) -> list[Path]:
    """The day files in order; None: of all days."""
    return [file for file in sorted(folder.glob("*.parquet")) if days is None or file.stem in days]


def _rows_of(folder: Path, days: Collection[str]) -> int:
    """Rows of these days, as the footers say; a damaged file is told by what reads it."""
    try:
        return sum(pq.read_metadata(file).num_rows for file in _files(folder, days))
    except (OSError, pa.ArrowException) as error:
        do = "Build the features again with `ofi-meta features`"
        raise InputError(f"{folder} cannot be read ({error})", "the day files of a feature table", do) from error


def _read_days(folder: Path, into: _Columns, rows: int, days: Collection[str] | None = None) -> None:
    """Fill the arrays from the day files in order; every column, and just as many rows as meta.json says."""
    do = "Build the features again with `ofi-meta features`"
    at = 0
    for file in _files(folder, days):
        try:
            with pq.ParquetFile(file) as reader:
                lacking = [name for name in into if name not in reader.schema_arrow.names]
                if lacking:
                    raise InputError(f"{file} lacks the columns {', '.join(lacking)}", "every column of the table", do)
                if at + reader.metadata.num_rows > rows:
                    raise InputError(f"{folder} holds more rows than meta.json says", f"{rows} rows", do)
                for k in range(reader.num_row_groups):
                    group = reader.read_row_group(k, columns=list(into))
                    for name, values in into.items():
                        values[at : at + group.num_rows] = group[name].to_numpy()
                    at += group.num_rows
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file} cannot be read ({error})", "a Parquet file", do) from error
    if at != rows:
        raise InputError(f"{folder} holds {at} rows", f"{rows} rows, as meta.json says", do)
