"""Training rows: written to Parquet at candidate times, read back through Feast's point-in-time join.

One file a view, symbol and UTC day, see :mod:`feature_repo.partitions`. Days are replaced whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .constants import MODEL, WINDOW_NS
from .errors import InputError
from .fields import CATALOGUE_HASH, CHANNELS, CTX_NAMES
from .market_row import pack_market
from .partitions import day_name, day_of, files_of, prune, staged
from .store import APPLY, REPO_DIR, SERVICE, StoreError, config_file, feast_root, open_store
from .table import FeatureTable

if TYPE_CHECKING:
    from feast import FeatureStore

__all__ = ["TrainingSet", "apply_definitions", "candidate_id", "training_set", "write_store"]

_C = len(CHANNELS)
_VIEWS = ("microwindow", "window_sequence", "candidate_context")
_TIME = pa.timestamp("us", tz="UTC")  # nanoseconds fail in DuckDB; t_k is a multiple of 100 ms, so nothing is lost
_WINDOWS_A_GROUP = 512  # 3 MB of sequences
_ROWS_A_GROUP = 65_536
_CATALOGUE = "catalogue"
_REFILL = "Run `make shadow`, or `ofi-meta train`: both write the store before they train"


@dataclass(frozen=True)
class TrainingSet:
    """What the store knew of each candidate at its own time, in the order asked.

    Attributes
    ----------
    x : float32 [N, T, C], unaligned, oldest row first; NaN where not ``found``
    ctx : float32 [N, 8], order of ``fields.CTX_NAMES``; NaN where not ``found``
    found : bool [N], whether the store has both a window and a context with exactly the time asked for
    """

    x: np.ndarray
    ctx: np.ndarray
    found: np.ndarray


def candidate_id(symbol: str, ts_ns: int, side: int) -> str:
    """Key of a candidate in the feature store, e.g. ``ETHUSDT:1767571200000000000:+1``."""
    return f"{symbol}:{int(ts_ns)}:{int(side):+d}"


def write_store(
    table: FeatureTable,
    candidate_ids: Sequence[str],
    ts_ns: np.ndarray,
    ctx: np.ndarray,
    *,
    T: int = MODEL.T,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Replace the days of the table in the sources, and register the definitions.

    Windows are written at candidate times only, valid 100 ms rows all. A candidate whose window is not available gets
    neither a window nor a context: :func:`training_set` reports it as not found. Every UTC day on which the table has a
    row is replaced whole in all three views, so that nothing of an earlier run over it remains; other days and symbols
    stay. The store's key is the symbol alone: rows of the same symbol on another venue, or of a simulation beside real
    ones, would be taken for it, so all days of the symbol go when the table is of another origin than they are. The
    same holds for days of another field catalogue: a window in the store is numbers without names.

    Parameters
    ----------
    candidate_ids : N different keys, see :func:`candidate_id`
    ts_ns : int64 [N], t_k of each candidate, ns UTC, multiples of 100 ms, in any order
    ctx : float32 [N, 8], finite, order of ``fields.CTX_NAMES``
    T : rows of a window
    progress : called with the fraction done, 0 to 1

    Raises
    ------
    InputError
        When the arguments do not fit each other, a key comes twice, or the symbol cannot name a file.
    StoreError
        When the folder cannot be written.
    """
    ts_ns, ctx = np.asarray(ts_ns, np.int64), np.asarray(ctx, np.float32)
    _check_request(table.symbol, candidate_ids, ts_ns)
    if ctx.shape != (len(ts_ns), len(CTX_NAMES)) or not np.isfinite(ctx).all():
        raise InputError(
            f"a context of shape {ctx.shape} for {len(ts_ns)} candidates, or one that is not finite",
            f"finite float32 [{len(ts_ns)}, {len(CTX_NAMES)}]",
            "Make it with runtime.context.context_row",
        )
    if len(set(candidate_ids)) != len(candidate_ids):
        twice = next(c for c, n in Counter(candidate_ids).items() if n > 1)
        raise InputError(f"candidate {twice} more than once", "one context a key", "Drop the repetition")
    if strange := next((c for c in candidate_ids if not c.startswith(f"{table.symbol}:")), None):
        raise InputError(
            f"candidate {strange} of {table.symbol}", "a key that begins with the symbol", "Use candidate_id"
        )
    done = progress or (lambda _: None)
    order = np.argsort(ts_ns, kind="stable")
    asked = _Asked([candidate_ids[i] for i in order], ts_ns[order], ctx[order])
    row_days, asked_days = day_of(table.t_ns), day_of(asked.ts_ns)
    days = np.unique(row_days).tolist()
    marks = {"venue": table.venue, "simulated": str(table.simulated).lower(), _CATALOGUE: CATALOGUE_HASH}
    try:
        with staged(table.symbol, _VIEWS, days, marks) as folder:
            for n, day in enumerate(days):
                rows, some = (slice(*np.searchsorted(of, [day, day + 1])) for of in (row_days, asked_days))
                _write_day(
                    {view: folder / view / f"{day_name(day)}.parquet" for view in _VIEWS},
                    table,
                    rows,
                    _Asked(asked.ids[some], asked.ts_ns[some], asked.ctx[some]),
                    T,
                    marks,
                    lambda f, n=n: done(0.9 * (n + f) / len(days)),
                )
    except OSError as error:
        raise StoreError(
            f"{feast_root()} cannot be written ({error})", "a writable folder with space", "Set OFI_META_DATA to one"
        ) from error
    apply_definitions()
    if days:
        _left_to_materialize(int(table.t_ns[0]))
    done(1.0)


