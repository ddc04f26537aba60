"""Nothing that is fitted for a test block depends on that block or on what comes after it, bit by bit.

Each test trains twice: once on made-up samples, once with some of the rows replaced by garbage.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.constants import SECOND_NS
from feature_repo.instruments import FeeTier
from meta_models import fit
from meta_models.fit import fit_model
from meta_models.samples import spans_of
from meta_models.splits import InnerPurgedFolds
from meta_models.walk_forward import Origin, walk_forward
from runtime.bundle import load_bundle
from tests.meta_models.learnable import make
from tests.meta_models.small_fit import SMALL

pytestmark = pytest.mark.slow

N = 900
BLOCK = N // 3
ORIGIN = Origin("ETHUSDT-SIM", "simulated", True, FeeTier("regular", 2.0, 5.0))
CONFIG = replace(SMALL, nets=tuple(replace(net, C=24) for net in SMALL.nets))


def samples():
    made = make(N, C=24, strength=8.0)
    made.labels["y"][::10] = -1  # unfilled entries
    made.labels["weight"][::10] = 0.0
    hit = made.labels["y"] == 1
    made.labels["gross_bps"] = np.where(hit, 0.9, -0.15) + np.random.default_rng(2).normal(0, 0.3, N)  # R = 1 bps
    return made


def garbage_from(made, first):
    """Everything of the rows from ``first`` on, but the time of the first: it is what the purge goes by."""
    bad, rng = deepcopy(made), np.random.default_rng(1)
    n = N - first
    bad.x[first:] = rng.normal(1e3, 1e6, bad.x[first:].shape)
    bad.ctx[first:] = rng.uniform(0, 50, bad.ctx[first:].shape)
    bad.ts_ns[first:] += 3 * (bad.ts_ns[first:] - bad.ts_ns[first])
    bad.labels["ts_ns"] = bad.ts_ns
    bad.labels["y"][first:] = rng.integers(-1, 2, n)
    bad.labels["gross_bps"][first:] = rng.normal(0, 1e3, n)
    bad.labels["weight"][first:] = rng.uniform(0, 1, n)
    bad.labels["t_end_ns"][first:] = bad.ts_ns[first:] + rng.integers(0, 3_600, n) * SECOND_NS
    return bad


def run(made, workdir, config=CONFIG, **kw):
    return walk_forward(
        made.x,
        made.ctx,
        made.labels,
        made.ts_ns,
        config=config,
        workdir=workdir,
        origin=ORIGIN,
        gross_R=made.labels["gross_bps"],
        release=False,
        explain=False,
        **kw,
    )


def graph(fold):
    """Normaliser, nets, stack and calibrator, as they are asked out of sample."""
    return (fold.bundle_path / "model.onnx").read_bytes()


def fitted_report(fold):
    return load_bundle(fold.bundle_path).manifest.metrics["fit"]


def thresholds(fold):
    """As the gate reads them."""
    manifest = load_bundle(fold.bundle_path).manifest
    return manifest.taus, manifest.payoff


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    made = samples()
    return made, run(made, tmp_path_factory.mktemp("clean"))


def test_garbage_in_the_last_test_block_moves_nothing_but_its_own_answers(clean, tmp_path):
    made, before = clean
    after = run(garbage_from(made, 2 * BLOCK), tmp_path)
    for old, new in zip(before.folds, after.folds, strict=True):
        assert old.reason is None
        assert graph(old) == graph(new)
        assert fitted_report(old) == fitted_report(new)
        assert thresholds(old) == thresholds(new)
        np.testing.assert_array_equal(old.train_idx, new.train_idx)
        np.testing.assert_array_equal(old.test_idx, new.test_idx)
    earlier = slice(0, 2 * BLOCK)
    np.testing.assert_array_equal(before.p_test[earlier], after.p_test[earlier])
    assert before.folds[0].metrics == after.folds[0].metrics
    assert before.folds[0].spans == after.folds[0].spans
    assert (before.p_test[2 * BLOCK :] != after.p_test[2 * BLOCK :]).any()


def test_garbage_from_the_first_test_block_on_reaches_the_next_fold_and_not_this_one(clean, tmp_path):
    made, before = clean
    after = run(garbage_from(made, BLOCK), tmp_path)
    assert graph(before.folds[0]) == graph(after.folds[0])
    assert fitted_report(before.folds[0]) == fitted_report(after.folds[0])
    assert thresholds(before.folds[0]) == thresholds(after.folds[0])
    # The second fold trains on the first block: its garbage must show, or this file shows nothing.
    assert after.folds[1].bundle_path is None or graph(before.folds[1]) != graph(after.folds[1])


def test_a_future_that_is_not_even_there_is_the_same(clean, tmp_path):
    made, before = clean
    absent = deepcopy(made)
    absent.x[BLOCK:] = absent.ctx[BLOCK:] = np.nan
    after = run(absent, tmp_path, found=np.arange(N) < BLOCK)
    assert graph(before.folds[0]) == graph(after.folds[0])
    assert np.isnan(after.p_test).all()


ONE_FOLD = replace(CONFIG, folds=1)


@pytest.fixture(scope="module")
def one_fold(tmp_path_factory):
    made = samples()
    (fold,) = run(made, tmp_path_factory.mktemp("one"), ONE_FOLD).folds
    return made, fold


def past(made, what, rows):
    """The same training span with one column of a few rows changed."""
    other = deepcopy(made)
    if what == "x":
        other.x[rows, :, 5] += 1.0
    elif what == "ctx":
        other.ctx[rows, 6] = 20.0 * other.labels["y"][rows]
    elif what == "y":
        other.labels["y"][rows] = 1 - other.labels["y"][rows]
    elif what == "weight":
        other.labels["weight"][rows] *= 0.5
    else:  # known only after the test block has begun
        other.labels["t_end_ns"][rows] = other.ts_ns[-1]
    return other


def test_what_the_training_span_paid_moves_the_thresholds_and_nothing_else(one_fold, tmp_path):
    made, fold = one_fold
    other = deepcopy(made)
    other.labels["gross_bps"][fold.train_idx[-60:]] -= 1.0
    (moved,) = run(other, tmp_path, ONE_FOLD).folds
    assert graph(fold) == graph(moved)
    assert all(
        moved_tau > tau for moved_tau, tau in zip(*(thresholds(f)[0].values() for f in (moved, fold)), strict=True)
    )


@pytest.mark.parametrize("what", ["x", "ctx", "y", "weight", "t_end"])
def test_the_same_done_to_the_training_span_does_show(what, one_fold, tmp_path):
    made, fold = one_fold
    labelled = fold.train_idx[made.labels["y"][fold.train_idx] >= 0]
    (other,) = run(past(made, what, labelled[-60:]), tmp_path, ONE_FOLD).folds
    assert graph(fold) != graph(other)


# Inside a span: what the held-out blocks' labels can reach.


def watched_of(monkeypatch, made, y, weight, config):
    """Logits of each inner net on its held-out block after every epoch, and those of the last net on nothing."""
    seen = []
    run_jobs = fit.run_jobs

    def spy(*args, **kw):
        seen.extend(run_jobs(*args, **kw))
        return seen

    monkeypatch.setattr(fit, "run_jobs", spy)
    fitted = fit_model(made.x, made.ctx, y, weight, *spans_of(made.labels, made.ts_ns, 20), config)
    monkeypatch.undo()
    return [one.watched for one in seen], fitted


def test_labels_of_a_held_out_block_choose_an_epoch_and_nothing_else(monkeypatch):
    made = make(500, strength=4.0)
    y, weight = made.labels["y"].astype(int), made.labels["weight"].copy()
    (_, first), (_, second) = InnerPurgedFolds(2).split(y, None, *spans_of(made.labels, made.ts_ns, 20))
    clean, _ = watched_of(monkeypatch, made, y, weight, SMALL)
    other_y, other_weight = y.copy(), weight.copy()
    other_y[first] = np.random.default_rng(0).integers(0, 2, len(first))
    other_weight[first] = 0.9
    poisoned, _ = watched_of(monkeypatch, made, other_y, other_weight, SMALL)
    # Epoch by epoch the first block's logits come from the second's labels alone ...
    assert clean[0].shape[1] == len(first)
    np.testing.assert_array_equal(clean[0], poisoned[0])
    # ... and the second's from the first's, which did change.
    assert clean[1].shape[1] == len(second)
    assert (clean[1] != poisoned[1]).any()


def test_one_epoch_for_all_blocks_of_a_span(monkeypatch):
    """Early stopping picks it by the loss over all blocks: a single number that every net of the span has in common."""
    made = make(500, strength=4.0)
    y, weight = made.labels["y"].astype(int), made.labels["weight"]
    seen = []
    calibrate = fit.calibrate
    monkeypatch.setattr(
        fit, "calibrate", lambda logits, *args, **kw: seen.append(logits) or calibrate(logits, *args, **kw)
    )
    watched, fitted = watched_of(monkeypatch, made, y, weight, SMALL)
    chosen, planned = fitted.report["epochs"]["tcn"]
    assert 1 <= chosen <= planned == len(watched[0])
    np.testing.assert_array_equal(seen[0][:, 0], np.concatenate([w[chosen - 1] for w in watched[:2]]))
