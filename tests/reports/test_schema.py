"""metrics.json against its published schema, and the schema against the code's own lists."""

from __future__ import annotations

import copy
import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import reports.schema
from feature_repo.constants import JUDGE
from feature_repo.fees import FEE_TIERS
from reports.arm_stats import exit_stats
from reports.buckets import fit_edges
from reports.calibration_report import MIN_CALIBRATION
from reports.fold_results import FOLD_DRAWS
from reports.funnel import STAGES, rejection
from reports.kpis import KpiContext, kpis
from reports.latency import HISTOGRAM_EDGES_MS
from reports.matrix import SCHEMA, build_report
from reports.overfitting import GROUPS, MIN_PBO_BLOCKS, MIN_STRATEGY_TRADES
from reports.records import EXITS, OUTCOMES, REASONS, ArmInput, CalibrationInput
from reports.schema import SCHEMA_NAME, main, metrics_page
from reports.selection import BENCHMARKS
from reports.sensitivity import KNOBS, SensitivityPoint
from reports.statistics import Interval
from reports.superiority import MIN_SPA_BLOCKS
from reports.training_rows import QUALITY_FIELDS
from reports.transfer import Judged
from runtime.candidate import SigType
from runtime.decision import Reason
from runtime.profiles import PROFILES, VARIANTS
from tests.reports.make import REGULAR, VIP9, arm, decisions, e2e_rows, rich_world, run_facts
from tests.reports.make_training import ensemble_dict, walked

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "metrics.md"
TEXT = (DOCS / SCHEMA_NAME).read_text(encoding="utf-8")
NAN = math.nan


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


VALIDATOR = Draft202012Validator(json.loads(TEXT))


def _errors(metrics):
    return [f"{e.json_path}: {e.message[:200]}" for e in VALIDATOR.iter_errors(metrics)]


def _full():
    """Every section filled: folds, ladder, latency, sensitivity, training, transfer, a variant, a simulated tape."""
    arms, p, y, sig, state = rich_world(400, profiles=("A", "B", "C", "C6"))
    ladder = rich_world(400, tiers=FEE_TIERS["binance_usdm"], profiles="B")[0]
    fold = {"k": 0, "model": False, "reason": "12 labels", "train_start_ns": 1, "train_end_ns": None, "n_train": 12}
    points = [
        SensitivityPoint("tau", 0.6, "", "regular", "B", True, 40, Interval(1.0, -1.0, 3.0), NAN, 12.5),
        SensitivityPoint(
            "latency_ms", NAN, "tape's feed latency", "vip9", "B", False, 2, Interval(1.0, NAN, NAN), 1.0, 2
        ),
    ]
    n = 200
    transfer = Judged(
        "flow, test folds", "flow", "flow", np.arange(n) * 60_000_000_000, np.linspace(0, 1, n), np.arange(n) % 2,
        np.ones(n), np.ones(n, bool), np.arange(n) % 3 == 0,
    )  # fmt: skip
    facts = run_facts(
        simulated=True, fee_tier_given=None, folds=(fold,), notes=("A note.",), candidates_found={"momentum": 400},
        stage_s={"tape": 1.5}, run_id="abc", tape_sha256="f" * 64, code_version="1.2.3",
    )  # fmt: skip
    return build_report(
        arms,
        facts,
        ladder=ladder,
        latency={("B", True): e2e_rows([1.0, 2.0]), ("C6", False): e2e_rows([3.0], SigType.RECLAIM)},
        sensitivity=points,
        calibration=CalibrationInput(p, y, sig),
        edges=fit_edges(state[:150]),
        transfer=[transfer],
        training=walked(beats=False, reasons=(None, "12 labels", None)),
        fold_of=np.arange(400) % 3,
        draws=20,
    )


