"""What cannot be trained on: one sentence before anything is fitted or written, or a fold that says why it has none."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, CTX_NAMES, Field
from feature_repo.instruments import FeeTier
from feature_repo.offline import TrainingSet
from feature_repo.table import FeatureTable
from meta_models.dataset import build_dataset
from meta_models.fit import FitConfig
from meta_models.labels import LABEL_DTYPE
from meta_models.normalise import Scale, fit_scale
from meta_models.walk_forward import Origin, walk_forward
from tests.feature_repo.store_table import make_table
from tests.meta_models.learnable import T0, make
from tests.meta_models.small_fit import SMALL

pytestmark = pytest.mark.slow

ORIGIN = Origin("ETHUSDT-SIM", "simulated", True, FeeTier("regular", 2.0, 5.0))
CONFIG = replace(SMALL, nets=tuple(replace(net, C=24) for net in SMALL.nets))
ONE_FOLD = replace(CONFIG, folds=1)


def run(made, workdir, config=CONFIG, **kw):
    kw = {"release": False, "explain": False} | kw
    return walk_forward(made.x, made.ctx, made.labels, made.ts_ns, config=config, workdir=workdir, origin=ORIGIN, **kw)


def damaged(column, value, row=7):
    made = make(60, C=24)
    if column == "x":
        made.x[row, 3, CHANNELS.index("regime_q")] = value
    elif column == "ctx":
        made.ctx[row, CTX_NAMES.index("est_slip_bps")] = value
    else:
        made.labels[column][row] = value
    return made


# Refused with a sentence.


@pytest.mark.parametrize(
    ("column", "value", "part"),
    [
        ("x", np.nan, "windows with values that are not finite in regime_q"),
        ("x", np.inf, "windows with values that are not finite in regime_q"),
        ("x", -np.inf, "windows with values that are not finite in regime_q"),
        ("x", -3e38, "windows with values beyond 1e+32 in regime_q"),
        ("ctx", 3e38, "contexts with values beyond 1e+32 in est_slip_bps"),
        ("ctx", np.nan, "contexts with values that are not finite in est_slip_bps"),
        ("ctx", np.inf, "contexts with values that are not finite in est_slip_bps"),
        ("y", 2, "y = 2 in row 7"),
        ("y", -2, "y = -2 in row 7"),
        ("weight", -0.1, "weight -0.1 in row 7"),
        ("weight", np.nan, "weight nan in row 7"),
        ("weight", np.inf, "weight inf in row 7"),
        ("t_end_ns", T0 - 3_600 * 10**9, "sample 7 ends at"),
        ("t_end_ns", -1, "sample 7 ends at -1 ns, before it starts"),
        ("t_end_ns", 2**63 - 1, "t_end of sample 7 is 9223372036854775807"),
        ("ts_ns", T0, "beside a label of 1767571200000000000 ns"),
    ],
)
def test_a_value_that_none_can_be_is_refused_by_its_place_and_nothing_is_written(column, value, part, tmp_path):
    made = damaged(column, value)
    with pytest.raises(InputError) as refused:
        run(made, tmp_path)
    assert part in str(refused.value)
    assert "Expected" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("far", [2**63 - 10**6, -(2**63) + 10**6, 2**62 + 10**12])
def test_times_that_would_wrap_around_are_refused(far, tmp_path):
    made = make(60, C=24)
    made.ts_ns = np.full(60, far)
    made.labels["ts_ns"] = made.labels["t_end_ns"] = made.ts_ns
    with pytest.raises(InputError, match=r"t_start of sample 0 is .*Check its unit"):
        run(made, tmp_path)


def test_times_that_are_no_whole_nanoseconds_are_refused(tmp_path):
    made = make(60, C=24)
    made.ts_ns = made.ts_ns.astype(float)
    with pytest.raises(InputError, match="float64"):
        run(made, tmp_path)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"x": np.zeros((60, 20, 23), np.float32)}, "windows [N, 20, 24]"),
        ({"x": np.zeros((60, 19, 24), np.float32)}, "windows [N, 20, 24]"),
        ({"x": np.zeros((60, 480), np.float32)}, "windows [N, 20, 24]"),
        ({"ctx": np.zeros((60, 7), np.float32)}, "context [N, 8]"),
        ({"ctx": np.zeros((59, 8), np.float32)}, "as many of each"),
        ({"labels": np.zeros(59, LABEL_DTYPE)}, "as many of each"),
    ],
)
def test_columns_of_another_shape_are_refused(change, part, tmp_path):
    made = make(60, C=24)
    for name, value in change.items():
        setattr(made, name, value)
    with pytest.raises(InputError) as refused:
        run(made, tmp_path)
    assert part in str(refused.value)


@pytest.mark.parametrize(("model", "T"), [("transformer", 31), ("transformer", 65), ("stack", 20), ("tcn", 19)])
def test_a_window_that_a_net_does_not_take_is_refused_before_any_data_is_read(model, T):
    with pytest.raises(InputError, match=f"T = {T} windows"):
        FitConfig.of(model, T=T)


# A stated N/A: a fold without a model and its reason.


def without_model(result):
    assert all(f.bundle_path is None and f.reason for f in result.folds)
    assert np.isnan(result.p_test).all()
    assert [n for n in result.metrics["notes"] if "has no model" in n]
    return [f.reason for f in result.folds]


@pytest.mark.parametrize(("y", "counts"), [(0, "(0 that reached the target"), (1, "that reached the target, 0 that")])
def test_one_class_only_is_a_stated_na(y, counts, tmp_path):
    made = make(900, C=24)
    made.labels["y"] = y
    result = run(made, tmp_path, release=True)
    assert all(counts in reason and "of each kind" in reason for reason in without_model(result))
    assert counts in str(result.refused)
    assert result.release is None
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_all_zero_are_no_labels(tmp_path):
    made = make(900, C=24)
    made.labels["weight"] = 0.0
    assert all("0 labels in the training span" in reason for reason in without_model(run(made, tmp_path)))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_candidates_than_folds_is_a_stated_na(n, tmp_path):
    reasons = without_model(run(make(n, C=24), tmp_path))
    assert reasons == [f"{n} candidates. Expected at least 3. Use a longer recording."] * 2


def test_a_span_that_the_purge_empties_is_a_stated_na(tmp_path):
    made = make(900, C=24)
    made.labels["t_end_ns"] = made.ts_ns[-1] + 1  # every label is known only after the last block has begun
    result = run(made, tmp_path)
    assert all("0 labels in the training span" in reason for reason in without_model(result))
    assert [len(f.train_idx) for f in result.folds] == [0, 0]


def test_an_inner_fold_that_the_purge_empties_leaves_nothing_to_calibrate_on(tmp_path):
    # An hour of candidates with labels of half an hour: no inner block has anything to train on.
    made = make(900, C=24, hours=1.0)
    made.labels["t_end_ns"] = made.ts_ns + 1_800 * 10**9
    result = run(made, tmp_path, ONE_FOLD, release=True)
    assert "labels in the training span" in without_model(result)[0]
    assert "0 purged out-of-fold predictions to calibrate on" in str(result.refused)


def test_a_net_that_diverges_is_a_stated_na(tmp_path):
    wild = replace(ONE_FOLD, optim=replace(ONE_FOLD.optim, lr=1e30))
    (reason,) = without_model(run(make(600, C=24), tmp_path, wild))
    assert "that are not all finite" in reason


# Used as they are.


def test_times_in_no_order_are_put_in_order(tmp_path):
    made = make(600, C=24)
    straight = run(made, tmp_path / "a", ONE_FOLD)
    back = deepcopy(made)
    for name in ("x", "ctx", "labels", "ts_ns"):
        setattr(back, name, getattr(made, name)[::-1].copy())
    np.testing.assert_array_equal(run(back, tmp_path / "b", ONE_FOLD).p_test, straight.p_test[::-1])


def test_huge_values_and_equal_times_train_and_answer(tmp_path):
    """The scale pulls in the tails, the graph cuts what is left."""
    made = make(600, C=24)
    rng = np.random.default_rng(0)
    rows = rng.random(600) < 0.02
    made.x[rows, :, 4] = 1e32
    made.x[rng.random(600) < 0.02, :, 5] = -1e31
    made.ctx[rows, 7] = 1e32
    made.ts_ns[1::2] = made.ts_ns[::2]
    made.labels["ts_ns"] = made.ts_ns
    made.labels["t_end_ns"] = made.ts_ns + 10**9
    result = run(made, tmp_path, ONE_FOLD, explain=True)
    p = result.p_test[result.fold_of == 0]
    assert np.isfinite(p).all()
    assert ((p >= 0) & (p <= 1)).all()


# The scale.


def test_a_scale_takes_finite_rows_and_at_least_one():
    with pytest.raises(InputError, match="channel b"):
        fit_scale(np.array([[0.0, np.inf], [1.0, 2.0]], np.float32), ("a", "b"))
    with pytest.raises(InputError, match="no row"):
        fit_scale(np.empty((0, 20, 2), np.float32), ("a", "b"))


def test_what_lies_beyond_float32_is_cut_and_never_a_nan():
    scale = Scale(np.array([-3e38], np.float32), np.array([1.0], np.float32))
    assert scale(np.array([[3e38], [-3e38]], np.float32)).tolist() == [[8.0], [0.0]]


# From the store's answer to the rows.


def stored(n=4, T=20):
    labels = np.zeros(n, LABEL_DTYPE)
    labels["ts_ns"] = T0 + np.arange(n) // 2
    labels["t_end_ns"] = labels["ts_ns"] + 10**9
    side = np.where(np.arange(n) % 2 == 0, 1, -1)
    x = np.random.default_rng(0).normal(size=(n, T, 24)).astype(np.float32)
    return labels, side, TrainingSet(x, np.zeros((n, 8), np.float32), np.ones(n, bool))


def test_both_sides_at_one_time_are_two_candidates():
    labels, side, training = stored()
    assert len(build_dataset(labels, side, training, T=20).y) == 4


def test_a_candidate_that_comes_twice_is_refused():
    labels, side, training = stored()
    labels["ts_ns"][3], side[3] = labels["ts_ns"][0], side[0]
    with pytest.raises(InputError, match="candidate 3 of the time and side of candidate 0"):
        build_dataset(labels, side, training, T=20)


@pytest.mark.parametrize(
    ("column", "value", "part"),
    [
        ("ctx", np.nan, "contexts with values that are not finite in is_liquidation"),
        ("x", np.nan, "windows with values that are not finite in cvd_z"),
        ("weight", -1.0, "weight -1.0 in row 2"),
        ("y", 3, "y = 3 in row 2"),
        ("t_end_ns", 5, "sample 2 ends at 5 ns"),
    ],
)
def test_a_dataset_is_not_made_of_values_that_none_can_be(column, value, part):
    labels, side, training = stored()
    if column == "ctx":
        training.ctx[2, CTX_NAMES.index("is_liquidation")] = value
    elif column == "x":
        training.x[2, 0, CHANNELS.index("cvd_z")] = value
    else:
        labels[column][2] = value
    with pytest.raises(InputError, match=part):
        build_dataset(labels, side, training, T=20)


def test_rows_that_the_store_lacks_may_hold_anything():
    labels, side, training = stored()
    training.x[2] = training.ctx[2] = np.nan
    training.found[2] = False
    assert build_dataset(labels, side, training, T=20).found.tolist() == [True, True, False, True]


# Channels: by name in the feature table, by the catalogue's hash where they are numbers without names.


def test_a_table_without_a_channel_is_refused_and_the_order_of_its_columns_is_no_matter(tmp_path):
    import pyarrow.parquet as pq

    folder = make_table().save(tmp_path)
    (file,) = (folder / "features").glob("*.parquet")
    rows = pq.read_table(file)
    # Columns are found by name: another order of them in the file is no other table.
    pq.write_table(rows.select(rows.column_names[::-1]), file)
    np.testing.assert_array_equal(FeatureTable.load(folder).X, make_table().X)
    pq.write_table(rows.drop_columns(["cvd_z"]), file)
    with pytest.raises(InputError, match="lacks the columns cvd_z"):
        FeatureTable.load(folder)


def test_a_catalogue_in_another_order_is_another_catalogue(tmp_path, monkeypatch):
    from feature_repo import fields

    swapped: tuple[Field, ...] = (fields.FIELDS[1], fields.FIELDS[0], *fields.FIELDS[2:])
    folder = make_table().save(tmp_path)
    monkeypatch.setattr("feature_repo.table.CATALOGUE_HASH", fields.catalogue_hash(fields=swapped))
    with pytest.raises(InputError, match=r"made from field catalogue .*Build the features again"):
        FeatureTable.load(folder)
