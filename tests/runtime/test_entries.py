"""A user's entries: files that other code wrote are read to the nanosecond, and what is wrong is told by line."""

from __future__ import annotations

import csv
import errno
import gzip
import math
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.errors import InputError
from runtime.candidate import SigType, Tier
from runtime.entries import UserEntry, entries_sha256, read_entries

TS = 1_767_571_200_123_456_789
"""Whole nanoseconds: a float on the way would end in ...768."""
ROW = {"ts_ns": TS, "side": 1, "sig_type": "momentum", "price": 3500.25}


def rows(n: int, **changes: object) -> list[dict]:
    return [ROW | {"ts_ns": TS + i * 1_000_000_000} | changes for i in range(n)]


def written(path: Path, records: list[dict], header: list[str] | None = None) -> Path:
    """CSV by the standard library."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, header or list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


def text(path: Path, *lines: str, header: str = "ts_ns,side,sig_type,price") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_entries(path)
    return str(error.value)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "entries"


# ---------------------------------------------------------------- what is read


def test_the_four_columns_are_enough(file):
    (entry,) = read_entries(written(file, [ROW])).rows
    assert entry == UserEntry(2, TS, 1, SigType.MOMENTUM, 3500.25, None, None, Tier.A, None)


def test_every_column_is_read_in_any_order(file):
    more = {"symbol": "ETHUSDT", "tier": "c", "exp_reward_bps": "9.5", "R_bps": "12"} | ROW
    (entry,) = read_entries(written(file, [more])).rows
    assert entry == UserEntry(2, TS, 1, SigType.MOMENTUM, 3500.25, 12.0, 9.5, Tier.C, "ETHUSDT")


@pytest.mark.parametrize(
    ("said", "side"),
    [("1", 1), ("+1", 1), ("1.0", 1), ("Buy", 1), ("LONG", 1), ("-1", -1), ("-1.0", -1), ("sell", -1), ("Short", -1)],
)
def test_a_side_has_several_names(file, said, side):
    assert read_entries(written(file, [ROW | {"side": said}])).rows[0].side == side


@pytest.mark.parametrize("sig_type", list(SigType))
def test_types_go_by_name_in_any_case(file, sig_type):
    assert read_entries(written(file, [ROW | {"sig_type": sig_type.name}])).rows[0].sig_type is sig_type
    assert read_entries(written(file, [ROW | {"sig_type": sig_type.name.lower()}])).rows[0].sig_type is sig_type


@pytest.mark.parametrize(
    ("said", "after_ns"),
    [
        ("2026-01-05T00:00:00.123456789", 123_456_789),
        ("2026-01-05 00:00:00.123456789+00:00", 123_456_789),
        ("2026-01-05 00:00:00.5 UTC", 500_000_000),
        ("2026-01-05T00:00:01Z", 1_000_000_000),
    ],
)
def test_a_csv_may_write_times_as_iso_in_utc(file, said, after_ns):
    (entry,) = read_entries(written(file, [ROW | {"ts_ns": said}])).rows
    assert entry.ts_ns == 1_767_571_200_000_000_000 + after_ns


def test_the_files_order_is_kept(file):
    entries = read_entries(written(file, rows(5)[::-1]))
    assert [(r.number, r.ts_ns) for r in entries.rows] == [(2 + i, TS + (4 - i) * 10**9) for i in range(5)]


def test_a_file_without_entries_has_none(file):
    assert len(read_entries(written(file, [], list(ROW)))) == 0


def test_what_a_file_is_is_told_by_its_content(tmp_path):
    plain = written(tmp_path / "a.parquet", rows(3))
    (tmp_path / "b.csv").write_bytes(gzip.compress(plain.read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows(3)), tmp_path / "c.csv")
    (tmp_path / "d").write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())  # as spreadsheets begin it
    read = [read_entries(tmp_path / name) for name in ("a.parquet", "b.csv", "c.csv", "d")]
    assert [[r._replace(number=0) for r in e.rows] for e in read] == [
        [UserEntry(0, r["ts_ns"], 1, SigType.MOMENTUM, 3500.25) for r in rows(3)]
    ] * 4
    assert [e.unit for e in read] == ["line", "line", "row", "line"]


# ---------------------------------------------------------------- files that other code wrote


def _frame() -> pd.DataFrame:
    frame = pd.DataFrame(rows(4))
    frame["side"] = [1, -1, 1, -1]
    frame["sig_type"] = pd.Categorical(["momentum", "divergence", "reclaim", "momentum"])
    frame["R_bps"] = [12.5, np.nan, 20.0, np.nan]
    return frame


def _pandas_csv(path: Path) -> None:
    _frame().to_csv(path, index=False)


def _pandas_csv_of_times(path: Path) -> None:
    _frame().assign(ts_ns=lambda f: pd.to_datetime(f["ts_ns"], utc=True)).to_csv(path, index=False)


def _pandas_parquet(path: Path) -> None:
    _frame().to_parquet(path, index=False)


def _pandas_parquet_of_categories(path: Path) -> None:
    frame = _frame().assign(ts_ns=lambda f: pd.to_datetime(f["ts_ns"], utc=True))
    frame.astype({"ts_ns": "category", "side": "category"}).to_parquet(path, index=False)


def _polars_parquet(path: Path) -> None:
    pl.from_pandas(_frame()).with_columns(pl.col("ts_ns").cast(pl.UInt64), pl.col("side").cast(pl.Int8)).write_parquet(
        path
    )


def _polars_parquet_of_times(path: Path) -> None:
    pl.from_pandas(_frame()).with_columns(pl.from_epoch("ts_ns", time_unit="ns")).write_parquet(path)


def _polars_csv(path: Path) -> None:
    pl.from_pandas(_frame()).write_csv(path)


def _duckdb(path: Path, form: str) -> None:
    values = ", ".join(
        f"({r.ts_ns}, {r.side}, '{r.sig_type}', 3500.25, {'NULL' if math.isnan(r.R_bps) else r.R_bps})"
        for r in _frame().itertuples()
    )
    names = "ts_ns, side, sig_type, price, R_bps"  # of the types that the literals have: BIGINT, DECIMAL
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {values}) AS t({names}) ORDER BY 1) TO '{path}' ({form})")


WRITERS = {
    "pandas to_csv": _pandas_csv,
    "pandas to_csv, times": _pandas_csv_of_times,
    "pandas to_parquet": _pandas_parquet,
    "pandas to_parquet, categories": _pandas_parquet_of_categories,
    "polars write_parquet, uint64": _polars_parquet,
    "polars write_parquet, times": _polars_parquet_of_times,
    "polars write_csv": _polars_csv,
    "duckdb COPY csv": lambda path: _duckdb(path, "FORMAT csv, HEADER"),
    "duckdb COPY parquet": lambda path: _duckdb(path, "FORMAT parquet"),
    "csv module": lambda path: written(path, _frame().fillna({"R_bps": ""}).to_dict("records")),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_file_of_other_code_is_read_to_the_nanosecond(file, writer):
    writer(file)
    entries = read_entries(file)
    first = 2 if entries.unit == "line" else 1
    types = [SigType.MOMENTUM, SigType.DIVERGENCE, SigType.RECLAIM, SigType.MOMENTUM]
    assert list(entries.rows) == [
        UserEntry(first + i, TS + i * 10**9, 1 - 2 * (i % 2), types[i], 3500.25, (12.5, None, 20.0, None)[i])
        for i in range(4)
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_a_timestamp_column_is_an_instant_whatever_its_unit_and_zone(file, unit, zone):
    whole = TS // 10**9 * 10**9
    times = pa.array([whole], pa.timestamp("ns", "UTC")).cast(pa.timestamp(unit, zone))
    pq.write_table(pa.Table.from_pylist([ROW]).set_column(0, "ts_ns", times), file)
    assert read_entries(file).rows[0].ts_ns == whole


# ---------------------------------------------------------------- columns


def test_missing_and_unknown_columns_are_all_named_with_what_was_meant(file):
    said = refused(text(file, "1,2,3,4,5", header="Timestamp,direction,signals,prise,colour"))
    for part in (
        *(f"no column {name}" for name in ROW),
        "unknown column 'Timestamp' (ts_ns?)",
        "unknown column 'direction' (side?)",
        "unknown column 'prise' (price?)",
        "unknown column 'colour'.",
    ):
        assert part in said, said


def test_a_column_that_is_there_is_not_offered_again(file):
    said = refused(text(file, "1,2,3,4,5", header="ts_ns,side,sig_type,price,timestamp"))
    assert "unknown column 'timestamp'." in said


def test_a_column_twice(file):
    assert "column 'side' 2 times" in refused(text(file, "1,1,1,momentum,3", header="ts_ns,side,side,sig_type,price"))


def test_the_index_that_pandas_writes_is_recognised(file):
    _frame().to_csv(file)
    assert "index=False" in refused(file)


def test_other_separators_are_recognised(file):
    assert "Separate the columns by commas" in refused(text(file, header="ts_ns;side;sig_type;price"))


def test_columns_of_parquet(file):
    pq.write_table(pa.Table.from_pylist(rows(2)).rename_columns(["ts_ns", "side", "kind", "price"]), file)
    said = refused(file)
    assert "no column sig_type" in said
    assert "unknown column 'kind' (sig_type?)" in said


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("ts_ns", pa.array([1.7e18]), "ts_ns is double, not an integer or a timestamp: a float keeps a time only to"),
        ("ts_ns", pa.array(["2026-01-05"]), "ts_ns is string"),
        ("ts_ns", pa.array([20_000], pa.date32()), "ts_ns is date32"),
        ("side", pa.array([True]), "side is bool, not a number or text"),
        ("sig_type", pa.array([0]), "sig_type is int64, not text"),
        ("price", pa.array(["3500"]), "price is string, not a number"),
        ("R_bps", pa.array(["3"]), "R_bps is string, not a number"),
        ("exp_reward_bps", pa.array([True]), "exp_reward_bps is bool, not a number"),
        ("tier", pa.array([1]), "tier is int64, not text"),
        ("symbol", pa.array([1]), "symbol is int64, not text"),
    ],
)
def test_a_type_that_cannot_be_right_is_named(file, column, values, says):
    columns = {name: pa.array([value]) for name, value in ROW.items()} | {column: values}
    pq.write_table(pa.table(columns), file)
    assert says in refused(file)


# ---------------------------------------------------------------- rows


FAULTS = [
    ("ts_ns", "", "ts_ns is empty"),
    ("ts_ns", "1.767571200123456789e18", "is not an integer, and a float keeps a time only to 256 ns"),
    ("ts_ns", "1767571200123456789.0", "is not an integer"),
    ("ts_ns", "1767571200", "looks like seconds: multiply by 1,000,000,000"),
    ("ts_ns", "1767571200123", "looks like milliseconds: multiply by 1,000,000"),
    ("ts_ns", "1767571200123456", "looks like microseconds: multiply by 1,000"),
    ("ts_ns", "-5", "ts_ns -5 is no time in ns UTC"),
    ("ts_ns", "9" * 20, "is no time in ns UTC"),
    ("ts_ns", "9" * 9_000, "..."),
    ("ts_ns", "soon", "ts_ns 'soon' is no time"),
    ("ts_ns", "2026-01-05T00:00:00+01:00", "is not in UTC"),
    ("ts_ns", "2026-02-30T00:00:00Z", "is no time"),
    ("side", "", "side is empty"),
    ("side", "0", "side '0' is neither 1, buy, long nor -1, sell, short"),
    ("side", "1.0000001", "is neither"),
    ("side", "up", "is neither"),
    ("sig_type", "", "sig_type is empty"),
    ("sig_type", "momentun", "sig_type 'momentun' is unknown (momentum?)"),
    ("sig_type", "xyz", "is none of momentum, divergence, liquidation, reclaim, reversion"),
    ("price", "", "price is empty"),
    ("price", "0", "price '0' is not a positive and finite number"),
    ("price", "-3500", "is not a positive"),
    ("price", "nan", "is not a positive"),
    ("price", "1e999", "is not a positive"),
    ("price", "3_500", "is not a positive"),
    ("price", "3,500.25", "is not a positive"),
    ("R_bps", "0", "R_bps '0' is not a positive and finite number"),
    ("R_bps", "inf", "R_bps 'inf' is not"),
    ("exp_reward_bps", "-1", "exp_reward_bps '-1' is not"),
    ("exp_reward_bps", "nan", "exp_reward_bps 'nan' is not"),
    ("tier", "D", "tier 'D' is none of A, B, C"),
]


@pytest.mark.parametrize(("column", "value", "says"), FAULTS)
def test_a_value_that_cannot_be_is_told_with_its_line(file, column, value, says):
    records = [dict.fromkeys(("R_bps", "exp_reward_bps", "tier"), "") | row for row in rows(4)]
    records[2][column] = value
    said = refused(written(file, records))
    assert "1 of 4 entries cannot be used\n  line 4: " in said
    assert says in said
    assert len(said) < 600


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("ts_ns", None, "ts_ns is empty"),
        ("ts_ns", TS // 1_000_000, "ts_ns 1767571200123 looks like milliseconds"),
        ("side", 0, "side 0 is neither"),
        ("side", None, "side is empty"),
        ("sig_type", "", "sig_type is empty"),
        ("price", math.nan, "price nan is not"),
        ("price", math.inf, "price inf is not"),
        ("price", None, "price is empty"),
        ("exp_reward_bps", Decimal("-1.50"), "exp_reward_bps -1.5 is not"),
        ("R_bps", -1.0, "R_bps -1.0 is not"),
        ("R_bps", math.nan, "R_bps nan is not"),
    ],
)
def test_a_value_of_parquet_is_told_with_its_row(file, column, value, says):
    records = [{"R_bps": None, "exp_reward_bps": None} | row for row in rows(4)]
    records[2][column] = value
    records[0]["R_bps"] = 1.0
    pq.write_table(pa.Table.from_pylist(records), file)
    assert f"1 of 4 entries cannot be used\n  row 3: {says}" in refused(file)


def test_rows_of_parquet_are_counted_across_row_groups(file):
    records = rows(10)
    records[7]["price"] = 0.0
    pq.write_table(pa.Table.from_pylist(records), file, row_group_size=3)
    assert "\n  row 8: price 0.0" in refused(file)


def test_lines_are_those_of_the_file(file):
    """Blank lines and line breaks in quotes count, as they do in an editor."""
    file.write_bytes(
        b"ts_ns,side,sig_type,price,symbol\r\n"  # 1
        b"\r\n"
        b'1767571200000000000,1,momentum,3500,"ETH\r\nUSDT"\r\n'  # 3 and 4
        b"   \r\n"
        b"1767571201000000000,1,momentum,0,\r\n"  # 6
        b'1767571202000000000,1,"mo\nmentum",3500,\r\n'  # 7 and 8
        b"1767571203000000000,2,momentum,3500,"  # 9
    )
    said = refused(file)
    assert "3 of 4 entries" in said
    assert [f"line {n}: " in said for n in range(1, 11)] == [n in (6, 7, 9) for n in range(1, 11)]


def test_every_fault_of_ten_lines_is_told_and_the_rest_is_counted(file):
    said = refused(written(file, rows(47, side=5, price=0)))
    assert "47 of 47 entries cannot be used" in said
    assert [f"line {n}: side '5'" in said for n in range(2, 49)] == [n < 12 for n in range(2, 49)]
    assert said.count("price '0'") == 10
    assert "\n  ... and 37 more." in said


def test_ten_lines_are_told_without_a_rest(file):
    assert "more" not in refused(written(file, rows(10, price=0)))


def test_the_same_time_and_side_again(file):
    again = [*rows(3), ROW | {"side": "buy", "sig_type": "reversion"}, ROW | {"side": -1}]
    said = refused(written(file, again))
    assert "1 of 5 entries cannot be used\n  line 5: the time and side of line 2 again" in said


def test_two_symbols_may_trade_at_one_time(file):
    assert len(read_entries(written(file, [ROW | {"symbol": "A"}, ROW | {"symbol": "B"}]))) == 2


def test_a_line_of_another_length(file):
    said = refused(text(file, f"{TS},1,momentum,3500", f"{TS},1,momentum", f"{TS + 1},1,momentum,3,4"))
    assert "line 3: 3 values in 4 columns" in said
    assert "line 4: 5 values in 4 columns" in said


def test_a_quote_that_never_ends(file):
    said = refused(text(file, f"{TS},1,momentum,3500", f'{TS + 1},1,"momentum,3500', f"{TS + 2},1,momentum,3500"))
    assert "line 3: cannot be read from here on" in said


# ---------------------------------------------------------------- files that are none


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\xff",
        b"PAR1 no",
        b"\x1f\x8b no",
        gzip.compress(b"ts_ns,side\n" * 99)[:-20],
        "ü".encode("utf-16"),
    ],
    ids=["picture", "parquet", "gzip", "cut gzip", "utf-16"],
)
def test_an_unreadable_file(file, content):
    file.write_bytes(content)
    assert "cannot be read" in refused(file)


def test_a_parquet_file_with_damage_inside(file):
    pq.write_table(pa.Table.from_pylist(rows(5_000)), file, compression="zstd")
    whole = bytearray(file.read_bytes())
    whole[40:400] = b"\xff" * 360
    file.write_bytes(whole)
    assert "cannot be read" in refused(file)


def test_an_empty_file_a_folder_and_none(tmp_path, file):
    file.write_bytes(b"")
    assert "is empty" in refused(file)
    assert "is a folder" in refused(tmp_path)
    assert "no file" in refused(tmp_path / "none.csv")


def test_a_disk_that_fails_is_not_taken_for_a_damaged_file(file, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    written(file, rows(1))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError):
        read_entries(file)


def test_the_hash_is_of_the_content(tmp_path):
    a, b = written(tmp_path / "a", rows(3)), written(tmp_path / "b", rows(3))
    assert entries_sha256(a) == entries_sha256(b)
    assert entries_sha256(a) != entries_sha256(written(tmp_path / "c", rows(4)))
    with pytest.raises(InputError, match="no file"):
        entries_sha256(tmp_path / "none")
