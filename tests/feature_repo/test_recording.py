"""Recordings on disk: the clock, what is refused and how it is said, then the real ones end to end."""

from __future__ import annotations

import gzip
import json
import threading
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
from feature_repo.market import sources
from feature_repo.market.clock import ClockOffset
from feature_repo.market.recording import BinanceReader
from feature_repo.market.sources import CutOffError, open_blocks
from feature_repo.market.stream import BadRows
from feature_repo.market.tape import open_stream, read_tape, write_stream

from .audited import best_quotes
from .binance_messages import BOOK, MS, T0, record, snap, spot, trade, usdm

DATA = Path(__file__).parents[3] / "shared" / "data"

# --- the clock -----------------------------------------------------------------------------------------------------


def test_clock_takes_the_smallest_delay_of_the_first_minute_only():
    clock = ClockOffset()
    second = 1_000 * MS
    for at, delay in ((0, -1_500), (10, -1_520), (59, -1_510)):
        assert not clock.update(np.array([at * second]), np.array([at * second - delay * MS]))
    assert clock.update(np.array([60 * second]), np.array([60 * second + 9_000 * MS]))
    assert clock.offset_ns == 1_520 * MS + BASE_LATENCY_NS
    assert ClockOffset().offset_ns == 0


def test_one_constant_for_all_files_of_a_recording(tmp_path):
    # 12 s behind the exchange; in the second file, after the first minute, by 20 s.
    record(tmp_path / "b.gz", [usdm(106, 109, 105, t=T0 + 90_000)], start=T0 + 70_000)
    record(tmp_path / "a.gz", [BOOK, usdm(100, 105, 99, [["98.0", "1"]], t=T0 + 2)], start=T0 - 11_999)
    (tmp_path / "LICENSE").write_text("free\n")
    tape = read_tape(tmp_path)
    assert [s["name"] for s in tape.manifest["sources"]] == ["a.gz", "b.gz"]
    assert tape.manifest["clock"]["offset_ns"] == 12_000 * MS + BASE_LATENCY_NS
    delays = tape.events["local_ts"] - tape.events["exch_ts"]
    assert delays[-1] == BASE_LATENCY_NS
    assert tape.manifest["gaps"] == 0


def test_a_spot_snapshot_on_the_first_line_is_not_after_the_diff_that_continues_it(tmp_path):
    path = record(
        tmp_path / "x.dat", [snap(100, [["1.2", "1"]], [["1.3", "1"]], t=None), spot(101, 101, [["1.1", "1"]], t=T0)]
    )
    events = read_tape(path).events
    assert events["exch_ts"].tolist() == [(T0 * MS) - MS] * 4 + [T0 * MS]
    # All at one local time, the first diff 50 ms older than the next.
    book = snap(100, [["1.2", "1"]], [["1.3", "1"]], t=None)
    diffs = [spot(101, 101, [["1.1", "1"]], t=T0 - 50), spot(102, 102, [["1.1", "2"]], t=T0)]
    late = record(tmp_path / "y.dat", [book, *diffs], step=0)
    assert ((read_tape(late).events["exch_ts"] // MS) - T0).tolist() == [-50] * 5 + [0]


@pytest.mark.parametrize(("unit", "name"), [(1, "ms"), (1_000, "us"), (1_000_000, "ns")])
def test_unit_of_local_ts_by_its_digits(tmp_path, unit, name):
    tape = read_tape(record(tmp_path / "x.dat", [BOOK, usdm(100, 105, 99, [["98.0", "1"]])], unit=unit))
    assert tape.manifest["clock"]["local_ts_unit"] == name
    assert tape.events["local_ts"][0] == T0 * MS + BASE_LATENCY_NS


def test_local_time_never_goes_back(tmp_path):
    steps = (10, 13, 12, *range(15, 215))
    lines = [f"{(T0 + at) * MS} {json.dumps(trade(t=T0, i=k))}" for k, at in enumerate(steps)]
    tape = read_tape(record(tmp_path / "x.dat", lines))
    assert np.diff(tape.events["local_ts"][:4]).tolist() == [3 * MS, 0, 2 * MS]
    assert tape.manifest["clock"]["local_backwards"] == 1
    assert tape.manifest["bad_rows"] == {"local time steps back": 1}
    assert tape.manifest["first_bad_row"]["line"] == 3
    with pytest.raises(InputError, match=r"x\.dat, line 3: local time steps back"):
        read_tape(record(tmp_path / "x.dat", lines[:90]))


def test_importing_twice_from_anywhere_gives_the_same_bytes(tmp_path):
    messages = [BOOK, usdm(100, 105, 99, [["98.0", "1"]]), trade(), trade(qty="0"), usdm(200, 205, 199)]
    written = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        folder = write_stream(read_tape(record(tmp_path / place / "x.gz", messages)), tmp_path / place / "out")
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
    tape = read_tape(record(tmp_path / "x.gz", lines))
    why = "trade: field 'p' is no positive number"
    assert tape.manifest["bad_rows"] == {why: 2}
    assert tape.manifest["first_bad_row"] == {"file": "x.gz", "line": 41, "reason": why}
    assert f"2 of 301 lines are unusable, the first is x.gz, line 41: {why}" in tape.manifest["warnings"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f'{(T0 + 50) * MS} {{"e":', "the message is no JSON"),
        (f"{(T0 + 50) * MS} oops", "the message is no JSON"),
        ("now {}", "local_ts is no whole number of 19 digits"),
        ("oops", "local_ts is no whole number of 19 digits"),
    ],
)
def test_one_line_of_another_format_is_a_bad_row_and_too_many_refuse_the_file(tmp_path, line, why):
    lines = good()
    lines[40] = line
    manifest = read_tape(record(tmp_path / "x.gz", lines)).manifest
    assert manifest["bad_rows"] == {why: 1}
    assert manifest["first_bad_row"] == {"file": "x.gz", "line": 41, "reason": why}
    with pytest.raises(InputError, match=rf"x\.gz, line 41: {why} \(the first of 1 unusable rows among 50\)"):
        read_tape(record(tmp_path / "x.gz", lines[:50]))


