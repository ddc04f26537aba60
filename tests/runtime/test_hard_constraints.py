"""The four hard constraints: liquidity first, two-stage reclaim, slippage budget, EV gate with the minimum stop.

Each is moved just across its threshold through the gate's own door, with and without a model, for every profile: it
alone denies, for without that one check the candidate is allowed. Thresholds are written out, not read from the code.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from feature_repo.build import build_features
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.instruments import SIMULATED_SYMBOL, FeeTier
from feature_repo.market.simulator import simulate_tape
from reports.funnel import reason_counts
from reports.records import EXITS, ArmInput
from runtime import MetaFilter, Reason, profiles
from runtime.arms import decide_all
from runtime.candidate import Entry, SigType
from runtime.gate import GuardsOnly
from runtime.guards import GUARDS
from runtime.shadow_types import TRADE_DTYPE
from runtime.signals import find_candidates

from .gate_builders import FEE, LOT, TICK, TS, bundle_folder, candidate, market_row, window

NAN, INF = math.nan, math.inf
VIP9 = FeeTier("vip9", 0.0, 1.7)
PROFILES = ["A", "B", "C", *getattr(profiles, "VARIANTS", ())]
THIN_SPREAD = {"A": 1.4, "B": 1.6, "C": 1.6, "C6": 1.6}
MAX_SLIP = {"A": 7.0, "B": 8.0, "C": 8.0, "C6": 8.0}
STOP_TICKS = {"A": 6, "B": 6, "C": 5, "C6": 6}

ORDER = [Reason.SPREAD, Reason.DEPTH, Reason.RECLAIM, Reason.SLIPPAGE, Reason.MIN_STOP, Reason.EV]
"""Liquidity first, then the signal, the slippage budget, the stop and the EV gate."""


def above(x: float) -> float:
    return math.nextafter(x, INF)


def below(x: float) -> float:
    return math.nextafter(x, -INF)


def stop_of(ticks: float, mid: float = 2000.0) -> float:
    """R_bps whose stop of 1.1 R is so many ticks of 0.01."""
    return ticks * TICK / mid * 1e4 / 1.1


@dataclass(frozen=True)
class Case:
    """A quantity on both sides of its threshold, all else far from any."""

    reason: Reason
    name: str
    across: dict = field(default_factory=dict)
    inside: tuple[dict, ...] = ()
    fee: FeeTier = FEE


ROW = set(MARKET_DTYPE.names)


def spread_cases(profile):
    # A median of one makes the product the factor itself, to the last bit.
    limit = THIN_SPREAD[profile]
    yield Case(
        Reason.SPREAD,
        "spread = thin_spread x median",
        {"spread_median_bps": 1.0, "spread_bps": above(limit)},
        tuple({"spread_median_bps": 1.0, "spread_bps": s} for s in (limit, below(limit), 0.0)),
    )
    yield Case(
        Reason.SPREAD,
        "median = spread / thin_spread",
        {"spread_median_bps": below(1.0), "spread_bps": limit},
        ({"spread_median_bps": 1.0, "spread_bps": limit},),
    )


def depth_cases(profile):
    p50 = 7.7e5
    yield Case(
        Reason.DEPTH,
        "depth = P50",
        {"depth_top5": below(p50), "depth_median": p50},
        tuple({"depth_top5": d, "depth_median": p50} for d in (p50, above(p50), 1e9)),
    )
    yield Case(
        Reason.DEPTH,
        "P50 = depth",
        {"depth_top5": p50, "depth_median": above(p50)},
        ({"depth_top5": p50, "depth_median": p50},),
    )


def reclaim_cases(profile):
    first_stage = {"sig_type": SigType.RECLAIM, "reclaimed": False}
    others = tuple({"sig_type": t, "reclaimed": False} for t in SigType if t is not SigType.RECLAIM)
    yield Case(
        Reason.RECLAIM, "reclaim without its second stage", first_stage, (first_stage | {"reclaimed": True}, *others)
    )


def slippage_cases(profile):
    limit = MAX_SLIP[profile]
    yield Case(
        Reason.SLIPPAGE,
        "slippage = max_slip",
        {"est_slip_bps": above(limit), "exp_reward_bps": 400.0},
        tuple({"est_slip_bps": s, "exp_reward_bps": 400.0} for s in (limit, below(limit), 0.0)),
    )
    # A taker's EV gate at 5 bps a leg is stricter than the quarter of the reward: only cheap fees leave it alone.
    yield Case(
        Reason.SLIPPAGE,
        "slippage = a quarter of the reward",
        {"est_slip_bps": above(6.0), "exp_reward_bps": 24.0},
        tuple({"est_slip_bps": s, "exp_reward_bps": 24.0} for s in (6.0, below(6.0))),
        VIP9,
    )
    yield Case(
        Reason.SLIPPAGE,
        "reward = four times the slippage",
        {"est_slip_bps": 6.0, "exp_reward_bps": below(24.0)},
        ({"est_slip_bps": 6.0, "exp_reward_bps": 24.0}, {"est_slip_bps": 6.0, "exp_reward_bps": above(24.0)}),
        VIP9,
    )
    # Where both limbs are equal, the reward can raise the budget no more.
    yield Case(
        Reason.SLIPPAGE,
        "both limbs",
        {"est_slip_bps": above(limit), "exp_reward_bps": above(4 * limit)},
        ({"est_slip_bps": limit, "exp_reward_bps": 4 * limit},),
        VIP9,
    )


def stop_cases(profile):
    # Through bps a stop of whole ticks is exact to a few parts in 1e16 only; a part in 1e8 too little denies.
    least = stop_of(STOP_TICKS[profile])
    yield Case(
        Reason.MIN_STOP,
        "stop = the least ticks",
        {"R_bps": least * (1 - 1e-8)},
        ({"R_bps": least}, {"R_bps": least * (1 + 1e-8)}),
    )
    yield Case(
        Reason.MIN_STOP,
        "one tick too few",
        {"R_bps": stop_of(STOP_TICKS[profile] - 1)},
        ({"R_bps": stop_of(STOP_TICKS[profile] + 1)},),
    )


def ev_cases(profile):
    # Twice the fees of both legs and the slippage: taker 5 + 5, maker 2 + 5; the exit is always a taker's.
    for style, entry, fee, least in (
        ("taker", Entry.IOC, FEE, 2 * (10.0 + 0.5)),
        ("maker", Entry.MAKER, FEE, 2 * (7.0 + 0.5)),
        ("taker", Entry.IOC, FeeTier("own", 0.25, 1.5), 2 * (3.0 + 0.5)),
        ("maker", Entry.MAKER, FeeTier("own", -0.25, 1.5), 2 * (1.25 + 0.5)),
    ):
        made = {"entry": entry, "est_slip_bps": 0.5}
        legs = f"{fee.maker_bps if entry is Entry.MAKER else fee.taker_bps:g} + {fee.taker_bps:g}"
        yield Case(
            Reason.EV,
            f"{style}, reward = 2 x ({legs} + slippage)",
            made | {"exp_reward_bps": below(least)},
            (made | {"exp_reward_bps": least}, made | {"exp_reward_bps": above(least)}),
            fee,
        )
    # The sum of fees and slippage has fewer bits left for the slippage.
    yield Case(
        Reason.EV,
        "slippage = reward / 2 - fees",
        {"exp_reward_bps": 21.0, "est_slip_bps": 0.5 + 4e-15},
        ({"exp_reward_bps": 21.0, "est_slip_bps": 0.5}, {"exp_reward_bps": 21.0, "est_slip_bps": 0.5 - 4e-15}),
    )


CASES = [
    pytest.param(profile, case, id=f"{profile}, {case.reason.value}: {case.name}")
    for profile in PROFILES
    for cases in (spread_cases, depth_cases, reclaim_cases, slippage_cases, stop_cases, ev_cases)
    for case in cases(profile)
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Its graph says 0.88 to everything: above each tau."""
    return bundle_folder(tmp_path_factory.mktemp("releases"))


