"""A Feast offline store over Parquet that joins with DuckDB's ASOF JOIN.

Feast's own DuckDB store joins by inequality, which is quadratic in the rows of one key, and loses the order of the rows
that were asked for. This one is a merge per key, carries no payload through it, and keeps the order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast.feature_view import FeatureView
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore
from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig as _StockConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from pydantic import StrictStr

from .errors import InputError
from .store import APPLY, feast_root

__all__ = ["AsofOfflineStore", "AsofOfflineStoreConfig", "AsofRetrievalJob"]

_TIME = pa.timestamp("us", tz="UTC")
_SCAN = "read_parquet(?, file_row_number = true, union_by_name = true)"
_KEYS_LISTED = 64  # up to this many distinct keys are named in the scan, so that row groups of others are skipped


class AsofOfflineStoreConfig(_StockConfig):
    """No settings of its own."""

    type: StrictStr = "feature_repo.offline_store.AsofOfflineStore"


@dataclass(frozen=True, slots=True)
class _View:
    """One feature view of a request."""

    files: list[str]  # one list for both steps: a file that appears between them changes nothing
    time: str
    created: str | None
    keys: dict[str, str]  # column in the source -> column in the entity rows
    columns: dict[str, str]  # column in the source -> name in the answer
    ttl: timedelta | None


class AsofOfflineStore(DuckDBOfflineStore):
    """Point-in-time joins as Feast defines them: newest row at or before the entity's time, not older than the ttl.

    Of rows with the same key and time the one with the latest created timestamp is taken, without such a column the
    last one written. Relative source paths hang below :func:`feature_repo.store.feast_root`.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Join every view to the entity rows; the answer has their order and their columns first.

        Raises
        ------
        InputError
            When the entity rows are no data frame.
        """
        if entity_df is None or isinstance(entity_df, str):
            raise InputError(
                "entity rows that are no data frame", "a pandas.DataFrame with keys and event_timestamp", "Give one"
            )
        time = offline_utils.infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        entities = pa.Table.from_pandas(entity_df, preserve_index=False)
        at = entities.schema.get_field_index(time)
        entities = entities.set_column(at, time, _utc(entities.column(time)))
        views = [_view(view, feature_refs, full_feature_names) for view in feature_views]

        def run() -> pa.Table:
            answer = entities
            with duckdb.connect() as con:
                con.sql("SET TimeZone='UTC'")
                con.register("entity_rows", entities.append_column("__row", pa.array(np.arange(len(entities)))))
                for view in views:
                    found = _join(con, entities, time, view, filter_by_created_timestamp)
                    for name in found.column_names:
                        answer = answer.append_column(found.field(name), found.column(name))
            return answer

        return AsofRetrievalJob(
            run,
            full_feature_names,
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            RetrievalMetadata(
                features=feature_refs,
                keys=[c for c in entity_df.columns if c != time],
                min_event_timestamp=entity_df[time].min(),
                max_event_timestamp=entity_df[time].max(),
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: Any,
        data_source: FileSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each key with an event time from ``start_date`` to ``end_date``."""
        keys = ", ".join(_q(k) for k in join_key_columns)
        order = _place(timestamp_field, created_timestamp_column)
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        newest = f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order} DESC) = 1"
        return _pull(data_source, columns, timestamp_field, start_date, end_date, newest)

    @staticmethod
    def pull_all_from_table_or_query(
        config: Any,
        data_source: FileSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with an event time from ``start_date`` to ``end_date``: what is materialised."""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        return _pull(data_source, columns, timestamp_field, start_date, end_date, "")

    @staticmethod
    def offline_write_batch(config: Any, feature_view: FeatureView, *args: Any, **kwargs: Any) -> None:
        """Refused: sources are replaced a symbol at a time, never appended to.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            f"a push of {feature_view.name} to the offline store",
            "a push to the online store",
            "Write training rows with feature_repo.offline.write_store",
        )

    def validate_data_source(self, config: Any, data_source: Any) -> None:
        """An empty source is no error: the definitions are applied before there is data."""
        if _files(data_source):
            super().validate_data_source(config, _resolved(data_source))

    def get_table_column_names_and_types_from_data_source(self, config: Any, data_source: Any) -> Any:
        """Columns of the resolved source."""
        return super().get_table_column_names_and_types_from_data_source(config, _resolved(data_source))


