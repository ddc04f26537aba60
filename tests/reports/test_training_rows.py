"""The section "training": one shape whatever the walk-forward could say, and the sentence that comes first."""

from __future__ import annotations

import json

import numpy as np
import pytest

from meta_models.quality import quality
from reports.matrix_rows import plain
from reports.training_rows import QUALITY_FIELDS, training_dict, unbeaten_line
from tests.reports import make_training
from tests.reports.make_training import walked


@pytest.mark.parametrize("beats", [True, False])
def test_the_section_literally(beats):
    assert plain(training_dict(walked(beats=beats))) == make_training.training_dict(beats)


def test_the_figures_are_those_that_the_training_computes():
    rng = np.random.default_rng(0)
    p = rng.random(300)
    assert set(quality(p, rng.random(300) < p)) == set(QUALITY_FIELDS)


def test_nothing_was_trained():
    assert training_dict(None) is None
    assert unbeaten_line(None) == ""


def test_a_fold_without_a_model_has_a_reason_and_no_figures():
    got = training_dict(walked(reasons=(None, "12 labels, 200 needed", None)))
    fold = got["folds"][1]
    assert fold == {
        "k": 1, "reason": "12 labels, 200 needed", "n_train": 12, "n_test": 300, "figures": {}, "importance": [],
        "fit": None,
    }  # fmt: skip
    assert [row["fold"] for row in got["leak"]] == [0, 2]
    assert got["ensemble"]["fold"] == 2


def test_no_fold_has_a_model():
    none = {"n": 0, "brier": None}
    found = {"model": none, "members": {"tcn": none}, "logistic": none, "base": none, "model_name": "tcn"}
    got = training_dict({**found, "beats_logistic": None, "folds": walked(reasons=("12 labels.",))["folds"]})
    assert got["first_line"] == "No net was judged out of sample: 12 labels."
    assert got["ensemble"] is None
    assert got["leak"] == []
    assert unbeaten_line(got) == ""


def test_absent_figures_are_null():
    got = training_dict({"model": {"n": 5, "brier": 0.2}, "folds": [{"k": 0, "fit": {"epochs": 3}}]})
    assert set(got["pooled"]) == {"model"}
    assert tuple(got["pooled"]["model"]) == QUALITY_FIELDS
    assert (got["pooled"]["model"]["n"], got["pooled"]["model"]["auc_pr"]) == (5, None)
    assert got["folds"][0]["n_train"] == 0
    assert got["beats_logistic"] is None
    json.dumps(plain(got), allow_nan=False)


def test_only_an_unbeaten_baseline_comes_first():
    assert unbeaten_line(training_dict(walked(beats=True))) == ""
    assert unbeaten_line(training_dict(walked(beats=False))).startswith("Out of sample no net beats the logistic")
    assert unbeaten_line(training_dict(walked(beats=None))) == ""


def test_a_member_alone_may_be_what_beats_the_baseline():
    found = walked()
    found["members"]["lstm"] = {**found["members"]["lstm"], "brier": 0.23}
    assert training_dict(found)["first_line"] == (
        "Out of sample lstm alone beats the logistic baseline: Brier 0.2300 to 0.2405 (n = 2,700)."
    )


def test_the_logistic_model_is_no_net_and_is_shown_once():
    found = walked(beats=None, model="logistic") | {"members": {"logistic": make_training.quality_dict(0.2411, 2700)}}
    got = training_dict(found)
    assert list(got["pooled"]) == ["model", "logistic", "boosting", "base"]
    assert got["pooled"]["logistic"]["brier"] == 0.2405
    assert got["first_line"] == (
        "Out of sample the Brier score of model (logistic) is 0.2460; gradient boosting 0.2512, base rate 0.2575 "
        "(n = 2,700)."
    )
