"""The files of a day: what they say, that they appear whole, and that a simulated day says that it is one."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import reports.drift.report as report_module
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS
from reports.drift import ALERT, LIMITS, NA, OK, WARN, Decided, DriftLimits, Rows, drift_report
from reports.drift.evidently_page import evidently_html
from reports.drift.features import feature_drift
from reports.page_drift import drift_section
from tests.reports.drift_plants import MODEL_PLANTS, planted
from tests.reports.make_drift import DAY, OFI, drift_input
from tests.reports.read_html import Reader

pytestmark = pytest.mark.slow  # Evidently alone takes seconds to load

KEYS = [
    "schema", "symbol", "venue", "day", "simulated", "release", "status", "checks", "pages", "sampled_rows",
    "made_from",
]  # fmt: skip


@pytest.fixture(scope="module")
def day():
    return drift_input(1)


@pytest.fixture(scope="module")
def done(day, tmp_path_factory):
    return drift_report(planted(day, OFI, "sign flipped"), tmp_path_factory.mktemp("out"))


@pytest.fixture
def quick(monkeypatch):
    """Without Evidently's own page, which takes a second or two."""
    monkeypatch.setattr(report_module, "evidently_html", lambda *_: "<html></html>")


def test_the_json_has_just_these_fields(done):
    found = json.loads((done.path / "drift.json").read_text())
    assert list(found) == KEYS
    assert (found["schema"], found["day"], found["status"]) == ("ofi-meta/drift/1", DAY, ALERT)
    assert found["simulated"] is True
    assert found["pages"] == {"evidently": "evidently.html"}
    assert found["sampled_rows"] == 3_000
    for check in found["checks"]:
        assert list(check) == ["group", "name", "status", "value", "threshold", "n", "note"]
        assert check["status"] in (OK, WARN, ALERT, NA)
        assert check["value"] is None or isinstance(check["value"], int | float)
    assert len(found["checks"]) == len(done.checks)


def test_the_folder_holds_these_files_and_no_leavings(done):
    assert done.path.parts[-3:] == ("drift", "ETHUSDT-SIM", DAY)
    assert {p.name for p in done.path.iterdir()} == {
        "index.html", "evidently.html", "drift.json", "channels.png", "calibration.png", "rolling.png",
    }  # fmt: skip
    assert [p.name for p in done.path.parent.iterdir()] == [DAY]


def test_the_page_says_the_status_first_links_to_evidently_and_loads_nothing(done):
    text = (done.path / "index.html").read_text()
    page = Reader(text)
    assert not page.open
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert links == ["evidently.html"]
    assert all((done.path / link).is_file() for link in links)
    assert all(a["src"].startswith("data:image/png;base64,") for tag, a in page.elements if tag == "img")
    assert sum(tag == "img" for tag, _ in page.elements) == 3
    assert "script" not in {tag for tag, _ in page.elements}
    assert not re.search(r"https?://", text)
    said = " ".join(page.text)
    assert said.index(ALERT) < said.index("By group") < said.index("Flagged") < said.index("All checks")
    assert "ofi_z with the others" in said


def test_simulated_is_said_on_both_pages_and_in_the_json_and_of_a_real_day_it_is_not(done, day, tmp_path):
    assert done.simulated
    for name in ("index.html", "evidently.html"):
        head = (done.path / name).read_text().split("<body>", 1)[1][:600]
        assert "SIMULATED DATA" in head
    real = drift_report(replace(day, simulated=False, symbol="ETHUSDT"), tmp_path)
    assert json.loads((real.path / "drift.json").read_text())["simulated"] is False
    assert "SIMULATED" not in (real.path / "index.html").read_text()
    assert "SIMULATED" not in (real.path / "evidently.html").read_text()


def test_evidentlys_page_shows_our_distances_against_our_limits(day):
    drift = feature_drift(day, LIMITS)
    text = evidently_html(day, drift.distances, 0.08)
    for name, d in zip(CHANNELS, drift.distances, strict=True):
        score = re.search(rf"Drift in column '{name}'.{{0,400}}?Drift score: ([0-9.]+)", text, re.DOTALL)
        assert score, name
        assert float(score[1]) == pytest.approx(d.value, abs=0.0011), name
    for part in ("Drift of the 24 channels", "Drift of P at candidate time", "Classification quality"):
        assert part in text
    assert not re.search(r'(src|href)="https?://(?!plotly\.com/")', text)


