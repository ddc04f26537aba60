"""Importance of a model whose truth is known: channel 0 decides, channel 1 is a copy, the others are noise."""

from __future__ import annotations

import json

import numpy as np
import pytest

from feature_repo.errors import InputError
from meta_models.baseline import logistic_p
from meta_models.importance import MOST_ROWS, channel_importance, logistic_ablation

T, C, N = 20, 4, 600
NAMES = ("first", "copy", "noise", "still")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2 * N, T, C)).astype(np.float32)
    x[:, :, 0] += 2 * rng.standard_normal((2 * N, 1))
    x[:, :, 1] = x[:, :, 0]
    x[:, :, 3] = 5.0
    ctx = rng.standard_normal((2 * N, 8)).astype(np.float32)
    y = (rng.random(2 * N) < knows_first(x, ctx)).astype(int)
    return x, ctx, y


def knows_first(x, _ctx):
    return 1 / (1 + np.exp(-2.0 * x[:, -4:, 0].mean(axis=1).astype(float)))


def ask(rows, predict=knows_first, **others):
    x, ctx, y = (a[N:] for a in rows)
    others = {"seed": 1} | others
    return channel_importance(predict, x, ctx, y, np.array([0, 0, 0, 5.0]), NAMES, **others)


def test_only_the_channel_that_matters_has_a_value_and_the_others_exactly_none(rows):
    found = ask(rows)
    assert [r["channel"] for r in found] == list(NAMES)
    assert found[0]["permutation"] > 0.1
    assert found[0]["ablation"] > 0.05
    assert 0 < found[0]["permutation_std"] < 0.05
    for row in found[1:]:
        assert (row["permutation"], row["permutation_std"], row["ablation"]) == (0.0, 0.0, 0.0)


def test_each_figure_is_the_rise_of_the_brier_score(rows):
    x, ctx, y = (a[N:] for a in rows)
    whole = np.mean((knows_first(x, ctx) - y) ** 2)
    orders = np.random.default_rng(1)
    rises = [np.mean((knows_first(x[orders.permutation(N)], ctx) - y) ** 2) - whole for _ in range(3)]
    first = ask(rows)[0]
    assert first["permutation"] == pytest.approx(np.mean(rises), abs=1e-12)
    assert first["permutation_std"] == pytest.approx(np.std(rises, ddof=1), abs=1e-12)
    assert first["ablation"] == pytest.approx(np.mean((0.5 - y) ** 2) - whole, abs=1e-12)


def test_an_ablated_channel_stands_at_the_mean_given(rows):
    x, ctx, y = (a[N:] for a in rows)
    p = 1 / (1 + np.exp(-2.0 * 0.7))
    found = channel_importance(knows_first, x, ctx, y, np.array([0.7, 0, 0, 0]), NAMES, seed=1, repeats=1)
    whole = np.mean((knows_first(x, ctx) - y) ** 2)
    assert found[0]["ablation"] == pytest.approx(np.mean((p - y) ** 2) - whole, abs=1e-7)


def test_a_window_is_permuted_whole(rows):
    # A model of the steps' differences in a channel whose windows are flat: no permutation of whole windows shows.
    x, ctx, y = rows[0].copy(), rows[1], rows[2]
    x[:, :, 2] = np.arange(2 * N)[:, None]

    def predict(x, _):
        return 0.5 + 0.4 * np.tanh(np.abs(np.diff(x[:, :, 2], axis=1)).sum(axis=1))

    assert ask((x, ctx, y), predict)[2]["permutation"] == 0.0


def test_a_constant_channel_that_the_model_uses_has_no_permutation(rows):
    found = ask(rows, lambda x, _: np.clip(0.1 + 0.01 * x[:, :, 3].mean(axis=1).astype(float), 0, 1))
    assert found[3]["permutation"] == 0.0


def test_what_helps_when_gone_is_below_zero(rows):
    assert ask(rows, lambda x, c: 1 - knows_first(x, c))[0]["ablation"] < -0.05


def test_the_same_seed_gives_the_same_and_another_seed_another(rows):
    assert ask(rows) == ask(rows)
    assert ask(rows)[0]["permutation"] != ask(rows, seed=2)[0]["permutation"]
    assert ask(rows)[0]["ablation"] == ask(rows, seed=2)[0]["ablation"]


