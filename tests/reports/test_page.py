"""index.html: every section, nothing loaded, nothing executed."""

from __future__ import annotations

import re

import pytest

from reports.page import page_html
from reports.page_parts import table_html
from reports.tables import Table
from tests.reports import make_metrics, make_training
from tests.reports.read_html import Reader

SECTIONS = [
    "KPIs", "Matrix", "Equity", "Calibration and ensemble", "Buckets", "Funnel and rejections", "Latency",
    "Model against no model", "Fee tiers", "Is it luck?", "Folds", "Members and baselines", "What the model looks at",
    "Leak checks", "Costs", "Stress", "Sensitivity", "By signal", "Run",
]  # fmt: skip
PICTURES = {
    name: name.encode()
    for name in (
        "equity", "rejections", "bucket_ir", "calibration", "folds", "importance", "sensitivity", "latency",
    )
}  # fmt: skip
HOSTILE = '<script>alert("x")</script><img src=http://evil/x onerror=alert(1)>'


@pytest.fixture(scope="module")
def full():
    return Reader(page_html(make_metrics.metrics(), PICTURES))


def test_sections_in_their_order_each_with_a_link_that_leads_there(full):
    assert full.heads == SECTIONS
    ids = [a["id"] for tag, a in full.elements if tag == "h2"]
    assert [a["href"] for tag, a in full.elements if tag == "a"] == [f"#{i}" for i in ids]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9-]+", i) for i in ids)
    assert full.open == []


def test_every_picture_is_in_the_page_with_a_text_for_those_who_do_not_see_it(full):
    images = [a for tag, a in full.elements if tag == "img"]
    assert len(images) == len(PICTURES)
    assert all(a["src"].startswith("data:image/png;base64,") and a["alt"] for a in images)
    assert len({a["src"] for a in images}) == len(PICTURES)
    assert not [a for tag, a in Reader(page_html(make_metrics.metrics(), {})).elements if tag == "img"]


