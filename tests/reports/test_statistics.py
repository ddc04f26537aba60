"""Intervals and tests, against published numbers, brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.constants import SECOND_NS
from reports.statistics import (
    MIN_BOOTSTRAP,
    benjamini_hochberg,
    deflated_sharpe,
    joint_intervals,
    mean_and_ir_intervals,
    paired_block_bootstrap,
    shrink,
)


def test_deflated_sharpe_is_the_published_example():
    # Bailey, Lopez de Prado (2014): SR 2.5 a year from 1,250 days, 100 trials of variance 1/2, skew -3, kurtosis 10.
    got = deflated_sharpe(2.5 / 250**0.5, 1250, n_trials=100, trials_variance=0.5 / 250, skew=-3.0, kurtosis=10.0)
    assert round(got.sr0, 4) == 0.1132
    assert round(got.value, 4) == 0.9004


def test_deflated_sharpe_with_one_trial_has_no_threshold_and_without_data_no_value():
    one = deflated_sharpe(0.0, 100, n_trials=1, trials_variance=0.0)
    assert (one.sr0, one.value) == (0.0, 0.5)
    assert np.isnan(deflated_sharpe(float("nan"), 100, n_trials=1, trials_variance=0.0).value)
    assert np.isnan(deflated_sharpe(1.0, 1, n_trials=1, trials_variance=0.0).value)


def test_benjamini_hochberg_literal():
    p = np.array([0.03, 0.5, 0.01, np.nan, 0.04])
    # Four hypotheses at 10 %: limits 0.025, 0.05, 0.075, 0.1.
    assert benjamini_hochberg(p, 0.10).tolist() == [True, False, True, False, True]
    # A larger p may carry a smaller one over its own limit: 0.04 > 0.025 but 0.045 <= 0.05.
    assert benjamini_hochberg(np.array([0.04, 0.045]), 0.05).tolist() == [True, True]
    assert benjamini_hochberg(np.array([0.06, 0.2]), 0.10).tolist() == [False, False]
    assert benjamini_hochberg(np.empty(0), 0.10).tolist() == []


@pytest.mark.parametrize("n", [0, 1, 2, MIN_BOOTSTRAP - 1])
def test_few_trades_have_a_value_but_no_interval(n):
    mean, ir = mean_and_ir_intervals(np.arange(n, dtype=float))
    assert np.isnan([mean.low, mean.high, ir.low, ir.high]).all()
    assert np.isnan(mean.value) == (n == 0)
    assert np.isnan(ir.value) == (n < 2)


def test_constant_returns_have_no_ir():
    mean, ir = mean_and_ir_intervals(np.full(50, 2.0))
    assert mean.value == 2.0
    assert np.isnan([mean.low, ir.value, ir.low]).all()


def test_series_drawn_together_have_the_intervals_they_have_alone():
    x = np.random.default_rng(2).normal(1.0, 10.0, 60).cumsum()
    flat = np.full(60, 2.0)
    both, alone = joint_intervals(np.stack([x, 3.0 * x], axis=1), draws=100), mean_and_ir_intervals(x, draws=100)
    assert both[0] == alone
    assert both[1][0] == pytest.approx([3.0 * v for v in alone[0]])
    assert both[1][1] == pytest.approx(alone[1])
    # One without spread has no bounds, and takes none from the other, nor its blocks.
    without, same = joint_intervals(np.stack([flat, x], axis=1), draws=100)
    assert same == alone
    assert without[0].value == 2.0
    assert np.isnan([*without[0][1:], *without[1]]).all()


def test_intervals_are_deterministic_and_about_as_wide_as_theory():
    x = np.random.default_rng(1).normal(1.0, 10.0, 2000)
    mean, ir = mean_and_ir_intervals(x, draws=1000)
    assert (mean, ir) == mean_and_ir_intervals(x, draws=1000)
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * x.std() / 2000**0.5, rel=0.15)
    assert mean.low < x.mean() < mean.high
    assert ir.value == pytest.approx(x.mean() / x.std(ddof=1))


@pytest.mark.slow
def test_the_interval_of_the_mean_covers_at_its_level():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(120):
        x = np.where(rng.random(200) < 0.55, 9.0, -11.0)
        mean, _ = mean_and_ir_intervals(x, draws=200)
        hits += mean.low <= 0.0 <= mean.high
    assert 0.88 <= hits / 120 <= 1.0


def _times(n, gap_s=60):
    return np.arange(n, dtype=np.int64) * gap_s * SECOND_NS


def test_paired_difference_is_the_literal_ratio():
    ts = _times(4)
    model = np.array([4.0, np.nan, np.nan, 2.0])
    none = np.array([4.0, -6.0, np.nan, 1.0])
    got = paired_block_bootstrap(ts, model, none)
    assert got.difference.value == pytest.approx((0.0 + 6.0 + 0.0 + 1.0) / 4)
    assert got.model_mean.value == 3.0
    assert got.none_mean.value == pytest.approx(-1.0 / 3.0)
    assert (got.n, got.n_model, got.n_none, got.blocks) == (4, 2, 3, 1)
    assert np.isnan(got.difference.low)
    assert not got.beats


def test_what_both_arms_share_cancels_in_the_difference():
    rng = np.random.default_rng(2)
    ts = _times(600)
    shared = np.repeat(rng.normal(0, 20, 60), 10)  # one shock a block
    none = shared + rng.normal(0, 1, 600)
    got = paired_block_bootstrap(ts, none + 1.0, none)
    assert got.difference.value == pytest.approx(1.0)
    assert got.model_mean.high - got.model_mean.low > 5.0
    moving = paired_block_bootstrap(ts, none + rng.normal(1, 1, 600), none)
    assert moving.difference.high - moving.difference.low < 0.3


def test_blocks_of_shared_shocks_widen_the_interval_over_single_candidates():
    rng = np.random.default_rng(2)
    shared = np.repeat(rng.normal(0, 20, 60), 10)
    blocks = paired_block_bootstrap(_times(600), shared, np.zeros(600))
    single = paired_block_bootstrap(_times(600), shared, np.zeros(600), block_s=60)
    ratio = (blocks.model_mean.high - blocks.model_mean.low) / (single.model_mean.high - single.model_mean.low)
    assert ratio == pytest.approx(10**0.5, rel=0.25)


def test_beats_needs_both_bounds():
    rng = np.random.default_rng(4)
    ts, noise = _times(1000), rng.normal(0, 1, 1000)
    assert paired_block_bootstrap(ts, noise + 2, noise).beats
    # The same gain a trade, but the model took six trades: nothing is claimed from those.
    few = np.where(np.arange(len(ts)) % (len(ts) // 6) == 0, noise + 9, np.nan)
    got = paired_block_bootstrap(ts, few, noise - 3)
    assert got.n_model < 10
    assert got.difference.low > 0
    assert np.isnan(got.model_mean.low)
    assert not got.beats
    # Losing less than an arm that loses more is no edge.
    assert not paired_block_bootstrap(ts, noise - 1, noise - 3).beats
    assert not paired_block_bootstrap(ts, noise + 2, noise + 2).beats


def test_an_arm_without_trades_has_no_mean():
    got = paired_block_bootstrap(_times(500), np.full(500, np.nan), np.ones(500))
    assert np.isnan([got.model_mean.value, got.model_mean.low]).all()
    assert got.difference.value == -1.0
    assert not got.beats
    empty = paired_block_bootstrap(_times(0), np.empty(0), np.empty(0))
    assert np.isnan(empty.difference.value)
    assert empty.blocks == 0


def test_paired_lengths_must_agree():
    with pytest.raises(ValueError, match="same candidates"):
        paired_block_bootstrap(_times(3), np.zeros(2), np.zeros(3))


def test_shrink_pulls_noise_to_the_parent_and_leaves_signal():
    rng = np.random.default_rng(0)
    same = shrink([rng.normal(1.0, 10, 40) for _ in range(12)])
    assert np.ptp(same.mean) < 1.5
    apart = shrink([np.full(500, m) + rng.normal(0, 1, 500) for m in (-5.0, 0.0, 5.0)])
    assert apart.mean == pytest.approx([-5, 0, 5], abs=0.15)
    assert (apart.weight > 0.99).all()
    assert (apart.low < apart.mean).all()
    assert apart.p_value[0] > 0.99
    assert apart.p_value[2] < 0.01


def test_shrink_two_groups_by_hand():
    # Pooled variance 2, both n = 2: each mean has variance 1. Q = 8, excess 7 over scale 1, so tau^2 = 7, weight 7/8.
    got = shrink([np.array([1.0, 3.0]), np.array([5.0, 7.0])])
    assert got.weight == pytest.approx([7 / 8, 7 / 8])
    assert got.mean == pytest.approx([4 - 2 * 7 / 8, 4 + 2 * 7 / 8])
    deviation = (7 / 8 + (1 / 8) ** 2 * 4) ** 0.5
    assert got.low == pytest.approx(got.mean - 0.8416212 * deviation)


def test_shrink_without_data_is_not_a_number():
    for groups in ([], [np.empty(0)], [np.array([1.0])], [np.array([2.0, 2.0])]):
        assert np.isnan(shrink(groups).low).all()
    some = shrink([np.array([1.0, 2.0, 4.0]), np.empty(0)])
    assert np.isfinite(some.mean[0])
    assert np.isnan(some.mean[1])
