"""What is promoted, what is not, and that every rule can fail."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reports.kpi_limits import kpi_limits
from reports.matrix import build_report
from reports.promotion import (
    PROMOTION_NAME,
    judge_promotion,
    judge_promotion_file,
    promotion_dict,
    promotion_table,
    write_promotion,
)
from tests.reports import make_promotable as made
from tests.reports.make import rich_world, run_facts
from tests.reports.make_training import training_dict

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = Draft202012Validator(json.loads((DOCS / "metrics.schema.json").read_text(encoding="utf-8")))
KEYS = [
    "schema", "data", "fee_tier", "arm", *kpi_limits("B"), "difference_label", "own_mean_label", "difference_runner",
    "own_mean_runner", "verdict", "drift", "logistic",
]  # fmt: skip


def judged(change=None, **how):
    metrics = made.passing()
    if change:
        change(metrics)
    return judge_promotion(metrics, **how)


def rules(promotion):
    return {r.key: r for r in promotion.rules}


def status(promotion, key):
    return rules(promotion)[key].status


# --- what is promoted


def test_a_file_in_which_every_rule_is_met_is_promoted():
    got = judged()
    assert got.promoted
    assert got.reasons == ()
    assert [r.key for r in got.rules] == KEYS
    assert {r.status for r in got.rules if r.blocks} == {"PASS"}
    assert not got.simulated
    assert got.made_from["run_id"] == "abcdef0123456789"
    assert rules(got)["dsr"].value == 0.97
    assert rules(got)["own_mean_runner"].value == 0.7  # 1.2 less 0.5


def test_the_file_made_to_pass_is_a_metrics_json():
    assert [e.message[:200] for e in SCHEMA.iter_errors(made.passing())] == []


def test_every_rule_that_blocks_is_made_to_fail_here():
    asked = judged(drift_status="OK")
    assert {r.key for r in asked.rules if r.blocks} == {*made.FAILING, "drift"}


@pytest.mark.parametrize("key", made.FAILING)
def test_one_rule_that_fails_is_enough(key):
    got = judged(made.FAILING[key])
    assert not got.promoted
    assert rules(got)[key].status in ("FAIL", "N/A")
    assert got.reasons
    if key not in ("schema", "fee_tier", "arm"):  # without these the others cannot be read
        assert [r.key for r in got.rules if r.blocks and r.status != "PASS"] == [key]
        (why,) = got.reasons
        assert why.startswith(rules(got)[key].title)
        assert why.endswith(".")


@pytest.mark.parametrize("key", [k for k in made.KPI_VALUES if k != "e2e_p95"])
@pytest.mark.parametrize("broken", ["N/A", None, "null", "nan", "text", "true", "few", "lies", "gone", "twice"])
def test_a_kpi_that_is_not_there_keeps_the_candidate(key, broken):
    def change(metrics):
        rows = made.of(metrics["kpis"], **made.HEADLINE, exit="runner")["rows"]
        row = made.kpi(metrics, key)
        if broken == "N/A":
            row.update(status="N/A", value=None, n=12, note="12 of at least 30 needed")
        elif broken is None:
            row.update(status=None)
        elif broken == "lies":  # the status is good, the value is not
            row.update(value=made.KPI_VALUES[key][2])
        elif broken == "few":
            row.update(n=max(kpi_limits("B")[key].least - 1, -1))
        elif broken == "gone":
            rows.remove(row)
        elif broken == "twice":
            rows.append(dict(row))
        else:
            row.update(value={"null": None, "nan": "NaN", "text": "0.5", "true": True}[broken])

    got = judged(change)
    assert not got.promoted
    assert status(got, key) != "PASS"
    if broken == "N/A":
        (why,) = got.reasons
        assert "n = 12: 12 of at least 30 needed" in why


def test_a_kpi_that_says_fail_beside_a_good_value_is_not_promoted():
    assert status(judged(lambda m: made.kpi(m, "dsr").update(status="FAIL")), "dsr") == "FAIL"


def test_another_arm_another_exit_or_another_tier_does_not_help():
    def change(metrics):
        made.fail_kpi("ir_trade")(metrics)
        for arm in metrics["kpis"]:  # every other one is splendid
            for row in arm["rows"]:
                if row is not made.kpi(metrics, "ir_trade"):
                    row.update(status="PASS")

    assert not judged(change).promoted
    assert judged(lambda m: made.of(m["kpis"], **made.HEADLINE, exit="label")["rows"].clear()).promoted
    assert not judged(lambda m: m["run"].update(fee_tier_given="vip5")).promoted  # not in the matrix
    for nothing in ("", None, 7):
        assert status(judged(lambda m, to=nothing: m["run"].update(fee_tier_given=to)), "fee_tier") == "N/A"


def test_model_minus_no_model_needs_its_bounds():
    def few(metrics):
        made.pair(metrics, "label")["difference"].update(low=None, high=None)

    got = judged(few)
    assert status(got, "difference_label") == "N/A"
    assert "300 model trades, 700 without it, 140 blocks" in got.reasons[0]
    turned = judged(lambda m: made.pair(m, "runner")["model_mean"].update(low=5.0, value=1.0))
    assert status(turned, "own_mean_runner") == "N/A"  # a lower bound above its value is no interval
    assert not judged(lambda m: m["model_vs_none"].clear()).promoted


def test_latency_is_judged_type_by_type_from_what_was_measured():
    lies = judged(lambda m: made.timed(m)["momentum"].update(p95_ms=15.1))
    assert status(lies, "e2e_p95") == "FAIL"
    assert "its measurement says otherwise; momentum, budget 15 ms" in lies.reasons[0]
    for change in (
        lambda m: made.timed(m).clear(),
        lambda m: m["measured"]["latency"].clear(),
        lambda m: made.timed(m)["momentum"].update(p95_ms=None),
        lambda m: made.timed(m)["momentum"].update(p95_ms=-1.0),
        lambda m: made.timed(m).update(scalping=made.timed(m)["momentum"]),
        lambda m: [row.update(n=5) for row in made.timed(m).values()],
        lambda m: made.kpi(m, "e2e_p95").update(status="N/A", note="not timed"),
    ):
        assert status(judged(change), "e2e_p95") != "PASS"
    wide = judged(lambda m: made.timed(m)["momentum"].update(p95_ms=20.0, budget_ms=25.0))
    assert status(wide, "e2e_p95") == "FAIL"  # a file cannot bring its own budget


def test_simulated_data_is_promoted_in_a_rehearsal_only_and_says_so_everywhere():
    def simulate(metrics):
        metrics.update(simulated=True, banner="SIMULATED DATA")
        told = ["The data is simulated with a planted edge: it says nothing about a real market."]
        metrics["verdict"].update(word="NO-GO", go=False, reasons=told)

    assert not judged(simulate).promoted
    got = judged(simulate, allow_simulated=True)
    assert got.promoted
    assert got.simulated
    assert "SIMULATED" in rules(got)["data"].note
    assert promotion_table(got).title.startswith("SIMULATED DATA")
    told = promotion_dict(got)
    assert told["simulated"] is True
    assert "SIMULATED" in told["banner"]
    assert "SIMULATED" not in json.dumps(promotion_dict(judged()))

    def also_doubtful(metrics):
        simulate(metrics)
        metrics["verdict"]["reasons"].append("The tick is 8 bps: 95.0 % of labels are time-outs.")

    assert [r.key for r in judged(also_doubtful, allow_simulated=True).rules if r.status == "FAIL"] == ["verdict"]


def test_data_that_does_not_say_what_it_is_counts_as_simulated():
    for change in (
        lambda m: m.pop("simulated"),
        lambda m: m.update(simulated=None),
        lambda m: m.update(simulated=0),
        lambda m: m["run"].update(venue="simulated"),
    ):
        got = judged(change)
        assert (got.promoted, got.simulated, status(got, "data") != "PASS") == (False, True, True)
    assert judged(lambda m: m["run"].update(venue="simulated"), allow_simulated=True).promoted


def test_that_no_net_beats_the_logistic_baseline_is_shown_and_does_not_block():
    lost = training_dict(beats=False)

    def lose(metrics):
        metrics["training"] = lost
        metrics["verdict"].update(word="NO-GO", go=False, reasons=[lost["first_line"]])

    got = judged(lose)
    assert got.promoted
    assert (status(got, "logistic"), rules(got)["logistic"].blocks) == ("FAIL", False)
    assert "does not block" in promotion_table(got).rows[-1][-1]
    assert status(judged(lambda m: m["training"].update(beats_logistic=None)), "logistic") == "N/A"
    assert judged(lambda m: m.update(training=None)).promoted
    assert not judged(lambda m: m["training"].update(beats_logistic="no")).promoted


@pytest.mark.parametrize(
    ("given", "wanted", "promoted"),
    [
        ("OK", True, True), ("WARN", True, True), ("ALERT", True, False), ("N/A", True, False), (None, True, False),
        ("OK", False, True), ("ALERT", False, False), ("N/A", False, True), (None, False, True),
        ("ok", False, False), ("", True, False), (3, False, False),
    ],
)  # fmt: skip
def test_drift(given, wanted, promoted):
    got = judged(drift_status=given, wants_drift=wanted)
    assert got.promoted is promoted
    assert bool(got.reasons) is not promoted


def test_a_verdict_that_contradicts_itself():
    for change in (
        lambda m: m["verdict"].update(go=False),
        lambda m: m["verdict"].update(word="NO-GO"),
        lambda m: m["verdict"].update(reasons=None),
        lambda m: m["verdict"].update(reasons=["A reason."]),
        lambda m: m["verdict"].update(judged_exit="label"),
    ):
        assert status(judged(change), "verdict") != "PASS"


def test_rules_that_lack_the_same_thing_share_a_sentence():
    got = judged(made.FAILING["fee_tier"])
    assert len(got.reasons) == 1
    assert got.reasons[0].startswith("Not available, no fee tier was named: fee tier; arm with the model")


# --- damaged files


def _every_place(part, path=()):
    yield path
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in inner:
        yield from _every_place(value, (*path, key))


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [None, "NaN", -1, True, [], {}, [[]], math.nan, math.inf, 10**400, {"low": {}}, "<script>"]
)
def test_no_damage_raises_and_none_promotes_what_did_not_pass(damage):
    """Each place that the rules read is replaced; a file that is promoted all the same did not need that place."""
    whole = made.passing()
    small = copy.deepcopy(whole)
    for section in (
        "buckets",
        "sensitivity",
        "funnel",
        "fold_results",
        "selection",
        "calibration",
        "tiers",
        "transfer",
        "labels",
    ):
        small.pop(section)  # not read; the sweep stays short
    keep = {id(made.of(small["kpis"], **made.HEADLINE, exit="runner"))}
    small["kpis"] = [r for r in small["kpis"] if id(r) in keep]
    small["matrix"] = [made.of(small["matrix"], **made.HEADLINE)]
    small["matrix"][0].pop("exits")
    small["model_vs_none"] = [made.pair(small, e) for e in ("label", "runner")]
    small["measured"]["latency"] = [made.of(small["measured"]["latency"], profile="B", model=True)]
    small["training"] = {k: small["training"][k] for k in ("beats_logistic", "first_line")}
    small["run"].pop("candidates_found")
    assert judge_promotion(small).promoted
    promoted = set()
    for path in list(_every_place(small)):
        if not path:
            assert not judge_promotion(damage).promoted
            continue
        part = small
        for key in path[:-1]:
            part = part[key]
        before = part[path[-1]]
        if before == damage and type(before) is type(damage):
            continue
        part[path[-1]] = damage
        got = judge_promotion(small)
        part[path[-1]] = before
        json.dumps(promotion_dict(got), allow_nan=False)
        if got.promoted:
            promoted.add(".".join(str(k) for k in path if not isinstance(k, int)))
    needed = {
        "schema", "simulated", "run", "run.fee_tier_given", "run.venue", "matrix", "matrix.na", "kpis", "kpis.rows",
        "kpis.rows.key", "kpis.rows.status", "model_vs_none", "model_vs_none.difference",
        "model_vs_none.difference.low", "model_vs_none.model_mean.low", "verdict", "verdict.go", "measured",
        "measured.latency", "measured.latency.by_type.momentum.n", "training",
    }  # fmt: skip
    if damage is None:
        needed -= {"training"}  # no model was trained
    if isinstance(damage, str):
        needed -= {"run.venue"}
    assert not promoted & needed, promoted & needed
    assert judge_promotion(small).promoted  # every place is as it was


@pytest.mark.parametrize("damage", [None, [], "text", 7, {}, {"schema": "ofi-meta/metrics/3"}, {"schema": [1]}])
def test_what_is_no_report_promotes_nothing(damage):
    got = judge_promotion(damage)
    assert not got.promoted
    assert got.reasons
    assert got.simulated
    assert [r.key for r in got.rules] == KEYS


@pytest.mark.parametrize("text", [None, "", "{", "[" * 100_000, '{"schema": NaN}', "\x00", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_promotes_nothing(tmp_path, text):
    path = tmp_path / "metrics.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    got = judge_promotion_file(path)
    assert not got.promoted
    assert status(got, "schema") == "FAIL"
    if text != '{"schema": NaN}':
        assert "metrics.json cannot be read" in got.reasons[0]


def test_a_file_is_judged_as_its_content_is(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(made.passing()))
    assert judge_promotion_file(path, drift_status="OK", wants_drift=True) == judged(
        drift_status="OK", wants_drift=True
    )


# --- against the report's own verdict


def test_on_real_reports_a_promotion_is_a_go():
    """What the verdict finds, the rules find: a report that is a NO-GO is promoted for the logistic line alone."""
    arms, *_ = rich_world(400)
    for facts in (run_facts(fee_tier_given="regular"), run_facts(fee_tier_given=None), run_facts(simulated=True)):
        report = build_report(arms, facts, draws=30)
        got = judge_promotion(report.metrics)
        assert report.metrics["verdict"]["word"] == "NO-GO"
        assert not got.promoted
        assert status(got, "verdict") == "FAIL"
    known = {r["key"] for r in report.metrics["kpis"][0]["rows"]}
    assert known == set(kpi_limits("B"))  # a KPI that the report learns is a rule here


# --- what is written


def test_the_decision_as_a_file(tmp_path):
    path = write_promotion(judged(), tmp_path, tag="ethusdt-stack-0011223344", at_ns=1_767_571_200 * 10**9)
    assert path.name == PROMOTION_NAME
    told = json.loads(path.read_text())
    assert told["schema"] == "ofi-meta/promotion/1"
    assert (told["promoted"], told["tag"]) == (True, "ethusdt-stack-0011223344")
    assert [r["key"] for r in told["rules"]] == KEYS
    assert list(tmp_path.iterdir()) == [path]


def test_the_table_shows_values_in_their_units():
    rows = {row[0]: row for row in promotion_table(judged(drift_status="WARN")).rows}
    assert rows["shadow trades"][1:4] == (">= 500", "812", "PASS")
    assert rows["cost / expected reward"][2] == "31.0%"
    assert rows["model's own mean, lower bound, runner exit"][1:3] == ("> 0 bps a trade", "+0.7 bps")
    assert rows["end-to-end latency P95"][2] == "6.50 ms"
    assert "measured on one machine" in rows["end-to-end latency P95"][4]
    assert rows["drift report"][3:] == ("PASS", "WARN")
    stays = promotion_table(judged(made.FAILING["dsr"]))
    assert stays.title == "rules of a promotion: stays a candidate"


def test_a_promotion_cannot_be_changed():
    with pytest.raises(AttributeError):
        judged().promoted = True
    assert replace(judged(), promoted=False).promoted is False


# --- the page of the rules


def test_docs_list_every_rule_with_its_threshold():
    text = (DOCS / "promotion.md").read_text(encoding="utf-8")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    assert [(row[0].strip("`"), row[1], row[2]) for row in rows] == [
        (r.key, r.title, r.threshold) for r in judged(drift_status="OK").rules
    ]
