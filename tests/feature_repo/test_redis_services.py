"""`make services`: a Redis on this machine, started once, stopped by who started it, or a sentence why not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import redis

from feature_repo.store import REPO_DIR
from tests.redis_server import NO_SERVER, free_port, has_redis, redis_server

pytestmark = pytest.mark.slow

ROOT = REPO_DIR.parent


def make(target: str, folder: Path, port: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--silent", target],
        cwd=ROOT,
        env={**os.environ, "OFI_META_DATA": str(folder), "REDIS_PORT": str(port), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not has_redis(), reason=NO_SERVER)
def test_services_start_once_and_stop(tmp_path):
    port = free_port()
    try:
        started = make("services", tmp_path, port)
        assert started.returncode == 0, started.stderr
        assert f"Redis runs on 127.0.0.1:{port}" in started.stdout
        server = redis.Redis("127.0.0.1", port)
        server.set("kept", 1)
        assert server.config_get("bind", "save", "appendonly") == {"bind": "127.0.0.1", "save": "", "appendonly": "no"}
        again = make("services", tmp_path, port)
        assert again.returncode == 0
        assert "already runs" in again.stdout
        assert server.get("kept") == b"1"
    finally:
        stopped = make("services-stop", tmp_path, port)
    assert "is stopped" in stopped.stdout
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert "No Redis was started here" in make("services-stop", tmp_path, port).stdout


@pytest.mark.skipif(not has_redis(), reason=NO_SERVER)
def test_a_server_of_somebody_else_is_used_and_left_alone(tmp_path):
    with redis_server() as theirs:
        port = int(theirs.address.split(":")[1])
        assert "it is used as it is" in make("services", tmp_path, port).stdout
        assert "No Redis was started here" in make("services-stop", tmp_path, port).stdout
        assert theirs.client.ping()


@pytest.mark.skipif(not has_redis(), reason=NO_SERVER)
def test_a_taken_port_is_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        refused = make("services", tmp_path, port)
    assert refused.returncode != 0
    assert f"Redis did not start on port {port}" in refused.stderr


def test_where_nothing_can_be_installed_it_says_so(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "env", "id"):
        (tools / name).symlink_to(shutil.which(name))
    refused = subprocess.run(
        [".ci/services", "start"], cwd=ROOT, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("redis-server is missing and cannot be installed here.")
