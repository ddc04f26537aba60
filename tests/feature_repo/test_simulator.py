"""The simulated tape: a consistent book, honest labels, and an edge that is where it is said to be."""

from __future__ import annotations

import re
from dataclasses import replace

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
from feature_repo.market import sim_book, sim_kernel, sim_script
from feature_repo.market.simulator import SimConfig, _simulate

START_NS = 1_767_571_200_000_000_000  # 2026-01-05
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def tape():
    return simulate_tape(seed=7, hours=0.5)


@pytest.fixture(scope="module")
def events(tape):
    return tape.events


@pytest.fixture(scope="module")
def kinds(events):
    return (events["ev"] & np.uint64(KIND_MASK)).astype(int)


@pytest.fixture(scope="module")
def day():
    """Mark prices once a second (float64 [86400]) and the log of stages of one day."""
    rows, log = _simulate(seed=11, hours=24.0, start_ns=START_NS, config=SimConfig())
    return _mids(rows, 86_400), log


def _mids(events, seconds):
    # The mark price is the mid, every few seconds: enough for moves over a minute.
    marks = events[(events["ev"] & np.uint64(KIND_MASK)) == FUNDING]
    at = (marks["exch_ts"] - START_NS) / SECOND_NS
    return np.interp(np.arange(seconds), at, marks["px"])


