"""The training set comes from the feature store, exactly, or not at all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.offline import candidate_id, training_set, write_store
from feature_repo.store import StoreError, feast_root

from .store_table import START_NS, make_table, some_candidates

pytestmark = pytest.mark.slow

ROWS = [200, 90, 399, 83, 151, 150]  # not in order; 83 is the first row with 64 valid ones behind it
T = 64
DAY = "2026-01-05.parquet"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "feast"


def bits(x):
    return np.ascontiguousarray(x, np.float32).view(np.uint32)


def test_candidate_key():
    assert candidate_id("ETHUSDT", np.int64(START_NS), 1) == "ETHUSDT:1767571200000000000:+1"
    assert candidate_id("ETHUSDT", START_NS, np.int8(-1)) == "ETHUSDT:1767571200000000000:-1"


def test_round_trip_is_exact_and_keeps_the_order():
    table = make_table()
    ids, ts, ctx = some_candidates(table, ROWS)
    fractions = []
    write_store(table, ids, ts, ctx, progress=fractions.append)
    found = training_set(table.symbol, ids, ts)
    assert found.found.all()
    assert found.x.dtype == found.ctx.dtype == np.float32
    assert found.x.shape == (6, T, 24)
    for i, row in enumerate(ROWS):
        np.testing.assert_array_equal(bits(found.x[i]), bits(table.X[row - T + 1 : row + 1]))
    np.testing.assert_array_equal(bits(found.ctx), bits(ctx))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0

    back = training_set(table.symbol, ids[::-1], ts[::-1])
    np.testing.assert_array_equal(bits(back.x), bits(found.x[::-1]))


def test_a_shorter_window():
    table = make_table()
    ids, ts, ctx = some_candidates(table, ROWS)
    write_store(table, ids, ts, ctx, T=20)
    np.testing.assert_array_equal(training_set(table.symbol, ids, ts).x, table.windows(ts, 20)[0])


def test_missing_windows_are_flagged_and_not_invented():
    table = make_table(invalid=slice(100, 110))
    rows = [99, 120, 50, 173, 174]  # 120 has invalid rows in its window, 50 too few rows before it
    ids, ts, ctx = some_candidates(table, rows)
    write_store(table, ids, ts, ctx)
    found = training_set(table.symbol, ids, ts)
    np.testing.assert_array_equal(found.found, [True, False, False, True, True])
    assert np.isnan(found.x[~found.found]).all()
    assert np.isnan(found.ctx[~found.found]).all()
    assert np.isfinite(found.x[found.found]).all()


def test_a_row_of_another_time_is_not_taken_for_the_one_asked():
    table = make_table()
    ids, ts, ctx = some_candidates(table, [200])
    write_store(table, ids, ts, ctx)
    later = ts + 200_000_000  # within the ttl: Feast itself would hand out the older row
    assert not training_set(table.symbol, ids, later).found.any()
    assert not training_set(table.symbol, ["another key"], ts).found.any()


def test_no_candidate_at_all():
    table = make_table()
    write_store(table, [], np.zeros(0, np.int64), np.zeros((0, 8), np.float32))
    empty = training_set(table.symbol, [], np.zeros(0, np.int64))
    assert empty.x.shape == (0, T, 24)
    ids, ts, _ = some_candidates(table, [200, 300])
    assert not training_set(table.symbol, ids, ts).found.any()


def test_later_rows_change_nothing_for_earlier_candidates():
    table = make_table()
    ids, ts, ctx = some_candidates(table, [120, 200])
    write_store(table, ids, ts, ctx)
    before = training_set(table.symbol, ids, ts)

    market, X = table.market.copy(), table.X.copy()
    X[201:] = 7.0
    market["mid"][201:] = 9.0
    more_ids, more_ts, more_ctx = some_candidates(table, [120, 200, 201, 260, 399])
    more_ctx[:2] = ctx
    write_store(dataclasses.replace(table, X=X, market=market), more_ids, more_ts, more_ctx)
    after = training_set(table.symbol, ids, ts)
    np.testing.assert_array_equal(bits(after.x), bits(before.x))
    np.testing.assert_array_equal(bits(after.ctx), bits(before.ctx))
    assert after.found.all()


def test_symbols_do_not_touch_each_other():
    one, other = make_table(seed=1), make_table(seed=5, symbol="ETHUSDT")
    a, b = some_candidates(one, [100, 200]), some_candidates(other, [100, 200, 300])
    write_store(one, *a)
    file = feast_root() / "window_sequence" / one.symbol / DAY
    before = file.read_bytes()
    write_store(other, *b)
    assert file.read_bytes() == before
    np.testing.assert_array_equal(training_set("ETHUSDT", *b[:2]).x, other.windows(b[1])[0])
    np.testing.assert_array_equal(training_set(one.symbol, *a[:2]).x, one.windows(a[1])[0])


def test_a_reader_is_not_disturbed_by_a_write():
    asked = fill()
    before = training_set(*asked)
    read = []
    table = make_table(seed=9)
    ids, ts, ctx = some_candidates(table, ROWS, seed=9)
    write_store(table, ids, ts, ctx, progress=lambda f: read.append(training_set(*asked)) if f < 1 else None)
    assert len(read) >= 2
    for found in read:
        np.testing.assert_array_equal(bits(found.x), bits(before.x))
        np.testing.assert_array_equal(bits(found.ctx), bits(before.ctx))
    np.testing.assert_array_equal(bits(training_set(*asked).ctx), bits(ctx))


def test_a_failed_write_leaves_the_old_files(root, monkeypatch):
    table = make_table()
    ids, ts, ctx = some_candidates(table, ROWS)
    write_store(table, ids, ts, ctx)
    before = {p: p.read_bytes() for p in root.rglob("*.parquet")}
    assert len(before) == 3

    def fail(self, *args):
        raise RuntimeError("power cut")

    monkeypatch.setattr("feature_repo.table.FeatureTable.windows", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        write_store(make_table(seed=9), ids, ts, ctx)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.suffix == ".parquet"} == before


def test_what_a_killed_write_left_is_removed_by_the_next(root):
    left = root / ".staging" / "ETHUSDT-SIM" / "microwindow"
    left.mkdir(parents=True)
    (left / DAY).write_bytes(b"half")
    assert training_set(*fill()).found.all()
    assert list((root / ".staging").iterdir()) == []


def fill():
    table = make_table()
    ids, ts, ctx = some_candidates(table, ROWS)
    write_store(table, ids, ts, ctx)
    return table.symbol, ids, ts


@pytest.mark.parametrize(
    ("away", "says"),
    [
        ("registry.db", r"no feature registry at .*registry\.db.*feast -c feature_repo apply"),
        ("window_sequence", r"no window_sequence of ETHUSDT-SIM.*is missing.*make shadow"),
        ("candidate_context", r"no candidate_context of ETHUSDT-SIM.*is missing.*make shadow"),
    ],
)
def test_without_the_store_there_is_no_training_set(root, away, says):
    asked = fill()
    (root / away).rename(root / "elsewhere")
    with pytest.raises(StoreError, match=says):
        training_set(*asked)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("registry.db", r"registry at .* cannot be read.*Delete it"),
        ("window_sequence/ETHUSDT-SIM/2026-01-05.parquet", r"sources in .* cannot be read.*make shadow"),
        ("candidate_context/ETHUSDT-SIM/2026-01-05.parquet", r"sources in .* cannot be read.*make shadow"),
    ],
)
def test_a_damaged_store_is_named(root, file, says):
    asked = fill()
    (root / file).write_bytes((root / file).read_bytes()[:100] + b"junk" * 50)
    with pytest.raises(StoreError, match=says):
        training_set(*asked)


def test_an_empty_registry_is_named(root):
    asked = fill()
    (root / "registry.db").write_bytes(b"")
    with pytest.raises(StoreError, match=r"registry does not fit.*feast -c feature_repo apply"):
        training_set(*asked)


@pytest.mark.parametrize(
    ("rows", "values", "says"), [(1, 24 * 20, r"\[480, 1536\] values"), (len(ROWS), 24 * 20 + 1, r"\[481\] values")]
)
def test_windows_of_two_lengths_or_of_no_whole_rows_are_refused(root, rows, values, says):
    import pyarrow as pa
    import pyarrow.parquet as pq

    asked = fill()
    path = root / "window_sequence" / "ETHUSDT-SIM" / DAY
    table = pq.read_table(path)
    x = [value[:values] if i < rows else value for i, value in enumerate(table.column("x").to_pylist())]
    at = table.schema.get_field_index("x")
    pq.write_table(table.set_column(at, "x", pa.array(x, pa.list_(pa.float32()))), path)
    with pytest.raises(StoreError, match=says):
        training_set(*asked)


def test_a_store_that_cannot_be_written_is_named(root):
    root.parent.write_text("a file")
    with pytest.raises(StoreError, match=r"feast cannot be written \(.*\)\. .* Set OFI_META_DATA"):
        fill()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda i, t, c: (i[:-1], t, c), "5 candidate keys and times"),
        (lambda i, t, c: (i, t + 1, c), "end of a 100 ms window"),
        (lambda i, t, c: ([i[0], *i[:-1]], t, c), "more than once"),
        (lambda i, t, c: (i, t, c[:, :7]), r"context of shape \(6, 7\)"),
        (lambda i, t, c: (i, t, np.where(c > 0, np.nan, c)), "not finite"),
    ],
)
def test_requests_that_do_not_fit(root, change, says):
    table = make_table()
    with pytest.raises(InputError, match=says):
        write_store(table, *change(*some_candidates(table, ROWS)))
    assert not list(root.rglob("*.parquet"))


def test_a_symbol_that_cannot_name_a_file():
    with pytest.raises(InputError, match=r"symbol '\.\./x'"):
        training_set("../x", [], np.zeros(0, np.int64))
