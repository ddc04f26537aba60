"""RUNNER and SCHEDULER: what is accepted, what comes of it, and that the fits of a training follow."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from feature_repo.errors import InputError
from flows.runner import LOCAL_CLUSTER, Place, _spread, fits_on_cluster
from tests.flows.conftest import ROOT


@pytest.fixture
def asked(monkeypatch):
    def set_both(runner=None, scheduler=None):
        for name, value in (("RUNNER", runner), ("SCHEDULER", scheduler)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    return set_both


@pytest.mark.parametrize(
    ("runner", "scheduler", "place"),
    [
        (None, None, Place(False)),
        ("", "", Place(False)),  # as make exports what nobody gave
        ("local", None, Place(False)),
        ("dask", None, Place(True)),
        ("dask", "tcp://10.0.0.7:8786", Place(True, "tcp://10.0.0.7:8786")),
        ("dask", "tls://scheduler.example:8786", Place(True, "tls://scheduler.example:8786")),
    ],
)
def test_what_is_accepted(asked, runner, scheduler, place):
    asked(runner, scheduler)
    assert Place.asked() == place


@pytest.mark.parametrize(
    ("runner", "scheduler", "told"),
    [
        ("ray", None, r"RUNNER=ray\. Expected local or dask\."),
        ("DASK", None, r"RUNNER=DASK\. Expected local or dask\."),
        (None, "tcp://10.0.0.7:8786", r"without RUNNER=dask\. Expected both or none\."),
        ("local", "tcp://10.0.0.7:8786", r"without RUNNER=dask\. Expected both or none\."),
        ("dask", "10.0.0.7:8786", r"SCHEDULER=10\.0\.0\.7:8786\. Expected tcp://host:port\."),
        ("dask", "http://10.0.0.7:8787", r"Expected tcp://host:port\."),
        ("dask", "tcp://10.0.0.7", r"Expected tcp://host:port\."),
    ],
)
def test_anything_else_is_refused_with_a_sentence(asked, runner, scheduler, told):
    asked(runner, scheduler)
    with pytest.raises(InputError, match=told):
        Place.asked()
    with pytest.raises(InputError, match=told), fits_on_cluster():
        pass


@pytest.mark.slow
def test_without_dask_the_fits_stay_here(asked):
    asked()
    from meta_models import jobs

    with fits_on_cluster():
        assert jobs._SPREAD.get() is None


def test_the_local_cluster_cannot_be_reached_from_outside():
    assert LOCAL_CLUSTER["host"] == "127.0.0.1"
    assert LOCAL_CLUSTER["dashboard_address"] is None


def test_nothing_of_prefect_or_dask_is_loaded_unless_it_is_asked_for():
    """Processes that train without Prefect import these, too."""
    code = (
        "import sys, flows.fan_out, flows.runner\n"
        "with flows.runner.fits_on_cluster(): pass\n"
        "assert not {'prefect', 'distributed', 'prefect_dask', 'torch'} & set(sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("RUNNER", "SCHEDULER")}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment, cwd=ROOT)


@pytest.mark.slow
def test_task_runners(asked, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    from prefect.task_runners import ThreadPoolTaskRunner
    from prefect_dask import DaskTaskRunner

    from flows.runner import runner

    asked()
    local = runner()
    assert isinstance(local, ThreadPoolTaskRunner)
    assert 1 <= local._max_workers <= 1024  # not the unlimited default: each task may hold a day in memory
    asked("dask")
    assert runner() == DaskTaskRunner(cluster_kwargs=LOCAL_CLUSTER)
    assert not logging.getLogger("distributed.scheduler").isEnabledFor(logging.INFO), "a terminal is for people"
    asked("dask", "tcp://10.0.0.7:8786")
    assert runner().address == "tcp://10.0.0.7:8786"
    asked("ray")
    with pytest.raises(InputError, match="local or dask"):
        runner()


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_told_by_its_address(asked, monkeypatch):
    monkeypatch.setattr("flows.runner._CONNECT_S", 1)
    asked("dask", "tcp://127.0.0.1:9")
    with pytest.raises(InputError, match=r"no answer from SCHEDULER=tcp://127.0.0.1:9 within 1 s"), fits_on_cluster():
        pass


@pytest.mark.slow
def test_a_scheduler_without_a_worker_is_told(monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setattr("flows.runner._CONNECT_S", 0.1)
    told = r"a Dask scheduler without a worker for 0\.1 s\. Expected at least one\. Start one with `dask worker"
    with (
        LocalCluster(**(LOCAL_CLUSTER | {"n_workers": 0})) as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(InputError, match=told),
    ):
        list(_spread(client, abs, [(-1,)], ()))


@pytest.mark.slow
def test_fits_that_are_lost_every_time_are_no_results():
    from distributed import CancelledError

    class Lost:
        def result(self):
            raise CancelledError("fit-0")

        def done(self):
            return True

    class Cluster:
        def wait_for_workers(self, *_, **__):
            pass

        def scatter(self, data, **_):
            return data

        def submit(self, *_, **__):
            return Lost()

        def cancel(self, _):
            pass

    with pytest.raises(CancelledError, match="fit-0"):
        list(_spread(Cluster(), abs, [(-1,)], ()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "dask"])
def test_a_served_flow_can_be_sent_to_its_own_process(asked, name):
    """What `serve` does with it; a flow that cannot be sent is listed in the UI, and every run of it crashes."""
    import cloudpickle

    from flows.runner import runner
    from flows.shadow import shadow_flow

    asked(name)
    sent = cloudpickle.loads(cloudpickle.dumps(shadow_flow.with_options(task_runner=runner())))
    assert sent.name == shadow_flow.name
    assert type(sent.task_runner) is type(runner())