def arms(bundle, profile, fee=FEE):
    """Without a model and with one."""
    yield GuardsOnly(profile, fee=fee, symbol=SIMULATED_SYMBOL, tick=TICK, lot=LOT)
    yield MetaFilter.load(bundle, profile=profile, fee=fee)


def reason(gate, changes) -> Reason:
    """What the gate says when these fields of the candidate or of its market row are changed."""
    row = {n: v for n, v in changes.items() if n in ROW}
    rest = {n: v for n, v in changes.items() if n not in ROW}
    decision = gate.decide(candidate(**rest), TS, window(), market_row(**row))
    assert decision.allow == (decision.reason is Reason.ALLOW)
    assert (decision.size > 0) == decision.allow
    return decision.reason


@pytest.mark.parametrize(("profile", "case"), CASES)
def test_just_across_is_denied_and_just_inside_is_allowed(bundle, profile, case):
    for gate in arms(bundle, profile, case.fee):
        assert reason(gate, {}) is Reason.ALLOW
        assert reason(gate, case.across) is case.reason
        assert [reason(gate, inside) for inside in case.inside] == [Reason.ALLOW] * len(case.inside)


@pytest.mark.parametrize(("profile", "case"), CASES)
def test_it_alone_denies(bundle, profile, case, monkeypatch):
    """With that one check taken out of the table, the very candidate it denied is allowed."""
    others = tuple(check for check in GUARDS if check[0] is not case.reason)
    assert len(others) == len(GUARDS) - 1
    monkeypatch.setattr("runtime.guards.GUARDS", others)
    for gate in arms(bundle, profile, case.fee):
        assert reason(gate, case.across) is Reason.ALLOW


