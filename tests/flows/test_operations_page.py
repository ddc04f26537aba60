"""docs/operations.md says what is served, when, and by which variables; each against the code."""

from __future__ import annotations

import re

import pytest

from flows.deployments import SERVED
from flows.nightly import NIGHT
from runtime.alerts import WEBHOOK
from tests.flows.conftest import ROOT

pytestmark = pytest.mark.slow  # the flows bring the trainer's libraries

PAGE = (ROOT / "docs" / "operations.md").read_text()


def test_every_deployment_stands_there_with_its_schedule():
    rows = re.findall(r"^\| `([a-z-]+)/([a-z-]+)` \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((s.flow.name, s.name, s.cron or "when asked") for s in SERVED)


def test_the_order_of_the_night_is_told():
    row = next(line for line in PAGE.splitlines() if line.startswith("| `nightly/nightly`"))
    at = [row.index(name, 40) for name in ("ingest", "features", "retrain", "drift", "promote")]
    assert at == sorted(at)
    assert [flow.name for flow, _ in NIGHT] == ["ingest", "features", "retrain", "drift", "promote"]


def test_every_flow_of_the_night_is_served_by_itself_and_has_a_time_limit():
    served = {s.flow.name: s.flow for s in SERVED}
    for flow, _ in NIGHT:
        assert served[flow.name].timeout_seconds
    assert served["nightly"].timeout_seconds == 12 * 3600


def test_the_settings_are_those_that_the_code_reads():
    told = set(re.findall(r"^\| `([A-Z_]+)`", PAGE, re.MULTILINE))
    assert {"OFI_META_DATA", WEBHOOK, "PREFECT_PORT", "RUNNER"} <= told