class _Asked(NamedTuple):
    """Candidates in the order of their times."""

    ids: list[str]
    ts_ns: np.ndarray
    ctx: np.ndarray


def training_set(symbol: str, candidate_ids: Sequence[str], ts_ns: np.ndarray) -> TrainingSet:
    """Read windows and contexts as they were known at each candidate's time.

    Goes through ``FeatureStore.get_historical_features`` with the service ``meta_model_v1``. A row of another time than
    the one asked for is not taken for it.

    Parameters
    ----------
    candidate_ids : N keys, see :func:`candidate_id`
    ts_ns : int64 [N], ns UTC, multiples of 100 ms, in any order

    Raises
    ------
    InputError
        When the arguments do not fit each other.
    StoreError
        When the registry or a source is missing or unreadable, a file that is asked was written with another field
        catalogue (other channels, or another order of them), or the stored windows have no common shape.
    """
    import duckdb
    import pandas as pd

    ts_ns = np.asarray(ts_ns, np.int64)
    _check_request(symbol, candidate_ids, ts_ns)
    store = open_store()
    for view in ("window_sequence", "candidate_context"):
        source = feast_root() / view / symbol
        if not files_of(source):
            raise StoreError(f"the feature store has no {view} of {symbol} ({source} is missing)", "a source", _REFILL)
    from feast.errors import FeastObjectNotFoundException

    entities = pd.DataFrame(
        {
            "symbol": pd.Series([symbol] * len(ts_ns), dtype=object),
            "candidate_id": pd.Series(list(candidate_ids), dtype=object),
            "event_timestamp": pd.to_datetime(ts_ns // 1_000, unit="us", utc=True),
        }
    )
    try:
        _of_this_catalogue(symbol, ts_ns)
        service = store.get_feature_service(SERVICE)
        answer = store.get_historical_features(entity_df=entities, features=service).to_arrow()
    except FeastObjectNotFoundException as error:
        raise StoreError(
            f"the feature registry does not fit this version ({error})", "its definitions", APPLY
        ) from error
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise StoreError(
            f"the sources in {feast_root()} cannot be read ({str(error).splitlines()[0]})", "Parquet files", _REFILL
        ) from error
    return _unpack(answer, ts_ns)


def _of_this_catalogue(symbol: str, ts_ns: np.ndarray) -> None:
    for view in ("window_sequence", "candidate_context"):
        for file in prune(files_of(feast_root() / view / symbol), first_ns=ts_ns, last_ns=ts_ns):
            found = (pq.read_schema(file).metadata or {}).get(_CATALOGUE.encode(), b"none").decode()
            if found != CATALOGUE_HASH:
                raise StoreError(
                    f"{file} was written with field catalogue {found[:12]}",
                    f"catalogue {CATALOGUE_HASH[:12]}: windows are numbers without the names of their channels",
                    _REFILL,
                )


def apply_definitions() -> None:
    """Register the definitions, as ``feast apply`` does, unless the registry already holds them."""
    store = open_store(must_exist=False)
    from . import definitions

    known = {o.name: o for o in (*store.list_feature_views(), *store.list_entities(), *store.list_feature_services())}
    online = Path(store.config.online_store.path) if hasattr(store.config.online_store, "path") else None
    # Copies have no record of what was materialised, which Feast would count as a change of the view.
    same = all(o.name in known and copy(known[o.name]) == copy(o) for o in definitions.OBJECTS)
    if not same or not (online is None or online.is_file()):
        store.apply(list(definitions.OBJECTS))


def _left_to_materialize(first_ns: int) -> None:
    """Let the next ``feast materialize-incremental`` begin at these rows, or before: it goes on where it ended."""
    from . import definitions

    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=first_ns // 1_000)
    for store in _applied_stores():
        known = {view.name: view for view in store.list_feature_views()}
        for view in (o for o in definitions.OBJECTS if o.name in known and o.name in _VIEWS):
            done = known[view.name].most_recent_end_time
            if done is None or done > begin:
                # Deleted first: Feast only adds intervals to a view that it knows, and keeps its source as it was.
                fresh = copy(view)
                fresh.materialization_intervals, fresh.state = [(begin, begin)], known[view.name].state
                store.registry.delete_feature_view(view.name, store.project, commit=False)
                store.registry.apply_feature_view(fresh, store.project, commit=False)
        store.registry.commit()


def _applied_stores() -> Iterator[FeatureStore]:
    """The store in use and those of the other configurations here: each has a registry of what it was given."""
    yield open_store()
    from feast import FeatureStore

    for config in sorted(REPO_DIR.glob("feature_store*.yaml")):
        if config != config_file():
            store = FeatureStore(repo_path=str(REPO_DIR), fs_yaml_file=config)
            if (feast_root() / store.config.registry.path).is_file():
                yield store


def _check_request(symbol: str, candidate_ids: Sequence[str], ts_ns: np.ndarray) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", symbol):
        raise InputError(f"symbol {symbol!r}", "letters, digits, dot, dash and underscore", "Rename it")
    if ts_ns.shape != (len(candidate_ids),):
        raise InputError(
            f"{len(candidate_ids)} candidate keys and times of shape {ts_ns.shape}",
            "as many times as keys",
            "Pair them",
        )
    if (ts_ns % WINDOW_NS).any():
        odd = int(ts_ns[ts_ns % WINDOW_NS != 0][0])
        raise InputError(f"a candidate at {odd} ns", "the end of a 100 ms window", "Round its time up to one")


def _write_day(
    files: dict[str, Path],
    table: FeatureTable,
    rows: slice,
    asked: _Asked,
    T: int,
    marks: dict[str, str],
    progress: Callable[[float], None],
) -> None:
    times = np.unique(asked.ts_ns)
    windows = np.zeros(len(times), bool)
    _write(files["microwindow"], _microwindows(table, rows), marks, lambda f: progress(0.4 * f))
    _write(files["window_sequence"], _sequences(table, times, T, windows), marks, lambda f: progress(0.4 + 0.6 * f))
    keep = np.flatnonzero(windows[np.searchsorted(times, asked.ts_ns)])
    _write(files["candidate_context"], iter([(1.0, _contexts(asked, keep))]), marks, lambda f: None)


def _write(
    path: Path, parts: Iterator[tuple[float, pa.Table]], marks: dict[str, str], progress: Callable[[float], None]
) -> None:
    with ExitStack() as open_file:
        writer = None
        for fraction, part in parts:
            if writer is None:
                schema = part.schema.with_metadata(marks)
                writer = open_file.enter_context(
                    pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=["symbol"])
                )
            writer.write_table(part)
            progress(fraction)


