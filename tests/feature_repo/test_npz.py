"""Arrays of hftbacktest to tape rows: both layouts, what is dropped, counted and refused."""

from __future__ import annotations

import contextlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.constants import MS_NS, SECOND_NS
from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    FUNDING,
    GAP,
    KIND_MASK,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.market import npz as module
from feature_repo.market.npz import NpzReader, head_of
from feature_repo.market.stream import BadRows
from feature_repo.market.tape import to_hftbacktest

from .small_tape import SEEN, START, rows, small

FIELDS = ["ev", "exch_ts", "local_ts", "px", "qty"]
T0 = START + SECOND_NS  # midnight


def save(path, array):
    np.savez_compressed(path, data=array)
    return path


def read(*files, share=1.0, venue="binance_usdm", symbol="ETHUSDT"):
    reader = NpzReader(files, BadRows(share), venue, symbol)
    parts = list(reader.chunks())
    assert all(len(p) for p in parts)
    return np.concatenate(parts) if parts else np.zeros(0, EVENT_DTYPE), reader


def many(n=400, start=T0, step=MS_NS):
    """A book and n - 4 trades with 2 ms of delay, times in whole us."""
    out = np.zeros(n, EVENT_DTYPE)
    out["ev"] = TRADE | BUY | SEEN
    out["ev"][:4] = [kind | side | SEEN for kind in (DEPTH_CLEAR, DEPTH_SNAPSHOT) for side in (BUY, SELL)]
    out["local_ts"] = start + step * np.arange(n)
    out["local_ts"][:4] = start
    out["exch_ts"] = out["local_ts"] - 2 * MS_NS
    out["px"], out["qty"] = 100.0, 1.0 + np.arange(n) % 7
    out["px"][:4] = [0.0, 0.0, 99.0, 101.0]
    out["qty"][:2] = 0.0
    return out


