"""The baselines: how a window is flattened, and fits against scikit-learn and against what was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from meta_models.baseline import (
    base_rate_p,
    boosting_p,
    fit_logistic,
    flat_weights,
    flatten,
    line_p,
    logistic_p,
    paired_columns,
)
from meta_models.quality import quality

from .learnable import make

N_TRAIN = 500


@pytest.fixture(scope="module")
def made():
    return make(900)


def split(made):
    y = made.labels["y"].astype(int)
    train = (made.x[:N_TRAIN], made.ctx[:N_TRAIN], y[:N_TRAIN], made.labels["weight"][:N_TRAIN])
    return train, (made.x[N_TRAIN:], made.ctx[N_TRAIN:]), y[N_TRAIN:]


@pytest.fixture(scope="module", params=[logistic_p, boosting_p])
def baseline(request):
    return request.param


def test_a_window_of_64_becomes_eight_means_and_the_four_newest_rows():
    weights = flat_weights(64)
    assert (weights.shape, weights.dtype) == ((12, 64), np.float32)
    assert [(np.flatnonzero(row)[0], np.flatnonzero(row)[-1]) for row in weights] == [
        (0, 3),
        *((begin, begin + 7) for begin in range(4, 60, 8)),
        *((t, t) for t in range(60, 64)),
    ]


@given(st.integers(1, 100))
@settings(deadline=None, max_examples=40)
def test_every_row_of_time_is_in_exactly_one_mean(T):
    weights = flat_weights(T)
    assert ((weights > 0).sum(axis=0) == 1).all()
    assert weights.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    assert (np.diff([np.flatnonzero(row)[0] for row in weights]) > 0).all()
    assert weights[-min(4, T) :, -min(4, T) :] == pytest.approx(np.eye(min(4, T)))


def test_columns_of_one_mean_stand_together():
    x = np.random.default_rng(0).standard_normal((3, 20, 2)).astype(np.float32)
    flat = flatten(x)
    assert (flat.shape, flat.dtype) == ((3, 12), np.float32)
    expected = np.concatenate([x[:, :8].mean(axis=1), x[:, 8:16].mean(axis=1), x[:, 16:].reshape(3, -1)], axis=1)
    np.testing.assert_allclose(flat, expected, atol=1e-6)
    assert flatten(x[:0]).shape == (0, 12)


def test_the_base_rate_counts_weights():
    assert base_rate_p(np.array([1, 0, 0]), np.array([2.0, 1.0, 1.0]), 2).tolist() == [0.5, 0.5]


def test_the_logistic_regression_is_the_minimum_of_its_loss(made):
    (x, ctx, y, weight), (x_new, ctx_new), _ = split(made)
    columns, new = paired_columns(x, ctx, x_new, ctx_new)
    line = fit_logistic(columns, y, weight)
    scale, coef, _ = line
    off = weight * (line_p(line, columns) - y)
    assert off.sum() == pytest.approx(0, abs=1e-2)  # the intercept is free
    ridge = len(coef) / 0.9
    np.testing.assert_allclose(scale(columns).T @ off + ridge * coef, 0, atol=1e-2)
    np.testing.assert_array_equal(line_p(line, new), logistic_p(x, ctx, y, weight, x_new, ctx_new))


def test_the_logit_is_linear_however_far_out(made):
    (x, _, y, weight), _, _ = split(made)
    scale, coef, intercept = fit_logistic(flatten(x), y, weight)
    far = 1e3 * flatten(x[:5]).astype(np.float64)
    plain = coef / scale.scale
    expected = far @ plain + intercept - plain @ scale.mean
    np.testing.assert_allclose(scale(far.astype(np.float32)) @ coef + intercept, expected, rtol=1e-4)


def test_both_learn_what_there_is_to_learn(made, baseline):
    train, new, y = split(made)
    p = baseline(*train, *new)
    base = quality(base_rate_p(*train[2:], len(y)), y)
    assert quality(p, y)["brier"] < 0.88 * base["brier"]


def test_the_context_counts(baseline):
    rng = np.random.default_rng(1)
    x, ctx = rng.standard_normal((600, 20, 2)).astype(np.float32), np.zeros((600, 8), np.float32)
    ctx[:, 6] = rng.standard_normal(600)
    y = (ctx[:, 6] > 0).astype(int)
    p = baseline(x[:400], ctx[:400], y[:400], np.ones(400), x[400:], ctx[400:])
    assert p[y[400:] == 1].mean() > p[y[400:] == 0].mean() + 0.2


def test_the_weights_count(made, baseline):
    (x, ctx, y, weight), new, _ = split(made)
    p = baseline(x, ctx, y, weight, *new)
    heavier = baseline(x, ctx, y, np.where(y == 1, 4 * weight, weight), *new)
    assert heavier.mean() > p.mean() + 0.1


def test_each_answers_the_same_twice_and_with_more_threads(made, baseline):
    train, new, _ = split(made)
    p = baseline(*train, *new)
    with threadpool_limits(2):
        np.testing.assert_array_equal(p, baseline(*train, *new))


def test_what_is_asked_does_not_change_the_fit(made, baseline):
    train, (x_new, ctx_new), _ = split(made)
    whole = baseline(*train, x_new, ctx_new)
    x_new, ctx_new = x_new[:10].copy(), ctx_new[:10].copy()
    some = baseline(*train, np.concatenate([x_new, 1e4 * x_new]), np.concatenate([ctx_new, ctx_new]))
    np.testing.assert_allclose(some[:10], whole[:10], atol=1e-12)


def test_a_still_channel_and_one_that_hardly_moves_are_no_trouble(made, baseline):
    train, (x_new, ctx_new), _ = split(made)
    x = train[0].copy()
    x[:, :, 1], x[:, :, 2] = 7.0, 0.0
    x[0, 0, 2] = 1e6
    p = baseline(x, *train[1:], x_new, ctx_new)
    assert ((p > 0) & (p < 1)).all()
