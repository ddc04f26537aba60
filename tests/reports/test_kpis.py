"""KPI sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reports.arm_stats import candidate_net, exit_stats, paired, stressed_net
from reports.calibration_report import calibration_report
from reports.funnel import rejection
from reports.kpis import KpiContext, kpi_text, kpis
from reports.latency import latency_stats
from reports.overfitting import Overfitting
from reports.records import CalibrationInput
from runtime.candidate import SigType
from runtime.decision import Reason
from tests.reports.make import arm, decisions, e2e_rows, trades

NO_CALIBRATION = KpiContext(calibration_report(None))


def _kpis(a, exit_="runner", context=NO_CALIBRATION, e2e=None):
    got = kpis(a.profile, a.model, exit_stats(a, exit_, draws=50), rejection(a), latency_stats(e2e), context)
    return {k.key: k for k in got}


# 24 wins of 10, 16 losses of 5: mean 4, deviation sqrt((24 x 36 + 16 x 81) / 39).
NET = np.tile([10.0, 10.0, 10.0, -5.0, -5.0], 8)
STD = ((24 * 36 + 16 * 81) / 39) ** 0.5


def test_trade_sums_literal():
    s = exit_stats(arm(decisions([Reason.ALLOW] * 40), NET), "label", draws=50)
    assert (s.trades, s.win_rate, s.payoff) == (40, 0.6, 2.0)
    assert s.net_bps.value == 4.0
    assert s.ir_trade.value == pytest.approx(4 / STD)
    assert (s.gross_bps, s.fee_bps, s.slip_bps, s.funding_bps) == (7.5, 3.0, 0.5, 0.0)
    assert s.stressed_bps.value == pytest.approx(4 - 0.5 * 3.5)
    assert s.ir_stressed.value == pytest.approx(2.25 / STD)
    assert s.cost_share == pytest.approx(3.5 / 20)
    assert s.max_drawdown_bps == 10.0
    assert (s.days, s.sized_bps) == (1, pytest.approx(4.0))
    assert s.sized_pnl == pytest.approx(40 * 10_000 * 4e-4)
    assert s.by_type[SigType.MOMENTUM].trades == 40
    assert np.isnan(s.by_type[SigType.RECLAIM].win_rate)


def test_a_trade_of_exactly_nothing_is_no_loss():
    assert exit_stats(arm(decisions([Reason.ALLOW] * 3), [10.0, 0.0, -5.0]), "label").payoff == 2.0


def test_stress_never_helps():
    t = trades([1.0], fee=-0.5, slip=-1.0, funding=-2.0)
    assert stressed_net(t).tolist() == [1.0]
    assert stressed_net(trades([1.0], fee=2.0, slip=1.0, funding=1.0)).tolist() == [-1.0]


def test_sizes_weigh_the_sized_result_only():
    d = decisions([Reason.ALLOW] * 2, size=np.array([10_000.0, 30_000.0]))
    s = exit_stats(arm(d, [4.0, -4.0]), "label")
    assert s.net_bps.value == 0.0
    assert s.sized_bps == pytest.approx(-2.0)


def test_statuses_are_counted_and_only_fills_earn():
    d = decisions([Reason.ALLOW] * 5)
    s = exit_stats(arm(d, [1.0, 2.0, 4.0, 8.0, 16.0], status=[0, 1, 2, 3, 0]), "label")
    assert (s.trades, s.unfilled, s.busy, s.no_data) == (2, 1, 1, 1)
    assert s.net_bps.value == 8.5
    assert s.fill_rate == pytest.approx(2 / 3)
    assert s.candidate_trades == 5  # each on its own
    assert s.candidate_bps == pytest.approx(6.2)


def test_candidate_book_counts_the_allowed_only():
    a = arm(decisions([Reason.ALLOW, Reason.EV, Reason.ALLOW]), [1.0, 100.0, 3.0])
    assert candidate_net(a, "label").tolist() == pytest.approx([1.0, np.nan, 3.0], nan_ok=True)


def test_days_are_annualised_from_twenty_on_and_quiet_days_count():
    def days(n):
        d = decisions([Reason.ALLOW] * n, gap_s=86_400)
        return exit_stats(arm(d, np.where(np.arange(n) % 2, 0.0, 10.0)), "label", draws=50)

    assert np.isnan(days(19).ir_day.value)
    got = days(20)
    daily = np.where(np.arange(20) % 2, 0.0, 10.0) * 1e-4
    assert got.ir_day.value == pytest.approx(daily.mean() / daily.std(ddof=1) * 365**0.5)
    sparse = decisions([Reason.ALLOW, *[Reason.EV] * 19, Reason.ALLOW], gap_s=86_400)
    assert exit_stats(arm(sparse, 10.0), "label").days == 21


def test_all_pass():
    n = 600
    sig = np.where(np.arange(n) % 2, SigType.DIVERGENCE, SigType.MOMENTUM)
    gap = 86_400 * 30 // n
    reasons = [Reason.ALLOW] * n + [Reason.P_BELOW_TAU] * 700 + [Reason.EV] * 200
    d = decisions(reasons, sig=0, session=True, p=0.7, gap_s=gap)
    d["sig_type"][:n] = sig
    a = arm(d, np.tile([10.0, 11.0, 10.0, 11.0, -5.0, -5.0], 250), model=True)
    y = np.concatenate([np.tile([0, 0, 0, 0, 1], 100), np.tile([1, 1, 1, 1, 0], 100)])
    good = calibration_report(CalibrationInput(np.repeat([0.2, 0.8], 500), y, np.zeros(1000)))
    got = _kpis(
        a, context=KpiContext(good, [0.1, 0.12], 5, pbo=Overfitting(0.1, 8, 90, 12_870)), e2e=e2e_rows([2.0] * 100)
    )
    assert {k.status for k in got.values()} == {"PASS"}, [k for k in got.values() if k.status != "PASS"]
    assert got["rejection"].value == pytest.approx(900 / 1500)
    assert got["win_rate_divergence"].n == 300
    assert list(got) == [
        "trades",
        "ir_trade",
        "ir_stressed",
        "ir_day",
        "win_rate_momentum",
        "payoff_momentum",
        "win_rate_divergence",
        "cost_share",
        "rejection",
        "handover",
        "e2e_p95",
        "ece",
        "dsr",
        "pbo",
    ]


def test_failures_are_told_apart_from_what_is_missing():
    got = _kpis(arm(decisions([Reason.ALLOW] * 40), -NET, reward=5.0))
    assert {k: got[k].status for k in got} == {
        "trades": "FAIL",
        "ir_trade": "FAIL",
        "ir_stressed": "FAIL",
        "ir_day": "N/A",
        "win_rate_momentum": "FAIL",
        "payoff_momentum": "FAIL",
        "win_rate_divergence": "N/A",
        "cost_share": "FAIL",
        "rejection": "FAIL",
        "handover": "N/A",
        "e2e_p95": "N/A",
        "ece": "N/A",
        "dsr": "FAIL",
        "pbo": "N/A",
    }
    assert got["ir_day"].note == "1 of at least 20 needed"
    assert got["ece"].note == "no model in this arm"
    assert got["pbo"].note == "not computed"
    assert got["payoff_momentum"].value == 0.5


@pytest.mark.parametrize(
    ("profile", "judged", "status"),
    [
        ("A", 80, "PASS"),
        ("A", 69, "FAIL"),
        ("A", 91, "FAIL"),
        ("B", 50, "PASS"),
        ("B", 70, "PASS"),
        ("B", 71, "FAIL"),
        ("C", 40, "PASS"),
        ("C", 60, "PASS"),
        ("C", 61, "FAIL"),
        ("C", 39, "FAIL"),
    ],
)
def test_rejection_bands(profile, judged, status):
    a = arm(decisions([Reason.SLIPPAGE] * judged + [Reason.ALLOW] * (100 - judged)), 1.0, profile=profile)
    assert _kpis(a)["rejection"].status == status


def test_few_or_no_trades_are_not_judged():
    for n in (0, 1, 29):
        got = _kpis(arm(decisions([Reason.ALLOW] * n), NET[:n]))
        assert (got["trades"].status, got["ir_trade"].status, got["ir_trade"].n) == ("FAIL", "N/A", n)
    assert got["ir_trade"].note == "29 of at least 30 needed"
    flat = _kpis(arm(decisions([Reason.ALLOW] * 40), 2.0))
    assert (flat["ir_trade"].status, flat["ir_trade"].note) == ("N/A", "not defined for these trades")


def test_handover():
    d = decisions([Reason.ALLOW] * 50, sig=SigType.DIVERGENCE, session=np.arange(50) < 30)
    got = _kpis(arm(d, 1.0))["handover"]
    assert (got.status, got.value) == ("PASS", 0.6)


@pytest.mark.parametrize(
    ("sig", "ms", "status"),
    [
        (SigType.MOMENTUM, 15.0, "PASS"),
        (SigType.MOMENTUM, 15.1, "FAIL"),
        (SigType.LIQUIDATION, 15.1, "FAIL"),
        (SigType.RECLAIM, 30.0, "PASS"),
        (SigType.RECLAIM, 30.1, "FAIL"),
        (SigType.REVERSION, 50.1, "FAIL"),
        (SigType.DIVERGENCE, 50.0, "PASS"),
    ],
)
def test_latency_is_judged_against_the_budget_of_its_type(sig, ms, status):
    got = _kpis(arm(decisions([]), 1.0), e2e=e2e_rows([ms] * 30, sig))["e2e_p95"]
    assert (got.status, got.value, got.n, got.measured) == (status, pytest.approx(ms), 30, True)


def test_the_type_that_is_worst_for_its_budget_is_the_one_judged():
    rows = np.concatenate([e2e_rows([40.0] * 20, SigType.REVERSION), e2e_rows([16.0] * 20, SigType.MOMENTUM)])
    got = _kpis(arm(decisions([]), 1.0), e2e=rows)["e2e_p95"]
    assert (got.status, got.value) == ("FAIL", 16.0)
    assert got.note == "momentum, budget 15 ms; event to decision"


def test_untimed_or_hardly_timed_arms_are_not_judged():
    untimed = _kpis(arm(decisions([]), 1.0))["e2e_p95"]
    assert (untimed.status, untimed.note) == ("N/A", "no end-to-end latency was measured for this arm")
    few = _kpis(arm(decisions([]), 1.0), e2e=e2e_rows([1.0] * 29))["e2e_p95"]
    assert (few.status, few.note) == ("N/A", "29 of at least 30 needed")


def test_a_fill_without_a_result_is_refused():
    with pytest.raises(ValueError, match="1 filled trades"):
        exit_stats(arm(decisions([Reason.ALLOW]), np.nan), "label")


def test_cost_share_needs_facts():
    a = arm(decisions([Reason.ALLOW] * 40), NET, reward=np.nan)
    assert _kpis(a)["cost_share"].status == "N/A"


def test_paired_arms_must_have_judged_the_same_candidates():
    model = arm(decisions([Reason.P_BELOW_TAU, Reason.ALLOW]), [-8.0, 2.0], model=True)
    none = arm(decisions([Reason.ALLOW, Reason.ALLOW]), [-8.0, 2.0])
    assert paired(model, none)["label"].difference.value == 4.0
    for others in (decisions([Reason.ALLOW] * 2, gap_s=31), decisions([Reason.ALLOW]), decisions([Reason.ALLOW] * 3)):
        with pytest.raises(ValueError, match="same candidates"):
            paired(model, arm(others, 1.0))


def test_more_trials_lower_the_deflated_sharpe():
    a = arm(decisions([Reason.ALLOW] * 40), NET)
    values = [_kpis(a, context=KpiContext(calibration_report(None), [0.1, 0.5], n))["dsr"].value for n in (2, 10, 100)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[2]


def test_text_in_the_unit_of_the_threshold():
    assert kpi_text("cost_share", "<= 40%", 0.4231) == "42.3%"
    assert kpi_text("trades", ">= 500", 1234.0) == "1,234"
    assert kpi_text("e2e_p95", "", 1.234) == "1.23 ms"
    assert kpi_text("dsr", ">= 0.95", float("nan")) == "-"


@pytest.mark.parametrize(("value", "status"), [(0.2, "PASS"), (0.2001, "FAIL")])
def test_pbo_is_judged_at_a_fifth_and_says_what_it_is_of(value, status):
    context = KpiContext(calibration_report(None), pbo=Overfitting(value, 16, 108, 12_870))
    got = _kpis(arm(decisions([Reason.ALLOW] * 40), NET), context=context)["pbo"]
    assert (got.status, got.value, got.n) == (status, value, 108)
    assert got.note == "16 strategies of this fee tier, 108 blocks of 10 min"


def test_pbo_that_could_not_be_computed_says_why():
    context = KpiContext(
        calibration_report(None), pbo=Overfitting(float("nan"), 1, 30, 0, "30 blocks of time, 64 needed")
    )
    got = _kpis(arm(decisions([Reason.ALLOW] * 40), NET), context=context)["pbo"]
    assert (got.status, got.note, got.n) == ("N/A", "30 blocks of time, 64 needed", 30)
