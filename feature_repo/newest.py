"""An older row never replaces a newer one: what both of our online stores keep to, whoever writes.

Feast's SQLite store lets any write win. Its Redis store looks, then writes, so that two writers can pass each other.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, TypeAlias

from feast import FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig

__all__ = ["T_NS", "NewestWins", "Row", "as_of_ns", "event_us", "newest_rows"]

T_NS = "t_ns"
"""Field that tells a row's time to the nanosecond."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row: TypeAlias = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""Key, values, event time and time of creation, as Feast hands them to an online store."""


def event_us(event_time: datetime) -> int:
    """An event time as us UTC; one without a time zone is UTC."""
    known = event_time if event_time.tzinfo is not None else event_time.replace(tzinfo=UTC)
    return (known - _EPOCH) // timedelta(microseconds=1)


def as_of_ns(values: Mapping[str, Value], event_time: datetime) -> int:
    """Time of a row, ns UTC: its ``t_ns`` where it has one, else its event time, exact to the microsecond."""
    t_ns = values.get(T_NS)
    if t_ns is not None and t_ns.WhichOneof("val") == "int64_val":
        return t_ns.int64_val
    return event_us(event_time) * 1_000


def newest_rows(data: Iterable[Row], key_of: Callable[[EntityKey], bytes]) -> dict[bytes, tuple[int, Row]]:
    """Time and row of each key's newest row in a batch; of rows of one time the first."""
    newest: dict[bytes, tuple[int, Row]] = {}
    for row in data:
        key, t_ns = key_of(row[0]), as_of_ns(row[1], row[2])
        if key not in newest or newest[key][0] < t_ns:
            newest[key] = t_ns, row
    return newest


class _Count(threading.local):
    rows = 0


class NewestWins:
    """Online store in which a row is written only if it is newer than the stored row of its key.

    Rows are compared by :func:`as_of_ns`. Of two rows of the same time the first stands, as in Feast's Redis store:
    what was decided on is not changed afterwards. The comparison and the write are one step, for any number of writers.
    """

    failures: ClassVar[tuple[type[Exception], ...]]
    """What a read or a write raises when the store is broken or out of reach."""
    remedy: ClassVar[str]
    """What a person can do about it."""

    def __init__(self) -> None:
        self._count = _Count()

    @property
    def skipped(self) -> int:
        """Rows brought by this thread that were not written, since the store was opened."""
        return self._count.rows

    def _skip(self, rows: int) -> None:
        self._count.rows += rows

    @abstractmethod
    def forget(self, config: RepoConfig, table: FeatureView, entity_keys: Sequence[EntityKey]) -> None:
        """Delete the rows of these keys, so that any row may follow."""

    @abstractmethod
    def where(self, config: RepoConfig) -> str:
        """The store's place, as shown to a person."""

    @abstractmethod
    def database(self, config: RepoConfig) -> Path | None:
        """File that must be there for the store to answer; None where a server answers."""
