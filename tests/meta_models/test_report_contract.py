"""What reports show of a training is what a training reports: the two packages do not know each other."""

from __future__ import annotations

import numpy as np
import pytest

from meta_models import forecasts, labels
from meta_models.fit import fit_model
from meta_models.samples import spans_of
from reports import records, training_rows
from tests.meta_models.learnable import make
from tests.meta_models.small_fit import SMALL
from tests.reports import make_training

pytestmark = pytest.mark.slow


def shape(value):
    """Keys and kinds; of a mapping by names of channels or members its first entry."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_both_have_the_same_names_for_outcomes_and_baselines():
    assert records.OUTCOMES == labels.OUTCOMES
    assert training_rows.BASELINES == forecasts.BASELINES


def test_leak_and_ensemble_look_as_the_reports_tests_have_them():
    made = make(600)
    y = made.labels["y"].astype(np.int64)
    times = spans_of(made.labels, made.ts_ns, 20)
    report = fit_model(made.x, made.ctx, y, made.labels["weight"], *times, SMALL).report
    told, wanted = report["leak"], make_training.leak_dict()
    for checks in (told, wanted):
        (first, *_) = checks["channels"].pop("channels").values()
        checks["channels"]["one channel"] = first
    assert shape(told) == shape(wanted)
    told, wanted = report["ensemble"], make_training.ensemble_dict()
    assert told.keys() >= wanted.keys()
    assert told["brier"].keys() == wanted["brier"].keys()
    assert len(told["gain"]) == len(wanted["gain"])
