"""What was learned, as tables: rows literally, from a report made by hand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from reports import tables
from reports.terminal import print_report
from tests.reports import make_metrics, make_training

FOLDS = ["fold 0", "fold 1", "fold 2", "pooled"]
SHORT = "12 labels in the training span"


@pytest.fixture(scope="module")
def metrics():
    return make_metrics.metrics()


def _named(table):
    return {row[0]: row for row in table.rows}


def _trained(**more):
    return make_metrics.metrics(training={**make_training.training_dict(), **more})


def _one_without_a_model():
    return _trained(folds=[make_training.training_fold(0, SHORT), *map(make_training.training_fold, (1, 2))])


# --- folds


def test_a_row_a_fold_and_one_pooled_with_the_baselines_beside_the_model(metrics):
    table = tables.fold_table(metrics)
    assert [row[0] for row in table.rows] == FOLDS
    assert table.columns == (
        "fold", "train", "test", "judged", "base rate", "AUC-PR model", "AUC-PR logistic", "AUC-PR boosting",
        "Brier model", "Brier logistic", "Brier boosting", "Brier base rate",
    )  # fmt: skip
    assert table.rows[1] == (
        "fold 1", "1,600", "960", "900", "0.450", "0.510", "0.510", "0.510", "0.2370", "0.2415", "0.2422", "0.2485",
    )  # fmt: skip
    assert table.rows[3][:5] == ("pooled", "-", "-", "2,700", "0.450")
    assert table.marks == ("", "", "", "head")


def test_the_summary_has_the_brier_score_of_each_and_the_calibration_error(metrics):
    table = tables.fold_summary(metrics)
    assert table.rows[1] == (
        "fold 1", "1,600", "960", "900", "0.450", "0.510", "0.2370", "0.2415", "0.2422", "0.2485", "0.021",
    )  # fmt: skip


def test_the_parts_of_the_brier_score_add_up_as_the_note_says(metrics):
    table = tables.decomposition_table(metrics)
    assert table.rows[0] == (
        "fold 0", "900", "0.2360", "0.0020", "0.0145", "0.2475", "0.0010", "0.6650", "0.021", "+1.9%", "+2.2%", "+4.6%",
    )  # fmt: skip
    for row in table.rows:
        whole, reliability, resolution, uncertainty, within = map(float, row[2:7])
        assert whole == pytest.approx(reliability - resolution + uncertainty + within, abs=1e-4)


def test_a_model_that_is_worse_than_a_baseline_saves_less_than_nothing():
    training = make_training.training_dict(beats=False)
    pooled = tables.decomposition_table(make_metrics.metrics(training=training)).rows[-1]
    assert pooled[9:] == ("-2.3%", "+2.1%", "+4.5%")


def test_a_fold_without_a_model_is_there_and_says_why():
    metrics = _one_without_a_model()
    for make in (tables.fold_table, tables.fold_summary, tables.decomposition_table):
        table = make(metrics)
        assert [row[0] for row in table.rows] == FOLDS
        assert set(table.rows[0][3:]) == {"-"}
        assert table.marks[0] == "na"
        assert table.note.endswith(f"\nN/A: {SHORT} (fold 0)")
    assert tables.fold_table(metrics).rows[0][:3] == ("fold 0", "12", "300")


# --- members


def test_members_and_baselines_best_first(metrics):
    table = tables.member_table(metrics)
    assert [row[0] for row in table.rows] == [
        "model (stack)", "tcn alone", "lstm alone", "transformer alone", "logistic", "boosting", "base rate",
    ]  # fmt: skip
    assert table.rows[0] == (
        "model (stack)", "2,700", "0.450", "0.510", "0.2360", "+4.6%", "0.0020", "0.0145", "0.6650", "0.021", "3 of 3",
    )  # fmt: skip
    assert table.rows[-1][5] == "+0.0%"
    assert [row[0] for row, mark in zip(table.rows, table.marks, strict=True) if mark] == ["model (stack)"]
    assert table.note.endswith("lowest Brier score: model (stack)")


def test_where_the_logistic_baseline_is_better_it_stands_first():
    metrics = make_metrics.metrics(training=make_training.training_dict(beats=False))
    table = tables.member_table(metrics)
    assert table.rows[0][0] == "logistic"
    assert table.note.endswith("lowest Brier score: logistic")


def test_folds_are_won_by_the_lowest_brier_score_and_a_tie_by_the_simpler():
    training = make_training.training_dict()
    first, second, third = (fold["figures"] for fold in training["folds"])
    first["lstm"]["brier"] = 0.2
    second["base"]["brier"] = second["model"]["brier"]
    for figures in third.values():
        figures["brier"] = None
    training["pooled"]["base"]["brier"] = training["pooled"]["model"]["brier"]
    rows = tables.member_table(make_metrics.metrics(training=training)).rows
    assert [row[0] for row in rows[:2]] == ["base rate", "model (stack)"]
    won = {row[0]: row[-1] for row in rows}
    assert won["lstm alone"] == won["base rate"] == "1 of 2"
    assert won["model (stack)"] == "0 of 2"


def test_a_member_that_is_itself_a_baseline_is_listed_once():
    figures = make_training.figures_dict(n=2700)
    pooled = {name: figures[name] for name in ("model", "logistic", "boosting", "base")}
    table = tables.member_table(_trained(model="logistic", members=["logistic"], pooled=pooled))
    assert [row[0] for row in table.rows] == ["model (logistic)", "logistic", "boosting", "base rate"]


# --- ensemble


def test_the_ensemble_marks_what_was_chosen_and_by_how_much_it_won():
    training = make_training.training_dict()
    training["folds"][1]["fit"]["ensemble"].update(
        combiner="logistic", chosen="isotonic", net_share={"tcn": 0.625, "transformer": 0.375, "lstm": 0.0},
        gain={"average+platt": 0.0002, "average+isotonic": 0.0001, "logistic+platt": 0.00042, "base": 0.00001},
    )  # fmt: skip
    table = tables.ensemble_table(make_metrics.metrics(training=training))
    assert table.columns == (
        "fold", "average, Platt", "average, isotonic", "logistic, Platt", "logistic, isotonic", "base rate", "won by",
        "share tcn", "share transformer", "share lstm",
    )  # fmt: skip
    assert table.rows[0][:7] == ("fold 0", "* 0.2361", "0.2366", "0.2369", "0.2377", "0.2475", "+0.00050")
    assert table.rows[1] == (
        "fold 1", "0.2361", "0.2366", "0.2369", "* 0.2377", "0.2475", "+0.00010", "62%", "38%", "0%",
    )  # fmt: skip


def test_an_ensemble_that_no_block_could_judge_has_no_figures():
    training = make_training.training_dict()
    training["folds"][0]["fit"]["ensemble"].update(brier={}, gain={})
    row = tables.ensemble_table(make_metrics.metrics(training=training)).rows[0]
    assert row[:7] == ("fold 0", "* -", "-", "-", "-", "-", "-")


# --- leak checks


def _checks(fold, **shuffled):
    checks = make_training.leak_dict()
    checks["channels"] |= {"limit": 0.92, "highest": {"channel": "cvd_z", "view": "mean", "auc": 0.713}}
    checks["channels"]["channels"]["cvd_z"] = {"auc": 0.713, "share": 0.06}
    checks["shuffled"] |= shuffled
    return {"fold": fold, **checks}


def test_leak_checks_show_the_best_channel_beside_its_limit():
    table = tables.leak_table(_trained(leak=[_checks(0), _checks(1, p_value=0.31, no_skill=True)]))
    assert table.rows[0] == (
        "fold 0", "cvd_z", "mean", "0.713", "0.920", "6%", "0.660", "0.940", "0.630", "0.501", "0.540", "0.020", "yes",
    )  # fmt: skip
    assert table.rows[1][-2:] == ("0.310", "none")
    assert table.marks == ("", "na")


def test_checks_that_one_class_alone_cannot_make_are_dashes():
    unknown = {
        "fold": 0,
        "channels": {
            "limit": None,
            "highest": dict.fromkeys(("channel", "view", "auc")),
            "channels": {"ofi_z": {"auc": None, "share": None}},
        },
        "skill": {"limit": None, "auc": None},
        "shuffled": None,
    }
    assert set(tables.leak_table(_trained(leak=[unknown])).rows[0][1:]) == {"-"}


# --- importance


def _row(channel, permutation, **more):
    return {
        "channel": channel, "permutation": permutation, "permutation_std": 0.00005, "ablation": 0.0002,
        "logistic_ablation": None, **more,
    }  # fmt: skip


def test_channels_stand_in_the_order_of_what_the_model_loses_in_the_fourth_place_of_the_brier_score():
    training = make_training.training_dict()
    training["folds"][0]["importance"] = [_row("ofi_z", 0.0001), _row("cvd_z", 0.0004), _row("atr_bps", -0.0003)]
    training["folds"][1]["importance"] = [_row("ofi_z", 0.0009), _row("cvd_z", 0.0002), _row("atr_bps", None)]
    training["folds"][2] = make_training.training_fold(2, SHORT)
    table = tables.importance_table(make_metrics.metrics(training=training))
    assert table.columns == ("channel", "shuffled", "fold 0", "fold 1", "std", "held", "logistic without")
    assert table.rows == (
        ("ofi_z", "+5.00", "+1.00", "+9.00", "0.50", "+2.00", "-"),
        ("cvd_z", "+3.00", "+4.00", "+2.00", "0.50", "+2.00", "-"),
        ("atr_bps", "-3.00", "-3.00", "-", "0.50", "+2.00", "-"),
    )


# --- results by fold


def test_the_headline_arms_and_their_counterparts_fold_by_fold(metrics):
    table = tables.fold_results_table(metrics, "runner")
    assert [row[:2] for row in table.rows[:6]] == [
        (f"regular B {arm}", fold) for arm in ("no model", "model") for fold in FOLDS[:3]
    ]
    assert table.rows[3:5] == (
        ("regular B model", "fold 0", "650", "180", "15", "+1.40", "+0.050"),
        ("regular B model", "fold 1", "650", "180", "150", "+0.40 [-1.10, +1.90]", "+0.050 [-0.010, +0.110]"),
    )
    assert len(table.rows) == 12


def test_other_profiles_and_tiers_are_left_out():
    rows = [make_training.fold_result(0, profile="A"), make_training.fold_result(0, model=False, exit_="label")]
    metrics = make_metrics.metrics(fold_results=rows)
    metrics["verdict"]["headline"] = ["regular B model"]
    assert [row[0] for row in tables.fold_results_table(metrics, "label").rows] == ["regular B no model"]
    assert tables.fold_results_table(metrics, "runner").note == "N/A: the result was not cut by folds"


# --- selection


def test_selection_shows_all_three_tests_and_the_trials(metrics):
    table = tables.selection_table(metrics)
    assert [row[0] for row in table.rows] == ["DSR"] * 2 + ["PBO"] * 2 + ["SPA"] * 8
    assert table.rows[1] == ("DSR", "vip9 B model, runner exit", "0.500", ">= 0", "PASS", "")
    assert table.rows[2] == (
        "PBO", "regular fees", "0.11", "<= 0.2", "PASS", "16 strategies, 108 blocks, 12,870 splits",
    )  # fmt: skip
    assert table.rows[4] == (
        "SPA", "regular fees, label exit, against no model", "0.034", "", "",
        "p between 0.034 and 0.034; 4 strategies, 108 blocks",
    )  # fmt: skip
    assert table.note.startswith("16 trials counted")
    assert len(tables.selection_table(metrics, ("runner",)).rows) == 8


def test_a_probability_of_overfitting_above_the_limit_fails(metrics):
    selection = make_training.selection_dict()
    selection["pbo"][0]["value"], selection["pbo"][1]["value"] = 0.2, 0.2001
    statuses = [r[4] for r in tables.selection_table(make_metrics.metrics(selection=selection)).rows if r[0] == "PBO"]
    assert statuses == ["PASS", "FAIL"]


def test_tests_that_could_not_be_made_say_why():
    table = tables.selection_table(make_metrics.metrics(selection=make_training.selection_dict(reason="too short")))
    assert {row[2:] for row in table.rows if row[0] != "DSR"} == {
        ("-", "<= 0.2", "N/A", "too short"),
        ("-", "", "N/A", "too short"),
    }
    assert tables.selection_table(make_metrics.nothing_was_run()).note == "N/A: nothing was tested"


# --- without a model, and on a terminal

OF_A_TRAINING = (
    tables.fold_table, tables.fold_summary, tables.decomposition_table, tables.member_table, tables.ensemble_table,
    tables.leak_table, tables.importance_table,
)  # fmt: skip


@pytest.mark.parametrize("make", OF_A_TRAINING)
def test_without_a_training_the_reason_stands_in_its_place(make):
    table = make(make_metrics.without_new_sections())
    assert table.rows == ()
    assert table.note == "N/A: 3 labels"


def test_without_a_model_in_any_fold_the_first_reason_is_given():
    folds = [make_training.training_fold(k, SHORT) for k in range(3)]
    metrics = _trained(folds=folds, pooled={}, leak=[], ensemble=None, beats_logistic=None)
    for make in (tables.member_table, tables.ensemble_table, tables.leak_table, tables.importance_table):
        assert make(metrics).note == f"N/A: {SHORT}"
    assert [row[0] for row in tables.fold_table(metrics).rows] == FOLDS


def _printed(metrics):
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    print_report(metrics, console)
    return console.file.getvalue()


def test_the_terminal_says_that_no_net_beats_the_baseline_before_the_first_table(metrics):
    lost = make_training.training_dict(beats=False)
    lines = [line.strip() for line in _printed(make_metrics.metrics(training=lost, simulated=False)).splitlines()]
    assert " ".join(lines[:2]) == lost["first_line"]
    assert lines[2].startswith("Matrix")
    assert "Out of sample model (stack) beats" not in _printed(metrics)


def test_the_terminal_shows_folds_members_and_selection_whole_and_not_the_rest(metrics):
    text = _printed(metrics)
    lines = [line.split() for line in text.splitlines()]
    for table in (
        tables.fold_summary(metrics),
        tables.member_table(metrics),
        tables.selection_table(metrics, ("runner",)),
    ):
        assert table.title in text
        for row in table.rows:
            assert " ".join(row).split() in lines, row
    for title in (
        "The model's Brier score taken apart",
        "Leak checks",
        "Rise of the Brier score",
        "Result by fold",
        "label exit, against",
    ):
        assert title not in text


def test_the_terminal_without_a_training_says_so_once():
    text = _printed(make_metrics.without_new_sections())
    assert text.count("N/A: 3 labels") == 1
