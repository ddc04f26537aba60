"""What an arm must be made of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from reports.records import ArmInput, CalibrationInput, candidate_facts
from runtime.decision import Reason
from tests.reports.make import DECISION_DTYPE, REGULAR, TRADE_DTYPE, arm, decisions, trades

GOOD = arm(decisions([Reason.ALLOW, Reason.EV]), 1.0)


def test_the_written_out_dtypes_are_the_ones_in_use():
    from runtime.arms import DECISION_DTYPE as made_by_the_gate
    from runtime.shadow_types import TRADE_DTYPE as made_by_the_replay

    assert made_by_the_gate == DECISION_DTYPE
    assert made_by_the_replay == TRADE_DTYPE


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profile": "Z"}, "known are A, B, C"),
        ({"decisions": None}, "no decisions and no reason_na"),
        ({"decisions": np.zeros(2, [("ts_ns", "i8")])}, "lacks the fields side"),
        ({"candidate_book": {"label": trades([1.0, 1.0])}}, "lacks the exit 'runner'"),
        ({"portfolio_book": dict.fromkeys(("label", "runner"), trades([1.0, 1.0]))}, "2 rows, decisions ask for 1"),
        ({"candidate_book": dict.fromkeys(("label", "runner"), np.zeros(2, [("status", "i1")]))}, "lacks the fields"),
        ({"facts": GOOD.facts[:1]}, "1 facts for 2 decisions"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(GOOD, **change)


def test_decisions_that_contradict_themselves_are_refused():
    d = decisions([Reason.ALLOW, Reason.EV])
    d["allow"][1] = True
    with pytest.raises(ValueError, match="allow and reason disagree"):
        arm(d, 1.0)
    with pytest.raises(ValueError, match="looser than tier A"):
        arm(decisions([Reason.ALLOW], tier=2), 1.0, profile="A")
    with pytest.raises(ValueError, match="not in time order"):
        arm(decisions([Reason.EV, Reason.EV])[::-1], 1.0)


def test_an_arm_that_was_not_run_needs_only_its_reason():
    na = ArmInput("A", True, REGULAR, reason_na="12 labels of 200")
    assert na.name == "regular A model"
    assert len(na.in_tier) == 0


def test_a_variant_of_a_profile_keeps_its_tier():
    assert arm(decisions([Reason.ALLOW], tier=2), 1.0, profile="C6").tier == 2


def test_facts_turn_the_flow_to_the_candidates_side():
    side, slip = np.array([1, -1]), np.array([0.6, 1.5])
    f = candidate_facts(np.array([9.0, 9.0]), np.array([2.5, -2.5]), np.ones(2), np.ones(2), side, slip)
    assert f["ofi_z"].tolist() == [2.5, 2.5]
    assert f["est_slip_bps"].tolist() == [0.6, 1.5]


def test_calibration_lengths():
    with pytest.raises(ValueError, match="2 p, 1 y"):
        CalibrationInput(np.zeros(2), np.zeros(1), np.zeros(2))
