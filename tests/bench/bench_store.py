"""The offline store: the point-in-time join beside Feast's own DuckDB store, and a training set of 50,000."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from .harness import Bench, in_process, measured, peak_mib

if TYPE_CHECKING:
    from feature_repo.table import FeatureTable

__all__ = ["run"]

_ROWS = 864_000  # a day
_ASKED, _CANDIDATES = 128_000, 50_000
_T = 64
_DATA = f"a day of {_ROWS:,} rows of 24 random float32, which hardly compress"


def run() -> list[Bench]:
    """The join, then the training set: written, read in a process that does nothing else, and its size."""
    with TemporaryDirectory() as folder:
        fill_s, bytes_ = in_process("bench_store:fill", folder, cpus=2)
        ours_s, stock_s, same = in_process("bench_store:join", folder, cpus=2)
        if not same:
            raise RuntimeError("the two offline stores do not give the same rows")
        open_s, read_s, peak = in_process("bench_store:read", folder, cpus=2)
    wanted = f"{_CANDIDATES:,} candidates as [{_CANDIDATES:,}, {_T}, 24]"
    through = f"training_set() of {wanted} through get_historical_features and meta_model_v1; {_DATA}"
    return [
        measured(
            "store: point-in-time join",
            ours_s,
            "s",
            peer_name="Feast's DuckDB store",
            peer=stock_s,
            goal="ratio <= 0.01",
            how=f"{_ASKED:,} entity rows at random times, 24 features, ttl 1 s; {_DATA}; the same Parquet for both, "
            "whose answers are equal; ours the best of 3, Feast's once",
        ),
        measured(
            "store: training set",
            read_s,
            "s",
            goal="ours <= 10",
            how=f"{through}; a fresh process, after {open_s:.1f} s in which it loaded Feast and opened the repository",
        ),
        measured("store: training set, memory", peak, "GiB", goal="ours <= 3", how=f"largest resident; {through}"),
        measured("store: write", fill_s, "s", how=f"write_store() of the day and {wanted}"),
        measured(
            "store: disk a candidate",
            bytes_ / _CANDIDATES,
            "bytes",
            how=f"window, market row and context in Parquet, {_T * 24 * 4:,} bytes of it the window itself; {_DATA}",
        ),
    ]


def fill(folder: str) -> tuple[float, int]:
    """Seconds of write_store, and bytes of windows and contexts."""
    root = _root(folder)
    from feature_repo.offline import write_store

    table = _table()
    ids, ts, ctx = _candidates(table)
    began = time.perf_counter()
    write_store(table, ids, ts, ctx, T=_T)
    took = time.perf_counter() - began
    views = (root / view for view in ("window_sequence", "candidate_context"))
    return took, sum(p.stat().st_size for view in views for p in view.rglob("*.parquet"))


def read(folder: str) -> tuple[float, float, float]:
    """Seconds of opening the store, seconds of one training set, and the process's largest resident memory, GiB."""
    _root(folder)
    ids, ts = _asked()
    began = time.perf_counter()
    from feature_repo.offline import training_set
    from feature_repo.store import open_store

    open_store()
    opened = time.perf_counter()
    got = training_set(_SYMBOL, ids, ts)
    took = time.perf_counter() - opened
    if got.x.shape != (_CANDIDATES, _T, 24) or not got.found.all():
        raise RuntimeError(f"a training set of {got.x.shape}, {int(got.found.sum())} of them found")
    return opened - began, took, peak_mib() / 1024


def join(folder: str) -> tuple[float, float, bool]:
    """Seconds of ours and of Feast's store, and whether both give the same rows."""
    import ibis
    import pandas as pd
    from feast import FeatureStore, FeatureView, FileSource, RepoConfig

    root = _root(folder)
    from feature_repo.constants import WINDOW_NS
    from feature_repo.definitions import microwindow, symbol
    from feature_repo.fields import CHANNELS
    from feature_repo.store import open_store

    config = RepoConfig(
        project="stock",
        provider="local",
        registry=str(root / "stock.db"),
        online_store={"type": "sqlite", "path": str(root / "stock_online.db")},
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
    )
    stock = FeatureStore(config=config)
    (path,) = (root / "microwindow").rglob("*.parquet")
    source = FileSource(name="rows", path=str(path), timestamp_field="event_timestamp")
    view = FeatureView(name="microwindow", entities=[symbol], ttl=microwindow.ttl, source=source)
    stock.apply([symbol, view])
    t_us = _times() // 1_000
    rng = np.random.default_rng(3)
    at = rng.integers(t_us[0], t_us[-1] + WINDOW_NS // 1_000, _ASKED)
    rows = pd.DataFrame(
        {"symbol": _SYMBOL, "event_timestamp": pd.to_datetime(at, unit="us", utc=True), "row": np.arange(_ASKED)}
    )
    refs = [f"microwindow:{name}" for name in CHANNELS]
    ours_s = []
    for _ in range(3):
        began = time.perf_counter()
        ours = open_store().get_historical_features(rows, refs).to_arrow()
        ours_s.append(time.perf_counter() - began)
    began = time.perf_counter()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        theirs = stock.get_historical_features(rows, refs).to_arrow()
    stock_s = time.perf_counter() - began
    # Only Feast's store uses it. Left open, it fills the end of the process with complaints about leaks.
    backend = ibis.get_backend()
    backend.disconnect()
    vars(backend).clear()
    theirs = theirs.sort_by("row")  # it loses the order
    same = all(ours.column(name).combine_chunks().equals(theirs.column(name).combine_chunks()) for name in CHANNELS)
    return min(ours_s), stock_s, same and ours.column("row").to_pylist() == list(range(_ASKED))


_SYMBOL = "ETHUSDT-BENCH"
_START_NS = 1_767_571_200_000_000_000  # 2026-01-05 00:00 UTC


def _root(folder: str) -> Path:
    os.environ["OFI_META_DATA"] = folder
    return Path(folder) / "feast"


def _times() -> np.ndarray:
    from feature_repo.constants import WINDOW_NS

    return _START_NS + np.arange(1, _ROWS + 1) * WINDOW_NS


def _asked() -> tuple[list[str], np.ndarray]:
    from feature_repo.offline import candidate_id

    rows = np.random.default_rng(2).choice(np.arange(_T, _ROWS), _CANDIDATES, replace=False)
    ts = _times()[rows]
    return [candidate_id(_SYMBOL, t, 1) for t in ts], ts


def _candidates(table: FeatureTable) -> tuple[list[str], np.ndarray, np.ndarray]:
    ids, ts = _asked()
    return ids, ts, np.random.default_rng(4).standard_normal((len(ts), 8), dtype=np.float32)


def _table() -> FeatureTable:
    from feature_repo.fields import CHANNELS, MARKET_DTYPE
    from feature_repo.table import QUOTE_DTYPE, FeatureTable

    rng = np.random.default_rng(1)
    market = np.zeros(_ROWS, MARKET_DTYPE)
    for name in MARKET_DTYPE.names:
        if MARKET_DTYPE[name].kind == "f":
            market[name] = rng.standard_normal(_ROWS)
    market["t_ns"], market["valid"] = _times(), True
    X = rng.standard_normal((_ROWS, len(CHANNELS)), dtype=np.float32)
    return FeatureTable("simulated", _SYMBOL, True, X, market, np.zeros(0, QUOTE_DTYPE), 0.01)


if __name__ == "__main__":  # python -m tests.bench.bench_store fill|read|join FOLDER, for a profiler
    print(globals()[sys.argv[1]](sys.argv[2]))
