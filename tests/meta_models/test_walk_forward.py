"""Fold after fold: what is fitted sees nothing of its test block, and what cannot be had is stated."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS
from feature_repo.instruments import FeeTier
from meta_models import jobs
from meta_models.own_skill import LeakError
from meta_models.walk_forward import Origin, walk_forward
from runtime.bundle import load_bundle
from runtime.quality import auc_pr
from tests.meta_models.learnable import make
from tests.meta_models.small_fit import SMALL

pytestmark = pytest.mark.slow
walk_forward_module = sys.modules[walk_forward.__module__]

ORIGIN = Origin("ETHUSDT-SIM", "simulated", True, FeeTier("regular", 2.0, 5.0))
# Bundles are for the catalogue's 24 channels and windows of 20 to 100.
CONFIG = replace(SMALL, nets=(replace(SMALL.nets[0], C=24),))
ONE_FOLD = replace(CONFIG, folds=1, optim=replace(CONFIG.optim, epochs=1))


def made_with_gaps(n=1_200, **kw):
    made = make(n, C=24, strength=8.0, **kw)
    made.labels["y"][::10] = -1  # unfilled entries
    made.labels["weight"][::10] = 0.0
    return made


def run(made, workdir, config=CONFIG, **kw):
    return walk_forward(made.x, made.ctx, made.labels, made.ts_ns, config=config, workdir=workdir, origin=ORIGIN, **kw)


@pytest.fixture(scope="module")
def made():
    return made_with_gaps()


@pytest.fixture(scope="module")
def result(made, tmp_path_factory):
    learning = replace(CONFIG, optim=replace(CONFIG.optim, epochs=6))
    return run(made, tmp_path_factory.mktemp("wf"), learning, tag="t1")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    made = made_with_gaps(500)
    return made, run(made, tmp_path_factory.mktemp("small"), ONE_FOLD)


def test_every_row_of_a_test_block_gets_a_probability(made, result):
    assert [f.k for f in result.folds] == [0, 1]
    assert (result.fold_of == np.repeat([-1, 0, 1], 400)).all()
    assert np.isfinite(result.p_test[400:]).all()
    assert np.isnan(result.p_test[:400]).all()
    assert ((result.p_test[400:] > 0) & (result.p_test[400:] < 1)).all()


def test_probabilities_are_those_of_the_folds_bundle(made, result):
    for fold in result.folds:
        bundle = load_bundle(fold.bundle_path)
        p = bundle.predict(made.x[fold.test_idx], made.ctx[fold.test_idx])
        assert np.abs(p - result.p_test[fold.test_idx]).max() <= 1e-6
        assert bundle.manifest.tag == f"t1-fold{fold.k}"
        assert bundle.manifest.simulated
        assert bundle.manifest.metrics["onnx_max_abs_diff"] <= 1e-5


def test_training_ends_before_the_hole(result):
    for fold in result.folds:
        assert fold.spans["test_start_ns"] - fold.spans["train_end_ns"] >= 360 * 10**9
        assert fold.spans["n_train"] < len(fold.train_idx)  # rows without a label are not trained on


def test_it_learns_what_is_there(made, result):
    judged = (result.fold_of >= 0) & (made.labels["y"] >= 0)
    y = made.labels["y"][judged]
    assert auc_pr(result.p_test[judged], y) > y.mean() + 0.15
    pooled = result.metrics["model"]
    assert pooled["auc_pr"] == pytest.approx(auc_pr(result.p_test[judged], y))
    assert pooled["n"] == judged.sum()
    assert pooled["brier"] < result.metrics["base"]["brier"]
    assert result.metrics.keys() == {
        "model_name", "model", "members", "logistic", "boosting", "base", "beats_logistic", "folds", "notes"
    }  # fmt: skip
    fold = result.metrics["folds"][0]
    assert {row["channel"] for row in fold["importance"]} == set(CHANNELS)
    best = max(fold["importance"], key=lambda row: row["permutation"])
    assert best["channel"] == CHANNELS[0]
    assert fold["fit"]["leak"]["shuffled"]["no_skill"] is False


def test_release_is_a_bundle_that_carries_the_figures(result):
    manifest = load_bundle(result.release).manifest
    assert manifest.tag == "t1"
    assert [s.get("role") for s in manifest.spans] == ["release", "fold 0", "fold 1"]
    assert manifest.metrics["model"] == {k: v for k, v in result.metrics["model"].items() if k != "bins"}
    assert "importance" not in manifest.metrics["folds"][0]  # a manifest is read before every start of a gate
    assert manifest.metrics["fit"]["ensemble"]["chosen"] in ("platt", "isotonic")
    assert {"python", "torch", "lightning", "onnxruntime"} <= manifest.versions.keys()
    json.dumps(result.metrics, allow_nan=False)


def test_thresholds_are_of_each_training_span(made, tmp_path):
    y = made.labels["y"]
    late = np.arange(len(y)) >= 600
    gross = np.where(y == 1, 0.9, np.where(late, -0.5, -0.1))
    result = run(made, tmp_path, explain=False, gross_R=gross)
    for rows, bundle in [(f.train_idx, f.bundle_path) for f in result.folds] + [(np.arange(len(y)), result.release)]:
        manifest, used = load_bundle(bundle).manifest, rows[y[rows] >= 0]
        missed = gross[used][y[used] == 0].mean()
        assert manifest.payoff.miss_R == pytest.approx(missed)
        assert manifest.taus["B"] == pytest.approx((0.2 - missed) / (0.9 - missed))
        assert manifest.metrics["fit"]["thresholds"]["taus"] == manifest.taus
    first, second = (load_bundle(f.bundle_path).manifest.taus["B"] for f in result.folds)
    assert first < second  # only the second has seen the dear misses


def test_without_results_the_gate_asks_for_the_profiles_own(result):
    assert load_bundle(result.release).manifest.taus == {"A": 0.70, "B": 0.65, "C": 0.60}


def test_poisoned_test_block_changes_nothing_that_was_fitted(small, tmp_path):
    _, result = small
    poisoned = made_with_gaps(500)
    test = result.folds[0].test_idx
    poisoned.x[test] = 1e6
    poisoned.ctx[test] = 49.0
    poisoned.labels["y"][test] = np.arange(len(test)) % 2
    poisoned.labels["weight"][test] = 1.0
    poisoned.labels["t_end_ns"][test] += 10**9
    again = run(poisoned, tmp_path, ONE_FOLD)
    before, after = result.folds[0].bundle_path, again.folds[0].bundle_path
    for name in ("model.onnx", "buckets.csv"):
        assert (before / name).read_bytes() == (after / name).read_bytes()
    assert load_bundle(before).manifest.metrics == load_bundle(after).manifest.metrics
    assert (again.release / "model.onnx").read_bytes() != (result.release / "model.onnx").read_bytes()


def test_one_poisoned_training_row_does_change_it(small, tmp_path):
    # The test above would also pass if nothing ever reached the fit.
    _, result = small
    poisoned = made_with_gaps(500)
    poisoned.x[result.folds[0].train_idx[-2]] *= -1
    again = run(poisoned, tmp_path, ONE_FOLD)
    first = [r.folds[0].bundle_path / "model.onnx" for r in (result, again)]
    assert first[0].read_bytes() != first[1].read_bytes()


def test_order_of_the_rows_does_not_matter(small, tmp_path):
    made, result = small
    order = np.random.default_rng(0).permutation(500)
    shuffled = made_with_gaps(500)
    shuffled.x, shuffled.ctx = made.x[order], made.ctx[order]
    shuffled.labels, shuffled.ts_ns = made.labels[order], made.ts_ns[order]
    again = run(shuffled, tmp_path, ONE_FOLD)
    np.testing.assert_array_equal(again.p_test, result.p_test[order])


def test_rows_that_the_store_lacks_are_neither_trained_on_nor_predicted(tmp_path):
    lacking = made_with_gaps(600)
    found = np.ones(600, bool)
    found[5:300:9] = found[400] = False
    lacking.x[~found] = np.nan
    lacking.ctx[~found] = np.nan
    result = run(lacking, tmp_path, ONE_FOLD, found=found)
    assert (np.isfinite(result.p_test) == (found & (result.fold_of >= 0))).all()
    assert result.release is not None


def test_a_fold_without_enough_says_so_and_the_rest_goes_on(tmp_path):
    made = made_with_gaps(650)
    result = run(made, tmp_path)
    short, enough = result.folds
    assert short.bundle_path is None
    assert "at least 200" in short.reason
    assert np.isnan(result.p_test[short.test_idx]).all()
    assert enough.bundle_path is not None
    assert any("fold 0 has no model" in note for note in result.metrics["notes"])
    assert result.metrics["model"]["n"] == (made.labels["y"][enough.test_idx] >= 0).sum()


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_next_to_nothing_gives_no_model_and_no_numbers(n, tmp_path):
    seen = []
    result = run(make(n, C=24), tmp_path, progress=seen.append)
    assert result.release is None
    assert "Expected at least" in str(result.refused)
    assert [f.bundle_path for f in result.folds] == [None, None]
    assert np.isnan(result.p_test).all()
    figures = result.metrics["model"]
    assert (figures.pop("n"), figures.pop("bins")) == (0, [])
    assert set(figures.values()) == {None}
    assert result.metrics["beats_logistic"] is None
    assert seen[-1] == 1.0
    assert list(tmp_path.iterdir()) == []


def test_a_time_limit_that_bites_is_noted(tmp_path):
    slow = replace(CONFIG, folds=1, train_minutes=1e-6)
    notes = run(made_with_gaps(500), tmp_path, slow).metrics["notes"]
    assert [note.split(" ran ")[0] for note in notes if "time limit" in note] == [
        "training of fold 0",
        "training of the release",
    ]


def test_columns_that_do_not_fit_are_refused(made, tmp_path):
    with pytest.raises(InputError, match="as many of each"):
        walk_forward(made.x[:-1], made.ctx, made.labels, made.ts_ns, config=CONFIG, workdir=tmp_path, origin=ORIGIN)
    broken = make(300, C=24)
    broken.x[3, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        run(broken, tmp_path)


def test_without_release_and_explanations_the_folds_are_the_same(small, tmp_path):
    made, result = small
    bare = run(made, tmp_path, ONE_FOLD, release=False, explain=False)
    np.testing.assert_array_equal(bare.p_test, result.p_test)
    assert (bare.release, bare.fitted, bare.refused) == (None, None, None)
    assert "boosting" not in bare.metrics
    assert "importance" not in bare.metrics["folds"][0]


def test_a_training_that_was_stopped_goes_on_where_it_was(small, tmp_path, monkeypatch):
    made, result = small
    fits, fit_net = [], jobs.fit_net

    class KilledError(Exception):
        pass

    def third_fails(*args, **kw):
        fits.append(1)
        if len(fits) == 3:
            raise KilledError
        return fit_net(*args, **kw)

    monkeypatch.setattr(jobs, "fit_net", third_fails)
    place = tmp_path / "checkpoints"
    with pytest.raises(KilledError):
        run(made, tmp_path, ONE_FOLD, checkpoints=place)
    assert len(list(place.glob("*.pt"))) == 2
    again = run(made, tmp_path, ONE_FOLD, checkpoints=place)
    assert len(fits) == 3 + 4  # six fits (two inner nets and one, twice), two of them were there
    np.testing.assert_array_equal(again.p_test, result.p_test)
    assert not place.exists()


def test_checkpoints_of_other_data_are_not_taken_up(small, tmp_path, monkeypatch):
    made, result = small
    place = tmp_path / "checkpoints"
    monkeypatch.setattr(walk_forward_module.shutil, "rmtree", lambda *a, **k: None)
    run(made, tmp_path / "a", ONE_FOLD, checkpoints=place)
    other = made_with_gaps(500)  # the same windows, rows and scale; some of the labels turned round
    known = np.flatnonzero(other.labels["y"] >= 0)[::3]
    other.labels["y"][known] = 1 - other.labels["y"][known]
    kept = run(other, tmp_path / "b", ONE_FOLD, checkpoints=place)
    fresh = run(other, tmp_path / "c", ONE_FOLD)
    np.testing.assert_array_equal(kept.p_test, fresh.p_test)
    assert not np.array_equal(kept.p_test, result.p_test, equal_nan=True)


def test_two_processes_give_the_same_bits_as_one(small, tmp_path):
    made, result = small
    two = run(made, tmp_path, replace(ONE_FOLD, workers=2))
    np.testing.assert_array_equal(two.p_test, result.p_test)
    for name in ("model.onnx", "buckets.csv"):
        assert (two.release / name).read_bytes() == (result.release / name).read_bytes()


def test_rolling_trains_on_no_more_than_the_first_block(tmp_path):
    result = run(made_with_gaps(900), tmp_path, replace(CONFIG, expanding=False), release=False, explain=False)
    sizes = [len(f.train_idx) for f in result.folds]
    assert max(sizes) <= 300
    assert result.folds[1].spans["train_start_ns"] > result.folds[0].spans["train_start_ns"]


def test_shuffled_labels_are_told(tmp_path):
    made = made_with_gaps(600)
    rng = np.random.default_rng(5)
    known = made.labels["y"] >= 0
    made.labels["y"][known] = rng.permutation(made.labels["y"][known])
    notes = run(made, tmp_path, ONE_FOLD, release=False, explain=False).metrics["notes"]
    assert any("fold 0" in note and "no better than shuffled labels" in note for note in notes)


def test_a_channel_that_knows_the_future_stops_the_training(tmp_path):
    made = made_with_gaps(600)
    made.x[:, -1, 7] = made.labels["y"] + np.random.default_rng(0).normal(0, 0.3, 600)
    with pytest.raises(LeakError, match=CHANNELS[7]):
        run(made, tmp_path, ONE_FOLD)
    assert list(tmp_path.iterdir()) == []
