"""Each guard alone denies, at its literal threshold; the order is the documented one; NaN always denies."""

from __future__ import annotations

import math

import pytest

from runtime.candidate import SigType, Tier
from runtime.decision import Reason
from runtime.guards import GUARDS, VERDICT, Answer, GuardInputs, decide, judge
from runtime.profiles import PROFILES

NAN, INF = math.nan, math.inf
GOOD = GuardInputs(
    candidate_sound=True,
    symbol="S",
    gate_symbol="S",
    ts_ns=1_000,
    expiry_ns=2_000,
    now_ns=1_500,
    window_valid=True,
    store_answered=True,
    window_t_ns=1_000,
    window_finite=True,
    data_age_ms=10.0,
    spread_bps=0.05,
    spread_median_bps=0.05,
    depth=1e6,
    depth_median=1e6,
    bid=1999.99,
    ask=2000.01,
    mid=2000.0,
    price=2000.0,
    tier=Tier.A,
    sig_type=SigType.MOMENTUM,
    reclaimed=False,
    exp_reward_bps=40.0,
    R_bps=44.0,
    est_slip_bps=0.5,
    fee_bps=10.0,
    tick=0.01,
    profile=PROFILES["B"],
)
SIX_TICKS_BPS = 6 * 0.01 / 2000.0 * 1e4 / 1.1
"""R whose stop of 1.1 R is six ticks at a mid of 2000."""

ALONE = [
    (Reason.BAD_CANDIDATE, {"candidate_sound": False}),
    (Reason.WRONG_SYMBOL, {"symbol": "T"}),
    (Reason.EXPIRED, {"now_ns": 2_001}),
    (Reason.EXPIRED, {"now_ns": 999}),
    (Reason.EXPIRED, {"now_ns": NAN}),
    (Reason.STORE_ERROR, {"store_answered": False}),
    (Reason.NO_WINDOW, {"window_valid": False}),
    (Reason.STALE, {"window_t_ns": 1_100}),
    (Reason.STALE, {"window_t_ns": 900}),
    (Reason.NOT_FINITE, {"window_finite": False}),
    (Reason.NOT_FINITE, {"bid": 2000.02}),
    (Reason.NOT_FINITE, {"bid": NAN}),
    (Reason.NOT_FINITE, {"ask": INF}),
    (Reason.NOT_FINITE, {"mid": 2000.02}),
    (Reason.NOT_FINITE, {"mid": NAN}),
    (Reason.NOT_FINITE, {"spread_bps": NAN}),
    (Reason.NOT_FINITE, {"spread_bps": -1.0}),
    (Reason.NOT_FINITE, {"depth": INF}),
    (Reason.NOT_FINITE, {"data_age_ms": NAN}),
    (Reason.PRICE, {"price": 2020.01}),
    (Reason.PRICE, {"price": 1979.99}),
    (Reason.DATA_AGE, {"data_age_ms": 1_000.1}),
    (Reason.DATA_AGE, {"data_age_ms": -1_000.1}),
    (Reason.TIER, {"tier": Tier.C}),
    (Reason.SPREAD, {"spread_bps": 0.0801}),
    (Reason.SPREAD, {"spread_median_bps": NAN}),
    (Reason.SPREAD, {"spread_median_bps": 0.0, "spread_bps": 0.0}),
    (Reason.SPREAD, {"spread_median_bps": INF}),
    (Reason.DEPTH, {"depth": 999_999.0}),
    (Reason.DEPTH, {"depth_median": NAN}),
    (Reason.DEPTH, {"depth_median": 0.0}),
    (Reason.RECLAIM, {"sig_type": SigType.RECLAIM}),
    (Reason.REWARD_UNKNOWN, {"exp_reward_bps": NAN}),
    (Reason.REWARD_UNKNOWN, {"R_bps": NAN}),
    (Reason.REWARD_UNKNOWN, {"exp_reward_bps": 10_001.0}),
    (Reason.REWARD_UNKNOWN, {"R_bps": 20_001.0}),
    (Reason.SLIPPAGE, {"est_slip_bps": 8.01, "exp_reward_bps": 400.0}),  # over max_slip
    (Reason.SLIPPAGE, {"est_slip_bps": 5.51, "exp_reward_bps": 22.0, "fee_bps": 0.0}),  # over a quarter of the reward
    (Reason.SLIPPAGE, {"est_slip_bps": INF}),
    (Reason.SLIPPAGE, {"est_slip_bps": NAN}),
    (Reason.MIN_STOP, {"R_bps": SIX_TICKS_BPS * 0.999}),
    (Reason.EV, {"exp_reward_bps": 20.99}),
    (Reason.EV, {"fee_bps": 19.51}),
    (Reason.EV, {"fee_bps": NAN}),
]

