"""The checks of every training: they name a planted leak, tell shuffled labels, and leave honest data alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from feature_repo.constants import SECOND_NS, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS
from meta_models.auc import auc_deviation, weighted_auc
from meta_models.own_skill import LeakError, check_channels, check_skill
from meta_models.ridge import ridge, window_columns
from meta_models.shuffled import permute_in_blocks, shuffled_control
from meta_models.splits import InnerPurgedFolds
from meta_models.uniqueness import average_uniqueness
from tests.meta_models.learnable import make
from tests.meta_models.walks import Walk, walk

pytestmark = pytest.mark.slow  # takes seconds as a whole

FOLDS = InnerPurgedFolds(3)
INTO = CHANNELS.index("session_flag")
AT = {name: CHANNELS.index(name) for name in CHANNELS}


@pytest.fixture(scope="module")
def honest() -> Walk:
    return walk(1_500, seed=2)


def planted(walk: Walk, column: np.ndarray, channel: int = INTO) -> np.ndarray:
    x = walk.x.copy()
    x[:, :, channel] = column if column.ndim == 2 else column[:, None]
    return x


def channels_of(walk: Walk, x: np.ndarray | None = None) -> dict:
    return check_channels(walk.x if x is None else x, walk.y, walk.weight, CHANNELS)


def control_of(walk: Walk, y: np.ndarray | None = None, folds=FOLDS, **kw) -> dict:
    y = walk.y if y is None else y
    return shuffled_control(walk.x, walk.ctx, y, walk.weight, walk.t_start, walk.t_end, folds, **{"seed": 7} | kw)


def noisy(walk: Walk, sd: float) -> np.ndarray:
    return walk.y + sd * np.random.default_rng(5).standard_normal(len(walk.y))


LEAKS = {
    "the label": lambda w: w.y,
    "the label turned round": lambda w: 1 - w.y,
    "the label, newest row only": lambda w: np.where(np.arange(w.x.shape[1]) == w.x.shape[1] - 1, w.y[:, None], 0.0),
    "the label in the newest row, under noise in all others": lambda w: np.c_[
        3.0 * np.random.default_rng(5).standard_normal((len(w.y), w.x.shape[1] - 1)), w.y
    ],
    "the label under noise of half its step": lambda w: noisy(w, 0.5),
    "the label under noise of twice its step, drawn anew each row": lambda w: (
        w.y[:, None] + 2.0 * np.random.default_rng(5).standard_normal(w.x.shape[:2])
    ),
    "what the trade earned": lambda w: w.gross_R,
    "how long the trade took": lambda w: (w.t_end - w.ts_ns) / SECOND_NS,
    "the return of the next 60 s": lambda w: w.ahead(60.0),
    "the return of the next 10 s": lambda w: w.ahead(10.0),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_stops_the_training_and_is_named(honest, name):
    x = planted(honest, np.asarray(LEAKS[name](honest), np.float32))
    with pytest.raises(LeakError, match=r"channel session_flag, whose .* ROC curve of (0\.[789]|1\.0)"):
        channels_of(honest, x)


@pytest.mark.parametrize("seconds", [1.0, 0.1])
def test_a_look_ahead_too_short_to_be_told_from_skill_passes(honest, seconds):
    """Stated in docs/leaks.md: what the next second brings says little of the next minute."""
    channels_of(honest, planted(honest, honest.ahead(seconds).astype(np.float32)))


def test_the_leak_is_named_and_not_a_channel_that_resembles_it(honest):
    leak = honest.ahead(60.0).astype(np.float32)
    x = planted(honest, leak, AT["funding_bps"])
    x[:, :, AT["ofi_z"]] = leak + 0.4 * leak.std() * np.random.default_rng(2).standard_normal((len(leak), 1))
    with pytest.raises(LeakError, match="channel funding_bps,"):
        channels_of(honest, x)


def test_a_leak_that_two_channels_share_is_caught_by_its_own_figure(honest):
    """Each leaves nothing to the other: what they take from the rest says nothing here."""
    x = planted(honest.with_x(planted(honest, honest.gross_R)), honest.gross_R, AT["funding_bps"])
    with pytest.raises(LeakError, match=r"session_flag|funding_bps"):
        channels_of(honest, x)


@pytest.mark.parametrize(("n", "seed"), [(200, 0), (200, 1), (200, 2), (700, 0), (700, 1), (1_500, 0)])
def test_honest_spans_with_the_strongest_skill_pass(n, seed):
    made = walk(n, seed=seed)
    found = channels_of(made)
    control_of(made)
    print(n, found["highest"], max(v["share"] for v in found["channels"].values()))
    if n == 1_500:
        assert found["highest"]["auc"] > 0.75  # as strong as the best channel of any day that was measured


@pytest.mark.parametrize("strength", [3.0, 8.0, 100.0])
@pytest.mark.parametrize("n", [300, 2_000])
def test_made_up_samples_pass_however_strong(n, strength):
    """One channel knows everything, over several rows: no single view of it does."""
    made = make(n, C=24, strength=strength)
    check_channels(made.x, made.labels["y"], made.labels["weight"], CHANNELS)


def test_few_rows_that_happen_to_be_in_order_raise_no_alarm():
    """Eight targets among 200 rows, all of one cluster: as good as one independent row."""
    made = make(200, C=3)
    y, weight = np.zeros(200), np.full(200, 0.5)
    y[:8], weight[:8] = 1, 1 / 8
    made.x[:, :, 1] = y[:, None]
    check_channels(made.x, y, weight, ("a", "b", "c"))
    weight[:8] = 1.0
    y[:60], weight[:60] = 1, 1.0
    made.x[:, :, 1] = y[:, None]
    with pytest.raises(LeakError, match="channel b,"):
        check_channels(made.x, y, weight, ("a", "b", "c"))


def test_a_model_that_knows_too_much_is_stopped_with_its_best_channel(honest):
    """A leak spread thinly over all channels: none of them stands out, the model does."""
    rng = np.random.default_rng(3)
    x = honest.x.copy()
    x += 0.6 * x.std(axis=(0, 1)) * honest.y[:, None, None].astype(np.float32)
    x = (x + rng.standard_normal((len(x), 1, 24)) * x.std(axis=(0, 1))).astype(np.float32)
    channels_of(honest, x)
    columns = window_columns(x)
    p = columns @ ridge(columns, honest.y[:, None].astype(float), honest.weight)[0]
    with pytest.raises(
        LeakError, match=r"out-of-fold probabilities .* of 0\.9\d\d; of the channels, the .* alone does"
    ):
        check_skill(p[:, 0], x, honest.y, honest.weight, CHANNELS)


def test_an_honest_model_passes_and_its_figures_are_told(honest):
    columns = window_columns(honest.x)
    p = (columns @ ridge(columns, honest.y[:, None].astype(float), honest.weight)[0])[:, 0]
    told = check_skill(p, honest.x, honest.y, honest.weight, CHANNELS)
    assert 0.75 < told["auc"] < told["limit"]
    assert told["highest"] == channels_of(honest)["highest"]


def test_shuffled_labels_have_no_skill_and_real_ones_have(honest):
    real = control_of(honest)
    assert not real["no_skill"]
    assert real["auc"] > real["shuffled_max"]
    assert abs(real["shuffled_mean"] - 0.5) < 0.02
    rng = np.random.default_rng(0)
    told = [control_of(honest, rng.permutation(honest.y))["no_skill"] for _ in range(5)]
    assert sum(told) >= 4  # one in twenty is let off by chance


def test_shuffled_labels_that_keep_their_clusters_have_no_skill():
    """Labels of one cluster are alike and so are its windows: a control of single labels sees skill in these."""
    made = walk(700, seed=3, cluster=20)
    shuffled = permute_in_blocks(made.y, made.t_start, made.t_end, np.random.default_rng(0), 8)
    assert sum(control_of(made, y)["no_skill"] for y in shuffled.T) >= 7


def test_blocks_change_places_as_a_whole():
    minutes = np.r_[np.arange(0, 400, 2), np.arange(1, 400, 2)]  # any order of rows
    at = minutes * 60 * SECOND_NS
    y = minutes // 10
    out = permute_in_blocks(y, at, at + SECOND_NS, np.random.default_rng(0), 5)
    in_time = out[np.argsort(at)]
    assert (np.sort(out, axis=0) == np.sort(y)[:, None]).all()
    assert (np.abs(np.diff(in_time, axis=0)) > 0).sum(axis=0).max() <= 39  # 40 blocks, never torn
    assert all((in_time[:, k] != np.sort(y)).any() for k in range(5))


def test_a_span_shorter_than_its_blocks_is_cut_finer():
    at = np.arange(100) * SECOND_NS
    out = permute_in_blocks(np.arange(100), at, at, np.random.default_rng(0), 1)[:, 0]
    assert (np.diff(out) != 1).sum() > 10


def test_folds_that_know_their_test_rows_are_caught():
    made = walk(700, seed=3)

    class Everything(InnerPurgedFolds):
        def split(self, X, y=None, t_start=None, t_end=None):
            for _, test in super().split(X, y, t_start, t_end):
                yield np.arange(len(X)), test

    control_of(made)
    with pytest.raises(LeakError, match="labels in shuffled order"):
        control_of(made, folds=Everything(3))


def test_folds_that_cut_through_clusters_are_caught():
    """Neighbours share their label and most of their window: a plain shuffled split knows the answer."""
    made = walk(700, seed=3, cluster=20)

    class Shuffled(InnerPurgedFolds):
        def split(self, X, y=None, t_start=None, t_end=None):
            fold = np.random.default_rng(0).integers(0, 3, len(X))
            for k in range(3):
                yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)

    control_of(made)
    with pytest.raises(LeakError, match="folds are purged"):
        control_of(made, folds=Shuffled(3))


def test_what_cannot_be_known_is_none():
    made = walk(200, seed=0)
    y = np.zeros_like(made.y)
    told = [channels_of(made.with_y(y)), control_of(made, y), check_skill(y, made.x, y, made.weight, CHANNELS)]
    assert told[0]["highest"]["channel"] is None
    assert told[1]["no_skill"] is None
    assert told[2]["auc"] is None
    far = InnerPurgedFolds(3, gap_ns=10**18)  # purging empties every training side
    assert control_of(made, folds=far)["p_value"] is None
    for each in told:
        json.dumps(each, allow_nan=False)


def test_the_same_input_gives_the_same_answer(honest):
    a, b = ([channels_of(honest), control_of(honest)] for _ in range(2))
    assert a == b
    json.dumps(a, allow_nan=False)
    assert control_of(honest, seed=8) != a[1]


def test_a_leak_is_bad_input():
    assert issubclass(LeakError, InputError)


def test_the_weighted_area_is_a_count_over_pairs():
    rng = np.random.default_rng(0)
    score = np.c_[rng.integers(0, 6, 60), rng.standard_normal(60)]  # with ties, and without
    y, weight = rng.integers(0, 2, 60), rng.uniform(0.1, 1, 60)
    for k, area in enumerate(weighted_auc(score, y, weight)):
        hit, miss = score[y == 1, k][:, None], score[y == 0, k][None, :]
        pairs = weight[y == 1][:, None] * weight[y == 0][None, :]
        assert area == pytest.approx((pairs * ((hit > miss) + 0.5 * (hit == miss))).sum() / pairs.sum(), abs=1e-12)
    assert np.isnan(weighted_auc(score, np.ones(60), weight)).all()


def test_the_deviation_is_that_of_exponential_scores():
    """Hanley and McNeil's formula is exact for them."""
    rng = np.random.default_rng(0)
    hits, misses, area = 40, 90, 0.85
    y, weight = np.repeat([1, 0], [hits, misses]), np.ones(hits + misses)
    score = np.r_[rng.exponential(area / (1 - area), (hits, 3_000)), rng.exponential(1.0, (misses, 3_000))]
    drawn = weighted_auc(score, y, weight)
    assert drawn.mean() == pytest.approx(area, abs=3e-3)
    assert drawn.std() == pytest.approx(auc_deviation(area, hits, misses), rel=0.04)
    assert auc_deviation(0.9, 0.1, 0.2) == auc_deviation(0.9, 1, 1)


