"""Point-in-time joins of Parquet files with DuckDB's ASOF JOIN: a merge per key that carries no payload.

A join has two steps, so that a payload of kilobytes a row is read once and never sorted or grouped: first the place
(file and row) of each match by key and time alone, then the payload of those places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import InputError

__all__ = ["AsofView", "join", "pull", "utc"]

_TIME = pa.timestamp("us", tz="UTC")
_SCAN = "read_parquet(?, file_row_number = true, union_by_name = true)"
_KEYS_LISTED = 64  # up to this many distinct keys are named in the scan, so that row groups of others are skipped
_TRIES = 3
_US = timedelta(microseconds=1)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AsofView:
    """One feature view of a request."""

    files: list[str]
    time: str
    created: str | None
    keys: dict[str, str]  # column in the source -> column in the entity rows
    columns: dict[str, str]  # column in the source -> name in the answer
    ttl: timedelta | None


def utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Event times in the unit of the sources: naive ones are UTC, nanoseconds are floored to microseconds."""
    if not pa.types.is_timestamp(column.type):
        raise InputError(f"an event timestamp of type {column.type}", "a timestamp column", "Convert it to datetime64")
    if column.type.unit == "ns":
        column = pc.floor_temporal(column, unit="microsecond")  # a cast would cut times before 1970 upwards
    return column.cast(_TIME)


def join(entities: pa.Table, times: pa.ChunkedArray, views: Sequence[AsofView], as_known: bool) -> list[pa.Table]:
    """Each view's columns for every entity row, in their order; nulls where nothing matches.

    Parameters
    ----------
    entities : holds the columns that ``AsofView.keys`` names
    times : of the rows, as :func:`utc` makes them; no value where it is null
    as_known : leave out what was made later than the row's time, where a view tells

    Raises
    ------
    InputError
        When files are replaced again and again while they are read.
    duckdb.Error
        When a file cannot be read or has other columns.
    """
    keys = sorted({name for view in views for name in view.keys.values()})
    asked = pa.table([*(entities.column(k) for k in keys), times, np.arange(len(times))], [*keys, "__time", "__row"])
    with _connection() as con:
        con.register("entity_rows", asked)
        return [_unless_replaced(view.files, lambda view=view: _join(con, asked, view, as_known)) for view in views]


def _join(con: duckdb.DuckDBPyConnection, asked: pa.Table, view: AsofView, as_known: bool) -> pa.Table:
    event = f"{_q(view.time)}::TIMESTAMPTZ"
    created = f"{_q(view.created)}::TIMESTAMPTZ" if view.created else "NULL::TIMESTAMPTZ"
    as_known = as_known and view.created is not None
    keys = ", ".join(_q(k) for k in view.keys)
    same_key = " AND ".join(f"e.{_q(in_entity)} = s.{_q(in_source)}" for in_source, in_entity in view.keys.items())
    place = _place(view.time, view.created)
    if as_known:
        # Usable from the later of both times on: the best of all that are usable by then is a running maximum.
        best = f"""SELECT DISTINCT {keys}, greatest({event}, {created}) AS __usable,
                   max({place}) OVER (PARTITION BY {keys} ORDER BY greatest({event}, {created})) AS best"""
    else:
        best = f"SELECT {keys}, {event} AS __usable, max({place}) AS best"
    where, parameters = _of_interest(asked, view)
    if as_known:
        where.append(f"{_q(view.created)} IS NOT NULL")
    age = f"AND s.best.t + to_microseconds({view.ttl // _US}) >= e.__time" if view.ttl else ""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE place AS
        WITH source AS (
            {best} FROM {_SCAN}
            WHERE {" AND ".join(where)} {"" if as_known else f"GROUP BY {keys}, __usable"})
        SELECT e.__row, s.best.f AS f, s.best.r AS r
        FROM entity_rows e ASOF JOIN source s ON {same_key} AND e.__time >= s.__usable
        WHERE TRUE {age}""",
        [view.files, *parameters],
    )
    columns = ", ".join(f"p.{_q(c)} AS {_q(name)}" for c, name in view.columns.items())
    return con.sql(
        f"""SELECT {columns}
        FROM entity_rows e
        LEFT JOIN place m ON e.__row = m.__row
        LEFT JOIN {_SCAN} p
            ON p.file_index = m.f AND p.file_row_number = m.r
        ORDER BY e.__row""",
        params=[view.files],
    ).to_arrow_table()


def _of_interest(asked: pa.Table, view: AsofView) -> tuple[list[str], list[Any]]:
    """Conditions on the source's rows that leave no match out, and their parameters."""
    where, parameters = [f"{_q(view.time)} IS NOT NULL"], []
    bounds = pc.min_max(asked.column("__time")).as_py()
    if bounds["max"] is not None:
        where.append(f"{_q(view.time)}::TIMESTAMPTZ <= ?")
        parameters.append(bounds["max"])
        if view.ttl:
            where.append(f"{_q(view.time)}::TIMESTAMPTZ >= ?")
            parameters.append(bounds["min"] - view.ttl)
    # A folder named `key=value` is a column to DuckDB. A condition on it would leave files out before they are counted,
    # and the files' numbers in the two steps would differ.
    if not any("=" in part for file in view.files for part in Path(file).parts):
        for in_source, in_entity in view.keys.items():
            wanted = asked.column(in_entity).unique().to_pylist()
            if len(wanted) <= _KEYS_LISTED:
                where.append(f"{_q(in_source)} IN (SELECT unnest(?))")
                parameters.append(wanted)
    return where, parameters


