"""Feast's file registry and SQLite online store, kept in our data folder.

Feast resolves relative paths against the folder of the definitions, which may be read-only and is no place for data.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig as _StockConfig
from feast.infra.registry.file import FileRegistryStore
from feast.repo_config import RegistryConfig, RepoConfig
from pydantic import Field, StrictStr

from .store import feast_root

__all__ = ["LocalRegistryStore", "LocalSqliteOnlineStore", "LocalSqliteOnlineStoreConfig"]


class LocalRegistryStore(FileRegistryStore):
    """A registry file whose relative path hangs below :func:`feature_repo.store.feast_root`."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path | None) -> None:
        super().__init__(registry_config, feast_root())

    def _write_registry(self, registry_proto) -> None:
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        super()._write_registry(registry_proto)


class LocalSqliteOnlineStoreConfig(_StockConfig):
    """``path`` is the database below :func:`feature_repo.store.feast_root`."""

    type: StrictStr = "feature_repo.local_store.LocalSqliteOnlineStore"
    path: StrictStr = Field(default_factory=lambda: str(feast_root() / "online.db"))


class LocalSqliteOnlineStore(SqliteOnlineStore):
    """SQLite whose readers do not wait for a writer."""

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        if self._conn is None:
            Path(self._get_db_path(config)).parent.mkdir(parents=True, exist_ok=True)
            conn = super()._get_conn(config)
            # Writer and readers side by side; a power cut may cost the last windows, which are worthless by then.
            conn.execute("PRAGMA journal_mode=WAL")
            conn.execute("PRAGMA synchronous=NORMAL")
        return self._conn
