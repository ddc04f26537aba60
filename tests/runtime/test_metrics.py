"""Literal values of the strategy metrics, and where they are not known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.metrics import daily_pnl, ir_day, ir_trade, max_drawdown, payoff, reprice, win_rate

DAY = 86_400_000_000_000
NET = np.array([4.0, -2.0, 0.0, 6.0])


def test_ir_trade():
    # mean 2, squared deviations 4 + 16 + 4 + 16 = 40, over 3
    assert ir_trade(NET) == pytest.approx(2.0 / math.sqrt(40.0 / 3.0), rel=1e-15)
    assert ir_trade(NET) == pytest.approx(0.5477225575, abs=1e-10)


@pytest.mark.parametrize("net", [[], [3.0], [0.1, 0.1, 0.1], [0.0, 0.0]])
def test_ir_trade_is_unknown_without_spread(net):
    assert math.isnan(ir_trade(np.array(net)))


def test_win_rate_and_payoff():
    assert win_rate(NET) == 0.5  # zero is no win
    assert payoff(NET) == 2.5  # mean gain 5 over loss 2
    assert math.isnan(win_rate(np.array([])))
    for net in ([], [1.0], [-1.0]):
        assert math.isnan(payoff(np.array(net)))


def test_max_drawdown():
    # equity 0 4 2 2 8 1 3: the fall from 8 to 1
    assert max_drawdown(np.array([4.0, -2.0, 0.0, 6.0, -7.0, 2.0])) == 7.0
    assert max_drawdown(np.array([-3.0, 1.0])) == 3.0  # from the start at 0
    assert max_drawdown(np.array([1.0, 2.0])) == 0.0
    assert max_drawdown(np.array([])) == 0.0


def test_daily_pnl_fills_days_without_trades():
    t = np.array([10 * DAY + 5, 10 * DAY + DAY - 1, 12 * DAY])
    days, sums = daily_pnl(t, np.array([1.0, 2.0, 4.0]))
    assert days.tolist() == [10, 11, 12]
    assert sums.tolist() == [3.0, 0.0, 4.0]
    days, sums = daily_pnl(t, np.array([1.0, 2.0, 4.0]), span_ns=(9 * DAY, 13 * DAY + 1))
    assert days.tolist() == [9, 10, 11, 12, 13]
    assert sums.tolist() == [0.0, 3.0, 0.0, 4.0, 0.0]
    assert daily_pnl(np.array([], int), np.array([]))[1].size == 0
    assert daily_pnl(np.array([], int), np.array([]), span_ns=(0, DAY))[1].tolist() == [0.0, 0.0]


def test_ir_day():
    t = np.arange(20) * DAY
    pnl = np.where(np.arange(20) % 2 == 0, 300.0, -100.0)
    # mean 100, squared deviations 20 x 200^2 over 19
    want = 100.0 / math.sqrt(20 * 200.0**2 / 19) * math.sqrt(365)
    assert ir_day(t, pnl, 10_000.0) == pytest.approx(want, rel=1e-14)
    assert ir_day(t, pnl, 10_000.0) == pytest.approx(9.31061, abs=1e-5)


def test_ir_day_is_unknown_below_twenty_days():
    t = np.arange(19) * DAY
    pnl = np.arange(19.0)
    assert math.isnan(ir_day(t, pnl, 1.0))
    assert not math.isnan(ir_day(t, pnl, 1.0, span_ns=(0, 19 * DAY)))
    assert not math.isnan(ir_day(t, pnl, 1.0, min_days=19))
    assert math.isnan(ir_day(t[:0], pnl[:0], 1.0, min_days=0))


def test_reprice_stresses_costs_and_never_gains():
    gross, slip = np.array([20.0, 20.0]), np.array([2.0, -2.0])
    fee, funding = np.array([10.0, 10.0]), np.array([1.0, -1.0])
    assert reprice(gross, slip, fee, funding, 1.0).tolist() == [7.0, 13.0]
    assert reprice(gross, slip, fee, funding, 1.5).tolist() == [0.5, 8.0]
    assert gross.tolist() == [20.0, 20.0]
