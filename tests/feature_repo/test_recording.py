"""Recordings on disk: the clock, what is refused and how it is said, then the real ones end to end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from feature_repo.constants import BASE_LATENCY_NS
from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH_BBO,
    KIND_MASK,
)
from feature_repo.market.audit import best_quotes
from feature_repo.market.clock import ClockOffset
from feature_repo.market.recording import read_recording
from feature_repo.market.tape import write_tape

from .binance_messages import BOOK, MS, T0, record, snap, spot, trade, usdm

DATA = Path(__file__).parents[3] / "shared" / "data"

# --- the clock -----------------------------------------------------------------------------------------------------


def test_clock_takes_the_smallest_delay_of_the_first_minute_only():
    clock = ClockOffset()
    second = 1_000 * MS
    for at, delay in ((0, -1_500), (10, -1_520), (59, -1_510)):
        assert not clock.update(at * second, at * second - delay * MS)
    assert clock.update(60 * second, 60 * second + 9_000 * MS)
    assert clock.offset_ns == 1_520 * MS + BASE_LATENCY_NS
    assert ClockOffset().offset_ns == 0


def test_one_constant_for_all_files_of_a_recording(tmp_path):
    # 12 s behind the exchange; in the second file, after the first minute, by 20 s.
    record(tmp_path / "b.gz", [usdm(106, 109, 105, t=T0 + 90_000)], start=T0 + 70_000)
    record(tmp_path / "a.gz", [BOOK, usdm(100, 105, 99, [["98.0", "1"]], t=T0 + 2)], start=T0 - 11_999)
    (tmp_path / "LICENSE").write_text("free\n")
    tape = read_recording(tmp_path)
    assert [s["name"] for s in tape.manifest["sources"]] == ["a.gz", "b.gz"]
    assert tape.manifest["clock"]["offset_ns"] == 12_000 * MS + BASE_LATENCY_NS
    delays = tape.events["local_ts"] - tape.events["exch_ts"]
    assert delays[-1] == BASE_LATENCY_NS
    assert tape.manifest["gaps"] == 0


def test_a_spot_snapshot_on_the_first_line_is_not_after_the_diff_that_continues_it(tmp_path):
    path = record(
        tmp_path / "x.dat", [snap(100, [["1.2", "1"]], [["1.3", "1"]], t=None), spot(101, 101, [["1.1", "1"]], t=T0)]
    )
    events = read_recording(path).events
    assert events["exch_ts"].tolist() == [(T0 * MS) - MS] * 4 + [T0 * MS]
    # All at one local time, the first diff 50 ms older than the next.
    book = snap(100, [["1.2", "1"]], [["1.3", "1"]], t=None)
    diffs = [spot(101, 101, [["1.1", "1"]], t=T0 - 50), spot(102, 102, [["1.1", "2"]], t=T0)]
    late = record(tmp_path / "y.dat", [book, *diffs], step=0)
    assert ((read_recording(late).events["exch_ts"] // MS) - T0).tolist() == [-50] * 5 + [0]


@pytest.mark.parametrize(("unit", "name"), [(1, "ms"), (1_000, "us"), (1_000_000, "ns")])
def test_unit_of_local_ts_by_its_digits(tmp_path, unit, name):
    tape = read_recording(record(tmp_path / "x.dat", [BOOK, usdm(100, 105, 99, [["98.0", "1"]])], unit=unit))
    assert tape.manifest["clock"]["local_ts_unit"] == name
    assert tape.events["local_ts"][0] == T0 * MS + BASE_LATENCY_NS


def test_local_time_never_goes_back(tmp_path):
    lines = [f"{(T0 + at) * MS} {json.dumps(trade(t=T0))}" for at in (10, 13, 12, 15)]
    tape = read_recording(record(tmp_path / "x.dat", lines))
    assert np.diff(tape.events["local_ts"]).tolist() == [3 * MS, 0, 2 * MS]
    assert tape.manifest["clock"]["local_backwards"] == 1


def test_importing_twice_from_anywhere_gives_the_same_bytes(tmp_path):
    messages = [BOOK, usdm(100, 105, 99, [["98.0", "1"]]), trade(), trade(qty="0"), usdm(200, 205, 199)]
    written = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        folder = write_tape(read_recording(record(tmp_path / place / "x.gz", messages)), tmp_path / place / "out")
        written.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"2024-07-19.parquet", "manifest.json"}


# --- bad recordings ------------------------------------------------------------------------------------------------


def good(n=300):
    return [BOOK, *(trade(t=T0 + k) for k in range(n - 1))]


def test_few_bad_lines_are_counted_and_reported(tmp_path):
    lines = good()
    lines[40] = trade("-1")
    lines[60] = trade("nan")
    lines.append("")
    tape = read_recording(record(tmp_path / "x.gz", lines))
    why = "trade: field 'p' is no positive number"
    assert tape.manifest["bad_rows"] == {why: 2}
    assert tape.manifest["first_bad_row"] == {"file": "x.gz", "line": 41, "reason": why}
    assert f"2 of 301 lines are unusable, the first is x.gz, line 41: {why}" in tape.manifest["warnings"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f'{(T0 + 50) * MS} {{"e":', "the message is no JSON"),
        (f"{(T0 + 50) * MS} oops", "the message is no JSON"),
        ("now {}", "local_ts is no whole number of ns"),
        ("oops", "local_ts is no whole number of ns"),
    ],
)
def test_one_line_of_another_format_is_refused(tmp_path, line, why):
    lines = good()
    lines[40] = line
    with pytest.raises(InputError, match=rf"x\.gz, line 41: {why}\. Expected `<local_ts> <json>` a line"):
        read_recording(record(tmp_path / "x.gz", lines))


def test_more_than_one_percent_bad_is_refused(tmp_path):
    lines = good()
    for k in (5, 6, 7, 8):
        lines[k] = trade("0")
    with pytest.raises(InputError, match=r"x\.gz, line 6: trade: .* number \(the first of 4 unusable lines among 300"):
        read_recording(record(tmp_path / "x.gz", lines))


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])
    return path


REFUSED = {
    "cut": (lambda p: cut(record(p / "x.gz", good())), r"x\.gz is cut off after line \d+: the \.gz has no end"),
    "empty": (lambda p: record(p / "x.gz", []), r"x\.gz, line 1 is ''|x\.gz is empty"),
    "zero": (lambda p: (p / "x.gz").touch() or p / "x.gz", r"x\.gz is empty"),
    "text": (lambda p: record(p / "x.dat", ["hello"]), r"x\.dat, line 1 is 'hello'\. Expected a tape folder"),
    "damaged": (lambda p: (p / "x.gz").write_bytes(b"\x1f\x8b garbage") and p / "x.gz", r"x\.gz is damaged"),
    "symbol": (lambda p: record(p / "x.gz", [usdm(1, 2, 0, s="FOOUSDT")]), r"x\.gz, line 1: unknown symbol 'FOOUSDT'"),
    "symbol of trades": (lambda p: record(p / "x.gz", [trade(s="FOOUSDT")]), r"x\.gz: unknown symbol 'FOOUSDT'"),
    "mixed": (
        lambda p: record(p / "x.gz", [trade(), trade(s="BTCUSDT")]),
        r"x\.gz, line 2: field 's' is 'BTCUSDT' after",
    ),
    "rowless": (lambda p: record(p / "x.gz", [usdm(1, 2, 0)]), r"none of 1 lines gives a row .*depth_before_snapshot"),
    "folder": (lambda p: p, r"holds no market data, only nothing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_recordings_say_what_and_where(tmp_path, case):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        read_recording(make(tmp_path))


def test_files_of_a_folder_must_be_recordings_once_and_one_after_another(tmp_path):
    record(tmp_path / "a.gz", good())
    other = tmp_path / "b.gz"
    other.write_bytes((tmp_path / "a.gz").read_bytes())
    with pytest.raises(InputError, match=r"b\.gz has the same content as a\.gz"):
        read_recording(tmp_path)
    record(other, [trade(t=T0)], start=T0 - 5_000)
    assert read_recording(tmp_path).manifest["lines"] == 301
    record(other, good(5_000), start=T0 - 2_000)
    with pytest.raises(InputError, match="begins before the file before it ends"):
        read_recording(tmp_path)
    other.write_bytes(gzip.compress(b"nothing of ours\n"))
    with pytest.raises(InputError, match=r"b\.gz, line 1 is 'nothing of ours'"):
        read_recording(tmp_path)


def test_a_crossed_book_is_counted(tmp_path):
    messages = [BOOK, usdm(100, 105, 99, [["101.0", "1"]]), usdm(106, 107, 105, [["101.0", "0"]])]
    manifest = read_recording(record(tmp_path / "x.gz", messages)).manifest
    assert manifest["crossed_book"] == 1
    assert manifest["warnings"] == ["no trades", "the book is crossed after 1 messages"]


# --- the real recordings -------------------------------------------------------------------------------------------


def real(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"the recordings are not at {DATA}")
    return read_recording(DATA / name)


def test_the_real_ethusdt_recording():
    tape = real("binance_usdm_ethusdt")
    m = tape.manifest
    assert (tape.venue, tape.symbol, m["lines"]) == ("binance_usdm", "ETHUSDT", 69_913)
    assert m["messages"] == {"depthUpdate": 8_929, "bookTicker": 47_328, "trade": 13_655, "snapshot": 1}
    assert m["counts"] == {
        "depth": 354_944,
        "trade": 13_655,
        "depth_clear": 2,
        "depth_snapshot": 2_000,
        "best_quote": 94_656,
    }
    assert m["depth"] == {"depth_before_snapshot": 7, "depth_stale": 5, "depth_replayed": 2, "snapshots": 1}
    assert (m["gaps"], m["crossed_book"], m["bad_rows"], m["warnings"]) == (0, 0, {}, [])
    assert m["clock"]["offset_ns"] == 1_527_000_224
    assert (tape.events["local_ts"] - tape.events["exch_ts"]).min() > 0
    # The book from diffs against Binance's own best quotes of the same millisecond.
    events = tape.events
    row, bid, ask = best_quotes(events)
    quote = np.flatnonzero(events["ev"] & np.uint64(KIND_MASK | BUY) == np.uint64(DEPTH_BBO | BUY))
    at = np.searchsorted(events["exch_ts"][quote], events["exch_ts"][row], side="right") - 1
    same = (events["px"][quote][at] == bid) & (events["px"][quote + 1][at] == ask)
    print(f"best quotes agree after {same[at >= 0].mean():.4%} of {len(row)} depth messages")
    assert same[at >= 0].mean() > 0.999


def test_the_real_nexousdt_recording():
    m = real("binance_spot_nexousdt").manifest
    assert (m["venue"], m["symbol"], m["lines"]) == ("binance_spot", "NEXOUSDT", 166_840)
    assert m["messages"] == {"depthUpdate": 99_030, "bookTicker": 48_992, "trade": 18_817, "snapshot": 1}
    assert m["counts"] == {
        "depth": 200_963,
        "trade": 18_817,
        "depth_clear": 2,
        "depth_snapshot": 1_123,
        "best_quote": 97_984,
    }
    assert (m["gaps"], m["crossed_book"], m["bad_rows"]) == (0, 0, {})
    assert m["clock"]["offset_ns"] == 59_381_000