class AsofRetrievalJob(RetrievalJob):
    """The join, run when its result is asked for."""

    def __init__(
        self,
        run: Callable[[], pa.Table],
        full_feature_names: bool,
        on_demand_feature_views: list[OnDemandFeatureView],
        metadata: RetrievalMetadata,
    ) -> None:
        super().__init__()
        self._run = run
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views
        self._metadata = metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._run()

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._run().to_pandas()

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata:
        return self._metadata

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the answer to one Parquet file."""
        path = Path(_path(storage.to_data_source()))
        if path.exists() and not allow_overwrite:
            raise InputError(f"{path} exists", "a new file", "Allow the overwrite or name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.to_arrow(), path)


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(column.type):
        raise InputError(f"an event timestamp of type {column.type}", "a timestamp column", "Convert it to datetime64")
    return column.cast(_TIME, safe=False)  # naive times are UTC; nanoseconds are floored, as the sources keep none


def _path(source: Any) -> str:
    if not isinstance(source, FileSource):
        raise InputError(
            f"a {type(source).__name__}", "a FileSource of Parquet", "Use another offline store for other sources"
        )
    return str(feast_root() / source.path)


def _files(source: Any) -> list[Path]:
    path = Path(_path(source))
    return [path] if path.is_file() else sorted(path.glob("*.parquet"))


def _some_files(source: Any) -> list[str]:
    files = _files(source)
    if not files:
        raise InputError(
            f"no Parquet file in {_path(source)}",
            "rows written by feature_repo.offline.write_store",
            f"Write them. {APPLY} if the definitions changed",
        )
    return [str(f) for f in files]


def _resolved(source: FileSource) -> FileSource:
    return FileSource(path=_path(source), timestamp_field=source.timestamp_field, file_format=source.file_format)


def _view(view: FeatureView, refs: list[str], full_names: bool) -> _View:
    source = view.batch_source
    prefix = view.projection.name_to_use()
    name = view.projection.name_alias or view.name
    in_source = {new: old for old, new in (source.field_mapping or {}).items()}
    features = [ref.split(":", 1)[1] for ref in refs if ref.split(":", 1)[0] == prefix]
    join_keys = view.projection.join_key_map or {e.name: e.name for e in view.entity_columns}
    return _View(
        files=_some_files(source),
        time=source.timestamp_field,
        created=source.created_timestamp_column or None,
        keys={in_source.get(k, k): v for k, v in join_keys.items()},
        columns={in_source.get(f, f): f"{name}__{f}" if full_names else f for f in features},
        ttl=view.ttl or None,
    )


def _join(con: duckdb.DuckDBPyConnection, entities: pa.Table, time: str, view: _View, as_known: bool) -> pa.Table:
    """The view's columns for every entity row, in their order; nulls where nothing matches.

    Two steps, so that a payload of kilobytes a row is read once and never sorted or grouped: first the place (file and
    row) of the match by key and time alone, then the payload of those places.
    """
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
    scan = [f"{_q(view.time)} IS NOT NULL"]
    if as_known:
        scan.append(f"{_q(view.created)} IS NOT NULL")
    parameters: list[Any] = [view.files]
    for in_source, in_entity in view.keys.items():
        wanted = entities.column(in_entity).unique().to_pylist()
        if len(wanted) <= _KEYS_LISTED:
            scan.append(f"{_q(in_source)} IN (SELECT unnest(?))")
            parameters.append(wanted)
    age = f"AND s.best.t + to_microseconds({view.ttl // timedelta(microseconds=1)}) >= e.{_q(time)}" if view.ttl else ""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE place AS
        WITH source AS (
            {best} FROM {_SCAN}
            WHERE {" AND ".join(scan)} {"" if as_known else f"GROUP BY {keys}, __usable"})
        SELECT e.__row, s.best.f AS f, s.best.r AS r
        FROM entity_rows e ASOF JOIN source s ON {same_key} AND e.{_q(time)} >= s.__usable
        WHERE TRUE {age}""",
        parameters,
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


def _pull(
    source: FileSource, columns: list[str | None], time: str, start: datetime | None, end: datetime | None, rest: str
) -> AsofRetrievalJob:
    files = _some_files(source)
    span = [(sign, d.astimezone(UTC)) for sign, d in ((">=", start), ("<=", end)) if d is not None]
    where = " AND ".join(["TRUE", *(f"{_q(time)}::TIMESTAMPTZ {sign} ?" for sign, _ in span)])

    def run() -> pa.Table:
        with duckdb.connect() as con:
            con.sql("SET TimeZone='UTC'")
            names = ", ".join(_q(c) for c in columns if c)
            query = f"SELECT {names} FROM {_SCAN} WHERE {where} {rest}"
            return con.sql(query, params=[files, *(d for _, d in span)]).to_arrow_table()

    return AsofRetrievalJob(run, False, [], RetrievalMetadata([c for c in columns if c], [], start, end))


def _place(time: str, created: str | None) -> str:
    """Where a row is, led by what decides between rows: its maximum is the place of the row that counts."""
    made = f"{_q(created)}::TIMESTAMPTZ" if created else "NULL::TIMESTAMPTZ"
    return f"{{t: {_q(time)}::TIMESTAMPTZ, known: {made} IS NOT NULL, c: {made}, f: file_index, r: file_row_number}}"


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
