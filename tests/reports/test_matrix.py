"""The whole report: contents, no NaN, determinism, and the files it becomes."""

from __future__ import annotations

import copy
import csv
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from reports import page, pictures
from reports.buckets import fit_edges
from reports.matrix import BANNER, SCHEMA, build_report
from reports.matrix_rows import plain
from reports.records import ArmInput, CalibrationInput
from reports.shown import shown_arms
from reports.terminal import print_report
from reports.write import write_reports
from runtime.decision import Reason
from tests.reports.make import REGULAR, VIP9, arm, decisions, e2e_rows, rich_world, run_facts
from tests.reports.make_training import walked

NO_MODEL = "no model: 137 labelled candidates in the first training span, 200 needed"


def _build(**facts):
    arms, p, y, sig, state = rich_world()
    given = {"simulated": True, "fee_tier_given": None, "stage_s": {"tape": 1.25}, **facts}
    return build_report(
        arms, run_facts(**given), calibration=CalibrationInput(p, y, sig), edges=fit_edges(state[:900]), draws=100
    )


@pytest.fixture(scope="module")
def full():
    return _build()


@pytest.fixture(scope="module")
def without_model():
    arms, *_ = rich_world(400)
    na = [ArmInput(prof, True, fee, reason_na=NO_MODEL) for fee in (REGULAR, VIP9) for prof in "ABC"]
    return build_report([*(a for a in arms if not a.model), *na], run_facts(), draws=50)


@pytest.fixture(scope="module")
def empty():
    d = decisions([])
    arms = [arm(d, 1.0, profile=p, fee=f, model=m) for f in (REGULAR, VIP9) for p in "ABC" for m in (False, True)]
    return build_report(arms, run_facts(label_outcomes=(0,) * 5))


def _text(report, width=140):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_report(report.metrics, console)
    return console.file.getvalue()


def test_sections(full):
    m = full.metrics
    assert m["schema"] == SCHEMA
    assert list(m) == [
        "schema", "simulated", "banner", "verdict", "run", "labels", "matrix", "funnel", "kpis", "model_vs_none",
        "tiers", "sensitivity", "calibration", "transfer", "training", "fold_results", "selection", "buckets",
        "measured",
    ]  # fmt: skip
    assert len(m["matrix"]) == len(m["funnel"]) == 12
    assert len(m["kpis"]) == 24
    assert len(m["model_vs_none"]) == 12
    assert m["verdict"]["headline"] == ["regular B model", "vip9 B model"]
    assert m["run"]["trials"] == 12
    assert m["measured"]["reproducible"] is False
    assert m["training"] is None
    assert m["fold_results"] == []
    assert m["selection"]["trials"] == m["run"]["trials"]


def test_strategies_of_earlier_runs_are_trials_too():
    """Four strategies here; the more were tried before, the less the best of them shows."""
    arms, *_ = rich_world(400, profiles="B", tiers=(REGULAR,))
    found = []
    for earlier in (0, 500):
        metrics = build_report(arms, run_facts(), n_trials=earlier, draws=20).metrics
        (dsr,) = (k for k in metrics["kpis"][-1]["rows"] if k["key"] == "dsr")
        assert metrics["run"]["trials"] == metrics["selection"]["trials"] == max(earlier, 4)
        assert dsr["note"] == f"{max(earlier, 4)} trials counted"
        found.append(dsr["value"])
    assert found[1] < found[0]


def test_the_pbo_of_an_arm_is_that_of_its_fee_tier(full):
    rows = {r["fee_tier"]: r for r in full.metrics["selection"]["pbo"]}
    assert list(rows) == ["regular", "vip9"]
    for section in full.metrics["kpis"]:
        kpi = next(k for k in section["rows"] if k["key"] == "pbo")
        row = rows[section["fee_tier"]]
        assert (kpi["value"], kpi["n"], kpi["status"]) == (row["value"], row["n_blocks"], "PASS")
        assert row["n_strategies"] == 12


