"""Our point-in-time join against Feast's own DuckDB store, over one file, many files and folders named `key=value`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feature_repo.offline_store import AsofOfflineStore

pytestmark = pytest.mark.slow

US = pa.timestamp("us", tz="UTC")
KEYS = ("A", "B", "C")
FILES = 3
BASE_US = 1_767_571_200_000_000


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A store with three views.

    A folder of files, ttl and created column; folders named by the key, neither; one file with a renamed column.
    """
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.data_format import ParquetFormat
    from feast.repo_config import RepoConfig
    from feast.types import Array, Float32, Int64

    folder = tmp_path_factory.mktemp("both")
    config = RepoConfig(
        project="both",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
    )
    key = Entity(name="key", join_keys=["key"], value_type=ValueType.STRING)

    def view(name, *features, at, ttl=None, **source):
        return FeatureView(
            name=name,
            entities=[key],
            ttl=ttl,
            schema=[Field(name=n, dtype=d) for n, d in features],
            source=FileSource(
                name=f"{name}_s", path=str(folder / at), timestamp_field="at", file_format=ParquetFormat(), **source
            ),
        )

    views = [
        view("aged", ("a", Int64), at="aged", ttl=timedelta(microseconds=5), created_timestamp_column="made"),
        view("plain", ("p", Array(Float32)), at="plain"),
        view(
            "renamed", ("r", Int64), at="renamed.parquet", field_mapping={"r_raw": "r"}, ttl=timedelta(microseconds=3)
        ),
    ]
    store = FeatureStore(config=config)
    store.apply([key, *views])
    yield store, folder
    import ibis

    # Only Feast's own store uses it. Left open, it fills the end of the run with complaints about leaks.
    backend = ibis.get_backend()
    backend.disconnect()
    vars(backend).clear()


def stamps(values):
    return pa.array([None if v is None else BASE_US + v for v in values], pa.int64()).cast(US)


def write_aged(folder, aged):
    """Spread over files: which of them a row is in must not matter."""
    folder.mkdir(exist_ok=True)
    for n in range(FILES):
        some = {k: v for i, (k, v) in enumerate(aged.items()) if i % FILES == n}
        columns = {
            "key": pa.array([k for k, _, _ in some], pa.string()),
            "at": stamps(t for _, t, _ in some),
            "made": stamps(m for _, _, m in some),
            "a": pa.array([v % 2**31 for v in some.values()], pa.int64()),
        }
        pq.write_table(pa.table(columns), folder / f"{n}.parquet")


def write_plain(folder, plain):
    """One folder a key, the key in its name only."""
    for key in KEYS:
        some = {t: v for (k, t), v in plain.items() if k == key}
        columns = {"at": stamps(some), "p": pa.array(list(some.values()), pa.list_(pa.float32()))}
        (folder / f"key={key}").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / f"key={key}" / "rows.parquet")


tick = st.integers(0, 12)
row = st.tuples(st.sampled_from(KEYS), tick)


@settings(max_examples=10, deadline=None)
@example(  # the row of 4 was not known at 5, the one of 2 was; at 6 both were; at 8 that of 2 is too old
    aged={("A", 2, 3): 1, ("A", 4, 6): 2, ("B", 4, None): 3, ("B", 1, 1): 4, ("B", 1, 2): 5},
    plain={("A", 1): [0.5, -0.0], ("A", 4): []},
    renamed={("A", 3): 7},
    asked=[("A", 8), ("A", 5), ("A", 6), ("B", 6), ("B", 1), ("A", 7), ("A", 5), ("D", 5), ("A", 2)],
    as_known=True,
    full_names=False,
)
@example(  # nothing of the first folder is asked for; two rows of one time
    aged={("B", 1, 1): 4, ("B", 1, 2): 5, ("C", 3, None): 6},
    plain={("A", 1): [1.0], ("B", 1): [2.0], ("C", 2): [3.0], ("C", 3): [4.0]},
    renamed={("B", 2): 7, ("C", 2): 8},
    asked=[("C", 2), ("B", 4), ("C", 9), ("B", 1)],
    as_known=False,
    full_names=True,
)
@given(
    aged=st.dictionaries(
        st.tuples(st.sampled_from(KEYS), tick, st.one_of(st.none(), tick)), st.integers(), max_size=25
    ),
    plain=st.dictionaries(row, st.lists(st.floats(width=32, allow_nan=False), max_size=3), max_size=12),
    renamed=st.dictionaries(row, st.integers(-9, 9), max_size=12),
    asked=st.lists(st.tuples(st.sampled_from((*KEYS, "D")), tick), min_size=1, max_size=12),
    as_known=st.booleans(),
    full_names=st.booleans(),
)
def test_our_join_answers_as_feasts_own(both, aged, plain, renamed, asked, as_known, full_names):
    store, folder = both
    write_aged(folder / "aged", aged)
    write_plain(folder / "plain", plain)
    columns = {
        "key": pa.array([k for k, _ in renamed], pa.string()),
        "at": stamps(t for _, t in renamed),
        "r_raw": pa.array(list(renamed.values()), pa.int64()),
    }
    pq.write_table(pa.table(columns), folder / "renamed.parquet")
    rows = pd.DataFrame(
        {
            "key": [k for k, _ in asked],
            "event_timestamp": pd.to_datetime([BASE_US + t for _, t in asked], unit="us", utc=True),
            "row": range(len(asked)),
        }
    )
    request = {
        "entity_df": rows,
        "features": ["aged:a", "plain:p", "renamed:r"],
        "full_feature_names": full_names,
        "filter_by_created_timestamp": as_known,
    }
    stock = store.get_historical_features(**request).to_arrow().sort_by("row")
    provider = store._get_provider()
    theirs = provider.offline_store
    provider._offline_store = AsofOfflineStore()
    try:
        ours = store.get_historical_features(**request).to_arrow()
    finally:
        provider._offline_store = theirs
    source = store.get_feature_view("aged").batch_source
    span = [datetime.fromtimestamp(BASE_US // 10**6, UTC) + timedelta(microseconds=t) for t in (2, 9)]
    for pull in ("pull_latest_from_table_or_query", "pull_all_from_table_or_query"):
        pulled = [
            getattr(s, pull)(store.config, source, ["key"], ["a"], "at", "made", *span).to_arrow().to_pylist()
            for s in (AsofOfflineStore, theirs)
        ]
        assert sorted(map(repr, pulled[0])) == sorted(map(repr, pulled[1])), pull
    assert ours.column("row").to_pylist() == list(range(len(asked)))
    assert ours.column_names == stock.column_names
    for name in ours.column_names:
        assert ours.column(name).to_pylist() == stock.column(name).to_pylist(), name