def _slices(n: int, size: int) -> Iterator[tuple[float, slice]]:
    """At least one slice, so that a source without rows is a source all the same."""
    for begin in range(0, max(n, 1), size):
        yield min(begin + size, n) / max(n, 1), slice(begin, begin + size)


def _stamps(t_ns: np.ndarray) -> pa.Array:
    return pa.array(t_ns // 1_000, pa.int64()).cast(_TIME)


def _symbols(symbol: str, n: int) -> pa.Array:
    return pa.array([symbol], pa.string()).take(pa.array(np.zeros(n, np.int64)))


def _microwindows(table: FeatureTable, rows: slice) -> Iterator[tuple[float, pa.Table]]:
    valid = rows.start + np.flatnonzero(table.market["valid"][rows])
    for fraction, part in _slices(len(valid), _ROWS_A_GROUP):
        at = valid[part]
        t_ns = table.t_ns[at]
        yield (
            fraction,
            pa.table(
                {"symbol": _symbols(table.symbol, len(at)), "event_timestamp": _stamps(t_ns), "t_ns": t_ns}
                | {name: np.ascontiguousarray(table.X[at, c]) for c, name in enumerate(CHANNELS)}
            ),
        )


def _sequences(
    table: FeatureTable, times: np.ndarray, T: int, available: np.ndarray
) -> Iterator[tuple[float, pa.Table]]:
    """One row a time whose window is available; ``available`` bool [len(times)] is filled in."""
    for fraction, part in _slices(len(times), _WINDOWS_A_GROUP):
        x, ok = table.windows(times[part], T)
        available[part] = ok
        t_ns = times[part][ok]
        row = table.market[np.searchsorted(table.t_ns, t_ns)]
        yield (
            fraction,
            pa.table(
                {
                    "symbol": _symbols(table.symbol, len(t_ns)),
                    "event_timestamp": _stamps(t_ns),
                    "t_ns": t_ns,
                    "x": _lists(x[ok].reshape(len(t_ns), T * _C)),
                    "market": _lists(pack_market(row)),
                }
            ),
        )


def _lists(values: np.ndarray) -> pa.Array:
    """A list a row of [n, m]."""
    ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values.reshape(-1)))


