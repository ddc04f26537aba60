"""The same inputs give the same report, wherever and whenever it is made."""

from __future__ import annotations

import json

import pytest

from tests.flows.conftest import shadow

pytestmark = pytest.mark.long

MEASURED = {"latency.png", "index.html", "metrics.json"}  # these show what was measured too


def test_two_runs_differ_in_what_was_measured_only(tmp_path):
    runs = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        runs.append(shadow(tmp_path / place, "--hours", "2", "--folds", "1", "--max-candidates", "600"))
    first, second = (run.out for run in runs)
    names = sorted(p.name for p in first.iterdir())
    assert names == sorted(p.name for p in second.iterdir())
    for name in set(names) - MEASURED:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    told = [json.loads((run.out / "metrics.json").read_text()) for run in runs]
    measured = [metrics.pop("measured") for metrics in told]
    for metrics in told:  # whether a measured latency was in its budget is measured, too
        for row in (row for arm in metrics["kpis"] for row in arm["rows"] if row["measured"]):
            assert row.pop("status") in ("PASS", "FAIL", "N/A")
            row.pop("note")
        reasons = metrics["verdict"]["reasons"]
        metrics["verdict"]["reasons"] = [text for text in reasons if "see the measured section" not in text]
    assert told[0] == told[1]
    assert measured[0] != measured[1]
    assert told[0]["run"]["run_id"]
    assert [p.name for p in runs[0].releases.iterdir()] == [p.name for p in runs[1].releases.iterdir()]
