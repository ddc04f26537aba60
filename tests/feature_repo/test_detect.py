"""What lies at a path is told from its content; contracts, days and sources are put together, or refused by name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.events import DEPTH_SNAPSHOT, GAP, KIND_MASK, TRADE
from feature_repo.instruments import INSTRUMENTS
from feature_repo.market import npz
from feature_repo.market.detect import SOURCES, find_data, open_source

from .binance_messages import BOOK, MS, T0, record, spot, trade, usdm
from .test_npz import many

TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"


def binance(path, n=300, start=T0 + 10, **more):
    """A book and trades of ETHUSDT, 1 ms apart."""
    path.parent.mkdir(exist_ok=True)
    messages = [BOOK, *({**trade(t=start + k, **more), "t": start + k} for k in range(n - 1))]
    return record(path, messages, start=start)


def tardis(path, n=300, start=T0 + 10, exchange="binance-futures", symbol="ETHUSDT", first=1):
    path.parent.mkdir(exist_ok=True)
    rows = [TRADES]
    for k in range(n):
        us = (start + k) * 1_000
        rows.append(f"{exchange},{symbol},{us},{us + 900},{first + k},buy,3000.5,0.25")
    text = ("\n".join(rows) + "\n").encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


def array(path, n=400, start=T0 * MS, save=np.savez_compressed):
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as handle:
        save(handle, data=many(n, start=start))
    return path


def contracts(path, **more):
    return [(f.path.name, f.kind, f.venue, f.symbol) for f in find_data(path, **more)]


def read(path, **more):
    source = open_source(path, **more)
    return np.concatenate(list(source.chunks())), source


def kinds(rows):
    return (rows["ev"] & np.uint64(KIND_MASK)).tolist()


# --- one file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "x.gz", "x.csv", "x.npz", "README.md"])
def test_a_file_is_told_by_its_content_whatever_its_name(tmp_path, name):
    binance(tmp_path / "plain.dat").rename(tmp_path / name)
    assert contracts(tmp_path / name) == [(name, "binance", "binance_usdm", "ETHUSDT")]
    binance(tmp_path / "packed.gz").rename(tmp_path / name)
    assert contracts(tmp_path / name) == [(name, "binance", "binance_usdm", "ETHUSDT")]
    for packed in ("t.csv", "t.csv.gz"):
        tardis(tmp_path / packed, exchange="bybit-spot").rename(tmp_path / name)
        assert contracts(tmp_path / name) == [(name, "tardis", "bybit_spot", "ETHUSDT")]
    array(tmp_path / "array").rename(tmp_path / name)
    assert contracts(tmp_path / name) == [(name, "hftbacktest", "", "")]


def test_a_recording_names_its_contract_later_than_in_its_first_line(tmp_path):
    lines = ["}} cut in front", BOOK, "now {}", {"e": "kline"}, spot(101, 102, [["1.2", "1"]], t=T0)]
    assert contracts(record(tmp_path / "x.dat", lines)) == [("x.dat", "binance", "binance_spot", "NEXOUSDT")]
    assert contracts(record(tmp_path / "y.dat", [BOOK, BOOK])) == [("y.dat", "binance", "", "")]
    # A trade only hints at the venue, a diff is sure of it.
    hint = [trade(s="NEXOUSDT", t=T0), spot(101, 102, [["1.2", "1"]], t=T0)]
    assert contracts(record(tmp_path / "h.dat", hint)) == [("h.dat", "binance", "binance_spot", "NEXOUSDT")]
    whole = binance(tmp_path / "z.gz").read_bytes()
    (tmp_path / "z.gz").write_bytes(whole[: len(whole) // 2])
    assert contracts(tmp_path / "z.gz") == [("z.gz", "binance", "binance_usdm", "ETHUSDT")]


NO_DATA = {
    "missing": (lambda p: p, r"x does not exist"),
    "empty": (lambda p: p.touch() or p, r"x is empty"),
    "text": (lambda p: p.write_text("hello\nworld\n") and p, r"x, line 1 is 'hello'\. Expected a tape folder"),
    "bytes": (lambda p: p.write_bytes(b"\x00\x01\x02") and p, r"x, line 1 is 'binary data'"),
    "damaged": (lambda p: p.write_bytes(b"\x1f\x8b garbage") and p, r"x is damaged: no \.gz after its first bytes"),
    "hollow": (lambda p: p.write_bytes(gzip.compress(b"")) and p, r"x is a \.gz with nothing in it"),
    "parquet": (lambda p: p.write_bytes(b"PAR1...") and p, r"x is a Parquet file outside its tape folder"),
    "folder": (lambda p: p.mkdir() or p, r"x holds no market data, only nothing"),
}


@pytest.mark.parametrize("case", NO_DATA)
def test_what_is_no_market_data_is_refused_with_what_it_is(tmp_path, case):
    make, message = NO_DATA[case]
    with pytest.raises(InputError, match=message):
        open_source(make(tmp_path / "x"))


def test_a_file_that_may_not_be_read_is_said_to_be(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(npz, "head_of", refuse)  # root may read everything
    with pytest.raises(InputError, match=r"x\.dat cannot be read \(Permission denied\)"):
        open_source(binance(tmp_path / "x.dat"))


def test_a_folder_that_may_not_be_read_is_said_to_be(tmp_path, monkeypatch):
    binance(tmp_path / "days" / "x.dat")
    inside = Path.iterdir

    def refuse(path):
        if path.name == "days":
            raise PermissionError(13, "Permission denied", str(path))
        return inside(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"days cannot be read \(Permission denied\)\. Expected a readable folder"):
        open_source(tmp_path)


# --- --source --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SOURCES)
def test_source_decides_and_refuses_what_does_not_fit(tmp_path, kind):
    (tmp_path / "LICENSE").write_text("free\n")
    make = {"binance": binance, "tardis": tardis, "hftbacktest": array}
    make[kind](tmp_path / "a.gz")
    assert [f.kind for f in find_data(tmp_path, source=kind)] == [kind]
    other = next(k for k in SOURCES if k != kind)
    with pytest.raises(InputError, match=rf"a\.gz is a file of {kind}\. Expected a file of {other}"):
        find_data(tmp_path, source=other)
    with pytest.raises(InputError, match=rf"LICENSE, line 1 is 'free'\. Expected a file of {kind}"):
        find_data(tmp_path / "LICENSE", source=kind)
    with pytest.raises(InputError, match="unknown source 'csv'"):
        find_data(tmp_path, source="csv")


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_days_with_what_else_lies_there(tmp_path):
    day = tmp_path / "19"
    binance(tmp_path / "b.gz", start=T0 + 5_000)
    binance(day / "a.gz")
    binance(day / ".hidden.gz", start=T0 + 9_000)
    binance(tmp_path / ".cache" / "c.gz", start=T0 + 9_000)
    for name in ("README.md", "LICENSE", "b.gz.sha256", "manifest.json"):
        (tmp_path / name).write_text("nothing of ours\n")
    (day / "empty.txt").touch()
    assert [name for name, *_ in contracts(tmp_path)] == ["a.gz", "b.gz"]
    rows, source = read(tmp_path)
    assert kinds(rows).count(TRADE) == 598
    assert (source.venue, source.symbol, source.simulated) == ("binance_usdm", "ETHUSDT", False)
    assert [s["name"] for s in source.facts()["sources"]] == ["a.gz", "b.gz"]


@pytest.mark.parametrize("name", ["c.gz", "c.dat", "c.csv", "c.jsonl"])
def test_a_file_named_like_data_is_not_passed_over(tmp_path, name):
    binance(tmp_path / "a.gz")
    content = b"nothing of ours\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(InputError, match=rf"{name}, line 1 is 'nothing of ours'"):
        open_source(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"{name} is empty"):
        open_source(tmp_path)


def test_the_same_content_twice_is_refused(tmp_path):
    binance(tmp_path / "a.gz")
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "b").write_bytes((tmp_path / "a.gz").read_bytes())
    with pytest.raises(InputError, match=r"b has the same content as a\.gz"):
        open_source(tmp_path)


def test_one_of_several_contracts_must_be_chosen(tmp_path):
    binance(tmp_path / "a.gz")
    tardis(tmp_path / "b.csv", symbol="BTCUSDT")
    tardis(tmp_path / "c.csv", exchange="bybit")
    there = (
        r"BTCUSDT \(binance_usdm, tardis\), ETHUSDT \(binance_usdm, binance\), ETHUSDT \(bybit, tardis\)"
        r"\. Expected one contract a tape\. Choose one with --symbol"
    )
    with pytest.raises(InputError, match=there):
        open_source(tmp_path)
    with pytest.raises(InputError, match=r"holds ETHUSDT .* Choose one with --venue"):
        open_source(tmp_path, symbol="ETHUSDT")
    with pytest.raises(InputError, match=r"not SOLUSDT\. Expected one of these"):
        open_source(tmp_path, symbol="SOLUSDT")
    with pytest.raises(InputError, match=r"not BTCUSDT on bybit"):
        open_source(tmp_path, symbol="BTCUSDT", venue="bybit")
    assert {s["name"] for s in read(tmp_path, symbol="BTCUSDT")[1].facts()["sources"]} == {"b.csv"}
    rows, source = read(tmp_path, symbol="ETHUSDT", venue="bybit")
    assert (source.venue, len(rows)) == ("bybit", 300)


def test_a_file_that_names_no_contract_goes_with_the_only_one(tmp_path):
    binance(tmp_path / "a.gz")
    record(tmp_path / "b.dat", [{"e": "kline"}, BOOK], start=T0 + 5_000)
    assert read(tmp_path)[1].facts()["lines"] == 302
    tardis(tmp_path / "c.csv", symbol="BTCUSDT")
    with pytest.raises(InputError, match=r"b\.dat names no symbol in its first 2000 lines"):
        open_source(tmp_path, symbol="ETHUSDT")


def test_days_of_different_sources_are_segments_in_order_of_time(tmp_path):
    array(tmp_path / "1.npz", start=(T0 + 40_000) * MS)
    tardis(tmp_path / "2.csv", start=T0 + 20_000)
    tardis(tmp_path / "4.csv", start=T0 + 60_000, first=9_000)
    binance(tmp_path / "3.gz", start=T0)
    (tmp_path / "5.csv").write_text(TRADES + "\n")  # a day without a trade
    rows, source = read(tmp_path, symbol="ETHUSDT")
    facts = source.facts()
    assert [s["kind"] for s in facts["segments"]] == ["binance", "tardis", "hftbacktest", "tardis"]
    names = [s["name"] for s in facts["sources"]]
    assert [n for n in names if n != "5.csv"] == ["3.gz", "2.csv", "1.npz", "4.csv"]
    assert np.all(np.diff(rows["local_ts"]) >= 0)
    # The book does not go on from one source into another.
    assert kinds(rows).count(GAP) == 3
    assert kinds(rows).count(DEPTH_SNAPSHOT) == 4
    seconds = (rows["local_ts"][np.array(kinds(rows)) == GAP] - T0 * MS) / SECOND_NS
    assert [round(float(s)) for s in seconds] == [20, 40, 60]


# --- arrays name no contract -----------------------------------------------------------------------------------------


def test_an_array_needs_its_symbol_and_takes_a_likely_venue(tmp_path):
    file = array(tmp_path / "x.npz")
    with pytest.raises(InputError, match=r"x\.npz is an array of hftbacktest, which does not name its contract"):
        open_source(file)
    rows, source = read(file, symbol="ETHUSDT")
    assert (source.venue, source.symbol, len(rows)) == ("binance_usdm", "ETHUSDT", 400)
    assert source.facts()["venue_assumed"] is True
    assert source.facts()["warnings"] == ["no venue was given: ETHUSDT is taken for that of binance_usdm"]
    rows, source = read(file, symbol="ETHUSDT", venue="binance_spot")
    assert source.venue == "binance_spot"
    assert "venue_assumed" not in source.facts()
    assert read(file, symbol="NEXOUSDT")[1].venue == "binance_spot"
    with pytest.raises(InputError, match=r"said to be of 'FOOUSDT', which is unknown"):
        open_source(file, symbol="FOOUSDT")
    twice = [s for v, s in INSTRUMENTS if v != "simulated" and (("binance_usdm", s) not in INSTRUMENTS)]
    for symbol in {s for s in twice if twice.count(s) > 1}:
        with pytest.raises(InputError, match=rf"said to be of '{symbol}', which is on .* and .*Give --venue"):
            open_source(file, symbol=symbol)


def test_an_array_may_be_of_a_persons_own_contract(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    file = array(tmp_path / "days" / "x.npz")
    with pytest.raises(InputError, match=rf"'FOOUSDT', which is unknown.* add it to {tmp_path}/instruments\.json"):
        open_source(file, symbol="FOOUSDT")
    own = {"venue": "bybit", "symbol": "FOOUSDT", "tick": 0.01, "lot": 0.1, "funding_interval_h": 4}
    (tmp_path / "instruments.json").write_text(json.dumps([own]))
    assert read(file, symbol="FOOUSDT")[1].venue == "bybit"


def test_an_array_beside_named_files_is_of_their_venue(tmp_path):
    array(tmp_path / "x.npz", start=(T0 + 40_000) * MS)
    tardis(tmp_path / "y.csv", exchange="bybit")
    assert read(tmp_path, symbol="ETHUSDT")[1].venue == "bybit"


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_the_share_of_bad_rows_is_a_share(tmp_path, share):
    with pytest.raises(InputError, match=r"a share of .* bad rows"):
        open_source(binance(tmp_path / "x.gz"), max_bad_share=share)


def test_the_share_of_bad_rows_and_the_progress_reach_the_reader(tmp_path):
    lines = [BOOK, *({**trade(t=T0 + k), "t": k} for k in range(299)), "oops", "oops", "oops", "oops"]
    file = record(tmp_path / "x.gz", lines)
    with pytest.raises(InputError, match=r"x\.gz, line 301: .*4 unusable rows among 304"):
        read(file)
    done = []
    _, source = read(file, max_bad_share=0.02, progress=done.append)
    assert sum(source.facts()["bad_rows"].values()) == 4
    assert done == sorted(done)
    assert done[-1] == 1.0


def test_unknown_symbols_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match=r"x\.gz, line 1: unknown symbol 'FOOUSDT'"):
        open_source(record(tmp_path / "x.gz", [usdm(1, 2, 0, s="FOOUSDT")]))
