"""The two online stores, applied and empty: a plugin for the tests of either."""

from __future__ import annotations

import pytest

from feature_repo.offline import apply_definitions
from feature_repo.store import REPO_DIR
from tests.redis_server import NO_SERVER, has_redis, redis_server

__all__ = ["either", "on_redis", "on_sqlite", "server"]


@pytest.fixture(scope="session")
def server():
    """A Redis server of the session."""
    if not has_redis():
        pytest.skip(NO_SERVER)
    with redis_server() as running:
        yield running


@pytest.fixture
def on_sqlite(tmp_path, monkeypatch):
    """The installed configuration; gives its folder."""
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    monkeypatch.delenv("FEAST_FS_YAML_FILE_PATH", raising=False)
    apply_definitions()
    return tmp_path / "feast"


@pytest.fixture
def on_redis(tmp_path, monkeypatch, server):
    """The configuration for Redis, and an empty server."""
    server.client.flushall()
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(REPO_DIR / "feature_store.redis.yaml"))
    # A busy machine may take longer than the 50 ms a gate waits.
    monkeypatch.setenv("OFI_META_REDIS", f"{server.address},socket_timeout=10")
    apply_definitions()
    return server


@pytest.fixture(params=["on_sqlite", "on_redis"], ids=["sqlite", "redis"])
def either(request):
    """The same is true of both stores."""
    return request.getfixturevalue(request.param)
