"""The newest window of a symbol through Feast's online store: pushed by the feature process, read by the gate.

The only file of the runtime that loads feast.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.constants import MODEL, SECOND_NS
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.store import APPLY, GATE_SERVICE, WINDOW_TTL_NS, StoreError, open_store

if TYPE_CHECKING:
    from feast import FeatureStore

__all__ = ["OnlineWindow"]

_VIEW = "window_sequence"
_C = len(CHANNELS)


class OnlineWindow:
    """Push and read the newest window of one symbol.

    Ages are judged by the ``t_ns`` inside the row and the time given as argument: Feast enforces no ttl online and cuts
    event times to seconds. Safe for one pushing and one reading thread or process.

    Parameters
    ----------
    T : rows of a window
    ttl_ns : a window older than this is missing
    restart : the first push replaces whatever the store holds; for a replay, whose times lie before those of the last
        run. Without it, a window that is not newer than the stored one is refused.

    Raises
    ------
    StoreError
        When the registry, the service or the online database is missing or unreadable.
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
        if self._writer is None:
            self._writer = open_store()
        if not self._restart:
            stored = self._answer(self._writer, [f"{_VIEW}:t_ns"])["t_ns"]
            if stored is not None and t_ns <= stored.int64_val:
                return False
        row = {
            "symbol": [self.symbol],
            "event_timestamp": [datetime.fromtimestamp(t_ns // SECOND_NS, UTC)],
            "x": [x.reshape(-1)],
        }
        row |= {name: [market_row[name].item()] for name in MARKET_DTYPE.names}
        with self._store_errors():
            self._writer.write_to_online_store(_VIEW, inputs=row)
        self._pushed_ns, self._restart = t_ns, False
        return True

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
        values = self._answer(self._reader, self._refs)
        if values["t_ns"] is None or values["x"] is None:
            return None
        # From the protocol buffer: to_dict() would make 1,536 Python floats first.
        x = np.array(values["x"].float_list_val.val, np.float32)
        if x.size != self.T * _C:
            raise StoreError(
                f"a stored window of {x.size} values for {self.symbol}",
                f"{self.T} rows of {_C} channels",
                f"Push windows of this length, or read with T={x.size // _C}",
            )
        row = np.zeros((), MARKET_DTYPE)
        for name in MARKET_DTYPE.names:
            value = values[name]
            if value is not None:
                row[name] = getattr(value, value.WhichOneof("val"))
            elif MARKET_DTYPE[name].kind == "f":
                row[name] = math.nan  # Feast keeps a NaN as a null
        return int(row["t_ns"]), x.reshape(self.T, _C), row[()]

    def _answer(self, store: FeatureStore, refs: list[str]) -> dict[str, Any]:
        """Protocol-buffer value by feature, None where the store has none."""
        with self._store_errors():
            answer = store.get_online_features(features=refs, entity_rows=[{"symbol": self.symbol}]).proto
        names = answer.metadata.feature_names.val
        values = [column.values[0] for column in answer.results]
        # A store may report a missing key as present with an empty value: judged by the value alone.
        return {n: v if v.WhichOneof("val") is not None else None for n, v in zip(names, values, strict=True)}

    def _connect(self) -> None:
        self._reader: FeatureStore = open_store()
        # A connection of its own, made when needed: a reader on the writer's would see half a push.
        self._writer: FeatureStore | None = None
        self._seen: tuple[int, np.ndarray, np.void] | None = None
        self._database: str | None = getattr(self._reader.config.online_store, "path", None)
        self._inode = self._find_database()
        with self._store_errors():
            service = self._reader.get_feature_service(GATE_SERVICE)
        # Names instead of the service: Feast looks a service up anew in every call, half the time of a read.
        self._refs = [
            f"{projection.name}:{feature.name}"
            for projection in service.feature_view_projections
            for feature in projection.features
        ]

    def _find_database(self) -> int | None:
        if self._database is None:
            return None  # a server: its client notices
        try:
            return os.stat(self._database).st_ino
        except OSError as error:
            raise StoreError(
                f"no online store at {self._database}", "the database of an applied repository", APPLY
            ) from error

    def _follow_database(self) -> None:
        # An open connection goes on answering from a deleted file.
        if self._find_database() != self._inode:
            self._connect()

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        from feast.errors import FeastError
        from google.protobuf.message import DecodeError

        try:
            yield
        except (FeastError, sqlite3.Error, DecodeError, OSError) as error:
            where = self._database or "the configured server"
            raise StoreError(
                f"the online store at {where} failed ({error})",
                "a reachable store of this version's definitions",
                APPLY,
            ) from error
