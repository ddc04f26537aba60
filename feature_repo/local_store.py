"""Feast's file registry and SQLite online store, kept in our data folder.

Feast resolves relative paths against the folder of the definitions, which may be read-only and is no place for data.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from feast import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig as _StockConfig
from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RegistryConfig, RepoConfig
from pydantic import Field, StrictStr

from .newest import NewestWins, Row, event_us, newest_rows
from .paths import atomic_path
from .store import APPLY, feast_root

__all__ = ["LocalRegistryStore", "LocalSqliteOnlineStore", "LocalSqliteOnlineStoreConfig"]

_AS_OF = "_as_of"
"""Row beside the features of a key: its time in ns as text, its event time in us as value. Feast's own column of event
times holds whole seconds."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LocalRegistryStore(FileRegistryStore):
    """A registry file whose relative path hangs below :func:`feature_repo.store.feast_root`."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path | None) -> None:
        super().__init__(registry_config, feast_root())

    def _write_registry(self, registry_proto: Registry) -> None:
        # As Feast's, but in one piece: Feast empties the file first, and an empty file is a registry of nothing.
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(datetime.now(UTC))
        with atomic_path(self._filepath) as beside, beside.open("wb") as file:
            file.write(registry_proto.SerializeToString())
            file.flush()
            os.fsync(file.fileno())


class LocalSqliteOnlineStoreConfig(_StockConfig):
    """``path`` is the database below :func:`feature_repo.store.feast_root`."""

    type: StrictStr = "feature_repo.local_store.LocalSqliteOnlineStore"
    path: StrictStr = Field(default_factory=lambda: str(feast_root() / "online.db"))


class _WalSqlite(SqliteOnlineStore):
    """SQLite whose readers do not wait for a writer."""

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        if self._conn is None:
            Path(self._get_db_path(config)).parent.mkdir(parents=True, exist_ok=True)
            conn = super()._get_conn(config)
            # Writer and readers side by side; a power cut may cost the last windows, which are worthless by then.
            conn.execute("PRAGMA journal_mode=WAL")
            conn.execute("PRAGMA synchronous=NORMAL")
        return self._conn

    def disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


class LocalSqliteOnlineStore(NewestWins, _WalSqlite):
    """SQLite in which the newest row wins, event times are exact, and nobody sees half a write, threads included."""

    failures: ClassVar = (sqlite3.Error,)
    remedy: ClassVar = APPLY

    def __init__(self) -> None:
        super().__init__()
        # Writes have a connection of their own: a reader on the writer's would see half a write.
        self._pen = _WalSqlite()
        self._writing = threading.Lock()

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write the rows that are newer than the stored ones of their keys; all of them or none."""
        newest = newest_rows(data, lambda key: _key(config, key))
        place = _table(config, table)
        # First in the transaction: no other process writes between this comparison and the rows it lets through.
        newer = (
            f"INSERT INTO {place} (entity_key, feature_name, value, value_text, event_ts)"
            f" VALUES (?, '{_AS_OF}', ?, ?, ?)"
            " ON CONFLICT (entity_key, feature_name) DO UPDATE"
            " SET value = excluded.value, value_text = excluded.value_text, event_ts = excluded.event_ts"
            " WHERE CAST(excluded.value_text AS INTEGER) > CAST(value_text AS INTEGER)"
        )
        written = []
        with self._writing, self._pen._get_conn(config) as conn:
            for key, (t_ns, row) in newest.items():
                event = event_us(row[2])
                value = Value(int64_val=event).SerializeToString()
                if conn.execute(newer, (key, value, str(t_ns), event // 1_000_000)).rowcount:
                    written.append(row)
            self._pen.online_write_batch(config, table, written, None)  # commits
        self._skip(len(data) - len(written))
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Event time and values of each key, (None, None) where there is no row."""
        conn = self._get_conn(config)
        query = f"SELECT feature_name, value FROM {_table(config, table)} WHERE entity_key = ?"
        wanted = None if requested_features is None else {*requested_features, _AS_OF}
        answers: list[tuple[datetime | None, dict[str, Value] | None]] = []
        for key in entity_keys:
            rows = conn.execute(query, (_key(config, key),)).fetchall()  # one statement sees one write
            values = {name: Value.FromString(v) for name, v in rows if wanted is None or name in wanted}
            event = values.pop(_AS_OF, None)
            at = None if event is None else _EPOCH + timedelta(microseconds=event.int64_val)
            answers.append((at, values) if values else (None, None))
        return answers

    def forget(self, config: RepoConfig, table: FeatureView, entity_keys: Sequence[EntityKey]) -> None:
        """Delete the rows of these keys."""
        with self._writing, self._pen._get_conn(config) as conn:
            keys = [(_key(config, key),) for key in entity_keys]
            conn.executemany(f"DELETE FROM {_table(config, table)} WHERE entity_key = ?", keys)

    def where(self, config: RepoConfig) -> str:
        """Path of the database."""
        return self._get_db_path(config)

    def database(self, config: RepoConfig) -> Path:
        """The database: an open connection would go on answering from a deleted one."""
        return Path(self._get_db_path(config))

    def teardown(self, config: RepoConfig, tables, entities) -> None:
        """Delete the database."""
        self._pen.disconnect()
        super().teardown(config, tables, entities)

    async def close(self) -> None:
        """Close the connections: the end of `feast serve`."""
        self._pen.disconnect()
        self.disconnect()


def _key(config: RepoConfig, key: EntityKey) -> bytes:
    return serialize_entity_key(key, entity_key_serialization_version=config.entity_key_serialization_version)


def _table(config: RepoConfig, table: FeatureView) -> str:
    name = compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
    return '"' + name.replace('"', '""') + '"'
