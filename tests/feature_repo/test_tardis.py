"""Tardis CSV: what a file is, and what its lines become."""

from __future__ import annotations

import gzip
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    FUNDING,
    GAP,
    KIND_MASK,
    LIQUIDATION,
    SELL,
    TRADE,
)
from feature_repo.market.stream import BadRows
from feature_repo.market.tardis import TardisReader
from feature_repo.market.tardis_head import VENUES, head_of

from .tardis_plain import BOOK, QUOTES, START_US, TICKER, TRADES, book_header, line, write
from .tardis_read import BREAK, CLEAR, SET, read, snapshot, told

DAY_MS = 86_400_000

# --- what a file is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "text", "data_type"),
    [
        (BOOK, line(0, "true", "bid", 1, 1), "incremental_book_L2"),
        (TRADES, line(0, 7, "buy", 1, 1), "trades"),
        (TRADES, line(0, "", "buy", 1, 1), "liquidations"),
        (QUOTES, line(0, 1, 2, 1, 1), "quotes"),
        (TICKER, line(0, "", "", "", "", "", "", ""), "derivative_ticker"),
        (TICKER.replace("predicted_funding_rate,", ""), line(0, "", "", "", "", "", ""), "derivative_ticker"),
        (book_header(25), line(0, *["2", "1", "1", "1"], *[""] * 96), "book_snapshot_25"),
        (book_header(5), line(0, *[""] * 20), "book_snapshot_5"),
    ],
)
@pytest.mark.parametrize("name", ["x", "x.gz"])
def test_the_header_tells_the_type_whatever_the_name(tmp_path, header, text, data_type, name):
    head = head_of(write(tmp_path / name, header, [text]))
    assert (head.data_type, head.exchange, head.symbol) == (data_type, "binance-futures", "ETHUSDT")
    assert head.first_ns == (START_US + 2_000) * 1_000


def test_early_bybit_liquidations_are_numbered_and_told_by_their_path(tmp_path):
    for folder, data_type in (("trades", "trades"), ("liquidations", "liquidations")):
        path = write(tmp_path / folder / "a.csv", TRADES, [line(0, 5, "buy", 1, 1, exchange="bybit")])
        assert head_of(path).data_type == data_type
    path = write(tmp_path / "liquidations" / "b.csv", TRADES, [line(0, "3f2c-11", "buy", 1, 1, exchange="bybit")])
    assert head_of(path).data_type == "trades"


def test_the_first_line_that_can_be_used_counts(tmp_path):
    head = head_of(write(tmp_path / "a", BOOK, ["rubbish", line(0, "maybe", "bid", 1, 1), *snapshot(5)]))
    assert head.first_ns == (START_US + 7_000) * 1_000
    head = head_of(write(tmp_path / "b", TRADES, []))
    assert (head.exchange, head.symbol, head.first_ns) == ("", "", 0)
    head = head_of(write(tmp_path / "c", TRADES, ["binance-futures,ETHUSDT,1,1,1,buy,1,1"]))
    assert (head.exchange, head.symbol, head.first_ns) == ("binance-futures", "ETHUSDT", 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b rubbish",
        gzip.compress(b"1721347021000000000 {}\n"),
        b"1721347021000000000 {}\n",
        b"PK\x03\x04",
        f"{BOOK},extra\n".encode(),
        BOOK.replace("side", "sides").encode(),
        b"exchange,symbol,timestamp,local_timestamp\n",
        b"exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[1].price,bids[1].amount\n",
    ],
    ids=["empty", "rubbish", "packed lines", "lines", "zip", "a column more", "another name", "short", "odd levels"],
)
def test_other_files_are_left_to_others(tmp_path, content):
    path = tmp_path / "incremental_book_L2.csv"
    path.write_bytes(content)
    assert head_of(path) is None
    with pytest.raises(InputError, match="does not begin with the header of a Tardis CSV"):
        TardisReader([path], BadRows())
    assert head_of(tmp_path) is None
    assert head_of(tmp_path / "none") is None


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.sampled_from([b"", f"{BOOK}\n".encode(), f"{TRADES}\n".encode()]))
def test_no_content_makes_the_head_fail(tmp_path_factory, content, packed, header):
    path = tmp_path_factory.getbasetemp() / "garbage"
    path.write_bytes(gzip.compress(header + content) if packed else header + content)
    head_of(path)


# --- what lines become ---------------------------------------------------------------------------------------------