def old(events):
    """The first layout of the same rows, as its converter wrote them: us, -1 where a side does not see the row."""
    flags, ev = events["ev"], events["ev"].astype(np.int64)
    out = np.empty((len(events), 6))
    out[:, 0] = ev & KIND_MASK
    out[:, 1] = np.where(flags & np.uint64(EXCH) != 0, events["exch_ts"] // 1_000, -1)
    out[:, 2] = np.where(flags & np.uint64(LOCAL) != 0, events["local_ts"] // 1_000, -1)
    out[:, 3] = np.where(ev & BUY != 0, 1, np.where(ev & SELL != 0, -1, 0))
    out[:, 4], out[:, 5] = events["px"], events["qty"]
    return out


def whole_us(tape):
    """The tape with times in whole us, all that the old layout can hold."""
    tape.events["exch_ts"] = START + (tape.events["exch_ts"] - START) * 1_000
    tape.events["local_ts"] = START + (tape.events["local_ts"] - START) * 1_000
    return tape


def expected(tape):
    """What must come back of a tape: depth and trades in local order, no exchange time after the local one."""
    kind = tape.events["ev"] & np.uint64(KIND_MASK)
    out = tape.events[np.isin(kind, (DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT))].copy()
    out["exch_ts"] = np.minimum(out["exch_ts"], out["local_ts"])
    return out


@pytest.mark.parametrize("layout", ["event_dtype", "v1"])
def test_a_tape_comes_back_from_its_replay_array(tmp_path, layout):
    tape = whole_us(small())
    array = to_hftbacktest(tape)
    # One trade overtook a diff: its exchange-only and local-only rows become one again, with both times.
    assert np.count_nonzero(array["ev"] & np.uint64(SEEN) != np.uint64(SEEN)) == 2
    file = save(tmp_path / "x.npz", array if layout == "event_dtype" else old(array))
    got, reader = read(file)
    np.testing.assert_array_equal(got, expected(tape))
    facts = reader.facts()
    assert head_of(file) == module.NpzHead(file, layout, 8, START + 5_000, 1 if layout == "event_dtype" else 1_000)
    assert facts["exchange_only_rows"] == 1
    assert facts["exchange_times_recovered"] == (layout == "v1")
    assert (reader.bad.reasons, reader.bad.rows, facts["lines"]) == ({}, 8, 8)
    assert [(s["name"], s["lines"], s["size"], len(s["sha256"])) for s in facts["sources"]] == [
        ("x.npz", 8, file.stat().st_size, 64)
    ]
    assert reader.done == reader.size == file.stat().st_size


def test_the_old_layout_is_read_as_hftbacktest_migrates_it(tmp_path):
    from hftbacktest.data.utils import migration2

    events = many()
    events["exch_ts"] += 7_000 * np.arange(len(events)) % 1_000_000
    file = save(tmp_path / "x.npz", old(to_hftbacktest(small().__class__("binance_usdm", "ETHUSDT", events, {}))))
    theirs = migration2.convert(str(file))
    theirs = theirs[theirs["ev"] & np.uint64(LOCAL) != 0]
    got, _ = read(file)
    assert [got[n].tolist() for n in ("px", "qty", "local_ts")] == [
        events[n].tolist() for n in ("px", "qty", "local_ts")
    ]
    np.testing.assert_array_equal(got["px"][4:], theirs["px"][4:])
    np.testing.assert_array_equal(got["ev"] & np.uint64(KIND_MASK | BUY | SELL), theirs["ev"] & ~np.uint64(SEEN))
    # Theirs are float64 products: up to 128 ns beside the time in the file.
    away = np.abs(got["local_ts"] - theirs["local_ts"])
    assert 0 < away.max() <= 128
    # What the migration loses is found again: every row has its own exchange time.
    np.testing.assert_array_equal(got["exch_ts"], events["exch_ts"])
    lost = save(tmp_path / "y.npz", migration2.convert(str(file)))
    again, reader = read(lost)
    assert np.abs(again["exch_ts"] - events["exch_ts"]).max() <= 128
    assert reader.facts()["exchange_times_recovered"] == np.count_nonzero(theirs["exch_ts"] < 0)


def test_without_its_twin_a_local_row_takes_the_exchange_time_of_the_row_before(tmp_path):
    array = old(many(8))
    array[[0, 1, 2, 3, 5], 1] = -1
    got, reader = read(save(tmp_path / "x.npz", array))
    # Nothing is known before the first exchange time: 0, which the import fills.
    assert got["exch_ts"][:4].tolist() == [0] * 4
    assert got["exch_ts"][5] == got["exch_ts"][4] > 0
    assert not got["ival"].any()
    assert reader.facts()["exchange_times_recovered"] == 0


def test_of_equal_rows_the_one_that_waits_longest_is_taken(tmp_path):
    events = rows(
        (TRADE | BUY | SEEN, 10_000, 40_000, 100, 1),
        (TRADE | BUY | SEEN, 20_000, 50_000, 100, 1),
        (TRADE | BUY | SEEN, 30_000, 35_000, 100, 2),
    )
    tape = small().__class__("binance_usdm", "ETHUSDT", events, {})
    got, reader = read(save(tmp_path / "x.npz", old(to_hftbacktest(tape))))
    assert (got["exch_ts"] - START).tolist() == [30_000, 10_000, 20_000]
    assert reader.facts()["exchange_times_recovered"] == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), size=st.integers(1, 9))
def test_any_cut_gives_the_same_rows(tmp_path, data, size):
    order = data.draw(st.lists(st.integers(-5, 12), min_size=12, max_size=12))
    events = many(12)
    events["exch_ts"] += np.array(order) * MS_NS
    events["local_ts"] = np.maximum(events["local_ts"], events["exch_ts"])
    events["px"][:4] = [0.0, 0.0, 99.0, 101.0]
    events = events[np.argsort(events["local_ts"], kind="stable")]
    tape = small().__class__("binance_usdm", "ETHUSDT", events, {})
    for layout in (lambda x: x, old):
        file = save(tmp_path / "x.npz", layout(to_hftbacktest(tape)))
        whole, _ = read(file)
        before = module._ROWS
        module._ROWS = size
        try:
            cut, _ = read(file)
        finally:
            module._ROWS = before
        assert cut.tobytes() == whole.tobytes()
        np.testing.assert_array_equal(whole[FIELDS], expected(tape)[FIELDS])


# --- the converter's own kinds ---------------------------------------------------------------------------------------


def converted(settlement, *, local=100, px=(3_000.0, 3_001.0, 1e-4, 99.0, 101.0)):
    """Index, mark price, rate, best bid and ask, as `binancefutures.convert(opt='mt')` writes them."""
    out = rows(
        *((code | SEEN, 90, local, p, q) for code, p, q in zip(range(100, 105), px, (0, 0, 0, 4, 5), strict=True))
    )
    out["exch_ts"][:3] = settlement
    return out


