"""A task an item: none stops the others, the outcomes come in order, each run has its item's name."""

from __future__ import annotations

import asyncio
import time

import pytest

from feature_repo.errors import InputError

pytestmark = pytest.mark.slow


def test_outcomes_in_order_and_named_runs(prefect):
    from prefect import flow, get_client, task
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.context import get_run_context

    from flows.fan_out import fan_out
    from flows.runner import runner

    @task(name="half")
    def half(number, by):
        if number < 0:
            raise InputError(f"{number}", "a number of at least 0", "Give another one")
        if number == 7:
            raise ZeroDivisionError("seven\nand a second line")
        if number == 9:
            raise KeyError
        return number / by

    seen = {}

    @flow(task_runner=runner())
    def halves():
        seen["run"] = get_run_context().flow_run.id
        return fan_out(half, iter([4, -1, 6, 7, 9, 8]), name=lambda n: f"no {{{n}}}", by=2)

    found = halves()
    assert [one.item for one in found] == [4, -1, 6, 7, 9, 8]
    assert [one.value for one in found] == [2, None, 3, None, None, 4]
    assert [one.ok for one in found] == [True, False, True, False, False, True]
    assert [one.error for one in found if not one.ok] == [
        "-1. Expected a number of at least 0. Give another one.",
        "ZeroDivisionError: seven",
        "KeyError",
    ]

    async def names():
        async with get_client() as client:
            runs = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[seen["run"]])))
            return {run.name: run.state_name for run in runs}

    for _ in range(60):  # events about tasks reach the database a moment later
        runs = asyncio.run(names())
        if len(runs) == 6 and not {"Pending", "Running"} & set(runs.values()):
            break
        time.sleep(0.5)
    states = {4: "Completed", -1: "Failed", 6: "Completed", 7: "Failed", 9: "Failed", 8: "Completed"}
    assert runs == {f"half no {{{number}}}": state for number, state in states.items()}


def test_nothing_to_do_is_no_error(prefect):
    from prefect import flow, task

    from flows.fan_out import fan_out

    @flow
    def none():
        return fan_out(task(lambda item: item), [])

    assert none() == []
