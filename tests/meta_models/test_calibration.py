"""Stack and calibrators: scikit-learn as the oracle, tensors equal to numpy, no reward for ranking backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.fields import CTX_NAMES
from meta_models.calibration import Isotonic, calibrate, fit_isotonic, fit_platt, fit_stack, sigmoid
from meta_models.graph import StackLayer, calibrator_layer
from meta_models.normalise import fit_scale
from meta_models.splits import InnerPurgedFolds
from tests.meta_models.learnable import make


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
    ctx = make(len(y)).ctx
    assert fit_stack(-score, ctx, y, weight, CTX_NAMES).logit_weight == 0.0
    assert fit_stack(score, ctx, y, weight, CTX_NAMES).logit_weight > 0.3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("noise", [0.0, 1e-12])
def test_a_dead_net_leaves_the_context_to_answer(noise):
    made = make(600)
    y, weight = made.labels["y"].astype(int), made.labels["weight"]
    dead = 3.0 + noise * np.random.default_rng(0).normal(size=600)
    stack = fit_stack(dead, made.ctx, y, weight, CTX_NAMES)
    assert stack.logit_weight == 0.0
    assert np.corrcoef(stack(dead, made.ctx), y)[0, 1] > 0.1
    assert fit_platt(dead, y, weight).slope == 0.0


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


def test_stack_and_platt_tensors_equal_numpy():
    made = make(800)
    y, weight = made.labels["y"].astype(int), made.labels["weight"]
    logit = np.random.default_rng(1).normal(0, 1, 800) + y
    stack = fit_stack(logit, made.ctx, y, weight, CTX_NAMES)
    platt = fit_platt(stack(logit, made.ctx), y, weight)
    with torch.inference_mode():
        score = StackLayer(stack)(torch.tensor(logit, dtype=torch.float32), torch.tensor(made.ctx)).numpy()
    assert np.abs(score - stack(logit, made.ctx)).max() < 1e-5
    assert np.abs(as_tensor(platt, score) - platt(stack(logit, made.ctx))).max() < 1e-6


def spans(n):
    start = np.arange(n) * 60 * SECOND_NS
    return start, start + SECOND_NS


def test_the_better_calibrator_is_chosen_and_the_scores_are_kept():
    rng = np.random.default_rng(0)
    n = 3_000
    logit, ctx = rng.normal(0, 1.5, n), np.zeros((n, 8), np.float32)
    folds = InnerPurgedFolds(3)
    line = (rng.random(n) < sigmoid(logit)).astype(int)
    steps = (rng.random(n) < np.where(np.abs(logit) < 1.5, 0.5, np.where(logit > 0, 0.55, 0.02))).astype(int)
    found = {
        name: calibrate(logit, ctx, y, np.ones(n), *spans(n), CTX_NAMES, folds)
        for name, y in (("line", line), ("steps", steps))
    }
    assert found["line"].chosen == "platt"
    assert found["steps"].chosen == "isotonic"
    for result in found.values():
        other = {"platt": "isotonic", "isotonic": "platt"}[result.chosen]
        assert result.brier[result.chosen] <= result.brier[other] < result.brier["base"]


@pytest.mark.parametrize("seed", range(3))
def test_blocks_that_differ_do_not_flatten_the_answer(seed):
    # Each block knows the others' base rate only: scores cross-fitted over blocks lean against the labels.
    rng = np.random.default_rng(seed)
    n = 1_200
    logit, ctx = rng.normal(0, 1.5, n), make(n).ctx
    drift = np.repeat([-0.8, 0.8, 0.0], n // 3)
    y = (rng.random(n) < sigmoid(logit - 1 + drift)).astype(int)
    found = calibrate(logit, ctx, y, np.ones(n), *spans(n), CTX_NAMES, InnerPurgedFolds(3))
    fresh = rng.normal(0, 1.5, 20_000)
    p = found(fresh, make(20_000, seed=9).ctx)
    hits = (rng.random(20_000) < sigmoid(fresh - 1)).astype(int)
    assert fit_platt(np.log(p / (1 - p)), hits, np.ones(20_000)).slope == pytest.approx(1.0, abs=0.2)


def test_noise_is_not_rewarded():
    rng = np.random.default_rng(3)
    n = 1_200
    y, ctx = rng.integers(0, 2, n), make(n).ctx
    result = calibrate(rng.normal(0, 1, n), ctx, y, np.ones(n), *spans(n), CTX_NAMES, InnerPurgedFolds(3))
    p = result(rng.normal(0, 1, n), ctx)
    assert result.brier[result.chosen] > result.brier["base"] - 0.002
    assert p.std() < 0.06


def test_scale_is_robust_and_survives_still_channels():
    rng = np.random.default_rng(0)
    rows = np.zeros((10_000, 3), np.float32)
    rows[:, 0] = rng.normal(5, 2, 10_000)
    rows[:10, 0] = 1e9  # one crossed book
    rows[:3, 1] = 1.0  # hardly ever moves
    scale = fit_scale(rows, ("a", "b", "c"))
    assert scale.mean[0] == pytest.approx(5, abs=0.1)
    assert scale.scale[0] == pytest.approx(2, abs=0.1)
    assert scale.scale[1] == pytest.approx(rows[:, 1].std(), rel=1e-3)
    assert (scale(rows)[:, 2] == 0).all()
    assert np.abs(scale(rows)).max() == 8.0


def test_scale_names_the_channel_that_is_not_finite():
    rows = np.zeros((5, 2), np.float32)
    rows[3, 1] = np.nan
    with pytest.raises(ValueError, match="channel spread"):
        fit_scale(rows, ("ofi", "spread"))


def test_one_class_is_refused():
    with pytest.raises(InputError, match="one class"):
        calibrate(np.arange(9.0), make(9).ctx, np.zeros(9, int), np.ones(9), *spans(9), CTX_NAMES, InnerPurgedFolds(3))