def test_leaving_a_channel_out_is_a_fit_without_it(honest):
    """The share in closed form, against fits that never saw the channel."""
    few = walk(400, seed=4)
    shares = {name: v["share"] for name, v in channels_of(few)["channels"].items()}
    columns, y = window_columns(few.x), few.y[:, None].astype(float)

    def area(kept: np.ndarray) -> float:
        fitted = columns[:, kept] @ ridge(columns[:, kept], y, few.weight)[0]
        return weighted_auc(fitted, few.y, few.weight)[0]

    everything = area(np.arange(48))
    for c, name in enumerate(CHANNELS):
        without = area(np.flatnonzero(np.arange(48) % 24 != c))
        assert shares[name] == pytest.approx((everything - without) / (1 - without), abs=2e-4)


def test_overlapping_labels_count_for_what_they_are_worth(honest):
    """The limits reckon with uniqueness: the same rows in clusters of eight allow more luck."""
    loose = channels_of(honest.with_weight(honest.weight / 8))
    assert loose["limit"] - 0.85 > 2.5 * (channels_of(honest)["limit"] - 0.85)
    assert average_uniqueness(honest.ts_ns, honest.t_end).max() <= 1.0
    assert (honest.ts_ns - honest.t_start == honest.x.shape[1] * WINDOW_NS).all()


def test_a_block_of_one_class_is_left_out_of_the_control(honest):
    # Weights of which rounding leaves something: no pairs at all must not become a figure.
    y = honest.y.copy()
    y[:500] = 1
    lopsided = honest.with_weight(np.random.default_rng(1).uniform(0.05, 0.3, len(y)))
    figures = control_of(lopsided, y)
    assert all(np.isfinite(figures[k]) for k in ("auc", "shuffled_mean", "shuffled_std", "shuffled_max", "p_value"))
