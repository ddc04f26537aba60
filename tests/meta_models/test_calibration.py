"""The choice of combiner and calibrator: cross-fitted, told in figures, no reward for noise or clusters."""

from __future__ import annotations

import json

import numpy as np
import pytest

from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.fields import CTX_NAMES
from meta_models.calibration import CALIBRATORS, COMBINERS, calibrate
from meta_models.calibrators import even_weight, fit_platt, sigmoid
from meta_models.splits import InnerPurgedFolds
from meta_models.stack import fit_average, fit_stack
from tests.meta_models.learnable import make

FOLDS = InnerPurgedFolds(3)
NAMES = [f"{a}+{b}" for a in ("average", "logistic") for b in ("platt", "isotonic")]
TRIO = ("tcn", "transformer", "lstm")


def spans(n):
    start = np.arange(n) * 60 * SECOND_NS
    return start, start + SECOND_NS


def found(logits, ctx, y, weight=None, folds=FOLDS, **kw):
    weight = np.ones(len(y)) if weight is None else weight
    return calibrate(logits, ctx, y, weight, *spans(len(y)), CTX_NAMES, folds, **kw)


def still(n):
    return np.zeros((n, 8), np.float32)


def trio(n=1_500, seed=0):
    """Three nets that see the truth through noise of their own, the last hardly at all."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-0.5, 1.5, n)
    logits = truth[:, None] + rng.normal(0, [1.0, 1.0, 6.0], (n, 3))
    return logits, (rng.random(n) < sigmoid(truth)).astype(int)


def test_the_better_calibrator_is_chosen():
    rng = np.random.default_rng(0)
    n = 3_000
    logit = rng.normal(0, 1.5, n)
    line = (rng.random(n) < sigmoid(logit)).astype(int)
    steps = (rng.random(n) < np.where(np.abs(logit) < 1.5, 0.5, np.where(logit > 0, 0.55, 0.02))).astype(int)
    for y, expected in ((line, "platt"), (steps, "isotonic")):
        result = found(logit, still(n), y)
        other = {"platt": "isotonic", "isotonic": "platt"}[expected]
        assert result.chosen == expected
        assert result.brier[result.winner] < result.brier[f"{result.combiner}+{other}"] < result.brier["base"]


def test_the_better_combiner_is_chosen():
    rng = np.random.default_rng(1)
    n = 3_000
    logits, y = trio(n)
    ctx = make(n).ctx
    assert found(logits[:, 0], ctx, y, members=TRIO[:1]).combiner == "average"
    told = 2.0 * (ctx[:, 0] > 0) - 1.0  # now one type of signal wins far more often, which no net knows
    y = (rng.random(n) < sigmoid(logits[:, 0] + 2 * told)).astype(int)
    result = found(logits[:, 0], ctx, y, members=TRIO[:1])
    assert result.combiner == "logistic"
    assert result.stack.ctx_weight[0] > 0


def test_three_nets_beat_each_alone_and_the_report_says_by_how_much():
    logits, y = trio()
    result = found(logits, still(len(y)), y, members=TRIO)
    alone = [found(logits[:, m], still(len(y)), y, members=TRIO[m : m + 1]) for m in range(3)]
    assert all(result.brier[result.winner] < a.brier[a.winner] for a in alone)
    report = result.report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report["brier"]) == [*NAMES, "base"]
    assert set(report["gain"]) == {*NAMES, "base"} - {result.winner}
    assert min(report["gain"].values()) >= 0
    assert report["gain"]["base"] == pytest.approx(report["brier"]["base"] - report["brier"][result.winner], abs=2e-6)
    assert list(report["net_weight"]) == list(TRIO)
    assert sum(report["net_share"].values()) == pytest.approx(1, abs=1e-5)
    assert report["net_share"]["lstm"] < 0.3 < report["net_share"]["tcn"]


def test_each_block_is_judged_by_the_others():
    """The Brier score by hand; and a block's own labels move nothing of what is said about it."""
    logits, y = trio(900)
    ctx, weight = make(900).ctx, np.random.default_rng(0).uniform(0.2, 1, 900)
    result = found(logits, ctx, y, weight, members=TRIO)
    squared = {name: np.full(900, np.nan) for name in (*NAMES, "base")}
    even = even_weight(weight)
    for train, test in FOLDS.split(y, t_start=spans(900)[0], t_end=spans(900)[1]):
        for a, combine in COMBINERS.items():
            stack = combine(logits[train], ctx[train], y[train], even[train], CTX_NAMES)
            for b, fit in CALIBRATORS.items():
                line = fit(stack(logits[train], ctx[train]), y[train], even[train])
                squared[f"{a}+{b}"][test] = (line(stack(logits[test], ctx[test])) - y[test]) ** 2
        squared["base"][test] = (y[train].mean() - y[test]) ** 2
    assert result.brier == pytest.approx({name: v.mean() for name, v in squared.items()})
    assert result.winner == min(NAMES, key=result.brier.get)


def test_one_net_as_a_column_is_one_net_as_a_table():
    logits, y = trio(600)
    ctx = make(600).ctx
    column, table = found(logits[:, 0], ctx, y), found(logits[:, :1], ctx, y)
    np.testing.assert_array_equal(column(logits[:, 0], ctx), table(logits[:, :1], ctx))
    assert column.brier == table.brier
    assert column.members == ("net",)


