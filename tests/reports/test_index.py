"""index.html made again from what lies on disk: drift, releases and the promotion, whatever their files hold."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from reports.page_drift import DAYS, SYMBOLS, drift_section
from reports.page_index import write_index
from reports.page_releases import CHANGES, release_section
from reports.promotion import judge_promotion, write_promotion
from reports.write import write_reports
from tests.reports import make_beside as beside
from tests.reports import make_metrics, make_promotable
from tests.reports.read_html import Reader

pytestmark = pytest.mark.slow  # takes seconds as a whole

HOSTILE = '<script>alert("x")</script><img src=http://evil/x onerror=alert(1)>'


@pytest.fixture
def place(tmp_path):
    """Folders of the page and of the releases, with a report."""
    out, releases = tmp_path / "out", tmp_path / "releases"
    out.mkdir()
    (out / "metrics.json").write_text(json.dumps(make_metrics.metrics()))
    (out / "equity.png").write_bytes(b"\x89PNG\r\n\x1a\nequity")
    return SimpleNamespace(out=out, releases=releases)


def read(place):
    path = write_index(place.out, releases=place.releases)
    assert path == place.out / "index.html"
    assert [p.name for p in place.out.iterdir() if p.name.startswith(".")] == []
    return Reader(path.read_text())


def section(place, name):
    """Text cells of one section."""
    text = write_index(place.out, releases=place.releases).read_text()
    part = text.split(f'<h2 id="{name}">')[1].split("<h2 ")[0]
    return Reader(f"<h2>{part}")


def harmless(page):
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "form", "link")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,", "drift/")), attributes
    assert page.open == []


# --- the page as a whole


@pytest.mark.slow
def test_the_page_is_the_same_whoever_makes_it(tmp_path):
    """A shadow run's page, and the one that a nightly flow makes of its files."""
    from tests.reports.test_pictures import _report

    beside.write_drift(tmp_path / "out")
    beside.write_releases(tmp_path / "releases", beside.change())
    files = write_reports(_report(make_metrics.metrics()), tmp_path / "out", releases=tmp_path / "releases")
    first = files["page"].read_bytes()
    assert b"Drift by symbol and day" in first
    assert b"History of releases" in first
    assert write_index(tmp_path / "out", releases=tmp_path / "releases").read_bytes() == first


def test_sections_in_the_order_of_the_issue(place):
    heads = read(place).heads
    wanted = ["KPIs", "Matrix", "Equity", "Calibration and ensemble", "Buckets", "Funnel and rejections", "Latency",
              "Drift", "Releases"]  # fmt: skip
    assert heads[: len(wanted)] == wanted
    assert heads[-1] == "Run"


def test_what_is_missing_is_said_with_the_way_to_get_it(place):
    text = " ".join(read(place).text)
    wanted = (
        "No drift report lies beside this page. `ofi-meta drift` makes one",
        "`make prefect`",
        "No release serves: a gate that is started now denies everything",
        "No promotion was judged",
        "there is no history. `ofi-meta release promote TAG` begins one",
    )
    for sentence in wanted:
        assert sentence in text, sentence
    assert "None" not in text


@pytest.mark.parametrize(
    "damage",
    [None, "", "{", "[]", '{"schema": "ofi-meta/metrics/2"}', '{"schema": "ofi-meta/metrics/3"}', "[" * 100_000,
     '{"schema": "ofi-meta/metrics/3", "run": {"symbol": 1}}', HOSTILE, " " * 3_000_000],
)  # fmt: skip
def test_without_a_readable_report_drift_and_releases_are_shown_all_the_same(place, damage):
    beside.write_drift(place.out)
    beside.write_releases(place.releases, beside.change())
    if damage is None:
        (place.out / "metrics.json").unlink()
    else:
        (place.out / "metrics.json").write_text(damage)
    page = read(place)
    assert page.heads == ["Drift", "Releases"]
    text = " ".join(page.text)
    assert "NO VERDICT" in text
    assert "metrics.json" in text
    assert "make shadow" in text
    assert "Drift by symbol and day" in text
    harmless(page)


