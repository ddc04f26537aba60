"""Figures against scikit-learn, the parts of the Brier score add up, and what does not exist is None."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from meta_models.quality import quality
from runtime.quality import auc_pr, brier_parts, log_loss, reliability_bins

PARTS = ("brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within")
forecasts = st.lists(
    st.tuples(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.2, 0.5, 1.0])), st.integers(0, 1)),
    min_size=1,
    max_size=120,
)


@pytest.mark.parametrize("decimals", [1, 8])
def test_equal_scikit_learn_with_and_without_ties(decimals):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.95, 2_000)
    y, p = (rng.random(2_000) < truth).astype(int), np.clip(np.round(truth, decimals), 0.01, 0.99)
    assert auc_pr(p, y) == pytest.approx(average_precision_score(y, p), abs=1e-12)
    assert log_loss(p, y) == pytest.approx(sklearn_log_loss(y, p), abs=1e-12)
    figures = quality(p, y)
    assert figures["brier"] == pytest.approx(brier_score_loss(y, p), abs=1e-12)
    assert figures["brier_base"] == pytest.approx(y.mean() * (1 - y.mean()))
    assert figures["n"] == 2_000


def test_knowing_nothing_gives_the_base_rate():
    y = np.array([1, 0, 0, 0])
    assert auc_pr(np.full(4, 0.3), y) == 0.25


def test_a_calibrated_forecast_has_little_error_and_a_bold_one_much():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.2, 0.8, 20_000)
    y = (rng.random(20_000) < truth).astype(int)
    assert quality(truth, y)["ece"] < 0.015
    assert quality(np.where(truth > 0.5, 0.95, 0.05), y)["ece"] > 0.2


def test_what_does_not_exist_is_none_and_goes_into_json():
    empty = quality(np.empty(0), np.empty(0))
    assert empty["n"] == 0
    assert empty["auc_pr"] is empty["brier"] is empty["ece"] is None
    assert [empty[name] for name in PARTS] == [None] * 4
    assert empty["bins"] == []
    assert quality(np.array([0.2, 0.4]), np.array([0, 0]))["auc_pr"] is None
    json.dumps(empty, allow_nan=False)


def total(figures):
    reliability, resolution, uncertainty, within = (figures[name] for name in PARTS)
    return reliability - resolution + uncertainty + within


def test_parts_literal():
    # Two bins: (0.1, 0.3) with no hit, (0.6, 0.8) with one hit of two, on the larger forecast.
    parts = brier_parts(np.array([0.1, 0.3, 0.6, 0.8]), np.array([0, 0, 0, 1]), bins=2)
    assert parts.reliability == pytest.approx((0.2**2 + 0.2**2) / 2)
    assert parts.resolution == pytest.approx((0.25**2 + 0.25**2) / 2)
    assert parts.uncertainty == pytest.approx(0.25 * 0.75)
    # Forecast variance 0.01 in both bins, twice the covariance 0.1 in the second.
    assert parts.within == pytest.approx((0.01 + (0.01 - 0.1)) / 2)
    assert parts.reliability - parts.resolution + parts.uncertainty + parts.within == pytest.approx(0.125)


@given(forecasts)
@example([(0.3, 1)])  # one row
@example([(0.4, i % 2) for i in range(50)])  # constant
@example([(i / 10, 0) for i in range(11)])  # one class, fewer rows than bins
@settings(deadline=None, max_examples=80)
def test_the_parts_add_up_to_the_brier_score(rows):
    p, y = (np.array(v, float) for v in zip(*rows, strict=True))
    figures = quality(p, y)
    assert total(figures) == pytest.approx(figures["brier"], abs=1e-12)
    # Without the fourth they are the score of the forecast that answers each bin's mean.
    bins = reliability_bins(p, y)
    binned = bins.p_mean[np.searchsorted(bins.p_low, p, side="right") - 1]
    assert total(figures) - figures["brier_within"] == pytest.approx(np.mean((binned - y) ** 2), abs=1e-12)
    assert 0 <= figures["brier_reliability"] <= 1
    assert -1e-15 <= figures["brier_resolution"] <= figures["brier_uncertainty"] + 1e-12 <= 0.25 + 2e-12
    json.dumps(figures, allow_nan=False)


@given(forecasts, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_the_order_of_the_rows_does_not_matter(rows, random):
    p, y = (np.array(v, float) for v in zip(*rows, strict=True))
    shuffled = list(rows)
    random.shuffle(shuffled)
    p2, y2 = (np.array(v, float) for v in zip(*shuffled, strict=True))
    assert brier_parts(p2, y2) == pytest.approx(brier_parts(p, y), abs=1e-12)


def test_a_constant_forecast_resolves_nothing():
    y = np.repeat([0, 1], [30, 10])
    figures = quality(np.full(40, 0.4), y)
    assert [figures[name] for name in PARTS] == pytest.approx([0.15**2, 0.0, 0.1875, 0.0], abs=1e-12)
    assert figures["bins"] == [{"n": 40, "p_mean": pytest.approx(0.4), "y_rate": 0.25}]


def test_one_class_is_certain():
    figures = quality(np.linspace(0.1, 0.5, 60), np.zeros(60))
    assert figures["brier_uncertainty"] == figures["brier_resolution"] == 0.0
    assert total(figures) == pytest.approx(figures["brier"], abs=1e-12)
    assert {b["y_rate"] for b in figures["bins"]} == {0.0}


def test_few_distinct_forecasts_leave_nothing_within():
    rng = np.random.default_rng(2)
    p = rng.choice([0.1, 0.4, 0.7], 300)
    figures = quality(p, rng.random(300) < p)
    assert figures["brier_within"] == pytest.approx(0.0, abs=1e-15)
    assert [b["p_mean"] for b in figures["bins"]] == pytest.approx([0.1, 0.4, 0.7])


def test_a_calibrated_forecast_is_reliable_and_a_shifted_one_is_not():
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.1, 0.7, 20_000)
    y = rng.random(20_000) < truth
    honest, shifted = quality(truth, y), quality(truth + 0.2, y)
    assert honest["brier_reliability"] < 1e-3
    assert shifted["brier_reliability"] == pytest.approx(0.04, abs=0.004)
    assert shifted["brier_resolution"] == pytest.approx(honest["brier_resolution"])  # ranking is the same
    assert honest["brier_resolution"] == pytest.approx(0.6**2 / 12, abs=0.003)


def test_bins_are_fifteen_of_equal_mass():
    rng = np.random.default_rng(4)
    p = rng.random(1_500)
    bins = quality(p, rng.random(1_500) < p)["bins"]
    assert [b["n"] for b in bins] == [100] * 15
    assert bins[0]["p_mean"] == pytest.approx(np.sort(p)[:100].mean())
    assert [type(v) for v in bins[0].values()] == [int, float, float]
