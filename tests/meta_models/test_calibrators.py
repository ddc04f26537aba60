"""Platt and isotonic: scikit-learn as the oracle, tensors equal to numpy, no reward for ranking backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from meta_models.calibrators import P_MIN, Isotonic, fit_isotonic, fit_platt, sigmoid
from meta_models.graph import calibrator_layer

pytestmark = pytest.mark.slow  # torch alone takes seconds to import


def as_tensor(calibrator, score):
    with torch.inference_mode():
        return calibrator_layer(calibrator)(torch.tensor(score, dtype=torch.float32)).numpy()


def scored(n=1_500, seed=0, slope=0.6, offset=-0.4):
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 2, n)
    return score, (rng.random(n) < sigmoid(slope * score + offset)).astype(int), rng.uniform(0.2, 1, n)


def test_platt_equals_scikit_learn_without_weights():
    score, y, _ = scored()
    ours, theirs = fit_platt(score, y, np.ones(len(y))), _SigmoidCalibration().fit(score, y)
    np.testing.assert_allclose(ours(score), theirs.predict(score), atol=1e-5)


def test_platt_weights_act_as_repetition():
    score, y, _ = scored(300)
    twice = np.r_[np.arange(300), np.arange(150)]
    weight = np.r_[np.full(150, 2.0), np.ones(150)]
    np.testing.assert_allclose(
        fit_platt(score, y, weight)(score), fit_platt(score[twice], y[twice], np.ones(450))(score), atol=1e-5
    )


def test_ranking_backwards_gives_the_base_rate():
    score, y, weight = scored()
    platt = fit_platt(-score, y, weight)
    assert platt.slope == 0.0
    assert platt(np.array([-5.0, 5.0])) == pytest.approx([np.average(y, weights=weight)] * 2, abs=2e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("noise", [0.0, 1e-12])
def test_a_score_that_only_rounds_gives_the_base_rate(noise):
    _, y, weight = scored(600)
    assert fit_platt(3.0 + noise * np.random.default_rng(0).normal(size=600), y, weight).slope == 0.0


def test_one_class_gives_a_rate_that_is_not_certain():
    platt = fit_platt(np.arange(18.0), np.zeros(18), np.ones(18))
    assert platt.slope == 0.0
    assert platt(np.zeros(1)) == pytest.approx(1 / 20)


def test_isotonic_equals_scikit_learn_where_no_block_is_merged():
    # Ten levels of score, many labels each: blocks are heavy and far apart.
    rng = np.random.default_rng(0)
    score = rng.choice(np.linspace(-2, 2, 10), 5_000)
    y, weight = (rng.random(5_000) < sigmoid(score)).astype(int), rng.uniform(0.5, 1, 5_000)
    ours = fit_isotonic(score, y, weight)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(sigmoid(score), y, sample_weight=weight)
    assert len(ours.x) == 10
    np.testing.assert_allclose(as_tensor(ours, np.unique(score)), theirs.predict(sigmoid(np.unique(score))), atol=1e-6)


def test_isotonic_on_continuous_scores_stays_near_scikit_learn_with_few_gentle_knots():
    score, y, weight = scored(4_000)
    ours = fit_isotonic(score, y, weight)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(sigmoid(score), y, sample_weight=weight)
    assert 2 <= len(ours.x) <= 64
    assert (np.diff(ours.x) >= 1 / 128).all()
    assert (np.diff(ours.y) >= 0).all()
    assert np.average(np.abs(ours(score) - theirs.predict(sigmoid(score))), weights=weight) < 0.03
    assert np.average(ours(score), weights=weight) == pytest.approx(np.average(y, weights=weight), abs=0.01)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 64), st.integers(0, 10_000))
def test_isotonic_tensors_equal_interpolation(knots, seed):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.choice(np.arange(1, 128), knots, replace=False)) / 128
    calibrator = Isotonic(x, np.sort(rng.uniform(0.001, 0.999, knots)))
    # Slopes of up to 128 x 1 turn the last bit of p into 1e-5; real ones are nearer to 1.
    score = rng.normal(0, 3, 200)
    assert np.abs(as_tensor(calibrator, score) - calibrator(score)).max() < 1e-6 * max(
        1.0, 0.1 * (np.diff(calibrator.y) / np.diff(x)).max(initial=0.0)
    )


def test_isotonic_never_says_never():
    score = np.repeat([-2.0, 2.0], 200)
    assert fit_isotonic(score, score > 0, np.ones(400)).y.tolist() == [P_MIN, 1 - P_MIN]


def test_isotonic_has_no_cliff_between_scores_that_hardly_differ():
    # Two scores a thousandth apart that reach the target in 0 and 90 %: joined by a line, a slope of thousands.
    score = np.r_[np.full(300, -1.0), np.full(300, -0.999), np.full(300, 1.0)]
    y = np.r_[np.zeros(300), np.arange(300) % 10 > 0, np.ones(300)].astype(int)
    ours = fit_isotonic(score, y, np.ones(900))
    assert len(ours.x) == 2
    assert ours(np.array([-1.0]))[0] == pytest.approx(0.45, abs=0.01)
