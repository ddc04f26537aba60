"""Arms with nothing, with next to nothing and with the wrong thing: each a stated outcome, and never a NaN."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reports.matrix import build_report
from reports.records import ArmInput, CalibrationInput
from runtime.decision import Reason
from tests.reports.make import REGULAR, arm, decisions, run_facts

ALLOW, EV = Reason.ALLOW, Reason.EV


def _metrics(model, none=None, **more):
    arms = [a for a in (none, model) if a is not None]
    metrics = build_report(arms, run_facts(), draws=40, **more).metrics
    json.dumps(metrics, allow_nan=False)
    return metrics


def _row(metrics):
    return metrics["matrix"][-1], metrics["matrix"][-1]["exits"]["runner"]


def _both(reasons, net, **more):
    """The same candidates with and without a model."""
    d = decisions(reasons, p=0.8)
    return arm(d, net, model=True, **more), arm(d, net, **more)


def _kpi(metrics, key):
    return next(k for k in metrics["kpis"][-1]["rows"] if k["key"] == key)


def test_no_candidates():
    m = _metrics(*_both([], 1.0))
    row, s = _row(m)
    assert (row["candidates"], row["allowed"], row["rejection"], row["reason_rates"]) == (0, 0, None, {})
    assert (s["trades"], s["few"], s["days"], s["few_days"]) == (0, "0 of 500 trades", 0, "0 of 20 days")
    assert s["net_bps"] == s["ir_trade"] == s["ir_stressed"] == s["ir_day"] == dict.fromkeys(("value", "low", "high"))
    assert s["max_drawdown_pct"] is None
    assert [t["trades"] for t in s["by_type"]] == [0] * 5
    assert "Arm regular B model: too little data to judge, 0 trades of 500 needed." in m["verdict"]["reasons"]


def test_everything_denied():
    m = _metrics(*_both([EV] * 40, 1.0))
    row, s = _row(m)
    assert (row["candidates"], row["allowed"], row["rejection"], row["reason_rates"]) == (40, 0, 1.0, {"ev": 1.0})
    assert (s["trades"], s["fill_rate"], s["cost_share"], s["est_slip_bps"]) == (0, None, None, None)
    assert m["verdict"]["word"] == "NO-GO"


def test_one_trade_is_a_mean_without_a_ratio():
    m = _metrics(*_both([ALLOW], 5.0))
    _, s = _row(m)
    assert s["net_bps"] == {"value": 5.0, "low": None, "high": None}
    assert s["ir_trade"] == s["ir_stressed"] == dict.fromkeys(("value", "low", "high"))
    assert (s["win_rate"], s["payoff"], s["few"]) == (1.0, None, "1 of 500 trades")
    assert (_kpi(m, "ir_trade")["status"], _kpi(m, "ir_trade")["note"]) == ("N/A", "1 of at least 30 needed")


def test_trades_without_spread_have_no_ratio_however_many():
    m = _metrics(*_both([ALLOW] * 600, 5.0))
    _, s = _row(m)
    assert (s["net_bps"]["value"], s["ir_trade"]["value"], s["few"]) == (5.0, None, "")
    assert (_kpi(m, "ir_trade")["status"], _kpi(m, "ir_trade")["note"]) == ("N/A", "not defined for these trades")
    assert _kpi(m, "dsr")["status"] == "N/A"


def test_costs_alone_may_have_the_spread():
    model, none = _both([ALLOW] * 40, 5.0, fee=REGULAR, slip=np.tile([0.5, 1.5], 20))
    _, s = _row(_metrics(model, none))
    assert s["ir_trade"]["value"] is None
    assert s["net_bps"] == {"value": 5.0, "low": None, "high": None}
    assert s["stressed_bps"]["value"] == pytest.approx(5.0 - 0.5 * (3.0 + 1.0))
    assert s["ir_stressed"]["low"] < s["ir_stressed"]["value"] < s["ir_stressed"]["high"]


def test_no_market_data_for_any_order():
    model, none = _both([ALLOW] * 40, 5.0, status=3)
    _, s = _row(_metrics(model, none))
    assert (s["trades"], s["no_data"], s["fill_rate"], s["few"]) == (0, 40, None, "0 of 500 trades")


def test_nothing_filled():
    _, s = _row(_metrics(*_both([ALLOW] * 40, 5.0, status=1)))
    assert (s["trades"], s["unfilled"], s["fill_rate"], s["max_drawdown_bps"]) == (0, 40, 0.0, None)


def test_twenty_good_trades_are_said_to_be_few():
    m = _metrics(*_both([ALLOW] * 20, np.tile([5.0, 6.0], 10)))
    _, s = _row(m)
    assert s["ir_trade"]["value"] > 10
    assert s["few"] == "20 of 500 trades"
    assert _kpi(m, "ir_trade")["status"] == "N/A"
    assert "too little data to judge, 20 trades of 500 needed" in m["verdict"]["reasons"][0]


def test_no_ladder_no_calibration_no_sensitivity_no_latency():
    m = _metrics(*_both([ALLOW] * 40, 5.0))
    assert m["tiers"] == []
    assert m["sensitivity"] == {"note": "not computed", "points": []}
    assert m["measured"]["latency"] == []
    assert m["calibration"]["reason_na"] == "no model was trained"
    assert _kpi(m, "ece")["note"] == "no model was trained"
    assert (_kpi(m, "e2e_p95")["status"], _kpi(m, "e2e_p95")["note"]) == (
        "N/A",
        "no end-to-end latency was measured for this arm",
    )


def test_forecasts_without_a_label():
    told = CalibrationInput(np.full(3, 0.5), np.full(3, -1), np.zeros(3, int))
    m = _metrics(*_both([ALLOW] * 3, 5.0), calibration=told)
    assert m["calibration"]["reason_na"] == "none of 3 candidates has both a forecast and a label"


def test_an_estimate_without_an_end_is_not_averaged():
    """A book too thin for the size is estimated at infinity: that is no number to average."""
    _, s = _row(_metrics(*_both([ALLOW] * 3, 5.0, est_slip=np.array([0.5, np.inf, 1.5]))))
    assert s["est_slip_bps"] == 1.0


def test_only_arms_that_were_not_run():
    m = _metrics(ArmInput("B", True, REGULAR, reason_na="12 labels of 200"))
    assert m["matrix"][0]["na"] == "12 labels of 200"
    assert (m["kpis"], m["model_vs_none"], m["measured"]["kpis"]) == ([], [], [])


def test_a_variant_is_an_arm_like_any_other():
    """C6 takes what C takes, is judged by the bands of C, and is paired with itself."""
    d = decisions([ALLOW] * 20 + [EV] * 20, tier=2, p=0.8)
    arms = [arm(d, 1.0, profile=p, model=m) for p in ("C", "C6") for m in (False, True)]
    m = build_report(arms, run_facts(), draws=20).metrics
    c, c6 = (next(k for k in m["kpis"] if k["profile"] == p) for p in ("C", "C6"))
    assert c["rows"] == c6["rows"]
    assert next(k for k in c6["rows"] if k["key"] == "rejection")["status"] == "PASS"
    assert {r["profile"] for r in m["model_vs_none"]} == {"C", "C6"}
    assert [(r["profile"], r["candidates"]) for r in m["matrix"]] == [(p, 40) for p in ("C", "C", "C6", "C6")]
    assert m["run"]["trials"] == 8  # four arms of one tier, two exits each