def pull(
    files: list[str],
    columns: list[str],
    time: str,
    start: datetime | None,
    end: datetime | None,
    newest_of: tuple[list[str], str | None] | None = None,
) -> pa.Table:
    """Columns of every row with an event time from ``start`` to ``end``.

    Parameters
    ----------
    newest_of : key columns and created-timestamp column; only the newest row of each key is given then
    """
    span = [(sign, d.astimezone(UTC)) for sign, d in ((">=", start), ("<=", end)) if d is not None]
    where = " AND ".join(["TRUE", *(f"{_q(time)}::TIMESTAMPTZ {sign} ?" for sign, _ in span)])
    names = ", ".join(f"p.{_q(c)}" for c in columns)
    parameters: list[Any] = [files, *(d for _, d in span)]
    if newest_of is None:
        query = f"SELECT {names} FROM {_SCAN} p WHERE {where}"
    else:
        keys, created = newest_of
        query = f"""WITH newest AS (
                SELECT max({_place(time, created)}) AS best FROM {_SCAN} WHERE {where}
                GROUP BY {", ".join(_q(k) for k in keys)})
            SELECT {names} FROM newest n JOIN {_SCAN} p ON p.file_index = n.best.f AND p.file_row_number = n.best.r"""
        parameters.append(files)

    def run() -> pa.Table:
        with _connection() as con:
            return con.sql(query, params=parameters).to_arrow_table()

    return _unless_replaced(files, run)


def _unless_replaced(files: list[str], read: Callable[[], _T]) -> _T:
    """Read, and read again if a file was another one at the end: the two steps would not belong together."""
    for _ in range(_TRIES):
        before = _versions(files)
        answer = read()
        if _versions(files) == before:
            return answer
    raise InputError(
        f"files beside {files[0]} that are replaced while they are read", "files at rest", "Read when they are written"
    )


def _versions(files: list[str]) -> list[tuple[int, int] | None]:
    stats = [Path(f).stat() if Path(f).exists() else None for f in files]
    return [s and (s.st_ino, s.st_mtime_ns) for s in stats]


def _connection() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.sql("SET TimeZone='UTC'")
    return con


def _place(time: str, created: str | None) -> str:
    """Where a row is, led by what decides between rows: its maximum is the place of the row that counts."""
    made = f"{_q(created)}::TIMESTAMPTZ" if created else "NULL::TIMESTAMPTZ"
    return f"{{t: {_q(time)}::TIMESTAMPTZ, known: {made} IS NOT NULL, c: {made}, f: file_index, r: file_row_number}}"


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
