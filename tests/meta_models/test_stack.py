"""Two ways to make one score of several nets: scikit-learn and brute force as oracles, no net counts backwards."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from feature_repo.errors import InputError
from feature_repo.fields import CTX_NAMES
from meta_models.calibrators import fit_platt, sigmoid
from meta_models.normalise import fit_scale
from meta_models.stack import CTX_CLIP, CTX_PENALTY, WEIGHT_STEPS, fit_average, fit_stack, simplex
from tests.meta_models.learnable import make

N = 1_200


@pytest.fixture(scope="module")
def ctx():
    return make(N).ctx


def nets(seed=0, noise=(0.5, 1.5, 4.0), gain=(1.0, 3.0, 0.2)):
    """Targets, weights, and logits [N, M]: the truth under each net's own noise, in each net's own unit."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-0.5, 1.5, N)
    logits = np.column_stack([g * (truth + rng.normal(0, s, N)) for g, s in zip(gain, noise, strict=True)])
    return logits, (rng.random(N) < sigmoid(truth)).astype(int), rng.uniform(0.2, 1, N)


def log_loss(score, y, weight):
    return np.average(np.logaddexp(0, np.where(y == 1, -score, score)), weights=weight)


@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_the_grid_covers_the_simplex_and_begins_in_the_middle(members):
    grid = simplex(members, 4)
    np.testing.assert_allclose(grid.sum(axis=1), 1)
    assert (grid >= 0).all()
    assert len(np.unique(grid, axis=0)) == len(grid) == {1: 1, 2: 5, 3: 15, 4: 35}[members]
    assert np.ptp(grid[0]) <= 1 / 4


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("members", [2, 3])
def test_average_loses_no_more_than_a_fine_brute_force_grid(seed, members, ctx):
    logits, y, weight = nets(seed)
    logits = logits[:, :members]
    ours = log_loss(fit_average(logits, ctx, y, weight, CTX_NAMES)(logits, ctx), y, weight)
    lines = [fit_platt(column, y, weight) for column in logits.T]
    scores = np.column_stack([line.slope * c + line.offset for line, c in zip(lines, logits.T, strict=True)])
    fine = min(log_loss(scores @ w, y, weight) for w in simplex(members, 2 * WEIGHT_STEPS))
    assert fine <= ours <= fine + 1e-4


def test_average_is_the_mean_of_the_nets_own_platt_scores(ctx):
    logits, y, weight = nets(noise=(1.5, 1.5, 1.5))
    stack = fit_average(logits, ctx, y, weight, CTX_NAMES)
    slope = np.array([fit_platt(column, y, weight).slope for column in logits.T])
    share = stack.logit_weight / slope
    assert share.sum() == pytest.approx(1)
    # Nets equally good in units of 1, 3 and 0.2: about a third each.
    assert share == pytest.approx(np.full(3, 1 / 3), abs=0.12)
    offset = np.array([fit_platt(column, y, weight).offset for column in logits.T])
    assert stack.bias == pytest.approx(share @ offset)
    assert not stack.ctx_weight.any()


def test_average_prefers_the_better_net_and_counts_none_backwards(ctx):
    logits, y, weight = nets()
    by_net = np.array([fit_platt(column, y, weight).slope for column in logits.T])
    share = fit_average(logits, ctx, y, weight, CTX_NAMES).logit_weight / by_net
    assert share[0] > share[1] >= share[2]
    backwards = fit_average(logits * [1, -1, 1], ctx, y, weight, CTX_NAMES)
    assert backwards.logit_weight[1] == 0.0
    assert backwards.logit_weight[0] > 0


def test_average_of_the_same_net_twice_takes_equal_weights(ctx):
    logits, y, weight = nets()
    stack = fit_average(logits[:, [0, 0]], ctx, y, weight, CTX_NAMES)
    assert stack.logit_weight[0] == stack.logit_weight[1] > 0


def test_average_of_one_net_is_its_platt_line(ctx):
    logits, y, weight = nets()
    stack, line = fit_average(logits[:, 0], ctx, y, weight, CTX_NAMES), fit_platt(logits[:, 0], y, weight)
    assert stack.logit_weight.tolist() == [line.slope]
    assert stack.bias == line.offset


def oracle_table(logits, ctx):
    unit = (logits - logits.mean(axis=0)) / logits.std(axis=0)
    return np.column_stack([unit, fit_scale(ctx, CTX_NAMES, CTX_CLIP)(ctx) / CTX_PENALTY**0.5])


@pytest.mark.parametrize("members", [1, 2, 3])
def test_logistic_equals_scikit_learn_where_every_net_counts(members, ctx):
    logits, y, weight = nets(noise=(1.0, 1.2, 1.4))
    logits = logits[:, :members]
    table = oracle_table(logits, ctx)
    theirs = LogisticRegression(tol=1e-10, max_iter=5_000).fit(table, y, sample_weight=weight)
    assert (theirs.coef_[0, :members] > 0).all()
    ours = fit_stack(logits, ctx, y, weight, CTX_NAMES)
    np.testing.assert_allclose(ours(logits, ctx), theirs.decision_function(table), atol=1e-4)


