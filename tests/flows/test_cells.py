"""What an arm is asked: each candidate once, by the bundle fitted before its own fold, on its own window and market."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from feature_repo.fields import CHANNELS
from feature_repo.instruments import INSTRUMENTS, SIMULATED_SYMBOL
from flows.cells import Asked, Cell
from flows.training import Trained
from meta_models.label_io import LabelFile
from meta_models.labels import LABEL_DTYPE
from runtime.bundle import Bundle
from runtime.decision import Reason
from tests.runtime.gate_builders import FEE, bundle_folder, candidate, quiet_table

pytestmark = pytest.mark.slow  # the trainer's libraries

INSTRUMENT = INSTRUMENTS["simulated", SIMULATED_SYMBOL]
T = 64
AT = np.array([100, 120, 140, 160, 180, 200, 220, 240])  # windows of the candidates
FOLDS = np.array([-1, -1, 0, 0, 0, 1, 2, 2])  # trained on; test folds, the second without a bundle
TAUS = {"A": 0.7, "B": 0.65, "C": 0.6}
CANDIDATE = {"rollout": None}
MODEL, GUARDS = Cell("B", True, FEE), Cell("B", False, FEE)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def table():
    made = quiet_table(300)
    return SimpleNamespace(X=made.X, market=made.market, t_ns=made.market["t_ns"])


@pytest.fixture
def trained(tmp_path, table):
    """Folds 0 and 2 say p = sigmoid(1.0) and sigmoid(0.5), each with thresholds of its own; neither is rolled out."""
    t_ns = table.market["t_ns"][AT]
    candidates = [candidate(ts_ns=int(t), expiry_ns=int(t) + 10**9) for t in t_ns]
    labels = np.zeros(len(AT), LABEL_DTYPE)
    labels["ts_ns"] = t_ns
    first = bundle_folder(tmp_path, "first", bias=1.0, of={"taus": TAUS} | CANDIDATE)
    third = bundle_folder(tmp_path, "third", bias=0.5, of={"taus": {"A": 0.7, "B": 0.55, "C": 0.5}} | CANDIDATE)
    folds = [
        SimpleNamespace(k=k, bundle_path=path, reason=None if path else "one class")
        for k, path in enumerate((first, None, third))
    ]
    return Trained(
        LabelFile(labels, candidates, SIMULATED_SYMBOL, "simulated", True, FEE),
        np.zeros((len(AT), T, len(CHANNELS)), np.float32),
        np.ones(len(AT), bool),
        SimpleNamespace(folds=folds, fold_of=FOLDS),
    )


@pytest.fixture
def asked(trained, table):
    return lambda changed=trained: Asked(changed, table, INSTRUMENT)


def reasons(decisions):
    return [list(Reason)[r] for r in decisions["reason"]]


def test_each_candidate_is_decided_by_the_bundle_of_its_own_fold(asked):
    it = asked()
    assert it.rows.tolist() == [2, 3, 4, 6, 7]
    made = it.decide(MODEL)
    assert made["ts_ns"].tolist() == it.labels["ts_ns"].tolist() == [c.ts_ns for c in it.candidates]
    assert made["p"] == pytest.approx([sigmoid(1.0)] * 3 + [sigmoid(0.5)] * 2)
    assert made["allow"].all()  # 0.73 > 0.65, 0.62 > 0.55


def test_without_a_model_the_same_candidates_are_decided_and_no_bundle_asked(asked):
    made = asked().decide(GUARDS)
    assert len(made) == 5
    assert made["allow"].all()
    assert np.isnan(made["p"]).all()


def test_where_no_fold_has_a_bundle_all_candidates_are_decided_without_one(asked, trained):
    trained.result.folds[:] = [replace_path(fold, None) for fold in trained.result.folds]
    it = asked()
    assert it.rows.tolist() == list(range(len(AT)))
    assert len(it.decide(GUARDS)) == len(AT)
    assert asked(replace(trained, result=None)).rows.tolist() == list(range(len(AT)))


def replace_path(fold, path):
    return SimpleNamespace(**{**vars(fold), "bundle_path": path, "reason": "too few"})


def test_a_tau_of_the_cell_replaces_the_bundles_own_for_its_profile_only(asked):
    it = asked()
    assert not it.decide(replace(MODEL, tau=0.99))["allow"].any()
    assert it.decide(replace(MODEL, tau=0.7))["allow"].tolist() == [True, True, True, False, False]
    assert it.decide(MODEL)["allow"].all()
    assert it.decide(Cell("C", True, FEE))["allow"].all()
    assert not it.decide(Cell("C", True, FEE, tau=0.99))["allow"].any()


def test_the_mean_tau_is_that_of_the_candidates(asked):
    assert asked().mean_tau("B") == pytest.approx((3 * 0.65 + 2 * 0.55) / 5)
    assert asked().mean_tau("C") == pytest.approx((3 * 0.6 + 2 * 0.5) / 5)


def test_a_fee_of_the_cell_is_what_the_ev_gate_sees(asked):
    dear = replace(FEE, taker_bps=30.0)
    assert set(reasons(asked().decide(Cell("B", False, dear)))) == {Reason.EV}
    assert set(reasons(asked().decide(Cell("B", True, dear)))) == {Reason.EV}


def test_each_candidate_has_the_market_and_the_session_of_its_own_window(asked, table):
    table.market["spread_bps"][AT[3]] = 50.0
    table.X[AT[4], CHANNELS.index("session_flag")] = 0.0
    made = asked().decide(MODEL)
    assert reasons(made) == [Reason.ALLOW, Reason.SPREAD, Reason.ALLOW, Reason.ALLOW, Reason.ALLOW]
    assert made["session"].tolist() == [True, True, False, True, True]


def test_a_candidate_without_a_window_in_the_store_is_denied(asked, trained):
    trained.found[6] = False
    assert reasons(asked().decide(MODEL)) == [Reason.ALLOW] * 3 + [Reason.NO_WINDOW, Reason.ALLOW]


def test_each_candidate_has_its_own_window(asked, trained, tmp_path):
    trained.x[:, -1, CHANNELS.index("ofi_z")] = np.arange(len(AT))
    first = bundle_folder(tmp_path, "seeing", bias=0.0, ofi=0.1, of={"taus": TAUS})
    trained.result.folds[:] = [replace_path(fold, fold.bundle_path and first) for fold in trained.result.folds]
    assert asked().decide(MODEL)["p"] == pytest.approx(sigmoid(0.1 * np.array([2, 3, 4, 6, 7])))


def test_what_is_allowed_is_told_by_order_and_a_candidate_without_a_reward_has_none(asked, trained):
    trained.file.candidates[3] = replace(trained.file.candidates[3], R_bps=0.0, exp_reward_bps=0.0)
    it = asked()
    assert len(it.orders) == 4
    assert it.order_rows.tolist() == [0, 2, 3, 4]
    told = it.allowed([GUARDS, replace(MODEL, tau=0.7)])
    assert told.tolist() == [[True] * 4, [True, True, False, False]]
    assert it.allowed([]).shape == (0, 4)


def test_a_graph_is_asked_once_a_window_however_many_cells_there_are(asked, trained, monkeypatch):
    trained.x[:, 0, 0] = np.arange(len(AT))  # no two windows are the same
    calls = []
    predict = Bundle.predict
    monkeypatch.setattr(Bundle, "predict", lambda self, x, ctx: calls.append(1) or predict(self, x, ctx))
    it = asked()
    for cell in (MODEL, replace(MODEL, tau=0.7), Cell("C", True, FEE), MODEL):
        it.decide(cell)
    assert len(calls) == 5
