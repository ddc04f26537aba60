"""Brier score, reliability bins and debiased calibration error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.calibration_report import MIN_CALIBRATION, calibration_report
from reports.records import CalibrationInput
from runtime.quality import auc_pr, auc_roc, brier, brier_parts, ece_debiased, ece_plain, reliability_bins


def test_brier_literal():
    p, y = np.array([0.2, 0.9, 0.5]), np.array([0, 1, 1])
    assert brier(p, y) == pytest.approx((0.04 + 0.01 + 0.25) / 3)
    assert brier(p, y, np.array([1.0, 0.0, 1.0])) == pytest.approx(0.145)
    assert np.isnan(brier(np.empty(0), np.empty(0)))
    assert np.isnan(brier(p, y, np.zeros(3)))


def test_reliability_bins_literal():
    b = reliability_bins(np.array([0.4, 0.1, 0.2, 0.3]), np.array([1, 0, 1, 0]), bins=2)
    assert b.n.tolist() == [2, 2]
    assert b.p_mean == pytest.approx([0.15, 0.35])
    assert b.y_rate.tolist() == [0.5, 0.5]
    assert b.p_low == pytest.approx([0.1, 0.3])
    assert b.p_high == pytest.approx([0.2, 0.4])


def test_equal_forecasts_share_a_bin():
    p = np.repeat([0.3, 0.7], [10, 2])
    b = reliability_bins(p, np.zeros(12), bins=4)
    assert b.n.tolist() == [10, 2]
    one = reliability_bins(np.full(100, 0.5), np.arange(100) % 2)
    assert (one.n.tolist(), one.y_rate.tolist()) == ([100], [0.5])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.35, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=80),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_bins_hold_every_row_once_whatever_the_order(rows, bins, random):
    p, y = (np.array(v, float) for v in zip(*rows, strict=True))
    b = reliability_bins(p, y, bins)
    assert b.n.sum() == len(p)
    assert len(b.n) <= bins
    assert (b.p_high[:-1] < b.p_low[1:]).all()
    assert (b.n * b.y_rate).sum() == pytest.approx(y.sum())
    random.shuffle(rows)
    p2, y2 = (np.array(v, float) for v in zip(*rows, strict=True))
    assert ece_debiased(p2, y2, bins) == pytest.approx(ece_debiased(p, y, bins), nan_ok=True)


def test_ece_plain_literal():
    p, y = np.array([0.1, 0.1, 0.8, 0.8]), np.array([0, 1, 1, 1])
    assert ece_plain(p, y, bins=2) == pytest.approx(0.5 * 0.4 + 0.5 * 0.2)


def test_ece_debiased_literal():
    # One bin of 4 at p 0.1, half of them 1: gap 0.4, variance of the rate 0.25 / 3.
    p, y = np.full(4, 0.1), np.array([0, 1, 0, 1])
    assert ece_debiased(p, y) == pytest.approx((0.16 - 0.25 / 3) ** 0.5)


NONE = np.empty(0)


@pytest.mark.filterwarnings("error")  # NaN because nothing is there to measure, and not by a division that went wrong
@pytest.mark.parametrize(
    ("measure", "p", "y"),
    [
        *((measure, NONE, NONE) for measure in (ece_plain, ece_debiased, auc_roc, auc_pr)),
        (ece_debiased, [0.2], [1]),  # no spread within a bin of one
        (auc_roc, [0.2, 0.3], [1, 1]),
        (auc_roc, [0.2, 0.3], [0, 0]),
        (auc_pr, [0.2, 0.3], [0, 0]),
        *((lambda p, y, k=k: brier_parts(p, y)[k], NONE, NONE) for k in range(4)),
    ],
)
def test_what_cannot_be_measured_is_nan(measure, p, y):
    assert np.isnan(measure(np.array(p), np.array(y)))
    assert all(len(column) == 0 for column in reliability_bins(NONE, NONE))


def test_debiasing_takes_away_what_noise_alone_shows():
    rng = np.random.default_rng(0)
    plain, fair, off = [], [], []
    for _ in range(60):
        p = rng.uniform(0.2, 0.8, 600)
        y = rng.random(600) < p
        plain.append(ece_plain(p, y))
        fair.append(ece_debiased(p, y))
        off.append(ece_debiased(p + 0.1, y))
    assert np.mean(plain) > 0.05
    assert np.mean(fair) < 0.025
    assert np.mean(off) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("p", "y", "says"),
    [
        ([0.5, np.nan], [0, 1], "finite"),
        ([0.5, 1.2], [0, 1], r"\[0, 1\]"),
        ([0.5, 0.6], [0, -1], "0 or 1"),
        ([0.5], [0, 1], "one length"),
        ([[0.5, 0.6]], [[0, 1]], "one-dimensional"),
    ],
)
def test_broken_forecasts_are_refused(p, y, says):
    with pytest.raises(ValueError, match=says):
        brier(np.array(p), np.array(y))


def test_report_uses_rows_with_forecast_and_label_only():
    p = np.array([0.5, np.nan, 0.5, 0.5])
    told = calibration_report(CalibrationInput(p, np.array([1, 1, -1, 0]), np.zeros(4, int)))
    assert (told.n, told.base_rate, told.brier, told.brier_base) == (2, 0.5, 0.25, 0.25)
    assert np.isnan(told.ece)  # two rows are too few
    assert [t.n for t in told.by_type] == [2, 0, 0, 0, 0]
    assert sum(told.histogram) == 2


def test_report_without_a_model_says_why():
    assert calibration_report(None).reason_na == "no model was trained"
    p = np.full(3, np.nan)
    told = calibration_report(CalibrationInput(p, np.ones(3), np.zeros(3)))
    assert told.reason_na == "none of 3 candidates has both a forecast and a label"
    assert calibration_report(CalibrationInput(p, np.ones(3), np.zeros(3), "12 labels")).reason_na == "12 labels"


def test_report_judges_from_enough_rows_on():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.3, 0.7, MIN_CALIBRATION)
    y = (rng.random(MIN_CALIBRATION) < p).astype(int)
    assert np.isfinite(calibration_report(CalibrationInput(p, y, np.zeros(len(p)))).ece)
    assert np.isnan(calibration_report(CalibrationInput(p[1:], y[1:], np.zeros(len(p) - 1))).ece)
