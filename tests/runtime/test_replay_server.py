"""The replay server as a client of its websocket sees it: frames, speed, the end, and what it refuses to play."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from feature_repo.errors import InputError
from runtime.live.replay_server import ReplayServer, serving
from tests.feature_repo.binance_messages import MS, T0, record, trade, usdm
from tests.redis_server import free_port

from .replay_client import (
    DEPTH,
    PATIENCE_S,
    SNAP,
    TRADE,
    asked,
    diff,
    frames_and_snapshot,
    frames_of,
    lines_of,
    on,
    played,
    run,
    stamp,
    stream,
    trades,
    turns,
    until,
)

pytestmark = pytest.mark.slow  # it waits for sockets


def test_frames_and_the_snapshot_at_its_place_are_the_recording(tmp_path):
    messages = [*trades(2), diff(0), *trades(1), SNAP, diff(1), *trades(40)]
    first = record(tmp_path / "b.gz", messages[:4])
    second = record(tmp_path / "a", messages[4:], start=T0 + 100)
    frames, (status, headers, body) = run(frames_and_snapshot, [second, first], snapshot_wait_s=PATIENCE_S)

    assert status == 200
    whole = sorted([*frames, headers["X-Local-Ts"].encode() + b" " + body], key=stamp)
    assert whole == lines_of(first, second)
    assert frames == sorted(frames, key=stamp)
    assert int(headers["X-Sent-Ts"]) == max(t for t in map(stamp, frames) if t < int(headers["X-Local-Ts"]))


@pytest.mark.parametrize(("unit", "digits"), [(10**6, 19), (10**3, 16), (1, 13)])
def test_local_time_is_sent_in_ns(tmp_path, unit, digits):
    path = record(tmp_path / "r", trades(2), unit=unit)
    assert len(lines_of(path)[0].split()[0]) == digits
    assert [stamp(f) for f in run(played, path)] == [(T0 + 10) * MS, (T0 + 11) * MS]


def test_without_stamps_a_frame_is_the_json_byte_for_byte(tmp_path):
    odd = [' {"data":{"e":"trade", "s": "\u00e9"},  "stream":"ethusdt@trade"} ', '{"stream":"ethusdt@trade","data":{']
    path = record(tmp_path / "r", [f"{(T0 + k) * MS} {text}" for k, text in enumerate(odd)] + [SNAP])
    frames, (_, headers, body) = run(frames_and_snapshot, path, stamps=False, snapshot_wait_s=PATIENCE_S)
    assert frames == [text.encode() for text in odd]
    assert "X-Local-Ts" not in headers
    assert json.loads(body) == SNAP


def test_each_connection_gets_the_streams_it_asked_for(tmp_path):
    messages = [diff(1), *trades(3), usdm(1, 2, 0), diff(2), {"result": None, "id": 1}, *trades(1)]
    path = record(tmp_path / "r", messages)

    async def client(server):
        assert server.streams == (DEPTH, TRADE)
        public = asyncio.create_task(frames_of(server, DEPTH, "no@such", path="/public/stream"))
        await until(lambda: server._clients._open() == 1)
        await turns()
        assert server.sent == 0  # one of two
        market = frames_of(server, TRADE, path="/market/stream")
        both = [frames for frames, _ in await asyncio.gather(public, market)]
        await server.done.wait()
        assert server.sent == sum(map(len, both))
        assert server.position == len(messages)
        return both

    lines = lines_of(path)
    public, market = run(client, path, connections=2)
    assert public == [lines[k] for k in (0, 4, 5, 6)]
    assert market == [lines[k] for k in (1, 2, 3, 4, 6, 7)]


def test_lines_that_cannot_be_played_are_left_out_and_counted(tmp_path):
    path = tmp_path / "r"
    good = [b"%d %b" % (k * MS, json.dumps(m).encode()) for k, m in enumerate(trades(3), start=T0)]
    no_times = b"%dx {}\n0%d {}\n" % (T0 * MS // 10, T0 * MS // 10)
    damaged = b"\n17 {}\n" + no_times + b"%d \xff\n" % (T0 * MS)
    path.write_bytes(b'cut":1}\n' + good[0] + b"\n\n" + good[1] + damaged + good[2])

    async def client(server):
        return await played(server), dict(server.left_out), server.position

    frames, left_out, position = run(client, path)
    assert frames == good
    assert left_out == {"local_ts is no whole number of 19 digits": 4, "the message is no UTF-8 text": 1}
    assert position == 9


def test_a_gz_that_is_cut_off_is_played_to_where_it_can_be_read(tmp_path):
    path = record(tmp_path / "r.gz", trades(300))
    lines = lines_of(path)
    path.write_bytes(path.read_bytes()[:-20])

    async def client(server):
        return await played(server), dict(server.left_out)

    frames, left_out = run(client, path)
    assert 0 < len(frames) <= 300
    assert frames == lines[: len(frames)]
    assert left_out == {"the file is cut off": 1}


def test_the_end_closes_with_1000_and_who_comes_later_is_closed_at_once(tmp_path):
    async def client(server):
        _, code = await frames_of(server)
        await server.done.wait()
        return code, await frames_of(server)

    assert run(client, record(tmp_path / "r", trades(2))) == (1000, ([], 1000))


def test_paths_that_serve_nothing_are_refused(tmp_path):
    async def client(server):
        for target, status in (("/ws/ethusdt@trade", 404), ("/stream", 400), ("/stream?streams=/", 400)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.websocket + target)
            assert refused.value.response.status_code == status

    run(client, record(tmp_path / "r", trades(2)))


def test_when_all_clients_are_gone_playing_stands_still_and_nothing_is_skipped(tmp_path):
    path = record(tmp_path / "r", [*trades(3), SNAP, *trades(3)])

    async def client(server):
        async with stream(server) as connection:
            first = [await connection.recv(decode=False) for _ in range(3)]
            await until(lambda: server.position == 4)
        await asked(server)
        await turns()
        assert (server.sent, server.position) == (3, 4)
        return first + await played(server)

    assert run(client, path, snapshot_wait_s=PATIENCE_S) == [line for k, line in enumerate(lines_of(path)) if k != 3]


@pytest.mark.parametrize(("speed", "least"), [(1.0, 0.29), (3.0, 0.09), (None, 0.0)])
def test_speed(tmp_path, speed, least):
    path = record(tmp_path / "r", trades(4), step=100)

    began = time.monotonic()
    assert run(played, path, speed=speed) == lines_of(path)
    assert time.monotonic() - began > least


def test_a_client_that_does_not_read_stops_playing(tmp_path):
    n, size = 120, 200_000
    path = record(tmp_path / "r", [on(TRADE, trade(pad="x" * size)) for _ in range(n)])

    async def client(server):
        async with stream(server) as connection:
            before = 0
            await until(lambda: server.sent)
            while server.sent > before:
                before = server.sent
                await asyncio.sleep(0.1)
                await turns()
            got = 0
            async for _ in connection:
                got += 1
            return before, got

    in_flight, got = run(client, path)
    assert in_flight * size < n * size / 2
    assert got == n


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, {}, "cannot be read"),
        (b"", {}, "is empty"),
        (b"a,b\n1,2\n", {}, "is no recording"),
        (b"1721347200000000000 \xff\n", {}, "no line that can be played"),
        (b"1721347200000000000 {}\n", {"speed": -1.0}, "speed is -1.0"),
        (b"1721347200000000000 {}\n", {"speed": float("nan")}, "speed is nan"),
        (b"1721347200000000000 {}\n", {"connections": 0}, "connections is 0"),
        (b"1721347200000000000 {}\n", {"snapshot_wait_s": -0.1}, "snapshot_wait_s is -0.1"),
    ],
)
def test_bad_input(tmp_path, content, options, said):
    path = tmp_path / "r"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        ReplayServer(path, **options)
    with pytest.raises(InputError, match=said), serving([path], **options):
        pass


def test_a_port_that_is_taken_is_told_and_the_other_one_is_left_free(tmp_path):
    path, rest_port = record(tmp_path / "r", trades(1)), free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"port": taken.getsockname()[1], "rest_port": rest_port}
        with pytest.raises(OSError, match="in use"), serving([path], **ports):
            pass
    socket.create_server(("127.0.0.1", rest_port)).close()


def test_no_file_and_a_folder_are_bad_input(tmp_path):
    for recording in ([], tmp_path):
        with pytest.raises(InputError):
            ReplayServer(recording)