def test_every_type_in_its_place_at_one_time(tmp_path):
    book = write(tmp_path / "book.csv.gz", BOOK, [*snapshot(0), line(5, "false", "bid", 100, 3)])
    trades = write(tmp_path / "trades.csv.gz", TRADES, [line(5, 1, "sell", 100, 0.5), line(6, 2, "buy", 101, 0.25)])
    forced = write(tmp_path / "forced.csv.gz", TRADES, [line(5, "", "sell", 99.5, 4)])
    quotes = write(tmp_path / "quotes.csv", QUOTES, [line(5, 2, 101, 100, 3), line(7, "", "", 100, 3)])
    ticker = write(
        tmp_path / "ticker.csv",
        TICKER,
        [
            line(1, "", "0.0001", "", "", "", "", ""),
            line(5, 1_722_499_200_000_000, "-0.0001", "", 7, 100.2, 100.3, 100.25),
            line(6, 1_722_499_200_000_000, "-0.0001", "", 8, 100.3, 100.4, 100.25),
            line(8, "", "-0.0001", "", 8, 100.3, 100.4, 100.5),
        ],
    )
    rows, reader = read(quotes, ticker, book, forced, trades)
    assert told(rows) == [
        *SET,
        (TRADE | SELL, 100.0, 0.5),
        (LIQUIDATION | SELL, 99.5, 4.0),
        (FUNDING, 100.25, 0.0),
        (DEPTH_BBO | BUY, 100.0, 3.0),
        (DEPTH_BBO | SELL, 101.0, 2.0),
        (DEPTH | BUY, 100.0, 3.0),
        (TRADE | BUY, 101.0, 0.25),
        (DEPTH_BBO | BUY, 100.0, 3.0),
        (FUNDING, 100.5, 0.0),
    ]
    funding = rows[rows["ev"] == FUNDING]
    assert funding["fval"].tolist() == [-0.0001, -0.0001]
    assert funding["ival"].tolist() == [1_722_499_200_000_000_000, 0]
    assert rows["exch_ts"][0] == START_US * 1_000
    assert (rows["local_ts"] - rows["exch_ts"] == 2_000_000).all()
    assert (reader.venue, reader.symbol, reader.done) == ("binance_usdm", "ETHUSDT", reader.size)
    facts = reader.facts()
    assert facts["messages"] == {
        "incremental_book_L2": 3,
        "trades": 2,
        "liquidations": 1,
        "quotes": 2,
        "derivative_ticker": 4,
    }
    assert facts["depth"] == {"snapshots": 1}
    assert [s["lines"] for s in facts["sources"]] == [3, 4, 1, 2, 2]
    assert all(len(s["sha256"]) == 64 for s in facts["sources"])


def test_diffs_before_the_first_snapshot_are_dropped_and_counted(tmp_path):
    rows, reader = read(write(tmp_path / "a", BOOK, [line(0, "false", "bid", 99, 1), *snapshot(1)]))
    assert told(rows) == SET
    assert reader.facts()["depth"] == {"depth_before_snapshot": 1, "snapshots": 1}


def test_empty_levels_of_a_snapshot_are_none(tmp_path):
    rows, reader = read(write(tmp_path / "a", BOOK, [*snapshot(0), line(0, "true", "bid", 98, 0)]))
    assert told(rows) == SET
    assert reader.facts()["depth"]["empty_snapshot_levels"] == 1


def test_a_snapshot_within_a_day_follows_a_gap(tmp_path):
    lines = [*snapshot(0), line(1, "false", "bid", 99, 1), *snapshot(900), *snapshot(901)]
    rows, _ = read(write(tmp_path / "a", BOOK, lines))
    assert told(rows) == [*SET, (DEPTH | BUY, 99.0, 1.0), BREAK, *SET, BREAK, *SET]


