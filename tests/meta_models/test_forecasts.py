"""What is said of all test blocks together: who beats whom, on which rows, and what a reader must know first."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from meta_models.forecasts import Forecasts, for_manifest, pooled

pytestmark = pytest.mark.slow  # the nets' libraries take seconds to load

Y = np.array([1, 0, 1, 0, -1, 1])
NO_NET = "out of sample no net beats the logistic baseline (Brier score)"
NO_SKILL = "out of sample the model does not beat the base rate (Brier score)"
KNOWS, HINTS, NOTHING, WRONG = 0.1, 0.3, 0.5, 0.8


def says(off):
    """Forecasts that lie so far from what came; the last row was asked of none."""
    p = np.where(Y == 1, 1 - off, off)
    p[-1] = np.nan
    return p


def told(model, logistic, *, name="stack", base=NOTHING, folds=(), **members):
    judged = Forecasts(
        says(model), {k: says(v) for k, v in members.items()}, {"logistic": says(logistic), "base": says(base)}
    )
    return pooled(Y, folds, judged, name)


@pytest.mark.parametrize(
    ("model", "member", "logistic", "beats"),
    [
        (KNOWS, HINTS, HINTS, True),
        (NOTHING, KNOWS, HINTS, True),  # one member alone is enough
        (HINTS, NOTHING, KNOWS, False),
        (HINTS, HINTS, HINTS, False),  # as good is not better
    ],
)
def test_a_net_beats_the_logistic_regression_by_the_lower_brier_score(model, member, logistic, beats):
    found = told(model, logistic, tcn=member)
    assert found["beats_logistic"] is beats
    assert found["notes"] == ([] if beats else [NO_NET]) + ([] if model < NOTHING else [NO_SKILL])


def test_the_logistic_model_is_not_compared_with_itself():
    assert told(KNOWS, HINTS, name="logistic", tcn=KNOWS)["beats_logistic"] is None


def test_what_takes_the_ground_from_under_the_rest_is_said_first():
    fit = {"stopped_by_time": True, "leak": {"shuffled": {"no_skill": True}}}
    folds = [
        SimpleNamespace(k=0, reason="12 labels", metrics={}, spans={"n_train": 12}),
        SimpleNamespace(k=1, reason=None, metrics={"fit": fit}, spans={"n_train": 400}),
    ]
    found = told(WRONG, HINTS, tcn=WRONG, folds=folds)
    assert found["notes"] == [
        NO_SKILL,
        NO_NET,
        "fold 0 has no model: 12 labels",
        "training of fold 1 ran into its time limit: its probabilities depend on this machine's speed",
        "fold 1: on its training span the labels are ranked no better than shuffled labels are",
    ]
    assert [(f["k"], f["reason"], f["n_train"]) for f in found["folds"]] == [(0, "12 labels", 12), (1, None, 400)]


def test_all_are_judged_on_the_rows_that_have_a_label_and_an_answer():
    found = told(KNOWS, HINTS, tcn=KNOWS)
    assert {found["model"]["n"], found["members"]["tcn"]["n"], found["logistic"]["n"], found["base"]["n"]} == {4}
    assert found["model"]["brier"] == pytest.approx(KNOWS**2)
    assert found["logistic"]["brier"] == pytest.approx(HINTS**2)


def test_without_an_answer_there_is_nothing_to_compare():
    judged = Forecasts.none(len(Y), ("tcn",), boosting=False)
    assert list(judged.baselines) == ["logistic", "base"]
    found = pooled(Y, (), judged, "tcn")
    assert (found["beats_logistic"], found["notes"], found["model"]["n"]) == (None, [], 0)


def test_a_manifest_goes_without_what_is_long():
    metrics = {"model": {"brier": 0.2, "bins": [1]}, "folds": [{"importance": [1], "k": 0}]}
    assert for_manifest(metrics) == {"model": {"brier": 0.2}, "folds": [{"k": 0}]}
