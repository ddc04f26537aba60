"""One tape for each type, through the real engine: it fires there and then, as written here by hand, or just misses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from feature_repo.build import build_features
from feature_repo.fields import CHANNELS
from feature_repo.instruments import SIMULATED_SYMBOL
from feature_repo.market.simulator import simulate_tape
from feature_repo.window import FeatureWindow
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.decision import Decision, Reason
from runtime.dry_run import dry_run
from runtime.signals import SignalDetector, find_candidates

from ..feature_repo.streams import StreamTape
from ..feature_repo.test_engine_future import CHANGES
from .hand_tapes import (
    AFTERNOON_NS,
    FIRE,
    LATE,
    MORNING_NS,
    divergence,
    drifted,
    liquidation,
    mirrored,
    momentum,
    reclaim,
    reversion,
    t_k,
    tape_of,
)

pytestmark = pytest.mark.slow

M, D, L, RC, RV = SigType.MOMENTUM, SigType.DIVERGENCE, SigType.LIQUIDATION, SigType.RECLAIM, SigType.REVERSION
BOTH_SIDES = pytest.mark.parametrize("side", [1, -1])


class YesGate:
    """Lets the dry run go on."""

    def allow(self, candidate: Candidate, now_ns: int) -> Decision:
        return Decision(True, 1.0, 1.0, Reason.ALLOW, math.nan, 0.0)


def batch(events: np.ndarray) -> list[Candidate]:
    return find_candidates(build_features(tape_of(events)))


def streamed(events: np.ndarray) -> list[Candidate]:
    """Event by event, with the classes that run live."""
    instrument = tape_of(events).instrument
    window, detector = FeatureWindow(instrument=instrument), SignalDetector(SIMULATED_SYMBOL, instrument.tick)
    return [candidate for candidate, _ in dry_run(events, window, detector, YesGate())]


def fired(events: np.ndarray) -> list[Candidate]:
    """Of both ways, which must be the same."""
    found = batch(events)
    assert [repr(c) for c in found] == [repr(c) for c in streamed(events)]
    return found


def only(events: np.ndarray) -> Candidate:
    (candidate,) = fired(events)
    return candidate


def kinds(found: list[Candidate]) -> list[tuple[int, SigType, Tier]]:
    return [(c.ts_ns, c.sig_type, c.tier) for c in found]


def walk_bps(side: int, mid: float) -> float:
    """10,000 of the quote currency: 3 units 0.05 from the mid, the rest 0.10 from it."""
    near, far = mid + side * 0.05, mid + side * 0.10
    units = 3 + (10_000 - 3 * near) / far
    return abs(10_000 / units - mid) / mid * 1e4


def vwap(side: int, last_px: float) -> float:
    """67 units bought with the mid one up, 66 sold with it one down, and 0.7 in the burst; or all that upside down."""
    first, second = 2000 + side * 1.05, 2000 - side * 1.05
    return (67 * first + 66 * second + 0.7 * last_px) / (67 + 66 + 0.7)


def half_spread_bps(mid: float) -> float:
    return 0.5 * 0.10 / mid * 1e4


# ---------------------------------------------------------------- the five types


def test_the_quiet_market_has_the_scores_that_its_page_says():
    table = build_features(tape_of(momentum()))
    at = np.searchsorted(table.t_ns, t_k(FIRE))
    ofi_z, cvd_z = table.X[:, CHANNELS.index("ofi_z")], table.X[:, CHANNELS.index("cvd_z")]
    assert (ofi_z[at], cvd_z[at]) == (pytest.approx(2.4, abs=0.01), pytest.approx(1.7, abs=0.01))
    quiet = table.market["valid"] & (np.arange(len(ofi_z)) < at)
    assert np.abs(ofi_z[quiet]).max() < 1.1
    assert np.abs(cvd_z[quiet]).max() < 1.1


@BOTH_SIDES
def test_momentum(side):
    c = only(momentum() if side > 0 else mirrored(momentum()))
    assert (c.ts_ns, c.side, c.sig_type, c.tier, c.entry) == (t_k(FIRE), side, M, Tier.A, Entry.IOC)
    assert (c.price, c.reclaimed, c.expiry_ns) == (2000.0, False, t_k(FIRE) + 1_000_000_000)
    assert c.exp_reward_bps == pytest.approx(5.0)  # half of a range of 2.00, over 2,000
    assert c.R_bps == pytest.approx(5.0 / 0.9)
    assert c.est_slip_bps == pytest.approx(walk_bps(side, 2000.0) + half_spread_bps(2000.0))
    assert walk_bps(side, 2000.0) == pytest.approx(0.35, abs=0.0001)


@BOTH_SIDES
def test_divergence(side):
    c = only(divergence() if side > 0 else mirrored(divergence()))
    mid = 2000.0 - side
    assert (c.ts_ns, c.side, c.sig_type, c.tier, c.entry) == (t_k(FIRE), side, D, Tier.A, Entry.MAKER)
    assert (c.price, c.reclaimed, c.expiry_ns) == (mid - side * 0.05, False, t_k(FIRE) + 1_000_000_000)
    reward = abs(vwap(side, mid + side * 0.05) - mid) / mid * 1e4
    assert reward == pytest.approx(5.0, abs=0.02)
    assert c.exp_reward_bps == pytest.approx(reward)
    assert c.R_bps == pytest.approx(reward / 0.9)
    assert c.est_slip_bps == pytest.approx(half_spread_bps(mid))  # a maker does not walk the book


@BOTH_SIDES
def test_liquidation(side):
    c = only(liquidation() if side > 0 else mirrored(liquidation()))
    assert (c.ts_ns, c.side, c.sig_type, c.tier, c.entry) == (t_k(FIRE), side, L, Tier.A, Entry.IOC)
    assert (c.price, c.reclaimed) == (2000.0, False)
    assert (c.exp_reward_bps, c.R_bps) == (pytest.approx(5.0), pytest.approx(5.0 / 0.9))
    assert c.est_slip_bps == pytest.approx(walk_bps(side, 2000.0) + half_spread_bps(2000.0))


@BOTH_SIDES
def test_reclaim(side):
    c = only(reclaim() if side > 0 else mirrored(reclaim()))
    assert (c.ts_ns, c.side, c.sig_type, c.tier, c.entry) == (t_k(LATE), side, RC, Tier.A, Entry.IOC)
    assert (c.price, c.reclaimed) == (2000.0, True)
    assert (c.exp_reward_bps, c.R_bps) == (pytest.approx(5.0), pytest.approx(5.0 / 0.9))
    assert c.est_slip_bps == pytest.approx(walk_bps(side, 2000.0) + half_spread_bps(2000.0))


@BOTH_SIDES
def test_reversion(side):
    c = only(reversion() if side > 0 else mirrored(reversion()))
    mid = 2000.0 - side * 2.20
    assert (c.ts_ns, c.side, c.sig_type, c.tier, c.entry) == (t_k(FIRE), side, RV, Tier.A, Entry.IOC)
    assert (c.price, c.reclaimed) == (mid, False)
    reward = abs(vwap(side, mid + side * 0.05) - mid) / mid * 1e4
    assert reward == pytest.approx(11.0, abs=0.05)
    assert c.exp_reward_bps == pytest.approx(reward)
    assert c.R_bps == pytest.approx(reward / 0.9)
    assert c.est_slip_bps == pytest.approx(walk_bps(side, mid) + half_spread_bps(mid))


# ---------------------------------------------------------------- the same tapes with one thing changed


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (momentum(2.2), [(FIRE, M, Tier.B)]),
        (momentum(2.0), [(FIRE, M, Tier.C)]),
        (momentum(2.4, 0.5), [(FIRE, M, Tier.B)]),
        (momentum(2.4, 0.35), [(FIRE, M, Tier.C)]),
        (momentum(1.85), []),
        (momentum(2.4, 0.25), []),
        (momentum(2.4, -0.7), []),
        (momentum(fire=524), []),
        (momentum(fire=624), [(624, M, Tier.A)]),
        (momentum(lost=FIRE - 500), []),
        (divergence(1998.99), [(FIRE, D, Tier.A)]),
        (divergence(1999.01), [(FIRE, M, Tier.A)]),
        (liquidation(49_900.0), [(FIRE, M, Tier.A)]),
        (liquidation(50_200.0, 16_700.0), [(FIRE, L, Tier.A)]),
        (liquidation(50_200.0, 16_800.0), [(FIRE, M, Tier.A)]),
        (liquidation(1.0, 50_200.0), [(FIRE, M, Tier.A)]),
        (liquidation(before=290), [(FIRE, L, Tier.A)]),
        (liquidation(before=310), [(FIRE, M, Tier.A)]),
        (reclaim(broken=1999.00), [(LATE, M, Tier.A)]),
        (reclaim(back=1998.99), [(LATE, M, Tier.A)]),
        (reclaim(back=1999.00), [(LATE, RC, Tier.A)]),
        (reclaim(back_at=10_801), [(LATE, M, Tier.A)]),
        (reclaim(fire=10_724), [(10_724, M, Tier.A)]),
        (reclaim(fire=11_324), [(11_324, RC, Tier.A)]),
        (reclaim(fire=11_424), [(11_424, M, Tier.A)]),
        (reclaim(fire=10_874, flow=-1.0), [(10_874, M, Tier.A)]),
        (reclaim(lost=5_010), [(LATE, M, Tier.A)]),
        (reversion(1998.00), [(FIRE, M, Tier.A)]),
        (reversion(1997.50), [(FIRE, D, Tier.A)]),
    ],
    ids=[
        "OFI of tier B",
        "OFI of tier C",
        "CVD of tier B",
        "CVD of tier C",
        "OFI below its least minimum",
        "CVD below its least minimum",
        "OFI and CVD disagree",
        "before the engine is warm",
        "as soon as it is",
        "a gap in the last minute",
        "beyond the extreme",
        "a tick short of the extreme",
        "forced flow too small",
        "forced flow just one-sided",
        "forced flow of both sides",
        "forced flow against the side",
        "forced flow 29 s ago",
        "forced flow 31 s ago",
        "the level is touched, not broken",
        "the second bar closes a tick outside",
        "the second bar closes on the level",
        "back inside only in the third bar",
        "the second bar has not closed yet",
        "late in the third bar",
        "in the fourth bar",
        "flow with the break",
        "a gap among the fifteen bars",
        "1.9 sigma from VWAP",
        "at the low of the minute",
    ],
)
def test_a_tape_with_one_thing_changed(events, expected):
    expected = [(t_k(window), *rest) for window, *rest in expected]
    assert kinds(fired(events)) == expected
    assert kinds(batch(mirrored(events))) == expected


@pytest.mark.parametrize(("ofi", "kind"), [(2.4, M), (2.75, M), (2.85, D)])
def test_divergence_outside_hand_over_windows_needs_half_a_z_more(ofi, kind):
    c = only(divergence(ofi=ofi, start_ns=AFTERNOON_NS))
    assert (c.ts_ns, c.sig_type, c.tier) == (t_k(FIRE, AFTERNOON_NS), kind, Tier.A)


def test_before_the_first_bar_the_reward_is_unknown():
    c = only(momentum(fire=624))
    assert math.isnan(c.exp_reward_bps)
    assert math.isnan(c.R_bps)


def test_a_small_reward_leaves_room_for_a_stop_of_six_ticks():
    c = only(momentum(look=0.02))
    assert c.exp_reward_bps == pytest.approx(0.5 * 0.04 / 2000 * 1e4)
    assert c.R_bps == pytest.approx(6 * 0.01 / 2000 * 1e4 / 1.1)


@BOTH_SIDES
def test_what_the_mid_did_after_earlier_flow_is_part_of_the_slippage(side):
    c = only(drifted() if side > 0 else mirrored(drifted()))
    mid = 2000.0 + side * 0.5
    # 0.50 of 2,000 after the flow; nothing after its end, which is flow the other way, and one window newer.
    drift = 0.5 / 2000 * 1e4 / (1 + 2 ** (1 / 3000))
    assert (c.sig_type, c.price) == (M, mid)
    assert c.est_slip_bps == pytest.approx(walk_bps(side, mid) + half_spread_bps(mid) + drift)


# ---------------------------------------------------------------- nothing looks ahead


def assert_the_future_changes_no_candidate(
    events: np.ndarray, found: list[Candidate], t: int, what: str, seed: int
) -> list[Candidate]:
    """What of ``found`` fires up to t, whatever happens from t on."""
    tape = tape_of(events)
    past, future = events[events["local_ts"] < t], events[events["local_ts"] >= t]
    changed = CHANGES[what](future[:2_000], t, np.random.default_rng(seed))
    # Garbage may jump days ahead; a plain event at the end closes the window of t at the latest.
    near = changed[(changed["local_ts"] >= t) & (changed["local_ts"] < t + 20_000_000_000)]
    last = future[-1:].copy()
    last["local_ts"] = t + 20_000_000_000
    other = np.concatenate([past, near, last])
    known = [c for c in found if c.ts_ns <= t]
    garbled = build_features(StreamTape(other, tape.instrument, tape.venue, tape.symbol))
    assert [repr(c) for c in find_candidates(garbled) if c.ts_ns <= t] == [repr(c) for c in known]
    return known


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize(
    ("make", "kind"), [(momentum, M), (divergence, D), (liquidation, L), (reclaim, RC), (reversion, RV)]
)
def test_nothing_at_or_after_t_changes_what_fires_at_t(make, kind, what):
    events, at = make(), t_k(LATE if kind is RC else FIRE)
    found = batch(events)
    assert [c.sig_type for c in assert_the_future_changes_no_candidate(events, found, at, what, 3)] == [kind]
    # One window before its flow there is no candidate yet, however the flow turns out.
    assert assert_the_future_changes_no_candidate(events, found, at - 100_000_000, what, 4) == []
    if kind is RC:  # nor does a bar know how it will close
        assert assert_the_future_changes_no_candidate(events, found, t_k(10_199), what, 5) == []


def test_the_event_that_ends_the_window_is_not_part_of_it():
    """The flow moved to the very instant t_k, with nothing after it, belongs to the next window."""
    window = (momentum()["local_ts"] - MORNING_NS) // 100_000_000
    events, window = momentum()[window != FIRE + 1], window[window != FIRE + 1]
    events["local_ts"][window == FIRE] = t_k(FIRE)
    assert [c.ts_ns for c in fired(events)] == [t_k(FIRE + 1)]


def test_nothing_at_or_after_t_changes_what_fires_up_to_t_in_a_simulated_market():
    events = simulate_tape(days=1 / 24, seed=13, edge=1.0).events
    found = batch(events)
    rng, checked = np.random.default_rng(12), 0
    by_kind = {kind: [c for c in found if c.sig_type is kind] for kind in SigType}
    assert all(by_kind.values())
    for of_kind in by_kind.values():
        for c in (of_kind[0], of_kind[-1]):
            what = str(rng.choice(list(CHANGES)))
            seed = int(rng.integers(2**32))
            checked += len(assert_the_future_changes_no_candidate(events, found, c.ts_ns, what, seed))
    assert checked > 100