def test_nothing_is_loaded_and_nothing_runs(full):
    assert {tag for tag, _ in full.elements}.isdisjoint({"script", "link", "iframe", "object", "embed", "form"})
    for _, attributes in full.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    policy = next(a["content"] for tag, a in full.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline';")
    style = page_html(make_metrics.metrics(), PICTURES).split("<style>")[1].split("</style>")[0]
    assert not re.search(r"@import|url\(|https?:", style)


def test_the_tables_of_the_contract_are_there(full):
    captions = " ".join(full.text)
    for title in ("Costs, label exit", "Costs, runner exit", "Costs x 1 and x 1.5, label exit",
                  "IR and verdict at each fee tier", "Rejection rate by reason", "Decisions by reason",
                  "By signal: regular B model, runner exit", "By signal: regular B no model, label exit",
                  "Funnel by signal: vip9 B model", "KPIs: vip9 B model", "End-to-end latency", "Every point",
                  "Model and baselines by fold", "The model's Brier score taken apart", "Result by fold, runner exit",
                  "All folds, best Brier score first", "Brier score, out of fold", "Rise of the Brier score",
                  "Leak checks, area under the ROC curve", "Luck of selection",
                  "vip5: NO-GO, 2 against it"):  # fmt: skip
        assert title in captions, title


def test_that_no_net_beats_the_logistic_baseline_stands_above_every_other_reason():
    lost = make_training.training_dict(beats=False)
    alone = make_metrics.metrics(training=lost)
    told = make_metrics.metrics(training=lost)
    told["verdict"]["reasons"].insert(0, lost["first_line"])
    for metrics in (alone, told):
        text = page_html(metrics, {})
        box = text.split('<div class="verdict">')[1].split("</div>")[0]
        reasons = re.findall("<li>(.*?)</li>", box)
        assert reasons == [lost["first_line"], "Too little data.", "No fee tier was named."]
        assert text.index(lost["first_line"]) < text.index("<nav>")


def test_a_model_that_wins_adds_no_reason():
    text = page_html(make_metrics.metrics(), {})
    box = text.split('<div class="verdict">')[1].split("</div>")[0]
    assert re.findall("<li>(.*?)</li>", box) == ["Too little data.", "No fee tier was named."]


def test_text_of_others_is_escaped_wherever_it_stands():
    metrics = make_metrics.metrics()
    metrics["run"].update(
        symbol=HOSTILE, venue=HOSTILE, tape=HOSTILE, tape_sha256=HOSTILE, notes=[HOSTILE], run_id=HOSTILE,
        code_version=HOSTILE, fee_tier_given=HOSTILE, candidates_found={HOSTILE: 1}, folds=[{"reason": HOSTILE}],
    )  # fmt: skip
    metrics["verdict"].update(word=HOSTILE, reasons=[HOSTILE])
    metrics.update(
        banner=HOSTILE, sensitivity={"note": HOSTILE, "points": [make_metrics.point("tau", 0.5, label=HOSTILE)]}
    )
    metrics["tiers"][0].update(fee_tier=HOSTILE, reasons=[HOSTILE], verdict=HOSTILE)
    metrics["matrix"].append(make_metrics.arm_dict((HOSTILE, 1.0, 2.0), na=HOSTILE))
    metrics["training"].update(first_line=HOSTILE, beats_logistic=False, model=HOSTILE, members=[HOSTILE])
    metrics["training"]["folds"].append({**make_training.training_fold(3, HOSTILE)})
    metrics["training"]["folds"][0]["importance"][0]["channel"] = HOSTILE
    metrics["selection"]["pbo"][0].update(fee_tier=HOSTILE, reason_na=HOSTILE)
    metrics["selection"]["spa"][0].update(benchmark=HOSTILE, reason_na=HOSTILE)
    metrics["measured"].update(note=HOSTILE, stage_s={HOSTILE: 1.0})
    metrics["measured"]["latency"][0]["by_type"][HOSTILE] = metrics["measured"]["latency"][0]["by_type"]["momentum"]
    text = page_html(metrics, {})
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 20
    assert not [tag for tag, _ in Reader(text).elements if tag in ("script", "img")]


@pytest.mark.parametrize("make", [make_metrics.without_new_sections, make_metrics.nothing_was_run])
def test_what_was_not_computed_is_said(make):
    read = Reader(page_html(make(), {}))
    text = " ".join(read.text)
    assert read.heads == SECTIONS
    for sentence in ("the fee tiers were not computed", "sensitivity was not computed", "no end-to-end latency",
                     "N/A: 3 labels", "the result was not cut by folds"):  # fmt: skip
        assert sentence in text
    assert "None" not in text
    assert "nan" not in text.lower().split()


def test_the_banner_is_there_for_simulated_data_only():
    banner = '<div class="banner">SIMULATED DATA'
    assert banner in page_html(make_metrics.metrics(), {})
    assert "SIMULATED" not in page_html(make_metrics.metrics(simulated=False), {})


def test_dark_readers_get_dark_colours_and_pictures_stay_on_white():
    style = page_html(make_metrics.metrics(), {}).split("<style>")[1].split("</style>")[0]
    assert "@media (prefers-color-scheme:dark)" in style
    assert re.search(r"figure\{[^}]*background:#fff", style)
    used, set_ = set(re.findall(r"var\((--[a-z-]+)\)", style)), re.findall(r"(--[a-z-]+):", style)
    assert all(set_.count(name) == 2 for name in used), "a colour is not set for both light and dark"


def test_wide_tables_scroll_inside_themselves(full):
    assert '<div class="scroll"><table>' in page_html(make_metrics.metrics(), {})
    assert [a["class"] for tag, a in full.elements if tag == "div"].count("scroll") == sum(
        tag == "table" for tag, _ in full.elements
    )
    assert ("meta", {"name": "viewport", "content": "width=device-width,initial-scale=1"}) in full.elements


def test_what_lies_beside_stands_between_the_first_sections_and_the_details():
    beside = [("Drift", "Why.", "<p>one</p>"), ("Releases", "Why.", "", "<p>two</p>")]
    read = Reader(page_html(make_metrics.metrics(), {}, beside=beside))
    assert read.heads == [*SECTIONS[:7], "Drift", "Releases", *SECTIONS[7:]]


def test_verdict_then_kpis_then_everything_else(full):
    text = page_html(make_metrics.metrics(), PICTURES)
    at = [
        text.index(part) for part in ('<div class="banner">', "<b>NO-GO</b>", "KPIs: regular B model", "Matrix, portf")
    ]
    assert at == sorted(at)


def test_a_cell_that_leads_somewhere_is_escaped_like_the_others():
    table = Table("T", ("a", "b"), (False, False), ((HOSTILE, HOSTILE),), ("",))
    read = Reader(table_html(table, {(0, 1): 'drift/"><script>'}))
    assert [a["href"] for tag, a in read.elements if tag == "a"] == ['drift/"><script>']
    assert "script" not in {tag for tag, _ in read.elements}
    assert read.text.count(HOSTILE) == 2