PASSES = [
    {},
    {"now_ns": 1_000},
    {"now_ns": 2_000},
    {"data_age_ms": 1_000.0},
    {"data_age_ms": -5.0},
    {"tier": Tier.B},
    {"spread_bps": 0.08},
    {"sig_type": SigType.RECLAIM, "reclaimed": True},
    {"est_slip_bps": 8.0, "exp_reward_bps": 400.0},
    {"est_slip_bps": 5.5, "exp_reward_bps": 22.0, "fee_bps": 0.0},
    {"R_bps": SIX_TICKS_BPS},
    {"exp_reward_bps": 21.0},
    {"price": 2019.9},
]


@pytest.mark.parametrize(("reason", "changes"), ALONE)
def test_alone_denies(reason, changes):
    inputs = GOOD._replace(**changes)
    failing = [r for r, passes in GUARDS if not passes(inputs)]
    assert decide(inputs) is reason
    if not any(isinstance(v, float) and not math.isfinite(v) for v in changes.values()):
        assert failing == [reason]  # nothing else would have denied


@pytest.mark.parametrize("changes", PASSES)
def test_at_the_threshold_it_passes(changes):
    assert decide(GOOD._replace(**changes)) is Reason.ALLOW


@pytest.mark.parametrize("changes", [{"R_bps": 0.0}, {"R_bps": -1.0}, {"exp_reward_bps": -1.0}])
def test_a_reward_that_is_none(changes):
    assert decide(GOOD._replace(**changes)) is Reason.REWARD_UNKNOWN


def test_every_reason_of_the_table_is_reached_alone():
    assert {r for r, _ in GUARDS} == {r for r, _ in ALONE}


def test_the_order_is_the_documented_one():
    order = list(Reason)
    made = [r for r, _ in GUARDS + VERDICT]
    assert made == sorted(made, key=order.index)
    assert set(order) - set(made) == {Reason.ALLOW, Reason.INTERNAL_ERROR, Reason.KILL_SWITCH}
    assert made == [
        Reason.BAD_CANDIDATE,
        Reason.WRONG_SYMBOL,
        Reason.EXPIRED,
        Reason.STORE_ERROR,
        Reason.NO_WINDOW,
        Reason.STALE,
        Reason.NOT_FINITE,
        Reason.PRICE,
        Reason.DATA_AGE,
        Reason.TIER,
        Reason.SPREAD,
        Reason.DEPTH,
        Reason.RECLAIM,
        Reason.REWARD_UNKNOWN,
        Reason.SLIPPAGE,
        Reason.MIN_STOP,
        Reason.EV,
        Reason.MODEL_ERROR,
        Reason.P_BELOW_TAU,
        Reason.NOT_ROLLED_OUT,
        Reason.SIZE_TOO_SMALL,
    ]


def test_the_first_failure_wins():
    literal = {r: c for r, c in reversed(ALONE) if not (r is Reason.NOT_FINITE and "window_finite" not in c)}
    guards = [r for r, _ in GUARDS]
    for n, reason in enumerate(guards):
        changes: dict = {}
        for later in reversed(guards[n:]):
            changes |= literal[later]
        assert decide(GOOD._replace(**changes)) is reason