def test_every_profile_has_each_constraint_among_the_cases():
    assert {(p.values[0], p.values[1].reason) for p in CASES} == set(itertools.product(PROFILES, ORDER))


# One field each, so that any of them can fail together; rewards are large enough for all others.
FAILING = {
    Reason.SPREAD: {"spread_bps": 1.0},
    Reason.DEPTH: {"depth_top5": 1.0},
    Reason.RECLAIM: {"sig_type": SigType.RECLAIM},
    Reason.SLIPPAGE: {"est_slip_bps": 30.0},
    Reason.MIN_STOP: {"R_bps": 0.01},
    Reason.EV: {"exp_reward_bps": 15.0},
}


@pytest.mark.parametrize("profile", PROFILES)
def test_of_all_that_fail_the_first_in_the_documented_order_is_the_reason(bundle, profile):
    """All six at once, then mended one after the other, from the front."""
    for gate in arms(bundle, profile):
        for n in range(len(ORDER) + 1):
            failing = {name: value for late in ORDER[n:] for name, value in FAILING[late].items()}
            assert reason(gate, failing) is (ORDER[n] if n < len(ORDER) else Reason.ALLOW)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)), ids=lambda r: r.value)
def test_of_two_that_fail_the_earlier_is_the_reason(bundle, first, second, monkeypatch):
    both = FAILING[first] | FAILING[second]
    gates = list(arms(bundle, "B"))
    assert [reason(g, both) for g in gates] == [first] * 2
    monkeypatch.setattr("runtime.guards.GUARDS", tuple(c for c in GUARDS if c[0] is not first))
    assert [reason(g, both) for g in gates] == [second] * 2


DAMAGED = [
    *(("spread_bps", v, Reason.NOT_FINITE) for v in (NAN, INF, -INF, -1e-300)),
    *(("spread_median_bps", v, Reason.SPREAD) for v in (NAN, INF, -INF, -0.05, -0.0)),
    *(("depth_top5", v, Reason.NOT_FINITE) for v in (NAN, INF, -INF, -1.0)),
    *(("depth_median", v, Reason.DEPTH) for v in (NAN, INF, -INF, -1e6, -0.0)),
    *(("reclaimed", v, Reason.BAD_CANDIDATE) for v in (None, 1, NAN, "yes")),
    *(("est_slip_bps", v, Reason.BAD_CANDIDATE) for v in (NAN, -INF, -1e-300)),
    ("est_slip_bps", INF, Reason.SLIPPAGE),
    *(("exp_reward_bps", v, Reason.BAD_CANDIDATE) for v in (INF, -INF)),
    *(("exp_reward_bps", v, Reason.REWARD_UNKNOWN) for v in (NAN, -40.0)),
    ("exp_reward_bps", 0.0, Reason.SLIPPAGE),
    *(("R_bps", v, Reason.BAD_CANDIDATE) for v in (INF, -INF)),
    *(("R_bps", v, Reason.REWARD_UNKNOWN) for v in (NAN, -44.0, 0.0)),
]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_damaged_number_of_a_constraint_denies_and_says_which(bundle, profile):
    for gate in arms(bundle, profile):
        got = [(name, value, reason(gate, {name: value})) for name, value, _ in DAMAGED]
        assert repr(got) == repr(DAMAGED)  # by its text, since a NaN equals nothing


