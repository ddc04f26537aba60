"""Figures against scikit-learn, and what does not exist is None."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from meta_models.quality import auc_pr, log_loss, quality


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
    assert quality(np.array([0.2, 0.4]), np.array([0, 0]))["auc_pr"] is None
    json.dumps(empty, allow_nan=False)