def test_mark_price_and_rate_become_funding_and_the_tickers_best_quotes(tmp_path):
    settlement = T0 + 8 * 3_600 * SECOND_NS
    got, reader = read(save(tmp_path / "x.npz", np.concatenate([small().events[:4], converted(settlement)])))
    funding, bid, ask = got[4:]
    # The converter's time of these rows is the next settlement, hours ahead.
    assert funding.tolist() == (FUNDING, START + 1, START + 100, 3_001.0, 0.0, 0, settlement, 1e-4)
    assert (bid["ev"], ask["ev"]) == (DEPTH_BBO | BUY | SEEN, DEPTH_BBO | SELL | SEEN)
    assert (bid["px"], bid["qty"], ask["px"], ask["qty"], bid["exch_ts"]) == (99.0, 4.0, 101.0, 5.0, START + 90)
    assert reader.facts()["skipped"] == {"index price": 1}
    assert reader.bad.reasons == {}


def test_a_time_between_two_settlements_means_the_next(tmp_path):
    got, _ = read(save(tmp_path / "x.npz", converted(T0 + 5 * SECOND_NS)))
    assert got["ival"][0] == T0 + 8 * 3_600 * SECOND_NS
    assert got["exch_ts"][0] == 0


def test_mark_price_and_rate_of_two_messages_are_not_joined(tmp_path):
    array = converted(T0)
    array["local_ts"][2:] += 1
    got, reader = read(save(tmp_path / "x.npz", array))
    assert FUNDING not in (got["ev"] & np.uint64(KIND_MASK)).tolist()
    assert reader.facts()["skipped"] == {
        "index price": 1,
        "mark price without a funding rate": 1,
        "funding rate without a mark price": 1,
    }


def test_a_clear_is_of_whole_sides(tmp_path):
    array = rows((DEPTH_CLEAR | SEEN, 1, 2, 50.0, 3.0), (DEPTH_CLEAR | BUY | SEEN, 1, 3, np.nan, 0.0))
    got, _ = read(save(tmp_path / "x.npz", array))
    assert got["ev"].tolist() == [DEPTH_CLEAR | side | SEEN for side in (BUY, SELL, BUY)]
    assert got["px"].tolist() == got["qty"].tolist() == [0.0] * 3
    assert (got["local_ts"] - START).tolist() == [2, 2, 3]


def test_the_initial_snapshot_of_a_replay_comes_first(tmp_path):
    book = np.zeros(3, EVENT_DTYPE)
    book["ev"] = [DEPTH_SNAPSHOT | side | SEEN for side in (BUY, BUY, SELL)]
    book["px"], book["qty"] = [100.0, 99.0, 101.0], [3.0, 1.0, 2.0]
    events, eod = save(tmp_path / "a.npz", many()[4:]), save(tmp_path / "z.npz", book)
    got, reader = read(events, eod)
    assert [s["name"] for s in reader.facts()["sources"]] == ["z.npz", "a.npz"]
    assert (got["ev"][:2] & np.uint64(KIND_MASK)).tolist() == [DEPTH_CLEAR] * 2
    assert got["px"][2:5].tolist() == [100.0, 99.0, 101.0]
    assert np.all(got["local_ts"][:5] == got["local_ts"][5])
    assert np.all(got["exch_ts"][:5] == got["exch_ts"][5])
    with pytest.raises(InputError, match=r"z\.npz has only rows without a time, an initial snapshot"):
        read(eod)
    other = save(tmp_path / "y.npz", book[1:])
    with pytest.raises(InputError, match=r"y\.npz and .*z\.npz have rows without a time only"):
        read(events, eod, other)


# --- several files ---------------------------------------------------------------------------------------------------


def test_days_continue_and_a_pause_is_a_gap(tmp_path):
    files = [save(tmp_path / f"{n}.npz", many(start=T0 + at * SECOND_NS)) for n, at in (("c", 700), ("b", 1), ("a", 0))]
    got, reader = read(*files)
    assert [s["name"] for s in reader.facts()["sources"]] == ["a.npz", "b.npz", "c.npz"]
    kind = (got["ev"] & np.uint64(KIND_MASK)).tolist()
    assert kind.count(GAP) == reader.facts()["pauses"] == 1
    assert kind.index(GAP) == 800
    assert got["local_ts"][800] == got["local_ts"][801] == T0 + 700 * SECOND_NS
    assert np.all(np.diff(got["local_ts"]) >= 0)
    late = save(tmp_path / "d.npz", many(5_000, start=T0 + 698 * SECOND_NS))
    with pytest.raises(InputError, match=r"c\.npz begins 3 s before the file before it ends"):
        read(files[0], late)


