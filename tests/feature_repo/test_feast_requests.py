"""What a user may ask of `get_historical_features`: by service or by names, rows of any shape, saved for later."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from feast.data_source import PushMode
from feast.errors import FeastEntityDFMissingColumnsError
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from feature_repo import asof
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, CTX_NAMES
from feature_repo.market_row import unpack_market
from feature_repo.offline import write_store
from feature_repo.offline_store import AsofOfflineStore
from feature_repo.store import SERVICE, open_store

from .store_table import make_table, some_candidates

pytestmark = pytest.mark.slow

ROWS = [300, 100, 200]
REFS = ["microwindow:t_ns", "microwindow:ofi_z"]


@pytest.fixture(scope="module")
def table():
    return make_table()


@pytest.fixture(scope="module")
def store(table, tmp_path_factory):
    """Read by every test, written by none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFI_META_DATA", str(tmp_path_factory.mktemp("requests")))
        write_store(table, *some_candidates(table, ROWS))
        yield open_store()


def asked(table, rows=ROWS, **columns):
    return pd.DataFrame(
        {"symbol": table.symbol, "event_timestamp": pd.to_datetime(table.t_ns[rows], utc=True)} | columns
    )


def t_ns(store, rows, **options):
    return store.get_historical_features(rows, REFS, **options).to_arrow().column("t_ns").to_pylist()


def test_the_service_gives_window_market_row_and_context(store, table):
    ids, _, ctx = some_candidates(table, ROWS)
    rows = asked(table, candidate_id=ids)
    got = store.get_historical_features(rows, store.get_feature_service(SERVICE)).to_arrow()
    window = ["t_ns", "x", "market"]
    assert got.column_names == [*rows.columns, *window, "context_t_ns", *CTX_NAMES]
    x = np.stack(got.column("x").to_pylist()).astype(np.float32).reshape(3, 64, len(CHANNELS))
    np.testing.assert_array_equal(x.view(np.uint32), table.windows(table.t_ns[ROWS])[0].view(np.uint32))
    for row, t_ns, values in zip(ROWS, got["t_ns"].to_pylist(), got["market"].to_pylist(), strict=True):
        assert unpack_market(t_ns, values).tobytes() == table.market[row].tobytes()
    np.testing.assert_array_equal(np.stack([got.column(n).to_numpy() for n in CTX_NAMES], axis=1), ctx)


def test_names_give_what_the_service_gives(store, table):
    rows = asked(table, candidate_id=some_candidates(table, ROWS)[0])
    service = store.get_feature_service(SERVICE)
    refs = [f"{p.name}:{f.name}" for p in service.feature_view_projections for f in p.features]
    by_service, by_names = (store.get_historical_features(rows, what).to_df() for what in (service, refs))
    pd.testing.assert_frame_equal(by_names, by_service)
    full = store.get_historical_features(rows, ["window_sequence:t_ns"], full_feature_names=True).to_df()
    assert full["window_sequence__t_ns"].tolist() == by_names["t_ns"].tolist()


def test_the_rows_own_columns_come_back_as_they_were(store, table):
    rows = asked(table, label=[1.5, np.nan, -2.0], note=["a", None, "c"], order=np.arange(3, dtype=np.int8))
    got = store.get_historical_features(rows, REFS).to_df()
    pd.testing.assert_frame_equal(got[list(rows.columns)], rows)
    assert got["t_ns"].tolist() == table.t_ns[ROWS].tolist()


@pytest.mark.parametrize(
    "times",
    [
        lambda t: t,
        lambda t: t.tz_localize(None),
        lambda t: t.tz_convert("Asia/Tokyo"),
        lambda t: t.as_unit("us"),
        lambda t: t + pd.Timedelta(999, "ns"),
        lambda t: t.astype(object),
    ],
    ids=["utc", "naive", "elsewhere", "microseconds", "nanoseconds", "objects"],
)
def test_times_of_any_kind(store, table, times):
    rows = asked(table)
    rows["event_timestamp"] = times(pd.DatetimeIndex(rows["event_timestamp"]))
    assert t_ns(store, rows) == table.t_ns[ROWS].tolist()


def test_a_nanosecond_before_a_row_it_is_not_yet_known(store, table):
    rows = asked(table)
    rows["event_timestamp"] -= pd.Timedelta(1, "ns")
    assert t_ns(store, rows) == (table.t_ns[ROWS] - 100_000_000).tolist()


def test_the_time_may_have_another_name(store, table):
    assert t_ns(store, asked(table).rename(columns={"event_timestamp": "when"})) == table.t_ns[ROWS].tolist()


def test_no_rows_give_no_rows_and_all_columns(store, table):
    got = store.get_historical_features(asked(table).iloc[:0], REFS).to_df()
    assert list(got.columns) == ["symbol", "event_timestamp", "t_ns", "ofi_z"]
    assert len(got) == 0