def test_a_lost_line_ends_the_book_until_a_snapshot_that_cannot_lack_it(tmp_path):
    diff = line(1, "false", "bid", 99, 1)
    cases = [
        ([*snapshot(0), "lost", diff, *snapshot(9)], [*SET, BREAK, *SET]),
        ([*snapshot(0), "lost", *snapshot(9), *snapshot(10)], [*SET, BREAK, *SET]),
        ([snapshot(0)[0], "lost", snapshot(0)[1], diff, *snapshot(9)], [*SET[:3], BREAK, *SET]),
        (["lost", *snapshot(0), diff], []),
        ([*snapshot(0), diff, "lost"], [*SET, (DEPTH | BUY, 99.0, 1.0), BREAK]),
    ]
    for n, (lines, wanted) in enumerate(cases):
        rows, reader = read(write(tmp_path / str(n), BOOK, lines), share=1.0)
        assert told(rows) == wanted
        assert reader.bad.reasons == {"incremental_book_L2: wrong number of fields": 1}
    assert read(tmp_path / "0", share=1.0)[1].facts()["depth"] == {"snapshots": 2, "depth_after_gap": 1}
    assert read(tmp_path / "2", share=1.0)[1].facts()["depth"]["snapshots_spoiled"] == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_day_that_is_cut_off_ends_its_book(tmp_path, packed):
    """The next file begins less than 10 s later, but lines between are lost."""
    lines = [line(n, "false", "bid", 90 + n % 9, 1 + n) for n in range(1, 9_000)]
    if packed:
        first = write(tmp_path / "a.gz", BOOK, [*snapshot(0), *lines])
        first.write_bytes(first.read_bytes()[:-40])
    else:
        first = write(tmp_path / "a", BOOK, [*snapshot(0), *lines, "binance-fut"], end="")
    rows, reader = read(first, write(tmp_path / "b", BOOK, snapshot(9_001)), share=0.01)
    assert told(rows)[-5:] == [BREAK, *SET]
    assert reader.bad.reasons == {"the file is cut off": 1}


@pytest.mark.parametrize(
    ("pause_ms", "second", "wanted"),
    [
        (9_999, snapshot(DAY_MS), SET),
        (10_000, snapshot(DAY_MS), [BREAK, *SET]),
        (9_999, [line(DAY_MS, "false", "bid", 98, 1), *snapshot(DAY_MS + 1)], [(DEPTH | BUY, 98.0, 1.0), *SET]),
        (10_000, [line(DAY_MS, "false", "bid", 98, 1), *snapshot(DAY_MS + 1)], [BREAK, *SET]),
    ],
)
def test_a_day_file_continues_the_one_before_unless_there_is_a_pause(tmp_path, pause_ms, second, wanted):
    first = [*snapshot(0), line(DAY_MS - pause_ms, "false", "bid", 99, 1)]
    late, early = write(tmp_path / "a", BOOK, second), write(tmp_path / "b", BOOK, first)
    rows, reader = read(late, early)
    assert told(rows) == [*SET, (DEPTH | BUY, 99.0, 1.0), *wanted]
    assert [s["name"] for s in reader.facts()["sources"]] == ["b", "a"]


def test_a_time_that_tardis_had_to_make_up_is_the_one_before(tmp_path):
    """Spot depth snapshots and best quotes have no exchange time; Tardis then repeats local_timestamp."""
    at = f"{START_US + 2_000}"
    book = [f"binance,ETHUSDT,{at},{at},true,bid,100,1", f"binance,ETHUSDT,{at},{at},true,ask,101,1"]
    book.append(line(3, "false", "bid", 99, 1, exchange="binance"))
    quote = f"binance,ETHUSDT,{START_US + 9_000},{START_US + 9_000},1,101,100,1"
    rows, _ = read(write(tmp_path / "a", BOOK, book), write(tmp_path / "q", QUOTES, [quote]))
    exch = (START_US + 3_000) * 1_000
    assert rows["exch_ts"].tolist() == [0, 0, 0, 0, exch, exch, exch]


def test_contracts_become_base_units_where_the_contract_is_linear(tmp_path):
    okx = {"exchange": "okex-swap", "symbol": "ETH-USDT-SWAP"}
    rows, reader = read(
        write(tmp_path / "a", TRADES, [line(0, 1, "buy", 3_000, 3, **okx), line(0, 2, "buy", 3_000, 12.5, **okx)]),
        write(tmp_path / "b", QUOTES, [line(1, 7, 3_001, 3_000, 1, **okx)]),
        write(tmp_path / "c", TICKER, [line(2, "", 0.0001, "", "", "", "", 3_000, **okx)]),
    )
    assert (reader.venue, reader.symbol) == ("okx_swap", "ETH-USDT-SWAP")
    assert told(rows)[:4] == [
        (TRADE | BUY, 3_000.0, 0.3),
        (TRADE | BUY, 3_000.0, 1.25),
        (DEPTH_BBO | BUY, 3_000.0, 0.1),
        (DEPTH_BBO | SELL, 3_001.0, 0.7),
    ]
    assert rows["fval"][-1] == 0.0001
    coin = {"exchange": "binance-delivery", "symbol": "ETHUSD_PERP"}
    rows, _ = read(write(tmp_path / "d", TRADES, [line(0, 1, "buy", 3_000, 3, **coin)]))
    assert told(rows) == [(TRADE | BUY, 3_000.0, 3.0)]


def test_every_exchange_has_a_venue_that_the_instrument_table_knows():
    from feature_repo.instruments import INSTRUMENTS

    assert set(VENUES.values()) <= {venue for venue, _ in INSTRUMENTS}


