"""Tardis CSV: what is counted and what is refused."""

from __future__ import annotations

import threading

import pytest

from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    TRADE,
)
from feature_repo.market import tardis
from feature_repo.market.stream import BadRows
from feature_repo.market.tardis import TardisReader

from .tardis_plain import BOOK, QUOTES, START_US, TRADES, line, write
from .tardis_read import SET, read, snapshot, told

DAY_MS = 86_400_000

# --- what is counted -----------------------------------------------------------------------------------------------

GOOD = [line(n, n, "buy", 100, 1) for n in range(1, 4)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(2, 9, "buy", 100), "trade: wrong number of fields"),
        ("", "trade: wrong number of fields"),
        (line(2, 9, "buy", 100, 1, exchange="binance"), "trade: another exchange"),
        (line(2, 9, "buy", 100, 1, symbol="BTCUSDT"), "trade: another symbol"),
        (line(2, 9, "unknown", 100, 1), "trade: side is neither buy nor sell"),
        (line(2, 9, "buy", "ten", 1), "trade: price is no number"),
        (line(2, 9, "buy", "nan", 1), "trade: price is not finite"),
        (line(2, 9, "buy", 0, 1), "trade: price is zero"),
        (line(2, 9, "buy", -100, 1), "trade: price is negative"),
        (line(2, 9, "buy", 100, -1), "trade: amount is negative"),
        (line(2, 9, "buy", 1e13, 1), "trade: price is too large"),
        (line(2, 1, "buy", 100, 1), "trade: duplicate id"),
        (line(2, 9, "buy", 100, 1).replace("1722470400", "172247040"), "trade: timestamp is no time in us"),
        (line(-DAY_MS - 5, 9, "buy", 100, 1).replace(str(START_US - 86_400_003_000), str(START_US + 3_000)),
         "trade: timestamp is more than a day from local_timestamp"),
    ],
)  # fmt: skip
def test_bad_rows_are_counted_by_reason_and_line(tmp_path, bad, reason):
    path = write(tmp_path / "a.csv", TRADES, [GOOD[0], bad, *GOOD[1:]])
    rows, reader = read(path, share=0.25)
    assert told(rows) == [(TRADE | BUY, 100.0, 1.0)] * 3
    assert reader.bad.reasons == {reason: 1}
    assert reader.bad.first == {"file": "a.csv", "line": 3, "reason": reason}
    assert reader.bad.rows == 4
    with pytest.raises(InputError, match=f"a.csv, line 3: {reason}") as caught:
        read(path, share=0.2)
    assert "the first of 1 unusable rows among 4" in str(caught.value)


def test_a_clock_that_steps_back_is_held_and_counted(tmp_path):
    lines = [line(3, 1, "buy", 100, 1), line(1, 2, "buy", 100, 1)]
    rows, reader = read(write(tmp_path / "a", TRADES, lines), share=0.5)
    assert rows["local_ts"].tolist() == [(START_US + 5_000) * 1_000] * 2
    assert rows["exch_ts"].tolist() == [(START_US + 3_000) * 1_000, (START_US + 1_000) * 1_000]
    assert reader.bad.reasons == {"local time steps back": 1}
    assert reader.facts()["local_backwards"] == 1


@pytest.mark.parametrize(
    ("exchange", "ids", "left"),
    [
        ("binance", ["5", "7", "6", "7", "8"], 3),  # trade ids of one symbol rise
        ("bybit-spot", ["5", "7", "6", "7", "7"], 4),
        ("bybit-spot", ["", "", "a", "a"], 3),
    ],
)
def test_ids_that_were_there_are_dropped(tmp_path, exchange, ids, left):
    lines = [line(n, name, "buy", 100, 1, exchange=exchange) for n, name in enumerate(ids)]
    path = write(tmp_path / "trades", TRADES, [line(0, 1, "buy", 100, 1, exchange=exchange), *lines])
    rows, reader = read(path, share=1.0)
    assert len(rows) == 1 + left
    assert reader.bad.reasons == {"trade: duplicate id": len(ids) - left}


def test_a_trade_of_quantity_zero_is_no_trade(tmp_path):
    rows, reader = read(write(tmp_path / "a", TRADES, [*GOOD, line(9, 9, "buy", 0, 0)]))
    assert len(rows) == 3
    assert reader.facts()["skipped"] == {"trade of quantity zero": 1}


