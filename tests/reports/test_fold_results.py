"""The portfolio book by fold: counts and means by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reports.fold_results import fold_rows
from reports.records import EXITS, ArmInput
from reports.statistics import mean_and_ir_intervals
from runtime.decision import Reason
from tests.reports.make import REGULAR, arm, decisions

ALLOW, EV, TIER = Reason.ALLOW, Reason.EV, Reason.TIER


def _rows(a, folds, **more):
    return fold_rows([a], np.array(folds), seed=7, draws=50, **more)


def test_counts_and_means_literally():
    d = decisions([ALLOW, EV, ALLOW, TIER, ALLOW, ALLOW, ALLOW], tier=[0, 0, 0, 2, 0, 0, 0])
    a = arm(d, [1.0, 99.0, 3.0, 99.0, 5.0, 7.0, 100.0], status=[0, 0, 0, 2, 0])
    got = _rows(a, [0, 0, 0, 1, 1, 1, -1])
    assert [(r["fold"], r["exit"]) for r in got] == [(k, e) for k in (0, 1) for e in EXITS]
    first, second = got[0], got[2]
    assert (first["fee_tier"], first["profile"], first["model"]) == ("regular", "B", False)
    assert (first["candidates"], first["allowed"], first["trades"]) == (3, 2, 2)
    assert first["net_bps"]["value"] == 2.0
    assert first["ir_trade"]["value"] == pytest.approx(2.0 / 2**0.5)
    # A candidate of a looser tier is not this profile's; the last order of the fold found a position open.
    assert (second["candidates"], second["allowed"], second["trades"]) == (2, 2, 1)
    assert second["net_bps"]["value"] == 5.0
    assert np.isnan(second["ir_trade"]["value"])


def test_intervals_are_those_of_the_folds_trades():
    net = np.random.default_rng(0).normal(1.0, 5.0, 90)
    got = _rows(arm(decisions([ALLOW] * 90), net), np.arange(90) // 30)
    mean, ir = mean_and_ir_intervals(net[30:60], draws=50)
    assert (got[2]["net_bps"], got[2]["ir_trade"]) == (mean._asdict(), ir._asdict())


def test_a_fold_without_trades_is_a_row_of_zeros():
    got = _rows(arm(decisions([EV, EV, ALLOW]), 1.0), [0, 0, 1])
    assert (got[0]["candidates"], got[0]["allowed"], got[0]["trades"]) == (2, 0, 0)
    assert np.isnan(got[0]["net_bps"]["value"])


def test_arms_that_were_not_run_and_runs_without_folds_have_no_rows():
    na = ArmInput("B", True, REGULAR, reason_na="12 labels")
    assert fold_rows([na], np.zeros(5, int), seed=7, draws=50) == []
    assert fold_rows([arm(decisions([ALLOW]), 1.0)], None, seed=7, draws=50) == []


def test_folds_must_be_those_of_the_decisions():
    with pytest.raises(ValueError, match="2 folds for 3 decisions"):
        _rows(arm(decisions([ALLOW] * 3), 1.0), [0, 1])
