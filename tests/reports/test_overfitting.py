"""PBO by CSCV: against a literal loop, on noise, on skill, and on what was overfitted by construction."""

from __future__ import annotations

import numpy as np
import pytest

from reports.overfitting import GROUPS, MIN_PBO_BLOCKS, MIN_STRATEGY_TRADES, pbo, sharpe
from tests.oracles_cscv import pbo_literal

MANY = MIN_STRATEGY_TRADES


def _pbo(x, trades=MANY):
    return pbo(x, np.full(np.shape(x)[1], trades))


def _overfitted(blocks, strategies, rng):
    """Each strategy earns in its own two groups and loses as much in all others: what shone will not shine again."""
    group = np.arange(blocks) * GROUPS // blocks
    shines = group[:, None] // 2 == np.arange(strategies)[None, :] % (GROUPS // 2)
    return np.where(shines, 7.0, -1.0) + rng.normal(0, 0.5, (blocks, strategies))


@pytest.mark.parametrize("strategies", [2, 3, 4, 7])
@pytest.mark.parametrize("blocks", [32, 37])
def test_it_is_the_papers_loop(blocks, strategies):
    """Groups of four and of five, ties inside and outside, a strategy that trades in one half of the time only."""
    rng = np.random.default_rng(blocks + strategies)
    x = np.round(rng.normal(0.02, 0.1, (blocks, strategies)), 1)
    x[: blocks // 2, 1] = x[: blocks // 2, 0]
    x[: blocks // 2, -1] = 0.0
    got = pbo(x, np.full(strategies, MANY), groups=8)
    assert (got.n_strategies, got.n_blocks, got.splits, got.reason_na) == (strategies, blocks, 70, "")
    assert got.value == pytest.approx(pbo_literal(x.tolist(), 8), abs=1e-12)
    assert 0.0 < got.value < 1.0


def test_sixteen_groups_have_12870_splits():
    assert _pbo(np.random.default_rng(0).normal(size=(70, 3))).splits == 12_870


def test_noise_of_an_odd_number_counts_the_median_as_overfit():
    rng = np.random.default_rng(12)
    assert np.mean([_pbo(rng.normal(size=(96, 3))).value for _ in range(30)]) == pytest.approx(2 / 3, abs=0.1)


def test_a_clearly_better_strategy_is_not_overfit():
    x = np.random.default_rng(1).normal(size=(128, 8))
    x[:, 5] += 1.0
    assert _pbo(x).value == 0.0


def test_strategies_fitted_to_their_own_days_are_overfit():
    got = _pbo(_overfitted(160, 8, np.random.default_rng(2)))
    assert got.value > 0.8


def test_the_units_and_the_order_of_the_strategies_do_not_matter():
    x = np.random.default_rng(4).normal(size=(100, 6))
    value = _pbo(x).value
    assert _pbo(x[:, ::-1]).value == value
    assert _pbo(1e4 * x).value == value
    assert _pbo(x * [1, 20, 3, 4, 5, 6]).value == value  # each has a Sharpe ratio, whatever its size


def test_the_same_results_twice_are_one_strategy():
    x = np.random.default_rng(5).normal(size=(100, 4))
    twice = _pbo(x[:, [0, 1, 2, 3, 3, 1]])
    assert twice == _pbo(x)
    assert twice.n_strategies == 4


def test_a_strategy_of_few_trades_does_not_take_part():
    x = np.random.default_rng(6).normal(size=(100, 4))
    x[:, 3] = 0.0
    x[50, 3] = 40.0  # one lucky trade
    got = pbo(x, np.array([MANY, MANY, MANY, MANY - 1]))
    assert got == _pbo(x[:, :3])
    assert got.n_strategies == 3


@pytest.mark.parametrize(
    ("blocks", "strategies", "trades", "reason"),
    [
        (MIN_PBO_BLOCKS - 1, 4, MANY, "63 blocks of time, 64 needed"),
        (200, 1, MANY, "1 distinct strategies of 30 trades, 2 needed"),
        (200, 4, MANY - 1, "0 distinct strategies of 30 trades, 2 needed"),
        (200, 0, MANY, "0 distinct strategies of 30 trades, 2 needed"),
        (0, 0, MANY, "0 distinct strategies of 30 trades, 2 needed"),
    ],
)
def test_too_little_is_not_available_and_says_what_is_missing(blocks, strategies, trades, reason):
    got = _pbo(np.random.default_rng(7).normal(size=(blocks, strategies)), trades)
    assert np.isnan(got.value)
    assert (got.reason_na, got.splits, got.n_blocks) == (reason, 0, blocks)


def test_the_first_number_of_blocks_that_is_enough():
    assert not _pbo(np.random.default_rng(7).normal(size=(MIN_PBO_BLOCKS, 4))).reason_na


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        _pbo(np.full((64, 2), np.nan))
    with pytest.raises(ValueError, match="and trades"):
        pbo(np.zeros((64, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="and trades"):
        pbo(np.zeros(64), np.array(MANY))


def test_sharpe_without_spread():
    got = sharpe(np.array([0.0, 2.0, -2.0, 3.0]), np.array([0.0, 0.0, -1e-17, 4.0]))
    assert got.tolist() == [0.0, np.inf, -np.inf, 1.5]