def test_same_rows_same_answer():
    logits, y = trio(600)
    ctx = make(600).ctx
    first, second = found(logits, ctx, y, members=TRIO), found(logits.copy(), ctx.copy(), y.copy(), members=TRIO)
    assert first.report() == second.report()
    np.testing.assert_array_equal(first(logits, ctx), second(logits, ctx))


def test_without_a_comparison_the_fewest_numbers_are_trusted():
    logits, y = trio(300)
    # A hole of days: no block keeps a row of the others.
    apart = InnerPurgedFolds(3, gap_ns=10 * 86_400 * SECOND_NS)
    result = found(logits, make(300).ctx, y, folds=apart, members=TRIO)
    assert result.brier == {}
    assert result.winner == "average+platt"
    assert result.report()["gain"] == {}


def test_blocks_whose_others_are_of_one_class_are_not_judged():
    logits, y = trio(300)
    y[:200] = 0
    result = found(logits, still(300), y, members=TRIO)
    # Without the last block there is no target left to learn from; of the first two no label is one.
    first, second, last = FOLDS.split(y, t_start=spans(300)[0], t_end=spans(300)[1])
    assert not y[last[0]].any()
    assert result.brier["base"] == pytest.approx((y[first[0]].mean() ** 2 + y[second[0]].mean() ** 2) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_that_differ_do_not_flatten_the_answer(seed):
    # Each block knows the others' base rate only: scores cross-fitted over blocks lean against the labels.
    rng = np.random.default_rng(seed)
    n = 1_200
    logit, ctx = rng.normal(0, 1.5, n), make(n).ctx
    drift = np.repeat([-0.8, 0.8, 0.0], n // 3)
    y = (rng.random(n) < sigmoid(logit - 1 + drift)).astype(int)
    p = found(logit, ctx, y)(fresh := rng.normal(0, 1.5, 20_000), make(20_000, seed=9).ctx)
    hits = (rng.random(20_000) < sigmoid(fresh - 1)).astype(int)
    assert fit_platt(np.log(p / (1 - p)), hits, np.ones(20_000)).slope == pytest.approx(1.0, abs=0.2)


def test_a_context_that_drifts_with_the_hours_costs_next_to_nothing():
    """Hours differ in rate, and in a context that drifts by itself: what links the two in the past is chance."""
    n, hours = 1_500, 6
    cost = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        logit, ctx = rng.normal(0, 1.0, 2 * n), still(2 * n)
        drift, ctx[:, 6] = (np.repeat(rng.normal(0, 1.2, 2 * hours), n // hours) for _ in range(2))
        y = (rng.random(2 * n) < sigmoid(logit + drift)).astype(int)
        past, next_hours = slice(n), slice(n, None)
        with_context, without = (
            fit(logit[past], ctx[past], y[past], np.full(n, 0.2), CTX_NAMES)(logit[next_hours], ctx[next_hours])
            for fit in (fit_stack, fit_average)
        )
        cost.append(np.mean((sigmoid(with_context) - y[next_hours]) ** 2 - (sigmoid(without) - y[next_hours]) ** 2))
    # 0.006; with the same ridge on the context as on the nets 0.021.
    assert np.mean(cost) < 0.01


def test_winners_that_overlap_are_counted_each():
    """Candidates cluster where a move goes on. What is asked is the hit rate of candidates, not of moments."""
    rng = np.random.default_rng(0)
    n = 2_000
    y = rng.integers(0, 2, n)
    weight = np.where(y == 1, 0.1, 0.2)
    p = found(rng.normal(size=n), still(n), y, weight)(rng.normal(size=500), still(500))
    assert p.mean() == pytest.approx(y.mean(), abs=0.02)  # by uniqueness: 0.33


def test_overlap_says_how_much_is_known():
    weight = np.array([0.1, 0.3, 0.0, 0.8])
    assert even_weight(weight) == pytest.approx([0.4, 0.4, 0.0, 0.4])
    # Ten labels that are one say little: the answer stays near even odds, where ten of one kind would be near 1.
    y, score = np.r_[np.ones(10), np.zeros(10)].astype(int), np.repeat([2.0, -2.0], 10)
    alone, together = (fit_platt(score, y, even_weight(np.full(20, w)))(np.array([2.0]))[0] for w in (1.0, 0.1))
    assert together == pytest.approx(2 / 3, abs=0.01)
    assert alone == pytest.approx(11 / 12, abs=0.01)


def test_noise_is_not_rewarded():
    rng = np.random.default_rng(3)
    n = 1_200
    y, ctx = rng.integers(0, 2, n), make(n).ctx
    result = found(rng.normal(0, 1, (n, 3)), ctx, y, members=TRIO)
    p = result(rng.normal(0, 1, (n, 3)), ctx)
    assert result.brier[result.winner] > result.brier["base"] - 0.002
    assert p.std() < 0.06


def test_one_class_is_refused():
    with pytest.raises(InputError, match="one class"):
        found(np.arange(9.0), make(9).ctx, np.zeros(9, int))


def test_names_and_columns_must_agree():
    logits, y = trio(90)
    with pytest.raises(InputError, match="3 columns of logits for the nets tcn, lstm"):
        found(logits, make(90).ctx, y, members=("tcn", "lstm"))