def _empty():
    d = decisions([])
    arms = [arm(d, 1.0, profile=p, fee=f, model=m) for f in (REGULAR, VIP9) for p in "ABC" for m in (False, True)]
    return build_report(arms, run_facts(label_outcomes=(0,) * 5, tick_bps=NAN), ladder=arms[2:4])


def _no_model():
    arms, *_ = rich_world(300)
    na = [ArmInput(p, True, f, reason_na="12 labels of 200") for f in (REGULAR, VIP9) for p in "ABC"]
    none = [a for a in arms if not a.model]
    return build_report([*none, *na], run_facts(seed=None), ladder=[none[1], na[1]], draws=30)


def _one_arm():
    return build_report([arm(decisions([Reason.ALLOW]), 1.0, profile="C6")], run_facts(label_outcomes=()), draws=30)


SHAPES = {
    "full": _full,
    "empty": _empty,
    "no_model": _no_model,
    "one_arm": _one_arm,
    "none": lambda: build_report([], run_facts()),
}


@pytest.fixture(scope="module", params=SHAPES)
def report(request):
    return SHAPES[request.param]().metrics


@pytest.fixture(scope="module")
def full():
    return _full().metrics


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(json.loads(TEXT))


def test_reports_of_every_shape_match(report):
    assert _errors(report) == []
    # And as the file holds it: strict JSON, which knows no NaN.
    assert _errors(json.loads(json.dumps(report, allow_nan=False), parse_constant=no_constant)) == []


def _small(full):
    """The same report with one entry in each list whose length is free."""
    out = {k: v[:1] if isinstance(v, list) else v for k, v in full.items()}
    out["matrix"] = [{**out["matrix"][0], "exits": dict.fromkeys(EXITS, full["matrix"][0]["exits"]["label"])}]
    out["funnel"] = [{**f, "rows": f["rows"][:1]} for f in out["funnel"]]
    out["calibration"] = {k: v[:1] if isinstance(v, list) else v for k, v in full["calibration"].items()}
    out["measured"] = {k: v[:1] if isinstance(v, list) else v for k, v in full["measured"].items()}
    out["sensitivity"] = {**full["sensitivity"], "points": full["sensitivity"]["points"][:1]}
    out["selection"] = {k: v[:1] if isinstance(v, list) else v for k, v in full["selection"].items()}
    (fold, *_), pooled = full["training"]["folds"], full["training"]["pooled"]["model"]
    fold = {**fold, "figures": {}, "importance": fold["importance"][:1]}
    out["training"] = {**full["training"], "folds": [fold], "leak": full["training"]["leak"][:1]}
    out["training"]["pooled"] = {"model": {**pooled, "bins": pooled["bins"][:1]}}
    return out


def _keys(node, at=()):
    """Paths of all keys; of lists of a fixed length the first entry stands for all."""
    if isinstance(node, list):
        yield from (_keys(node[0], (*at, 0)) if node else ())
    elif isinstance(node, dict):
        for key, value in node.items():
            yield *at, key
            yield from _keys(value, (*at, key))


MAPS = {"reasons", "reason_rates", "candidates_found", "stage_s", "outcomes", "pooled", "gain"}
FREE = {"fit", "channels", "skill", "shuffled"}  # as the training gives them


@pytest.mark.slow
def test_every_key_of_a_report_that_is_no_map_is_required(full):
    small, tried = _small(full), 0
    assert _errors(small) == []
    for *at, key in _keys(small):
        if at[2:4] == ["exits", "runner"]:
            continue  # as label
        if FREE & set(at) or at[-2:] == ["ensemble", "brier"]:
            continue
        map_key = (
            (at and at[-1] in MAPS) or at[-3:] == ["latency", 0, "by_type"] or str(key).endswith(("_ns", "n_train"))
        )
        if map_key and (*at, key) != ("run", "span_ns"):
            continue
        parent = small
        for step in at:
            parent = parent[step]
        broken = _replaced(small, at, {k: v for k, v in parent.items() if k != key})
        assert next(VALIDATOR.iter_errors(broken), None), (*at, key)
        tried += 1
    assert tried > 200


