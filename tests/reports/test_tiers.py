"""The fee ladder: the same trades at every tier's fees, and the verdict had that tier been named."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from feature_repo.fees import FEE_TIERS
from reports.matrix import build_report
from reports.records import ArmInput, CalibrationInput
from runtime.decision import Reason
from tests.reports.make import REGULAR, VIP9, arm, decisions, rich_world, run_facts

LADDER = FEE_TIERS["binance_usdm"]


@pytest.fixture(scope="module")
def world():
    arms, p, y, sig, _ = rich_world(400)
    ladder = rich_world(400, tiers=LADDER, profiles="B")[0]
    return arms, ladder, CalibrationInput(p, y, sig)


@pytest.fixture(scope="module")
def built(world):
    return _build(world)


def _build(world, **more):
    arms, ladder, calibration = world
    given = {"ladder": ladder, "calibration": calibration, "draws": 20, **more}
    return build_report(arms, given.pop("facts", run_facts()), **given).metrics


def test_one_row_a_tier_and_model_dearest_first(built):
    rows = built["tiers"]
    assert [(r["fee_tier"], r["model"]) for r in rows] == list(
        itertools.product((t.name for t in LADDER), (False, True))
    )
    assert [(r["maker_bps"], r["taker_bps"]) for r in rows[::2]] == [(t.maker_bps, t.taker_bps) for t in LADDER]
    assert list(rows[0]) == [
        "fee_tier", "maker_bps", "taker_bps", "model", "na", "trades", "few", "net_bps", "ir_trade", "ir_day",
        "verdict", "reasons",
    ]  # fmt: skip


def test_a_tier_changes_the_result_by_its_fees_alone(built):
    net = [r["net_bps"]["value"] for r in built["tiers"] if r["model"]]
    cheaper = [2 * (LADDER[0].taker_bps - t.taker_bps) for t in LADDER]
    assert [n - net[0] for n in net] == pytest.approx(cheaper)


def test_a_tier_of_the_matrix_has_the_matrixs_figures(built):
    for fee in ("regular", "vip9"):
        (row,) = [r for r in built["tiers"] if r["fee_tier"] == fee and r["model"]]
        (cell,) = [r for r in built["matrix"] if (r["fee_tier"], r["profile"], r["model"]) == (fee, "B", True)]
        assert row["net_bps"] == cell["exits"]["runner"]["net_bps"]
        assert row["ir_trade"] == {e: cell["exits"][e]["ir_trade"] for e in ("label", "runner")}
        assert (row["trades"], row["few"]) == (cell["exits"]["runner"]["trades"], cell["exits"]["runner"]["few"])


@pytest.mark.parametrize("given", [None, "regular", "vip9"])
@pytest.mark.parametrize("fee", ["regular", "vip9"])
def test_the_verdict_is_what_the_run_says_had_the_tier_been_named(world, fee, given):
    arms, ladder, calibration = world
    arms, ladder = [a for a in arms if a.profile == "B"], [ladder[i] for i in (0, 1, -2, -1)]
    named = _build((arms, (), calibration), facts=run_facts(fee_tier_given=fee))["verdict"]
    rows = _build((arms, ladder, calibration), facts=run_facts(fee_tier_given=given))["tiers"]
    (row,) = [r for r in rows if r["fee_tier"] == fee and r["model"]]
    assert (row["verdict"], row["reasons"]) == (named["word"], named["reasons"])
    assert not any("No fee tier was named" in r for r in row["reasons"])


def test_no_tier_of_simulated_data_goes_and_no_tier_without_a_model_does(world):
    rows = _build(world, facts=run_facts(simulated=True))["tiers"]
    assert {r["verdict"] for r in rows} == {"NO-GO"}
    assert all("simulated" in r["reasons"][0] for r in rows)
    assert all(any("nothing to roll out" in why for why in r["reasons"]) is not r["model"] for r in rows)


def test_the_ladder_adds_no_trials_and_moves_nothing_else(world, built):
    with_it, without = built, _build(world, ladder=())
    assert without["tiers"] == []
    assert {k: v for k, v in with_it.items() if k != "tiers"} == {k: v for k, v in without.items() if k != "tiers"}


def test_an_arm_of_the_matrix_may_be_passed_again(world, built):
    arms, ladder, _ = world
    shared = [a for a in arms if a.profile == "B"]
    rest = [a for a in ladder if a.fee not in (REGULAR, VIP9)]
    assert _build(world, ladder=[*shared[:2], *rest, *shared[2:]])["tiers"] == built["tiers"]


def test_a_tier_that_could_not_be_run_says_why():
    na = ArmInput("B", True, REGULAR, reason_na="12 labels of 200")
    none = arm(decisions([Reason.ALLOW] * 3), [1.0, 2.0, -1.0])
    row, other = build_report([], run_facts(), ladder=[na, none]).metrics["tiers"]
    assert (row["na"], row["trades"], row["net_bps"]["value"], row["verdict"]) == ("12 labels of 200", 0, None, "NO-GO")
    assert row["reasons"] == ["Arm regular B model could not be run: 12 labels of 200."]
    assert (other["na"], other["trades"], other["few"]) == (None, 3, "3 of 500 trades")


def test_a_ladder_of_another_profile_or_with_a_tier_twice_is_refused():
    b = arm(decisions([Reason.EV]), 1.0)
    with pytest.raises(ValueError, match="profile B, it got C6"):
        build_report([], run_facts(), ladder=[arm(decisions([Reason.EV]), 1.0, profile="C6")])
    with pytest.raises(ValueError, match="regular B no model"):
        build_report([], run_facts(), ladder=[b, dataclasses.replace(b)])


def test_arms_of_a_tier_must_have_judged_the_same_candidates():
    d = decisions([Reason.ALLOW, Reason.ALLOW])
    later = d.copy()
    later["ts_ns"] += np.int64(1)
    with pytest.raises(ValueError, match="same candidates"):
        build_report([], run_facts(), ladder=[arm(d, 1.0), arm(later, 1.0, model=True)])
