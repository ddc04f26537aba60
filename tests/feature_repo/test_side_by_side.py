"""The real recordings beside two other accounts: hftbacktest's converter, and the exchange's own best quotes."""

from __future__ import annotations

import contextlib
import gzip
import io
from bisect import bisect_right
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from feature_repo.constants import MS_NS
from feature_repo.events import DEPTH, DEPTH_SNAPSHOT, EXCH, FUNDING, KIND_MASK, LOCAL, TRADE
from feature_repo.market.binance import BinanceParser
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.tape import read_tape

from .audited import best_quotes
from .binance_messages import BOOK, T0, record, trade
from .replay import dict_book, replay

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[3] / "shared" / "data"
STEP_NS = 100 * MS_NS
SAME = ["ev", "exch_ts", "local_ts", "px", "qty"]


def files_of(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"the recordings are not at {DATA}")
    return sorted(p for p in (DATA / name).iterdir() if p.suffix == ".gz")


def local_rows(array):
    return array[array["ev"] & np.uint64(LOCAL) != 0]


def of(events, kind):
    return events[events["ev"] & np.uint64(KIND_MASK) == np.uint64(kind)]


@pytest.fixture(scope="module")
def ethusdt(tmp_path_factory):
    """Both days by hftbacktest's converter and by ours, each also on the recorder's own clock."""
    from hftbacktest.data.utils import binancefutures

    files = files_of("binance_usdm_ethusdt")
    # As one file: the converter takes a clock constant a file.
    both = tmp_path_factory.mktemp("both") / "ethusdt.gz"
    both.write_bytes(b"".join(p.read_bytes() for p in files))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = binancefutures.convert(str(both), buffer_size=1_000_000)
    with gzip.open(files[0]) as lines:
        first_ns = int(next(lines)[:19])
    tape = read_tape(DATA / "binance_usdm_ethusdt")
    shift = int(local_rows(theirs)["local_ts"][0]) - first_ns
    plain, ours = local_rows(theirs).copy(), tape.events.copy()
    plain["local_ts"] -= shift
    plain["ev"] |= np.uint64(EXCH)  # a row whose exchange-only twin stands elsewhere lacks it
    ours["local_ts"] -= tape.manifest["clock"]["offset_ns"]
    snapshot_ns = int(of(ours, DEPTH_SNAPSHOT)["local_ts"][0])
    times = np.arange(snapshot_ns + STEP_NS - snapshot_ns % STEP_NS, ours["local_ts"][-1], STEP_NS)
    return SimpleNamespace(
        tape=tape,
        theirs=theirs,
        shift=shift,
        plain=plain,
        ours=ours,
        snapshot_ns=snapshot_ns,
        times=times,
        book=dict_book(ours, times),
    )


def test_trades_are_those_of_the_converter(ethusdt):
    ours, theirs = of(ethusdt.ours, TRADE), of(ethusdt.plain, TRADE)
    assert len(ours) == 13_655
    np.testing.assert_array_equal(ours[SAME], theirs[SAME])


def test_depth_changes_are_those_of_the_converter(ethusdt):
    ours, theirs = of(ethusdt.ours, DEPTH), of(ethusdt.plain, DEPTH)
    since = ethusdt.snapshot_ns
    after = ours[ours["local_ts"] > since]
    assert len(after) == 354_897
    np.testing.assert_array_equal(after[SAME], theirs[theirs["local_ts"] > since][SAME])
    # The converter gives the seven diffs from before the snapshot too, in front of it. Five are older than it; the two
    # that continue it come after it in ours, at its local time.
    early, replayed = theirs[theirs["local_ts"] < since], ours[ours["local_ts"] == since]
    assert (len(np.unique(early["exch_ts"])), len(np.unique(replayed["exch_ts"]))) == (7, 2)
    newer = early[np.isin(early["exch_ts"], replayed["exch_ts"])]
    np.testing.assert_array_equal(replayed[["exch_ts", "px", "qty"]], newer[["exch_ts", "px", "qty"]])
    assert newer["exch_ts"].min() == of(ethusdt.ours, DEPTH_SNAPSHOT)["exch_ts"][0]
    for name in ("exch_ts", "local_ts", "px", "qty"):
        np.testing.assert_array_equal(
            of(ethusdt.ours, DEPTH_SNAPSHOT)[name], of(ethusdt.plain, DEPTH_SNAPSHOT)[name], err_msg=name
        )


def test_best_quotes_at_every_100_ms_are_those_of_the_converter(ethusdt):
    """The converter clears the book through the snapshot's last price, ours wholly: no best quote ever differs."""
    assert len(ethusdt.book) == 4_794
    assert np.isfinite(ethusdt.book).all()
    np.testing.assert_array_equal(ethusdt.book, dict_book(ethusdt.plain, ethusdt.times, through=True))


@pytest.mark.slow
def test_so_does_the_replay_of_both_arrays(ethusdt):
    offset = ethusdt.tape.manifest["clock"]["offset_ns"]
    ours = replay(to_hftbacktest(ethusdt.tape), ethusdt.times + offset, ethusdt.tape.instrument)
    theirs = replay(ethusdt.theirs, ethusdt.times + ethusdt.shift, ethusdt.tape.instrument)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(ours, ethusdt.book, rtol=0, atol=1e-9)