def _replaced(metrics, at, value):
    if not at:
        return value
    out = list(metrics) if isinstance(metrics, list) else dict(metrics)
    out[at[0]] = _replaced(out[at[0]], at[1:], value)
    return out


@pytest.mark.parametrize("key", json.loads(TEXT)["required"])
def test_no_section_may_be_missing_and_none_may_be_added(full, key):
    small = _small(full)
    (error,) = _errors({k: v for k, v in small.items() if k != key})
    assert f"'{key}' is a required property" in error
    (error,) = _errors({**small, f"{key}_2": 1})
    assert f"'{key}_2' was unexpected" in error


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("training",), {}),
        (("training", "folds", 0, "figures"), {"model": {"brier": 0.2}}),
        (("training", "pooled", "model", "brier"), 1.1),
        (("training", "beats_logistic"), "no"),
        (("training", "ensemble", "combiner"), None),
        (("fold_results", 0, "net_bps"), None),
        (("selection", "pbo", 0, "value"), 1.1),
        (("selection", "spa", 0, "benchmark"), "luck"),
        (("selection", "trials"), None),
        (("schema",), "ofi-meta/metrics/2"),
        (("verdict", "word"), "MAYBE"),
        (("kpis", 0, "rows", 0, "status"), "PASSED"),
        (("kpis", 0, "rows", 0, "key"), "sharpe"),
        (("matrix", 0, "reasons"), {"felt_wrong": 3}),
        (("matrix", 0, "reason_rates"), {"allow": 0.5}),
        (("matrix", 0, "reason_rates"), {"ev": 1.5}),
        (("matrix", 0, "profile"), "D"),
        (("matrix", 0, "na"), ""),
        (("matrix", 0, "exits", "label", "net_bps"), 1.0),
        (("matrix", 0, "exits", "label", "win_rate"), 1.1),
        (("matrix", 0, "exits", "label", "trades"), None),
        (("matrix", 0, "exits", "label", "by_type", 0, "sig_type"), "breakout"),
        (("matrix", 0, "exits", "label", "net_bps", "low"), "NaN"),
        (("run", "candidates_found"), {"breakout": 3}),
        (("tiers", 0, "verdict"), "N/A"),
        (("sensitivity", "points", 0, "knob"), "luck"),
        (("measured", "latency", 0, "by_type"), {"breakout": {}}),
        (("measured", "reproducible"), True),
    ],
)
def test_a_wrong_value_is_found(full, at, value):
    assert _errors(_replaced(_small(full), at, value))


def test_a_nan_cannot_be_in_the_file(full):
    broken = _replaced(full, ("matrix", 0, "exits", "label", "net_bps", "value"), NAN)
    with pytest.raises(ValueError, match="not JSON compliant"):
        json.dumps(broken, allow_nan=False)
    with pytest.raises(ValueError, match="NaN is no JSON"):
        json.loads(json.dumps(broken), parse_constant=no_constant)


