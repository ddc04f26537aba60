"""The newest window of a symbol through Feast's online store: pushed by the feature process, read by the gate.

The only file of the runtime that loads feast.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.market_row import MARKET_VALUES, pack_market, unpack_market
from feature_repo.store import APPLY, CONFIG_VARIABLE, SERVICE, WINDOW_TTL_NS, StoreError, open_store

__all__ = ["OnlineWindow"]

_VIEW = "window_sequence"
_READ = ("t_ns", "x", "market")
_C = len(CHANNELS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OnlineWindow:
    """Push and read the newest window of one symbol.

    The store is the one that ``feature_repo.store.config_file`` names: SQLite or Redis. Ages are judged by the ``t_ns``
    inside the row and the time given as argument, as Feast enforces no ttl online. Any number of processes may push and
    read; of one object one thread may push while another reads.

    Parameters
    ----------
    T : rows of a window
    ttl_ns : a window older than this is missing
    restart : the first push deletes what the store holds of the symbol before it; for a replay, whose times lie before
        those of the last run. Else the store keeps its window until a newer one comes, whoever pushes.

    Raises
    ------
    StoreError
        When the configuration, the registry, the service or the online database is missing or unreadable.
    """

    def __init__(self, symbol: str, *, T: int = MODEL.T, ttl_ns: int = WINDOW_TTL_NS, restart: bool = False) -> None:
        self.symbol, self.T, self.ttl_ns = symbol, T, ttl_ns
        self._restart = restart
        self._pushed_ns = -1
        self._connect()

    def push(self, x: np.ndarray, market_row: np.void) -> bool:
        """Make a window the one that readers get. Takes milliseconds: keep it off the path of a decision.

        Parameters
        ----------
        x : float32 [T, C], unaligned
        market_row : MARKET_DTYPE scalar of its last row; its ``t_ns`` is the as-of time

        Returns
        -------
        bool
            False when a window of this time or a later one is already there; nothing is written then.

        Raises
        ------
        InputError
            When the window or the row has another shape or type.
        StoreError
            When the store fails.
        """
        if x.dtype != np.float32 or x.shape != (self.T, _C) or market_row.dtype != MARKET_DTYPE:
            raise InputError(
                f"a window {x.dtype} {x.shape} with a row of {len(market_row.dtype)} fields",
                f"float32 ({self.T}, {_C}) with a MARKET_DTYPE row",
                "Push FeatureWindow.snapshot() and .market",
            )
        self._follow_database()
        t_ns = int(market_row["t_ns"])
        if t_ns <= self._pushed_ns:
            return False
        row = {
            "symbol": [self.symbol],
            "event_timestamp": [_EPOCH + timedelta(microseconds=t_ns // 1_000)],
            "t_ns": [t_ns],
            "x": [x.reshape(-1)],
            "market": [pack_market(market_row)],
        }
        with self._source.errors():
            if self._restart:
                self._source.forget(self.symbol)
            written = self._source.write(row)
        if written:
            self._pushed_ns, self._restart = t_ns, False
        return written

    def snapshot_at(self, t_ns: int) -> tuple[np.ndarray, np.void] | None:
        """The newest window, read with ``get_online_features``.

        Parameters
        ----------
        t_ns : the time it is wanted for, ns UTC

        Returns
        -------
        (x float32 [T, C], MARKET_DTYPE scalar), or None when there is none or it is more than ``ttl_ns`` older. Its own
        ``t_ns`` may differ from the one asked for; the gate judges that. Once a window was seen, no older one is
        returned for a time at or after it.

        Raises
        ------
        StoreError
            When the store fails, is gone, or holds windows of another shape.
        """
        self._follow_database()
        found = self._read()
        if found is None:
            return None
        if self._seen is not None and found[0] < self._seen[0] <= t_ns:
            found = self._seen
        self._seen = found
        as_of_ns, x, market_row = found
        if t_ns - as_of_ns > self.ttl_ns:
            return None
        return x, market_row

    def _read(self) -> tuple[int, np.ndarray, np.void] | None:
        values = self._source.read(self.symbol)
        if any(values[name] is None for name in _READ):
            return None
        # From the protocol buffer: to_dict() would make 1,536 Python floats first.
        x = np.array(values["x"].float_list_val.val, np.float32)
        if x.size != self.T * _C:
            raise StoreError(
                f"a stored window of {x.size} values for {self.symbol}",
                f"{self.T} rows of {_C} channels",
                f"Push windows of this length, or read with T={x.size // _C}",
            )
        market = np.array(values["market"].double_list_val.val)
        if market.size != len(MARKET_VALUES):
            raise StoreError(
                f"a stored market row of {market.size} values for {self.symbol}",
                f"the {len(MARKET_VALUES)} of this version",
                "Push windows of this version",
            )
        t_ns = values["t_ns"].int64_val
        return t_ns, x.reshape(self.T, _C), unpack_market(t_ns, market)

    def _connect(self) -> None:
        self._source = _open_source()
        self._seen: tuple[int, np.ndarray, np.void] | None = None

    def _follow_database(self) -> None:
        if not self._source.is_current():
            self._connect()


class _Source:
    """The opened feature store and what every call to it needs."""

    def __init__(self) -> None:
        self.store = open_store()
        from feature_repo.newest import NewestWins

        self.config = self.store.config
        self.online = self.store.provider.online_store
        if not isinstance(self.online, NewestWins):
            raise StoreError(
                f"an online store {type(self.online).__name__}, in which an older window may replace a newer one",
                "that of feature_store.yaml or feature_store.redis.yaml",
                f"Set {CONFIG_VARIABLE} to one of them, or unset it",
            )
        self._database: Path | None = self.online.database(self.config)
        self._inode = self._find_database()
        with self.errors():
            service = self.store.get_feature_service(SERVICE)
            self._view = self.store.get_feature_view(_VIEW)
        known = {f"{p.name}:{f.name}" for p in service.feature_view_projections for f in p.features}
        # Names instead of the service: Feast looks a service up anew in every call, half the time of a read. The
        # context is made from these and the candidate, at the decision.
        self._refs = [f"{_VIEW}:{name}" for name in _READ]
        if lacking := [ref for ref in self._refs if ref not in known]:
            raise StoreError(
                f"a feature registry whose {SERVICE} lacks {', '.join(lacking)}", "this version's definitions", APPLY
            )
        registry = self.store.registry
        self.identity = (os.getpid(), self.config.online_store, self._inode, registry.proto().version_id)

    def read(self, symbol: str) -> dict[str, Any]:
        """Protocol-buffer value by feature, None where the store has none."""
        with self.errors():
            answer = self.store.get_online_features(features=self._refs, entity_rows={"symbol": [symbol]}).proto
        names = answer.metadata.feature_names.val
        values = [column.values[0] for column in answer.results]
        # A store may report a missing key as present with an empty value: judged by the value alone.
        return {n: v if v.WhichOneof("val") is not None else None for n, v in zip(names, values, strict=True)}

    def write(self, row: dict[str, list]) -> bool:
        """Whether it was newer than what the store held."""
        skipped = self.online.skipped
        self.store.write_to_online_store(_VIEW, inputs=row)
        return self.online.skipped == skipped

    def forget(self, symbol: str) -> None:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        key = EntityKey(join_keys=["symbol"], entity_values=[Value(string_val=symbol)])
        self.online.forget(self.config, self._view, [key])

    def is_current(self) -> bool:
        """Whether the database is the one that was opened: a connection goes on answering from a deleted file."""
        return self._find_database() == self._inode

    def _find_database(self) -> int | None:
        if self._database is None:
            return None  # a server: its client notices
        try:
            return os.stat(self._database).st_ino
        except OSError as error:
            raise StoreError(
                f"no online store at {self._database}", "the database of an applied repository", APPLY
            ) from error

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what a broken store raises into a StoreError."""
        from feast.errors import FeastError
        from google.protobuf.message import DecodeError

        try:
            yield
        except (*self.online.failures, FeastError, DecodeError, OSError) as error:
            raise StoreError(
                f"the online store at {self.online.where(self.config)} failed ({error})",
                "a reachable store of this version's definitions",
                self.online.remedy if isinstance(error, self.online.failures) else APPLY,
            ) from error


_opening = threading.Lock()
_opened: _Source | None = None


def _open_source() -> _Source:
    """The store, opened once a process: Feast keeps what it resolved of one registry only, and two stores that take
    turns read five times slower."""
    global _opened
    fresh = _Source()
    with _opening:
        if _opened is None or _opened.identity != fresh.identity:
            _opened = fresh
        return _opened
