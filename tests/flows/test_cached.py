"""What the heavy tasks share: a day of the same bytes comes from Prefect's cache, what is hopeless is tried once."""

from __future__ import annotations

import shutil
import time
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client

from feature_repo.errors import InputError
from flows.cached import not_hopeless
from flows.ingest import ingest_flow
from flows.markets import DayParameters, Market

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("prefect")]


def test_a_refused_input_is_tried_once_and_anything_else_again():
    tries = {"refused": 0, "flaky": 0}
    options = {"retries": 2, "retry_delay_seconds": 0, "retry_condition_fn": not_hopeless}

    @task(**options)
    def refused():
        tries["refused"] += 1
        raise InputError("a", "b", "c")

    @task(**options)
    def flaky():
        tries["flaky"] += 1
        if tries["flaky"] < 3:
            raise OSError("the disk was busy")
        return 1

    @flow
    def both():
        return refused(return_state=True), flaky(return_state=True)

    first, second = both()
    assert (first.is_failed(), second.is_completed()) == (True, True)
    assert tries == {"refused": 1, "flaky": 3}


def ended_as(flow_run_id: UUID) -> str:
    """The name of the end state of a flow run's one task, which the server writes down a moment after the run."""
    asked = {"flow_runs": {"id": {"any_": [str(flow_run_id)]}}}
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with get_client(sync_client=True) as client:
            (run,) = client.request("POST", "/task_runs/filter", json=asked).json() or [{}]
        if run.get("end_time") and run["state"] is not None:
            return run["state"]["name"]
        time.sleep(0.5)
    pytest.fail(f"no end of the task of flow run {flow_run_id} within 180 s")


def test_a_day_of_the_same_bytes_is_taken_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    asked = DayParameters(markets=[Market(rate=20)], simulated_days=1)
    told = []
    for _ in range(3):
        ended = ingest_flow(asked, return_state=True)
        assert ended.is_completed()
        told.append(ended_as(ended.state_details.flow_run_id))
    # The first makes it, the second finds it there, and from then on its key is known.
    assert told == ["Completed", "Completed", "Cached"]
    shutil.rmtree(tmp_path / "data" / "days")
    assert ingest_flow(asked, return_state=True).is_completed()
    assert list((tmp_path / "data" / "days").glob("*/simulated/*/*.parquet"))
