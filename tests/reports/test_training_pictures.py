"""folds.png and importance.png: what is drawn equals the folds of the training."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from reports import pictures
from reports.tables.importance import importance_order
from tests.reports import make_metrics, make_training
from tests.reports.drawn import lines, said

SHORT = "12 labels in the training span"


def _trained(**more):
    return make_metrics.metrics(training={**make_training.training_dict(), **more})


def _first_without_a_model():
    return _trained(folds=[make_training.training_fold(0, SHORT), *map(make_training.training_fold, (1, 2))])


def _bars(ax):
    return {c.get_label(): [bar.get_height() for bar in c] for c in ax.containers}


# --- folds


def test_reliability_has_a_line_a_fold_and_one_pooled():
    metrics = make_metrics.metrics()
    for fold in metrics["training"]["folds"]:
        for b in fold["figures"]["model"]["bins"]:
            b["y_rate"] += 0.01 * fold["k"]
    left, _ = pictures.folds_figure(metrics).axes
    drawn = lines(left)
    assert list(drawn) == ["_perfect", *(f"fold {k} (n = 900)" for k in range(3)), "pooled"]
    for fold in metrics["training"]["folds"]:
        want = [(b["p_mean"], b["y_rate"]) for b in fold["figures"]["model"]["bins"]]
        np.testing.assert_array_equal(drawn[f"fold {fold['k']} (n = 900)"].get_xydata(), want)
    looks = {(line.get_color(), line.get_marker()) for name, line in drawn.items() if name != "_perfect"}
    assert len(looks) == 4
    low, high = left.get_xlim()
    assert low < 0.2 < 0.76 < high
    assert (low, high) == left.get_ylim(), "the diagonal must run from corner to corner"


def test_skill_is_the_share_of_the_other_brier_score_that_is_saved():
    _, right = pictures.folds_figure(make_metrics.metrics(training=make_training.training_dict(beats=False))).axes
    bars = _bars(right)
    assert list(bars) == ["against logistic", "against boosting", "against base rate"]
    assert bars["against logistic"] == pytest.approx(
        [1 - 0.236 / 0.2405, 1 - 0.237 / 0.2415, 1 - 0.238 / 0.2425, 1 - 0.246 / 0.2405]
    )
    assert bars["against base rate"][3] == pytest.approx(1 - 0.246 / 0.2575)
    assert [t.get_text() for t in right.get_xticklabels()] == ["fold 0", "fold 1", "fold 2", "pooled"]
    assert {"-2.3", "+1.9"} <= {t.get_text() for t in right.texts}


def test_a_fold_without_a_model_is_named_in_both_panels():
    left, right = pictures.folds_figure(_first_without_a_model()).axes
    assert len(lines(left)["fold 0 (no model)"].get_xdata()) == 0
    assert np.isnan(_bars(right)["against logistic"][0])
    assert [t.get_text() for t in right.texts].count("no model") == 1


def test_a_baseline_that_was_not_fitted_has_no_bars():
    training = make_training.training_dict()
    for figures in (training["pooled"], *(fold["figures"] for fold in training["folds"])):
        del figures["boosting"]
    _, right = pictures.folds_figure(make_metrics.metrics(training=training)).axes
    assert np.isnan(_bars(right)["against boosting"]).all()
    assert np.isfinite(_bars(right)["against base rate"]).all()


# --- importance


def _colours(ax):
    """Ground of each cell, [channels, folds and mean]."""
    return np.asarray(ax.images[0].get_array())


def _written(ax, shape):
    return np.array([t.get_text() for t in ax.texts]).reshape(shape)


@pytest.mark.slow
def test_importance_has_a_panel_each_way_channels_down_and_folds_across():
    metrics = make_metrics.metrics()
    shuffled, held, _ = pictures.importance_figure(metrics).axes
    names = [t.get_text() for t in shuffled.get_yticklabels()]
    assert names == importance_order(metrics) == ["ofi_z", "cvd_z", "spread_bps", "session_flag"]
    for ax, title in ((shuffled, "permutation"), (held, "ablation")):
        assert [t.get_text() for t in ax.get_xticklabels()] == ["fold 0", "fold 1", "fold 2", "mean"]
        assert ax.get_title(loc="left").startswith(title)
    assert _written(shuffled, (4, 4))[:, 0].tolist() == ["+40.0", "+30.0", "+20.0", "+10.0"]
    assert _written(held, (4, 4))[:, 3].tolist() == ["+30.0", "+20.0", "+10.0", "+0.0"]


def test_what_the_model_uses_is_blue_and_what_it_is_better_without_is_red():
    training = make_training.training_dict()
    for fold in training["folds"]:
        fold["importance"][0]["permutation"], fold["importance"][3]["permutation"] = 0.004, -0.002
    figure = pictures.importance_figure(make_metrics.metrics(training=training))
    cells = _colours(figure.axes[0])
    blue, red = cells[0, 0], cells[3, 0]
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    assert figure.axes[-1].get_ylim() == pytest.approx((-40.0, 40.0)), "the colours must be centred on zero"


def test_a_channel_that_was_not_looked_at_is_blank_and_out_of_the_mean():
    training = make_training.training_dict()
    training["folds"][1]["importance"][0]["permutation"] = None
    training["folds"][2]["importance"][0]["permutation"] = 0.002
    ax = pictures.importance_figure(make_metrics.metrics(training=training)).axes[0]
    row = [t.get_text() for t in ax.get_yticklabels()].index("ofi_z")
    assert _written(ax, (4, 4))[row].tolist() == ["+40.0", "-", "+20.0", "+30.0"]
    assert to_hex(_colours(ax)[row, 1]) == "#ffffff"


def test_a_fold_without_a_model_has_no_column():
    ax = pictures.importance_figure(_first_without_a_model()).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["fold 1", "fold 2", "mean"]


def test_importance_that_was_not_computed_is_a_sentence():
    folds = [{**make_training.training_fold(k), "importance": []} for k in range(3)]
    figure = pictures.importance_figure(_trained(folds=folds))
    assert figure.axes == []
    assert said(figure) == "the importance of channels was not computed"


# --- without a model


@pytest.mark.parametrize("draw", [pictures.folds_figure, pictures.importance_figure])
def test_without_a_model_a_sentence_says_why(draw):
    assert said(draw(make_metrics.without_new_sections())) == "no model: 3 labels"
    nothing = _trained(folds=[make_training.training_fold(0, SHORT)], pooled={}, beats_logistic=None)
    figure = draw(nothing)
    assert figure.axes == []
    assert said(figure) == f"no model: {SHORT}"