def test_an_unbeaten_baseline_is_the_first_reason_of_every_verdict():
    arms, *_ = rich_world(300, profiles="B")
    fold_of = np.arange(300) // 100

    def build(beats):
        given = run_facts(simulated=True)
        return build_report(arms, given, ladder=arms, training=walked(beats=beats), fold_of=fold_of, draws=20).metrics

    behind, ahead = build(False), build(True)
    assert behind["verdict"]["reasons"][0] == behind["training"]["first_line"]
    assert behind["verdict"]["reasons"][0].startswith("Out of sample no net beats the logistic baseline (Brier 0.2405)")
    assert {t["reasons"][0] for t in behind["tiers"]} == {behind["training"]["first_line"]}
    assert ahead["verdict"]["reasons"] == behind["verdict"]["reasons"][1:]
    assert {r["fold"] for r in ahead["fold_results"]} == {0, 1, 2}
    assert len(ahead["fold_results"]) == 3 * 2 * len(arms)


def test_the_matrix_agrees_with_the_arms_it_was_made_from(full):
    arms, *_ = rich_world()
    for a, row in zip(arms, full.metrics["matrix"], strict=True):
        book = a.portfolio_book["label"]
        net = book["net_bps"][book["status"] == 0]
        assert row["exits"]["label"]["net_bps"]["value"] == pytest.approx(net.mean())
        assert row["exits"]["label"]["trades"] == len(net)
        assert row["allowed"] == a.decisions["allow"].sum()
        assert sum(row["reasons"].values()) == len(a.decisions)


def test_cheaper_fees_change_the_result_by_their_difference(full):
    rows = {(r["fee_tier"], r["profile"], r["model"]): r["exits"]["label"] for r in full.metrics["matrix"]}
    dear, cheap = rows["regular", "B", True], rows["vip9", "B", True]
    assert cheap["net_bps"]["value"] - dear["net_bps"]["value"] == pytest.approx(2 * (5.0 - 1.7))


@pytest.mark.parametrize("which", ["full", "without_model", "empty"])
def test_json_holds_no_nan(which, request):
    text = json.dumps(request.getfixturevalue(which).metrics, allow_nan=False)
    assert not re.search(r"\bNaN\b|\bInfinity\b", text)


@pytest.mark.slow
def test_same_input_same_bytes_outside_the_measured_section(full, tmp_path):
    again = _build(stage_s={"tape": 9.75})
    a, b = copy.deepcopy(full.metrics), copy.deepcopy(again.metrics)
    assert a.pop("measured") != b.pop("measured")
    assert json.dumps(a) == json.dumps(b)
    one, two = (write_reports(r, tmp_path / k, releases=tmp_path) for k, r in (("1", full), ("2", _build())))
    for name in one:
        assert one[name].read_bytes() == two[name].read_bytes(), name


def test_slower_decisions_move_the_measured_section_only():
    arms, p, y, sig, state = rich_world()

    def build(ms):
        return build_report(
            arms,
            run_facts(simulated=True, fee_tier_given=None, stage_s={"tape": 1.25}),
            calibration=CalibrationInput(p, y, sig),
            edges=fit_edges(state[:900]),
            latency={("B", True): e2e_rows([ms] * 40), ("B", False): e2e_rows([ms / 2] * 40)},
            draws=100,
        ).metrics

    a, b = build(1.0), build(2.0)
    assert [r["by_type"]["momentum"]["p95_ms"] for r in a["measured"]["latency"]] == [1.0, 0.5]
    timed = {(k["profile"], k["model"]): k["value"] for k in a["measured"]["kpis"]}
    assert timed == {("A", False): None, ("A", True): None, ("B", False): 0.5, ("B", True): 1.0} | dict.fromkeys(
        [("C", False), ("C", True)]
    )
    assert a.pop("measured") != b.pop("measured")
    assert a == b


def test_a_named_tier_is_the_only_headline():
    report = _build(fee_tier_given="vip9")
    assert report.metrics["verdict"]["headline"] == ["vip9 B model"]
    assert not any("fee tier" in r for r in report.metrics["verdict"]["reasons"])


def test_arms_without_a_model_say_why(without_model):
    m = without_model.metrics
    assert m["verdict"]["word"] == "NO-GO"
    assert m["verdict"]["reasons"] == [f"Arm regular B model could not be run: {NO_MODEL}."]
    assert [r["na"] for r in m["matrix"] if r["model"]] == [NO_MODEL] * 6
    assert m["calibration"]["reason_na"] == NO_MODEL
    assert m["model_vs_none"] == []
    assert shown_arms(m) == [{"fee_tier": "regular", "profile": "B", "model": False}]
    text = _text(without_model)
    assert "137 labelled candidates" in text
    assert "SIMULATED" not in text