def test_logistic_of_one_net_takes_a_column_or_a_table(ctx):
    logits, y, weight = nets()
    column = fit_stack(logits[:, 0], ctx, y, weight, CTX_NAMES)
    table = fit_stack(logits[:, :1], ctx, y, weight, CTX_NAMES)
    np.testing.assert_array_equal(column(logits[:, 0], ctx), table(logits[:, :1], ctx))


@pytest.mark.parametrize("seed", range(4))
def test_logistic_with_a_net_left_out_is_the_best_without_negative_weights(seed, ctx):
    # The second is the first plus noise of its own: at best useless beside it, often of negative weight.
    logits, y, weight = nets(seed, noise=(0.5, 1.5, 1.0))
    logits[:, 1] = logits[:, 0] + np.random.default_rng(seed).normal(0, 1, N)
    logits[:, 2] *= -1
    table = oracle_table(logits, ctx)

    def penalised(v):
        return log_loss(table @ v[:-1] + v[-1], y, weight) * weight.sum() + (v[:-1] ** 2).sum() / 2

    bounds = [(0, None)] * 3 + [(None, None)] * 9
    best = minimize(penalised, np.zeros(12), method="L-BFGS-B", bounds=bounds, options={"maxiter": 2_000}).fun
    stack = fit_stack(logits, ctx, y, weight, CTX_NAMES)
    spread = logits.std(axis=0)
    v = np.r_[stack.logit_weight * spread, stack.ctx_weight * CTX_PENALTY**0.5]
    shift = (stack(logits, ctx) - table @ v).mean()
    assert (stack.logit_weight >= 0).all()
    assert stack.logit_weight[2] == 0.0
    assert penalised(np.r_[v, shift]) <= best + 1e-3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("noise", [0.0, 1e-12])
def test_a_dead_net_leaves_the_others_and_the_context_to_answer(noise, ctx):
    logits, y, weight = nets()
    logits[:, 1] = 3.0 + noise * np.random.default_rng(0).normal(size=N)
    for fit in (fit_average, fit_stack):
        stack = fit(logits, ctx, y, weight, CTX_NAMES)
        assert stack.logit_weight[1] == 0.0
        assert stack.logit_weight[0] > 0.1
    made = make(600)
    alone = fit_stack(np.full(600, 3.0), made.ctx, made.labels["y"].astype(int), np.ones(600), CTX_NAMES)
    assert alone.logit_weight.tolist() == [0.0]
    assert np.corrcoef(alone(np.full(600, 3.0), made.ctx), made.labels["y"])[0, 1] > 0.1


def test_a_net_that_ranks_backwards_gets_no_weight(ctx):
    logits, y, weight = nets()
    assert fit_stack(-logits[:, 0], ctx, y, weight, CTX_NAMES).logit_weight.tolist() == [0.0]
    assert fit_stack(logits[:, 0], ctx, y, weight, CTX_NAMES).logit_weight[0] > 0.3


@pytest.mark.parametrize("fit", [fit_average, fit_stack])
def test_the_units_of_a_net_do_not_matter(fit, ctx):
    logits, y, weight = nets()
    moved = logits * [100.0, 0.01, 1.0] + [5.0, -3.0, 0.0]
    np.testing.assert_allclose(
        fit(moved, ctx, y, weight, CTX_NAMES)(moved, ctx),
        fit(logits, ctx, y, weight, CTX_NAMES)(logits, ctx),
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "logits", [np.zeros((5, 0)), np.zeros((5, 7)), np.zeros((5, 2, 2)), np.array([0.0, np.nan, 1.0, 1.0, 1.0])]
)
def test_columns_that_are_no_logits_are_refused(logits):
    with pytest.raises(InputError, match="one column for each"):
        fit_average(logits, make(5).ctx, np.array([0, 1, 0, 1, 0]), np.ones(5), CTX_NAMES)


def test_scale_is_robust_and_survives_still_channels():
    rng = np.random.default_rng(0)
    rows = np.zeros((10_000, 3), np.float32)
    rows[:, 0] = rng.normal(5, 2, 10_000)
    rows[:10, 0] = 1e9  # one crossed book
    rows[:3, 1] = 1.0  # hardly ever moves
    scale = fit_scale(rows, ("a", "b", "c"))
    assert scale.mean[0] == pytest.approx(5, abs=0.1)
    assert scale.scale[0] == pytest.approx(2, abs=0.1)
    assert scale.scale[1] == pytest.approx(rows[:, 1].std(), rel=1e-3)
    assert (scale(rows)[:, 2] == 0).all()
    assert np.abs(scale(rows)).max() == 8.0


def test_scale_names_the_channel_that_is_not_finite():
    rows = np.zeros((5, 2), np.float32)
    rows[3, 1] = np.nan
    with pytest.raises(ValueError, match="channel spread"):
        fit_scale(rows, ("ofi", "spread"))
