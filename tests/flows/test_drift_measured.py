"""How often an unchanged simulated day is flagged: the measurement, and what docs/drift.md says of it."""

from __future__ import annotations

import re
import shutil

import pytest

from reports.drift import ALERT, OK
from tests.flows.drift_measured import FIRST_SEED, PAGE, binomial, judged, tables, unchanged
from tests.reports.drift_plants import CHANNEL_PLANTS, MODEL_PLANTS

STATED = 0.05
"""Of unchanged days that may be an ALERT; docs/drift.md says the same."""
SEEDS, FEW = 20, 1


def result(status, **flagged):
    return {
        "status": status,
        "flagged": flagged,
        "channels": {plant: {"ofi_z": ALERT, "atr_bps": OK} for plant in CHANNEL_PLANTS},
        "model": dict.fromkeys(MODEL_PLANTS, ALERT),
    }


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 20, 0.0, 0.1684), (1, 20, 0.0013, 0.2487), (20, 20, 0.8316, 1.0)]
)
def test_the_interval_is_clopper_and_pearsons(hits, n, low, high):
    assert binomial(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_the_tables_count_what_was_flagged_and_what_was_missed():
    text = tables({1: [result(OK), result(ALERT, x="ALERT")], 3: [result(OK)]})
    assert "| 1 day | 2 | 1 (50%, 1% to 99%) | 1 (50%, 1% to 99%) | x (ALERT) 1 |" in text
    assert "| one channel scaled x 2 | 2 of 4 | 1 of 2 | atr_bps 3 |" in text
    assert "| labels flipped | 2 of 2 | 1 of 1 | |" in text


def test_the_page_states_the_rate_and_a_measurement_that_keeps_it():
    page = PAGE.read_text(encoding="utf-8")
    assert f"at most {STATED:.0%} of unchanged days" in page
    rows = re.findall(r"^\| \d days? \| (\d+) \| (\d+) \(", page, re.MULTILINE)
    assert rows
    assert int(rows[0][0]) >= SEEDS
    for n, alerts in rows:
        assert int(alerts) <= STATED * int(n)


@pytest.mark.long
def test_unchanged_days_are_no_alert(tmp_path):
    """The first of the seeds: all of them take a quarter of an hour, and stand on the page."""
    said = {}
    for seed in range(FIRST_SEED, FIRST_SEED + FEW):
        (inputs,) = unchanged(tmp_path / str(seed), seed, (1,)).values()
        said[seed] = judged(inputs, plants=False)
        shutil.rmtree(tmp_path / str(seed))  # 0.4 GB
    flagged = {seed: s["flagged"] for seed, s in said.items() if s["status"] == ALERT}
    assert not flagged