def test_a_file_that_begins_a_little_early_is_held(tmp_path):
    files = [save(tmp_path / f"{n}.npz", many(start=T0 + at * MS_NS)) for n, at in (("a", 0), ("b", 389))]
    got, reader = read(*files)
    assert len(got) == 800
    assert np.all(np.diff(got["local_ts"]) >= 0)
    assert reader.bad.reasons == {"local time steps back": 10}
    assert reader.bad.first == {"file": "b.npz", "line": 1, "reason": "local time steps back"}


# --- bad rows --------------------------------------------------------------------------------------------------------

BAD = {
    "unknown kind 9": {"ev": 9 | BUY | SEEN},
    "unknown kind 105": {"ev": 105 | SEEN},
    "neither the local nor the exchange side sees it": {"ev": TRADE | BUY},
    "trade: no side": {"ev": TRADE | SEEN},
    "depth: no side": {"ev": DEPTH | SELL | BUY | SEEN},
    "trade: field 'px' is no positive number": {"px": -1.0},
    "depth: field 'px' is no positive number": {"ev": DEPTH | BUY | SEEN, "px": np.inf},
    "trade: field 'qty' is no positive number": {"qty": 0.0},
    "depth: field 'qty' is no number from 0 up": {"ev": DEPTH | BUY | SEEN, "qty": np.nan},
    "field 'local_ts' is no time": {"local_ts": -5},
    "field 'local_ts' is no time ": {"ev": DEPTH_SNAPSHOT | BUY | SEEN, "local_ts": 0, "exch_ts": 0},
    "field 'exch_ts' is more than a day from local_ts": {"exch_ts": T0 - 90_000 * SECOND_NS},
}


@pytest.mark.parametrize("reason", BAD)
def test_an_unusable_row_is_counted_and_left_out(tmp_path, reason):
    array = many()
    for name, value in BAD[reason].items():
        array[name][200] = value
    reason = reason.strip()
    file = save(tmp_path / "x.npz", array)
    got, reader = read(file, share=0.01)
    assert reader.bad.reasons == {reason: 1}
    assert reader.bad.first == {"file": "x.npz", "line": 201, "reason": reason}
    np.testing.assert_array_equal(got, np.delete(many(), 200))
    with pytest.raises(InputError, match=rf"x\.npz, line 201: {reason} \(the first of 1 unusable rows among 400\)"):
        read(file, share=0.001)


def test_unusable_rows_of_the_old_layout(tmp_path):
    array = old(many())
    array[10, 0], array[20, 2], array[30, 4], array[40, 1] = np.nan, np.inf, np.nan, -np.inf
    array[50, 1:3], array[60, 0] = -1, -3
    got, reader = read(save(tmp_path / "x.npz", array))
    assert reader.bad.reasons == {
        "a field is no finite number": 4,
        "trade: field 'px' is no positive number": 1,
        "neither the local nor the exchange side sees it": 1,
    }
    np.testing.assert_array_equal(got, np.delete(many(), [10, 20, 30, 40, 50, 60]))


def test_local_time_never_goes_back(tmp_path):
    array = many()
    array["local_ts"][200] -= 5 * MS_NS
    got, reader = read(save(tmp_path / "x.npz", array))
    assert len(got) == 400
    assert got["local_ts"][200] == got["local_ts"][199]
    assert reader.bad.reasons == {"local time steps back": 1}
    assert reader.facts()["local_backwards"] == 1


def test_orders_of_a_market_by_order_feed_are_skipped_by_name(tmp_path):
    array = many()
    array["ev"][100:103] = [kind | BUY | SEEN for kind in (10, 10, 13)]
    got, reader = read(save(tmp_path / "x.npz", array))
    assert len(got) == 397
    assert reader.facts()["skipped"] == {"add order (market by order)": 2, "fill (market by order)": 1}
    assert reader.bad.reasons == {}


# --- files that are refused, and those that are somebody else's ------------------------------------------------------


def cut(path, n):
    path.write_bytes(path.read_bytes()[:n])
    return path


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)
    return path


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def zipped(path, name, text):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text)
    return path