def test_a_file_that_is_cut_off_is_used_as_far_as_it_goes(tmp_path):
    lines = [line(n, n, "buy", 100 + n % 7, 1) for n in range(5_000)]
    whole = write(tmp_path / "whole.csv.gz", TRADES, lines).read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    rows, reader = read(tmp_path / "cut.csv.gz", share=0.01)
    assert 1_000 < len(rows) < 4_000
    assert reader.bad.reasons == {"the file is cut off": 1}
    assert reader.bad.first["line"] == len(rows) + 2
    plain = write(tmp_path / "cut.csv", TRADES, [*lines, lines[-1][:40]], end="")
    rows, reader = read(plain, share=0.01)
    assert (len(rows), reader.bad.reasons) == (5_000, {"the file is cut off": 1})
    assert reader.bad.first["line"] == 5_002
    rows, reader = read(write(tmp_path / "end.csv", TRADES, lines, end=""))
    assert len(rows) == 5_000


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_cut_off_is_not_refused_for_it_however_short_it_is(tmp_path, packed):
    if packed:
        path = write(tmp_path / "a.csv.gz", TRADES, GOOD)
        path.write_bytes(path.read_bytes()[:-4])  # of its end mark
    else:
        path = write(tmp_path / "a.csv", TRADES, [*GOOD, GOOD[0][:40]], end="")
    rows, reader = read(path, share=0.01)
    assert told(rows) == [(TRADE | BUY, 100.0, 1.0)] * 3
    assert reader.bad.reasons == {"the file is cut off": 1}
    assert reader.bad.first["line"] == 5


def test_each_file_is_judged_by_itself(tmp_path):
    good = write(tmp_path / "good", TRADES, [line(n, n, "buy", 100, 1) for n in range(1_000)])
    poor = write(tmp_path / "poor", QUOTES, [line(0, 1, 2, 1, 1), line(1, 1, 1, 0, 1)])
    with pytest.raises(InputError, match="poor, line 3: quote: bid_price is zero"):
        read(good, poor, share=0.01)


def test_a_file_that_is_poor_in_usable_lines_says_its_first_reason(tmp_path):
    path = write(tmp_path / "a", TRADES, ["binance-futures,ETHUSDT,1,1,1,buy,1,1"] * 5)
    with pytest.raises(InputError, match="a, line 2: trade: timestamp is no time in us"):
        read(path, share=0.01)


def test_a_reader_that_is_left_closes_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tardis, "_BLOCK_BYTES", 1_000)
    lines = [line(n, n, "buy", 100, 1) for n in range(1_000)]
    names = ("blocks of a.csv", "blocks of b.csv")
    path = write(tmp_path / "a.csv", TRADES, lines)
    quotes = write(tmp_path / "b.csv", QUOTES, [line(n, 1, 101, 100, 1) for n in range(1_000)])
    chunks = TardisReader([path, quotes], BadRows()).chunks()
    next(chunks)
    assert any(t.name in names for t in threading.enumerate())
    chunks.close()
    assert not any(t.name in names for t in threading.enumerate())


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_file_that_becomes_another_one_before_it_is_read_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", TRADES, GOOD)
    reader = TardisReader([path], BadRows())
    path.write_text("hello\n")
    with pytest.raises(InputError, match=r"a\.csv was changed while it was read\. Expected a Tardis CSV"):
        list(reader.chunks())


def test_days_that_overlap_are_refused_by_name(tmp_path):
    one = write(tmp_path / "one", TRADES, [line(0, 1, "buy", 1, 1), line(9, 2, "buy", 1, 1)])
    two = write(tmp_path / "two", TRADES, [line(5, 1, "buy", 1, 1)])
    with pytest.raises(InputError, match=r"two begins before .*one ends, both trades"):
        read(two, one)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([line(0, 1, "buy", 1, 1), line(0, 1, "buy", 1, 1, symbol="BTCUSDT")], "is of BTCUSDT on binance-futures, "),
        ([line(0, 1, "buy", 1, 1), line(0, 1, "buy", 1, 1, exchange="binance")], "is of ETHUSDT on binance, "),
        ([line(0, 1, "buy", 1, 1, exchange="deribit")], "is of exchange 'deribit'"),
        ([line(0, 1, "buy", 1, 1, symbol="NONEUSDT")], "0: unknown symbol 'NONEUSDT'"),
    ],
)
def test_what_is_not_one_known_contract_is_refused(tmp_path, files, message):
    paths = [write(tmp_path / str(n), TRADES, [text]) for n, text in enumerate(files)]
    with pytest.raises(InputError, match=message):
        TardisReader(paths, BadRows())


def test_files_without_a_line_are_none_unless_there_is_another(tmp_path):
    empty = write(tmp_path / "empty", TRADES, [])
    with pytest.raises(InputError, match="empty has no line"):
        TardisReader([empty], BadRows())
    rows, reader = read(empty, write(tmp_path / "book", BOOK, snapshot(0)))
    assert told(rows) == SET
    assert [(s["name"], s["lines"]) for s in reader.facts()["sources"]] == [("empty", 0), ("book", 2)]
    with pytest.raises(InputError, match="no file"):
        TardisReader([tmp_path / "none"], BadRows())