def test_the_schemas_lists_are_the_codes():
    schema = json.loads(TEXT)
    shared, sections = schema["$defs"], schema["properties"]
    assert schema["$id"] == sections["schema"]["const"] == SCHEMA
    assert shared["reason"]["enum"] == [r.value for r in REASONS] == [r.value for r in Reason]
    assert shared["sig_type"]["enum"] == [s.name.lower() for s in SigType]
    assert shared["exit"]["enum"] == list(EXITS)
    assert shared["profile"]["enum"] == [*PROFILES, *VARIANTS]
    assert sections["run"]["properties"]["venue"]["enum"] == list(FEE_TIERS)
    assert list(sections["labels"]["properties"]["outcomes"]["properties"]) == list(OUTCOMES)
    row = sections["funnel"]["items"]["properties"]["rows"]["items"]["properties"]
    assert [k for k in row if k in STAGES] == list(STAGES)
    tests = sections["selection"]["properties"]["spa"]["items"]["properties"]
    assert tests["benchmark"]["enum"] == list(BENCHMARKS)
    assert set(shared["quality"]["properties"]) == set(QUALITY_FIELDS)
    assert set(shared["training_run"]["properties"]["ensemble"]["oneOf"][0]["required"]) == {"fold", *ensemble_dict()}
    assert sections["sensitivity"]["properties"]["points"]["items"]["properties"]["knob"]["enum"] == list(KNOBS)
    a = arm(decisions([]), 1.0)
    made = kpis("B", False, exit_stats(a, "label"), rejection(a), {}, KpiContext(CALIBRATION))
    assert shared["kpi"]["properties"]["key"]["enum"] == [k.key for k in made]
    assert shared["kpi"]["properties"] == {
        k: v for k, v in sections["measured"]["properties"]["kpis"]["items"]["properties"].items() if k not in ARM
    }


ARM = ("fee_tier", "profile", "model")
CALIBRATION = build_report([], run_facts()).calibration


def test_the_numbers_in_the_texts_are_the_codes():
    assert f"below {MIN_CALIBRATION} forecasts" in TEXT
    assert f"the {JUDGE.min_trades} needed" in TEXT
    assert f"below {JUDGE.min_days} days" in TEXT
    assert f"costs x {JUDGE.cost_stress:g}" in TEXT
    assert f"equity ({JUDGE.equity_multiple:g} x base size)" in TEXT
    assert f"{len(HISTOGRAM_EDGES_MS)} edges" in TEXT
    assert MIN_PBO_BLOCKS == MIN_SPA_BLOCKS
    assert f"blocks of {JUDGE.block_s // 60} min with a candidate; {MIN_PBO_BLOCKS} are needed" in TEXT
    assert f"of at least {MIN_STRATEGY_TRADES} trades" in TEXT
    assert f"cut {GROUPS} groups" in TEXT
    assert f"bounds from {FOLD_DRAWS} draws at most" in TEXT


def test_every_part_of_the_schema_is_described_and_closed():
    def walk(node, at):
        if isinstance(node, list):
            for i, child in enumerate(node):
                walk(child, f"{at}[{i}]")
        elif isinstance(node, dict):
            if node.get("type") == "object":
                assert "additionalProperties" in node, at
                assert node["description"], at
            for name, child in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
                assert child.get("description") or "$ref" in child, f"{at}.{name}"
            for name, child in node.items():
                walk(child, f"{at}.{name}")

    walk(json.loads(TEXT), "")


def test_the_page_is_what_the_schema_says(tmp_path, capsys, monkeypatch):
    assert PAGE.read_text(encoding="utf-8") == metrics_page(json.loads(TEXT)), (
        "docs/metrics.md is not what the schema says: run `python -m reports.schema docs/metrics.md`"
    )
    (tmp_path / SCHEMA_NAME).write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["reports.schema", str(tmp_path / "metrics.md")])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(reports.schema.__file__, run_name="__main__")
    assert (tmp_path / "metrics.md").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_page_names_every_field_and_its_tables_are_whole():
    page = PAGE.read_text(encoding="utf-8")
    for name in (*json.loads(TEXT)["properties"], "few_days", "est_slip_bps", "reason_rates", "histogram.edges_ms"):
        assert f"{name}`" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in rows} == {2}
    anchors = {line[3:] for line in page.splitlines() if line.startswith("## ")}
    assert set(json.loads(TEXT)["$defs"]) <= anchors


def test_a_changed_report_is_not_silently_valid(full):
    """The check itself has the power to fail on what it accepts."""
    other = copy.deepcopy(full)
    assert _errors(other) == []
    other["matrix"][0]["exits"]["label"]["ir_month"] = 1.0
    assert _errors(other)