REFUSED = {
    "cut": (lambda p: cut(save(p, many()), -30), r"x\.npz is damaged or cut off"),
    "half": (lambda p: cut(save(p, many()), 900), r"x\.npz is damaged or cut off"),
    "flipped": (lambda p: flip(save(p, many()), 900), r"x\.npz is damaged or cut off"),
    "stored": (lambda p: flip(np.savez(p, data=many()) or p, 9_000), r"x\.npz is damaged or cut off \(Bad CRC-32"),
    "more": (lambda p: p.write_bytes(npy(many()) + b"..") and p, r"x\.npz goes on after its 400 rows"),
    "no array": (lambda p: zipped(p, "a.txt", "hello"), r"x\.npz holds a\.txt\. Expected an \.npz with one array"),
    "no header": (lambda p: zipped(p, "data.npy", "hello"), r"x\.npz has no readable array header"),
    "floats": (lambda p: save(p, np.zeros((5, 3))), r"x\.npz holds an array of float64 \[5, 3\]"),
    "single": (lambda p: save(p, np.zeros((5, 6), "f4")), r"x\.npz holds an array of float32 \[5, 6\]"),
    "turned": (lambda p: save(p, np.ones((6, 5)).T), r"x\.npz holds an array of float64 \[5, 6\] in Fortran order"),
    "pickled": (lambda p: save(p, np.array([{}], object)), r"x\.npz holds an array of object"),
    "other": (lambda p: save(p, np.zeros(5, [("ev", "i8"), ("px", "f4")])), r"x\.npz holds an array of \[\('ev'"),
    "empty": (lambda p: save(p, many()[:0]), r"x\.npz has no rows"),
    "seconds": (lambda p: save(p, np.tile([2.0, 1.7e9, 1.7e9, 1, 5, 5], (9, 1))), r"x\.npz has the local time 17000"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_files_say_what_and_where(tmp_path, case):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        read(make(tmp_path / "x.npz"))


def test_other_arrays_that_serve(tmp_path):
    loose = np.zeros(400, [(n, EVENT_DTYPE[n]) for n in ("px", "qty", "local_ts", "exch_ts")] + [("ev", "i8")])
    for name in loose.dtype.names:
        loose[name] = many()[name]
    np.savez(tmp_path / "x.npz", loose)
    np.save(tmp_path / "y.npy", many())
    for name in ("x.npz", "y.npy"):
        np.testing.assert_array_equal(read(tmp_path / name)[0], many())
    # A plain array that was cut is used as far as it goes.
    got, reader = read(cut(tmp_path / "y.npy", -100))
    assert (len(got), reader.bad.reasons) == (398, {"the file is cut off": 1})
    assert reader.bad.first["line"] == 399


def test_files_of_another_format_are_not_ours(tmp_path):
    for content in (b"", b"P", b"hello\n", b"\x1f\x8b\x08", b"PAR1"):
        (tmp_path / "x").write_bytes(content)
        assert head_of(tmp_path / "x") is None
    with pytest.raises(InputError, match="is no array file"):
        read(tmp_path / "x")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_garbage_never_crashes_and_never_gives_a_wrong_row(tmp_path, data):
    array = many(30) if data.draw(st.booleans()) else old(many(30))
    raw = bytearray(array.tobytes())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=40)):
        raw[at] = byte
    garbled = np.frombuffer(bytes(raw), array.dtype).reshape(array.shape)
    try:
        got, reader = read(save(tmp_path / "x.npz", garbled))
    except InputError:
        return
    assert np.all(np.diff(got["local_ts"]) >= 0)
    priced = got["ev"] & np.uint64(KIND_MASK) != np.uint64(DEPTH_CLEAR)
    assert np.all(np.isfinite(got["px"][priced]) & ((got["px"][priced] > 0) | (got["fval"][priced] != 0)))
    assert np.all(np.isfinite(got["qty"]) & (got["qty"] >= 0))
    assert np.all(np.isin(got["ev"] & np.uint64(KIND_MASK), (*range(1, 6), FUNDING)))
    doubled = np.count_nonzero((got["ev"] & np.uint64(KIND_MASK)) == DEPTH_CLEAR)
    facts = reader.facts()
    left = reader.bad.reasons.total() - facts["local_backwards"] + facts["exchange_only_rows"]
    assert len(got) - doubled <= 30 - left <= len(got) + sum(facts["skipped"].values()) + 30


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2_000), byte=st.integers(0, 255), end=st.integers(1, 3_000))
def test_a_damaged_file_is_refused_or_read(tmp_path, at, byte, end):
    for name, write in (("x.npz", np.savez_compressed), ("x.npy", np.save)):
        write(tmp_path / name, many(40))
        raw = bytearray((tmp_path / name).read_bytes())
        raw[at % len(raw)] = byte
        (tmp_path / name).write_bytes(raw[:end])
        with contextlib.suppress(InputError):
            read(tmp_path / name)
