"""The honesty check's rates on made-up runs whose every rate is known."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest

from feature_repo.errors import InputError
from reports.honesty import rate, summarise
from reports.honesty_faces import MARKS, check_docs, honesty_tables, print_honesty, write_honesty
from reports.honesty_picture import honesty_figure
from reports.honesty_record import HonestRun
from reports.statistics import Interval, PairedDifference
from runtime.quality import ece_debiased
from tests.reports.make_honesty import CLAIM, NAN, NO_INTERVAL, arm, run, runs


def _facts(summary, **more):
    return summary | {"code": "c0de", "candidates": 3_000, "folds": 3, "short": False, "failed": []} | more


def _claims(found):
    (row,) = summarise(found)["claims"]
    return row


def _coverage(found, edge=0.0):
    return next(r for r in summarise(found)["coverage"] if r["edge"] == edge)


# --- claims


@pytest.mark.parametrize(
    ("at_0", "at_1", "met_0", "met_1"),
    [(2, 18, True, True), (3, 18, False, True), (2, 17, True, False), (0, 20, True, True), (20, 0, False, False)],
)
def test_the_goals_are_at_most_2_and_at_least_18_of_20(at_0, at_1, met_0, met_1):
    row = _claims(runs(at_0, at_1))
    assert (row["edge_0"]["hits"], row["edge_0"]["n"], row["edge_0"]["met"]) == (at_0, 20, met_0)
    assert (row["edge_1"]["hits"], row["edge_1"]["n"], row["edge_1"]["met"]) == (at_1, 20, met_1)


def test_fewer_than_20_runs_of_an_edge_judge_nothing():
    row = _claims(runs(0, 19, n=19))
    assert row["edge_0"]["met"] is None
    assert row["edge_1"]["met"] is None


@pytest.mark.parametrize(
    ("made", "claims"),
    [
        (arm(bounds=(0.1, 2.0), mean_bounds=(0.1, 3.0)), 1),
        (arm(bounds=(0.1, 2.0), mean_bounds=(-0.1, 3.0)), 0),  # better than none, but it loses money
        (arm(bounds=(-0.1, 2.0), mean_bounds=(0.1, 3.0)), 0),  # it earns, but so does no model
        (arm(bounds=NO_INTERVAL, mean_bounds=(0.1, 3.0)), 0),
        (arm(bounds=(0.1, 2.0), mean_bounds=NO_INTERVAL), 0),  # too few trades
    ],
)
def test_a_claim_needs_both_lower_bounds_above_0(made, claims):
    assert _claims([run(1, 101, made)])["edge_1"]["hits"] == claims


def test_a_run_without_one_of_the_two_intervals_is_counted():
    found = [run(1, 101, arm(bounds=NO_INTERVAL)), run(1, 102, arm(mean_bounds=NO_INTERVAL)), run(1, 103)]
    assert _claims(found)["edge_1"]["no_interval"] == 2


def test_only_the_regular_tier_with_the_label_exit_is_judged():
    found = []
    for r in runs(0, 20):
        arms = dict.fromkeys((("regular", "label"), ("vip9", "label"), ("regular", "runner")), CLAIM)
        model = r.models["logistic"]
        found.append(HonestRun(r.edge, r.seed, {"logistic": type(model)(**{**vars(model), "arms": arms})}))
    rows = {(r["fee_tier"], r["exit"]): r for r in summarise(found)["claims"]}
    assert rows["regular", "label"]["edge_0"]["met"] is False
    for other in (("vip9", "label"), ("regular", "runner")):
        assert rows[other]["edge_0"]["hits"] == 20
        assert rows[other]["edge_0"]["met"] is None


def test_the_band_is_wilsons():
    # Newcombe (1998), table I, method 3: 81 of 263 and 0 of 20.
    found = rate(81, 263)
    assert (found["low"], found["high"]) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    found = rate(0, 20)
    assert (found["low"], found["high"]) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert rate(20, 20)["high"] == 1.0


# --- coverage


def test_an_interval_is_held_against_the_mean_of_the_other_seeds():
    # The others' means are 3, 2.67, 2, 1.33: the first interval misses its 3, the others hold theirs.
    values = ((0.0, (-1.0, 2.9)), (1.0, (0.0, 2.7)), (3.0, (0.5, 5.0)), (5.0, (1.0, 9.0)))
    found = [run(0, 101 + i, arm(v, b)) for i, (v, b) in enumerate(values)]
    held = _coverage(found)["difference"]
    assert (held["hits"], held["n"]) == (3, 4)
    assert held["pooled_bps"] == pytest.approx(2.25)


def test_a_runs_own_value_is_no_part_of_the_truth_it_is_held_against():
    found = [run(0, 101, arm(0.0, (-1.0, 1.0))), run(0, 102, arm(10.0, (9.0, 11.0)))]
    assert _coverage(found)["difference"]["hits"] == 0


def test_the_truth_counts_each_trade_once():
    small, large = arm(mean=10.0, mean_bounds=NO_INTERVAL, trades=1), arm(mean=1.0, mean_bounds=(0.0, 2.0), trades=99)
    asked = arm(mean=1.0, mean_bounds=(0.5, 1.1), trades=50)
    held = _coverage([run(0, 101, small), run(0, 102, large), run(0, 103, asked)])["model_mean"]
    # (1 x 10 + 99 x 1) / 100 = 1.09 lies inside; the mean of the runs, 5.5, would not.
    assert (held["n"], held["hits"], held["no_interval"]) == (2, 2, 1)
    assert held["pooled_bps"] == pytest.approx((10 + 99 + 50) / 150)


def test_a_run_without_a_trade_adds_nothing_to_the_truth():
    empty = arm(mean=NAN, mean_bounds=NO_INTERVAL, trades=0)
    held = _coverage([run(0, 101, empty), run(0, 102), run(0, 103)])["model_mean"]
    assert (held["n"], held["hits"], held["pooled_bps"]) == (2, 2, 2.0)


def test_one_run_alone_has_no_truth():
    held = _coverage([run(0, 101)])["difference"]
    assert (held["n"], held["rate"]) == (0, None)


def test_intervals_of_the_right_width_cover_95_percent_and_half_of_it_two_thirds():
    rng = np.random.default_rng(5)
    values = rng.normal(size=400)
    for width, share in ((1.96, 0.95), (0.98, 0.67)):
        found = [run(0, i, arm(v, (v - width, v + width))) for i, v in enumerate(values)]
        held = _coverage(found)["difference"]
        assert held["low"] < share < held["high"]


# --- calibration


def _known(seed, n=4_000, off=0.0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.1, 0.8, n)
    return p, (rng.random(n) < p + off).astype(int)


@pytest.mark.parametrize(("off", "met"), [(0.0, True), (0.1, False)])
def test_ece_is_that_of_all_labels_of_edge_1_together(off, met):
    parts = [_known(seed, n=400, off=off) for seed in range(20)]
    found = [run(1, 101 + i, p=p, y=y) for i, (p, y) in enumerate(parts)]
    row = next(r for r in summarise(found)["calibration"] if r["edge"] == 1.0)
    p, y = (np.concatenate(a) for a in zip(*parts, strict=True))
    assert row["n"] == 8_000
    assert row["ece"] == pytest.approx(ece_debiased(p, y))
    assert row["brier"] == pytest.approx(np.mean((p - y) ** 2))
    assert row["met"] is met


def test_errors_that_cancel_between_seeds_are_not_held_against_the_model_twice():
    over, under = _known(1, off=0.1), _known(2, off=-0.1)
    found = [run(1, 101, p=over[0], y=over[1]), run(1, 102, p=under[0], y=under[1])]
    row = next(r for r in summarise(found)["calibration"] if r["edge"] == 1.0)
    assert row["ece"] < 0.03 < min(ece_debiased(*over), ece_debiased(*under))


def test_the_baselines_are_weighted_with_the_labels_of_each_run():
    found = [run(1, 101, brier_logistic=0.1), run(1, 102, p=(0.5,) * 6, y=(0, 1) * 3, brier_logistic=0.3)]
    row = next(r for r in summarise(found)["calibration"] if r["edge"] == 1.0)
    assert row["brier_logistic"] == pytest.approx((2 * 0.1 + 6 * 0.3) / 8)


# --- what is refused


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "no run"),
        ([run(0, 101), run(0, 101)], "edge 0 seed 101 twice"),
        ([run(0.5, 101)], "edge 0.5"),
        ([run(0, 101), run(0, 102, models=("tcn",))], "other models or arms"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(found, said):
    with pytest.raises(InputError, match=said):
        summarise(found)


def test_a_kept_run_reads_back_as_it_was():
    made = run(1, 101, arm(mean=NAN, mean_bounds=NO_INTERVAL, trades=0))
    back = HonestRun.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
    assert back.to_dict() == made.to_dict()
    assert math.isnan(back.models["logistic"].arms["regular", "label"].model_mean.value)


def _damage(record, path, value):
    *way, last = path
    for step in way:
        record = record[step]
    if value is KeyError:
        del record[last]
    else:
        record[last] = value


_MODEL = ("models", "logistic")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "another/1"),
        (("seed",), KeyError),
        (("models",), {}),
        (("models",), None),
        ((*_MODEL, "p"), [0.25]),
        ((*_MODEL, "p"), [0.25, 1.5]),
        ((*_MODEL, "p"), [0.25, 0.8]),  # no longer what its Brier score is of
        ((*_MODEL, "y"), [0, 2]),
        ((*_MODEL, "labels"), 3),
        ((*_MODEL, "candidates"), 1),
        ((*_MODEL, "arms"), []),
        ((*_MODEL, "arms", 0, "claim"), True),  # its bounds say otherwise
        ((*_MODEL, "arms", 0, "difference"), [1.0, 3.0, -1.0]),
        ((*_MODEL, "arms", 0, "difference"), [1.0, None, 3.0]),
        ((*_MODEL, "arms", 0, "exit"), "never"),
    ],
)
def test_a_damaged_record_is_refused(path, value):
    record = run(1, 101).to_dict()
    HonestRun.from_dict(record)
    _damage(record, path, value)
    with pytest.raises(InputError, match="damaged result"):
        HonestRun.from_dict(record)


def test_a_record_without_labels_has_neither_probabilities_nor_a_score():
    record = run(1, 101, p=(), y=()).to_dict()
    assert HonestRun.from_dict(record).models["logistic"].brier is None
    for name, value, says in (
        ("brier", 0.2, "a Brier score of 0.2 beside"),
        ("p", [0.25], "0 labels told, 1 p and 0 y"),
    ):
        damaged = copy.deepcopy(record)
        _damage(damaged, (*_MODEL, name), value)
        with pytest.raises(InputError, match=says):
            HonestRun.from_dict(damaged)


# --- what is shown


def test_the_tables_hold_the_rates():
    summary = summarise(runs(1, 19))
    claims, _, calibration = honesty_tables(summary)
    row = dict(zip(claims.columns, claims.rows[0], strict=True))
    assert (row["claims, edge 0"], row["claims, edge 1"]) == ("1 of 20, 5 % [1, 24]", "19 of 20, 95 % [76, 99]")
    assert [cell for cell in claims.rows[0] if cell in ("PASS", "FAIL")] == ["PASS", "PASS"]
    assert [r[1] for r in calibration.rows] == ["0", "1"]


def test_the_picture_draws_each_interval_and_fills_the_claims():
    summary = summarise([run(0, 101), run(1, 101, CLAIM), run(1, 102, arm(mean=7.0, mean_bounds=NO_INTERVAL))])
    difference, mean = honesty_figure(_facts(summary)).axes
    spans = [tuple(line.get_xdata()) for line in difference.lines if len(line.get_xdata()) == 2]
    assert {(-1.0, 3.0), (0.2, 2.0)} <= set(spans)
    marks = [line for line in mean.lines if len(line.get_xdata()) == 1]
    assert [m.get_xdata()[0] for m in marks] == [2.0, 2.0, 7.0]
    assert [m.get_markerfacecolor() == "white" for m in marks] == [True, False, True]
    spans = [tuple(line.get_ydata()) for line in mean.lines if len(line.get_xdata()) == 2]
    assert (2, 2) not in spans  # no line where there is no interval
    assert [t.get_text() for t in mean.get_yticklabels()] == ["101", "101", "102"]


@pytest.mark.slow
def test_everything_seen_says_simulated(tmp_path, capsys):
    page = tmp_path / "honesty.md"
    page.write_text("\n".join(("# Before", *MARKS, "After", "")))
    summary = _facts(summarise(runs(0, 20)))
    files = write_honesty(summary, tmp_path, docs=page)
    print_honesty(summary)
    assert "SIMULATED" in capsys.readouterr().out
    assert "SIMULATED" in page.read_text()
    assert json.loads(files["json"].read_text())["simulated"] is True
    assert "SIMULATED" in honesty_figure(summary).get_suptitle()


@pytest.mark.slow
def test_the_page_keeps_the_text_around_its_table(tmp_path):
    page = tmp_path / "honesty.md"
    page.write_text("\n".join(("# Before", MARKS[0], "old table", MARKS[1], "After", "")))
    summary = _facts(summarise(runs(0, 20)), failed=["edge0-seed120"])
    write_honesty(summary, tmp_path, docs=page)
    first = page.read_text()
    assert first.startswith("# Before\n")
    assert first.endswith("\nAfter\n")
    assert "old table" not in first
    assert "20 of 20" in first
    assert "Failed and left out: edge0-seed120" in first
    write_honesty(summary, tmp_path, docs=page)
    assert page.read_text() == first


def test_what_a_run_had_to_note_is_kept_with_its_name(capsys):
    summary = _facts(summarise([run(0, 101), run(1, 104, notes=("fold 0 has no model",))]))
    assert summary["notes"] == ["edge 1 seed 104 logistic: fold 0 has no model"]
    print_honesty(summary)
    assert "other notes of the runs: 1" in capsys.readouterr().out


def test_a_page_without_the_marks_is_refused(tmp_path):
    page = tmp_path / "honesty.md"
    for text in ("no marks", MARKS[0], f"{MARKS[1]} {MARKS[0]}"):
        page.write_text(text)
        with pytest.raises(InputError, match=r"honesty\.md"):
            check_docs(page)
    with pytest.raises(InputError, match=r"missing\.md"):
        check_docs(tmp_path / "missing.md")


def test_the_short_form_leaves_the_full_ones_files_alone(tmp_path):
    summary = summarise(runs(0, 3, n=3))
    files = write_honesty(_facts(summary, short=True), tmp_path)
    assert {p.name for p in files.values()} == {"honesty-short.json", "honesty-short.png"}


def test_the_same_runs_in_another_order_say_the_same():
    found = runs(3, 15)
    assert summarise(found) == summarise(found[::-1])


def test_intervals_and_claims_of_the_summary_are_those_of_the_runs():
    found = runs(3, 15)
    shown = summarise(found)["intervals"]
    assert len(shown) == len(found)
    assert sum(r["claim"] for r in shown if r["edge"] == 0) == 3
    made = PairedDifference(Interval(1, 0.2, 2), Interval(2, 0.5, 3.5), Interval(0, -2, 2), 50, 100, 40, 80)
    assert shown[0]["difference"] == list(made.difference)
