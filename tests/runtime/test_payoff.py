"""What targets and misses pay, and the probabilities that follow."""

from __future__ import annotations

import math

import pytest

from runtime.payoff import BARRIERS, Payoff

MOSTLY_TIMEOUTS = Payoff(target_R=0.92, miss_R=-0.13)


@pytest.mark.parametrize(
    ("R", "cost", "p"), [(10.0, 0.0, 0.55), (10.0, 9.0, 1.0), (40.0, 10.0, 0.675), (100.0, 10.0, 0.6)]
)
def test_breakeven_when_every_trade_ends_at_a_barrier(R, cost, p):
    found = BARRIERS.p_breakeven(R, cost)
    assert found == pytest.approx(p)
    assert found * 0.9 * R - (1 - found) * 1.1 * R == pytest.approx(cost)


def test_breakeven_counts_what_misses_really_pay():
    # 0.92 p - 0.13 (1 - p) = 10 / 40
    assert MOSTLY_TIMEOUTS.p_breakeven(40.0, 10.0) == pytest.approx((0.25 + 0.13) / 1.05)
    assert BARRIERS.p_breakeven(40.0, 10.0) == pytest.approx(0.675)


@pytest.mark.parametrize("payoff", [BARRIERS, MOSTLY_TIMEOUTS])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.65, 1.0])
def test_p_of_undoes_gross(payoff, p):
    assert payoff.p_of(payoff.gross_R(p)) == pytest.approx(p)


@pytest.mark.parametrize(("tau", "gross_R"), [(0.70, 0.3), (0.65, 0.2), (0.60, 0.1)])
def test_what_the_profiles_ask_for_at_the_barriers(tau, gross_R):
    assert BARRIERS.gross_R(tau) == pytest.approx(gross_R)


@pytest.mark.parametrize("R", [math.nan, 0.0, -1.0])
def test_no_breakeven_without_r(R):
    assert math.isnan(BARRIERS.p_breakeven(R, 10.0))