def test_more_than_one_percent_bad_is_refused(tmp_path):
    lines = good()
    for k in (5, 6, 7, 8):
        lines[k] = trade("0")
    path = record(tmp_path / "x.gz", lines)
    message = (
        r"x\.gz, line 6: trade: .* number \(the first of 4 unusable rows among 300\)\. Expected `<local_ts> <json>`"
    )
    with pytest.raises(InputError, match=message):
        read_tape(path)
    stream = open_stream(path, max_bad_share=0.02)
    assert sum(len(c) for c in stream.chunks()) == 4 + 295
    assert stream.facts()["bad_rows"] == {"trade: field 'p' is no positive number": 4}


def cut(path, n=20):
    path.write_bytes(path.read_bytes()[:-n])
    return path


@pytest.mark.parametrize("name", ["x.gz", "x.dat"])
def test_what_can_be_read_of_a_file_that_was_cut_off_is_used_and_told(tmp_path, name):
    whole = read_tape(record(tmp_path / name, good())).events
    tape = read_tape(cut(tmp_path / name))
    m = tape.manifest
    assert m["bad_rows"] == {"the file is cut off": 1}
    assert len(tape.events) >= 200
    np.testing.assert_array_equal(tape.events, whole[: len(tape.events)])
    assert m["first_bad_row"] == {"file": name, "line": m["lines"], "reason": "the file is cut off"}
    assert "1 of the files is cut off; what could be read of it is used" in m["warnings"]
    # However short it is: the first seconds of a recorder that was killed must not make its folder unusable.
    assert read_tape(cut(record(tmp_path / name, good(50)))).manifest["bad_rows"] == {"the file is cut off": 1}


def test_a_last_line_without_its_end_is_read_if_it_is_whole(tmp_path):
    tape = read_tape(cut(record(tmp_path / "x.dat", good()), 1))
    assert (tape.manifest["bad_rows"], tape.manifest["lines"]) == ({}, 300)
    lines = [*good(), trade("-1")]
    bad = read_tape(cut(record(tmp_path / "x.dat", lines), 1)).manifest["bad_rows"]
    assert bad == {"trade: field 'p' is no positive number": 1}


