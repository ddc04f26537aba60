"""Hansen's test: its size on noise, its power on a planted winner, and the series arch cannot judge."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import SPA

from reports.superiority import MIN_SPA_BLOCKS, superior

BLOCKS = 108  # 18 h of test spans


def _rejected(rng, runs, mean=0.0, level=0.1):
    """Share of runs in which the best of six strategies, the first with a mean, is called better than nothing."""
    out = 0
    for seed in range(runs):
        gain = rng.normal(size=(BLOCKS, 6))
        gain[:, 0] += mean
        out += superior(gain, reps=200, seed=seed).p_consistent <= level
    return out / runs


@pytest.mark.slow
def test_size_on_noise():
    # At 10 % it rejects 13 % of true nulls (400 runs); the best of six tested alone would be called good in 47 %.
    assert 0.03 <= _rejected(np.random.default_rng(0), 60) <= 0.25


@pytest.mark.slow
def test_power_on_a_planted_winner():
    assert _rejected(np.random.default_rng(1), 30, mean=0.4) >= 0.85


def test_a_quiet_winner_beside_a_loud_loser_is_found():
    """arch takes the largest mean: unscaled, the noise of the loud one hides the quiet one."""
    rng = np.random.default_rng(2)
    gain = rng.normal(size=(BLOCKS, 2)) * [1.0, 100.0] + [0.5, 0.0]
    gain[:, 1] -= gain[:, 1].mean() - 0.1
    assert superior(gain).p_consistent < 0.01
    unscaled = SPA(np.zeros(BLOCKS), -gain, block_size=1, reps=500, seed=1)
    unscaled.compute()
    assert unscaled.pvalues["consistent"] > 0.2


def test_units_do_not_matter_and_the_seed_decides():
    gain = np.random.default_rng(3).normal(0.05, 1.0, (BLOCKS, 3))
    got = superior(gain, reps=300)
    assert got == superior(gain, reps=300) == superior(1e3 * gain, reps=300)
    assert got != superior(gain, reps=300, seed=8)
    assert got.p_lower <= got.p_consistent <= got.p_upper


def test_no_number_of_draws_shows_that_p_is_zero():
    assert superior(np.random.default_rng(4).normal(3.0, 1.0, (BLOCKS, 2)), reps=99).p_consistent == pytest.approx(0.01)


def test_what_never_differs_from_the_benchmark_is_left_out():
    gain = np.random.default_rng(5).normal(size=(BLOCKS, 2))
    with_none = superior(np.column_stack([gain, np.zeros(BLOCKS)]), reps=100)
    assert with_none == superior(gain, reps=100)
    assert with_none.n_strategies == 2


def test_constant_series_alone_are_not_available_where_arch_says_certain():
    zeros = np.zeros((BLOCKS, 2))
    certain = SPA(np.zeros(BLOCKS), zeros, block_size=1, reps=50, seed=1)
    certain.compute()
    assert certain.pvalues["consistent"] == 0.0
    got = superior(zeros)
    assert np.isnan([got.p_lower, got.p_consistent, got.p_upper]).all()
    assert got.reason_na == "no strategy differs from the benchmark"


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((MIN_SPA_BLOCKS - 1, 3), "63 blocks of time, 64 needed"),
        ((0, 3), "no strategy differs from the benchmark"),
        ((200, 0), "no strategy differs from the benchmark"),
    ],
)
def test_too_little_says_what_is_missing(shape, reason):
    got = superior(np.random.default_rng(6).normal(size=shape))
    assert np.isnan(got.p_consistent)
    assert (got.reason_na, got.n_blocks) == (reason, shape[0])


def test_the_first_number_of_blocks_that_is_enough():
    assert superior(np.random.default_rng(6).normal(size=(MIN_SPA_BLOCKS, 3)), reps=50).reason_na == ""


def test_results_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        superior(np.full((BLOCKS, 1), np.nan))


def test_results_of_one_strategy_are_a_column():
    with pytest.raises(ValueError, match=rf"gains \({BLOCKS},\) must be \[blocks, strategies\]"):
        superior(np.zeros(BLOCKS))