def test_the_rows_asked_about_stay_as_they_were(rows):
    before = [a.copy() for a in rows]
    for array in rows:
        array.flags.writeable = False
    ask(rows)
    for array, was in zip(rows, before, strict=True):
        array.flags.writeable = True
        np.testing.assert_array_equal(array, was)


def test_many_rows_are_thinned_evenly_in_time():
    n, seen = 3 * MOST_ROWS + 7, []
    x = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((1, T, 1), np.float32)

    def predict(x, ctx):
        seen.append(x[:, 0, 0].copy())
        return np.full(len(x), 0.5)

    channel_importance(predict, x, np.zeros((n, 8)), np.arange(n) % 2, np.zeros(1), ("c",), seed=0, repeats=1)
    assert len(seen[0]) == MOST_ROWS
    assert (seen[0][0], seen[0][-1]) == (0, n - 1)
    assert set(np.diff(seen[0])) <= {3, 4}


@pytest.mark.parametrize("y", [np.zeros(N, int), np.ones(N, int), np.empty(0, int)])
def test_one_class_has_no_figures(rows, y):
    x, ctx = rows[0][: len(y)], rows[1][: len(y)]
    found = channel_importance(knows_first, x, ctx, y, np.zeros(C), NAMES, seed=0)
    assert found == [{"channel": n, "permutation": None, "permutation_std": None, "ablation": None} for n in NAMES]
    train = (rows[0], rows[1], rows[2], np.ones(2 * N))
    assert logistic_ablation(*train, x, ctx, y, NAMES) == [None] * C


def test_figures_go_into_json(rows):
    json.dumps(ask(rows), allow_nan=False)
    json.dumps(ask(rows, repeats=1), allow_nan=False)
    assert ask(rows, repeats=1)[0]["permutation_std"] is None


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"names": NAMES[1:]}, "3 names"),
        ({"repeats": 0}, "repeats = 0"),
        ({"y": np.zeros(5)}, "5 targets"),
        ({"x": np.zeros((2 * N, C), np.float32)}, rf"windows \({2 * N}, {C}\)"),
    ],
)
def test_what_does_not_belong_together_is_refused(rows, others, says):
    given = {"x": rows[0], "y": rows[2], "names": NAMES, "repeats": 3} | others
    with pytest.raises(InputError, match=says):
        channel_importance(
            knows_first, given["x"], rows[1], given["y"], np.zeros(C), given["names"], seed=0, repeats=given["repeats"]
        )


def split(rows):
    x, ctx, y = rows
    return (x[:N], ctx[:N], y[:N], np.ones(N)), (x[N:], ctx[N:], y[N:])


def test_a_refit_makes_up_for_a_channel_that_has_a_copy(rows):
    train, test = split(rows)
    both = logistic_ablation(*train, *test, NAMES)
    alone = [a[:, :, [0, 2, 3]] for a in (train[0], test[0])]
    without = logistic_ablation(alone[0], *train[1:], alone[1], *test[1:], (NAMES[0], *NAMES[2:]))
    assert without[0] > 0.1
    assert abs(both[0]) < 0.2 * without[0]  # a ridge charges one channel more than two that share its weight
    assert both[0] == pytest.approx(both[1], abs=1e-5)


def test_a_refit_without_a_still_channel_changes_nothing(rows):
    train, test = split(rows)
    assert logistic_ablation(*train, *test, NAMES)[3] == 0.0


def test_a_refit_without_a_channel_is_a_fit_to_windows_in_which_it_stands_still(rows):
    train, test = split(rows)
    still = [a.copy() for a in (train[0], test[0])]
    for windows in still:
        windows[:, :, 0] = 5.0
    p, p_still = (logistic_p(x, *train[1:], x_new, test[1]) for x, x_new in ((train[0], test[0]), still))
    rise = np.mean((p_still - test[2]) ** 2) - np.mean((p - test[2]) ** 2)
    assert logistic_ablation(*train, *test, NAMES)[0] == pytest.approx(rise, abs=1e-9)
