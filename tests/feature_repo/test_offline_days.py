"""The sources lie by symbol and UTC day: what a write replaces, and which files a read opens."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_repo.constants import WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.offline import training_set, write_store
from feature_repo.partitions import staged
from feature_repo.store import open_store

from .store_table import DAY_NS, START_NS, make_table, some_candidates

pytestmark = pytest.mark.slow

VIEWS = ("microwindow", "window_sequence", "candidate_context")
FIRST, SECOND, THIRD = "2026-01-05.parquet", "2026-01-06.parquet", "2026-01-07.parquet"
MIDNIGHT = START_NS + DAY_NS  # between the first day and the second
ACROSS = MIDNIGHT - 199 * WINDOW_NS  # of 400 rows the one at 199 ends at midnight


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "feast"


def files(root, symbol="ETHUSDT-SIM"):
    return {str(p.relative_to(root)): p.read_bytes() for view in VIEWS for p in (root / view / symbol).glob("*")}


def times(path):
    return pq.read_table(path).column("event_timestamp").to_numpy().astype("datetime64[ns]").astype(np.int64)


def test_one_file_a_view_symbol_and_day(root):
    table = make_table(start_ns=ACROSS)
    write_store(table, *some_candidates(table, [100, 199, 200, 300]))
    assert sorted(files(root)) == sorted(f"{v}/ETHUSDT-SIM/{day}" for v in VIEWS for day in (FIRST, SECOND))
    valid = table.t_ns[table.market["valid"]]
    for view, all_times in (("microwindow", valid), ("window_sequence", table.t_ns[[100, 199, 200, 300]])):
        first, second = (times(root / view / "ETHUSDT-SIM" / day) for day in (FIRST, SECOND))
        np.testing.assert_array_equal(first, all_times[all_times <= MIDNIGHT])  # the window before midnight ends at it
        np.testing.assert_array_equal(second, all_times[all_times > MIDNIGHT])


def test_windows_across_midnight_are_whole():
    table = make_table(start_ns=ACROSS)
    ids, ts, ctx = some_candidates(table, [300, 199, 200, 100, 262, 263])
    write_store(table, ids, ts, ctx)
    got = training_set(table.symbol, ids, ts)
    assert got.found.all()
    np.testing.assert_array_equal(got.x, table.windows(ts)[0])
    np.testing.assert_array_equal(got.ctx, ctx)


def test_a_day_written_leaves_the_days_beside_it_alone(root):
    whole = make_table(1_200, start_ns=MIDNIGHT - 599 * WINDOW_NS)
    write_store(whole, *some_candidates(whole, [100, 700]))
    before = files(root)
    # A day's tape ends with the window that ends at midnight: that is no reason to touch the next day.
    first = make_table(start_ns=MIDNIGHT - 399 * WINDOW_NS, seed=7)
    assert first.t_ns[-1] == MIDNIGHT
    write_store(first, *some_candidates(first, [300]))
    after = files(root)
    assert {name for name in after if after[name] != before[name]} == {f"{v}/ETHUSDT-SIM/{FIRST}" for v in VIEWS}
    assert sorted(after) == sorted(before)


def test_candidates_that_a_later_run_does_not_have_are_gone():
    table = make_table(start_ns=ACROSS)
    ids, ts, ctx = some_candidates(table, [100, 150, 300])
    write_store(table, ids, ts, ctx)
    write_store(table, ids[1:2], ts[1:2], ctx[1:2])  # none at all on the second day
    np.testing.assert_array_equal(training_set(table.symbol, ids, ts).found, [False, True, False])
    write_store(table, [], ts[:0], ctx[:0])
    assert not training_set(table.symbol, ids, ts).found.any()


@pytest.mark.parametrize("change", [{"venue": "binance_spot"}, {"simulated": False}])
def test_rows_of_another_origin_do_not_stay_beside_those_of_this_one(root, change):
    first, later = make_table(), make_table(start_ns=MIDNIGHT + WINDOW_NS)
    other = make_table(symbol="ETHUSDT")
    for table in (first, other):
        write_store(table, *some_candidates(table, [200]))
    write_store(later, *some_candidates(later, [200]))
    assert {name.split("/")[-1] for name in files(root)} == {FIRST, SECOND}
    write_store(dataclasses.replace(later, **change), *some_candidates(later, [200]))
    assert {name.split("/")[-1] for name in files(root)} == {SECOND}
    assert training_set(later.symbol, *some_candidates(later, [200])[:2]).found.all()
    assert training_set("ETHUSDT", *some_candidates(other, [200])[:2]).found.all()


def test_a_file_of_an_earlier_version_goes_when_its_symbol_is_written(root):
    for view in VIEWS:
        for symbol in ("ETHUSDT-SIM", "BTCUSDT"):
            (root / view).mkdir(parents=True, exist_ok=True)
            (root / view / f"{symbol}.parquet").write_bytes(b"of an earlier version")
    table = make_table()
    write_store(table, *some_candidates(table, [200]))
    assert sorted(p.name for view in VIEWS for p in (root / view).glob("*.parquet")) == ["BTCUSDT.parquet"] * 3
    assert not list((root / ".staging").iterdir())
    assert training_set(table.symbol, *some_candidates(table, [200])[:2]).found.all()


def test_a_second_writer_of_a_symbol_waits_for_the_first(root):
    """Else a day of one could lie beside a day of the other."""
    inside = Event()

    def write(mark):
        with staged("ETHUSDT", ["microwindow"], [0], {}) as folder:
            inside.set()
            (folder / "microwindow" / "1970-01-01.parquet").write_text(mark)

    second = Thread(target=write, args=("second",))
    with staged("ETHUSDT", ["microwindow"], [0], {}) as folder, staged("BTCUSDT", [], [], {}):
        second.start()
        assert not inside.wait(0.3)
        (folder / "microwindow" / "1970-01-01.parquet").write_text("first")
    second.join(30)
    assert inside.is_set()
    assert (root / "microwindow" / "ETHUSDT" / "1970-01-01.parquet").read_text() == "second"
    assert not list((root / ".staging").iterdir())


def three_days_of_two_symbols(root):
    """Tables by (symbol, day), and a function that makes every file but some unreadable."""
    tables = {}
    for symbol in ("ETHUSDT", "BTCUSDT"):
        for day in range(3):
            table = make_table(symbol=symbol, seed=day, start_ns=START_NS + day * DAY_NS + WINDOW_NS, invalid=slice(0))
            write_store(table, *some_candidates(table, [0, 200]))
            tables[symbol, day] = table

    def damage_all_but(*keep):
        for view in VIEWS:
            for path in (root / view).glob("*/*.parquet"):
                if (path.parent.name, path.name) not in keep:
                    path.write_bytes(b"not to be opened")

    return tables, damage_all_but


def test_a_join_opens_only_the_days_and_symbols_that_can_match(root):
    tables, damage_all_but = three_days_of_two_symbols(root)
    damage_all_but(("ETHUSDT", SECOND))  # the rows asked for are more than the ttl after midnight
    table = tables["ETHUSDT", 1]
    ids, ts, ctx = (of_two[1:] for of_two in some_candidates(table, [0, 200]))
    got = training_set("ETHUSDT", ids, ts)
    np.testing.assert_array_equal(got.x, table.windows(ts)[0])
    np.testing.assert_array_equal(got.ctx, ctx)
    rows = pd.DataFrame({"symbol": "ETHUSDT", "event_timestamp": pd.to_datetime(table.t_ns[[20, 399]], utc=True)})
    rows = open_store().get_historical_features(rows, ["microwindow:t_ns"]).to_df()
    assert rows["t_ns"].tolist() == table.t_ns[[20, 399]].tolist()


def test_several_symbols_and_days_in_one_request(root):
    tables, damage_all_but = three_days_of_two_symbols(root)
    damage_all_but(*((s, day) for s in ("ETHUSDT", "BTCUSDT") for day in (FIRST, THIRD)))
    asked = [("BTCUSDT", 2, 27), ("ETHUSDT", 0, 399), ("BTCUSDT", 0, 0), ("ETHUSDT", 2, 30), ("ETHUSDT", 0, 30)]
    t_ns = [tables[symbol, day].t_ns[row] for symbol, day, row in asked]
    rows = pd.DataFrame({"symbol": [s for s, _, _ in asked], "event_timestamp": pd.to_datetime(t_ns, utc=True)})
    got = open_store().get_historical_features(rows, ["microwindow:t_ns", "microwindow:ofi_z"]).to_df()
    assert got["t_ns"].tolist() == t_ns
    assert got["symbol"].tolist() == [s for s, _, _ in asked]
    expected = [tables[symbol, day].X[row, 0] for symbol, day, row in asked]
    np.testing.assert_array_equal(got["ofi_z"].to_numpy(np.float32), expected)


def test_a_row_within_the_ttl_is_found_on_the_day_before(root):
    table = make_table(start_ns=MIDNIGHT - 399 * WINDOW_NS)
    write_store(table, *some_candidates(table, [200]))
    next_day = make_table(start_ns=MIDNIGHT + 100 * WINDOW_NS)
    write_store(next_day, *some_candidates(next_day, [200]))
    later = pd.to_datetime([MIDNIGHT + 500_000_000, MIDNIGHT + 1_000_000_000, MIDNIGHT + 1_000_001_000], utc=True)
    rows = pd.DataFrame({"symbol": table.symbol, "event_timestamp": later})
    got = open_store().get_historical_features(rows, ["microwindow:t_ns"]).to_arrow()
    assert got.column("t_ns").to_pylist() == [MIDNIGHT, MIDNIGHT, None]


def test_a_key_that_is_not_in_the_store_gives_nulls(root):
    tables, _ = three_days_of_two_symbols(root)
    at = pd.to_datetime([tables["ETHUSDT", 0].t_ns[5], 0], utc=True)
    rows = pd.DataFrame({"symbol": ["SOLUSDT", "ETHUSDT"], "event_timestamp": at})
    got = open_store().get_historical_features(rows, ["microwindow:t_ns"]).to_arrow()
    assert got.column("t_ns").to_pylist() == [None, None]


def test_materialising_a_span_opens_its_days_only(root):
    tables, damage_all_but = three_days_of_two_symbols(root)
    damage_all_but(*((s, SECOND) for s in ("ETHUSDT", "BTCUSDT")))
    day = datetime(2026, 1, 6, tzinfo=UTC)
    store = open_store()
    source = store.get_feature_view("microwindow").batch_source
    job = store._get_provider().offline_store.pull_latest_from_table_or_query(
        store.config,
        source,
        ["symbol"],
        ["t_ns"],
        "event_timestamp",
        None,
        day + timedelta(seconds=1),
        day.replace(hour=9),
    )
    got = {row["symbol"]: row["t_ns"] for row in job.to_arrow().to_pylist()}
    assert got == {symbol: tables[symbol, 1].t_ns[-1] for symbol in ("ETHUSDT", "BTCUSDT")}


def test_a_candidate_of_another_symbol_is_refused(root):
    table = make_table()
    ids, ts, ctx = some_candidates(table, [200, 300])
    with pytest.raises(InputError, match=r"candidate ETHUSDT:1 of ETHUSDT-SIM. Expected a key that begins"):
        write_store(table, [ids[0], "ETHUSDT:1"], ts, ctx)
    assert not root.exists()
