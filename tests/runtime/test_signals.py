"""Each signal fires at exactly its window; the stream equals the table; nothing looks ahead."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.constants import WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.profiles import PROFILES
from runtime.signals import SignalDetector, find_candidates

from .gate_builders import MINUTE_NS, T0, TICK, MiniTable, flow, quiet_table

SESSION, VWAP_DEV = CHANNELS.index("session_flag"), CHANNELS.index("vwap_dev_signed")


def streamed(table: MiniTable) -> list[Candidate]:
    detector = SignalDetector(table.symbol, table.tick)
    found = (detector.update(x, row) for x, row in zip(table.X, table.market, strict=True))
    return [c for c in found if c is not None]


def same(a: list[Candidate], b: list[Candidate]) -> bool:
    return [repr(c) for c in a] == [repr(c) for c in b]  # NaN equals NaN, and types count


def only(table: MiniTable) -> Candidate:
    found = find_candidates(table)
    assert same(found, streamed(table))
    assert len(found) == 1
    return found[0]


def at(row: int) -> int:
    return T0 + (row + 1) * WINDOW_NS


# ---------------------------------------------------------------- the crossing


def test_fires_once_when_the_pair_becomes_true():
    table = quiet_table(50)
    for row in (20, 21, 22):
        flow(table, row, 2.4, 1.7)
    assert (only(table).ts_ns, only(table).tier) == (at(20), Tier.A)


@pytest.mark.parametrize(
    ("ofi_z", "cvd_z", "tier"),
    [
        (2.5, 1.7, Tier.A),
        (2.5, 1.5, Tier.B),
        (2.2, 1.7, Tier.B),
        (2.0, 1.7, Tier.C),
        (2.5, 1.35, Tier.C),
        (1.8, 3.0, None),
        (3.0, 1.2, None),
        (3.0, -3.0, None),
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_the_strictest_pair_gives_the_tier(ofi_z, cvd_z, tier, side):
    table = quiet_table(10)
    flow(table, 5, side * ofi_z, side * cvd_z)
    found = find_candidates(table)
    assert [(c.tier, c.side) for c in found] == ([] if tier is None else [(tier, side)])


def test_a_stricter_pair_crossed_later_is_a_candidate_of_its_own():
    table = quiet_table(10)
    flow(table, 4, 2.0, 1.35)
    flow(table, 5, 2.4, 1.7)
    flow(table, 6, 2.0, 1.35)  # falling back crosses nothing
    assert [(c.ts_ns, c.tier) for c in find_candidates(table)] == [(at(4), Tier.C), (at(5), Tier.A)]


def test_turning_round_within_a_window_fires_the_other_side():
    table = quiet_table(10)
    flow(table, 4, 2.4, 1.7)
    flow(table, 5, -2.4, -1.7)
    assert [c.side for c in find_candidates(table)] == [1, -1]


@pytest.mark.parametrize("damage", ["first", "invalid", "invalid before", "nan before", "missing before"])
def test_no_crossing_without_two_valid_neighbours(damage):
    table, row = quiet_table(10), 5
    if damage == "first":
        row = 0
    elif damage == "invalid":
        table.market["valid"][row] = False
    elif damage == "invalid before":
        table.market["valid"][row - 1] = False
    elif damage == "nan before":
        table.X[row - 1, 3] = np.nan
    flow(table, row, 3.0, 3.0)
    if damage == "missing before":
        table = MiniTable(np.delete(table.X, row - 1, 0), np.delete(table.market, row - 1))
    assert find_candidates(table) == streamed(table) == []


def test_profiles_are_nested():
    a, b, c = (PROFILES[k] for k in "ABC")
    assert a.ofi_z_min >= b.ofi_z_min >= c.ofi_z_min
    assert a.cvd_z_min >= b.cvd_z_min >= c.cvd_z_min
    assert (a.tier, b.tier, c.tier) == (0, 1, 2)


# ---------------------------------------------------------------- the five types


@pytest.mark.parametrize("side", [1, -1])
def test_momentum(side):
    table = quiet_table(40)
    flow(table, 30, side * 2.4, side * 1.7)
    c = only(table)
    assert (c.ts_ns, c.side, c.sig_type, c.entry) == (at(30), side, SigType.MOMENTUM, Entry.IOC)
    assert (c.price, c.expiry_ns, c.reclaimed) == (2000.0, at(30) + 1_000_000_000, False)
    assert c.exp_reward_bps == pytest.approx(40.0)
    assert c.R_bps == pytest.approx(40.0 / 0.9)
    walk = 0.3 if side > 0 else 0.4
    assert c.est_slip_bps == pytest.approx(walk + 0.025 + 0.2)


@pytest.mark.parametrize("side", [1, -1])
def test_liquidation(side):
    table = quiet_table(40)
    flow(table, 30, side * 2.4, side * 1.7)
    own, other = ("liq_buy", "liq_sell") if side > 0 else ("liq_sell", "liq_buy")
    table.market[own], table.market[other] = 60_000.0, 20_000.0
    table.market["low"], table.market["high"] = 2000.0, 2000.0  # also a divergence; liquidation is the more specific
    assert (only(table).sig_type, only(table).entry) == (SigType.LIQUIDATION, Entry.IOC)
    table.market["low"], table.market["high"] = 1999.0, 2001.0
    table.market[other] = 20_001.0  # not three times the other side
    assert only(table).sig_type is SigType.MOMENTUM
    table.market[own], table.market[other] = 49_999.0, 0.0
    assert only(table).sig_type is SigType.MOMENTUM
    table.market[own], table.market[other] = 0.0, 60_000.0  # forced flow against the side
    assert only(table).sig_type is SigType.MOMENTUM


@pytest.mark.parametrize("side", [1, -1])
def test_divergence(side):
    table = quiet_table(40)
    flow(table, 30, side * 2.4, side * 1.7)
    extreme, beyond = ("low", 2000.0) if side > 0 else ("high", 2000.0)
    table.market[extreme] = beyond
    c = only(table)
    assert (c.sig_type, c.entry, c.ts_ns) == (SigType.DIVERGENCE, Entry.MAKER, at(30))
    assert c.price == pytest.approx(2000.0 - side * TICK / 2)  # the best quote of the own side
    assert c.est_slip_bps == pytest.approx(0.025 + 0.2)  # a maker does not walk the book
    assert c.exp_reward_bps == pytest.approx(40.0)
    table.market[extreme] -= side * TICK
    assert only(table).sig_type is SigType.MOMENTUM


def test_divergence_outside_hand_over_windows_needs_half_a_z_more():
    table = quiet_table(40)
    table.market["low"] = 2000.0
    table.X[:, SESSION] = 0.0
    flow(table, 30, 2.79, 1.7)
    assert only(table).sig_type is SigType.MOMENTUM
    flow(table, 30, 2.81, 1.7)
    assert only(table).sig_type is SigType.DIVERGENCE
    flow(table, 30, 2.5, 1.35)  # tier C: 1.9 + 0.5
    assert (only(table).sig_type, only(table).tier) == (SigType.DIVERGENCE, Tier.C)


@pytest.mark.parametrize("side", [1, -1])
def test_reversion(side):
    table = quiet_table(40)
    flow(table, 30, side * 2.4, side * 1.7)
    table.X[:, VWAP_DEV] = -side * 2.0
    table.market["vwap"] = 2000.0 + side * 10.0
    c = only(table)
    assert (c.sig_type, c.entry) == (SigType.REVERSION, Entry.IOC)
    assert c.exp_reward_bps == pytest.approx(50.0)
    table.X[:, VWAP_DEV] = -side * 1.99
    assert only(table).sig_type is SigType.MOMENTUM
    table.X[:, VWAP_DEV] = side * 5.0  # the flow points away from VWAP
    assert only(table).sig_type is SigType.MOMENTUM


BAR = 600


def reclaim_table(side: int) -> MiniTable:
    """Fifteen quiet bars, a close beyond the level in bar 15, a close back inside in bar 16; bar 17 is armed."""
    table = quiet_table(20 * BAR)
    broken = np.arange(16 * BAR - 5, 17 * BAR - 5)  # from 5 windows before bar 15's close to 5 before bar 16's
    table.market["mid"][broken] += -side * 0.1
    return table


@pytest.mark.parametrize("side", [1, -1])
def test_reclaim_fires_in_the_bar_after_the_close_back_inside(side):
    first, last = 17 * BAR, 18 * BAR - 1  # rows of bar 17: its last window ends with the minute
    kinds = {
        first - BAR: SigType.MOMENTUM,  # broken, not yet reclaimed
        first - 1: SigType.MOMENTUM,  # the window that closes the reclaiming bar
        first: SigType.RECLAIM,
        last: SigType.RECLAIM,
        last + 1: SigType.MOMENTUM,
    }
    table = reclaim_table(side)
    assert (T0 // MINUTE_NS) * MINUTE_NS == T0
    for row in kinds:
        flow(table, row, side * 2.4, side * 1.7)
    # first - 1 and first, last and last + 1 are neighbours: only the earlier of each would cross. Test them alone.
    for row, kind in kinds.items():
        single = reclaim_table(side)
        flow(single, row, side * 2.4, side * 1.7)
        c = only(single)
        assert (c.ts_ns, c.sig_type, c.reclaimed) == (at(row), kind, kind is SigType.RECLAIM)
    assert len(find_candidates(table)) == 3


def test_reclaim_needs_the_reverse_direction_and_a_whole_bar():
    wrong_way = reclaim_table(1)
    flow(wrong_way, 17 * BAR + 9, -2.4, -1.7)
    assert only(wrong_way).sig_type is SigType.MOMENTUM
    for hole in (3 * BAR, 15 * BAR + 7, 16 * BAR + 7):  # in a level bar, the breaking bar, the reclaiming bar
        broken = reclaim_table(1)
        broken.market["valid"][hole] = False
        flow(broken, 17 * BAR + 9, 2.4, 1.7)
        assert only(broken).sig_type is SigType.MOMENTUM


def test_reclaim_by_a_later_bar_is_none():
    table = reclaim_table(1)
    table.market["mid"][16 * BAR - 5 : 18 * BAR - 5] = 1999.9  # two bars stay outside
    flow(table, 18 * BAR + 9, 2.4, 1.7)
    assert only(table).sig_type is SigType.MOMENTUM


# ---------------------------------------------------------------- rewards and costs


def test_unknown_reward_is_nan_and_not_guessed():
    table = quiet_table(10)
    flow(table, 5, 2.4, 1.7)
    table.market["atr"] = np.nan
    assert math.isnan(only(table).exp_reward_bps)
    assert math.isnan(only(table).R_bps)
    table.market["low"], table.market["vwap"] = 2000.0, np.nan
    assert only(table).sig_type is SigType.DIVERGENCE
    assert math.isnan(only(table).R_bps)


def test_the_stop_is_at_least_six_ticks():
    table = quiet_table(10)
    flow(table, 5, 2.4, 1.7)
    table.market["atr"] = 1e-6
    assert only(table).R_bps * 1.1 * 1e-4 * 2000.0 / TICK == pytest.approx(6.0)


def test_a_book_too_thin_stays_infinite():
    table = quiet_table(10)
    flow(table, 5, 2.4, 1.7)
    table.market["slip_buy_bps"] = np.inf
    assert only(table).est_slip_bps == np.inf


# ---------------------------------------------------------------- stream, table, no look-ahead


def random_table(seed: int, n: int = 24 * BAR) -> MiniTable:
    rng = np.random.default_rng(seed)
    table = quiet_table(n)
    table.X[:] = rng.normal(size=table.X.shape) * 1.6
    table.X[:, CHANNELS.index("cvd_z")] += 0.7 * table.X[:, CHANNELS.index("ofi_z")]
    table.X[:, SESSION] = rng.random(n) < 0.3
    table.X[rng.integers(0, BAR, 3), rng.integers(0, 24, 3)] = np.nan
    m = table.market
    minutes = rng.normal(size=n // BAR) * 0.5
    minutes[[16, 20]] = 3.0, -4.0  # levels break and come back
    m["mid"] = 2000 + np.repeat(minutes, BAR)[:n] + rng.normal(size=n) * 0.01
    m["high"], m["low"] = m["mid"] + rng.normal(size=n) * 0.3 + 0.3, m["mid"] - rng.normal(size=n) * 0.3 - 0.3
    m["liq_buy"], m["liq_sell"] = rng.exponential(15_000, (2, n))
    m["atr"][: n // 5] = np.nan
    m["vwap"][rng.random(n) < 0.1] = np.nan
    keep = np.ones(n, bool)
    if seed % 2:
        m["valid"][rng.integers(0, BAR, 1)] = False
        keep[rng.integers(0, 2 * BAR, 2)] = False
    return MiniTable(table.X[keep], m[keep])


@pytest.mark.parametrize("seed", range(4))
def test_stream_equals_table(seed):
    table = random_table(seed)
    batch = find_candidates(table)
    assert same(batch, streamed(table))
    assert {c.sig_type for c in batch} == set(SigType)
    assert len({c.ts_ns for c in batch}) == len(batch)


@pytest.mark.slow
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 24 * BAR - 1))
def test_later_rows_never_change_earlier_candidates(seed, cut):
    table, rng = random_table(2 * (seed % 3)), np.random.default_rng(seed)
    before = [c for c in find_candidates(table) if c.ts_ns <= table.market["t_ns"][cut - 1]]
    table.X[cut:] = rng.normal(size=table.X[cut:].shape) * 3
    for name in ("mid", "bid", "ask", "vwap", "atr", "high", "low", "liq_buy", "slip_buy_bps", "spread_bps"):
        table.market[name][cut:] = rng.exponential(2000.0, len(table.market) - cut)
    after = [c for c in find_candidates(table) if c.ts_ns <= table.market["t_ns"][cut - 1]]
    assert same(before, after)


def test_a_window_seen_twice_changes_nothing():
    table = random_table(0)
    twice = MiniTable(np.repeat(table.X, 2, 0), np.repeat(table.market, 2))
    assert same(streamed(twice), streamed(table))


def test_time_order_is_required():
    table = quiet_table(10)
    table.market["t_ns"][4] = table.market["t_ns"][3]
    with pytest.raises(InputError, match="time order"):
        find_candidates(table)


def test_empty_table_and_progress():
    assert find_candidates(quiet_table(0)) == []
    seen: list[float] = []
    find_candidates(replace(random_table(0)), progress=seen.append)
    assert seen[-1] == 1.0
    assert seen == sorted(seen)