def test_profile_thresholds():
    wide = GOOD._replace(spread_bps=0.075)
    slip = GOOD._replace(est_slip_bps=7.5, exp_reward_bps=400.0)
    stop = GOOD._replace(R_bps=SIX_TICKS_BPS * 5 / 6)
    got = {
        name: [decide(i._replace(profile=p)) for i in (wide, slip, stop, GOOD._replace(tier=Tier.B))]
        for name, p in PROFILES.items()
    }
    ok = Reason.ALLOW
    assert got == {
        "A": [Reason.SPREAD, Reason.SLIPPAGE, Reason.MIN_STOP, Reason.TIER],
        "B": [ok, ok, Reason.MIN_STOP, ok],
        "C": [ok, ok, ok, ok],
    }


NUMBERS = [
    name
    for name, value in GOOD._asdict().items()
    if isinstance(value, float | int) and not isinstance(value, bool | Tier | SigType)
]
# The tick and the fees are checked when the gate is made. A late expiry is the caller's wish, and STALE holds anyhow.
HARMLESS = {
    *(
        (name, value)
        for name, values in {"tick": (INF, -INF, 1e30, -1e30), "fee_bps": (-INF, -1e30)}.items()
        for value in values
    ),
    ("expiry_ns", INF),
    ("expiry_ns", 1e30),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(n, v) for n in NUMBERS for v in (NAN, INF, -INF, 1e30, -1e30) if (n, v) not in HARMLESS],
)
def test_a_damaged_number_never_passes(name, value):
    assert decide(GOOD._replace(**{name: value})) is not Reason.ALLOW


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(p=0.8, floor=0.65, multiplier=1.0, size=1500.0), Reason.ALLOW),
        (Answer(p=NAN, floor=0.65, multiplier=1.0, size=1500.0), Reason.MODEL_ERROR),
        (Answer(p=1.0001, floor=0.65, multiplier=1.0, size=1500.0), Reason.MODEL_ERROR),
        (Answer(p=-0.1, floor=0.65, multiplier=1.0, size=1500.0), Reason.MODEL_ERROR),
        (Answer(p=INF, floor=0.65, multiplier=1.0, size=1500.0), Reason.MODEL_ERROR),
        (Answer(p=0.65, floor=0.65, multiplier=1.0, size=1500.0), Reason.P_BELOW_TAU),
        (Answer(p=0.8, floor=NAN, multiplier=1.0, size=1500.0), Reason.P_BELOW_TAU),
        (Answer(p=0.65, floor=0.65, multiplier=0.0, size=0.0), Reason.P_BELOW_TAU),
        *(
            (Answer(p=0.8, floor=0.65, multiplier=m, size=1500.0), Reason.NOT_ROLLED_OUT)
            for m in (0.0, -0.2, 1.01, NAN, INF, -INF)
        ),
        (Answer(p=0.8, floor=0.65, multiplier=0.0, size=0.0), Reason.NOT_ROLLED_OUT),
        (Answer(p=0.8, floor=0.65, multiplier=0.2, size=1500.0), Reason.ALLOW),
        (Answer(p=0.8, floor=0.65, multiplier=1.0, size=0.0), Reason.SIZE_TOO_SMALL),
        (Answer(p=0.8, floor=0.65, multiplier=1.0, size=NAN), Reason.SIZE_TOO_SMALL),
        (Answer(p=0.8, floor=0.65, multiplier=1.0, size=INF), Reason.SIZE_TOO_SMALL),
    ],
)
def test_verdict(answer, reason):
    assert judge(answer) is reason


def test_without_a_model_only_the_size_is_judged():
    assert judge(Answer(p=NAN, floor=NAN, multiplier=NAN, size=10.0), asked=False) is Reason.ALLOW
    assert judge(Answer(p=0.9, floor=0.1, multiplier=1.0, size=0.0), asked=False) is Reason.SIZE_TOO_SMALL
