"""A replay server in a thread of its own, and as a command: how each begins, ends and fails."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack

import pytest

from feature_repo.errors import InputError
from runtime.live.replay_server import serving
from tests.feature_repo.binance_messages import record

from .replay_client import (
    ASK,
    DEPTH,
    PATIENCE_S,
    ROOT,
    SNAP,
    TRADE,
    asked,
    diff,
    frames_of,
    lines_of,
    played,
    trades,
    until,
)

pytestmark = pytest.mark.slow  # it waits for sockets


def test_serving_in_a_thread(tmp_path):
    path = record(tmp_path / "r", [SNAP, *trades(3)])
    with serving(path, speed=0, snapshot_wait_s=PATIENCE_S) as server:
        assert not server.wait_done(0.01)

        async def client():
            frames = asyncio.create_task(played(server))
            url = server.rest + ASK
            body = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=PATIENCE_S).read())
            return body, await frames

        body, frames = asyncio.run(client())
        assert server.wait_done(PATIENCE_S)
        assert body == json.dumps(SNAP).encode()
        assert frames == lines_of(path)[1:]


def test_leaving_closes_everything_while_it_plays(tmp_path):
    path = record(tmp_path / "r", [*trades(2), SNAP, *trades(2)])

    async def client():
        with ExitStack() as stack:
            server = stack.enter_context(serving(path, speed=1e-6))
            waiting = asyncio.create_task(asked(server))
            playing = asyncio.create_task(frames_of(server))
            silent, writer = await asyncio.open_connection("127.0.0.1", int(server.websocket.rpartition(":")[2]))
            await until(lambda: server.sent)
            await asyncio.to_thread(stack.close)
        assert await silent.read() == b""
        writer.close()
        return (await waiting)[0], (await playing)[1]

    assert asyncio.run(client()) == (None, 1001)


def test_a_damaged_gz_is_told_on_leaving(tmp_path):
    path = record(tmp_path / "r.gz", trades(21_000))  # more than are read at the start
    path.write_bytes(path.read_bytes()[:-8] + b"\1" * 8)
    with pytest.raises(InputError, match="is damaged"), serving(path, speed=0) as server:
        assert asyncio.run(frames_of(server))[1] == 1011


def command(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "runtime.live.replay_server", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class _Told:
    """Addresses that the command printed."""

    def __init__(self, line):
        told = json.loads(line)
        self.websocket, self.rest, self.streams = told["websocket"], told["rest"], told["streams"]


def test_the_command_serves_to_the_end(tmp_path):
    path = record(tmp_path / "r", [*trades(2), "", diff(1)])
    process = command(path, "--speed", "0", "--no-stamps")
    server = _Told(process.stdout.readline())
    assert server.streams == [TRADE, DEPTH]
    assert asyncio.run(played(server)) == [line.split(b" ", 1)[1] for line in lines_of(path) if line]
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_on_a_signal(tmp_path, name):
    process = command(record(tmp_path / "r", trades(2)))
    assert _Told(process.stdout.readline()).rest
    process.send_signal(name)
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("more", [[], ["--speed", "-1"]])
def test_the_command_says_bad_input_in_a_sentence(tmp_path, more):
    path = tmp_path / "missing" if not more else record(tmp_path / "r", trades(1))
    process = command(path, *more)
    out, error = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (2, "")
    assert error.count("\n") == 1
    assert "Traceback" not in error