def test_a_hostile_release_name_stays_text(day, tmp_path, quick):
    evil = "<script>alert(1)</script>"
    hostile = replace(day, release=evil, made_from={"x": evil})
    assert evil not in (drift_report(hostile, tmp_path).path / "index.html").read_text()
    assert evil not in evidently_html(replace(hostile, decided=Decided.none()), None, None)


def test_a_day_with_nothing_to_compare_is_na_on_all_pages(day, tmp_path):
    bare = replace(
        day, current=Rows.none(), decided=Decided.none(), reference=Rows.none(), reference_decided=Decided.none()
    )
    done = drift_report(bare, tmp_path)
    assert done.status == NA
    assert "Nothing could be judged" in (done.path / "index.html").read_text()
    assert "Nothing to compare" in (done.path / "evidently.html").read_text()


def test_bad_data_is_an_alert_even_where_nothing_can_be_compared(day, tmp_path, quick):
    bare = replace(MODEL_PLANTS["20 % invalid rows"](day), current=Rows.none(), decided=Decided.none())
    assert drift_report(bare, tmp_path).status == ALERT


def test_a_run_that_fails_midway_leaves_the_folder_as_it_was(day, tmp_path, monkeypatch, quick):
    first = drift_report(day, tmp_path)
    before = {p.name: p.read_bytes() for p in first.path.iterdir()}

    def broken(*_):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(report_module, "page_html", broken)
    with pytest.raises(RuntimeError):
        drift_report(planted(day, OFI, "sign flipped"), tmp_path)
    assert {p.name: p.read_bytes() for p in first.path.iterdir()} == before
    assert [p.name for p in first.path.parent.iterdir()] == [DAY]


def test_a_run_that_fails_while_it_takes_the_place_of_the_last_one_loses_neither_folder_nor_word(
    day, tmp_path, monkeypatch, quick
):
    first = drift_report(day, tmp_path)
    before = {p.name: p.read_bytes() for p in first.path.iterdir()}
    failed = []

    def once(move):
        def moved(source, target, **how):
            if Path(target) == first.path and not failed:
                failed.append(target)
                raise OSError("the disk is gone")
            return move(source, target, **how)

        return moved

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, once(getattr(os, name)))
    with pytest.raises((OSError, InputError), match="the disk is gone"):
        drift_report(planted(day, OFI, "sign flipped"), tmp_path)
    assert {p.name: p.read_bytes() for p in first.path.iterdir()} == before
    assert [p.name for p in first.path.parent.iterdir()] == [DAY]


def test_a_second_run_replaces_the_first(day, tmp_path, quick):
    drift_report(planted(day, OFI, "sign flipped"), tmp_path)
    again = drift_report(day, tmp_path)
    assert json.loads((again.path / "drift.json").read_text())["status"] != ALERT


def test_the_one_page_finds_the_report(done):
    section = "".join(drift_section(done.path.parents[2]))
    assert DAY in section
    assert f"drift/ETHUSDT-SIM/{DAY}/index.html" in section
    assert f"drift/ETHUSDT-SIM/{DAY}/evidently.html" in section
    assert "unreadable" not in section


@pytest.mark.parametrize(
    "changes",
    [
        {"day": "2026-02-30"},
        {"day": "2026-01"},
        {"day": "today"},
        {"day": "../x"},
        {"symbol": "../ETH"},
        {"symbol": ""},
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(day, changes):
    with pytest.raises(InputError):
        replace(day, **changes)


def test_the_page_of_the_docs_has_the_limits_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "drift.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([\d.,]+) \|", page, re.MULTILINE))
    limits = {f: getattr(LIMITS, f) for f in DriftLimits.__dataclass_fields__}
    assert told.keys() == limits.keys()
    for name, value in limits.items():
        assert float(told[name].replace(",", "")) == pytest.approx(value), name


def test_pictures_are_the_same_for_the_same_day(day, tmp_path, quick):
    a, b = (drift_report(day, tmp_path / k).path for k in "ab")
    assert np.all([(a / n).read_bytes() == (b / n).read_bytes() for n in ("channels.png", "rolling.png", "index.html")])