@pytest.mark.parametrize("section_", ["verdict", "matrix", "kpis", "measured", "run", "training", "tiers", "banner"])
@pytest.mark.parametrize("value", [None, 7, HOSTILE, [HOSTILE], {"x": HOSTILE}])
def test_a_report_with_a_damaged_section_never_stops_the_page(place, section_, value):
    (place.out / "metrics.json").write_text(json.dumps(make_metrics.metrics(**{section_: value})))
    harmless(read(place))


def test_a_picture_that_is_none_is_left_out(place):
    assert len([tag for tag, _ in read(place).elements if tag == "img"]) == 1
    (place.out / "equity.png").write_text(HOSTILE)
    assert not [tag for tag, _ in read(place).elements if tag == "img"]


def test_a_failed_write_leaves_the_old_page(place, monkeypatch):
    before = write_index(place.out, releases=place.releases).read_bytes()

    def half(path, text, **_):
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="the disk is full"):
        write_index(place.out, releases=place.releases)
    assert (place.out / "index.html").read_bytes() == before
    assert [p.name for p in place.out.iterdir() if p.name.startswith(".")] == []


def test_half_characters_and_huge_numbers_never_stop_the_page(place):
    odd = "\ud800 half"
    beside.write_drift(place.out, status=odd, release=odd, checks=[dict.fromkeys(beside.check("data"), odd)])
    beside.write_releases(
        place.releases, dict.fromkeys(beside.change(), odd), serving=b"\xff\xfe".decode(errors="surrogateescape")
    )
    promotion = {"schema": "ofi-meta/promotion/1", "tag": odd, "reasons": [odd], "rules": [{"title": odd}]}
    (place.out / "promotion.json").write_text(json.dumps(promotion))
    (place.out / "metrics.json").write_text(json.dumps(make_metrics.metrics(banner=odd)))
    text = " ".join(read(place).text)
    assert text.count("\\ud800 half") >= 6
    huge = make_metrics.metrics()
    huge["matrix"][0]["exits"]["label"]["payoff"] = 10**400
    (place.out / "metrics.json").write_text(json.dumps(huge))
    assert "metrics.json is damaged (OverflowError" in " ".join(read(place).text)


# --- drift


def test_drift_shows_the_worst_check_of_each_group_and_links_to_the_pages(place):
    checks = [beside.check(g) for g in beside.GROUPS if g != "latency"]
    checks += [beside.check("features", "ALERT", 0.91, "cvd_z"), beside.check("costs", "WARN")]
    beside.write_drift(place.out, status="ALERT", checks=checks)
    part = section(place, "drift")
    links = [a["href"] for tag, a in part.elements if tag == "a"]
    assert links == ["drift/ETHUSDT/2026-01-05/index.html", "drift/ETHUSDT/2026-01-05/evidently.html"]
    for link in links:
        assert (place.out / link).is_file()
    marks = [(a["class"]) for tag, a in part.elements if tag == "td" and a.get("class")]
    assert marks[:8] == ["ALERT", "ALERT", "OK", "OK", "OK", "WARN", "OK", "OK"]  # no latency: a dash
    text = " ".join(part.text)
    assert "ETHUSDT SIMULATED" in text
    assert "2 of 9 checks not OK" in text
    assert "cvd_z" in text
    assert [a for tag, a in part.elements if tag == "details"] == [{"open": None}]  # an ALERT is open


def test_real_data_is_not_called_simulated(place):
    (place.out / "metrics.json").write_text(json.dumps(make_metrics.metrics(simulated=False)))
    beside.write_drift(place.out, simulated=False)
    assert "SIMULATED" not in " ".join(section(place, "drift").text)
    beside.write_drift(place.out, day="2026-01-06", simulated=None)  # unknown counts as simulated
    assert "SIMULATED" in " ".join(section(place, "drift").text)


