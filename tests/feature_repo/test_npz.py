"""Arrays of hftbacktest to tape rows: both layouts, the converter's own kinds, several files."""

from __future__ import annotations

import json

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
    FUNDING,
    GAP,
    KIND_MASK,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.market import npz as module
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.npz import head_of

from .npz_arrays import T0, many, old, read, save
from .small_tape import SEEN, START, rows, small

FIELDS = ["ev", "exch_ts", "local_ts", "px", "qty"]


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_the_next_settlement_of_a_persons_own_contract_goes_by_its_own_interval(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    own = {"venue": "bybit", "symbol": "FOOUSDT", "tick": 0.01, "lot": 0.1, "funding_interval_h": 4}
    (tmp_path / "instruments.json").write_text(json.dumps([own]))
    got, _ = read(save(tmp_path / "x.npz", converted(T0 + 5 * SECOND_NS)), venue="bybit", symbol="FOOUSDT")
    assert got["ival"][0] == T0 + 4 * 3_600 * SECOND_NS


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
