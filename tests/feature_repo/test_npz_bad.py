"""Arrays of hftbacktest that are damaged: rows that are counted and left out, files that are refused."""

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
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    FUNDING,
    KIND_MASK,
    SELL,
    TRADE,
)
from feature_repo.market.npz import NpzReader, head_of
from feature_repo.market.stream import BadRows

from .npz_arrays import T0, many, old, read, save
from .small_tape import SEEN

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


def central(path, at, value):
    """Change a byte of the only entry in a zip's table of contents."""
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + at] = value
    path.write_bytes(data)
    return path


def npy(array, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version)
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
    "later zip": (
        lambda p: central(save(p, many()), 6, 99),
        r"x\.npz has a damaged table of contents \(.*version 9\.9",
    ),
    "password": (lambda p: central(save(p, many()), 8, 1), r"x\.npz cannot be unpacked \(.*encrypted"),
    "version": (
        lambda p: p.write_bytes(npy(many(), (3, 0))) and p,
        r"x\.npz has no .* header \(format version \(3, 0\)",
    ),
    "shape": (
        lambda p: p.write_bytes(npy(many()).replace(b"(400,)", b"(-40,)")) and p,
        r"x\.npz has no readable array header \(shape \(-40,\)\)",
    ),
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


def test_a_file_that_is_gone_when_it_is_read_is_named(tmp_path):
    reader = NpzReader([save(tmp_path / "x.npz", many())], BadRows(), "binance_usdm", "ETHUSDT")
    (tmp_path / "x.npz").unlink()
    with pytest.raises(InputError, match=r"x\.npz cannot be read \(No such file or directory\)\. .*Check its rights"):
        list(reader.chunks())


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
    # However short it is: only its end is missing.
    np.save(tmp_path / "z.npy", many(20))
    got, reader = read(cut(tmp_path / "z.npy", -100), share=0.01)
    assert (len(got), reader.bad.reasons) == (18, {"the file is cut off": 1})


def test_files_of_another_format_are_not_ours(tmp_path):
    for content in (b"", b"P", b"hello\n", b"\x1f\x8b\x08", b"PAR1"):
        (tmp_path / "x").write_bytes(content)
        assert head_of(tmp_path / "x") is None
    with pytest.raises(InputError, match="is no array file"):
        read(tmp_path / "x")


@pytest.mark.slow
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


@pytest.mark.slow
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