def test_the_latest_days_of_every_symbol_newest_first(place):
    for day in range(1, DAYS + 4):
        beside.write_drift(place.out, "BTCUSDT", f"2026-01-{day:02d}")
    beside.write_drift(place.out, "ETHUSDT", "2025-12-31", status="WARN")
    text = section(place, "drift").text
    days = [t for t in text if len(t) == 10 and t.startswith("202")]
    assert days == [f"2026-01-{d:02d}" for d in range(DAYS + 3, 3, -1)] + ["2025-12-31"]


def test_more_symbols_than_a_page_can_show_are_counted(place):
    for k in range(SYMBOLS + 3):
        beside.write_drift(place.out, f"S{k:03d}USDT")
    text = " ".join(section(place, "drift").text)
    assert "S049USDT" in text
    assert "S050USDT" not in text
    assert "3 more symbols are left out" in text


def test_pages_that_are_not_there_are_no_links(place):
    beside.write_drift(place.out, files=())
    assert not [tag for tag, _ in section(place, "drift").elements if tag == "a"]


@pytest.mark.parametrize(
    "name", ["../../../metrics.json", "http://evil/x.html", "javascript:alert(1)", "/etc/passwd", 7, None, HOSTILE]
)
def test_a_page_that_leads_elsewhere_is_no_link(place, name):
    beside.write_drift(place.out)
    folder = place.out / "drift" / "ETHUSDT" / "2026-01-05"
    (folder / "drift.json").write_text(json.dumps(beside.drift(pages={"evidently": name})))
    part = section(place, "drift")
    assert [a["href"] for tag, a in part.elements if tag == "a"] == ["drift/ETHUSDT/2026-01-05/index.html"]
    harmless(part)