@pytest.mark.parametrize(
    ("what", "value"), [("tick", v) for v in (NAN, INF, 0.0, -0.01)] + [("taker", v) for v in (NAN, INF, -INF)]
)
def test_a_gate_is_not_made_with_a_cost_or_a_tick_that_is_no_number(bundle, what, value):
    """What would let the EV gate or the stop compare with nothing is refused before the first candidate."""
    fee = replace(FEE, taker_bps=value) if what == "taker" else FEE
    with pytest.raises(InputError, match="tick" if what == "tick" else "fee"):
        GuardsOnly(fee=fee, symbol=SIMULATED_SYMBOL, tick=value if what == "tick" else TICK, lot=LOT)
    if what == "taker":
        with pytest.raises(InputError, match="fee"):
            MetaFilter.load(bundle, fee=fee)


# On a simulated tape, from candidates to the counts of the report.


@pytest.fixture(scope="module")
def table():
    """Two SIMULATED hours."""
    return build_features(simulate_tape(seed=3, hours=2.0))


def decided(table, gate, damage=lambda market: None, of_candidate=lambda c: c) -> np.ndarray:
    """Decisions over the table's candidates when its market rows, or the candidates themselves, were damaged."""
    market = table.market.copy()
    damage(market)
    found = [of_candidate(c) for c in find_candidates(replace(table, market=market))]
    ts = np.array([c.ts_ns for c in found])
    x, ok = table.windows(ts)
    at = np.searchsorted(table.t_ns, ts)
    session = table.X[at, CHANNELS.index("session_flag")] > 0
    return decide_all([gate] * len(found), found, x, ok, market[at], session)


def counted(decisions, profile, model) -> dict[str, int]:
    """The report's own count."""
    trades = np.zeros(len(decisions), TRADE_DTYPE)
    books = (dict.fromkeys(EXITS, trades), dict.fromkeys(EXITS, trades[decisions["allow"]]))
    return reason_counts(ArmInput(profile, model, VIP9, decisions, *books))


def all_of(field, value):
    def damage(market):
        market[field] = value

    return damage


def no_budget(market):
    market["drift_bps"] = 1e3  # of the estimated slippage, for takers and makers


CONSTRAINTS = {
    Reason.SPREAD: {"damage": all_of("spread_median_bps", 1e-6)},
    Reason.DEPTH: {"damage": all_of("depth_top5", 0.0)},
    Reason.SLIPPAGE: {"damage": no_budget},
    Reason.MIN_STOP: {"of_candidate": lambda c: replace(c, R_bps=min(c.R_bps, 1e-3))},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", [False, True], ids=["no model", "model"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("constraint", [*CONSTRAINTS, Reason.EV, Reason.RECLAIM], ids=lambda r: r.value)
def test_on_a_tape_every_allowed_one_gets_the_reason_and_the_report_counts_it(
    bundle, table, constraint, profile, model
):
    gate = list(arms(bundle, profile, VIP9))[model]
    before = decided(table, gate)
    reasons = list(Reason)
    expected = before["reason"].copy()
    later = (expected > reasons.index(constraint)) | before["allow"]
    if constraint is Reason.RECLAIM:
        # Only these have two stages to go through.
        later &= before["sig_type"] == SigType.RECLAIM
        after = decided(table, gate, of_candidate=lambda c: replace(c, reclaimed=False))
    elif constraint is Reason.EV:
        after = decided(table, list(arms(bundle, profile, FeeTier("dear", 500.0, 500.0)))[model])
    else:
        after = decided(table, gate, **CONSTRAINTS[constraint])
    assert before["allow"].sum() > 50
    assert (before["allow"] & later).sum() >= 1
    expected[later] = reasons.index(constraint)
    np.testing.assert_array_equal(after["reason"], expected)
    counts = {r.value: int((expected == i).sum()) for i, r in enumerate(reasons) if (expected == i).any()}
    assert counted(after, profile, model) == counts
    assert counts[constraint.value] == later.sum() + (before["reason"] == reasons.index(constraint)).sum()
    assert sum(counts.values()) == len(before)
    if constraint is not Reason.RECLAIM:
        assert Reason.ALLOW.value not in counts