def test_no_candidates_at_all(empty):
    m = empty.metrics
    assert m["verdict"]["go"] is False
    assert "too little data to judge, 0 trades of 500 needed" in " ".join(m["verdict"]["reasons"])
    row = m["matrix"][0]
    assert (row["candidates"], row["rejection"], row["exits"]["label"]["net_bps"]["value"]) == (0, None, None)
    assert "nan" not in _text(empty)


def test_no_arms_at_all():
    m = build_report([], run_facts()).metrics
    assert m["verdict"]["reasons"] == ["No headline arm was run."]


def test_two_arms_of_one_name_are_refused():
    a = arm(decisions([]), 1.0)
    with pytest.raises(ValueError, match="regular B no model"):
        build_report([a, a], run_facts())


def test_progress_ends_at_one():
    seen = []
    build_report([arm(decisions([Reason.ALLOW]), 1.0)], run_facts(), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_plain_knows_numpy():
    got = plain({"a": np.float64("nan"), "b": (np.int64(3), np.bool_(True)), "c": np.array([1.5, np.inf])})
    assert got == {"a": None, "b": [3, True], "c": [1.5, None]}
    assert type(got["b"][0]) is int
    assert plain(0.1 + 0.2) == 0.3


@pytest.mark.parametrize("width", [60, 140, 200])
def test_terminal_names_every_arm_whatever_the_width(full, width):
    text = _text(full, width)
    assert BANNER in text
    for a in full.metrics["matrix"]:
        assert f"{a['fee_tier']} {a['profile']} {'model' if a['model'] else 'no model'}" in text
    for word in ("NO-GO", "slippage", "PASS", "FAIL", "deflated Sharpe ratio", "Model minus no model"):
        assert word in text


@pytest.mark.slow
@pytest.mark.parametrize("which", ["full", "without_model", "empty"])
def test_files(which, request, tmp_path):
    report = request.getfixturevalue(which)
    files = write_reports(report, tmp_path / "out", releases=tmp_path / "releases")
    pictures = ("bucket_ir", "calibration", "equity", "folds", "importance", "latency", "rejections", "sensitivity")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "buckets.csv", "index.html", "metrics.json", *(f"{name}.png" for name in pictures),
    }  # fmt: skip
    assert json.loads(files["metrics"].read_text()) == report.metrics
    for name in pictures:
        assert files[name].read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(files["buckets"].open()))
    assert {r["simulated"] for r in rows} == {"true" if report.metrics["simulated"] else "false"}
    html = files["page"].read_text()
    assert (BANNER in html) is report.metrics["simulated"]
    assert html.count("data:image/png;base64,") == len(pictures)
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)|@import|url\(|<script", html)
    for tag in ("table", "tr", "td", "div", "h2", "p"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag


def test_the_page_can_be_made_from_the_file_read_back(full):
    again = json.loads(json.dumps(full.metrics))
    assert page.page_html(again, {}) == page.page_html(full.metrics, {})


def test_text_of_others_is_escaped():
    a = ArmInput("B", True, REGULAR, reason_na="<script>alert(1)</script>")
    b = arm(decisions([Reason.EV]), 1.0, profile="B<script>")
    html = page.page_html(build_report([a, b], run_facts(symbol="<b>")).metrics, {})
    assert "<script>" not in html
    assert "&lt;b&gt;" in html


def test_simulated_pictures_differ_from_real_ones(full, tmp_path):
    marked = pictures.draw_calibration(full.calibration, tmp_path / "a.png", simulated=True).read_bytes()
    clean = pictures.draw_calibration(full.calibration, tmp_path / "b.png", simulated=False).read_bytes()
    assert marked != clean


def test_a_failed_write_leaves_the_old_file(empty, tmp_path, monkeypatch):
    files = write_reports(empty, tmp_path, releases=tmp_path)
    before = files["page"].read_bytes()
    monkeypatch.setattr(page, "_verdict", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_reports(empty, tmp_path, releases=tmp_path)
    assert files["page"].read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
