"""Rows of the tables, literally, from a report made by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from reports import tables
from reports.shown import shown_arms
from reports.terminal import print_report
from tests.reports import make_metrics

KEY = {"fee_tier": "regular", "profile": "B", "model": True}


@pytest.fixture(scope="module")
def metrics():
    return make_metrics.metrics()


@pytest.mark.parametrize(
    "make", [make_metrics.metrics, make_metrics.without_new_sections, make_metrics.nothing_was_run]
)
def test_the_reports_made_by_hand_follow_the_published_schema(make):
    schema = Path(__file__).resolve().parents[2] / "docs" / "metrics.schema.json"
    Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(make())


def _named(table):
    return {row[0]: row for row in table.rows}


def test_matrix(metrics):
    table = tables.matrix_table(metrics, "label")
    assert table.columns == (
        "arm", "cand", "allow", "rej", "busy", "fill", "trades", "net bps [95 %]", "IR", "win", "payoff", "IR x1.5",
        "sized",
    )  # fmt: skip
    assert _named(table)["regular B model"] == (
        "regular B model", "1,975", "300", "47%", "75", "94%", "612", "+0.32 [-1.18, +1.82]", "+0.071", "47%", "1.28",
        "-0.204", "+0.45",
    )  # fmt: skip
    assert len(table.rows) == 16
    assert [row[0] for row, mark in zip(table.rows, table.marks, strict=True) if mark == "head"] == [
        "regular B model",
        "vip9 B model",
    ]


def test_few_trades_are_starred_and_the_star_is_explained():
    enough, few = make_metrics.arm_dict(trades=500), make_metrics.arm_dict(profile="A", trades=499)
    table = tables.matrix_table(make_metrics.metrics(arms=[enough, few]), "runner")
    assert [row[6] for row in table.rows] == ["500", "499*"]
    assert "* too few trades to judge: 500 are needed" in table.note
    assert "*" not in tables.matrix_table(make_metrics.metrics(arms=[enough]), "runner").note
    for make in (tables.cost_table, tables.stress_table):
        both = make(make_metrics.metrics(arms=[enough, few]), "runner")
        assert [row[1] for row in both.rows] == ["500", "499*"]
        assert "500 are needed" in both.note


def test_an_arm_that_was_not_run_says_why():
    arms = [make_metrics.arm_dict(model=False), make_metrics.arm_dict(na="no model: 3 labels")]
    table = tables.matrix_table(make_metrics.metrics(arms=arms), "label")
    assert table.rows[1] == ("regular B model", *("-",) * 5, "N/A", *("-",) * 6)
    assert table.marks[1] == "na"
    assert "N/A: no model: 3 labels (regular B model)" in table.note


def test_costs_show_the_estimate_beside_what_was_paid(metrics):
    table = tables.cost_table(metrics, "label")
    assert table.columns[4:6] == ("slip est.", "slip real.")
    assert _named(table)["vip9 B no model"] == (
        "vip9 B no model", "612", "+7.25", "5.50", "0.73", "0.91", "+0.02", "+0.82", "38%", "31%",
    )  # fmt: skip


def test_stress_has_intervals_at_both_costs(metrics):
    assert _named(tables.stress_table(metrics, "label"))["vip9 B no model"] == (
        "vip9 B no model", "612", "+0.82 [-0.68, +2.32]", "-2.40 [-3.90, -0.90]", "+0.071 [+0.021, +0.121]",
        "-0.204 [-0.264, -0.144]", "+2.34 [+1.24, +3.44]", "-1.25 [-2.45, -0.05]", "845.2",
    )  # fmt: skip


def test_too_few_days_are_said():
    arm = make_metrics.arm_dict()
    for s in arm["exits"].values():
        s.update(ir_day=make_metrics.bounds(None, None), few_days="3 of 20 days")
        s["ir_day"] = {"value": None, "low": None, "high": None}
    table = tables.stress_table(make_metrics.metrics(arms=[arm]), "label")
    assert table.rows[0][6] == "-"
    assert "IR of days needs 20 days: 3 of 20 days" in table.note


def test_by_signal(metrics):
    table = tables.type_table(metrics, KEY, "label")
    assert [row[0] for row in table.rows] == list(make_metrics.TYPES)
    assert table.rows[0] == (
        "momentum", "120", "80%", "45%", "1.31", "+7.00", "5.00", "0.70", "0.90", "+0.01", "+1.09", "37%", "62%",
    )  # fmt: skip


def test_by_signal_of_an_arm_that_was_not_run():
    metrics = make_metrics.nothing_was_run()
    assert tables.type_table(metrics, KEY, "label").note == "N/A: no labels: 3 of 200 needed"
    assert tables.type_table(metrics, {**KEY, "profile": "A"}, "label").note == "N/A: no such arm"


def test_tiers_in_short(metrics):
    table = tables.tier_summary(metrics)
    assert [row[0] for row in table.rows] == ["regular", "vip1", "vip5", "vip9"]
    assert table.rows[2] == (
        "vip5", "0.8 / 2.7", "612", "-1.34 [-2.84, +0.16]", "+0.080", "612", "+0.16 [-1.34, +1.66]", "+0.080", "NO-GO",
    )  # fmt: skip
    assert "runner exit" in table.title


def test_tiers_in_short_show_the_verdict_of_the_arm_with_the_model():
    rows = [make_metrics.tier_dict(make_metrics.TIERS[1], m, 0.0) for m in (False, True)]
    rows[1].update(verdict="GO", reasons=[])
    assert tables.tier_summary(make_metrics.metrics(tiers=rows)).rows[0][-1] == "GO"
    rows[1].update(verdict="NO-GO", na="no model", trades=0)
    (short,) = tables.tier_summary(make_metrics.metrics(tiers=rows)).rows
    assert short[5:] == ("-", "N/A", "-", "NO-GO")


def test_tiers_in_full(metrics):
    table = tables.tier_table(metrics)
    assert len(table.rows) == 8
    assert table.rows[1] == (
        "regular", "2 / 5", "model", "612", "-1.68 [-3.18, -0.18]", "+0.050 [+0.010, +0.090]",
        "+0.080 [+0.040, +0.120]", "+1.90 [+0.40, +3.40]", "NO-GO", "2",
    )  # fmt: skip


def test_reasons_as_counts_and_as_rates(metrics):
    counts = tables.reason_table(metrics)
    assert counts.columns == (
        "arm", "allow", "tier", "spread", "depth", "reclaim", "slippage", "ev", "p_below_tau",
    )  # fmt: skip
    assert _named(counts)["regular B model"][1:] == ("300", "900", "150", "450", "50", "125", "500", "400")
    rates = tables.reason_rate_table(metrics)
    assert rates.columns == (
        "arm", "in tier", "spread", "depth", "reclaim", "slippage", "ev", "p_below_tau", "all",
    )  # fmt: skip
    assert _named(rates)["regular B model"][1:] == (
        "1,975", "7.6%", "22.8%", "2.5%", "6.3%", "25.3%", "20.3%", "65.0%",
    )  # fmt: skip
    assert _named(rates)["regular B no model"][-2] == "0.0%"


def test_latency(metrics):
    table = tables.latency_table(metrics)
    assert table.rows[0] == ("B no model", "momentum", "120", "3.125", "6.500", "12.250", "15", "99.8%")
    assert [row[:2] for row in table.rows[5:7]] == [("B model", "momentum"), ("B model", "divergence")]
    assert "not reproducible" in table.note


def test_sections_that_were_not_computed_say_so():
    bare = make_metrics.without_new_sections()
    for table in (tables.tier_summary(bare), tables.tier_table(bare), tables.latency_table(bare)):
        assert table.rows == ()
        assert table.note.startswith("N/A: ")
    nothing = make_metrics.nothing_was_run()
    for make in (tables.cost_table, tables.stress_table):
        assert make(nothing, "label").note == "N/A: no arm was run"
    assert tables.reason_rate_table(nothing).note == "N/A: nothing was decided"


@pytest.mark.parametrize("tier", ["vip9", "supreme_vip"])
def test_no_number_is_cut_off_at_120_columns(tier):
    arms = [
        make_metrics.arm_dict((tier, 0.0, 1.7), profile, model, k=-37.5, trades=499)
        for profile in make_metrics.PROFILES
        for model in (False, True)
    ]
    metrics = make_metrics.metrics(arms=arms)
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    print_report(metrics, console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 120
    for exit_ in ("label", "runner"):
        for row in tables.matrix_table(metrics, exit_).rows:
            assert any(line.split() == " ".join(row).split() for line in text.splitlines()), row


def test_the_terminal_shows_the_essentials_and_not_the_rest(metrics):
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    print_report(metrics, console)
    text = console.file.getvalue()
    for title in ("Matrix, portfolio book, label exit", "Matrix, portfolio book, runner exit", "Model minus no model",
                  "at each fee tier", "Funnel: candidates left", "KPIs: regular B model", "NO-GO"):  # fmt: skip
        assert title in text
    for title in ("Costs", "By signal", "Funnel by signal", "Sensitivity", "Decisions by reason"):
        assert title not in text


def test_details_are_shown_of_the_arm_without_a_model_where_there_is_none():
    assert shown_arms(make_metrics.metrics(arms=[make_metrics.arm_dict()])) == [KEY]
    assert shown_arms(make_metrics.nothing_was_run()) == [{**KEY, "model": False}]