# --- book snapshots ------------------------------------------------------------------------------------------------


def levels(asks: dict[int, float], bids: dict[int, float], depth: int = 3) -> list[object]:
    """Fields of a book_snapshot line."""
    out: list[object] = []
    up, down = sorted(asks.items()), sorted(bids.items(), reverse=True)
    for n in range(depth):
        out += [*(up[n] if n < len(up) else ("", "")), *(down[n] if n < len(down) else ("", ""))]
    return out


def test_book_snapshots_become_changes(tmp_path):
    lines = [
        line(0, *levels({11: 1, 12: 2}, {10: 1})),
        line(1, *levels({11: 1, 12: 3, 13: 1}, {10: 1})),
        line(2, *levels({12: 3, 13: 1}, {11: 2, 10: 1})),
        line(3, *levels({12: 3, 13: 1}, {11: 2, 10: 1})),
    ]
    rows, reader = read(write(tmp_path / "a", book_header(3), lines))
    assert told(rows) == [
        *CLEAR,
        (DEPTH_SNAPSHOT | BUY, 10.0, 1.0),
        (DEPTH_SNAPSHOT | SELL, 11.0, 1.0),
        (DEPTH_SNAPSHOT | SELL, 12.0, 2.0),
        (DEPTH | SELL, 12.0, 3.0),
        (DEPTH | SELL, 13.0, 1.0),
        (DEPTH | BUY, 11.0, 2.0),
        (DEPTH | SELL, 11.0, 0.0),
    ]
    assert reader.facts()["messages"] == {"book_snapshot_3": 4}


@pytest.mark.parametrize(("pause_ms", "gaps"), [(599_999, 0), (600_000, 1)])
def test_a_pause_between_days_of_book_snapshots_is_a_gap(tmp_path, pause_ms, gaps):
    book = levels({11: 1}, {10: 1})
    rows, _ = read(
        write(tmp_path / "a", book_header(3), [line(DAY_MS - pause_ms, *book)]),
        write(tmp_path / "b", book_header(3), [line(DAY_MS, *book)]),
    )
    assert len(rows) == 4 + gaps * 5
    assert np.count_nonzero(rows["ev"] == GAP) == gaps


def test_replayed_changes_are_the_lines_again(tmp_path):
    chance = random.Random(5)
    book: dict[int, dict[int, float]] = {0: {}, 1: {}}
    lines, wanted = [], []
    for n in range(3_000):  # more than are converted at once
        mid = 100 + n // 100
        for side, sign in ((0, -1), (1, 1)):
            book[side] = {p: q for p, q in book[side].items() if sign * (p - mid) > 0}
            book[side][mid + sign * chance.randint(1, 40)] = chance.randint(1, 9)
        best = [dict(sorted(book[s].items(), reverse=not s)[:25]) for s in (0, 1)]
        lines.append(line(n, *levels(best[1], best[0], 25)))
        wanted.append(best)
    rows, _ = read(write(tmp_path / "a.gz", book_header(25), lines))
    held: list[dict[float, float]] = [{}, {}]
    found = {}
    for ev, ns, px, qty in rows[["ev", "local_ts", "px", "qty"]].tolist():
        side = held[0] if ev & BUY else held[1]
        if ev & KIND_MASK == DEPTH_CLEAR:
            side.clear()
        elif qty:
            side[px] = qty
        else:
            del side[px]
        found[(ns // 1_000 - START_US - 2_000) // 1_000] = [dict(held[0]), dict(held[1])]
    now: list[dict[float, float]] = []
    for n, best in enumerate(wanted):
        now = found.get(n, now)
        assert now == best, n


def test_only_the_best_book_there_is_gets_read(tmp_path):
    shallow = write(tmp_path / "s", book_header(5), [line(0, *levels({11: 1}, {10: 1}, 5))])
    deep = write(tmp_path / "d", book_header(25), [line(0, *levels({11: 1}, {10: 1}, 25))])
    rows, reader = read(shallow, deep)
    assert len(rows) == 4
    assert reader.facts()["skipped"] == {"book_snapshot_5 beside book_snapshot_25 (files)": 1}
    rows, reader = read(shallow, deep, write(tmp_path / "b", BOOK, snapshot(0)))
    assert told(rows) == SET
    assert reader.facts()["skipped"] == {
        "book_snapshot_5 beside incremental_book_L2 (files)": 1,
        "book_snapshot_25 beside incremental_book_L2 (files)": 1,
    }
    assert reader.done == reader.size