def test_the_converters_npz_gives_the_book_of_the_recording(ethusdt, tmp_path):
    np.savez_compressed(tmp_path / "x.npz", data=ethusdt.theirs)
    tape = read_tape(tmp_path / "x.npz", symbol="ETHUSDT", venue="binance_usdm")
    assert (tape.manifest["bad_rows"], tape.manifest["gaps"]) == ({}, 0)
    # One rule for the clock: however the converter shifted it, the same constant comes out.
    np.testing.assert_array_equal(of(tape.events, TRADE)[SAME], of(ethusdt.tape.events, TRADE)[SAME])
    times = ethusdt.times + ethusdt.tape.manifest["clock"]["offset_ns"]
    np.testing.assert_array_equal(dict_book(tape.events, times), ethusdt.book)


def test_a_tape_comes_back_from_its_replay_array(ethusdt, tmp_path):
    array = to_hftbacktest(ethusdt.tape)
    split = np.count_nonzero(array["ev"] & np.uint64(EXCH) == 0)
    assert split > 1_000
    np.savez_compressed(tmp_path / "x.npz", data=array)
    tape = read_tape(tmp_path / "x.npz", symbol="ETHUSDT", venue="binance_usdm")
    assert tape.manifest["exchange_only_rows"] == split
    kind = ethusdt.tape.events["ev"] & np.uint64(KIND_MASK)
    np.testing.assert_array_equal(tape.events, ethusdt.tape.events[kind < np.uint64(5)])


def test_mark_prices_by_the_converter_shift_its_clock_by_hours_and_ours_not(tmp_path):
    """Its opt 'm' takes the next settlement for the time of a mark price, and then moves all local times behind it."""
    from hftbacktest.data.utils import binancefutures

    settlement = T0 + 8 * 3_600_000
    mark = {"e": "markPriceUpdate", "s": "ETHUSDT", "p": "3000.5", "i": "3001.5", "P": "0", "r": "0.0001"}
    messages = [trade(t=T0 + k) for k in range(40)]
    for k, message in enumerate(messages):
        message["t"] = k
    messages[20:20] = [{**mark, "E": T0 + 21, "T": settlement}]
    file = record(tmp_path / "x.gz", [BOOK, *({"stream": "s", "data": m} for m in messages)])
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = binancefutures.convert(str(file), str(tmp_path / "y.npz"), opt="m", buffer_size=1_000)
    assert np.min(local_rows(theirs)["local_ts"]) > (settlement - 1_000) * MS_NS
    ours, again = read_tape(file), read_tape(tmp_path / "y.npz", symbol="ETHUSDT")
    np.testing.assert_array_equal(of(again.events, TRADE), of(ours.events, TRADE))
    wanted, got = of(ours.events, FUNDING), of(again.events, FUNDING)
    assert len(got) == 1
    np.testing.assert_array_equal(got[["local_ts", "px", "ival", "fval"]], wanted[["local_ts", "px", "ival", "fval"]])
    assert again.manifest["clock"]["offset_ns"] < -7 * 3_600_000 * MS_NS


# --- the exchange's own best quotes ----------------------------------------------------------------------------------


def diffs_and_tickers(name):
    """Best quotes after each diff that our parser applies, with its last update id and T; and the bookTickers."""
    parser = BinanceParser()
    parts, ids, rows, ticks = [], [], [], []
    total = 0
    for path in files_of(name):
        with gzip.open(path) as lines:
            for line in lines:
                if b"@trade" in line[:60]:
                    continue
                stamp, _, payload = line.partition(b" ")
                if b"@bookTicker" in payload:
                    data = orjson.loads(payload)["data"]
                    ticks.append((data["u"], data.get("T", 0), *(float(data[k]) for k in "bBaA")))
                    continue
                part = parser.feed(int(stamp) * 10 ** (19 - len(stamp)), payload)
                total += len(part)
                if len(part) and b"@depth" in payload:
                    data = orjson.loads(payload)["data"]
                    ids.append((data["u"], data.get("T", 0)))
                    rows.append(total - 1)
                parts.append(part)
    last, bid, ask = best_quotes(np.concatenate(parts))
    at = np.searchsorted(last, rows)
    assert np.array_equal(last[at], rows)
    return ids, np.column_stack([bid, ask])[at], ticks


def quotes_by(ticks, column, wanted):
    """The latest ticker whose id (or time) is at most the one wanted; and which diffs have one."""
    order = [t[column] for t in ticks]
    assert order == sorted(order)
    at = np.array([bisect_right(order, w) - 1 for w in wanted])
    return np.array([(t[2], t[4]) for t in ticks])[np.maximum(at, 0)], at


@pytest.mark.slow
@pytest.mark.parametrize(("name", "diffs"), [("binance_usdm_ethusdt", 8_922), ("binance_spot_nexousdt", 99_028)])
def test_the_book_from_diffs_has_the_exchanges_best_quotes(name, diffs):
    ids, book, ticks = diffs_and_tickers(name)
    theirs, at = quotes_by(ticks, 0, [u for u, _ in ids])
    known = at >= 0
    by_id = (book == theirs).all(axis=1)
    print(f"{name}: best quotes agree after {by_id[known].mean():.4%} of {known.sum()} diffs, by update id")
    assert (int(known.sum()), by_id[known].mean()) == (diffs, 1.0)
    if name != "binance_usdm_ethusdt":
        return  # spot's bookTicker has no time
    theirs, at = quotes_by(ticks, 1, [t for _, t in ids])
    known = at >= 0
    by_time = (book == theirs).all(axis=1)
    print(f"{name}: {by_time[known].mean():.4%} of {known.sum()} by exchange time")
    assert by_time[known].mean() > 0.999
    odd = np.flatnonzero(~by_time & known)
    assert len(odd) == 8
    # Each of the rest: a ticker of the same millisecond and of a later update than the diff's last one.
    for k in odd:
        assert ticks[at[k]][1] == ids[k][1]
        assert ticks[at[k]][0] > ids[k][0]
