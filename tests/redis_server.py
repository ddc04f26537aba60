"""A real redis-server of one's own: on a free port, in a temporary folder, gone afterwards."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import redis

__all__ = ["NO_SERVER", "RedisServer", "free_port", "has_redis", "redis_server"]

NO_SERVER = "redis-server is not installed: `make services` installs it"


@dataclass(frozen=True)
class RedisServer:
    """A running server and a client of it; ``address`` is host:port."""

    address: str
    process: subprocess.Popen
    client: redis.Redis


def has_redis() -> bool:
    """Whether a server can be started here."""
    return shutil.which("redis-server") is not None


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def redis_server(port: int | None = None) -> Iterator[RedisServer]:
    """Start it, wait until it answers, stop it; on a free port unless told otherwise."""
    port = free_port() if port is None else port
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            client = redis.Redis("127.0.0.1", port, retry=None)  # else it pauses between tries itself
            _wait(client, process)
            yield RedisServer(f"127.0.0.1:{port}", process, client)
        finally:
            process.kill()
            process.wait()


def _wait(client: redis.Redis, process: subprocess.Popen) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.02)
