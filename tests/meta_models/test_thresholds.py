"""The profiles' thresholds on P, from what the labels of a span paid."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.errors import InputError
from meta_models.thresholds import TAU_RANGE, fit_thresholds
from runtime.payoff import Payoff
from runtime.profiles import PROFILES

OWN = {"A": 0.70, "B": 0.65, "C": 0.60}


def labels(target_R, miss_R, n=40):
    """Half of them targets; means exactly as given."""
    spread = np.tile([-0.25, 0.25], n // 2)
    return np.concatenate([target_R + spread, miss_R + spread]), np.repeat([1, 0], n)


def test_golden():
    # 2 x 0.65 - 1.1 = 0.2 R; (0.2 + 0.15) / (0.9 + 0.15)
    found = fit_thresholds(*labels(0.9, -0.15))
    assert found.payoff == Payoff(pytest.approx(0.9), pytest.approx(-0.15))
    assert found.taus == {
        "A": pytest.approx(0.45 / 1.05),
        "B": pytest.approx(0.35 / 1.05),
        "C": pytest.approx(0.25 / 1.05),
    }
    assert (found.n_target, found.n_miss) == (40, 40)


def test_where_every_miss_is_a_full_stop_the_profiles_keep_their_own():
    found = fit_thresholds(*labels(0.9, -1.1))
    assert found.taus == {name: pytest.approx(tau) for name, tau in OWN.items()}


def test_an_entry_at_its_threshold_earns_what_the_profile_asks_for():
    rng = np.random.default_rng(3)
    y = rng.random(500) < 0.3
    gross = np.where(y, rng.normal(0.92, 0.1, 500), rng.normal(-0.2, 0.5, 500))
    found = fit_thresholds(gross, y.astype(int))
    for name, profile in PROFILES.items():
        tau = found.taus[name]
        assert tau * gross[y].mean() + (1 - tau) * gross[~y].mean() == pytest.approx(2 * profile.tau - 1.1)


def test_the_order_of_the_labels_does_not_matter():
    gross, y = labels(0.9, -0.15)
    order = np.random.default_rng(1).permutation(len(y))
    assert fit_thresholds(gross[order], y[order]).taus == pytest.approx(fit_thresholds(gross, y).taus)


def test_without_results_the_profiles_keep_their_own():
    found = fit_thresholds(None, np.array([0, 1]))
    assert (found.taus, found.payoff) == (OWN, None)
    assert found.report() == {"target_R": None, "miss_R": None, "n_target": 0, "n_miss": 0, "taus": OWN}


@pytest.mark.parametrize("few", [0, 19])
@pytest.mark.parametrize("kind", [0, 1])
def test_too_few_of_a_class_and_the_profiles_keep_their_own(few, kind):
    gross, y = labels(0.9, -0.15)
    keep = np.concatenate([np.flatnonzero(y == kind)[:few], np.flatnonzero(y != kind)])
    assert fit_thresholds(gross[keep], y[keep]).taus == OWN
    assert fit_thresholds(gross, y).taus != OWN


def test_targets_that_pay_no_more_than_misses_say_nothing():
    assert fit_thresholds(*labels(-0.2, -0.2)).taus == OWN
    assert fit_thresholds(*labels(-0.3, -0.2)).taus == OWN


def test_nothing_passes_unasked_and_none_has_to_be_certain():
    low, high = TAU_RANGE
    assert set(fit_thresholds(*labels(0.9, 0.5)).taus.values()) == {low}
    assert set(fit_thresholds(*labels(0.05, -1.0)).taus.values()) == {high}
    assert 0 < low < high < 1


def test_a_result_that_is_not_finite_is_refused():
    gross, y = labels(0.9, -0.15)
    gross[3] = np.nan
    with pytest.raises(InputError, match="1 labels whose gross result in units of R is not finite"):
        fit_thresholds(gross, y)
