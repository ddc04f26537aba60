"""A Feast offline store over Parquet that joins with DuckDB's ASOF JOIN (see :mod:`feature_repo.asof`).

Feast's own DuckDB store joins by inequality, which is quadratic in the rows of one key, and loses the order of the rows
that were asked for. This one is a merge per key, and keeps the order.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import FeastEntityDFMissingColumnsError
from feast.feature_view import FeatureView
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore
from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig as _StockConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from pydantic import StrictStr

from .asof import AsofView, join, pull, utc
from .errors import InputError
from .partitions import PARTITIONED, files_of, prune
from .store import APPLY, feast_root

__all__ = ["AsofOfflineStore", "AsofOfflineStoreConfig", "AsofRetrievalJob"]

_US = timedelta(microseconds=1)


class AsofOfflineStoreConfig(_StockConfig):
    """No settings of its own."""

    type: StrictStr = "feature_repo.offline_store.AsofOfflineStore"


class AsofOfflineStore(DuckDBOfflineStore):
    """Point-in-time joins as Feast defines them: newest row at or before the entity's time, not older than the ttl.

    Of rows with the same key and time the one with the latest created timestamp is taken, without such a column the
    last one written. A source is a file, a folder with all that lies below it, or a pattern; relative paths hang below
    :func:`feature_repo.store.feast_root`. Of a source with the tag :data:`feature_repo.partitions.PARTITIONED` only the
    files are opened whose symbol and day can match.
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

        The rows' own columns come back as they were given. Naive times are UTC. A key or time that is missing in a row,
        or unknown, gives nulls.

        Raises
        ------
        InputError
            When the entity rows are no data frame, or one of their columns has the name of a feature.
        FeastEntityDFMissingColumnsError
            When they lack a key.
        """
        if entity_df is None or isinstance(entity_df, str):
            got = "a query in SQL" if entity_df is not None else "no entity rows, but a span of time"
            raise InputError(got, "a pandas.DataFrame with the keys and event_timestamp", "Give one as entity_df")
        time = offline_utils.infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        keys = offline_utils.get_expected_join_keys(project, feature_views, registry)
        if missing := keys - set(entity_df.columns):
            raise FeastEntityDFMissingColumnsError(keys | {time}, missing)
        entities = pa.Table.from_pandas(entity_df, preserve_index=False)
        times = utc(entities.column(time))
        views = [_view(view, feature_refs, full_feature_names, entities, times) for view in feature_views]
        for name in (name for view in views for name in view.columns.values()):
            if name in entities.column_names:
                raise InputError(
                    f"entity rows with a column {name}", "columns that are no features", "Ask for full_feature_names"
                )

        def run() -> pa.Table:
            answer = entities
            for found in join(entities, times, views, filter_by_created_timestamp):
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
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        newest_of = (join_key_columns, created_timestamp_column)
        return _pull(data_source, columns, timestamp_field, start_date, end_date, newest_of)

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
        return _pull(data_source, columns, timestamp_field, start_date, end_date)

    @staticmethod
    def offline_write_batch(config: Any, feature_view: FeatureView, *args: Any, **kwargs: Any) -> None:
        """Refused: sources are replaced by days, never appended to.

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
        if files_of(Path(_path(data_source))):
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


def _path(source: Any) -> str:
    if not isinstance(source, FileSource):
        raise InputError(
            f"a {type(source).__name__}", "a FileSource of Parquet", "Use another offline store for other sources"
        )
    return str(feast_root() / source.path)


def _some_files(source: Any) -> list[Path]:
    files = files_of(Path(_path(source)))
    if not files:
        raise InputError(
            f"no Parquet file in {_path(source)}",
            "rows written by feature_repo.offline.write_store",
            f"Write them. {APPLY} if the definitions changed",
        )
    return files


def _pruned(source: FileSource, **wanted: Any) -> list[str]:
    files = _some_files(source)
    if not PARTITIONED.items() <= source.tags.items():
        return [str(f) for f in files]
    return [str(f) for f in prune(files, **wanted) or files[:1]]  # one at least, for the types of the columns


def _resolved(source: FileSource) -> FileSource:
    return FileSource(path=_path(source), timestamp_field=source.timestamp_field, file_format=source.file_format)


def _view(view: FeatureView, refs: list[str], full_names: bool, entities: pa.Table, times: pa.ChunkedArray) -> AsofView:
    source = view.batch_source
    prefix = view.projection.name_to_use()
    name = view.projection.name_alias or view.name
    in_source = {new: old for old, new in (source.field_mapping or {}).items()}
    features = [ref.split(":", 1)[1] for ref in refs if ref.split(":", 1)[0] == prefix]
    join_keys = view.projection.join_key_map or {e.name: e.name for e in view.entity_columns}
    last_us = times.drop_null().cast(pa.int64()).to_numpy()
    (first_key, *_) = join_keys.values()
    return AsofView(
        files=_pruned(
            source,
            symbols=entities.column(first_key),
            first_ns=(last_us - view.ttl // _US) * 1_000 if view.ttl else None,
            last_ns=last_us * 1_000,
        ),
        time=source.timestamp_field,
        created=source.created_timestamp_column or None,
        keys={in_source.get(k, k): v for k, v in join_keys.items()},
        columns={in_source.get(f, f): f"{name}__{f}" if full_names else f for f in features},
        ttl=view.ttl or None,
    )


def _pull(
    source: FileSource,
    columns: list[str | None],
    time: str,
    start: datetime | None,
    end: datetime | None,
    newest_of: tuple[list[str], str | None] | None = None,
) -> AsofRetrievalJob:
    names = [c for c in columns if c]
    first_ns, last_ns = (None if d is None else np.array([_ns(d)]) for d in (start, end))
    files = _pruned(source, first_ns=first_ns, last_ns=last_ns)
    return AsofRetrievalJob(
        lambda: pull(files, names, time, start, end, newest_of),
        False,
        [],
        RetrievalMetadata(names, [], start, end),
    )


def _ns(moment: datetime) -> int:
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // _US * 1_000