def _forward_bps(mids, t_ns, seconds=60):
    at = ((t_ns - START_NS) // SECOND_NS).astype(int)
    at = at[at + seconds < len(mids)]
    return at, (mids[at + seconds] / mids[at] - 1.0) * 1e4


def test_same_seed_same_bytes_and_another_differs(events):
    assert simulate_tape(seed=7, hours=0.5).events.tobytes() == events.tobytes()
    assert simulate_tape(seed=8, hours=0.5).events.tobytes() != events.tobytes()


def test_a_tape_says_that_it_is_simulated(tape):
    assert (tape.venue, tape.symbol) == ("simulated", SIMULATED_SYMBOL)
    assert tape.simulated
    assert tape.manifest["simulated"] is True
    assert tape.manifest["seed"] == 7
    assert tape.manifest["gaps"] == 0
    assert tape.manifest["clock_offset_ns"] == 0
    assert tape.manifest["rows"] == len(tape.events) == sum(tape.manifest["counts"].values())
    assert set(tape.manifest["planted_edge"]) == {"description", "informed_pushes", "stages", "parameters"}


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
    assert local[-1] < START_NS + 1800 * SECOND_NS
    assert local[-1] > START_NS + 1795 * SECOND_NS


def test_every_kind_is_there_with_its_flags(events, kinds):
    assert set(kinds) >= {DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, FUNDING, LIQUIDATION}
    side = events["ev"] & np.uint64(BUY | SELL)
    processors = events["ev"] & np.uint64(LOCAL | EXCH)
    own = np.isin(kinds, (LIQUIDATION, FUNDING))
    assert (processors[own] == 0).all()
    assert (processors[~own] == LOCAL | EXCH).all()
    assert np.isin(side[kinds != FUNDING], (BUY, SELL)).all()
    funding = events[kinds == FUNDING]
    assert (funding["ival"] % (8 * 3600 * SECOND_NS) == 0).all()
    assert (funding["ival"] > funding["exch_ts"]).all()
    assert (np.abs(funding["fval"]) < 1e-3).all()
    assert len(funding) == pytest.approx(600, abs=3)
    rate = len(events) / 1800
    assert 15 < rate < 120


def test_prices_are_ticks_and_sizes_are_lots(events, kinds):
    facts = instrument("simulated", SIMULATED_SYMBOL)
    assert (1 / facts.tick, 1 / facts.lot) == pytest.approx((sim_book.TICKS, sim_book.LOTS))
    ticks, lots = np.round(events["px"] / facts.tick), np.round(events["qty"] / facts.lot)
    # Equal to the last bit to what a parser makes of "3500.01", so that prices serve as keys.
    assert (ticks / 100.0 == events["px"]).all()
    assert (lots / 1000.0 == events["qty"]).all()
    assert (events["qty"][np.isin(kinds, (TRADE, DEPTH_SNAPSHOT, LIQUIDATION))] > 0).all()


def test_the_book_is_deep_and_never_crossed_and_trades_print_at_its_best(events, kinds):
    book = {BUY: {}, SELL: {}}
    best = {BUY: max, SELL: min}
    n = min(len(events), 40_000)
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
            assert len(book[BUY]) >= 25
            assert len(book[SELL]) >= 25
            assert max(book[BUY]) < min(book[SELL])


def test_a_liquidation_comes_with_the_trades_that_it_causes(events, kinds):
    forced = np.flatnonzero(kinds == LIQUIDATION)
    assert len(forced) > 0
    for i in forced:
        same = (events["local_ts"] == events["local_ts"][i]) & (kinds == TRADE)
        assert events["qty"][same].sum() == pytest.approx(events["qty"][i])
        assert (events["ev"][same] & np.uint64(BUY | SELL) == events["ev"][i] & np.uint64(BUY | SELL)).all()


def test_the_spread_is_mostly_a_tick_or_a_few(events, kinds):
    bids, asks, spreads = {}, {}, []
    for i in range(min(len(events), 20_000)):
        side = asks if int(events["ev"][i]) & SELL else bids
        if kinds[i] in (DEPTH, DEPTH_SNAPSHOT):
            side[events["px"][i]] = events["qty"][i]
            if events["qty"][i] == 0:
                del side[events["px"][i]]
        if i > 100 and events["local_ts"][i + 1] != events["local_ts"][i]:
            spreads.append(round((min(asks) - max(bids)) * 100))
    assert np.median(spreads) <= 2
    assert np.mean(np.array(spreads) <= 5) > 0.9


def test_a_day_is_lively_but_no_crash(day):
    mids, _ = day
    five = np.diff(np.log(mids[::300])) * 1e4
    daily = five.std() * np.sqrt(288)
    assert 300 < daily < 1_200
    minute = np.abs(np.diff(np.log(mids[::60])) * 1e4)
    slow = np.convolve(minute, np.ones(30) / 30, "valid")
    assert np.percentile(slow, 90) / np.percentile(slow, 10) > 1.3  # volatility comes in stretches
    assert np.abs(np.log(mids / mids[0])).max() < 0.2


def test_the_planted_edge_is_there_and_noise_has_none(day):
    mids, log = day
    real = log[(log["informed"] > 0) & (log["t1_ns"] - log["t0_ns"] > 2 * SECOND_NS)]
    at, moved = _forward_bps(mids, real["t0_ns"])
    won = moved * real["side"][: len(at)]
    assert len(won) > 60
    assert won.mean() > 25.0
    assert (won > 0).mean() > 0.9
    fake = log[log["episode"] == 1]
    at, moved = _forward_bps(mids, fake["t0_ns"])
    lost = moved * fake["side"][: len(at)]
    assert len(lost) > 60
    assert abs(lost.mean()) < 10.0


def test_all_episodes_occur_and_without_edge_none_is_real(day):
    _, log = day
    assert set(log["episode"]) == set(range(len(sim_script.EPISODES)))
    _, flat = _simulate(seed=11, hours=6.0, start_ns=START_NS, config=replace(SimConfig(), edge=0.0))
    assert len(flat) > 50
    assert not flat["informed"].any()


def test_the_kernel_and_the_script_agree_on_columns():
    names = [re.sub(r"_(BPS|S|ETH|MIN)(?=_|$)", "", c.upper()) for c in sim_script.COLUMNS]
    assert [getattr(sim_kernel, n) for n in names] == list(range(len(names)))
    assert sim_script.EPISODES[sim_kernel.FALSE_START].name == "false_start"
    assert sim_script.EPISODES[sim_kernel.STOP_RUN].name == "stop_run"


def test_progress_ends_at_one():
    seen = []
    simulate_tape(seed=1, hours=0.4, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("bad", [{"seed": -1}, {"hours": 0.0}, {"hours": float("nan")}, {"start": "yesterday"}])
def test_bad_arguments_are_named(bad):
    with pytest.raises(InputError):
        simulate_tape(**{"hours": 0.05} | bad)
