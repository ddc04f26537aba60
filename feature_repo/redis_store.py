"""Redis as the online store: the newest row wins, and a server that is slow or gone fails a read at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar

from feast import FeatureView
from feast.infra.online_stores.helpers import _mmh3, _redis_key, compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.infra.online_stores.redis import RedisOnlineStoreConfig as _StockConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import Field, StrictFloat, StrictStr, field_validator
from redis import Redis
from redis.exceptions import RedisError

from .newest import T_NS, NewestWins, Row, as_of_ns, event_us, newest_rows

__all__ = ["LocalRedisOnlineStore", "LocalRedisOnlineStoreConfig"]

_IMPATIENT = "socket_timeout=0.05,socket_connect_timeout=0.05,retry=null"
"""A gate waits 50 ms, and asks once: the next decision asks again."""
_ROWS_A_TURN = 256
_PUT_IF_UNCHANGED = """
for i = 1, 2 do
  if (redis.call('HGET', KEYS[1], ARGV[2 * i - 1]) or '') ~= ARGV[2 * i] then return 0 end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 6))
if ARGV[5] ~= '' then redis.call('EXPIRE', KEYS[1], ARGV[5]) end
return 1
"""
"""Arguments: a field and what it must still hold, twice; seconds to live or nothing; fields and their new values."""


class LocalRedisOnlineStoreConfig(_StockConfig):
    """Feast's settings; ``connection_string`` is ``$OFI_META_REDIS``, else localhost:6379.

    Options in the connection string go before ours, e.g. ``redis.example:6379,password=...,socket_timeout=0.2``.
    """

    type: StrictStr = "feature_repo.redis_store.LocalRedisOnlineStore"
    connection_string: StrictStr = Field(
        default_factory=lambda: os.environ.get("OFI_META_REDIS") or "localhost:6379", validate_default=True
    )
    write_timeout_s: StrictFloat = 2.0
    """A batch of a materialization takes longer than a read may."""

    @field_validator("connection_string")
    @classmethod
    def _with_timeouts(cls, given: str) -> str:
        return given if given.startswith(_IMPATIENT) else f"{_IMPATIENT},{given}"  # of two values the later counts

    @property
    def for_writing(self) -> LocalRedisOnlineStoreConfig:
        """The same server with the patience of a writer."""
        return self.model_copy(
            update={"connection_string": f"{self.connection_string},socket_timeout={self.write_timeout_s}"}
        )

    @property
    def servers(self) -> str:
        """Host and port, without the password."""
        return ",".join(part for part in self.connection_string.split(",") if "=" not in part)


class LocalRedisOnlineStore(NewestWins, RedisOnlineStore):
    """Feast's layout in Redis: one hash a key, so that a write is seen whole or not at all."""

    failures: ClassVar = (RedisError,)
    remedy: ClassVar = "Start it (`make services` does, on this machine), or set OFI_META_REDIS to host:port of another"

    def __init__(self) -> None:
        super().__init__()
        self._pen = RedisOnlineStore()

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write the rows that are newer than the stored ones of their keys; each of them whole."""
        client = self._writer(config)
        newest = newest_rows(data, lambda key: _key(config, key))
        written = 0
        rest = iter(newest.items())
        while turn := dict(islice(rest, _ROWS_A_TURN)):
            written += self._write(client, config, table, turn)
        self._skip(len(data) - written)
        if progress:
            progress(len(data))

    def _write(self, client: Redis, config: RepoConfig, table: FeatureView, rows: dict[bytes, tuple[int, Row]]) -> int:
        """Number of rows written; those that lost to a newer one are not."""
        view = _view(config, table)
        ts, t_ns = f"_ts:{view}", _mmh3(f"{view}:{T_NS}")
        ttl = config.online_store.key_ttl_seconds or ""
        written = 0
        while rows:
            with client.pipeline(transaction=False) as pipe:
                for key in rows:
                    pipe.hmget(key, ts, t_ns)
                held = dict(zip(rows, pipe.execute(), strict=True))
            rows = {key: new for key, new in rows.items() if new[0] > _stored_ns(*held[key])}
            with client.pipeline(transaction=False) as pipe:
                for key, (_, row) in rows.items():
                    was_ts, was_t_ns = (value or b"" for value in held[key])
                    pipe.eval(_PUT_IF_UNCHANGED, 1, key, ts, was_ts, t_ns, was_t_ns, ttl, *_fields(view, ts, row))
                done = dict(zip(rows, pipe.execute(), strict=True))
            written += sum(done.values())
            # Another writer came between: compare with what it left.
            rows = {key: new for key, new in rows.items() if not done[key]}
        return written

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """The same by the same rule."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def forget(self, config: RepoConfig, table: FeatureView, entity_keys: Sequence[EntityKey]) -> None:
        """Delete the rows of these keys."""
        view = _view(config, table)
        fields = [f"_ts:{view}", *(_mmh3(f"{view}:{f.name}") for f in table.features)]
        client = self._writer(config)
        for key in entity_keys:
            client.hdel(_key(config, key), *fields)

    def where(self, config: RepoConfig) -> str:
        """Host and port."""
        return config.online_store.servers

    def database(self, config: RepoConfig) -> None:
        """None: the client notices when its server is gone."""

    def _writer(self, config: RepoConfig) -> Redis:
        return self._pen._get_client(config.online_store.for_writing)

    def _get_features_for_entity(
        self, values: Sequence[bytes | None], feature_view: str, requested_features: list[str]
    ) -> tuple[datetime | None, dict[str, Value] | None]:
        # A missing key is not found, as in SQLite; Feast's store calls its empty values present.
        if dict(zip(requested_features, values, strict=True))[f"_ts:{feature_view}"] is None:
            return None, None
        return super()._get_features_for_entity(values, feature_view, requested_features)


def _key(config: RepoConfig, key: EntityKey) -> bytes:
    return _redis_key(config.project, key, entity_key_serialization_version=config.entity_key_serialization_version)


def _view(config: RepoConfig, table: FeatureView) -> str:
    return compute_versioned_name(table, config.registry.enable_online_feature_view_versioning)


def _stored_ns(ts: bytes | None, t_ns: bytes | None) -> int:
    """Time of a stored row, below any other where there is none."""
    if ts is None:
        return -(2**63)
    event = Timestamp.FromString(ts)
    values = {T_NS: Value.FromString(t_ns)} if t_ns is not None else {}
    return as_of_ns(values, event.ToDatetime())


def _fields(view: str, ts: str, row: Row) -> Iterator[bytes | str]:
    """Field, value, field, value, ..."""
    event = Timestamp()
    event.FromMicroseconds(event_us(row[2]))
    yield ts
    yield event.SerializeToString()
    for name, value in row[1].items():
        yield _mmh3(f"{view}:{name}")
        yield value.SerializeToString()
