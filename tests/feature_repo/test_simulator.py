"""The simulated tape: a consistent book, honest labels, the same bytes however it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo import simulate_tape
from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EXCH,
    FUNDING,
    KIND_MASK,
    LIQUIDATION,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.instruments import SIMULATED_SYMBOL, instrument
from feature_repo.market import sim_book, simulator
from feature_repo.market.simulator import MECHANISMS, SimConfig, Simulation

pytestmark = pytest.mark.slow

START_NS = 1_767_571_200_000_000_000  # 2026-01-05
SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS


@pytest.fixture(scope="module")
def tape():
    return simulate_tape(seed=7, hours=0.75)


@pytest.fixture(scope="module")
def events(tape):
    return tape.events


@pytest.fixture(scope="module")
def kinds(events):
    return (events["ev"] & np.uint64(KIND_MASK)).astype(int)


@pytest.fixture(scope="module")
def day():
    """Rows of a day and a half, without an edge."""
    return simulate_tape(seed=11, hours=36, edge=0.0).events


def _marks(events, every_s):
    """Mids by the mark price, which is the mid every few seconds."""
    marks = events[(events["ev"] & np.uint64(KIND_MASK)) == FUNDING]
    at = (marks["exch_ts"] - START_NS) / SECOND_NS
    return np.interp(np.arange(0, at[-1], every_s), at, marks["px"])


def test_same_arguments_same_bytes_and_others_differ(events):
    assert simulate_tape(seed=7, hours=0.75).events.tobytes() == events.tobytes()
    for other in ({"seed": 8}, {"edge": 0.9}, {"mechanism": "book"}, {"rate": 51}, {"start": "2026-01-06"}):
        changed = simulate_tape(**{"seed": 7, "hours": 0.75} | other).events
        assert changed.tobytes() != events.tobytes(), other


@pytest.mark.parametrize("rows", [1_300, 7_001, 1_000_000])
def test_chunks_of_any_size_are_the_same_tape(events, rows, monkeypatch):
    monkeypatch.setattr(simulator, "_CHUNK", rows)
    stream = Simulation(seed=7, hours=0.75)
    parts = list(stream.chunks())
    assert max(map(len, parts)) <= rows
    assert min(map(len, parts)) > 0
    assert np.concatenate(parts).tobytes() == events.tobytes()
    assert b"".join(part.tobytes() for part in stream.chunks()) == events.tobytes()  # again from the beginning


def test_a_short_tape_is_the_beginning_of_a_long_one(events):
    short = simulate_tape(seed=7, hours=0.2).events
    assert events[: len(short)].tobytes() == short.tobytes()
    assert events["local_ts"][len(short)] >= START_NS + 720 * SECOND_NS


def test_days_are_hours_and_state_continues_over_midnight(day):
    """Nothing of a day's end is lost at midnight: rows, prices, book and activity run on."""
    assert simulate_tape(seed=11, days=1.5, edge=0.0).events.tobytes() == day.tobytes()
    midnight = START_NS + 24 * HOUR_NS
    cut = int(np.searchsorted(day["local_ts"], midnight))
    around = day[cut - 200 : cut + 200]
    kinds = around["ev"] & np.uint64(KIND_MASK)
    assert not np.isin(kinds, (DEPTH_CLEAR, DEPTH_SNAPSHOT)).any()  # the book is not opened anew
    assert np.diff(around["local_ts"]).max() < 3 * SECOND_NS
    marks = day[(day["ev"] & np.uint64(KIND_MASK)) == FUNDING]
    moves = np.abs(np.diff(np.log(marks["px"])))
    at = int(np.searchsorted(marks["local_ts"], midnight))
    assert moves[at - 2 : at + 2].max() <= np.quantile(moves, 0.999)
    funding = marks["fval"]
    assert np.abs(np.diff(funding)).max() < 2e-5  # slow things too: no reset of the premium
    settlement = marks["ival"][at - 1 : at + 1]
    assert settlement.tolist() == [midnight, midnight + 8 * HOUR_NS]
    minute = np.bincount((day["local_ts"] - START_NS) // (60 * SECOND_NS))
    assert 0.3 < minute[1_440:1_450].mean() / minute[1_430:1_440].mean() < 3.0


def test_the_book_is_sound_and_deep_and_trades_print_at_its_best(events, kinds):
    book = {BUY: {}, SELL: {}}
    best = {BUY: max, SELL: min}
    n = 40_000
    for i in range(n):
        row, kind = events[i], kinds[i]
        side = int(row["ev"]) & (BUY | SELL)
        px, qty = float(row["px"]), float(row["qty"])
        if kind == DEPTH_CLEAR:
            book[side].clear()
        elif kind in (DEPTH, DEPTH_SNAPSHOT):
            if qty > 0:
                book[side][px] = qty
            else:
                del book[side][px]  # only a level that is there is ever removed
        elif kind == TRADE:
            hit = SELL if side == BUY else BUY
            top = best[hit](book[hit])
            assert px == top
            assert qty <= book[hit][top]
        if i + 1 == n or events[i + 1]["local_ts"] != row["local_ts"]:
            assert len(book[BUY]) >= 20
            assert len(book[SELL]) >= 20
            assert max(book[BUY]) < min(book[SELL])


def test_times_rise_and_messages_are_contiguous(events):
    local, exch = events["local_ts"], events["exch_ts"]
    new = np.flatnonzero(np.diff(local) != 0) + 1
    assert (np.diff(local) >= 0).all()
    assert (np.diff(exch[np.r_[0, new]]) > 0).all()
    assert (exch[1:] == exch[:-1])[np.diff(local) == 0].all()
    delay_ms = (local - exch) / 1e6
    assert delay_ms.min() >= 5.0
    assert 5.2 < np.median(delay_ms) < 7.0
    assert delay_ms.max() > 15.0  # spikes
    assert START_NS <= exch[0] < START_NS + SECOND_NS
    assert local[-1] < START_NS + 2_700 * SECOND_NS
    assert local[-1] > START_NS + 2_695 * SECOND_NS


def test_every_kind_is_there_with_its_flags(events, kinds):
    assert set(kinds) == {DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, FUNDING, LIQUIDATION}
    side = events["ev"] & np.uint64(BUY | SELL)
    processors = events["ev"] & np.uint64(LOCAL | EXCH)
    own = np.isin(kinds, (LIQUIDATION, FUNDING))
    assert (processors[own] == 0).all()
    assert (processors[~own] == LOCAL | EXCH).all()
    assert np.isin(side[kinds != FUNDING], (BUY, SELL)).all()
    funding = events[kinds == FUNDING]
    assert (funding["ival"] % (8 * HOUR_NS) == 0).all()
    assert (funding["ival"] > funding["exch_ts"]).all()
    assert (np.abs(funding["fval"]) < 1e-3).all()
    assert len(funding) == pytest.approx(900, abs=3)


def test_prices_are_ticks_and_sizes_are_lots(events, kinds):
    facts = instrument("simulated", SIMULATED_SYMBOL)
    assert (1 / facts.tick, 1 / facts.lot) == pytest.approx((sim_book.TICKS, sim_book.LOTS))
    ticks, lots = np.round(events["px"] / facts.tick), np.round(events["qty"] / facts.lot)
    # Equal to the last bit to what a parser makes of "3500.01", so that prices serve as keys.
    assert (ticks / 100.0 == events["px"]).all()
    assert (lots / 1000.0 == events["qty"]).all()
    assert (events["qty"][np.isin(kinds, (TRADE, DEPTH_SNAPSHOT, LIQUIDATION))] > 0).all()


def test_a_liquidation_comes_with_the_trades_that_it_causes(day):
    kinds = day["ev"] & np.uint64(KIND_MASK)
    forced = np.flatnonzero(kinds == LIQUIDATION)
    assert len(forced) > 200
    for i in forced[:200]:
        near = slice(i + 1, i + 40)
        same = (day["local_ts"][near] == day["local_ts"][i]) & (kinds[near] == TRADE)
        assert day["qty"][near][same].sum() == pytest.approx(day["qty"][i])
        assert (day["ev"][near][same] & np.uint64(BUY | SELL) == day["ev"][i] & np.uint64(BUY | SELL)).all()


def test_a_day_is_lively_but_no_crash(day):
    mids = _marks(day, 300)
    daily_bps = np.diff(np.log(mids)).std() * 1e4 * np.sqrt(288)
    assert 150 < daily_bps < 800
    minute = np.abs(np.diff(np.log(_marks(day, 60))))
    slow = np.convolve(minute, np.ones(30) / 30, "valid")
    assert np.percentile(slow, 90) / np.percentile(slow, 10) > 1.5  # volatility comes in stretches
    assert np.abs(np.log(mids / mids[0])).max() < 0.25


def test_hours_differ_and_hand_overs_are_busy(day):
    hours = np.bincount((day["local_ts"][day["local_ts"] < START_NS + 24 * HOUR_NS] - START_NS) // HOUR_NS)
    assert hours[13:15].mean() > 1.3 * hours[2:6].mean()
    assert hours[7:9].mean() > 1.1 * hours[2:6].mean()


@pytest.mark.parametrize(
    ("rate", "hours", "most"), [(20, 24.0, 2.2), (50, 24.0, 1.6), (300, 6.0, 1.6), (1_000, 2.0, 1.6)]
)
def test_the_rate_is_what_was_asked_for(rate, hours, most):
    stream = Simulation(seed=5, hours=hours, rate=rate, edge=0.0, start="2026-01-05T09:00")
    rows = sum(len(part) for part in stream.chunks())
    # Activity differs from hour to hour and has its own weather; what moves the price sets a floor.
    assert 0.6 < rows / (hours * 3_600) / rate < most


def test_a_tape_says_that_it_is_simulated_and_how_it_was_made(tape):
    assert (tape.venue, tape.symbol) == ("simulated", SIMULATED_SYMBOL)
    assert tape.simulated
    manifest = tape.manifest
    assert manifest["simulated"] is True
    assert (manifest["sources"], manifest["bad_rows"], manifest["clock_offset_ns"]) == ([], {}, 0)
    assert manifest["gaps"] == 0
    assert manifest["rows"] == len(tape.events) == sum(manifest["counts"].values())
    asked = {k: manifest[k] for k in ("seed", "hours", "edge", "mechanism", "rate")}
    assert asked == {"seed": 7, "hours": 0.75, "edge": 1.0, "mechanism": "flow", "rate": 50.0}
    assert manifest["planted_edge"]["description"].startswith("SIMULATED")
    assert set(manifest["planted_edge"]) == {"description", "episodes", "parameters"}


def test_a_stream_tells_the_same_as_a_tape(tape):
    stream = Simulation(seed=7, hours=0.75)
    for _ in stream.chunks():
        pass
    assert (stream.venue, stream.symbol, stream.simulated) == (tape.venue, tape.symbol, True)
    told = stream.facts()
    assert {k: tape.manifest[k] for k in told} == told


def test_progress_ends_at_one():
    for make in (simulate_tape, lambda **k: list(Simulation(**k).chunks())):
        seen = []
        make(seed=1, hours=0.4, progress=seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == 1.0


@pytest.mark.parametrize(
    "bad",
    [
        {"seed": -1},
        {"hours": 0.0},
        {"hours": float("nan")},
        {"hours": 745.0},
        {"hours": None, "days": 0},
        {"hours": 1.0, "days": 1.0},
        {"edge": -0.1},
        {"edge": 1.1},
        {"edge": float("nan")},
        {"mechanism": "magic"},
        {"rate": 19},
        {"rate": 5_001},
        {"rate": float("nan")},
        {"start": "yesterday"},
    ],
)
def test_bad_arguments_are_named(bad):
    name = next(k for k in reversed(bad) if bad[k] is not None)
    for make in (simulate_tape, Simulation):
        with pytest.raises(InputError, match=name):
            make(**{"hours": 0.05} | bad)


def test_defaults_are_a_day_and_the_full_edge_of_the_first_mechanism():
    stream = Simulation()
    assert (stream.hours, stream.edge, stream.mechanism) == (24.0, 1.0, MECHANISMS[0])
    assert stream.config == SimConfig()
