"""Funnel and rejection counts, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.funnel import STAGES, funnel, reason_counts, reason_rates, rejection
from reports.records import REASONS, ArmInput
from runtime.decision import Reason
from tests.reports.make import REGULAR, arm, decisions

REASON_LIST = [
    *[Reason.TIER] * 3,
    Reason.STALE,
    Reason.DATA_AGE,
    Reason.SPREAD,
    *[Reason.DEPTH] * 2,
    Reason.RECLAIM,
    Reason.REWARD_UNKNOWN,
    *[Reason.SLIPPAGE] * 4,
    Reason.MIN_STOP,
    *[Reason.EV] * 5,
    *[Reason.P_BELOW_TAU] * 6,
    Reason.MODEL_ERROR,
    Reason.SIZE_TOO_SMALL,
    *[Reason.ALLOW] * 4,
]
TIERS = [2] * 3 + [1] * (len(REASON_LIST) - 3)


def _arm(**more):
    d = decisions(REASON_LIST, sig=[i % 5 for i in range(len(REASON_LIST))], tier=TIERS)
    return arm(d, 1.0, status=[0, 2, 1, 3], model=True, **more)


def test_funnel_literal():
    total = funnel(_arm())[-1]
    assert total.sig_type == "all"
    assert dict(zip(STAGES, total.survivors, strict=True)) == {
        "candidates": 32,
        "in_tier": 29,
        "data": 27,
        "liquidity": 24,
        "signal": 22,
        "slippage": 18,
        "ev": 12,
        "p": 4,
        "filled": 1,
    }
    assert (total.filled_runner, total.busy, total.unfilled, total.no_data) == (1, 1, 1, 1)


def test_rejection_is_slippage_ev_and_p_among_those_that_pass_liquidity():
    r = rejection(_arm())
    assert (r.judged, r.passed_liquidity, r.denied, r.in_tier) == (15, 24, 25, 29)
    assert r.rate == 15 / 24
    assert r.total_rate == 25 / 29


def test_reason_counts_keep_the_order_of_the_gate():
    counts = reason_counts(_arm())
    assert sum(counts.values()) == 32
    assert list(counts)[:3] == ["allow", "stale", "data_age"]
    assert (counts["tier"], counts["p_below_tau"]) == (3, 6)


def test_reason_rates_are_shares_of_the_profiles_own_and_add_up_to_all_its_denials():
    rates = reason_rates(_arm())
    assert rates == {
        "stale": 1 / 29, "data_age": 1 / 29, "spread": 1 / 29, "depth": 2 / 29, "reclaim": 1 / 29,
        "reward_unknown": 1 / 29, "slippage": 4 / 29, "min_stop": 1 / 29, "ev": 5 / 29, "model_error": 1 / 29,
        "p_below_tau": 6 / 29, "size_too_small": 1 / 29,
    }  # fmt: skip
    assert sum(rates.values()) == pytest.approx(rejection(_arm()).total_rate)


def test_a_looser_candidate_that_went_stale_is_not_the_profiles_denial():
    a = arm(decisions([Reason.STALE, Reason.STALE, Reason.ALLOW], tier=[0, 2, 0]), 1.0)
    assert reason_rates(a) == {"stale": 0.5}
    assert reason_rates(arm(decisions([Reason.TIER], tier=2), 1.0)) == {}


def test_every_reason_has_a_stage_in_the_order_of_the_gate():
    stages_passed = {
        reason: sum(funnel(arm(decisions([reason], tier=2 if reason is Reason.TIER else 0), 1.0))[-1].survivors)
        for reason in REASONS
    }
    assert stages_passed.pop(Reason.ALLOW) == len(STAGES)
    assert stages_passed.pop(Reason.TIER) == 1
    assert list(stages_passed.values()) == sorted(stages_passed.values())
    assert set(stages_passed.values()) == set(range(2, len(STAGES) - 1))


def test_a_looser_candidate_with_broken_data_is_not_this_profiles():
    row = funnel(arm(decisions([Reason.STALE, Reason.STALE], tier=[0, 2]), 1.0, profile="A"))[-1]
    assert row.survivors[:3] == (2, 1, 0)


def test_arms_that_were_not_run_or_saw_nothing():
    na = ArmInput("B", True, REGULAR, reason_na="no model")
    assert funnel(na) == ()
    assert reason_counts(na) == {}
    empty = arm(decisions([]), 1.0)
    assert funnel(empty)[-1].survivors == (0,) * len(STAGES)
    assert np.isnan(rejection(empty).rate)
    assert np.isnan(rejection(na).total_rate)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(REASONS), st.integers(0, 4), st.integers(0, 3)), max_size=60))
def test_survivors_never_grow_and_types_sum_to_all(rows):
    reasons = [r for r, _, _ in rows]
    d = decisions(reasons, sig=[s for _, s, _ in rows], tier=[2 if r is Reason.TIER else 0 for r in reasons])
    status = [c for r, _, c in rows if r is Reason.ALLOW]
    *types, total = funnel(arm(d, 1.0, status=status))
    for row in (*types, total):
        assert all(a >= b for a, b in zip(row.survivors, row.survivors[1:], strict=False))
        assert row.survivors[-2] == row.survivors[-1] + row.busy + row.unfilled + row.no_data
    assert tuple(map(sum, zip(*(t.survivors for t in types), strict=True))) == total.survivors


@pytest.mark.parametrize("model", [False, True])
def test_the_p_stage_of_an_arm_without_model_is_its_allowed(model):
    d = decisions([Reason.EV, Reason.ALLOW, Reason.ALLOW])
    assert funnel(arm(d, 1.0, model=model))[-1].survivors[-3:] == (2, 2, 2)