def test_a_missing_key_or_time_gives_nulls(store, table):
    rows = asked(table)
    rows.loc[0, "symbol"] = None
    rows.loc[1, "event_timestamp"] = pd.NaT
    assert t_ns(store, rows) == [None, None, table.t_ns[ROWS[2]]]


def test_rows_without_a_key_column_are_refused(store, table):
    with pytest.raises(FeastEntityDFMissingColumnsError, match="symbol"):
        store.get_historical_features(asked(table).drop(columns="symbol"), REFS)


def test_rows_with_a_column_of_a_features_name_are_refused(store, table):
    with pytest.raises(InputError, match=r"entity rows with a column ofi_z.*full_feature_names"):
        store.get_historical_features(asked(table, ofi_z=1.0), REFS)
    assert len(store.get_historical_features(asked(table, ofi_z=1.0), REFS, full_feature_names=True).to_df()) == 3


def test_what_is_no_data_frame_is_refused(store):
    now = pd.Timestamp("2026-01-05", tz="UTC").to_pydatetime()
    with pytest.raises(InputError, match=r"no entity rows, but a span of time\. Expected a pandas\.DataFrame"):
        store.get_historical_features(features=REFS, start_date=now, end_date=now)
    with pytest.raises(InputError, match=r"a query in SQL\. Expected a pandas\.DataFrame"):
        store.get_historical_features("SELECT 1", REFS)


def test_times_that_are_text_are_refused(store, table):
    rows = asked(table).astype({"event_timestamp": str})
    with pytest.raises(InputError, match=r"an event timestamp of type (large_)?string\. Expected a timestamp column"):
        store.get_historical_features(rows, REFS)


@pytest.mark.filterwarnings("ignore:.*experimental feature:RuntimeWarning")
def test_an_answer_can_be_saved_and_read_again(store, table, tmp_path):
    rows = asked(table)
    job = store.get_historical_features(rows, [*REFS, "window_sequence:x"])
    storage = SavedDatasetFileStorage(str(tmp_path / "saved.parquet"))
    saved = store.create_saved_dataset(job, "some_rows", storage)
    keys = ["symbol", "t_ns", "x"]
    pd.testing.assert_frame_equal(saved.to_df()[keys], job.to_df()[keys])
    assert store.get_saved_dataset("some_rows").to_arrow().equals(saved.to_arrow())
    with pytest.raises(InputError, match=r"saved\.parquet exists"):
        store.create_saved_dataset(job, "some_rows", storage)


def test_training_rows_are_not_pushed(store, table):
    rows = pd.DataFrame({"symbol": [table.symbol], "event_timestamp": pd.to_datetime(table.t_ns[:1], utc=True)})
    rows["t_ns"], rows["x"], rows["market"] = table.t_ns[:1], [[0.0]], [[0.0]]
    with pytest.raises(InputError, match=r"a push of window_sequence to the offline store\..*write_store"):
        store.push("window_push", rows, to=PushMode.OFFLINE)


def test_a_source_of_another_kind_is_refused(store):
    from feast import RequestSource

    other = RequestSource(name="asked", schema=[])
    with pytest.raises(InputError, match=r"a RequestSource\. Expected a FileSource of Parquet"):
        AsofOfflineStore().validate_data_source(store.config, other)


def test_files_replaced_while_they_are_read_are_read_again(table, tmp_path, monkeypatch):
    """The place of a row in the old file is not its place in the new one."""
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    write_store(table, *some_candidates(table, ROWS))
    other = dataclasses.replace(table, X=table.X + 1, market=table.market.copy())
    other.market["valid"][:50] = False
    quote, calls = asof._q, []

    def replace_before_the_second_step(name):
        if name == "ofi_z" and not calls:
            calls.append(name)
            write_store(other, *some_candidates(other, ROWS))
        return quote(name)

    monkeypatch.setattr(asof, "_q", replace_before_the_second_step)
    got = open_store().get_historical_features(asked(table), REFS).to_arrow()
    assert calls == ["ofi_z"]
    np.testing.assert_array_equal(got.column("ofi_z").to_numpy(), other.X[ROWS, 0])


def test_files_that_are_replaced_again_and_again_are_not_read(table, tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    write_store(table, *some_candidates(table, ROWS))
    quote = asof._q

    def replace_before_the_second_step(name):
        if name == "ofi_z":
            write_store(table, *some_candidates(table, ROWS))
        return quote(name)

    monkeypatch.setattr(asof, "_q", replace_before_the_second_step)
    with pytest.raises(InputError, match=r"2026-01-05\.parquet that are replaced while they are read\. .* at rest"):
        open_store().get_historical_features(asked(table), REFS).to_arrow()
