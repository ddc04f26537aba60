"""Every reason for a NO-GO, and the one way to a GO."""

from __future__ import annotations

import pytest

from reports.kpis import Kpi
from reports.records import EXITS, ArmInput
from reports.statistics import Interval, PairedDifference
from reports.verdict import Headline, big_tick_note, timeout_share, verdict
from runtime.decision import Reason
from tests.reports.make import REGULAR, arm, decisions, run_facts

MODEL = arm(decisions([Reason.ALLOW]), 1.0, model=True)
NAN = float("nan")


def _pair(low=0.5, own=0.4, blocks=40):
    d = PairedDifference(Interval(1, low, 2), Interval(1, own, 2), Interval(0, -1, 1), blocks, 900, 300, 600)
    return dict.fromkeys(EXITS, d)


def _kpi(key="ir_trade", status="PASS", value=0.2, n=600, **more):
    return Kpi(key, "after-cost IR a trade", status, value, ">= 0", n, **more)


GOOD = Headline(MODEL, (_kpi("trades", value=600.0), _kpi()), _pair())


def _reasons(facts=None, head=GOOD):
    return verdict(facts or run_facts(), [head]).reasons


def test_go_needs_everything():
    got = verdict(run_facts(), [GOOD])
    assert (got.go, got.word, got.reasons) == (True, "GO", ())


def test_simulated_data_never_goes():
    (why,) = _reasons(run_facts(simulated=True))
    assert why == "The data is simulated with a planted edge: it says nothing about a real market."


def test_the_fee_tier_must_be_named():
    (why,) = _reasons(run_facts(fee_tier_given=None))
    assert why.startswith("No fee tier was named")


def test_a_failed_kpi_is_named_with_its_numbers():
    (why,) = _reasons(head=Headline(MODEL, (_kpi(status="FAIL", value=-0.2),), _pair()))
    assert why == "Arm regular B model: after-cost IR a trade (runner exit) fails, -0.200 with n = 600, wanted >= 0."


def test_a_missing_kpi_blocks():
    (why,) = _reasons(head=Headline(MODEL, (_kpi(status="N/A", note="not computed by this version"),), _pair()))
    assert why == (
        "Arm regular B model: not available (runner exit): after-cost IR a trade (not computed by this version)."
    )


def test_missing_kpis_of_an_arm_are_one_reason():
    two = (_kpi(status="N/A", note="3 of 30"), _kpi("pbo", status="N/A", note="not computed"))
    (why,) = _reasons(head=Headline(MODEL, two, _pair()))
    assert "(3 of 30); " in why
    assert why.endswith("(not computed).")


def test_too_few_trades_are_one_reason_with_the_counts():
    head = Headline(
        MODEL, (_kpi("trades", "FAIL", 12.0, 12), _kpi(status="N/A", n=12, note="12 of at least 30")), _pair()
    )
    first, second = _reasons(head=head)
    assert first == "Arm regular B model: too little data to judge, 12 trades of 500 needed."
    assert "12 of at least 30" in second


def test_a_measured_number_stays_out_of_the_sentence():
    (why,) = _reasons(head=Headline(MODEL, (_kpi("e2e_p95", "FAIL", 61.234, measured=True),), _pair()))
    assert "61" not in why
    assert "measured section" in why


@pytest.mark.parametrize(("low", "own"), [(-0.1, 0.4), (0.5, -0.1), (0.0, 0.4)])
def test_the_model_must_beat_no_model_by_both_bounds(low, own):
    reasons = _reasons(head=Headline(MODEL, (_kpi(),), _pair(low, own)))
    assert len(reasons) == 2  # one an exit
    assert all("not shown to beat no model" in r for r in reasons)


def test_too_little_to_compare_says_how_much_there_was():
    reasons = _reasons(head=Headline(MODEL, (_kpi(),), _pair(NAN, NAN, blocks=3)))
    assert "300 model trades, 600 without it, in 3 blocks of 10 min" in reasons[0]


def test_arms_without_a_result():
    na = ArmInput("B", True, REGULAR, reason_na="no model: 137 labels in the training span, 200 needed")
    (why,) = _reasons(head=Headline(na))
    assert why == "Arm regular B model could not be run: no model: 137 labels in the training span, 200 needed."
    assert verdict(run_facts(), []).reasons == ("No headline arm was run.",)
    assert len(_reasons(head=Headline(MODEL))) == 2  # neither KPIs nor a comparison
    assert "nothing to roll out" in _reasons(head=Headline(arm(decisions([Reason.ALLOW]), 1.0), (_kpi(),)))[0]


def test_a_big_tick_is_said():
    facts = run_facts(tick_bps=8.13, label_outcomes=(1, 1, 98, 5, 7))
    assert timeout_share(facts.label_outcomes) == 0.98
    assert _reasons(facts) == ("The tick is 8.13 bps: 98.0 % of labels are time-outs.",)
    assert big_tick_note(run_facts(label_outcomes=(5, 6, 89, 0, 0))) == ""
    assert big_tick_note(run_facts(label_outcomes=())) == ""
    assert "unknown size" in big_tick_note(run_facts(tick_bps=NAN, label_outcomes=(0, 0, 1, 0, 0)))


def test_that_no_net_beats_the_logistic_baseline_comes_first():
    line = "Out of sample no net beats the logistic baseline (Brier 0.2405): model (tcn) 0.2460 (n = 900)."
    got = verdict(run_facts(simulated=True), [GOOD], line)
    assert got.reasons[0] == line
    assert len(got.reasons) == 2
    assert not verdict(run_facts(), [GOOD], line).go
