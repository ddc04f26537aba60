"""`make prefect`: the server answers, shows its UI, and lists the deployments; both end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from flows.cached import HEAVY
from flows.deployments import SERVED
from tests.flows.conftest import ROOT
from tests.postgres_server import has_postgres, postgres_server
from tests.redis_server import free_port

pytestmark = pytest.mark.long


def ask(url: str, body: dict | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read()


def deployments(port: int) -> list[dict]:
    try:
        return json.loads(ask(f"http://127.0.0.1:{port}/api/deployments/filter", {}))
    except (urllib.error.URLError, OSError):
        return []


@pytest.fixture
def database():
    """The settings that name Prefect's database: a Postgres where there is one, as the UI's test has SQLite."""
    if not has_postgres():
        yield {}
        return
    with postgres_server() as address:
        yield {"PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{address}"}


def test_every_deployment_is_served_with_its_schedule_and_its_form(tmp_path, database):
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | database
    environment |= {"OFI_META_DATA": str(tmp_path / "data"), "PREFECT_PORT": str(port), "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.serve"], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        deadline, found = time.monotonic() + 150, []
        while len(found) < len(SERVED) and time.monotonic() < deadline and server.poll() is None:
            time.sleep(1)
            found = deployments(port)
        by_name = {d["name"]: d for d in found}
        assert by_name.keys() == {served.name for served in SERVED}, (tmp_path / "log").read_text()[-2_000:]
        for served in SERVED:
            told = by_name[served.name]
            assert [s["schedule"]["cron"] for s in told["schedules"]] == ([served.cron] if served.cron else [])
            assert not told["paused"]
            assert told["global_concurrency_limit"]["limit"] == 1
            assert "Parameters" in json.dumps(told["parameter_openapi_schema"])
        (limit,) = json.loads(ask(f"http://127.0.0.1:{port}/api/concurrency_limits/filter", {}))
        assert (limit["tag"], limit["concurrency_limit"]) == (HEAVY, len(os.sched_getaffinity(0)))
        assert b"<html" in ask(f"http://127.0.0.1:{port}/")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)
    assert deployments(port) == [], "the server outlived the process that started it"
    assert any((tmp_path / "data").rglob("prefect.db")) != bool(database)


@pytest.mark.parametrize("port", ["abc", "0", "70000", ""])
def test_a_port_that_is_none_is_refused_with_a_sentence(port):
    done = subprocess.run(
        [sys.executable, "-m", "flows.serve"],
        cwd=ROOT, env={**os.environ, "PREFECT_PORT": port}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: PREFECT_PORT = {port!r}. Expected a port, 1 to 65535. Give one: PREFECT_PORT=4300 make prefect.\n"
    )
