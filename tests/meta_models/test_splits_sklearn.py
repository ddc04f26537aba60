"""The splitters inside scikit-learn: as a list of indices, and by themselves with metadata routing."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, check_cv, cross_val_predict, cross_validate

from feature_repo.errors import InputError
from meta_models import PurgedWalkForward
from meta_models.splits import InnerPurgedFolds

N = 60
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 2)), np.arange(N) % 2
ORDER = RNG.permutation(N)  # rows come in no order of time
TIMES = {"t_start": ORDER * 10, "t_end": ORDER * 10 + 15}
WALK, INNER = PurgedWalkForward(3, gap_ns=5, embargo_ns=5), InnerPurgedFolds(3, gap_ns=5, embargo_ns=5)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def indices(splitter):
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(X, Y, **TIMES)]


def used(result):
    pairs = zip(result["indices"]["train"], result["indices"]["test"], strict=True)
    return [(train.tolist(), test.tolist()) for train, test in pairs]


@pytest.mark.parametrize("splitter", [WALK, INNER])
def test_a_list_of_its_indices_is_a_cv(splitter):
    cv = list(splitter.split(X, Y, **TIMES))
    result = cross_validate(LogisticRegression(), X, Y, cv=cv, return_indices=True)
    assert used(result) == indices(splitter)
    assert np.isfinite(result["test_score"]).all()


@pytest.mark.parametrize("splitter", [WALK, INNER])
def test_with_metadata_routing_it_is_a_cv_itself(splitter, routing):
    result = cross_validate(LogisticRegression(), X, Y, cv=splitter, params=TIMES, return_indices=True)
    assert used(result) == indices(splitter)


def test_a_search_takes_it(routing):
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=WALK).fit(X, Y, **TIMES)
    assert search.n_splits_ == 3
    assert search.best_estimator_.C in (0.1, 1.0)


def test_every_row_is_predicted_from_inner_folds_by_a_model_that_did_not_see_it(routing):
    p = cross_val_predict(LogisticRegression(), X, Y, cv=INNER, params=TIMES, method="predict_proba")[:, 1]
    for train, test in INNER.split(X, Y, **TIMES):
        alone = LogisticRegression().fit(X[train], Y[train]).predict_proba(X[test])[:, 1]
        np.testing.assert_array_equal(p[test], alone)


def test_without_times_it_says_how_to_bring_them():
    # Without routing scikit-learn passes groups and nothing else.
    with pytest.raises(InputError, match=r"without times.*cv=list"):
        cross_validate(LogisticRegression(), X, Y, cv=WALK)


def test_it_is_taken_for_a_splitter():
    assert check_cv(WALK) is WALK
    assert WALK.get_n_splits(X, Y, groups=None) == 3
    assert sklearn.base.clone(WALK, safe=False) == WALK