REFUSED = {
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
    "mixed later": (
        lambda p: record(p / "x.gz", [BOOK, usdm(99, 101, 98), trade(), trade(s="BTCUSDT")]),
        r"x\.gz, line 4: field 's' is 'BTCUSDT' after 'ETHUSDT'",
    ),
    "nameless": (lambda p: record(p / "x.gz", [BOOK] * 3), r"x\.gz: none of 3 lines gives a row of a named symbol"),
    "rowless": (lambda p: record(p / "x.gz", [usdm(1, 2, 0)]), r"none of 1 lines gives a row .*depth_before_snapshot"),
    "folder": (lambda p: p, r"holds no market data, only nothing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_recordings_say_what_and_where(tmp_path, case):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        read_tape(make(tmp_path))


def test_what_is_no_recording_is_not_read_as_one(tmp_path):
    with pytest.raises(InputError, match=r"x\.dat is no recording\. Expected `<local_ts> <json>` a line"):
        BinanceReader([record(tmp_path / "x.dat", ["hello"])], BadRows())


def test_a_file_that_is_gone_when_it_is_read_is_named(tmp_path):
    path = record(tmp_path / "x.gz", good())
    stream = open_stream(path)
    path.unlink()
    with pytest.raises(InputError, match=r"x\.gz cannot be read"):
        next(stream.chunks())
    chunks = open_stream(record(path, good())).chunks()
    next(chunks)
    path.unlink()
    with pytest.raises(InputError, match=r"x\.gz cannot be read"):
        list(chunks)


def test_files_of_a_folder_must_be_recordings_once_and_one_after_another(tmp_path):
    record(tmp_path / "a.gz", good())
    other = tmp_path / "b.gz"
    other.write_bytes((tmp_path / "a.gz").read_bytes())
    with pytest.raises(InputError, match=r"b\.gz has the same content as a\.gz"):
        read_tape(tmp_path)
    early = [trade(t=T0 - 5_000)]
    record(tmp_path / "a.gz", good())
    record(other, early, start=T0 - 5_000)
    assert read_tape(tmp_path).manifest["lines"] == 301
    record(other, good(5_000), start=T0 - 2_000)
    with pytest.raises(InputError, match=r"a\.gz begins before .*b\.gz ends"):
        read_tape(tmp_path)
    other.write_bytes(gzip.compress(b"nothing of ours\n"))
    with pytest.raises(InputError, match=r"b\.gz, line 1 is 'nothing of ours'"):
        read_tape(tmp_path)


def diffs(n, first=1):
    """A book that crosses after the second of ``n`` diffs and no longer after the third."""
    moves = [[["98.0", "1"]], [["101.0", "1"]], [["101.0", "0"]]]
    return [usdm(100 + k, 100 + k, 99 + k, moves[k] if k < 3 else [["97.0", str(k)]]) for k in range(n)]


def test_a_crossed_book_is_counted_and_too_often_refused(tmp_path):
    path = record(tmp_path / "x.gz", [BOOK, *diffs(150)])
    m = read_tape(path).manifest
    assert (m["crossed_book"], m["bad_rows"], m["first_bad_row"]) == (1, {"crossed book": 1}, None)
    local_ns = T0 * MS + BASE_LATENCY_NS + 2 * MS
    assert m["first_crossed"] == {"row": 5, "local_ns": local_ns, "bid": 101.0, "ask": 101.0}
    assert m["warnings"] == ["no trades", "the book is crossed after 1 messages"]
    with pytest.raises(InputError, match=r"x\.gz: the book is crossed after 1 of 51 depth messages, first at row 5 "):
        read_tape(record(tmp_path / "x.gz", [BOOK, *diffs(50)]))


# --- blocks of lines -----------------------------------------------------------------------------------------------

LINES = b"".join(b"%d %s\n" % (k, b"x" * (k % 90)) for k in range(3_000))
PACKED = gzip.compress(LINES, mtime=0)


def blocks(path, data, **options):
    path.write_bytes(data)
    out = []
    with open_blocks(path, **options) as given_:
        out.extend(given_)
    return out


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_blocks_are_whole_lines_of_any_kind_of_file(tmp_path, size):
    path = tmp_path / "x"
    twice = PACKED + b"\0" * 70_000 + PACKED + b"\0" * 5
    for data, expected in ((LINES, LINES), (PACKED, LINES), (twice, 2 * LINES), (LINES[:-1], LINES[:-1]), (b"", b"")):
        if size == 1 and data is not PACKED:
            continue
        out = blocks(path, data, block_bytes=size)
        assert b"".join(out) == expected
        assert all(b.endswith(b"\n") for b in out[:-1])


def test_a_gz_without_its_end_gives_every_whole_line_and_then_says_so(tmp_path):
    path = tmp_path / "x"
    for left in (2, 9, 10, 11, 1_000, len(PACKED) - 9, len(PACKED) - 1):
        path.write_bytes(PACKED[:left])
        whole = b"".join(_until_cut(path))
        assert LINES.startswith(whole)
        assert whole == b"" or whole.endswith(b"\n")
        if left >= len(PACKED) - 9:
            assert whole == LINES


def _until_cut(path):
    """The blocks before the CutOffError."""
    out, cut_off = [], False
    with open_blocks(path) as given_:
        try:
            out += given_
        except CutOffError:
            cut_off = True
    assert cut_off
    return out


def test_a_damaged_gz_is_refused_with_its_name(tmp_path):
    other_sum = bytearray(PACKED)
    other_sum[-6] ^= 255
    for data in (bytes(other_sum), PACKED + b"no member", b"\x1f\x8b garbage"):
        with pytest.raises(InputError, match="x is damaged after"):
            blocks(tmp_path / "x", data)


def test_a_line_without_end_is_refused_with_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_LONGEST_LINE", 1 << 20)
    with pytest.raises(InputError, match="x, line 3001 is longer than 1 MiB"):
        blocks(tmp_path / "x", LINES + bytes(3 << 20), block_bytes=1 << 16)
    assert len(b"".join(blocks(tmp_path / "x", LINES + bytes(1 << 19), block_bytes=1 << 16))) > len(LINES)


def test_blocks_that_nobody_takes_leave_no_thread(tmp_path):
    before = threading.active_count()
    path = tmp_path / "x"
    path.write_bytes(LINES)
    with open_blocks(path, block_bytes=10) as given_:
        next(given_)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert list(given_) == []


# --- the real recordings -------------------------------------------------------------------------------------------


def real(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"the recordings are not at {DATA}")
    return read_tape(DATA / name)


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
