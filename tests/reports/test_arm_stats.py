"""Five trades worked by hand, and the intervals against arch itself."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length

from feature_repo.constants import SECOND_NS
from reports.arm_stats import exit_stats
from reports.records import EXITS, FACTS_DTYPE, ArmInput
from runtime.candidate import SigType
from runtime.decision import Reason
from runtime.metrics import ir_day
from tests.reports.make import DAY_S, REGULAR, START, arm, decisions, trades

DAY_NS = DAY_S * SECOND_NS
M, D, L = SigType.MOMENTUM, SigType.DIVERGENCE, SigType.LIQUIDATION


def _five():
    """Seven allowed: five filled, one unfilled, one while busy; and one denied, which counts nowhere.

    net = gross - fee - slip - funding: 10 - 2 - 1 - 0 = 7, -6 - 2 - 2 - 0 = -10, 12 - 2 - 1 - 1 = 8,
    3 - 2 + 1 - 0 = 2, -1 - 2 - 1 + 1 = -3.
    """
    d = decisions([Reason.ALLOW] * 7 + [Reason.EV], sig=[M, D, M, D, D, D, M, M])
    d["session"] = [True, True, False, False, True, True, True, True]
    d["size"] = [10_000, 20_000, 5_000, 20_000, 10_000, 10_000, 10_000, 0]
    book = trades(np.zeros(8), status=[0, 0, 0, 0, 0, 1, 2, 0], outcome=[0, 1, 0, 2, 2, 3, -1, 0], t_ns=d["ts_ns"])
    book["gross_bps"][:5] = [10.0, -6.0, 12.0, 3.0, -1.0]
    book["fee_bps"][:5] = 2.0
    book["slip_bps"][:5] = [1.0, 2.0, 1.0, -1.0, 1.0]
    book["funding_bps"][:5] = [0.0, 0.0, 1.0, 0.0, -1.0]
    book["net_bps"][:5] = [7.0, -10.0, 8.0, 2.0, -3.0]
    for unfilled in ("gross_bps", "fee_bps", "slip_bps", "funding_bps", "net_bps"):
        book[unfilled][5:7] = np.nan
    facts = np.zeros(8, FACTS_DTYPE)
    facts["exp_reward_bps"] = [10.0, 20.0, 10.0, 15.0, 20.0, 99.0, 99.0, 99.0]
    facts["est_slip_bps"] = [0.5, 1.0, 1.5, np.nan, 2.0, 99.0, 99.0, 99.0]
    return ArmInput("B", False, REGULAR, d, dict.fromkeys(EXITS, book), dict.fromkeys(EXITS, book[:7].copy()), facts)


def test_five_trades_by_hand():
    s = exit_stats(_five(), "label")
    assert (s.trades, s.unfilled, s.busy, s.no_data) == (5, 1, 1, 0)
    assert s.few == "5 of 500 trades"
    assert s.fill_rate == pytest.approx(5 / 6)
    assert (s.win_rate, s.timeout_share) == (0.6, 0.4)
    assert s.payoff == pytest.approx((17 / 3) / 6.5)
    assert s.gross_bps == pytest.approx(18 / 5)
    assert s.fee_bps == 2.0
    assert s.slip_bps == pytest.approx(4 / 5)
    assert s.est_slip_bps == 1.25  # of the four that have an estimate
    assert s.funding_bps == 0.0
    assert s.net_bps.value == pytest.approx(4 / 5)
    # Deviations 6.2, -10.8, 7.2, 1.2, -3.8: squares add up to 222.8.
    assert s.ir_trade.value == pytest.approx(0.8 / (222.8 / 4) ** 0.5)
    # Costs above 0 times 1.5, what was earned as it is: 5.5, -12, 6, 1, -4.5.
    assert s.stressed_bps.value == pytest.approx(-4 / 5)
    assert s.ir_stressed.value == pytest.approx(-0.8 / (231.5 - 5 * 0.64) ** 0.5 * 2)
    assert s.cost_share == pytest.approx((14 / 5) / 15.0)
    assert s.max_drawdown_bps == 10.0  # from 7 to -3
    # Sized: 7, -20, 4, 4, -3 dollars; 20 of a stated equity of 100,000 is 0.02 %.
    assert s.sized_pnl == pytest.approx(-8.0)
    assert s.max_drawdown_pct == pytest.approx(0.02)
    assert s.sized_bps == pytest.approx(-8.0 / 65_000 * 1e4)
    assert (s.handover_trades_share, s.divergence_trades) == (0.6, 3)
    assert s.handover_share == pytest.approx(2 / 3)
    assert (s.candidate_trades, s.days, s.few_days) == (5, 1, "1 of 20 days")
    assert np.isnan([s.ir_day.value, s.ir_day_stressed.value, s.net_bps.low, s.stressed_bps.low]).all()


def test_five_trades_by_type_by_hand():
    by = {t.sig_type: t for t in exit_stats(_five(), "label").by_type}
    m, d, none = by["momentum"], by["divergence"], by["liquidation"]
    assert (m.trades, m.fill_rate, m.win_rate) == (2, 1.0, 1.0)
    assert np.isnan(m.payoff)
    assert (m.gross_bps, m.fee_bps, m.slip_bps, m.est_slip_bps, m.funding_bps, m.net_bps) == (
        11.0, 2.0, 1.0, 1.0, 0.5, 7.5,
    )  # fmt: skip
    assert m.cost_share == pytest.approx(3.5 / 10.0)
    assert m.handover_share == 0.5
    assert (d.trades, d.fill_rate) == (3, 0.75)  # the one that did not fill was sent, too
    assert d.win_rate == pytest.approx(1 / 3)
    assert d.payoff == pytest.approx(2 / 6.5)
    assert (d.gross_bps, d.fee_bps, d.est_slip_bps) == (pytest.approx(-4 / 3), 2.0, 1.5)
    assert d.slip_bps == pytest.approx(2 / 3)
    assert d.funding_bps == pytest.approx(-1 / 3)
    assert d.net_bps == pytest.approx(-11 / 3)
    assert d.cost_share == pytest.approx((7 / 3) / (55 / 3))
    assert d.handover_share == pytest.approx(2 / 3)
    assert (none.trades, np.isnan(none.fill_rate), np.isnan(none.est_slip_bps)) == (0, True, True)
    assert list(by) == [s.name.lower() for s in SigType]


def test_enough_trades_are_not_called_few():
    assert exit_stats(arm(decisions([Reason.ALLOW] * 500), 1.0), "label", draws=20).few == ""
    assert exit_stats(arm(decisions([Reason.ALLOW] * 499), 1.0), "label", draws=20).few == "499 of 500 trades"


def test_without_facts_the_estimate_and_the_cost_share_are_unknown():
    a = arm(decisions([Reason.ALLOW] * 3), [1.0, 2.0, -1.0])
    s = exit_stats(ArmInput("B", False, REGULAR, a.decisions, a.candidate_book, a.portfolio_book), "label")
    assert np.isnan([s.est_slip_bps, s.cost_share]).all()


@pytest.mark.parametrize("field", ["gross_bps", "fee_bps", "slip_bps", "funding_bps", "net_bps"])
def test_a_filled_trade_without_a_number_is_refused(field):
    a = arm(decisions([Reason.ALLOW] * 3), 1.0)
    a.portfolio_book["label"][field][1] = np.nan
    with pytest.raises(ValueError, match="1 filled trades of exit 'label'"):
        exit_stats(a, "label")


def test_an_arm_that_was_not_run_has_no_figures():
    with pytest.raises(ValueError, match="regular B model was not run: 12 labels of 200"):
        exit_stats(ArmInput("B", True, REGULAR, reason_na="12 labels of 200"), "label")


def _arch(statistic, x, seed, draws):
    """Percentile bounds straight from arch, with the block length the report chooses."""
    block = float(optimal_block_length(x)["stationary"].iloc[0])
    drawn = StationaryBootstrap(min(max(block, 1.0), len(x) / 4), x, seed=np.random.default_rng(seed))
    return drawn.conf_int(statistic, draws, method="percentile", size=0.95).ravel()


def test_trade_intervals_are_archs_at_both_costs():
    rng = np.random.default_rng(8)
    net = rng.normal(2.0, 10.0, 300)
    s = exit_stats(arm(decisions([Reason.ALLOW] * 300), net), "runner", seed=3, draws=400)
    assert [s.net_bps.low, s.net_bps.high] == pytest.approx(_arch(np.mean, net, 3, 400))
    # Costs are 3.5 bps for every trade here, so the stressed result is the same one, 1.75 bps lower.
    assert [s.stressed_bps.low, s.stressed_bps.high] == pytest.approx(_arch(np.mean, net, 3, 400) - 1.75)
    ir = _arch(lambda x: x.mean() / x.std(ddof=1), net, 3, 400)
    assert [s.ir_trade.low, s.ir_trade.high] == pytest.approx(ir)
    assert s.ir_stressed.low < s.ir_stressed.value < s.ir_trade.value
    assert s.ir_stressed.high < s.ir_trade.high


def _month(n=30, seed=5, **more):
    """Three trades a day of 10,000, over n days."""
    rng = np.random.default_rng(seed)
    d = decisions([Reason.ALLOW] * (3 * n))
    d["ts_ns"] = START + np.repeat(np.arange(n), 3) * DAY_NS + np.tile([1, 2, 3], n) * 3600 * SECOND_NS
    return arm(d, rng.normal(3.0, 10.0, 3 * n), **more)


def test_the_interval_of_daily_ir_is_archs_over_days():
    a = _month()
    s = exit_stats(a, "label", seed=3, draws=400)
    net = a.portfolio_book["label"]["net_bps"]
    daily = net.reshape(30, 3).sum(axis=1) * 1e-4 * 10_000  # dollars: size 10,000
    assert s.days == 30
    assert s.few_days == ""
    year = 365**0.5
    assert s.ir_day.value == pytest.approx(year * daily.mean() / daily.std(ddof=1))
    bounds = _arch(lambda x: x.mean() / x.std(ddof=1), daily, 3, 400)
    assert [s.ir_day.low, s.ir_day.high] == pytest.approx(year * bounds)
    stressed = daily - 3 * 1.75
    assert s.ir_day_stressed.value == pytest.approx(year * stressed.mean() / stressed.std(ddof=1))
    assert s.ir_day_stressed.low < s.ir_day_stressed.value < s.ir_day_stressed.high


def test_daily_ir_agrees_with_the_runtimes_year():
    a = _month()
    s = exit_stats(a, "label", draws=50)
    book = a.portfolio_book["label"]
    assert s.ir_day.value == pytest.approx(ir_day(book["t_end_ns"], book["net_bps"], 10_000.0))
    assert s.ir_day.low < s.ir_day.value < s.ir_day.high


def test_nineteen_days_have_no_daily_ir_and_twenty_have():
    few, enough = (exit_stats(_month(n), "label", draws=50) for n in (19, 20))
    assert np.isnan([*few.ir_day, *few.ir_day_stressed]).all()
    assert few.few_days == "19 of 20 days"
    assert np.isfinite([*enough.ir_day, *enough.ir_day_stressed]).all()


def test_the_interval_of_daily_ir_covers_at_about_its_level():
    hits = 0
    for seed in range(60):
        a = _month(60, seed)
        s = exit_stats(a, "label", draws=100)
        # Daily mean 9, deviation 10 x sqrt(3).
        hits += s.ir_day.low <= 365**0.5 * 9 / (10 * 3**0.5) <= s.ir_day.high
    assert 0.85 <= hits / 60 <= 1.0


def test_handed_over_trades_of_every_type_count():
    d = decisions([Reason.ALLOW] * 4, sig=[M, L, D, D], session=[True, True, True, False])
    s = exit_stats(arm(d, 1.0), "label")
    assert (s.handover_trades_share, s.handover_share) == (0.75, 0.5)