def _contexts(asked: _Asked, keep: np.ndarray) -> pa.Table:
    t_ns = asked.ts_ns[keep]
    return pa.table(
        {
            "candidate_id": pa.array([asked.ids[i] for i in keep], pa.string()),
            "event_timestamp": _stamps(t_ns),
            "context_t_ns": t_ns,
        }
        | {name: np.ascontiguousarray(asked.ctx[keep, c]) for c, name in enumerate(CTX_NAMES)}
    )


def _unpack(answer: pa.Table, ts_ns: np.ndarray) -> TrainingSet:
    same = [answer.column(name).fill_null(-1).to_numpy() == ts_ns for name in ("t_ns", "context_t_ns")]
    found = same[0] & same[1]
    sizes = np.unique(pc.list_value_length(answer.column("x")).fill_null(-1).to_numpy()[found])
    if len(sizes) > 1 or (sizes % _C).any():
        raise StoreError(
            f"stored windows of {sizes.tolist()} values", f"one multiple of {_C} channels for all", _REFILL
        )
    T = int(sizes[0]) // _C if len(sizes) else MODEL.T
    x = np.empty((len(ts_ns), T, _C), np.float32)
    x[~found] = np.nan
    ctx = np.full((len(ts_ns), len(CTX_NAMES)), np.nan, np.float32)
    begin = 0
    # Chunk by chunk: joining the chunks would hold every sequence twice.
    for chunk in answer.column("x").chunks:
        here = found[begin : begin + len(chunk)]
        known = chunk.filter(pa.array(here)) if not here.all() else chunk
        x[begin : begin + len(chunk)][here] = known.flatten().to_numpy().reshape(-1, T, _C)
        begin += len(chunk)
    for c, name in enumerate(CTX_NAMES):
        ctx[found, c] = answer.column(name).filter(pa.array(found)).to_numpy()
    return TrainingSet(x, ctx, found)