def test_folders_that_are_no_days_are_passed_over(place):
    """The package's own code lies there where the page is written into reports/."""
    for name in ("__pycache__/2026-01-05", ".tmp/2026-01-05", "ETHUSDT/.2026-01-05", "ETHUSDT/latest"):
        (place.out / "drift" / name).mkdir(parents=True)
    (place.out / "drift" / "checks.py").write_text("")
    assert "No drift report" in " ".join(section(place, "drift").text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"), ("{", "no JSON"), ("[]", "no JSON object"), ("[" * 100_000, "no JSON"),
        ('{"schema": "other"}', "its schema is other"), ("x" * 3_000_000, "longer than 2 MB"),
        (json.dumps(beside.drift(day="2026-01-06")), "its day is 2026-01-06"),
        (json.dumps(beside.drift("BTCUSDT")), "its symbol is BTCUSDT"),
    ],
)  # fmt: skip
def test_a_day_that_cannot_be_read_is_named_and_the_others_are_shown(place, text, why):
    beside.write_drift(place.out, text=text)
    beside.write_drift(place.out, day="2026-01-04")
    told = " ".join(section(place, "drift").text)
    assert "drift.json is unreadable" in told
    assert why in told
    assert "2026-01-04" in told


def test_hostile_drift_is_text(place):
    odd = [dict.fromkeys(beside.check("data"), HOSTILE), HOSTILE, 7, None]
    odd += [beside.check("features", "ALERT", 10**400, "x" * 5_000), beside.check("data", None, float("nan"))]
    name = 'A"><script>alert(1)'
    beside.write_drift(place.out, name, status=HOSTILE, checks=odd, release=HOSTILE)
    beside.write_drift(place.out, "B", checks={"x": 1}, status=["OK"], release=None, files=("index.html",))
    part = section(place, "drift")
    harmless(part)
    assert part.elements.count(("script", {})) == 0
    assert max(map(len, part.text)) < 400
    link = next(a["href"] for tag, a in part.elements if tag == "a")
    assert link == "drift/A%22%3E%3Cscript%3Ealert%281%29/2026-01-05/index.html"
    assert "unknown: <script>" in " ".join(part.text)  # escaped, so that the reader sees it as text


# --- releases


def test_history_newest_first_with_tags_and_stages(place):
    beside.write_releases(place.releases, beside.change(), beside.change(1, event="rollback", why="drawdown 6.4 %"))
    part = section(place, "releases")
    text = part.text
    first = text.index("2026-01-05 01:00:00")
    assert text[first : first + 6] == [
        "2026-01-05 01:00:00", "rollback", f"{beside.SECOND} (shadow)", f"{beside.FIRST} (small_live)",
        "drawdown 6.4 %", "flow",
    ]  # fmt: skip
    assert text.index("2026-01-05 00:00:00") > first
    assert {"small_live", "ETHUSDT", "SIMULATED data", beside.FIRST} <= set(text)


def test_lines_of_earlier_versions_are_shown(place):
    line = {"tag": "b", "previous": None, "manifest_sha256": "00ff", "at_ns": None, "why": ""}
    beside.write_releases(place.releases, line)
    text = section(place, "releases").text
    at = text.index("by") + 1
    assert text[at : at + 6] == ["-", "-", "-", "b", "-", "-"]


def test_a_long_or_damaged_history_shows_its_newest_lines(place):
    lines = [beside.change(k, why=f"change {k}") for k in range(2_000)]
    beside.write_releases(place.releases, *lines, "{half a li", HOSTILE, "[1]", beside.change(3_000, why="the newest"))
    part = section(place, "releases")
    text = " ".join(part.text)
    assert text.index("the newest") < text.index("change 1999")
    assert "change 1970" not in text
    assert len([t for t in part.text if t.startswith("change 19")]) == CHANGES - 1
    assert "earlier changes are in history.jsonl" in text
    assert "3 lines of history.jsonl are unreadable" in text
    harmless(part)


def test_history_that_is_no_history(place):
    beside.write_releases(place.releases)
    (place.releases / "history.jsonl").write_bytes(b"\xff\xfe\x00" * 10)
    assert "1 lines of history.jsonl are unreadable" in " ".join(section(place, "releases").text)
    (place.releases / "history.jsonl").unlink()
    (place.releases / "history.jsonl").mkdir()
    assert "1 lines of history.jsonl are unreadable" in " ".join(section(place, "releases").text)


def test_hostile_history_and_manifest_are_text(place):
    odd = dict.fromkeys(beside.change(), HOSTILE)
    manifest = json.dumps({"symbol": HOSTILE, "rollout": {"stage": HOSTILE}, "simulated": HOSTILE})
    lists = {k: [HOSTILE] for k in odd}
    beside.write_releases(place.releases, odd, lists, beside.change(why="x" * 100_000), manifest=manifest)
    part = section(place, "releases")
    harmless(part)
    assert max(map(len, part.text)) < 400
    assert "&lt;" not in "".join(part.text)


def test_a_served_release_that_was_never_rolled_out_is_a_candidate(place):
    manifest = json.dumps({"symbol": "ETHUSDT", "simulated": False, "rollout": None})
    beside.write_releases(place.releases, beside.change(), manifest=manifest)
    assert {"candidate", "recorded data"} <= set(section(place, "releases").text)


@pytest.mark.parametrize("manifest", ["", "[]", "{", '{"rollout": 7}'])
def test_a_damaged_manifest_of_the_served_release(place, manifest):
    beside.write_releases(place.releases, beside.change(), manifest=manifest)
    part = section(place, "releases")
    assert beside.FIRST in part.text
    harmless(part)


def test_a_link_that_leads_nowhere_and_a_folder_in_its_place(place):
    beside.write_releases(place.releases, beside.change(), serving="gone")
    assert "unreadable: there is no such file" in " ".join(section(place, "releases").text)
    (place.releases / "gone" / "manifest.json").mkdir(parents=True)
    assert "unreadable: it cannot be opened (IsADirectoryError)" in " ".join(section(place, "releases").text)
    (place.releases / "current").unlink()
    (place.releases / "current").mkdir()
    assert "not a link" in " ".join(section(place, "releases").text)


def test_the_kill_switch_is_said(place):
    beside.write_releases(place.releases, beside.change())
    assert "kill switch" not in " ".join(section(place, "releases").text)
    (place.releases / "KILL").touch()
    assert "The kill switch is on" in " ".join(section(place, "releases").text)


# --- the promotion


def test_the_promotion_with_its_rules(place):
    (place.out / "metrics.json").write_text(json.dumps(make_promotable.passing()))
    passed = judge_promotion(make_promotable.passing())
    write_promotion(passed, place.out, tag=beside.FIRST, at_ns=beside.AT)
    part = section(place, "releases")
    assert {"promoted", f"release {beside.FIRST}, judged 2026-01-05 00:00:00 UTC"} <= set(part.text)
    assert next(a["class"] for tag, a in part.elements if tag == "div") == "verdict go"
    assert "another run" not in " ".join(part.text)
    assert {"deflated Sharpe ratio", "0.970", "PASS"} <= set(part.text)
    assert "SIMULATED" not in " ".join(part.text)


def test_a_candidate_that_stays_one_says_why(place):
    failing = make_promotable.passing()
    make_promotable.FAILING["dsr"](failing)
    failing["run"]["run_id"] = "another"
    write_promotion(judge_promotion(failing), place.out)
    part = section(place, "releases")
    assert "stays a candidate" in part.text
    assert "deflated Sharpe ratio: 0.949, wanted >= 0.95 (n = 812)." in part.text
    assert "it was judged on another run than this page shows" in " ".join(part.text)


def test_a_simulated_promotion_says_so(place):
    metrics = make_promotable.passing() | {"simulated": True}
    write_promotion(judge_promotion(metrics, allow_simulated=True), place.out)
    assert "SIMULATED DATA: promoted" in section(place, "releases").text


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": "x"}', '{"schema": "ofi-meta/promotion/1"}',
     json.dumps({"schema": "ofi-meta/promotion/1", "promoted": "true", "reasons": HOSTILE, "rules": [7, {"title": 7}]}),
     json.dumps({"schema": "ofi-meta/promotion/1", "promoted": 1, "reasons": [HOSTILE, 7], "rules": {"a": 1},
                 "made_from": [], "tag": [HOSTILE], "at_ns": 10**30, "simulated": HOSTILE}),
     json.dumps({"schema": "ofi-meta/promotion/1", "rules": [{"key": HOSTILE, "title": HOSTILE, "value": 1.0,
                 "status": HOSTILE, "threshold": HOSTILE, "note": HOSTILE}] * 300})],
)  # fmt: skip
def test_a_damaged_promotion_is_never_shown_as_promoted(place, text):
    (place.out / "promotion.json").write_text(text)
    part = section(place, "releases")
    assert not [t for t in part.text if t.endswith("promoted")]
    harmless(part)
    assert "is unreadable" in " ".join(part.text) or "stays a candidate" in " ".join(part.text)


@pytest.mark.parametrize("value", ["1" + "0" * 400, "Infinity", "-Infinity", "NaN", "true", '"1"', "null"])
@pytest.mark.parametrize(("key", "threshold"), [("own_mean_label", "> 0 bps a trade"), ("verdict", ""), ("dsr", "%")])
def test_a_value_that_is_no_number_is_a_dash(place, key, threshold, value):
    rule = json.dumps({"key": key, "title": "T", "status": "FAIL", "threshold": threshold, "note": "", "value": 0})
    text = json.dumps({"schema": "ofi-meta/promotion/1", "rules": ["R"]})
    (place.out / "promotion.json").write_text(text.replace('"R"', rule.replace('"value": 0', f'"value": {value}')))
    cells = section(place, "releases").text
    assert cells[cells.index("FAIL") - 1] == "-"


def test_sections_need_no_folders(tmp_path):
    assert drift_section(tmp_path / "nowhere")[0] == "Drift"
    assert release_section(tmp_path / "nowhere", tmp_path / "neither")[0] == "Releases"
